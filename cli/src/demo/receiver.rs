//! The demo's receiver process.

use super::check::Book;
use super::protocol::{ReceiverReport, Said, Told};
use crate::team::{listen, say};
use anyhow::{Result, bail};
use laneway::{Queue, Receiver, RecvError};
use std::path::PathBuf;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// How long the launcher may hear nothing while nothing comes.
const QUIET: Duration = Duration::from_millis(50);

pub(super) fn run(path: PathBuf, senders: u32, every: u64) -> Result<()> {
    let receiver = Queue::open(&path)?.receiver()?;
    // Without a launcher nobody else would take the queue away. Whichever thread learns of it first does that, and
    // the process does not end before it is done.
    let once = Arc::new(Once::new());
    let clear_up = move || once.call_once(|| drop(Queue::remove(&path)));
    let told = listen(clear_up.clone());
    receive(receiver, &told, senders, every).inspect_err(|_| clear_up())
}

fn receive(receiver: Receiver, told: &mpsc::Receiver<Told>, senders: u32, every: u64) -> Result<()> {
    say(&Said::Ready { lane: None })?;
    let mut desk = Desk { receiver, book: Book::new(senders), payload: Vec::new() };
    let mut since_progress = 0;
    let mut progress_at = Instant::now();
    loop {
        let closed = desk.take_one()?;
        since_progress += 1;
        // The clock and the orders are looked at between messages, but not between all of them.
        let pause = since_progress % 64 == 0 || desk.payload.is_empty();
        if pause {
            // Every sender has closed, so this is the end; what is left is to be told so.
            let order = if closed { told.recv().map_err(|_| TryRecvError::Disconnected) } else { told.try_recv() };
            match order {
                Err(TryRecvError::Empty) => {}
                Ok(Told::HowFar { sender }) => {
                    desk.take_all()?;
                    say(&Said::CameTo { sender, next: desk.book.next_of(sender) })?;
                }
                Ok(Told::Finish) => {
                    desk.take_all()?;
                    return say(&Said::Received(desk.report()));
                }
                Ok(Told::Go) | Err(TryRecvError::Disconnected) => bail!("the launcher makes no sense"),
            }
        }
        if since_progress >= every || pause && progress_at.elapsed() >= QUIET {
            (since_progress, progress_at) = (0, Instant::now());
            say(&Said::Progress { received: desk.book.received() })?;
        }
    }
}

/// A receiver and its book.
struct Desk {
    receiver: Receiver,
    book: Book,
    /// Of the last message; empty when there was none.
    payload: Vec<u8>,
}

impl Desk {
    /// Takes the next message if one comes soon. Returns whether none can come any more.
    fn take_one(&mut self) -> Result<bool> {
        self.payload.clear();
        match self.receiver.recv_timeout(QUIET) {
            Ok(message) => {
                message.append_to(&mut self.payload);
                self.book.enter(&self.payload);
                Ok(false)
            }
            Err(RecvError::Closed) => Ok(true),
            // Damage is in the report; the other lanes go on.
            Err(RecvError::Timeout | RecvError::Corrupt(_)) => Ok(false),
            Err(error) => bail!("the demo's receiver: {error}"),
        }
    }

    /// Takes everything that was committed before now.
    fn take_all(&mut self) -> Result<()> {
        for message in self.receiver.drain()? {
            self.payload.clear();
            message.append_to(&mut self.payload);
            self.book.enter(&self.payload);
        }
        Ok(())
    }

    fn report(self) -> ReceiverReport {
        ReceiverReport {
            waits: self.receiver.wait_stats().into(),
            damage: self.receiver.damage().iter().map(ToString::to_string).collect(),
            ..self.book.report()
        }
    }
}
