//! The sending end of a queue.

use super::Ticket;
use super::directory::{self, Directory, LaneFile, Lock};
use crate::bell::Sleeper;
use crate::error::{Cause, Damage, Error, SendError, TrySendError, WrongLength};
use crate::lane::{Memory, Writer};
use crate::layout;
use crate::region::{Own, Peer, Region};
use crate::ring::{self, Refusal};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Look, Wait, WaitStats, Waiter};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::io::{self, Write};
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
    lane: CachePadded<Writer>,
    room: Sleeper,
    waiter: Waiter,
    number: u32,
    max_message: u32,
    /// None for a pair, which is in no directory.
    home: Option<Home>,
}

pub(super) struct Home {
    directory: Arc<Directory>,
    _lock: Lock,
    /// Changes when a sender attaches, and when the queue is removed.
    epoch: Peer<AtomicU64>,
    seen_epoch: u64,
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Nobody can take over the lane of a pair.
        if self.home.is_none() {
            self.lane.close();
        }
    }
}

impl Sender {
    pub(super) fn attach(directory: Arc<Directory>) -> Result<Sender, Error> {
        let found = directory::retry(|| Self::take_lane(&directory))
            .and_then(|found| found.ok_or(Cause::TooManySenders { max_lanes: directory.header().max_lanes }));
        found.map_err(|cause| directory.error("send to", cause))
    }

    /// The first lane that nobody holds and that is sound, or a new one; none if all are held or retired.
    fn take_lane(directory: &Arc<Directory>) -> Result<Option<Sender>, Cause> {
        let header = directory.header();
        let receiver = directory.map_receiver(false)?;
        let bell = directory.map_bell(true)?;
        for number in 0..header.max_lanes {
            let Some(lock) = directory.try_lock_lane(number)? else { continue };
            let mut file = directory.map_lane(number, true)?;
            let born = lock.is_born()?;
            if matches!(file, LaneFile::Missing) && !born {
                directory.create_lane(number, read_position(&receiver, number, header.outcome_slots))?;
                file = directory.map_lane(number, true)?;
            }
            let LaneFile::Mapped(lane) = file else { continue };
            if !born {
                lock.set_born()?;
            }
            let attaches: Own<AtomicU64> = lane.own(layout::lane::ATTACHES);
            let fences = directory.fence_mode();
            let memory = Memory::new(header, number, fences, lane, Arc::clone(&receiver), Arc::clone(&bell));
            let epoch: Own<AtomicU64> = bell.own(layout::bell::LANES_EPOCH);
            let home = Home {
                directory: Arc::clone(directory),
                _lock: lock,
                epoch: bell.peer(layout::bell::LANES_EPOCH),
                seen_epoch: 0,
            };
            // A lane that is damaged is not ours to mend: the next one will do.
            let Ok(mut sender) = Sender::new(memory, Some(home)) else { continue };
            // ORDERING(hint): a counter of this process alone.
            attaches.store(attaches.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            // ORDERING(attach): the lane's file before the word that makes the receiver look for it.
            let before = epoch.fetch_add(1, Ordering::Release);
            if let Some(home) = &mut sender.home {
                home.seen_epoch = before.wrapping_add(1);
            }
            return Ok(Some(sender));
        }
        Ok(None)
    }

    pub(super) fn new(memory: Memory, home: Option<Home>) -> Result<Sender, Damage> {
        let (number, max_message) = (memory.number, memory.max_message);
        let (lane, room) = Writer::attach(memory)?;
        Ok(Sender { lane: CachePadded::new(lane), room, waiter: Waiter::new(), number, max_message, home })
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

    /// Sends a message. Blocks while there is no room. Never returns [`SendError::Timeout`].
    ///
    /// When it returns the message is committed: it will be delivered whatever becomes of this process. That the lane was
    /// poisoned or the queue removed is noticed at the end of the room that is known of, at the latest after one lap.
    /// Costs the copy, two stores and two loads; no system call unless the receiver sleeps or there is no room.
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<Ticket, SendError> {
        self.send_until(payload, None)
    }

    /// Sends a message. Blocks while there is no room, at most for `timeout`.
    #[inline]
    pub fn send_timeout(&mut self, payload: &[u8], timeout: Duration) -> Result<Ticket, SendError> {
        self.send_until(payload, Instant::now().checked_add(timeout))
    }

    /// Sends a message if there is room. Never blocks.
    #[inline]
    pub fn try_send(&mut self, payload: &[u8]) -> Result<Ticket, TrySendError> {
        let ticket = self.try_send_quietly(payload)?;
        self.lane.ring();
        Ok(ticket)
    }

    /// As [`try_send`](Self::try_send), without waking the receiver: it finds the message when it looks, at the latest
    /// when its bounded sleep ends. For several messages of which only the last one, or [`ring`](Self::ring), is to
    /// wake.
    #[inline]
    pub fn try_send_quietly(&mut self, payload: &[u8]) -> Result<Ticket, TrySendError> {
        match self.lane.claim_known(payload.len()) {
            Some(claim) => Ok(self.commit(claim, payload)),
            None => self.try_send_slowly(payload),
        }
    }

    /// Wakes the receiver if it sleeps.
    #[inline]
    pub fn ring(&self) {
        self.lane.ring();
    }

    /// Sends a value as its bytes. Blocks as [`send`](Self::send) does.
    #[inline]
    pub fn send_pod<T: bytemuck::NoUninit>(&mut self, value: &T) -> Result<Ticket, SendError> {
        self.send(bytemuck::bytes_of(value))
    }

    /// Sends several messages in order, waking the receiver once. Blocks while there is no room.
    ///
    /// Each is committed on its own: after an error, or when this process dies on the way, the first ones are sent.
    pub fn send_batch<P: AsRef<[u8]>>(&mut self, payloads: impl IntoIterator<Item = P>) -> Result<usize, BatchError> {
        let mut sent = 0;
        for payload in payloads {
            let payload = payload.as_ref();
            let committed = match self.lane.claim_known(payload.len()) {
                Some(claim) => Ok(self.commit(claim, payload)),
                // What is full makes room only if the receiver is awake; `send` sees to that.
                None => self.send(payload),
            };
            if let Err(error) = committed {
                self.lane.ring();
                return Err(BatchError { sent, error });
            }
            sent += 1;
        }
        self.lane.ring();
        Ok(sent)
    }

    /// Room for a message of `len` bytes that is then written in pieces. Blocks while there is none.
    ///
    /// Nothing is sent before [`Claim::commit`]; a claim that is dropped never happened.
    pub fn claim(&mut self, len: usize) -> Result<Claim<'_>, SendError> {
        let claim = self.claim_until(len, None)?;
        Ok(Claim::new(self, claim))
    }

    /// As [`claim`](Self::claim), if there is room. Never blocks.
    pub fn try_claim(&mut self, len: usize) -> Result<Claim<'_>, TrySendError> {
        match self.lane.claim(len) {
            Ok(claim) => Ok(Claim::new(self, claim)),
            Err(refusal) => Err(self.refused(len, refusal)),
        }
    }

    /// Says that nothing more will come from this sender. The receiver sees `Closed` when all have said so.
    ///
    /// A lane that was closed is opened again by the next sender that takes it over.
    pub fn close(mut self) {
        self.lane.close();
    }

    #[inline(always)]
    fn send_until(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<Ticket, SendError> {
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
    fn commit(&mut self, claim: ring::Claim, payload: &[u8]) -> Ticket {
        self.lane.fill(&claim, 0, payload);
        Ticket { lane: self.number, position: self.lane.commit(claim) }
    }

    #[cold]
    fn try_send_slowly(&mut self, payload: &[u8]) -> Result<Ticket, TrySendError> {
        if self.is_detached() {
            return Err(TrySendError::Detached);
        }
        match self.lane.claim(payload.len()) {
            Ok(claim) => Ok(self.commit(claim, payload)),
            Err(refusal) => Err(self.refused(payload.len(), refusal)),
        }
    }

    #[cold]
    fn send_slowly(&mut self, payload: &[u8], deadline: Option<Instant>) -> Result<Ticket, SendError> {
        let claim = self.claim_until(payload.len(), deadline)?;
        let ticket = self.commit(claim, payload);
        self.lane.ring();
        Ok(ticket)
    }

    /// Whether the queue was removed: asked only when the word that its remover changes has changed.
    fn is_detached(&mut self) -> bool {
        let Some(home) = &mut self.home else { return false };
        let epoch = home.epoch.load();
        if epoch != home.seen_epoch && home.directory.is_attached() {
            home.seen_epoch = epoch;
        }
        epoch != home.seen_epoch
    }

    fn claim_until(&mut self, len: usize, deadline: Option<Instant>) -> Result<ring::Claim, SendError> {
        if self.is_detached() {
            return Err(SendError::Detached);
        }
        match self.lane.claim(len) {
            Ok(claim) => Ok(claim),
            Err(refusal) => self.wait_for_room(len, refusal, deadline),
        }
    }

    #[cold]
    fn wait_for_room(
        &mut self,
        len: usize,
        refusal: Refusal,
        deadline: Option<Instant>,
    ) -> Result<ring::Claim, SendError> {
        let error = |refusal| match refusal {
            TrySendError::Full => None,
            TrySendError::TooLarge { len, max } => Some(SendError::TooLarge { len, max }),
            TrySendError::Closed => Some(SendError::Closed),
            TrySendError::Corrupt(damage) => Some(SendError::Corrupt(damage)),
            TrySendError::Detached => Some(SendError::Detached),
        };
        if let Some(error) = error(self.refused(len, refusal)) {
            return Err(error);
        }
        let Sender { lane, room, waiter, max_message, home, .. } = self;
        let found = waiter.wait(room, deadline, |look| {
            if look == Look::Beyond && home.as_ref().is_some_and(|home| !home.directory.is_attached()) {
                return Some(Err(SendError::Detached));
            }
            match lane.claim(len) {
                Ok(claim) => Some(Ok(claim)),
                Err(refusal) => error(reason(lane, len, *max_message, refusal)).map(Err),
            }
        });
        found.unwrap_or(Err(SendError::Timeout))
    }

    #[cold]
    fn refused(&self, len: usize, refusal: Refusal) -> TrySendError {
        let why = reason(&self.lane, len, self.max_message, refusal);
        if why == TrySendError::Full {
            self.lane.count_full();
        }
        why
    }
}

/// What a refusal means to the caller.
fn reason(lane: &Writer, len: usize, max: u32, refusal: Refusal) -> TrySendError {
    match refusal {
        Refusal::TooLarge => TrySendError::TooLarge { len, max },
        Refusal::Broken(broken) => TrySendError::Corrupt(lane.damage(broken)),
        Refusal::Full => match lane.poisoned() {
            Some(damage) => TrySendError::Corrupt(damage),
            None if lane.receiver_gone() => TrySendError::Closed,
            None => TrySendError::Full,
        },
    }
}

/// Where the receiver expects a lane to begin: where a lost one would have gone on.
fn read_position(receiver: &Arc<Region>, number: u32, outcome_slots: u32) -> u64 {
    let slot = layout::slot_offset(number as usize, outcome_slots as usize);
    let read_pos: Peer<AtomicU64> = receiver.peer(slot + layout::slot::READ_POS);
    read_pos.load() & !7
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("lane", &self.number).finish_non_exhaustive()
    }
}

/// Why [`Sender::send_batch`] stopped, and after how many messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchError {
    /// Messages that were sent.
    pub sent: usize,
    /// What became of the next one.
    pub error: SendError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} messages: {}", self.sent, self.error)
    }
}

impl std::error::Error for BatchError {}

/// Room in a lane, to be written in pieces and then committed; made by [`Sender::claim`].
#[derive(Debug)]
#[must_use = "a claim that is dropped sends nothing"]
pub struct Claim<'a> {
    sender: &'a mut Sender,
    claim: ring::Claim,
    written: usize,
    /// The bytes since the last multiple of 8: shared memory is written in whole words.
    partial: [u8; 8],
}

impl<'a> Claim<'a> {
    fn new(sender: &'a mut Sender, claim: ring::Claim) -> Claim<'a> {
        Claim { sender, claim, written: 0, partial: [0; 8] }
    }

    /// The claimed length, bytes.
    pub fn len(&self) -> usize {
        self.claim.len as usize
    }

    /// Whether the claimed length is 0.
    pub fn is_empty(&self) -> bool {
        self.claim.len == 0
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`WrongLength`] when they are more than what is left; then none is written.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WrongLength> {
        let len = self.written + bytes.len();
        if len > self.len() {
            return Err(WrongLength { len, expected: self.len() });
        }
        let begun = self.written % 8;
        if begun > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(8 - begun));
            self.partial[begun..begun + head.len()].copy_from_slice(head);
            self.sender.lane.fill(&self.claim, self.written - begun, &self.partial[..begun + head.len()]);
            self.written += head.len();
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.sender.lane.fill(&self.claim, self.written, bytes);
            let tail = &bytes[bytes.len() & !7..];
            self.partial[..tail.len()].copy_from_slice(tail);
            self.written = len;
        }
        Ok(())
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`WrongLength`] when less was written than claimed; then nothing is sent.
    pub fn commit(self) -> Result<Ticket, WrongLength> {
        if self.written != self.len() {
            return Err(WrongLength { len: self.written, expected: self.len() });
        }
        let position = self.sender.lane.commit(self.claim);
        self.sender.lane.ring();
        Ok(Ticket { lane: self.sender.number, position })
    }

    /// Gives the room back, as dropping the claim does.
    pub fn abort(self) {}

    /// Where the payload lies, for writing it in place.
    ///
    /// Writing up to [`len`](Self::len) bytes there, before the claim is gone, is sound as long as no other process
    /// writes this lane; then say so by [`assume_written`](Self::assume_written).
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.sender.lane.payload(&self.claim)
    }

    /// Says that the whole payload was written through [`as_mut_ptr`](Self::as_mut_ptr).
    ///
    /// # Safety
    /// All [`len`](Self::len) bytes were written since the claim was made: otherwise whatever lay there is sent.
    #[expect(unsafe_code, reason = "the caller vouches for bytes that we did not see")]
    pub unsafe fn assume_written(&mut self) {
        self.written = self.len();
    }
}

impl Write for Claim<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = bytes.len().min(self.len() - self.written);
        Claim::write_all(self, &bytes[..fitting]).map_err(io::Error::other)?;
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
