//! The serving end of a mailbox: one message after the other, judged, written into the ledger, and handed out.

use super::clock::{self, Clock};
use super::dead::Grave;
use super::delivery::Delivery;
use super::envelope::Envelope;
use super::handle::{control_queue, id, settings};
use super::kept::Kept;
use super::request::Answers;
use super::settings::Settings;
use super::stats::{Count, Counters};
use super::ticket::{Reason, State, Ticket};
use crate::error::{Damage, Error, RecvError as QueueError, TryRecvError};
use crate::ledger::{Key, Ledger};
use crate::queue::{self, Message, Observer, Queue, Receiver};
use crate::wait::Wait;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The one who serves a mailbox; made by [`Post::serve`](super::Post::serve).
///
/// `Send`, not `Sync`. Messages are handed out one by one; several may be held, and settled in any order. What is held when the
/// process dies is handed out again, to whoever serves the mailbox next.
pub struct Inbox {
    pub(super) control: Receiver,
    pub(super) ledger: Ledger,
    pub(super) counters: Counters,
    pub(super) observer: RefCell<Observer>,
    pub(super) kept: RefCell<Kept>,
    pub(super) grave: RefCell<Option<Grave>>,
    pub(super) answers: RefCell<Answers>,
    /// Messages that were handed out from their lanes and are not settled.
    pub(super) held: RefCell<Vec<(u32, u64)>>,
    /// How many messages are in anybody's hands, from wherever.
    pub(super) in_hands: Cell<u64>,
    /// Messages of which the ledger says that they are done with while they still lie in their lanes: it must not forget that.
    pub(super) ahead: RefCell<BTreeSet<Key>>,
    /// For each lane: the ledger says nothing of a message from here on. 0: nothing has come from it.
    pub(super) known_to: Box<[Cell<u64>]>,
    /// More are kept than half of what the ledger holds.
    pub(super) kept_too_many: Cell<bool>,
    /// A lane has come of which the observer may not know.
    pub(super) lane_came: Cell<bool>,
    /// The last look came back before it had looked at all there is.
    gave_up: Cell<bool>,
    /// Messages taken since those that wait were counted.
    pub(super) uncounted: Cell<u32>,
    /// When that was.
    pub(super) counted_at: Cell<u64>,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    pub(super) path: PathBuf,
    pub(super) id: u32,
    /// Dropped last: who takes its lock finds the others free.
    pub(super) mail: Receiver,
}

/// Why no message was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing came until the time ran out. `recv` never returns this.
    Timeout,
    /// As many messages are taken as may be at a time, or were settled behind one that is: settle some.
    Busy {
        /// How many there are.
        taken: usize,
    },
    /// A sender's lane was damaged just now. It is reported once; the other lanes go on.
    Corrupt(Damage),
    /// The mailbox was removed.
    Detached,
    /// Another thread has ended the wait, by an [`Interrupter`].
    Interrupted,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Timeout => write!(f, "nothing came until the time ran out"),
            RecvError::Busy { taken } => write!(f, "{taken} messages are taken and not settled: settle some first"),
            RecvError::Corrupt(damage) => damage.fmt(f),
            RecvError::Detached => write!(f, "the mailbox was removed"),
            RecvError::Interrupted => write!(f, "another thread has ended the wait"),
        }
    }
}

impl std::error::Error for RecvError {}

/// How long to wait where the queue below does not.
const CLOSED_PAUSE: Duration = Duration::from_millis(10);

/// How many messages are taken until those that wait are counted again.
const COUNT_EVERY: u32 = 64;

/// And how long after the last time the next message is reason enough: each count takes lines away from all senders.
const COUNT_AFTER_NS: u64 = 1_000_000;

impl Inbox {
    pub(super) fn attach(path: PathBuf, queue: Queue) -> Result<Inbox, Error> {
        let settings = settings(&queue)?;
        // The lock, for everything that follows.
        let mail = queue.receiver()?;
        let control = control_queue(&path, &queue)?.receiver()?;
        let kept = Kept::open(&path, &queue)?;
        let (memory, desk) = queue.ledger(true)?;
        let inbox = Inbox {
            ledger: Ledger::new(&memory, &desk, queue.ledger_entries(), queue.fences()),
            counters: Counters::new(&memory),
            observer: RefCell::new(queue.observe()?),
            kept: RefCell::new(kept),
            grave: RefCell::new(None),
            answers: RefCell::new(Answers::new(&path)),
            held: RefCell::default(),
            in_hands: Cell::new(0),
            ahead: RefCell::default(),
            known_to: (0..queue.max_lanes()).map(|_| Cell::new(0)).collect(),
            kept_too_many: Cell::new(false),
            lane_came: Cell::new(false),
            gave_up: Cell::new(false),
            uncounted: Cell::new(0),
            counted_at: Cell::new(0),
            clock: Clock::new(),
            id: id(&queue),
            mail,
            control,
            settings,
            queue,
            path,
        };
        inbox.recall()?;
        inbox.recall_settled();
        inbox.counters.set(Count::Taken, 0);
        inbox.count_kept();
        Ok(inbox)
    }

    /// What is known of those who served before: how far they came, and what they settled that still lies in its lane.
    fn recall(&self) -> Result<(), Error> {
        let mut observer = self.observer.borrow_mut();
        for (key, entry) in self.ledger.entries() {
            self.note_known(key);
            let Some((lane, position)) = key.place() else { continue };
            let lies = observer.cursor(lane)?.is_some_and(|cursor| cursor.read_pos <= position);
            if lies && State::from_code(entry.state).is_final() {
                self.ahead.borrow_mut().insert(key);
            }
        }
        let kept = self.kept.borrow();
        kept.keys().chain(kept.struck()).for_each(|key| self.note_known(key));
        Ok(())
    }

    /// What is kept and was settled by one who died before it could say so there; and what was struck out and left its lane.
    fn recall_settled(&self) {
        let is_final = |key: &Key| self.ledger.find(*key).is_some_and(|entry| State::from_code(entry.state).is_final());
        let settled: Vec<Key> = self.kept.borrow().keys().filter(is_final).collect();
        settled.into_iter().for_each(|key| self.done_keeping(key));
        // Whoever served before died between keeping these and saying so.
        let now = self.clock.now();
        let later: Vec<Key> = self.kept.borrow().later(now).collect();
        for key in later {
            if let Some(entry) = self.ledger.find(key).filter(|entry| State::from_code(entry.state) == State::Taken) {
                self.write(key, State::Pending, Reason::Retry, entry.attempts.into(), now);
            }
        }
        self.kept.borrow_mut().keep_struck(|key| self.lies(key));
    }

    /// Whether the ledger has as much as it may have of what is settled and must not be forgotten.
    pub(super) fn is_crowded(&self) -> bool {
        self.ahead.borrow().len() >= self.settings.outcomes as usize / 8
    }

    /// The ledger, or the log of what is kept, says something of this message.
    #[inline]
    pub(super) fn note_known(&self, key: Key) {
        let known = key.place().and_then(|(lane, position)| Some((self.known_to.get(lane as usize)?, position)));
        if let Some((known, position)) = known {
            known.set(known.get().max(position + 1));
        }
    }

    /// The mailbox's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its creator fixed.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What to do when there is nothing to hand out. Default: [`Wait::Adaptive`].
    pub fn set_wait(&self, wait: Wait) {
        self.mail.set_wait(wait);
    }

    /// Lanes that were poisoned, and why.
    pub fn damage(&self) -> Vec<Damage> {
        self.mail.damage()
    }

    /// The next message. Blocks until there is one, or one that is kept for later is due. Never returns [`RecvError::Timeout`].
    pub fn recv(&self) -> Result<Delivery<'_>, RecvError> {
        self.recv_until(None)
    }

    /// The next message. Blocks at most for `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Delivery<'_>, RecvError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// The next message if there is one. Never blocks.
    pub fn try_recv(&self) -> Result<Option<Delivery<'_>>, RecvError> {
        match self.recv_until(Some(PAST.with(|past| *past))) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(RecvError::Timeout) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until there is a message to hand out, and leaves it where it is: nothing is taken, and no attempt is counted.
    /// False when there was none until the time ran out; without one it waits for ever.
    ///
    /// For one who has somebody else serve the mailbox, and only when there is something to do. What was taken back, has expired
    /// or is for later is no such message, and is dealt with while waiting.
    ///
    /// # Errors
    /// As [`recv_timeout`](Self::recv_timeout), but never [`RecvError::Timeout`].
    pub fn wait_for_mail(&self, timeout: Option<Duration>) -> Result<bool, RecvError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = None;
        loop {
            self.ask_for_hands()?;
            self.read_new_words();
            if let Some((letter, ..)) = self.sift_due() {
                self.kept.borrow_mut().return_at_once(letter.key);
                return Ok(true);
            }
            match self.next_message(deadline) {
                Ok(message) => {
                    if let Some(sound) = self.sift(message) {
                        sound.message.put_back();
                        return Ok(true);
                    }
                    if self.gives_up(deadline, &mut left) {
                        return Ok(false);
                    }
                }
                Err(RecvError::Timeout) if !self.is_over(deadline) => {}
                Err(RecvError::Timeout) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// What ends a wait of this inbox from another thread, that the one which waits may look at something else.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.mail.interrupter())
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<Delivery<'_>, RecvError> {
        let mut left = None;
        loop {
            self.ask_for_hands()?;
            self.read_new_words();
            if let Some(delivery) = self.take_due() {
                return Ok(delivery);
            }
            match self.next_message(deadline) {
                Ok(message) => {
                    if let Some(delivery) = self.judge(message) {
                        return Ok(delivery);
                    }
                    if self.gives_up(deadline, &mut left) {
                        return Err(RecvError::Timeout);
                    }
                }
                Err(RecvError::Timeout) if !self.is_over(deadline) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether one more may be taken: of each that is, the ledger must say so.
    #[inline]
    fn ask_for_hands(&self) -> Result<(), RecvError> {
        let (taken, most) = (self.in_hands.get(), u64::from(self.settings.outcomes / 4));
        if taken >= most { Err(RecvError::Busy { taken: taken as usize }) } else { Ok(()) }
    }

    fn read_new_words(&self) {
        if self.ledger.has_word() {
            self.read_words(None);
        }
    }

    /// The next message of a lane. Waits for it until the deadline or until one is due that is kept.
    #[inline]
    fn next_message(&self, deadline: Option<Instant>) -> Result<Message<'_>, RecvError> {
        // What was settled behind one that is held stays in the ledger until that one is settled too.
        let taken = self.held.borrow().len();
        if taken > 0 && self.is_crowded() {
            return Err(RecvError::Busy { taken });
        }
        if deadline != Some(PAST.with(|past| *past)) {
            return self.wait(deadline);
        }
        self.mail.try_recv().map_err(|error| match error {
            TryRecvError::Empty | TryRecvError::Closed => RecvError::Timeout,
            TryRecvError::Corrupt(damage) => RecvError::Corrupt(damage),
            TryRecvError::Detached => RecvError::Detached,
        })
    }

    /// Whether to come back without a message, after one that was not handed out. When the time is over, what was there then
    /// is looked through, and no more: others may come faster than they are looked at.
    #[cold]
    fn gives_up(&self, deadline: Option<Instant>, left: &mut Option<u64>) -> bool {
        if !self.is_over(deadline) {
            return false;
        }
        let left = left.get_or_insert_with(|| {
            let mut observer = self.observer.borrow_mut();
            // Of lanes that cannot be listed now another look is taken later.
            let _ = observer.refresh();
            observer.depth_messages().saturating_add(u64::from(self.queue.max_lanes()))
        });
        *left = left.saturating_sub(1);
        self.gave_up.set(*left == 0);
        *left == 0
    }

    /// Whether there may be more that was not looked at, since the last look that gave up. Told once.
    pub(super) fn take_gave_up(&self) -> bool {
        self.gave_up.take()
    }

    fn is_over(&self, deadline: Option<Instant>) -> bool {
        deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Waits for a message, until the deadline or until one is due that is kept.
    fn wait(&self, deadline: Option<Instant>) -> Result<Message<'_>, RecvError> {
        let due = self.kept.borrow().next_due();
        let due = due.and_then(|due| Instant::now().checked_add(clock::between(self.clock.now(), due)));
        let until = match (due, deadline) {
            (Some(due), Some(deadline)) => Some(due.min(deadline)),
            (due, deadline) => due.or(deadline),
        };
        let answer = match until {
            Some(until) => self.mail.recv_deadline(until),
            None => self.mail.recv(),
        };
        answer.map_err(|error| match error {
            QueueError::Corrupt(damage) => RecvError::Corrupt(damage),
            QueueError::Detached => RecvError::Detached,
            QueueError::Timeout if self.mail.was_interrupted() => RecvError::Interrupted,
            QueueError::Timeout => RecvError::Timeout,
            QueueError::Closed => {
                // Senders of mail never close their lanes, so somebody has been at the queue below. Others may come, but
                // the queue does not wait for them.
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                std::thread::sleep(left.map_or(CLOSED_PAUSE, |left| left.min(CLOSED_PAUSE)));
                RecvError::Timeout
            }
        })
    }

    /// How long a message waits that failed so often.
    pub(super) fn backoff(&self, attempts: u32) -> Duration {
        // The time is as good as any for tearing apart what failed together.
        let chance = self.clock.now().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.settings.backoff.delay(attempts, chance)
    }

    pub(super) fn max_attempts(&self, envelope: &Envelope) -> u32 {
        if envelope.max_attempts > 0 { envelope.max_attempts } else { self.settings.max_attempts }.into()
    }

    pub(super) fn ticket(&self, key: Key) -> Ticket {
        let (lane, position) = key.place().unwrap_or_default();
        Ticket { mailbox: self.id, message: queue::Ticket { lane, position } }
    }

    pub(super) fn lane_owner(&self, lane: u32) -> Result<u32, Error> {
        self.mail.lane_owner(lane)
    }

    /// How many messages the sender of a message has sent that wait in its lane.
    pub(super) fn count_newer(&self, key: Key) -> usize {
        let lane = key.place().map(|(lane, _)| lane);
        lane.and_then(|lane| self.mail.count_waiting(lane)).unwrap_or(0)
    }

    pub(super) fn count_kept(&self) {
        let kept = self.kept.borrow().len();
        self.counters.set(Count::Kept, kept as u64);
        self.kept_too_many.set(kept > self.settings.outcomes as usize / 2);
    }

    /// Looks at how many wait, often enough to know of a burst.
    #[inline]
    pub(super) fn count_now_and_then(&self, now: u64) {
        let uncounted = self.uncounted.get() + 1;
        self.uncounted.set(uncounted);
        if uncounted >= COUNT_EVERY || now.wrapping_sub(self.counted_at.get()) > COUNT_AFTER_NS {
            self.count_waiting(now);
        }
    }

    #[cold]
    fn count_waiting(&self, now: u64) {
        self.uncounted.set(0);
        self.counted_at.set(now);
        let mut observer = self.observer.borrow_mut();
        if self.lane_came.replace(false) {
            // What cannot be listed now is listed when another comes.
            let _ = observer.refresh();
        }
        self.counters.raise(Count::HighWater, observer.depth_messages() + self.kept.borrow().len() as u64);
    }
}

/// Ends the waits of an [`Inbox`] from another thread of its process; made by [`Inbox::interrupter`]. `Send`, not `Sync`; make one for
/// each thread.
pub struct Interrupter(queue::Interrupter);

impl Interrupter {
    /// Ends the wait that goes on, or else the next one, with [`RecvError::Interrupted`]. Several before that are as one. When
    /// there is a message already, it is handed out first.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

thread_local! {
    /// A time that is over.
    static PAST: Instant = Instant::now();
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("path", &self.path).finish_non_exhaustive()
    }
}
