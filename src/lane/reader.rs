//! The receiver's end of a lane.

use super::{Memory, Pressure, Waiting, record_damage};
use crate::bell::Ringer;
use crate::error::{Broken, Damage, Fault};
use crate::layout::{self, Kind};
use crate::record::Record;
use crate::region::{Own, Payload, Peer};
use crate::ring;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::cell::Cell;

/// Records that are no messages and that are passed in one look. No sender of ours commits so many in a row.
const MOST_PASSED: u32 = 256;

/// The receiver's end. Whoever makes one holds the receiver's lock.
pub(crate) struct Reader {
    ring: ring::Reader,
    memory: Memory,
    received: Own<AtomicU64>,
    hint: Peer<AtomicU64>,
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
                memory.lane.window(&memory.table().ring()),
                memory.table(),
                memory.max_message,
                words.own(memory.slot(layout::slot::READ_POS)),
            ),
            received,
            hint: memory.lane.peer(layout::lane::WRITE_HINT),
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
        // ORDERING(takeover): relaxed; the receiver's lock ordered us behind the last one.
        reader.ring.count_from(reader.received.load(Ordering::Relaxed));
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

    /// The lane's priority, as its header says it.
    #[inline]
    pub(crate) fn priority(&self) -> u32 {
        self.memory.priority
    }

    /// Where the payload lies of the record that [`message`](Self::message) found.
    #[inline(always)]
    pub(crate) fn payload(&self, record: &Record) -> Payload {
        self.ring.payload(record)
    }

    /// Where the payload lies of the record that [`look_from`](Self::look_from) has just found.
    pub(crate) fn payload_looked_at(&self, record: &Record) -> Payload {
        self.ring.payload_looked_at(record)
    }

    /// Where the next record will be looked for.
    pub(crate) fn next(&self) -> u64 {
        self.ring.next()
    }

    /// The next message, if it is there and nothing stands before it. Leaves pads and damage to [`look`](Self::look).
    #[inline(always)]
    pub(crate) fn message(&self) -> Option<Record> {
        self.message_at(self.ring.at())
    }

    /// As [`message`](Self::message), at `position`: where the next one is, or behind messages that follow it.
    #[inline(always)]
    pub(crate) fn message_at(&self, position: u64) -> Option<Record> {
        self.ring.message_at(position, || !self.memory.lane.was_truncated())
    }

    /// Asks for the lines of what is waiting, if much is.
    #[inline]
    pub(crate) fn look_ahead(&self) {
        if self.ring.is_short_sighted() {
            self.ring.look_ahead(self.hint.load());
        }
    }

    /// What was looked at and not taken is looked at as if for the first time.
    pub(crate) fn forget_looks(&self) {
        self.ring.forget_reach();
    }

    /// Where the next message is, and how many may be taken in one go.
    #[inline(always)]
    pub(crate) fn run(&self) -> (u64, usize) {
        (self.ring.at(), if self.ring.is_unusual() { 1 } else { usize::MAX })
    }

    /// Whether the file still has the record's last bytes: what was truncated away reads as zero.
    #[cold]
    fn is_whole(&self, next: u64, here: bool) -> bool {
        self.ring.touch_end(next, here);
        !self.memory.lane.was_truncated()
    }

    /// Whether there is anything where the next record is looked for.
    #[inline(always)]
    pub(crate) fn has_word(&self) -> bool {
        self.ring.has_word()
    }

    /// The next message, if there is one; it stays next until [`take`](Self::take). Passes pads and jumps. Damage is reported
    /// once, and poisons the lane.
    pub(crate) fn look(&self) -> Result<Option<Record>, Damage> {
        self.look_from(0)
    }

    /// As [`look`](Self::look), passing over messages below `from` that were put back.
    pub(crate) fn look_from(&self, from: u64) -> Result<Option<Record>, Damage> {
        for _ in 0..MOST_PASSED {
            match self.ring.look_from(from) {
                Ok(Some(record))
                    if record.kind == Kind::Data && self.is_whole(record.next, record.position == self.ring.at()) =>
                {
                    return Ok(Some(record));
                }
                Ok(Some(record)) if record.kind == Kind::Data && self.damage.get().is_some() => return Ok(None),
                Ok(Some(record)) if record.kind == Kind::Data => return Err(self.condemn(Fault::Truncated)),
                // A page that was lost reads as nothing, for ever.
                Ok(None) if self.memory.lane.was_truncated() && self.damage.get().is_none() => {
                    return Err(self.condemn(Fault::Truncated));
                }
                Ok(None) => {
                    if self.ring.let_go() {
                        self.publish();
                    }
                    return Ok(None);
                }
                Ok(Some(way)) => {
                    self.ring.pass(&way);
                    // A sender may wait for exactly this: published even in the middle of a batch.
                    self.publish();
                }
                Err(_) if self.damage.get().is_some() => return Ok(None),
                Err(broken) => return Err(self.poison(broken)),
            }
        }
        // Whoever commits nothing else must not keep the receiver from the other lanes.
        Ok(None)
    }

    /// Hands out a message that was looked at, or a run of them: everything from `position` to `next`.
    #[inline(always)]
    pub(crate) fn take(&self, position: u64, next: u64) {
        self.ring.take(position, next);
    }

    /// Gives the bytes of so many messages, from `position` to `next`, back to the sender.
    #[inline(always)]
    pub(crate) fn release(&self, position: u64, next: u64, messages: u64) {
        if !self.release_next(position, next, messages) {
            self.release_slowly(position, next, messages);
        }
    }

    /// As [`release`](Self::release), if nothing is unusual; otherwise false, and nothing was done.
    #[inline(always)]
    pub(crate) fn release_next(&self, position: u64, next: u64, messages: u64) -> bool {
        let released = self.ring.release_next(position, next, messages);
        if released {
            self.tell_sender();
        }
        released
    }

    /// Takes a message back, or releases it the long way.
    #[cold]
    pub(crate) fn give_back_slowly(&self, position: u64, next: u64, unhandled: bool) {
        if unhandled {
            self.put_back(position);
        } else {
            self.release_slowly(position, next, 1);
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

    /// How many messages are missing before the one at `position`, which was taken and not released.
    pub(crate) fn dropped_before(&self, position: u64) -> u64 {
        self.ring.dropped_before(position)
    }

    /// Bytes of records in front of the first that was never taken, counted from anywhere.
    pub(crate) fn distance(&self) -> u64 {
        self.ring.distance()
    }

    /// The most bytes of records that the lane can hold at a time.
    pub(crate) fn most(&self) -> u64 {
        self.ring.most()
    }

    /// Whether this reader keeps up.
    pub(crate) fn pressure(&self) -> Pressure {
        let word: Peer<AtomicU32> = self.memory.lane.peer(layout::lane::PRESSURE);
        let waiting =
            Waiting::between(self.ring.table().entries(), self.ring.released(), self.hint.load(), self.ring.most());
        self.memory.marks.weigh(Pressure::of_word(word.load()), waiting)
    }

    /// Messages that were dropped for want of room since the lane was created, as its senders say.
    pub(crate) fn dropped(&self) -> u64 {
        let dropped: Peer<AtomicU64> = self.memory.lane.peer(layout::lane::DROPPED);
        dropped.load()
    }

    /// How many messages lie ahead, at most as many as fit in the lane.
    pub(crate) fn count_ahead(&self) -> usize {
        self.ring.count_ahead()
    }

    /// Retires a lane for what is wrong with it as a whole.
    pub(crate) fn condemn(&self, fault: Fault) -> Damage {
        self.poison(Broken { fault, position: self.next(), found: 0 })
    }

    /// Whether the sender has closed the lane and everything before that has been taken.
    pub(crate) fn is_finished(&self) -> bool {
        // ORDERING(close): what the sender did before it closed, in other memory too.
        self.closed_at.load_acquire() == self.next() + 1
    }

    /// The damage for which the lane was retired.
    pub(crate) fn damage(&self) -> Option<Damage> {
        self.damage.get()
    }

    /// What glances at this lane from another thread.
    #[cfg(not(laneway_loom))]
    pub(crate) fn scout(&self) -> super::Scout {
        super::Scout {
            window: self.memory.lane.window(&self.memory.table().ring()),
            table: self.memory.table(),
            read_pos: self.memory.receiver.peer(self.memory.slot(layout::slot::READ_POS)),
            closed_at: self.closed_at.clone(),
            seen_closed: Cell::new(self.closed_at.load()),
        }
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
    fn release_slowly(&self, position: u64, next: u64, messages: u64) {
        if self.ring.release(position, next, messages) {
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
        self.received.store(self.ring.messages(), Ordering::Relaxed);
        self.sender.ring_if_asleep();
    }

    /// Retires the lane: it is not read again, its sender is told, and the others go on.
    #[cold]
    fn poison(&self, broken: Broken) -> Damage {
        let damage = self.memory.damage(broken);
        self.damage.set(Some(damage));
        self.ring.stop(broken);
        record_damage(&self.memory.receiver, damage);
        #[cfg(feature = "tracing")]
        crate::log::poisoned(&self.memory.name, &damage);
        self.sender.ring_anyway();
        damage
    }
}
