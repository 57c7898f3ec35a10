//! A lane: a ring, the words around it, and the two bells that belong to it.
//!
//! Composes [`ring`](crate::ring) and [`bell`](crate::bell) over the memory of three files. Knows nothing of the files
//! themselves, of locks, or of other lanes.

use crate::bell::{Ringer, Sleeper};
use crate::error::{Damage, Fault};
use crate::layout::{self, FenceMode, Header, Kind, Role};
use crate::region::{Own, Peer, Region};
use crate::ring::{self, Broken, Claim, Record, Refusal};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::fence::Fences;
use std::cell::Cell;
use std::sync::Arc;

/// The smallest page there is.
const PAGE: u64 = 4096;

/// The memory that one end of a lane needs, and what the queue's header says about it.
#[derive(Clone)]
pub(crate) struct Memory {
    /// `lane-NNN`: writable for its sender.
    pub(crate) lane: Arc<Region>,
    /// `receiver`: writable for the receiver.
    pub(crate) receiver: Arc<Region>,
    /// `bell`: writable for all.
    pub(crate) bell: Arc<Region>,
    /// The lane's number.
    pub(crate) number: u32,
    pub(crate) capacity: u64,
    pub(crate) max_message: u32,
    pub(crate) outcome_slots: usize,
    pub(crate) fences: Fences,
}

impl Memory {
    pub(crate) fn new(
        header: &Header,
        number: u32,
        fence_mode: FenceMode,
        lane: Arc<Region>,
        receiver: Arc<Region>,
        bell: Arc<Region>,
    ) -> Memory {
        Memory {
            lane,
            receiver,
            bell,
            number,
            capacity: header.ring_capacity,
            max_message: header.max_message,
            outcome_slots: header.outcome_slots as usize,
            fences: Fences::new(fence_mode),
        }
    }

    fn slot(&self, offset: usize) -> usize {
        layout::slot_offset(self.number as usize, self.outcome_slots) + offset
    }

    fn damage(&self, broken: Broken) -> Damage {
        Damage { lane: self.number, fault: broken.fault, position: broken.position, found: broken.found }
    }

    /// The damage for which the receiver retired this lane.
    fn damage_on_record(&self) -> Option<Damage> {
        damage_on_record(&self.receiver, self.number, self.outcome_slots)
    }
}

/// The damage for which the receiver retired a lane.
pub(crate) fn damage_on_record(receiver: &Arc<Region>, number: u32, outcome_slots: usize) -> Option<Damage> {
    let slot = layout::slot_offset(number as usize, outcome_slots);
    let fault: Peer<AtomicU32> = receiver.peer(slot + layout::slot::FAULT);
    let fault = Fault::from_word(fault.load())?;
    // ORDERING(poison): the numbers were stored before the word.
    fence(Ordering::Acquire);
    let position: Peer<AtomicU64> = receiver.peer(slot + layout::slot::FAULT_POSITION);
    let found: Peer<AtomicU64> = receiver.peer(slot + layout::slot::FAULT_FOUND);
    Some(Damage { lane: number, fault, position: position.load(), found: found.load() })
}

/// Retires a lane for good. For the receiver.
pub(crate) fn record_damage(receiver: &Arc<Region>, damage: Damage, outcome_slots: usize) {
    let slot = layout::slot_offset(damage.lane as usize, outcome_slots);
    let fault: Own<AtomicU32> = receiver.own(slot + layout::slot::FAULT);
    let position: Own<AtomicU64> = receiver.own(slot + layout::slot::FAULT_POSITION);
    let found: Own<AtomicU64> = receiver.own(slot + layout::slot::FAULT_FOUND);
    // ORDERING(poison): relaxed, both; the Release below puts them before the word.
    position.store(damage.position, Ordering::Relaxed);
    found.store(damage.found, Ordering::Relaxed);
    // ORDERING(poison): the numbers before the word that makes anyone read them.
    fault.store(damage.fault as u32, Ordering::Release);
}

/// The sender's end. Whoever makes one holds the lane's lock.
pub(crate) struct Writer {
    ring: ring::Writer,
    memory: Memory,
    hint: Own<AtomicU64>,
    sent: Own<AtomicU64>,
    sent_count: u64,
    closed_at: Own<AtomicU64>,
    full_events: Own<AtomicU64>,
    role: Peer<AtomicU32>,
    receiver: Ringer,
}

impl Writer {
    /// Takes over the lane: after the last committed record, open, awake. The other half of what it returns is for
    /// sleeping until there is room.
    pub(crate) fn attach(memory: Memory) -> Result<(Writer, Sleeper), Damage> {
        let lane = &memory.lane;
        let hint: Own<AtomicU64> = lane.own(layout::lane::WRITE_HINT);
        // ORDERING(takeover): relaxed; the lane's lock ordered us behind its last owner.
        let start = hint.load(Ordering::Relaxed);
        if let Some(damage) = memory.damage_on_record() {
            return Err(damage);
        }
        let (ring, beyond_hint) = ring::Writer::resume(
            lane.window(layout::RING, memory.capacity),
            memory.max_message,
            start,
            memory.receiver.peer(memory.slot(layout::slot::READ_POS)),
            lane.own(layout::lane::ACCEPTED),
        )
        .map_err(|broken| memory.damage(broken))?;
        let sent: Own<AtomicU64> = lane.own(layout::lane::SENT);
        let receiver = Ringer::new(
            memory.receiver.peer(layout::receiver::SLEEPS),
            memory.bell.own(layout::bell::SEQ),
            memory.bell.own(layout::bell::RUNG_AT),
            memory.fences,
        );
        let room = Sleeper::new(
            lane.own(layout::lane::SLEEPS),
            memory.receiver.peer(memory.slot(layout::slot::SEQ)),
            memory.receiver.peer(memory.slot(layout::slot::RUNG_AT)),
            memory.fences,
        );
        let writer = Writer {
            ring,
            hint,
            // ORDERING(takeover): as above.
            sent_count: sent.load(Ordering::Relaxed).wrapping_add(beyond_hint),
            sent,
            closed_at: lane.own(layout::lane::CLOSED_AT),
            full_events: lane.own(layout::lane::FULL_EVENTS),
            role: memory.receiver.peer(layout::receiver::ROLE),
            receiver,
            memory,
        };
        // ORDERING(close): the lane is open again; whoever sees it closed until the next commit is not wrong.
        writer.closed_at.store(0, Ordering::Relaxed);
        writer.leave_hint();
        Ok((writer, room))
    }

    /// Room for `len` bytes, if it is known to be there.
    #[inline(always)]
    pub(crate) fn claim_known(&self, len: usize) -> Option<Claim> {
        self.ring.claim_known(len)
    }

    /// Room for `len` bytes, or why not. Rings for the pad that may have been committed on the way.
    pub(crate) fn claim(&mut self, len: usize) -> Result<Claim, Refusal> {
        if self.poisoned().is_some() {
            return Err(Refusal::Full);
        }
        self.ring.claim(len).inspect_err(|_| self.ring())
    }

    /// Copies part of the payload of a claim. `at` is a multiple of 8.
    #[inline(always)]
    pub(crate) fn fill(&self, claim: &Claim, at: usize, bytes: &[u8]) {
        self.ring.fill(claim, at, bytes);
    }

    /// Where a claim's payload lies.
    pub(crate) fn payload(&self, claim: &Claim) -> *mut u8 {
        self.ring.payload(claim)
    }

    /// Commits; does not ring. Returns the record's position.
    #[inline(always)]
    pub(crate) fn commit(&mut self, claim: Claim) -> u64 {
        self.ring.commit(claim);
        self.sent_count = self.sent_count.wrapping_add(1);
        self.leave_hint();
        claim.position
    }

    /// Wakes the receiver if it sleeps.
    #[inline(always)]
    pub(crate) fn ring(&self) {
        self.receiver.ring_if_asleep();
    }

    /// Says that nothing more will come, after everything committed so far.
    pub(crate) fn close(&mut self) {
        // ORDERING(close): every commit before the word that ends them.
        self.closed_at.store(self.ring.write_pos() + 1, Ordering::Release);
        self.ring();
    }

    /// Counts one occasion at which a message found no room.
    pub(crate) fn count_full(&self) {
        // ORDERING(hint): a counter of this process alone.
        self.full_events.store(self.full_events.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The damage for which this lane is worth nothing any more.
    pub(crate) fn poisoned(&self) -> Option<Damage> {
        let truncated = Broken { fault: Fault::Truncated, position: self.ring.write_pos(), found: 0 };
        let lost = self.memory.lane.was_truncated() || self.memory.receiver.was_truncated();
        self.memory.damage_on_record().or(lost.then(|| self.memory.damage(truncated)))
    }

    /// Whether no receiver will ever come again.
    pub(crate) fn receiver_gone(&self) -> bool {
        self.role.load() == Role::Gone as u32
    }

    /// A broken rule of the receiver's, as damage of this lane.
    pub(crate) fn damage(&self, broken: Broken) -> Damage {
        self.memory.damage(broken)
    }

    /// How often this handle woke the receiver.
    pub(crate) fn rings(&self) -> u64 {
        self.receiver.rings()
    }

    /// For observers and for the next owner, who walks on from here.
    #[inline(always)]
    fn leave_hint(&self) {
        // ORDERING(hint): relaxed; whoever uses it checks every record from there on.
        self.hint.store(self.ring.write_pos(), Ordering::Relaxed);
        // ORDERING(hint): as above.
        self.sent.store(self.sent_count, Ordering::Relaxed);
    }
}

/// The receiver's end. Whoever makes one holds the receiver's lock.
pub(crate) struct Reader {
    ring: ring::Reader,
    memory: Memory,
    received: Own<AtomicU64>,
    /// What the receivers before this one had counted.
    received_before: u64,
    closed_at: Peer<AtomicU64>,
    damage: Cell<Option<Damage>>,
    sender: Ringer,
}

impl Reader {
    /// Takes over where the last receiver's released messages end, and wakes a sender that may wait for one that
    /// died.
    pub(crate) fn attach(memory: Memory) -> Reader {
        let words = &memory.receiver;
        let received: Own<AtomicU64> = words.own(memory.slot(layout::slot::RECEIVED));
        let reader = Reader {
            ring: ring::Reader::resume(
                memory.lane.window(layout::RING, memory.capacity),
                memory.max_message,
                words.own(memory.slot(layout::slot::READ_POS)),
            ),
            // ORDERING(takeover): relaxed; the receiver's lock ordered us behind the last one.
            received_before: received.load(Ordering::Relaxed),
            received,
            closed_at: memory.lane.peer(layout::lane::CLOSED_AT),
            damage: Cell::new(memory.damage_on_record()),
            sender: Ringer::new(
                memory.lane.peer(layout::lane::SLEEPS),
                words.own(memory.slot(layout::slot::SEQ)),
                words.own(memory.slot(layout::slot::RUNG_AT)),
                memory.fences,
            ),
            memory,
        };
        if let Some(damage) = reader.damage.get() {
            reader.ring.stop(Broken { fault: damage.fault, position: damage.position, found: damage.found });
        }
        reader.sender.ring_anyway();
        reader
    }

    /// The lane's number.
    #[inline(always)]
    pub(crate) fn number(&self) -> u32 {
        self.memory.number
    }

    /// The ring's bytes.
    #[inline(always)]
    pub(crate) fn window(&self) -> &crate::region::Window {
        self.ring.window()
    }

    /// Where the next record will be looked for.
    pub(crate) fn next(&self) -> u64 {
        self.ring.next()
    }

    /// The next message, if it is there and nothing stands before it. Leaves pads and damage to [`look`](Self::look).
    #[inline(always)]
    pub(crate) fn message(&self) -> Option<Record> {
        let record = self.ring.message()?;
        // Its commit word was just read, and with it the page that holds the start.
        let crosses_pages = record.position ^ (record.next - 1) >= PAGE;
        if crosses_pages && !self.is_whole(&record) { None } else { Some(record) }
    }

    /// Whether the file still has the record's last bytes: what was truncated away reads as zero.
    #[cold]
    fn is_whole(&self, record: &Record) -> bool {
        // ORDERING(publish): relaxed; the word is touched, not believed.
        self.ring.window().word(record.next - 8).load(Ordering::Relaxed);
        !self.memory.lane.was_truncated()
    }

    /// Whether there is anything where the next record is looked for.
    #[inline(always)]
    pub(crate) fn has_word(&self) -> bool {
        self.ring.has_word()
    }

    /// The next message, if there is one; it stays next until [`take`](Self::take). Passes pads. Damage is reported
    /// once, and poisons the lane.
    pub(crate) fn look(&self) -> Result<Option<Record>, Damage> {
        self.look_from(0)
    }

    /// As [`look`](Self::look), passing over messages below `from` that were put back.
    pub(crate) fn look_from(&self, from: u64) -> Result<Option<Record>, Damage> {
        loop {
            match self.ring.look_from(from) {
                Ok(Some(record)) if record.kind == Kind::Data && self.is_whole(&record) => return Ok(Some(record)),
                Ok(Some(record)) if record.kind == Kind::Data && self.damage.get().is_some() => return Ok(None),
                Ok(Some(record)) if record.kind == Kind::Data => return Err(self.condemn(Fault::Truncated)),
                // A page that was lost reads as nothing, for ever.
                Ok(None) if self.memory.lane.was_truncated() && self.damage.get().is_none() => {
                    return Err(self.condemn(Fault::Truncated));
                }
                Ok(None) => return Ok(None),
                Ok(Some(pad)) => {
                    self.ring.pass(&pad);
                    // A sender may wait for exactly this: published even in the middle of a batch.
                    self.publish();
                }
                Err(_) if self.damage.get().is_some() => return Ok(None),
                Err(broken) => return Err(self.poison(broken)),
            }
        }
    }

    /// Hands out a message that was looked at.
    #[inline(always)]
    pub(crate) fn take(&self, record: &Record) {
        self.ring.take(record);
    }

    /// Gives a message's bytes back to the sender.
    #[inline(always)]
    pub(crate) fn release(&self, record: &Record) {
        if self.ring.release_next(record.position, record.next) {
            self.tell_sender();
        } else {
            self.release_slowly(record);
        }
    }

    /// Takes back a message that was taken and not released: it is delivered again, before anything newer.
    pub(crate) fn put_back(&self, position: u64) {
        self.ring.put_back(position);
    }

    /// From here on releases are published together, by [`end_batch`](Self::end_batch) or every quarter of the ring.
    pub(crate) fn begin_batch(&self) {
        self.ring.begin_batch();
    }

    /// Publishes what has been released since [`begin_batch`](Self::begin_batch).
    pub(crate) fn end_batch(&self) {
        if self.ring.end_batch() {
            self.publish();
        }
    }

    /// How many messages lie ahead, at most as many as fit in the ring.
    pub(crate) fn count_ahead(&self) -> usize {
        self.ring.count_ahead()
    }

    /// Retires a lane for what is wrong with it as a whole.
    pub(crate) fn condemn(&self, fault: Fault) -> Damage {
        self.poison(Broken { fault, position: self.next(), found: 0 })
    }

    /// Whether the sender has closed the lane and everything before that has been taken.
    pub(crate) fn is_finished(&self) -> bool {
        // ORDERING(close): the last commits before the word that ended them.
        self.closed_at.load_acquire() == self.next() + 1
    }

    /// The damage for which the lane was retired.
    pub(crate) fn damage(&self) -> Option<Damage> {
        self.damage.get()
    }

    /// How often this handle woke the sender.
    pub(crate) fn rings(&self) -> u64 {
        self.sender.rings()
    }

    /// Wakes the sender whatever its count says: the receiver is going.
    pub(crate) fn wake_sender(&self) {
        self.sender.ring_anyway();
    }

    #[cold]
    fn release_slowly(&self, record: &Record) {
        if self.ring.release(record.position, record.next) {
            self.publish();
        }
    }

    fn publish(&self) {
        self.ring.publish();
        self.tell_sender();
    }

    #[inline(always)]
    fn tell_sender(&self) {
        // ORDERING(hint): relaxed; a counter for observers.
        self.received.store(self.received_before.wrapping_add(self.ring.messages()), Ordering::Relaxed);
        self.sender.ring_if_asleep();
    }

    /// Retires the lane: it is not read again, its sender is told, and the others go on.
    #[cold]
    fn poison(&self, broken: Broken) -> Damage {
        let damage = self.memory.damage(broken);
        self.damage.set(Some(damage));
        self.ring.stop(broken);
        record_damage(&self.memory.receiver, damage, self.memory.outcome_slots);
        self.sender.ring_anyway();
        damage
    }
}

/// What anyone may see of a lane without touching it.
pub(crate) struct View {
    memory: Memory,
    hint: Peer<AtomicU64>,
    sent: Peer<AtomicU64>,
    accepted: Peer<AtomicU64>,
    closed_at: Peer<AtomicU64>,
    attaches: Peer<AtomicU64>,
    full_events: Peer<AtomicU64>,
    read_pos: Peer<AtomicU64>,
    received: Peer<AtomicU64>,
}

/// The numbers of a lane at about one instant: each word was true when it was loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) write_pos: u64,
    pub(crate) read_pos: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) attaches: u64,
    pub(crate) full_events: u64,
    pub(crate) closed: bool,
    pub(crate) damage: Option<Damage>,
}

impl View {
    pub(crate) fn new(memory: Memory) -> View {
        let lane = &memory.lane;
        let words = &memory.receiver;
        View {
            hint: lane.peer(layout::lane::WRITE_HINT),
            sent: lane.peer(layout::lane::SENT),
            accepted: lane.peer(layout::lane::ACCEPTED),
            closed_at: lane.peer(layout::lane::CLOSED_AT),
            attaches: lane.peer(layout::lane::ATTACHES),
            full_events: lane.peer(layout::lane::FULL_EVENTS),
            read_pos: words.peer(memory.slot(layout::slot::READ_POS)),
            received: words.peer(memory.slot(layout::slot::RECEIVED)),
            memory,
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        let read_pos = self.read_pos.load();
        // A ring holds no more than its bytes, whatever its words say.
        let most = read_pos.saturating_add(self.memory.capacity);
        Glance {
            // A hint lags behind by a message at most while its sender lives, and for good when it died.
            write_pos: self.hint.load().clamp(read_pos, most),
            read_pos,
            sent: self.sent.load(),
            received: self.received.load(),
            attaches: self.attaches.load(),
            full_events: self.full_events.load(),
            closed: self.closed_at.load() != 0,
            damage: self.memory.damage_on_record(),
        }
    }

    /// Copies the message at `position`, or what follows it: `Ok(None)` when nothing is committed there.
    ///
    /// The copy is worth something only if the sender had not given those bytes up by then; when it had, the error is
    /// the position that it had accepted, below which everything may have been overwritten.
    pub(crate) fn copy(&self, position: u64) -> Result<Option<(Record, Vec<u8>)>, Lapped> {
        if !ring::is_position(position) {
            return Err(Lapped::Damaged);
        }
        let window = self.memory.lane.window(layout::RING, self.memory.capacity);
        let found = ring::inspect(&window, position, self.memory.max_message);
        let copied = match found {
            Ok(Some(record)) => {
                let mut bytes = Vec::with_capacity(record.len as usize);
                // SAFETY: I5: the record was found to end before the ring does. The vector has room for `len` bytes, and
                // has that many initialised ones afterwards.
                #[expect(unsafe_code, reason = "filling a vector without zeroing it first")]
                unsafe {
                    window.copy_out(position + 8, bytes.as_mut_ptr(), record.len as usize);
                    bytes.set_len(record.len as usize);
                }
                Ok(Some((record, bytes)))
            }
            Ok(None) => Ok(None),
            Err(broken) => Err(broken),
        };
        // ORDERING(lapped): the copy before the load of what the sender had accepted by then.
        fence(Ordering::Acquire);
        let accepted = self.accepted.load();
        if accepted > position {
            return Err(Lapped::By(accepted));
        }
        copied.map_err(|_| Lapped::Damaged)
    }
}

/// Why an observer's copy is worth nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lapped {
    /// The sender has moved on; everything below this position may have been overwritten.
    By(u64),
    /// What stands there is no record.
    Damaged,
}
