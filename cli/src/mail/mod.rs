//! The commands of mailboxes. Each is a module; here is what they have in common.

pub(crate) mod args;
mod ask;
mod command;
mod dead;
mod office;
mod send;
mod serve;
mod settings;
mod wake;

pub(crate) use ask::{cancel, request, status, status_json, wait};
pub(crate) use dead::run as dead;
pub(crate) use office::run as office;
pub(crate) use send::run as post;
pub(crate) use serve::run as serve;
pub(crate) use wake::run as wake;

use crate::place;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use laneway::mailbox::{Content, Mailbox, Ticket};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The mailbox that the user means, which must be there.
fn existing(named: &OsStr) -> Result<Mailbox> {
    let (post, name) = place::mailbox(named)?;
    if !post.exists(&name) {
        bail!("there is no mailbox at {:?}", post.root().join(&name));
    }
    Ok(post.mailbox(&name)?)
}

/// As [`existing`], and the ticket of one of its messages.
fn existing_ticket(named: &args::Ticket) -> Result<(Mailbox, Ticket)> {
    let ticket = ticket(&named.ticket)?;
    Ok((existing(&named.name)?, ticket))
}

fn ticket(text: &OsStr) -> Result<Ticket> {
    let text = text.to_str().with_context(|| format!("{text:?} is no ticket: it is not even text"))?;
    Ok(text.parse()?)
}

/// No message is longer: bytes.
const LONGEST: u64 = 1 << 30;

/// The message that the user gave, or all of standard input.
fn body(given: Option<OsString>) -> Result<Vec<u8>> {
    match given {
        Some(text) if text != "-" => Ok(text.as_bytes().to_vec()),
        _ => {
            let mut body = Vec::new();
            // One byte more than any mailbox takes is enough to know that it is too long.
            let read = io::stdin().lock().take(LONGEST + 1).read_to_end(&mut body);
            read.context("cannot read standard input")?;
            Ok(body)
        }
    }
}

/// What is in a message of which nobody says so.
pub(crate) fn guess(body: &[u8]) -> Content {
    if str::from_utf8(body).is_ok() { Content::Text } else { Content::Bytes }
}

impl From<args::Content> for Content {
    fn from(content: args::Content) -> Content {
        match content {
            args::Content::Bytes => Content::Bytes,
            args::Content::Text => Content::Text,
            args::Content::Json => Content::Json,
            args::Content::Msgpack => Content::MessagePack,
            args::Content::Cbor => Content::Cbor,
            args::Content::Pod => Content::Pod,
        }
    }
}

/// The word for what is in a message, as on the command line.
pub(crate) fn content_word(content: Content) -> &'static str {
    match content {
        Content::Text => "text",
        Content::Json => "json",
        Content::MessagePack => "msgpack",
        Content::Cbor => "cbor",
        Content::Pod => "pod",
        _ => "bytes",
    }
}

/// What the word stands for.
pub(crate) fn content_of(word: &str) -> Result<Content> {
    let known = args::Content::from_str(word, false).ok();
    known.map(Content::from).with_context(|| format!("{word:?} is no kind of content"))
}

/// A path that is the same for processes that work elsewhere, as text.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
