//! The receiving end of a queue.

use super::batch::Batch;
use super::directory::{Directory, LaneFile, Lock};
use super::interrupt::Interrupted;
use super::iter::{Iter, TryIter};
use super::message::Message;
use super::priority::Priority;
use super::schedule::Schedule;
use super::take::{Many, One, Take};
use crate::bell::Sleeper;
use crate::epoch::Epoch;
use crate::error::{Cause, Damage, Error, Fault, RecvError, TryRecvError};
use crate::lane::{self, Memory, Pressure, Reader};
use crate::layout::{self, FenceMode, Role};
use crate::region::{Own, Region};
use crate::sync::{AtomicU32, AtomicU64, Ordering, spin_hint};
use crate::sys::fence::Fences;
use crate::wait::{Look, Wait, WaitStats, Waiter};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The one receiver of a queue. Messages of one sender come in the order in which they were sent; those that are more
/// urgent overtake those of other senders: see [`Priority`].
///
/// `Send`, not `Sync`: it belongs to one thread at a time. Dropping it detaches; messages that come meanwhile are kept
/// for the next receiver.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// queue.sender()?.send(b"before anybody listens")?;
/// let receiver = queue.receiver()?;
/// assert_eq!(receiver.recv()?.to_vec(), b"before anybody listens");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver {
    /// The lanes by number. A number is never given to another file, so a cell is filled once.
    lanes: Box<[OnceCell<Reader>]>,
    pub(super) schedule: RefCell<Schedule>,
    lane_count: Cell<usize>,
    current: Cell<usize>,
    /// Bytes left in the turn of the current lane.
    turn: Cell<u64>,
    /// Where the turn began, or what it delivered was last counted; `u64::MAX` when there is nothing to count.
    turn_from: Cell<u64>,
    lanes_epoch: Epoch,
    seen_epoch: Cell<u64>,
    /// Lanes that exist and have no reader, and why.
    unreadable: RefCell<BTreeMap<u32, Damage>>,
    /// When the directory had last changed when it was listed.
    listed: Cell<Option<u64>>,
    /// The directory was removed.
    gone: Cell<bool>,
    /// Damage that nobody has been told of yet.
    reports: RefCell<VecDeque<Damage>>,
    role: Own<AtomicU32>,
    pub(super) sleeper: Sleeper,
    pub(super) interrupted: Interrupted,
    pub(super) waiter: Waiter,
    pub(super) memory: Arc<Region>,
    pub(super) bell: Arc<Region>,
    /// None for a pair, which is in no directory.
    home: Option<Home>,
}

pub(super) struct Home {
    directory: Arc<Directory>,
    _lock: Lock,
}

/// What ends the receiver's own words before it goes: for a pair there will be no other.
impl Drop for Receiver {
    fn drop(&mut self) {
        let role = if self.home.is_some() { Role::Away } else { Role::Gone };
        // ORDERING(hint): relaxed; who waits learns of it by the ring that follows (edge rung), and nobody stores to a ring
        // because its reader is gone.
        self.role.store(role as u32, Ordering::Relaxed);
        if self.home.is_none() {
            self.known().for_each(Reader::wake_sender);
        }
    }
}

/// Looks, some microseconds in all, before the machinery of waiting is set in motion.
const SHORT_SPIN: u32 = 64;

/// Lanes whose pages are mapped when they are found: a receiver of a thousand has better things to do.
const TOUCHED_LANES: usize = 16;

impl Receiver {
    pub(super) fn attach(directory: Arc<Directory>) -> Result<Receiver, Error> {
        let failed = |cause| directory.error("receive from", cause);
        let lock = directory.lock_receiver().map_err(failed)?;
        let memory = directory.map_receiver(true).map_err(failed)?;
        let bell = directory.map_bell(true).map_err(failed)?;
        let lanes = directory.header().max_lanes as usize;
        let fence_mode = directory.terms().fence_mode;
        let home = Home { directory: Arc::clone(&directory), _lock: lock };
        let receiver = Receiver::new(memory, bell, lanes, fence_mode, Some(home));
        receiver.find_lanes().map_err(failed)?;
        Ok(receiver)
    }

    pub(super) fn new(
        memory: Arc<Region>,
        bell: Arc<Region>,
        lanes: usize,
        fence_mode: FenceMode,
        home: Option<Home>,
    ) -> Receiver {
        let role: Own<AtomicU32> = memory.own(layout::receiver::ROLE);
        let attaches: Own<AtomicU64> = memory.own(layout::receiver::ATTACHES);
        // ORDERING(hint): relaxed, both; for observers.
        attaches.store(attaches.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        role.store(Role::Attached as u32, Ordering::Relaxed);
        Receiver {
            lanes: (0..lanes).map(|_| OnceCell::new()).collect(),
            schedule: RefCell::default(),
            lane_count: Cell::new(0),
            current: Cell::new(0),
            turn: Cell::new(0),
            turn_from: Cell::new(u64::MAX),
            lanes_epoch: Epoch::new(&bell),
            seen_epoch: Cell::new(0),
            unreadable: RefCell::default(),
            listed: Cell::new(None),
            gone: Cell::new(false),
            reports: RefCell::default(),
            role,
            sleeper: Sleeper::new(
                memory.own(layout::receiver::SLEEPS),
                bell.peer(layout::bell::SEQ),
                bell.peer(layout::bell::RUNG_AT),
                Fences::new(fence_mode),
            ),
            interrupted: Interrupted::default(),
            waiter: Waiter::new(),
            memory,
            bell,
            home,
        }
    }

    /// What to do when there is nothing to receive. Default: [`Wait::Adaptive`].
    pub fn set_wait(&self, wait: Wait) {
        self.waiter.set_policy(wait);
    }

    /// What waiting has cost so far.
    pub fn wait_stats(&self) -> WaitStats {
        self.waiter.stats(self.known().map(Reader::rings).sum())
    }

    /// The next message. Blocks until there is one. Never returns [`RecvError::Timeout`].
    ///
    /// Costs a load of one cache line and a store when there is one; no system call.
    #[inline(always)]
    pub fn recv(&self) -> Result<Message<'_>, RecvError> {
        self.take_until(None, One)
    }

    /// The next message. Blocks until there is one or `timeout` has passed.
    #[inline(always)]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message<'_>, RecvError> {
        self.take_until(Instant::now().checked_add(timeout), One)
    }

    /// As [`recv_timeout`](Self::recv_timeout), until this instant: for who has asked the clock already.
    #[inline(always)]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Message<'_>, RecvError> {
        self.take_until(Some(deadline), One)
    }

    /// The next message if there is one. Never blocks.
    ///
    /// Before it says `Empty` it looks at every lane. That the queue was removed it learns from the remover; when the
    /// directory was deleted by other means, only [`recv`](Self::recv) and [`drain`](Self::drain) notice.
    #[inline(always)]
    pub fn try_recv(&self) -> Result<Message<'_>, TryRecvError> {
        self.try_take(One)
    }

    /// Messages of one sender, at most `max` (0 counts as 1), that are released together. Blocks until there is one; then hands
    /// out what is there, without waiting for more. Fewer come when the lane's turn is over, at the end of the ring, where messages were
    /// dropped, and, one by one, while an earlier message is held or to be delivered again, or lanes of a higher priority are known. A
    /// sender that attaches meanwhile waits for the batch.
    ///
    /// For 64 messages of 8 bytes at a time it takes less than half of the time of as many [`recv`](Self::recv).
    #[inline(always)]
    pub fn recv_batch(&mut self, max: usize) -> Result<Batch<'_>, RecvError> {
        self.take_until(None, Many(max))
    }

    /// As [`recv_batch`](Self::recv_batch), if there is a message. Never blocks.
    #[inline(always)]
    pub fn try_recv_batch(&mut self, max: usize) -> Result<Batch<'_>, TryRecvError> {
        self.try_take(Many(max))
    }

    /// As [`recv_batch`](Self::recv_batch), blocking at most for `timeout`.
    #[inline(always)]
    pub fn recv_batch_timeout(&mut self, max: usize, timeout: Duration) -> Result<Batch<'_>, RecvError> {
        self.take_until(Instant::now().checked_add(timeout), Many(max))
    }

    /// Appends the next message's payload to `to` and releases it. Blocks. Returns the payload's length, bytes.
    #[inline]
    pub fn recv_into(&self, to: &mut Vec<u8>) -> Result<usize, RecvError> {
        let message = self.recv()?;
        message.append_to(to);
        Ok(message.len())
    }

    /// Messages until every lane has closed, waiting for each. Stops also when the queue is removed; skips damage,
    /// which [`damage`](Self::damage) lists.
    pub fn iter(&self) -> Iter<'_> {
        Iter { receiver: self }
    }

    /// Messages for as long as there are some, never waiting.
    pub fn try_iter(&self) -> TryIter<'_> {
        TryIter { receiver: self }
    }

    /// The lanes that were poisoned, and why.
    pub fn damage(&self) -> Vec<Damage> {
        self.known().filter_map(Reader::damage).chain(self.unreadable.borrow().values().copied()).collect()
    }

    /// The highest pressure of any sound lane, as far as its sender has said how much is waiting.
    pub fn pressure(&self) -> Pressure {
        self.notice_lanes();
        self.known().filter(|lane| lane.damage().is_none()).map(Reader::pressure).max().unwrap_or_default()
    }

    /// Messages that senders dropped for want of room since their lanes were created, over all lanes.
    pub fn dropped(&self) -> u64 {
        self.notice_lanes();
        self.known().map(Reader::dropped).fold(0, u64::saturating_add)
    }

    /// How many messages of a lane were not taken yet. Walks over them. None for a lane that this receiver does not read.
    pub fn count_waiting(&self, lane: u32) -> Option<usize> {
        self.lanes.get(lane as usize).and_then(OnceCell::get).map(Reader::count_ahead)
    }

    /// The user who owns a lane's file: the sender, by the kernel's word. Takes a system call. A pair has no files.
    pub fn lane_owner(&self, lane: u32) -> Result<u32, Error> {
        let home = self.home.as_ref().ok_or(Cause::NotFound);
        home.and_then(|home| home.directory.lane_owner(lane)).map_err(|cause| self.error("ask for the owner in", cause))
    }

    /// How many lanes this receiver reads.
    pub fn lane_count(&self) -> usize {
        self.lane_count.get()
    }

    #[inline(always)]
    fn try_take<'a, T: Take<'a>>(&'a self, what: T) -> Result<T::Taken, TryRecvError> {
        self.yield_to_new_lanes();
        if let Some(taken) = self.lane_in_turn().and_then(|lane| what.take(self, lane)) {
            return Ok(taken);
        }
        let found = self.choose().and_then(|found| if found { Ok(true) } else { self.choose_among_all() });
        if found.map_err(TryRecvError::Corrupt)?
            && let Some(taken) = self.lane_in_turn().and_then(|lane| what.take(self, lane))
        {
            return Ok(taken);
        }
        Err(match () {
            () if self.gone.get() => TryRecvError::Detached,
            () if self.is_finished() => TryRecvError::Closed,
            () => TryRecvError::Empty,
        })
    }

    #[inline(always)]
    fn take_until<'a, T: Take<'a>>(&'a self, deadline: Option<Instant>, what: T) -> Result<T::Taken, RecvError> {
        let mut looks = 0;
        self.yield_to_new_lanes();
        loop {
            if let Some(lane) = self.lane_in_turn() {
                if let Some(taken) = what.take(self, lane) {
                    return Ok(taken);
                }
                // While there is one lane, a few looks at nothing else: what comes is seen the sooner.
                if looks == 0
                    && self.lane_count.get() == 1
                    && self.waiter.glance(|| lane.has_word())
                    && let Some(taken) = what.take(self, lane)
                {
                    return Ok(taken);
                }
            }
            self.look_elsewhere(&mut looks, deadline)?;
        }
    }

    /// The lane whose turn it is, unless its turn is over.
    #[inline(always)]
    fn lane_in_turn(&self) -> Option<&Reader> {
        if self.turn.get() > 0 { self.lanes[self.current.get()].get() } else { None }
    }

    /// Ends the turn when a sender has attached, because it may be urgent. Asked once for each message or batch, and not where it is
    /// taken: whoever changes that word all the time costs the receiver time, but no message.
    #[inline(always)]
    fn yield_to_new_lanes(&self) {
        if self.lanes_epoch.glance() != self.seen_epoch.get() {
            self.turn.set(0);
        }
    }

    /// Bytes left in the turn of the current lane.
    #[inline(always)]
    pub(super) fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// Takes so many of them.
    #[inline(always)]
    pub(super) fn spend_turn(&self, bytes: u64) {
        self.turn.set(self.turn.get().saturating_sub(bytes));
    }

    /// Takes and releases everything from `from` to `to`, so many messages of the lane whose turn it is.
    #[inline(always)]
    pub(super) fn take_run(&self, lane: &Reader, from: u64, to: u64, messages: u64) {
        lane.take(from, to);
        self.spend_turn(to - from);
        lane.release(from, to, messages);
    }

    /// Gives another lane its turn, or waits until one has something, or says to ask again.
    #[inline(never)]
    fn look_elsewhere(&self, looks: &mut u32, deadline: Option<Instant>) -> Result<(), RecvError> {
        if self.choose().map_err(RecvError::Corrupt)? {
            return Ok(());
        }
        if *looks >= SHORT_SPIN || self.waiter.policy() == Wait::Park {
            return self.wait(deadline);
        }
        *looks += 1;
        spin_hint();
        Ok(())
    }

    /// Waits until some lane has something, and gives it its turn.
    fn wait(&self, deadline: Option<Instant>) -> Result<(), RecvError> {
        let found = self.waiter.wait(&self.sleeper, deadline, |look| {
            if look == Look::Beyond {
                // A lane that cannot be mapped now (too many files open, say) is tried again after the next sleep.
                let _ = self.find_lanes_if_changed();
            }
            if self.gone.get() {
                return Some(Err(RecvError::Detached));
            }
            if self.interrupted.is_set() {
                return Some(Err(RecvError::Timeout));
            }
            match self.choose() {
                Ok(true) => Some(Ok(())),
                Err(damage) => Some(Err(RecvError::Corrupt(damage))),
                Ok(false) if look == Look::Quick => None,
                Ok(false) => match self.choose_among_all() {
                    Ok(true) => Some(Ok(())),
                    Err(damage) => Some(Err(RecvError::Corrupt(damage))),
                    Ok(false) => self.is_finished().then_some(Err(RecvError::Closed)),
                },
            }
        });
        found.unwrap_or(Err(RecvError::Timeout))
    }

    /// One round over the lanes: gives the first that has something its turn, if one has.
    #[inline(never)]
    fn choose(&self) -> Result<bool, Damage> {
        self.notice_lanes();
        if let Some(damage) = self.reports.borrow_mut().pop_front() {
            return Err(damage);
        }
        let mut schedule = self.schedule.borrow_mut();
        schedule.delivered(self.taken(), self.turn.get() > 0);
        let lane = |number: u32| self.lanes[number as usize].get();
        let has_word = |number| lane(number).is_some_and(|lane| lane.damage().is_none() && lane.has_word());
        if let Some((number, bytes)) =
            schedule.resume(has_word, |number| lane(number).is_some_and(|lane| lane.message().is_some()))
        {
            return self.begin_turn(Some((Ok(number as usize), bytes)));
        }
        let found = schedule.next(|number| self.has_something(number));
        if found.is_none() && schedule.is_interrupted() {
            // Its next message must not come before what others may get by then.
            self.end_turn();
        }
        self.begin_turn(found)
    }

    /// Finds the lanes of which the bell's word tells.
    pub(super) fn notice_lanes(&self) {
        if self.lanes_epoch.glance() != self.seen_epoch.get() {
            // What cannot be mapped now is tried again.
            let _ = self.find_lanes();
        }
    }

    /// As `choose`, but looks at every lane.
    fn choose_among_all(&self) -> Result<bool, Damage> {
        // A drain that was leaked must not keep its lane's releases to itself for ever.
        self.known().for_each(Reader::end_batch);
        let found = self.schedule.borrow_mut().next_of_all(|number| self.has_something(number));
        self.begin_turn(found)
    }

    /// The lane's number if it has something.
    fn has_something(&self, number: u32) -> Option<Result<usize, Damage>> {
        let found = self.lanes[number as usize].get()?.look().transpose()?;
        Some(found.map(|_| number as usize))
    }

    /// Gives a lane that was found its turn, of so many bytes.
    fn begin_turn(&self, found: Option<(Result<usize, Damage>, u64)>) -> Result<bool, Damage> {
        let Some((found, bytes)) = found else { return Ok(false) };
        // Who looks elsewhere because a lane was empty is not behind.
        let is_behind = self.turn.get() == 0;
        self.current.set(found.inspect_err(|_| self.end_turn())?);
        self.turn.set(bytes);
        let lane = self.lanes[self.current.get()].get();
        self.turn_from.set(lane.map_or(u64::MAX, Reader::distance));
        if is_behind {
            lane.inspect(|lane| lane.look_ahead());
        }
        Ok(true)
    }

    pub(super) fn end_turn(&self) {
        self.turn.set(0);
        self.turn_from.set(u64::MAX);
    }

    /// Bytes that the lane whose turn it is has delivered since it was last asked.
    pub(super) fn taken(&self) -> u64 {
        let Some(lane) = self.lanes[self.current.get()].get() else { return 0 };
        let (over, next) = (self.turn.get() == 0, lane.distance());
        let from = self.turn_from.replace(if over { u64::MAX } else { next });
        // What was put back and taken again is no progress; but whoever does that for ever must not hold up the others.
        let least = if over && from != u64::MAX { 8 } else { 0 };
        next.saturating_sub(from).max(least)
    }

    /// Keeps damage that showed for the next `recv`.
    pub(super) fn report_later(&self, damage: Damage) {
        self.reports.borrow_mut().push_back(damage);
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &Reader> {
        self.lanes.iter().filter_map(OnceCell::get)
    }

    /// Whether any lane has a message, without taking it. Damage that shows is kept for the next `recv`.
    pub(super) fn has_mail(&self) -> bool {
        self.known().any(|lane| {
            let found = lane.look().unwrap_or_else(|damage| {
                self.reports.borrow_mut().push_back(damage);
                None
            });
            found.is_some()
        })
    }

    /// Whether it is known that there is no queue any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Whether there is damage to report, or no queue any more.
    pub(super) fn has_trouble(&self) -> bool {
        self.gone.get() || !self.reports.borrow().is_empty()
    }

    /// The word by which new lanes are announced, and what it was when they were last looked for.
    pub(super) fn epoch(&self) -> (Epoch, u64) {
        (Epoch::new(&self.bell), self.seen_epoch.get())
    }

    /// Whether at least one lane has closed, and every one has closed and been read; poisoned ones do not count, on
    /// either side.
    #[cold]
    pub(super) fn is_finished(&self) -> bool {
        let all_known = || {
            let mut sound = self.known().filter(|lane| lane.damage().is_none()).peekable();
            sound.peek().is_some() && sound.all(Reader::is_finished)
        };
        // Lanes that we do not know of count too; asking is for the rare moment at which the answer could be yes.
        all_known() && self.find_lanes().is_ok() && all_known() && !self.has_mail() && self.reports.borrow().is_empty()
    }

    /// As `find_lanes`, unless the directory is as it was: asking costs one system call, however many lanes there are.
    fn find_lanes_if_changed(&self) -> Result<(), Cause> {
        let changed_at = self.home.as_ref().and_then(|home| home.directory.changed_at());
        if changed_at.is_some() && changed_at == self.listed.get() {
            return Ok(());
        }
        self.find_lanes()?;
        self.listed.set(changed_at);
        Ok(())
    }

    /// Finds lanes that came since the last time, and whether the queue is still there.
    pub(super) fn find_lanes(&self) -> Result<(), Cause> {
        let Some(home) = &self.home else { return Ok(()) };
        let epoch = self.lanes_epoch.before_listing();
        if !home.directory.is_attached() {
            self.gone.set(true);
            return Err(Cause::Detached);
        }
        let mut failure = None;
        for number in home.directory.lane_numbers()? {
            if self.lanes[number as usize].get().is_some() || self.unreadable.borrow().contains_key(&number) {
                continue;
            }
            match home.directory.map_lane(number, false) {
                Ok(LaneFile::Mapped(region, header)) => {
                    if self.lane_count.get() < TOUCHED_LANES {
                        home.directory.touch_lane(&region, false);
                    }
                    self.add_lane(number, home.directory.memory(&header, region, &self.memory, &self.bell));
                }
                Ok(LaneFile::Missing) => {}
                Ok(LaneFile::Unusable(cause)) => self.refuse_lane(number, &cause),
                Err(cause) => failure = Some(cause),
            }
        }
        match failure {
            None => {
                self.seen_epoch.set(epoch);
                Ok(())
            }
            Some(cause) => Err(cause),
        }
    }

    pub(super) fn add_lane(&self, number: u32, memory: Memory) {
        let lane = &self.lanes[number as usize];
        let priority = Priority::of(memory.priority);
        if lane.set(Reader::attach(memory)).is_ok() {
            self.schedule.borrow_mut().add(number, priority);
            self.lane_count.set(self.lane_count.get() + 1);
        }
    }

    /// Does without a lane whose file is not what it should be. What is wrong with its bytes retires it for good; what
    /// is wrong with its rights may be put right, and then counts only until the next receiver.
    fn refuse_lane(&self, number: u32, cause: &Cause) {
        let lasting = matches!(cause, Cause::Damaged { .. } | Cause::Version { .. });
        let fault = if lasting { Fault::Header } else { Fault::File };
        let known = lane::damage_on_record(&self.memory, number);
        let damage = known.unwrap_or(Damage { lane: number, fault, position: 0, found: 0 });
        self.unreadable.borrow_mut().insert(number, damage);
        if known.is_none() {
            if lasting {
                lane::record_damage(&self.memory, damage);
            }
            #[cfg(feature = "tracing")]
            if let Some(home) = &self.home {
                crate::log::poisoned(&crate::log::Name::new(home.directory.path(), number), &damage);
            }
            self.reports.borrow_mut().push_back(damage);
        }
    }

    pub(super) fn error(&self, verb: &'static str, cause: Cause) -> Error {
        match &self.home {
            Some(home) => home.directory.error(verb, cause),
            None => Error::new(verb, std::path::Path::new("pair"), cause),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("lanes", &self.lane_count()).finish_non_exhaustive()
    }
}
