//! `laneway replay`: what was recorded, sent again; see docs/recording.md.

use super::args::Replay;
use super::record::VERSION;
use crate::{mail, output, place, units};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use laneway::mailbox::{Mailbox, Post};
use laneway::{OnFull, Priority, Queue, Sender};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// The first line.
#[derive(Deserialize)]
struct Head {
    laneway_recording: u64,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Queue,
    Mailbox,
}

/// Each other line. What is not known is for others.
#[derive(Deserialize)]
struct Line {
    at_ns: u64,
    #[serde(default)]
    priority: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    from: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    malformed: Option<String>,
    #[serde(default)]
    lapped: Option<Lapped>,
}

#[derive(Deserialize)]
struct Lapped {
    messages: u64,
}

/// Longer is no first line of a recording: it has a path, and few words besides.
const LONGEST_HEAD: u64 = 1 << 16;

/// Longer is no line of a recording: the longest message there is, as Base64, and what stands around it.
const LONGEST: u64 = (1 << 30) / 3 * 4 + (1 << 16);

pub(crate) fn run(args: Replay, json: bool) -> Result<ExitCode> {
    let named = if args.file == Path::new("-") { "standard input".to_owned() } else { format!("{:?}", args.file) };
    let input: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("cannot replay {named}"))?)
    };
    let mut lines = Lines { input: BufReader::new(input), number: 0 };
    let of = head(&mut lines).with_context(|| format!("cannot replay {named}"))?;
    let mut replay = Playing {
        to: Target::open(of, &args.name)?,
        speed: if args.fast { f64::INFINITY } else { args.speed },
        began: Instant::now(),
        sent: 0,
        missing: 0,
    };
    let ended = replay.run(&mut lines);
    if json {
        output::print_json(&json!({ "sent": replay.sent, "missing": replay.missing }))?;
    } else {
        output::print(&format!("{} messages sent\n", units::count(replay.sent)))?;
    }
    if replay.missing > 0 {
        output::warn(format_args!("{} messages were missed when {named} was recorded", units::count(replay.missing)));
    }
    ended.with_context(|| format!("cannot replay all of {named}"))?;
    Ok(ExitCode::SUCCESS)
}

fn head(lines: &mut Lines) -> Result<Of> {
    let Some((line, _)) = lines.next(LONGEST_HEAD)? else { bail!("it is empty") };
    let head: Head = serde_json::from_slice(&line).context("its first line is not that of a recording")?;
    if head.laneway_recording != VERSION {
        bail!("it is a recording of version {}, and this program reads version {VERSION}", head.laneway_recording);
    }
    Ok(head.of)
}

/// The lines of a file, each as long as it may be.
struct Lines {
    input: BufReader<Box<dyn Read>>,
    number: u64,
}

impl Lines {
    /// The next line, and whether its end is there.
    fn next(&mut self, longest: u64) -> Result<Option<(Vec<u8>, bool)>> {
        let mut line = Vec::new();
        self.number += 1;
        let read = self.input.by_ref().take(longest).read_until(b'\n', &mut line);
        read.with_context(|| format!("line {} cannot be read", self.number))?;
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if line.len() as u64 + 1 >= longest {
            bail!("line {} is longer than any of a recording", self.number);
        }
        Ok((is_whole || !line.is_empty()).then_some((line, is_whole)))
    }
}

struct Playing {
    to: Target,
    speed: f64,
    began: Instant,
    sent: u64,
    missing: u64,
}

impl Playing {
    fn run(&mut self, lines: &mut Lines) -> Result<()> {
        while let Some((line, is_whole)) = lines.next(LONGEST)? {
            let line: Line = match serde_json::from_slice(&line) {
                Ok(line) => line,
                Err(_) if !is_whole => bail!("its last line, {}, was cut off", lines.number),
                Err(error) => bail!("line {} is none of a recording: {error}", lines.number),
            };
            let missing = line.lapped.as_ref().map_or(0, |lapped| lapped.messages);
            self.missing = self.missing.saturating_add(missing);
            let body = match (&line.text, &line.base64) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(base64)) => {
                    BASE64_STANDARD.decode(base64).with_context(|| format!("line {} is no Base64", lines.number))?
                }
                // It tells of something else.
                (None, None) => continue,
            };
            self.keep_pace(line.at_ns);
            self.to.send(&line, &body).with_context(|| format!("line {} was not sent", lines.number))?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Waits until it is time for what came at that time.
    fn keep_pace(&self, at_ns: u64) {
        let due = Duration::try_from_secs_f64(at_ns as f64 / 1e9 / self.speed).unwrap_or(Duration::MAX);
        let left = due.saturating_sub(self.began.elapsed());
        if !left.is_zero() {
            thread::sleep(left);
        }
    }
}

/// Where it goes.
enum Target {
    Queue(Queue, HashMap<Priority, Sender>),
    Mailbox(Box<Posting>),
}

/// How many senders' names are known at a time: each takes a lane.
const MOST_SENDERS: usize = 4;

/// A mailbox, and those in whose names something was posted to it.
struct Posting {
    post: Post,
    name: String,
    senders: HashMap<String, Mailbox>,
}

impl Posting {
    fn sender(&mut self, from: &str) -> Result<&mut Mailbox> {
        if self.senders.len() >= MOST_SENDERS && !self.senders.contains_key(from) {
            self.senders.clear();
        }
        Ok(match self.senders.entry(from.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.post.clone().from(from).mailbox(&self.name)?),
        })
    }
}

impl Target {
    fn open(of: Of, named: &OsStr) -> Result<Target> {
        if of == Of::Mailbox {
            let (post, name) = place::mailbox(named)?;
            return Ok(Target::Mailbox(Box::new(Posting { post, name, senders: HashMap::new() })));
        }
        let path = place::queue(named)?;
        if path.join("mail/queue").exists() {
            bail!("cannot replay to {path:?}: it is a mailbox, and the recording is of a queue");
        }
        Ok(Target::Queue(Queue::open_or_create(path)?, HashMap::new()))
    }

    fn send(&mut self, line: &Line, body: &[u8]) -> Result<()> {
        let priority: Priority = line.priority.as_deref().unwrap_or("normal").parse()?;
        match self {
            Target::Queue(queue, senders) => {
                let sender = match senders.entry(priority) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        let options = queue.sender_options().priority(priority).on_full(OnFull::GrowThenBlock);
                        new.insert(options.attach()?)
                    }
                };
                sender.send_timeout(body, Duration::MAX)?;
            }
            Target::Mailbox(posting) => {
                if let Some(wrong) = &line.malformed {
                    bail!("{wrong}");
                }
                let content = line.content.as_deref().map_or(Ok(mail::guess(body)), mail::content_of)?;
                posting.sender(&line.from)?.compose().priority(priority).content(content).send(body)?;
            }
        }
        Ok(())
    }
}
