//! An agent that works in turns, and hears what it is told while it works.
//!
//! A loop that drains its queue somewhere in the middle has two gaps: what is sent between two turns waits for the middle of the next one, and is never seen
//! by a turn that has no middle; and what is sent during the last step waits for a turn that may never come. So mail is looked for at three places: **on
//! entry**, **between steps**, and **before the turn stops**. [`Idle`] and [`Turn`] are one agent in its two states, so that none of the
//! three can be left out: a turn begins only by handling what was there, and there is no way back to idle but by an instant at which the queue
//! was empty.
//!
//! ```text
//!             begin: handles all that was there
//!      Idle ─────────────────────────────────▶ Turn ◀─┐ step: handles what came
//!        ▲                                      │ │ └──┘
//!        └──────── Ended::Quiet(Idle) ◀─ finish ┘ └ finish ─▶ Ended::Late(Turn): handled what came, and goes on
//! ```
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let queue = laneway::Queue::create(dir.path().join("agent"))?;
//! # queue.sender()?.send(b"use the new parser")?;
//! use laneway::agent::{Ended, Idle};
//! # let mut requests = vec!["a task"];
//! let mail = queue.receiver()?;
//! let mut session: Vec<String> = Vec::new();
//! let mut idle = Idle::new(&mail);
//! while let Some(request) = requests.pop() {
//!     let mut note = |message: laneway::Message<'_>| session.push(String::from_utf8_lossy(&message.to_vec()).into_owned());
//!     let mut turn = idle.begin(&mut note)?;
//!     // ... `request`, and what was noted, go to the model; for each batch of tools that it calls:
//!     turn.step(&mut note)?;
//!     idle = loop {
//!         match turn.finish(&mut note)? {
//!             Ended::Quiet(idle) => break idle,
//!             // Something came after all: another step, with it.
//!             Ended::Late(more) => turn = more,
//!         }
//!     };
//! }
//! assert_eq!(session, ["use the new parser"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::error::{Error, RecvError};
use crate::queue::{Message, Receiver, TurnEnd};
use std::time::{Duration, Instant};

/// An agent between two turns. Nothing is said of mail while it is idle: what comes is for the turn that begins next.
#[derive(Debug)]
#[must_use = "it is the agent's state: begin a turn, or wait for mail"]
pub struct Idle<'a> {
    mail: &'a Receiver,
}

/// An agent in a turn. Made by [`Idle::begin`], ended by [`finish`](Self::finish).
///
/// A turn that is given up, by an error say, is simply dropped: what was not handled lies in the queue, for whatever begins next.
#[derive(Debug)]
#[must_use = "a turn that is dropped has not looked whether something came: finish it"]
pub struct Turn<'a> {
    mail: &'a Receiver,
    handled: usize,
}

/// How [`Turn::finish`] went.
#[derive(Debug)]
#[must_use = "a turn in which something came late is not over"]
pub enum Ended<'a> {
    /// There was an instant during the call at which the queue was empty: the turn is over.
    Quiet(Idle<'a>),
    /// Messages came in the meantime and were handled just now: the turn goes on, with them.
    Late(Turn<'a>),
}

impl<'a> Idle<'a> {
    /// An agent that is idle, with its mail.
    pub fn new(mail: &'a Receiver) -> Idle<'a> {
        Idle { mail }
    }

    /// Begins a turn: has everything handled that was committed before the call, before anything else is done. Never blocks.
    ///
    /// # Errors
    /// As [`Receiver::drain`]. The queue keeps what was not handled.
    pub fn begin(self, handle: impl FnMut(Message<'a>)) -> Result<Turn<'a>, Error> {
        let mut turn = Turn { mail: self.mail, handled: 0 };
        turn.step(handle)?;
        Ok(turn)
    }

    /// Waits until there is mail, at most for `timeout`: an agent that is started by what it is told. False when the time ran out, or
    /// nothing can come any more.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            match self.mail.recv_timeout(left) {
                // The other lanes go on.
                Err(RecvError::Corrupt(_)) => {}
                answer => return answer.map(Message::put_back).is_ok(),
            }
        }
    }
}

impl<'a> Turn<'a> {
    /// Between two steps of the turn: has everything handled that was committed before the call, and says how many messages that
    /// were. Never blocks.
    ///
    /// # Errors
    /// As [`Receiver::drain`].
    pub fn step(&mut self, handle: impl FnMut(Message<'a>)) -> Result<usize, Error> {
        let mail = self.mail;
        let before = self.handled;
        let mut handle = handle;
        for message in mail.drain()? {
            self.handled += 1;
            handle(message);
        }
        Ok(self.handled - before)
    }

    /// Ends the turn, if the queue is empty; otherwise has handled what came, and the turn goes on. Never blocks.
    ///
    /// # Errors
    /// As [`Receiver::drain`].
    pub fn finish(mut self, mut handle: impl FnMut(Message<'a>)) -> Result<Ended<'a>, Error> {
        let mail = self.mail;
        let late = match mail.finish_turn()? {
            TurnEnd::Quiet => return Ok(Ended::Quiet(Idle { mail })),
            TurnEnd::Late(late) => late,
        };
        for message in late {
            self.handled += 1;
            handle(message);
        }
        Ok(Ended::Late(self))
    }

    /// How many messages were handled in this turn.
    pub fn handled(&self) -> usize {
        self.handled
    }
}
