//! Messages to standard output: first written, then released.

use crate::output;
use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use laneway::Message;
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind, Write};

/// How a message is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    /// The payload as it is, and this byte.
    Raw(u8),
    /// One JSON object a line.
    Json,
}

impl Format {
    pub(crate) fn new(json: bool, null: bool) -> Format {
        match (json, null) {
            (true, _) => Format::Json,
            (_, true) => Format::Raw(0),
            (..) => Format::Raw(b'\n'),
        }
    }
}

/// A message as JSON.
#[derive(Serialize)]
struct Line<'a> {
    lane: u32,
    position: u64,
    priority: String,
    #[serde(flatten)]
    payload: Payload<'a>,
}

/// Text if it can be text.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Payload<'a> {
    Text(&'a str),
    Base64(String),
}

impl Payload<'_> {
    pub(crate) fn of(bytes: &[u8]) -> Payload<'_> {
        match str::from_utf8(bytes) {
            Ok(text) => Payload::Text(text),
            Err(_) => Payload::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Delivered,
    /// Nobody reads our output any more; the message was put back.
    NobodyReads,
}

/// Writes messages and releases them.
pub(crate) struct Printer {
    out: File,
    format: Format,
    payload: Vec<u8>,
    line: Vec<u8>,
    pub(crate) delivered: u64,
}

impl Printer {
    pub(crate) fn new(format: Format) -> Result<Printer> {
        Ok(Printer { out: output::stdout()?, format, payload: Vec::new(), line: Vec::new(), delivered: 0 })
    }

    /// Writes the message, and releases it once it is written: what could not be written whole goes back to the queue.
    pub(crate) fn deliver(&mut self, message: Message<'_>) -> Result<Outcome> {
        match self.write(&message) {
            Ok(()) => {
                message.release();
                self.delivered += 1;
                Ok(Outcome::Delivered)
            }
            Err(error) => {
                message.put_back();
                if error.kind() == ErrorKind::BrokenPipe {
                    return Ok(Outcome::NobodyReads);
                }
                output::written(Err(error))
            }
        }
    }

    fn write(&mut self, message: &Message<'_>) -> io::Result<()> {
        self.payload.clear();
        message.append_to(&mut self.payload);
        self.line.clear();
        match self.format {
            Format::Raw(end) => {
                self.line.append(&mut self.payload);
                self.line.push(end);
            }
            Format::Json => {
                let payload = Payload::of(&self.payload);
                let (lane, position, priority) = (message.lane(), message.position(), message.priority().to_string());
                let line = Line { lane, position, priority, payload };
                serde_json::to_writer(&mut self.line, &line)?;
                self.line.push(b'\n');
            }
        }
        self.out.write_all(&self.line)
    }
}
