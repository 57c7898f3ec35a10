//! Dead letters: messages that were handed out as often as they may be, or refused, in a queue of their own that somebody may
//! look into, send again, or clear.

use super::envelope::Envelope;
use super::handle::Mailbox;
use super::post::{DEAD, ask_there, log_queue};
use super::ticket::{Reason, Ticket};
use crate::error::{Cause, Error, RecvError, SendError, TryRecvError};
use crate::ledger::Key;
use crate::queue::{self, Message, Observer, OnFull, Queue, Sender};
use bytemuck::{Pod, Zeroable};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// What stands before a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Label {
    key: u64,
    /// When it got there, by the host's clock for people.
    died_at_unix_ns: u64,
    attempts: u32,
    uid: u32,
    reason: u32,
    reserved: u32,
}

const LABEL: usize = size_of::<Label>();

fn open(mailbox: &Path, mail: &Queue) -> Result<Queue, Error> {
    log_queue(mailbox, DEAD, mail, 8)
}

/// The end at which messages die.
pub(super) struct Grave {
    sender: Sender,
    observer: Observer,
    /// Those that were there when we came: one that a kill left alive as well must not die twice. Looked up when the first
    /// one comes that was handed out by a receiver before us.
    before: Option<HashSet<u64>>,
}

impl Grave {
    pub(super) fn open(mailbox: &Path, mail: &Queue) -> Result<Grave, Error> {
        let queue = open(mailbox, mail)?;
        let sender = queue.sender_options().on_full(OnFull::GrowThenFail).attach()?;
        Ok(Grave { sender, observer: queue.observe()?, before: None })
    }

    /// Puts a message among the dead letters, unless it is there already.
    pub(super) fn bury(
        &mut self,
        key: Key,
        reason: Reason,
        attempts: u32,
        uid: u32,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        if self.before.is_none() {
            let there = self.observer.peek(usize::MAX).unwrap_or_default();
            self.before =
                Some(there.iter().filter_map(|letter| label(&letter.payload)).map(|label| label.key).collect());
        }
        if self.before.as_ref().is_some_and(|before| before.contains(&key.word())) {
            return Ok(());
        }
        let died_at_unix_ns = crate::sys::host::realtime_ns();
        let reason = reason.code().into();
        let label = Label { key: key.word(), died_at_unix_ns, attempts, uid, reason, reserved: 0 };
        self.sender.send_gathered([bytemuck::bytes_of(&label), bytes]).map(|_| ())
    }
}

fn label(record: &[u8]) -> Option<Label> {
    record.get(..LABEL).map(bytemuck::pod_read_unaligned)
}

/// A message that nobody could deal with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The ticket that its sender has.
    pub ticket: Ticket,
    /// Why it is here.
    pub reason: Reason,
    /// How often it was handed out.
    pub attempts: u32,
    /// When it got here, since 1970.
    pub died_at: Duration,
    /// The user who sent it.
    pub uid: u32,
    /// Who sent it, as it says.
    pub from: String,
    /// Its body; all of it when its envelope broke the rules.
    pub body: Vec<u8>,
}

fn read(record: &[u8], mailbox: u32) -> Option<DeadLetter> {
    let label = label(record)?;
    let (lane, position) = Key::from_word(label.key)?.place()?;
    let rest = &record[LABEL..];
    let opened = Envelope::of_bytes(rest).ok();
    let name = opened.map_or(0..0, |opened| opened.name());
    Some(DeadLetter {
        ticket: Ticket { mailbox, message: queue::Ticket { lane, position } },
        reason: Reason::from_code(label.reason as u8),
        attempts: label.attempts,
        died_at: Duration::from_nanos(label.died_at_unix_ns),
        uid: label.uid,
        from: String::from_utf8_lossy(&rest[name]).into_owned(),
        body: rest[opened.map_or(0, |opened| opened.body)..].to_vec(),
    })
}

/// What came of a dead letter that was to be sent again.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The dead letters could not be opened, or somebody else is at them.
    Open(Error),
    /// It could not be sent; it stays among the dead letters, with those behind it.
    Send(super::handle::SendError),
    /// The queue of the dead letters is damaged.
    Corrupt(RecvError),
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Open(error) => error.fmt(f),
            ReplayError::Send(error) => error.fmt(f),
            ReplayError::Corrupt(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {}

impl Mailbox {
    /// The queue of the dead letters, if there ever were any. Creates nothing.
    fn look_for_dead(&self) -> Result<Option<Queue>, Error> {
        ask_there(self.path(), &self.queue)?;
        match Queue::open(self.path().join(DEAD)) {
            Err(error) if matches!(error.cause(), Cause::NotFound) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The dead letters, the oldest first. Disturbs nobody.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let Some(queue) = self.look_for_dead()? else { return Ok(Vec::new()) };
        let letters = queue.observe()?.peek(usize::MAX)?;
        let id = super::handle::id(&self.queue);
        let mut letters: Vec<DeadLetter> = letters.iter().filter_map(|letter| read(&letter.payload, id)).collect();
        // Some may have been moved, and one that a kill left in both places is still one.
        letters.sort_by_key(|letter| letter.died_at);
        let mut seen = HashSet::new();
        letters.retain(|letter| seen.insert(letter.ticket));
        Ok(letters)
    }

    /// Sends dead letters again that `chosen` picks, as new messages, and gives their old and new tickets. A kill between the two
    /// leaves one in both places: at least once, as everything here. Refused while somebody else does this.
    pub fn replay_dead(
        &mut self,
        chosen: impl FnMut(&DeadLetter) -> bool,
    ) -> Result<Vec<(Ticket, Ticket)>, ReplayError> {
        let mut sent = Vec::new();
        self.exhume(chosen, |mailbox, letter, envelope| {
            let mut draft = mailbox.compose();
            if let Some(envelope) = envelope {
                draft = draft.content(super::envelope::Content::from_byte(envelope.content).unwrap_or_default());
            }
            sent.push((letter.ticket, draft.send(&letter.body).map_err(ReplayError::Send)?));
            Ok(())
        })?;
        Ok(sent)
    }

    /// Clears away dead letters that `chosen` picks, and says how many there were.
    pub fn drop_dead(&mut self, chosen: impl FnMut(&DeadLetter) -> bool) -> Result<usize, ReplayError> {
        let mut dropped = 0;
        self.exhume(chosen, |_, _, _| {
            dropped += 1;
            Ok(())
        })?;
        Ok(dropped)
    }

    /// Does something with dead letters that are picked, which are gone then; the others stay.
    fn exhume(
        &mut self,
        mut chosen: impl FnMut(&DeadLetter) -> bool,
        mut act: impl FnMut(&mut Mailbox, &DeadLetter, Option<Envelope>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let id = super::handle::id(&self.queue);
        let Some(queue) = self.look_for_dead().map_err(ReplayError::Open)? else { return Ok(()) };
        let receiver = queue.receiver().map_err(ReplayError::Open)?;
        let mut seen = HashSet::new();
        let mut others: Vec<Message<'_>> = Vec::new();
        // How many of these came before one that is gone.
        let mut before = 0;
        let outcome = loop {
            let message = match receiver.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break Ok(()),
                Err(TryRecvError::Corrupt(damage)) => break Err(ReplayError::Corrupt(RecvError::Corrupt(damage))),
                Err(TryRecvError::Detached) => break Err(ReplayError::Corrupt(RecvError::Detached)),
            };
            let record = message.to_vec();
            let is_twice = label(&record).is_some_and(|label| !seen.insert(label.key));
            let envelope =
                record.get(LABEL..).and_then(|rest| Envelope::of_bytes(rest).ok()).map(|opened| opened.envelope);
            let acted = match read(&record, id).filter(|letter| !is_twice && chosen(letter)) {
                Some(letter) => act(self, &letter, envelope),
                None if is_twice => Ok(()),
                None => {
                    others.push(message);
                    continue;
                }
            };
            match acted {
                Ok(()) => {
                    message.release();
                    before = others.len();
                }
                Err(error) => {
                    others.push(message);
                    break Err(error);
                }
            }
        };
        // A lane is given back from its front: what lies there moves to the end, or those that are gone come again with it.
        let moved = move_to_end(&queue, others.drain(..before));
        // In the order in which they come again.
        others.into_iter().rev().for_each(Message::put_back);
        outcome.and(moved)
    }
}

/// Appends messages of a queue to it, and releases each once it is there. What cannot be moved stays where it is.
fn move_to_end<'a>(queue: &Queue, messages: impl ExactSizeIterator<Item = Message<'a>>) -> Result<(), ReplayError> {
    if messages.len() == 0 {
        return Ok(());
    }
    let mut outcome = queue.sender_options().on_full(OnFull::GrowThenFail).attach().map_err(ReplayError::Open);
    for message in messages {
        let sent = outcome.and_then(|mut sender| match sender.send(&message.to_vec()) {
            Ok(_) => Ok(sender),
            Err(error) => Err(ReplayError::Send(super::handle::SendError::Queue(error))),
        });
        match &sent {
            Ok(_) => message.release(),
            Err(_) => message.put_back(),
        }
        outcome = sent;
    }
    outcome.map(|_| ())
}
