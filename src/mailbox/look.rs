//! Seeing what is sent to a mailbox, and what waits in it, without serving it.

use super::clock::{self, Clock};
use super::handle::Mailbox;
use super::kept::Log;
use super::onlooker::Peeked;
use super::ticket::Status;
use crate::error::Error;
use crate::ledger::Key;
use crate::queue::{self, Observer, Priority, Since, Traffic};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A message that waits in a mailbox or is in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The message.
    pub message: Peeked,
    /// What became of it so far.
    pub status: Status,
    /// Of one that is kept for later: how long it is until it is handed out.
    pub due_in: Option<Duration>,
}

/// Live traffic of a mailbox, without serving it; made by [`Mailbox::tail`]. As [`queue's`](crate::Tail), message by message as
/// they are sent; a message that is handed out again does not come again.
pub struct Tail {
    tail: queue::Tail,
    id: u32,
    clock: Clock,
}

impl Tail {
    /// The next thing there is to see, if there is any now. See [`try_next`](crate::Tail::try_next) of a queue's.
    pub fn try_next(&mut self) -> Result<Option<Traffic<Peeked>>, Error> {
        Ok(self.tail.try_next()?.map(|traffic| self.open(traffic)))
    }

    /// As [`try_next`](Self::try_next), and waits until there is something, at most for `timeout` if there is one: none when
    /// nothing came.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Traffic<Peeked>>, Error> {
        Ok(self.tail.next(timeout)?.map(|traffic| self.open(traffic)))
    }

    fn open(&self, traffic: Traffic) -> Traffic<Peeked> {
        traffic.map(|peeked| Peeked::of(peeked, self.id, self.clock.now()))
    }

    /// The observer of the mailbox's queue.
    pub fn observer(&mut self) -> &mut Observer {
        self.tail.observer()
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tail.fmt(f)
    }
}

impl Mailbox {
    /// What is sent to the mailbox from now on, or also what is there already, as `since` says; disturbs nobody.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let post = laneway::mailbox::Post::open(dir.path()).from("frontend");
    /// # let mut backend = post.mailbox("backend")?;
    /// use laneway::{Since, Traffic};
    ///
    /// let mut tail = backend.tail(Since::Now)?;
    /// let ticket = backend.send(b"run the tests")?;
    /// let Some(Traffic::Message(seen)) = tail.next(None)? else { panic!("nothing else was going on") };
    /// assert_eq!((seen.ticket, seen.from.as_str(), &seen.body[..]), (ticket, "frontend", &b"run the tests"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tail(&self, since: Since) -> Result<Tail, Error> {
        Ok(Tail { tail: self.queue.observe()?.tail(since), id: self.id, clock: Clock::new() })
    }

    /// Up to `max` messages that wait or are in somebody's hands, in the order in which they would be handed out to one who begins
    /// to serve the mailbox now: those that were kept and are due, then as [`Observer::upcoming`] has it, then those that are kept
    /// for later. Disturbs nobody, and ends however fast they come: what is sent meanwhile is left out. What is about to expire, to be
    /// superseded or to be rolled away is still there.
    pub fn waiting(&mut self, max: usize) -> Result<Vec<Waiting>, Error> {
        let (mailbox, now) = (self.id, self.clock.now());
        // First what lies in the lanes: what is kept meanwhile is then found in the log, if not in both.
        let upcoming = self.observer.upcoming(usize::MAX)?;
        let priorities: BTreeMap<u32, Priority> =
            self.observer.views().map(|(number, priority, _)| (number, priority)).collect();
        let log = Log::look(self.path())?;
        let mut kept: Vec<_> = log.letters.values().collect();
        kept.sort_by_key(|letter| letter.due);
        let (due, later): (Vec<_>, Vec<_>) = kept.into_iter().partition(|letter| letter.due <= now);
        let mut waiting = Vec::new();
        let mut add = |mailbox: &mut Mailbox, message: Peeked, due_in| {
            if waiting.len() == max {
                return Ok(());
            }
            let status = mailbox.status(&message.ticket)?;
            if !status.state.is_final() {
                waiting.push(Waiting { message, status, due_in });
            }
            Ok::<(), Error>(())
        };
        let letter = |letter: &super::kept::Letter| {
            let (lane, position) = letter.key.place()?;
            let priority = priorities.get(&lane).copied().unwrap_or_default();
            let peeked =
                queue::Peeked { ticket: queue::Ticket { lane, position }, priority, payload: letter.bytes.clone() };
            Some((Peeked::of(peeked, mailbox, now), Some(clock::between(now, letter.due))))
        };
        for (message, due_in) in due.into_iter().filter_map(letter) {
            add(self, message, due_in)?;
        }
        for peeked in upcoming {
            let key = Key::message(peeked.ticket.lane, peeked.ticket.position);
            let elsewhere = |key| log.letters.contains_key(&key) || log.struck.contains(&key);
            if !key.is_some_and(elsewhere) {
                add(self, Peeked::of(peeked, mailbox, now), None)?;
            }
        }
        for (message, due_in) in later.into_iter().filter_map(letter) {
            add(self, message, due_in)?;
        }
        Ok(waiting)
    }
}
