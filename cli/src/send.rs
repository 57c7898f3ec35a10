//! `laneway send`.

use crate::args::Send;
use crate::output;
use crate::place;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use laneway::{OnFull, Queue, SendError, Sender, Ticket};
use serde_json::json;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(args: Send, json: bool) -> Result<ExitCode> {
    let queue = Queue::open_or_create(place::queue(&args.queue)?)?;
    let patience = if args.wait { Duration::MAX } else { args.timeout.unwrap_or(Duration::ZERO) };
    let waits = args.wait || args.timeout.is_some();
    let mut sender = queue.sender_options().priority(args.priority.into()).attach()?;
    sender.set_on_full(args.on_full.unwrap_or(if waits { OnFull::GrowThenBlock } else { OnFull::GrowThenFail }));
    let mut post = Post { sender, queue, patience, json, sent: 0, dropped: 0 };
    match send_all(&mut post, &args) {
        // Nobody reads the tickets. What was not sent must not look as if it had been.
        Err(error) if output::is_broken_pipe(&error) => Ok(output::ERROR.into()),
        answer => answer.map(|()| {
            if post.dropped > 0 {
                eprintln!("laneway: {} of {} messages were dropped", post.dropped, post.dropped + post.sent);
            }
            ExitCode::SUCCESS
        }),
    }
}

fn send_all(post: &mut Post, args: &Send) -> Result<()> {
    if !args.texts.is_empty() {
        args.texts.iter().try_for_each(|text| post.send(text.as_bytes()))
    } else if args.whole {
        let mut whole = Vec::new();
        read(io::stdin().lock().take(post.longest()).read_to_end(&mut whole))?;
        post.send(&whole)
    } else {
        send_pieces(post, if args.null { 0 } else { b'\n' })
    }
}

/// Sends what standard input holds between two ends; what follows the last one is a message if it is not empty.
fn send_pieces(post: &mut Post, end: u8) -> Result<()> {
    let progress = Progress::endless("messages sent");
    let mut input = io::stdin().lock();
    let mut piece = Vec::new();
    loop {
        piece.clear();
        // One byte more than is admitted and the end: enough to know that it is too long, however long it is.
        if read(input.by_ref().take(post.longest() + 1).read_until(end, &mut piece))? == 0 {
            return Ok(());
        }
        if piece.last() == Some(&end) {
            piece.pop();
        }
        post.send(&piece)?;
        progress.at(post.sent);
    }
}

fn read<T>(answer: io::Result<T>) -> Result<T> {
    answer.context("cannot read standard input")
}

/// A sender, and what to say of each message.
struct Post {
    queue: Queue,
    sender: Sender,
    patience: Duration,
    json: bool,
    sent: u64,
    dropped: u64,
}

impl Post {
    /// How many bytes to read of one message: one more than the queue admits.
    fn longest(&self) -> u64 {
        u64::from(self.queue.max_message()) + 1
    }

    fn send(&mut self, payload: &[u8]) -> Result<()> {
        let Ticket { lane, position } = match self.sender.send_timeout(payload, self.patience) {
            Ok(sent) => sent.ticket(),
            Err(SendError::Dropped) => {
                self.dropped += 1;
                return if self.json { output::print_json(&json!({ "dropped": true })) } else { Ok(()) };
            }
            Err(error) => bail!(self.sentence(payload.len(), error)),
        };
        self.sent += 1;
        if self.json { output::print_json(&json!({ "lane": lane, "position": position })) } else { Ok(()) }
    }

    fn sentence(&self, len: usize, error: SendError) -> String {
        let (path, number) = (self.queue.path(), self.sent + 1);
        match error {
            SendError::Timeout | SendError::Full | SendError::NoSpace => format!(
                "cannot send message {number} ({len} bytes) to {path:?}: lane {} has no room left in its {} bytes \
                 (at most {}){}{}; {} sent before it",
                self.sender.lane(),
                self.queue.capacity(),
                self.queue.capacity() + self.queue.overflow_limit(),
                if error == SendError::NoSpace { ", and the file system has none" } else { "" },
                if self.patience.is_zero() { ", and neither --wait nor --timeout was given" } else { "" },
                self.sent,
            ),
            // Reading stopped there; how much longer it is nobody knows.
            SendError::TooLarge { len, max } => format!(
                "cannot send message {number} to {path:?}: it is at least {len} bytes long, and may be {max}; \
                 {} sent before it",
                self.sent
            ),
            other => format!("cannot send message {number} to {path:?}: {other}; {} sent before it", self.sent),
        }
    }
}
