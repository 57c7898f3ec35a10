//! A message in the hands of whoever serves a mailbox.

use super::envelope::{Content, Kind, Opened};
use super::handle::SendError;
use super::inbox::Inbox;
use super::kept::Letter;
use super::reply_stream::{self, ReplyStream};
use super::ticket::Ticket;
use super::{clock, request};
use crate::error::{Error, WrongLength};
use crate::ledger::{Key, Spot};
use crate::queue::{Message, Priority};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where the bytes of a message are.
pub(super) enum Source<'a> {
    /// In its sender's lane.
    Lane(Message<'a>),
    /// With the receiver, which keeps it.
    Kept(Arc<Letter>),
}

/// A message that was handed out, until it is settled: by [`ack`](Self::ack), [`nack`](Self::nack) or [`reject`](Self::reject), in
/// any order among those that are held. Dropping it is a [`nack`](Self::nack).
///
/// When the process dies, or the thread panics while it holds it, the message is handed out again, with its attempt counted: a
/// message that kills whoever takes it ends among the dead letters.
#[must_use = "a delivery that is dropped is handed out again"]
pub struct Delivery<'a> {
    pub(super) inbox: &'a Inbox,
    /// None once it is settled.
    pub(super) source: Option<Source<'a>>,
    pub(super) opened: Opened,
    pub(super) key: Key,
    /// Where the ledger says that it is taken, if that is known.
    pub(super) spot: Option<Spot>,
    pub(super) attempt: u32,
}

impl<'a> Delivery<'a> {
    fn source(&self) -> &Source<'a> {
        self.source.as_ref().expect("it is settled only when it is given up")
    }

    /// The whole message, copied: envelope, name and body.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self.source() {
            Source::Lane(message) => message.to_vec(),
            Source::Kept(letter) => letter.bytes.clone(),
        }
    }

    /// Copies a part of the message. `at` is a multiple of 8.
    fn copy_part(&self, at: usize, to: &mut [u8]) {
        match self.source() {
            Source::Lane(message) => message.copy_part_to(at, to),
            Source::Kept(letter) => to.copy_from_slice(&letter.bytes[at..at + to.len()]),
        }
    }

    /// The body's length, bytes.
    #[inline]
    pub fn len(&self) -> usize {
        let all = match self.source() {
            Source::Lane(message) => message.len(),
            Source::Kept(letter) => letter.bytes.len(),
        };
        all - self.opened.body
    }

    /// Whether the body is empty, which is legal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body, copied. Allocates.
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![0; self.len()];
        self.copy_part(self.opened.body, &mut body);
        body
    }

    /// Copies the body to the start of `to`.
    ///
    /// # Panics
    /// When `to` is shorter than the body.
    pub fn copy_to(&self, to: &mut [u8]) {
        let len = self.len();
        self.copy_part(self.opened.body, &mut to[..len]);
    }

    /// The body as a value, copied.
    pub fn read_pod<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self) -> Result<T, WrongLength> {
        let len = self.len();
        if len != size_of::<T>() {
            return Err(WrongLength { len, expected: size_of::<T>() });
        }
        let mut value = T::zeroed();
        self.copy_part(self.opened.body, bytemuck::bytes_of_mut(&mut value));
        Ok(value)
    }

    /// What its sender says is in the body.
    pub fn content(&self) -> Content {
        Content::from_byte(self.opened.envelope.content).unwrap_or_default()
    }

    /// Which message it is.
    pub fn ticket(&self) -> Ticket {
        self.inbox.ticket(self.key)
    }

    /// How often it was handed out, this time included: 1 for a new message. Counted before it was handed out.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How often it may be handed out.
    pub fn max_attempts(&self) -> u32 {
        self.inbox.max_attempts(&self.opened.envelope)
    }

    /// How long ago it was sent.
    pub fn age(&self) -> Duration {
        self.opened.envelope.age(self.inbox.clock.now())
    }

    /// How long it is still worth anything, as its sender says.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.opened.envelope.deadline;
        (deadline != 0).then(|| clock::between(self.inbox.clock.now(), deadline))
    }

    /// Who sent it, as it says; empty when it does not.
    pub fn from(&self) -> String {
        let place = self.opened.name();
        let mut name = vec![0; place.len()];
        self.copy_part(place.start, &mut name);
        String::from_utf8_lossy(&name).into_owned()
    }

    /// The user who sent it, by the kernel's word: who owns the lane that it came through. Takes a system call.
    pub fn uid(&self) -> Result<u32, Error> {
        match self.source() {
            Source::Lane(message) => self.inbox.lane_owner(message.lane()),
            Source::Kept(letter) => Ok(letter.uid),
        }
    }

    /// The number of this message among those of its sender's handle, from 1.
    pub fn sequence(&self) -> u64 {
        self.opened.envelope.sequence
    }

    /// How many messages its sender has sent after it, through the same lane, that were not taken yet. Walks over them.
    pub fn newer_from_sender(&self) -> usize {
        match self.source() {
            Source::Lane(message) => message.count_newer(),
            Source::Kept(_) => self.inbox.count_newer(self.key),
        }
    }

    /// How urgent it is; what is handed out again counts as normal.
    pub fn priority(&self) -> Priority {
        match self.source() {
            Source::Lane(message) => message.priority(),
            Source::Kept(_) => Priority::Normal,
        }
    }

    /// Whether its sender waits for an answer: see [`reply`](Self::reply).
    pub fn wants_reply(&self) -> bool {
        self.opened.envelope.kind == Kind::Request as u8
    }

    /// Answers. Settles nothing: ack the message besides. False when whoever asked is gone, or did not ask for an answer.
    ///
    /// An answer that comes after the time that was waited for is discarded there, and counted.
    pub fn reply(&self, body: &[u8]) -> Result<bool, SendError> {
        request::reply(self.inbox, &self.opened.envelope, self.attempt, body)
    }

    /// Begins to answer in chunks. None when whoever asked is gone, or wants the answer in one piece, by [`reply`](Self::reply): that is
    /// what [`Mailbox::request`](super::Mailbox::request) does. Settles nothing.
    pub fn reply_stream(&self) -> Result<Option<ReplyStream>, SendError> {
        reply_stream::open(self.inbox.path(), &self.opened.envelope, self.attempt)
    }

    /// Says that it is still being worked on: the time since it was taken counts from now. Costs a store or two.
    pub fn in_progress(&self) {
        self.inbox.still_taken(self);
    }

    /// It is done: it will not be handed out again.
    #[inline]
    pub fn ack(mut self) {
        let source = self.source.take();
        self.inbox.ack(self.key, self.spot, self.attempt, source);
    }

    /// It failed this time: it is handed out again after the mailbox's backoff, or becomes a dead letter when it was handed
    /// out as often as it may be.
    ///
    /// # Errors
    /// When the message could not be kept for later (a full disk): it is handed out again at once.
    pub fn nack(self) -> Result<(), Error> {
        let delay = self.inbox.backoff(self.attempt);
        self.nack_after(delay)
    }

    /// As [`nack`](Self::nack), after this time.
    pub fn nack_after(mut self, delay: Duration) -> Result<(), Error> {
        self.give_back(delay)
    }

    /// It will never succeed: it becomes a dead letter now, and its state is `Failed`.
    ///
    /// # Errors
    /// When there was no room among the dead letters: the body is lost, as its reason says.
    pub fn reject(mut self) -> Result<(), Error> {
        let buried = self.inbox.reject(&self);
        self.inbox.finish(self.key, self.source.take());
        buried
    }

    fn give_back(&mut self, delay: Duration) -> Result<(), Error> {
        let kept = self.inbox.give_back(self, delay);
        match (kept, self.source.take()) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(Source::Lane(message))) => {
                message.put_back();
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if self.source.is_some() {
            let delay = self.inbox.backoff(self.attempt);
            // What cannot be kept for later comes again at once: nothing is lost.
            let _ = self.give_back(delay);
        }
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("ticket", &self.ticket())
            .field("attempt", &self.attempt)
            .field("len", &self.source.as_ref().map(|_| self.len()))
            .finish()
    }
}
