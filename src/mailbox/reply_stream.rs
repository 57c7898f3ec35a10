//! Answers in chunks, for whoever answers.

use super::chunks::CORRELATION;
use super::clock::Clock;
use super::envelope::{self, Content, Envelope, Kind};
use super::handle::SendError;
use super::request;
use crate::bell::LONGEST_SLEEP;
use crate::error::SendError as QueueError;
use crate::layout;
use crate::queue::{OnFull, Queue, Sender};
use bytemuck::Zeroable;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// An answer that is sent in chunks; made by [`Delivery::reply_stream`](super::Delivery::reply_stream). `Send`, and of its own: another thread may
/// answer while the inbox goes on.
///
/// It settles nothing. Finish it, then ack the delivery: if this process dies in between, the request is handed out again, and whoever
/// asked is told that its answer begins anew, or has it already. Dropping it in the middle says that it was broken off.
#[must_use = "an answer that is dropped was broken off"]
pub struct ReplyStream {
    sender: Sender,
    queue: Queue,
    /// The longest chunk that the ring takes.
    fits: usize,
    content: Content,
    attempt: u16,
    /// Of the next chunk.
    number: u64,
    clock: Clock,
    ended: bool,
}

/// Why a chunk was not sent. It can be sent again, unless nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// Nobody reads: whoever asked has cancelled, or died.
    Cancelled,
    /// The reader has not made room in time.
    Timeout,
    /// The queue did not take it.
    Queue(QueueError),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Cancelled => write!(f, "whoever asked reads no more of the answer"),
            ReplyError::Timeout => write!(f, "the reader of the answer has not made room in time"),
            ReplyError::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Begins to answer; none if whoever asked is gone, or takes an answer in one piece only.
pub(super) fn open(mailbox: &Path, request: &Envelope, attempt: u32) -> Result<Option<ReplyStream>, SendError> {
    if request.reply_to == 0 || request.correlation != CORRELATION {
        return Ok(None);
    }
    let Some((queue, true)) = request::open(mailbox, request.reply_to)? else { return Ok(None) };
    let sender = request::unless_gone(queue.sender_options().on_full(OnFull::Block).attach())?;
    let Some(sender) = sender else { return Ok(None) };
    Ok(Some(ReplyStream {
        sender,
        fits: layout::max_payload(queue.capacity()) as usize - envelope::LONGEST,
        queue,
        content: Content::Bytes,
        attempt: u16::try_from(attempt).unwrap_or(u16::MAX),
        number: 1,
        clock: Clock::new(),
        ended: false,
    }))
}

impl ReplyStream {
    /// What is in the chunks from here on.
    pub fn set_content(&mut self, content: Content) {
        self.content = content;
    }

    /// Sends a chunk. Waits while 64 KiB of them were not read, for as long as the reader lives: one that cancels or dies ends
    /// the wait, within 100 ms. Each is at most 1 MiB, about.
    pub fn send(&mut self, chunk: &[u8]) -> Result<(), ReplyError> {
        self.put(Kind::Chunk, chunk, None)
    }

    /// As [`send`](Self::send), waiting at most for `timeout`: for a reader that may be stopped.
    pub fn send_timeout(&mut self, chunk: &[u8], timeout: Duration) -> Result<(), ReplyError> {
        self.put(Kind::Chunk, chunk, Instant::now().checked_add(timeout))
    }

    /// Says that this was all. Waits only when there is no room even beyond the ring.
    pub fn finish(mut self) -> Result<(), ReplyError> {
        self.end(Kind::End, "")
    }

    /// Says that there is no answer, or no more of it, and why. What is to become of the request is for the delivery to say.
    pub fn fail(mut self, reason: &str) -> Result<(), ReplyError> {
        self.end(Kind::Failed, reason)
    }

    /// Whether nobody reads any more: for whoever works a while between two chunks. Takes some system calls.
    pub fn is_cancelled(&mut self) -> bool {
        self.sender.is_detached() || !self.sender.has_receiver()
    }

    /// Whose room is waited for.
    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    fn end(&mut self, kind: Kind, reason: &str) -> Result<(), ReplyError> {
        // Whatever comes of it: that it was broken off would not fare better.
        self.ended = true;
        self.sender.set_on_full(OnFull::GrowThenBlock);
        self.put_now(kind, reason.as_bytes(), None)
    }

    fn put(&mut self, kind: Kind, body: &[u8], deadline: Option<Instant>) -> Result<(), ReplyError> {
        // How far we are ahead of the reader is the ring's to say; but for a chunk that is longer than that.
        self.sender.set_on_full(if body.len() > self.fits { OnFull::GrowThenBlock } else { OnFull::Block });
        self.put_now(kind, body, deadline)
    }

    fn put_now(&mut self, kind: Kind, body: &[u8], deadline: Option<Instant>) -> Result<(), ReplyError> {
        let envelope = Envelope {
            version: envelope::VERSION,
            kind: kind as u8,
            content: self.content as u8,
            max_attempts: self.attempt,
            sequence: self.number,
            sent_at: self.clock.now(),
            correlation: CORRELATION,
            ..Envelope::zeroed()
        }
        .pack();
        loop {
            if self.sender.is_detached() {
                return Err(ReplyError::Cancelled);
            }
            let now = Instant::now();
            let look = now + LONGEST_SLEEP;
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            return match self.sender.send_gathered_until([envelope.bytes(), body], Some(until)) {
                Ok(_) => {
                    self.number += 1;
                    Ok(())
                }
                Err(QueueError::Timeout) if !self.sender.has_receiver() => {
                    // It died without a word: nobody needs its space.
                    request::bury(self.queue.clone());
                    Err(ReplyError::Cancelled)
                }
                Err(QueueError::Timeout) if deadline.is_none_or(|deadline| Instant::now() < deadline) => continue,
                Err(QueueError::Timeout) => Err(ReplyError::Timeout),
                Err(QueueError::Detached) => Err(ReplyError::Cancelled),
                Err(error) => Err(ReplyError::Queue(error)),
            };
        }
    }
}

impl Drop for ReplyStream {
    fn drop(&mut self) {
        if !self.ended {
            self.sender.set_on_full(OnFull::GrowThenFail);
            // Who does not learn of it now learns of it when the answer begins anew.
            let _ = self.put_now(Kind::BrokenOff, &[], None);
        }
    }
}

impl fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStream")
            .field("attempt", &self.attempt)
            .field("sent", &(self.number - 1))
            .finish_non_exhaustive()
    }
}
