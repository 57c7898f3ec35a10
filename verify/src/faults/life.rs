//! The whole life of a queue in one process: every kind of system call that the library makes is made here.
//!
//! A step that fails is tried again once: what failed for a moment must not keep the process from going on.

use super::ledger::Ledger;
use crate::mail::Mail;
use anyhow::{Context, Result, ensure};
use laneway::{Message, OnFull, Queue, Receiver, RecvError, SendError, Sender, TryRecvError, Wait};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The longest message, of which some are longer than the ring.
pub(crate) const MAX: usize = 9000;
/// Bytes of ring.
pub(crate) const RING: u64 = 4096;
/// Nothing that somebody is awake to do takes so long.
const LONG: Duration = Duration::from_secs(15);
/// Shorter than the longest sleep of the library: a wait that nobody ends.
const SHORT: Duration = Duration::from_millis(2);

/// The call behind which the life begins, for whoever counts calls.
pub(crate) const MARK: &str = "laneway-verify-life-begins";

/// Set where nobody answers.
pub(crate) const ALONE: &str = "LANEWAY_VERIFY_ALONE";

struct Life {
    ledger: &'static Ledger,
    directory: PathBuf,
    queue: Option<Queue>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

type Step = (&'static str, fn(&mut Life) -> Result<()>);

const STEPS: &[Step] = &[
    ("create", Life::create),
    ("attach a receiver", Life::attach_receiver),
    ("attach a sender", Life::attach_sender),
    ("send", |life| life.send(10)),
    ("grow", |life| life.send(60)),
    ("wait for room", Life::wait_for_room),
    ("receive", Life::receive),
    ("drain", Life::drain),
    ("sleep", Life::sleep),
    ("be woken", Life::be_woken),
    ("close", Life::close),
    ("adopt", Life::attach_sender),
    ("grow again", |life| life.send(40)),
    ("leave", Life::leave),
    ("adopt what has grown", Life::attach_sender),
    ("receive again", Life::drain),
    ("trim", Life::trim),
    ("look", Life::look),
    ("attach another receiver", Life::attach_another),
    ("create and destroy", Life::destroy),
];

/// Lives in `directory`. 0 when all went well, in the end; 3 when something was refused for good.
pub(crate) fn live(directory: &Path) -> u8 {
    let Ok(ledger) = Ledger::open(&directory.join("ledger")) else { return 65 };
    let hook_ledger = ledger;
    std::panic::set_hook(Box::new(move |panic| hook_ledger.tell(&format!("panicked: {panic}"))));
    let mut life = Life { ledger, directory: directory.to_owned(), queue: None, sender: None, receiver: None };
    let _ = std::fs::metadata(MARK);
    for (name, step) in STEPS {
        ledger.begun.fetch_add(1, SeqCst);
        let refused = |error: &anyhow::Error| ledger.tell(&format!("{name}: {error:#}"));
        if step(&mut life).inspect_err(refused).is_err() && step(&mut life).inspect_err(refused).is_err() {
            return 3;
        }
        ledger.done.fetch_add(1, SeqCst);
    }
    0
}

impl Life {
    fn queue(&self) -> Result<&Queue> {
        self.queue.as_ref().context("there is no queue")
    }

    fn create(&mut self) -> Result<()> {
        let options = Queue::options().capacity(RING).overflow_limit(64 << 10).max_lanes(4).max_message(MAX as u64);
        self.queue = Some(options.open_or_create(self.directory.join("queue"))?);
        Ok(())
    }

    fn attach_receiver(&mut self) -> Result<()> {
        self.receiver = Some(self.queue()?.receiver()?);
        Ok(())
    }

    fn attach_sender(&mut self) -> Result<()> {
        let sender = self.queue()?.sender()?;
        sender.set_wait(Wait::Park);
        self.sender = Some(sender);
        Ok(())
    }

    /// Sends, and takes what is in the way where a lane can hold no more.
    fn send(&mut self, count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let sender = self.sender.as_mut().context("no sender")?;
            let lane = &self.ledger.lanes[sender.lane() as usize];
            let number = lane.begun.load(SeqCst) + 1;
            let mail = Mail { epoch: 0, lane: sender.lane(), number, after: lane.promised.load(SeqCst) };
            lane.begun.store(number, SeqCst);
            let answer = sender.try_send(&mail.write(MAX));
            if answer.is_err() {
                lane.begun.store(number - 1, SeqCst);
            }
            match answer {
                Ok(_) => lane.promised.store(number, SeqCst),
                // The file system has no room, it says: then there is room when there is less in the lane.
                Err(laneway::TrySendError::NoSpace | laneway::TrySendError::Full) => self.take(8)?,
                Err(error) => return Err(error.into()),
            }
            left -= 1;
        }
        Ok(())
    }

    fn wait_for_room(&mut self) -> Result<()> {
        let sender = self.sender.as_mut().context("no sender")?;
        sender.set_on_full(OnFull::Block);
        let lane = &self.ledger.lanes[sender.lane() as usize];
        for _ in 0..200 {
            let number = lane.begun.load(SeqCst) + 1;
            let mail = Mail { epoch: 0, lane: sender.lane(), number, after: lane.promised.load(SeqCst) };
            let bytes = mail.write(MAX);
            lane.begun.store(number, SeqCst);
            let answer = sender.send_timeout(&bytes, SHORT);
            if answer.is_err() {
                lane.begun.store(number - 1, SeqCst);
            }
            match answer {
                Ok(_) => lane.promised.store(number, SeqCst),
                Err(SendError::Timeout | SendError::TooLarge { .. }) => {
                    sender.set_on_full(OnFull::GrowThenBlock);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("a ring of {RING} bytes took 200 messages")
    }

    fn handle(ledger: &Ledger, message: &Message<'_>) -> Result<()> {
        let mail = Mail::read(&message.to_vec(), MAX).context("torn")?;
        let lane = &ledger.lanes[message.lane() as usize];
        let handled = lane.handled.load(SeqCst);
        ensure!(mail.after <= handled && handled < mail.number, "{mail:?} behind {handled}: lost, or twice");
        lane.handled.store(mail.number, SeqCst);
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<()> {
        let receiver = self.receiver.as_ref().context("no receiver")?;
        for message in receiver.try_iter().take(count) {
            Self::handle(self.ledger, &message)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        self.take(20)
    }

    fn drain(&mut self) -> Result<()> {
        let receiver = self.receiver.as_ref().context("no receiver")?;
        for message in receiver.drain()? {
            Self::handle(self.ledger, &message)?;
        }
        if let [damage, ..] = receiver.damage()[..] {
            // A lane that may not be read: who receives next tries again.
            self.receiver = None;
            self.attach_receiver()?;
            anyhow::bail!("{damage}");
        }
        for lane in &self.ledger.lanes {
            let (handled, promised) = (lane.handled.load(SeqCst), lane.promised.load(SeqCst));
            ensure!(handled >= promised, "lost: {handled} of {promised} came");
        }
        Ok(())
    }

    fn sleep(&mut self) -> Result<()> {
        let receiver = self.receiver.as_ref().context("no receiver")?;
        receiver.set_wait(Wait::Park);
        match receiver.recv_timeout(SHORT) {
            Err(RecvError::Timeout) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(message) => Self::handle(self.ledger, &message),
        }
    }

    /// Wakes somebody who echoes, and sleeps until he has.
    fn be_woken(&mut self) -> Result<()> {
        if std::env::var_os(ALONE).is_some() {
            return Ok(());
        }
        let mut there = Queue::open(self.directory.join("there"))?.sender()?;
        let back = Queue::open(self.directory.join("back"))?.receiver()?;
        back.set_wait(Wait::Park);
        for _ in 0..3 {
            there.send_timeout(b"echo", LONG)?;
            let heard = back.recv_timeout(LONG)?.to_vec();
            ensure!(heard == b"echo", "another echo");
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(sender) = self.sender.take() {
            sender.close();
        }
        self.drain()?;
        match self.receiver.as_ref().context("no receiver")?.try_recv() {
            Err(TryRecvError::Closed | TryRecvError::Empty) => Ok(()),
            other => anyhow::bail!("{other:?} after everything was drained"),
        }
    }

    fn leave(&mut self) -> Result<()> {
        self.sender = None;
        Ok(())
    }

    fn trim(&mut self) -> Result<()> {
        if let Some(mut sender) = self.sender.take() {
            sender.trim();
        }
        self.queue()?.trim()?;
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        let mut observer = self.queue()?.observe()?;
        observer.peek(10)?;
        observer.lanes()?;
        ensure!(observer.stat()?.depth_messages == 0, "messages that were drained are seen");
        ensure!(observer.receiver_alive()?, "the receiver lives");
        ensure!(Queue::list(&self.directory)?.contains(&"queue".to_owned()), "the queue is not listed");
        Ok(())
    }

    fn attach_another(&mut self) -> Result<()> {
        self.receiver = None;
        self.attach_receiver()
    }

    fn destroy(&mut self) -> Result<()> {
        let queue = Queue::options().capacity(RING).max_lanes(1).open_or_create(self.directory.join("other"))?;
        queue.sender()?.send(b"gone with it")?;
        queue.destroy()?;
        Queue::sweep(&self.directory)?;
        Ok(())
    }
}
