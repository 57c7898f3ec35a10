//! The sending end of a queue.

use super::claim::Claim;
use super::directory::{self, Directory, LaneFile, Lock};
use super::on_full::{OnFull, Then};
use super::rate::{Limiter, RateLimit};
use super::{Priority, SenderOptions, Sent};
use crate::bell::{LONGEST_SLEEP, Sleeper};
use crate::epoch::{self, Epoch};
use crate::error::{Cause, Damage, Error, SendError, TrySendError};
use crate::lane::{Asking, Memory, Pressure, Terms, Writer};
use crate::layout::{self, Header};
use crate::region::{Own, Peer, Region};
use crate::ring::{self, Refusal};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Look, Wait, WaitStats, Waiter};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sender, which has a lane to itself: nothing that another sender does slows it down or takes its room.
///
/// `Send`, not `Sync`; attach one per thread. Dropping it detaches: what was sent is delivered, and the next sender
/// takes over the lane. [`close`](Self::close) says besides that nothing more will come.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// let mut sender = queue.sender()?;
/// let ticket = sender.send(b"hello")?;
/// println!("sent as {ticket}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender {
    /// Padded: handles that lie side by side in one process must not share a cache line.
    pub(super) lane: CachePadded<Writer>,
    pub(super) room: Sleeper,
    pub(super) waiter: Waiter,
    number: u32,
    terms: Terms,
    pub(super) on_full: OnFull,
    pub(super) limiter: Option<Limiter>,
    adaptive: bool,
    priority: Priority,
    /// None for a pair, which is in no directory.
    pub(super) home: Option<Home>,
}

pub(super) struct Home {
    pub(super) directory: Arc<Directory>,
    _lock: Lock,
    /// Changes when a sender attaches, and when the queue is removed.
    epoch: Epoch,
    seen_epoch: u64,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.lane.end();
        // Nobody can take over the lane of a pair.
        if self.home.is_none() {
            self.lane.close();
        }
    }
}

/// The longest time that an adaptive sender waits for its receiver before it sends nevertheless.
const SLOWEST: Duration = Duration::from_millis(1);

impl Sender {
    pub(super) fn attach(options: &SenderOptions) -> Result<Sender, Error> {
        let SenderOptions { directory, priority, on_full, rate_limit, adaptive } = options;
        let failed = |cause| directory.error("send to", cause);
        let limits: Vec<RateLimit> =
            RateLimit::of_queue(&directory.terms().limits).into_iter().chain(*rate_limit).collect();
        let limiter = if limits.is_empty() { None } else { Some(Limiter::new(&limits).map_err(failed)?) };
        let max_lanes = directory.header().max_lanes;
        let usable = numbers(max_lanes, *priority).count() as u32;
        let found = directory::retry(|| Self::take_lane(directory, *priority))
            .and_then(|found| found.ok_or(Cause::TooManySenders { max_lanes, usable }));
        let mut sender = found.map_err(failed)?;
        sender.lane.set_asking(match (&limiter, adaptive) {
            (Some(_), _) => Asking::Always,
            (None, true) => Asking::WhenHigh,
            (None, false) => Asking::InTime,
        });
        (sender.on_full, sender.limiter, sender.adaptive) = (*on_full, limiter, *adaptive);
        Ok(sender)
    }

    /// The first lane of this priority that nobody holds and that is sound, or a new one; none if all are held or retired.
    fn take_lane(directory: &Arc<Directory>, priority: Priority) -> Result<Option<Sender>, Cause> {
        let header = directory.header();
        let receiver = directory.map_receiver(false)?;
        let bell = directory.map_bell(true)?;
        for number in numbers(header.max_lanes, priority) {
            let Some(lock) = directory.try_lock_lane(number)? else { continue };
            let mut file = directory.map_lane(number, true)?;
            let born = lock.is_born()?;
            if matches!(file, LaneFile::Missing) && !born {
                let start = read_position(&receiver, number);
                directory.create_lane(number, priority, start)?;
                file = directory.map_lane(number, true)?;
            }
            let LaneFile::Mapped(lane, header) = file else { continue };
            if !born {
                lock.set_born()?;
            }
            if header.priority != priority.word() {
                continue;
            }
            directory.touch_lane(&lane, !born);
            let attaches: Own<AtomicU64> = lane.own(layout::lane::ATTACHES);
            let terms = directory.terms();
            let memory = directory.memory(&header, lane, &receiver, &bell);
            #[cfg(feature = "tracing")]
            let name = memory.name.clone();
            let home = Home { directory: Arc::clone(directory), _lock: lock, epoch: Epoch::new(&bell), seen_epoch: 0 };
            // A lane that is damaged is not ours to mend: the next one will do.
            let Ok(mut sender) = Sender::new(memory, terms, Some(home)) else { continue };
            // ORDERING(hint): a counter of this process alone.
            attaches.store(attaches.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            #[cfg(feature = "tracing")]
            if attaches.load(Ordering::Relaxed) > 1 {
                crate::log::adopted(&name, attaches.load(Ordering::Relaxed));
            }
            let epoch = epoch::announce(&bell);
            if let Some(home) = &mut sender.home {
                home.seen_epoch = epoch;
            }
            return Ok(Some(sender));
        }
        Ok(None)
    }

    pub(super) fn new(memory: Memory, terms: &Terms, home: Option<Home>) -> Result<Sender, Damage> {
        let (number, priority) = (memory.number, Priority::of(memory.priority));
        let (lane, room) = Writer::attach(memory)?;
        let (lane, waiter, on_full) = (CachePadded::new(lane), Waiter::new(), OnFull::default());
        Ok(Sender {
            lane,
            room,
            waiter,
            number,
            priority,
            terms: *terms,
            on_full,
            limiter: None,
            adaptive: false,
            home,
        })
    }

    /// See [`Queue::trim`](super::Queue::trim).
    pub(super) fn trim_abandoned(directory: &Directory) -> Result<u64, Cause> {
        let (receiver, bell) = (directory.map_receiver(false)?, directory.map_bell(false)?);
        let mut freed = 0;
        for number in directory.lane_numbers()? {
            let Some(_lock) = directory.try_lock_lane(number)? else { continue };
            let LaneFile::Mapped(lane, header) = directory.map_lane(number, true)? else { continue };
            let before = directory.lane_bytes(number)?;
            let memory = directory.memory(&header, lane, &receiver, &bell);
            // A lane that is damaged is not ours to mend.
            let _ = Writer::trim_abandoned(&memory);
            freed += before.saturating_sub(directory.lane_bytes(number)?);
        }
        Ok(freed)
    }

    /// What to do when the ring is full. Default: [`OnFull::GrowThenBlock`].
    pub fn set_on_full(&mut self, on_full: OnFull) {
        self.on_full = on_full;
    }

    /// Whether the receiver keeps up, now: asks it, which costs a cache line that it writes.
    pub fn pressure(&mut self) -> Result<Pressure, SendError> {
        self.lane.weigh_now().map_err(|refusal| self.reason(0, refusal).into())
    }

    /// Waits until the pressure is normal, at most for `timeout`. Sends nothing.
    pub fn wait_until_calm(&mut self, timeout: Duration) -> Result<(), SendError> {
        let deadline = Instant::now().checked_add(timeout);
        let Sender { lane, room, waiter, home, .. } = self;
        let found = waiter.wait(room, deadline, |look| {
            if look == Look::Beyond && home.as_ref().is_some_and(|home| !home.directory.is_attached()) {
                return Some(Err(SendError::Detached));
            }
            match lane.weigh_now() {
                Ok(Pressure::Normal) => Some(Ok(())),
                Ok(Pressure::High) if lane.poisoned().is_none() && !lane.receiver_gone() => None,
                Ok(Pressure::High) => Some(Err(reason(lane, 0, 0, Refusal::Full).into())),
                Err(refusal) => Some(Err(reason(lane, 0, 0, refusal).into())),
            }
        });
        found.unwrap_or(Err(SendError::Timeout))
    }

    /// Gives the overflow segments that the receiver has done with back to the file system, at once. Without it that
    /// happens with the next message to a receiver that sleeps, or when the pressure has been normal for a lap of the ring;
    /// when the sender is dropped, and when another takes the lane over.
    pub fn trim(&mut self) {
        self.lane.trim();
    }

    /// What to do when there is no room. Default: [`Wait::Adaptive`].
    pub fn set_wait(&self, wait: Wait) {
        self.waiter.set_policy(wait);
    }

    /// What waiting for room, and waking the receiver, has cost so far.
    pub fn wait_stats(&self) -> WaitStats {
        self.waiter.stats(self.lane.rings())
    }

    /// The number of this sender's lane.
    pub fn lane(&self) -> u32 {
        self.number
    }

    /// How urgent what it sends is.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Sends a message. When there is no room it does what [`set_on_full`](Self::set_on_full) said: by default the lane
    /// grows, up to the queue's limit, and then it blocks. Never returns [`SendError::Timeout`].
    ///
    /// `Ok` means that the message is committed: it will be delivered whatever becomes of this process. That the lane was
    /// poisoned or the queue removed is noticed at the end of the room that is known of, at the latest after one lap.
    /// Costs the copy, two stores and two loads; no system call unless the receiver sleeps or there is no room in
    /// the ring.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<Sent, SendError> {
        self.send_until(payload, None)
    }

    /// Sends a message. As [`send`](Self::send), blocking at most for `timeout`.
    #[inline]
    pub fn send_timeout(&mut self, payload: &[u8], timeout: Duration) -> Result<Sent, SendError> {
        self.send_until(payload, Instant::now().checked_add(timeout))
    }

    /// Sends a message that lies in pieces, each a multiple of 8 bytes long but the last. As [`send`](Self::send).
    ///
    /// # Panics
    /// When another piece's length is no multiple of 8.
    #[inline]
    pub fn send_gathered<const N: usize>(&mut self, pieces: [&[u8]; N]) -> Result<Sent, SendError> {
        self.send_gathered_until(pieces, None)
    }

    /// As [`send_gathered`](Self::send_gathered), blocking at most until the deadline.
    #[inline]
    pub(crate) fn send_gathered_until<const N: usize>(
        &mut self,
        pieces: [&[u8]; N],
        deadline: Option<Instant>,
    ) -> Result<Sent, SendError> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let claim = match self.claim_known(len) {
            Some(claim) => claim,
            None => self.claim_slowly(len, Patience::Until(deadline))?,
        };
        let mut at = 0;
        for piece in pieces {
            assert!(at % 8 == 0, "a piece before the last is {at} bytes from the start");
            self.lane.fill(&claim, at, piece);
            at += piece.len();
        }
        let sent = self.commit_filled(claim);
        self.lane.ring();
        Ok(sent)
    }

    /// Sends a message if there is room, or the lane may grow. Never waits for the receiver.
    #[inline]
    pub fn try_send(&mut self, payload: &[u8]) -> Result<Sent, TrySendError> {
        match self.lane.claim_known(payload.len()) {
            Some(claim) => {
                let sent = self.commit(claim, payload);
                self.lane.ring();
                Ok(sent)
            }
            None => self.try_send_slowly(payload).inspect(|_| self.lane.ring()),
        }
    }

    /// As [`try_send`](Self::try_send), without waking the receiver: it finds the message when it looks, at the latest
    /// when its bounded sleep ends. For several messages of which only the last one, or [`ring`](Self::ring), is to
    /// wake.
    #[inline]
    pub fn try_send_quietly(&mut self, payload: &[u8]) -> Result<Sent, TrySendError> {
        match self.lane.claim_known(payload.len()) {
            Some(claim) => Ok(self.commit(claim, payload)),
            None => self.try_send_slowly(payload),
        }
    }

    /// Wakes the receiver if it sleeps.
    #[inline]
    pub fn ring(&mut self) {
        self.lane.ring();
    }

    /// Sends a value as its bytes. Blocks as [`send`](Self::send) does.
    #[inline]
    pub fn send_pod<T: bytemuck::NoUninit>(&mut self, value: &T) -> Result<Sent, SendError> {
        self.send(bytemuck::bytes_of(value))
    }

    /// Room for a message of `len` bytes that is then written in pieces. Without room as [`send`](Self::send).
    ///
    /// Nothing is sent before [`Claim::commit`]; a claim that is dropped never happened.
    #[inline]
    pub fn claim(&mut self, len: usize) -> Result<Claim<'_>, SendError> {
        let claim = match self.claim_known(len) {
            Some(claim) => claim,
            None => self.claim_slowly(len, Patience::Until(None))?,
        };
        Ok(Claim::new(self, claim))
    }

    /// As [`claim`](Self::claim), but as [`try_send`](Self::try_send) when there is no room.
    #[inline]
    pub fn try_claim(&mut self, len: usize) -> Result<Claim<'_>, TrySendError> {
        let claim = match self.claim_known(len) {
            Some(claim) => claim,
            None => self.claim_slowly(len, Patience::None).map_err(at_once)?,
        };
        Ok(Claim::new(self, claim))
    }

    /// Says that nothing more will come from this sender. The receiver sees `Closed` when all have said so; whatever they
    /// did before is visible to it then, in other shared memory too.
    ///
    /// A lane that was closed is opened again by the next sender that takes it over.
    pub fn close(mut self) {
        self.lane.close();
    }

    /// A length that somebody made up may be longer than any payload that exists.
    #[inline(always)]
    fn claim_known(&mut self, len: usize) -> Option<ring::Claim> {
        if len > u32::MAX as usize { None } else { self.lane.claim_known(len) }
    }

    #[inline(always)]
    fn send_until(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<Sent, SendError> {
        match self.lane.claim_known(payload.len()) {
            Some(claim) => {
                let ticket = self.commit(claim, payload);
                self.lane.ring();
                Ok(ticket)
            }
            None => self.send_slowly(payload, deadline),
        }
    }

    #[inline(always)]
    fn commit(&mut self, claim: ring::Claim, payload: &[u8]) -> Sent {
        self.lane.fill(&claim, 0, payload);
        self.commit_filled(claim)
    }

    #[cold]
    fn try_send_slowly(&mut self, payload: &[u8]) -> Result<Sent, TrySendError> {
        let claim = self.claim_slowly(payload.len(), Patience::None).map_err(at_once)?;
        Ok(self.commit(claim, payload))
    }

    #[cold]
    fn send_slowly(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<Sent, SendError> {
        let claim = self.claim_slowly(payload.len(), Patience::Until(deadline))?;
        let sent = self.commit(claim, payload);
        self.lane.ring();
        Ok(sent)
    }

    /// Whether the queue was removed: asked only when the word that its remover changes has changed.
    pub(crate) fn is_detached(&mut self) -> bool {
        let Some(home) = &mut self.home else { return false };
        let epoch = home.epoch.glance();
        if epoch != home.seen_epoch && home.directory.is_attached() {
            home.seen_epoch = epoch;
        }
        epoch != home.seen_epoch
    }

    fn claim_slowly(&mut self, len: usize, patience: Patience) -> Result<ring::Claim, SendError> {
        if self.is_detached() {
            return Err(SendError::Detached);
        }
        if len > self.longest() as usize {
            return Err(SendError::TooLarge { len, max: self.longest() });
        }
        self.keep_pace(len, patience)?;
        let claim = self.claim_at_pace(len, patience)?;
        if let Some(limiter) = &self.limiter {
            limiter.take();
        }
        Ok(claim)
    }

    fn claim_at_pace(&mut self, len: usize, patience: Patience) -> Result<ring::Claim, SendError> {
        let why = match self.lane.claim(len, self.on_full.grows()) {
            Ok(claim) => return Ok(claim),
            Err(refusal) => self.reason(len, refusal),
        };
        if !matches!(why, TrySendError::Full | TrySendError::NoSpace) {
            return Err(why.into());
        }
        self.lane.count_full();
        match (self.on_full.then(), patience) {
            (Then::Drop, _) => {
                self.lane.count_dropped();
                Err(SendError::Dropped)
            }
            (Then::Block, Patience::Until(deadline)) => self.wait_for_room(len, why, deadline),
            _ => Err(why.into()),
        }
    }

    /// Waits until the sender's limits admit a message, or the receiver has kept up, as far as `patience` goes.
    fn keep_pace(&mut self, len: usize, patience: Patience) -> Result<(), SendError> {
        while let Some(Err(wait)) = self.limiter.as_ref().map(|limiter| limiter.ask(len)) {
            match (self.on_full.then(), patience) {
                (Then::Drop, _) => {
                    self.lane.count_dropped();
                    return Err(SendError::Dropped);
                }
                (Then::Block, Patience::Until(deadline)) => {
                    let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
                    std::thread::sleep(wait.min(left).min(LONGEST_SLEEP));
                    if left < wait && left <= LONGEST_SLEEP {
                        return Err(SendError::Timeout);
                    }
                    if self.is_detached() {
                        return Err(SendError::Detached);
                    }
                    if let Some(damage) = self.lane.poisoned() {
                        return Err(SendError::Corrupt(damage));
                    }
                }
                _ => {
                    return Err(SendError::RateLimited { wait_ms: milliseconds(wait) });
                }
            }
        }
        match patience {
            Patience::Until(deadline) if self.adaptive && self.lane.pressure() == Pressure::High => {
                self.slow_down(len, deadline)
            }
            _ => Ok(()),
        }
    }

    fn slow_down(&mut self, len: usize, deadline: Option<Instant>) -> Result<(), SendError> {
        let until = Instant::now() + SLOWEST;
        let Sender { lane, room, waiter, .. } = self;
        let released = lane.read_copy().saturating_add(layout::record_len(len));
        let answer = waiter.wait(room, Some(deadline.map_or(until, |at| at.min(until))), |_| match lane.weigh_now() {
            Ok(Pressure::High) if lane.read_copy() < released => None,
            Ok(_) => Some(Ok(())),
            Err(refusal) => Some(Err(refusal)),
        });
        answer.unwrap_or(Ok(())).map_err(|refusal| self.reason(len, refusal).into())
    }

    /// The longest message that this sender may send now.
    pub(super) fn longest(&self) -> u32 {
        let Header { max_message, ring_capacity, .. } = self.terms.header;
        if self.on_full.grows() { max_message } else { max_message.min(layout::max_payload(ring_capacity) as u32) }
    }

    #[cold]
    fn wait_for_room(
        &mut self,
        len: usize,
        why: TrySendError,
        deadline: Option<Instant>,
    ) -> Result<ring::Claim, SendError> {
        let (grows, max) = (self.on_full.grows(), self.longest());
        let Sender { lane, room, waiter, home, .. } = self;
        let mut short_of_space = why == TrySendError::NoSpace;
        let found = waiter.wait(room, deadline, |look| {
            if look == Look::Beyond && home.as_ref().is_some_and(|home| !home.directory.is_attached()) {
                return Some(Err(SendError::Detached));
            }
            if look == Look::Quick && !lane.reader_has_moved() {
                return None;
            }
            // A file system that is full is asked again now and then, not at every look.
            let grow = grows && (!short_of_space || look != Look::Quick);
            match lane.claim(len, grow).map_err(|refusal| reason(lane, len, max, refusal)) {
                Ok(claim) => Some(Ok(claim)),
                Err(why @ (TrySendError::Full | TrySendError::NoSpace)) => {
                    short_of_space |= why == TrySendError::NoSpace;
                    None
                }
                Err(why) => Some(Err(why.into())),
            }
        });
        found.unwrap_or(Err(SendError::Timeout))
    }

    pub(super) fn reason(&self, len: usize, refusal: Refusal) -> TrySendError {
        reason(&self.lane, len, self.longest(), refusal)
    }
}

/// For claims that are written in pieces.
impl Sender {
    pub(super) fn fill(&self, claim: &ring::Claim, at: usize, bytes: &[u8]) {
        self.lane.fill(claim, at, bytes);
    }

    pub(super) fn payload(&self, claim: &ring::Claim) -> *mut u8 {
        self.lane.payload(claim)
    }

    /// Commits; does not ring.
    #[inline(always)]
    pub(super) fn commit_filled(&mut self, claim: ring::Claim) -> Sent {
        let position = self.lane.commit(claim);
        Sent { position, lane: self.number, pressure: self.lane.pressure() }
    }
}

/// How long a send may wait for room.
#[derive(Debug, Clone, Copy)]
enum Patience {
    None,
    Until(Option<Instant>),
}

/// Rounded up.
pub(super) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The answer of a call that does not wait.
fn at_once(error: SendError) -> TrySendError {
    match error {
        SendError::Full | SendError::Timeout => TrySendError::Full,
        SendError::NoSpace => TrySendError::NoSpace,
        SendError::Dropped => TrySendError::Dropped,
        SendError::RateLimited { wait_ms } => TrySendError::RateLimited { wait_ms },
        SendError::TooLarge { len, max } => TrySendError::TooLarge { len, max },
        SendError::Closed => TrySendError::Closed,
        SendError::Corrupt(damage) => TrySendError::Corrupt(damage),
        SendError::Detached => TrySendError::Detached,
    }
}

/// What a refusal means to the caller.
fn reason(lane: &Writer, len: usize, max: u32, refusal: Refusal) -> TrySendError {
    match refusal {
        Refusal::TooLarge => TrySendError::TooLarge { len, max },
        Refusal::Broken(broken) => TrySendError::Corrupt(lane.damage(broken)),
        Refusal::Full | Refusal::NoSpace => match lane.poisoned() {
            Some(damage) => TrySendError::Corrupt(damage),
            None if lane.receiver_gone() => TrySendError::Closed,
            None if refusal == Refusal::NoSpace => TrySendError::NoSpace,
            None => TrySendError::Full,
        },
    }
}

/// The numbers that a lane of this priority may have, in the order in which they are tried.
///
/// The last eighth is for urgent senders. They fill it before they take other numbers: a number keeps the priority of
/// its first sender, and one that an urgent sender took would be lost to the others for good.
fn numbers(max_lanes: u32, priority: Priority) -> impl Iterator<Item = u32> {
    let common = max_lanes - max_lanes / 8;
    let reserve = if priority == Priority::Urgent { common..max_lanes } else { 0..0 };
    reserve.chain(0..common)
}

/// Where the receiver expects a lane to begin: where a lost one would have gone on.
fn read_position(receiver: &Arc<Region>, number: u32) -> u64 {
    let slot = layout::slot_offset(number as usize);
    let read_pos: Peer<AtomicU64> = receiver.peer(slot + layout::slot::READ_POS);
    read_pos.load() & !7
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("lane", &self.number).finish_non_exhaustive()
    }
}
