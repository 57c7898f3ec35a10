//! What there is to be seen of a mailbox's messages, for people: nothing is taken, and nobody is disturbed.

use super::envelope::{Content, Envelope, Kind, Opened};
use super::handle::Mailbox;
use super::ticket::{Status, Ticket};
use crate::error::Error;
use crate::queue::{self, Observer, Priority};
use std::time::Duration;

/// A message that waits or is taken, as an onlooker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// Which message it is.
    pub ticket: Ticket,
    /// How urgent it is.
    pub priority: Priority,
    /// Who sent it, by its own word; empty when it did not say.
    pub from: String,
    /// How long ago it was sent.
    pub age: Duration,
    /// What the body is.
    pub content: Content,
    /// Whether its sender waits for an answer.
    pub wants_reply: bool,
    /// The body; the whole message when what stands before it breaks the rules.
    pub body: Vec<u8>,
    /// What is wrong with what stands before the body, as a sentence: it will be a dead letter, and there is no more to say of it.
    pub malformed: Option<String>,
}

impl Peeked {
    /// What an observer of a mailbox's queue has seen.
    pub(super) fn of(message: queue::Peeked, mailbox: u32, now: u64) -> Peeked {
        let queue::Peeked { ticket, priority, mut payload, .. } = message;
        let ticket = Ticket { mailbox, message: ticket };
        let read = |opened: Opened| {
            let Opened { envelope, body } = opened;
            let from = String::from_utf8_lossy(&payload[opened.name()]).into_owned();
            let content = Content::from_byte(envelope.content).unwrap_or_default();
            (from, envelope.age(now), content, envelope.kind == Kind::Request as u8, body, None)
        };
        let (from, age, content, wants_reply, body, malformed) = Envelope::of_bytes(&payload).map_or_else(
            |wrong| {
                let why = format!("its envelope breaks the rules: {} is {}", wrong.field, wrong.found);
                (String::new(), Duration::ZERO, Content::Bytes, false, 0, Some(why))
            },
            read,
        );
        Peeked { ticket, priority, from, age, content, wants_reply, body: payload.split_off(body), malformed }
    }
}

impl Mailbox {
    /// Copies of up to `max` messages of each lane that wait or are taken, a lane's oldest first; those that are kept for later
    /// are left out, and so is what is no mail.
    pub fn peek(&mut self, max: usize) -> Result<Vec<Peeked>, Error> {
        let seen = self.observer.peek(max)?;
        Ok(seen.into_iter().filter_map(|message| self.read_mail(message)).collect())
    }

    /// What an observer of [the mail](Self::observer) has seen, as mail; none for what is no mail.
    pub fn read_mail(&self, message: queue::Peeked) -> Option<Peeked> {
        Some(Peeked::of(message, self.id, self.clock.now())).filter(|mail| mail.malformed.is_none())
    }

    /// The observer of the queue in which the mail lies: its lanes, its bytes, and its messages with what stands before them.
    pub fn observer(&mut self) -> &mut Observer {
        &mut self.observer
    }

    /// How long ago the oldest message was sent that waits in a lane or is taken from it; none when there is none. Those that are kept
    /// for later are left out. Copies the oldest message of each lane.
    pub fn oldest(&mut self) -> Result<Option<Duration>, Error> {
        let first = self.observer.peek(1)?;
        let opened = first.iter().filter_map(|message| Envelope::of_bytes(&message.payload).ok());
        let now = self.clock.now();
        Ok(opened.map(|opened| opened.envelope.age(now)).max())
    }

    /// What became of the last messages that somebody has looked at: the last change first, at most `max`, of those that are
    /// remembered. Reads all that is remembered: 32 bytes for each of [`Settings::outcomes`](super::Settings::outcomes).
    pub fn outcomes(&self, max: usize) -> Vec<(Ticket, Status)> {
        let now = self.clock.now();
        let newest = self.ledger.newest(max).into_iter();
        newest
            .filter_map(|(key, entry)| {
                let (lane, position) = key.place()?;
                let ticket = Ticket { mailbox: self.id, message: queue::Ticket { lane, position } };
                Some((ticket, Status::of(&entry, now)))
            })
            .collect()
    }
}
