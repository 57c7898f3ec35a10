//! The sender's end of a lane.

use super::{Memory, Pressure, Waiting};
use crate::bell::{Ringer, Sleeper};
use crate::error::{Broken, Damage, Fault};
use crate::growth::{Growth, Short};
use crate::layout::{self, Role};
use crate::region::{Own, Peer};
use crate::ring::{self, Claim, Refusal};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

/// Which claims go the long way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// As many as it takes to know the pressure.
    InTime,
    /// All while the pressure is high.
    WhenHigh,
    Always,
}

/// The sender's end. Whoever makes one holds the lane's lock.
pub(crate) struct Writer {
    ring: ring::Writer,
    memory: Memory,
    hint: Own<AtomicU64>,
    sent: Own<AtomicU64>,
    sent_count: u64,
    closed_at: Own<AtomicU64>,
    ended: bool,
    full_events: Own<AtomicU64>,
    growth: Growth,
    /// As last weighed, and the same for the others.
    pressure: Pressure,
    pressure_word: Own<AtomicU32>,
    high_water: Own<AtomicU64>,
    dropped: Own<AtomicU64>,
    /// Messages that were dropped since the last one that says so.
    untold: u32,
    asking: Asking,
    role: Peer<AtomicU32>,
    receiver: Ringer,
}

/// Messages that are committed together when it is dropped, also by a panic of whoever makes them.
pub(crate) struct Run<'a> {
    lane: &'a mut Writer,
    run: ring::Run,
}

impl Run<'_> {
    /// Puts a message behind the others, if there is room that is known of and the run is not too long already.
    #[inline(always)]
    pub(crate) fn push(&mut self, payload: &[u8]) -> bool {
        self.lane.ring.push(&mut self.run, payload)
    }
}

impl Drop for Run<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let messages = self.lane.ring.commit_run(self.run);
        if messages > 0 {
            self.lane.sent_count = self.lane.sent_count.wrapping_add(messages);
            self.lane.leave_hint();
        }
    }
}

impl Writer {
    /// The ring and the segments of a lane that is taken over, and how many messages lie beyond the last owner's hint.
    fn resume(memory: &Memory) -> Result<(ring::Writer, Growth, u64), Damage> {
        let hint: Peer<AtomicU64> = memory.lane.peer(layout::lane::WRITE_HINT);
        if let Some(damage) = memory.damage_on_record() {
            return Err(damage);
        }
        let table = memory.table();
        let (ring, beyond_hint) = ring::Writer::resume(
            memory.lane.window(&table.ring()),
            table,
            memory.max_message,
            // The lane's lock ordered us behind its last owner.
            hint.load(),
            memory.receiver.peer(memory.slot(layout::slot::READ_POS)),
            memory.lane.own(layout::lane::ACCEPTED),
        )
        .map_err(|broken| memory.damage(broken))?;
        let reserved = memory.lane.own(layout::lane::RESERVED);
        let (read, write) = (ring.read_copy(), ring.write_pos());
        let growth = Growth::adopt(Arc::clone(&memory.lane), memory.table(), reserved, read, write);
        Ok((ring, growth, beyond_hint))
    }

    /// Takes over the lane: after the last committed record, open, awake. The other half of what it returns is for
    /// sleeping until there is room.
    pub(crate) fn attach(memory: Memory) -> Result<(Writer, Sleeper), Damage> {
        let lane = &memory.lane;
        let (ring, growth, beyond_hint) = Self::resume(&memory)?;
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
        let write = ring.write_pos();
        let mut writer = Writer {
            ring,
            growth,
            pressure: Pressure::Normal,
            pressure_word: lane.own(layout::lane::PRESSURE),
            high_water: lane.own(layout::lane::HIGH_WATER),
            dropped: lane.own(layout::lane::DROPPED),
            untold: 0,
            asking: Asking::InTime,
            hint: lane.own(layout::lane::WRITE_HINT),
            // ORDERING(takeover): relaxed; the lane's lock ordered us behind its last owner.
            sent_count: sent.load(Ordering::Relaxed).wrapping_add(beyond_hint),
            sent,
            closed_at: lane.own(layout::lane::CLOSED_AT),
            ended: false,
            full_events: lane.own(layout::lane::FULL_EVENTS),
            role: memory.receiver.peer(layout::receiver::ROLE),
            receiver,
            memory,
        };
        // ORDERING(close): the lane is open again; whoever sees it closed until the next commit is not wrong.
        writer.closed_at.store(0, Ordering::Relaxed);
        writer.leave_hint();
        writer.weigh(write);
        Ok((writer, room))
    }

    /// Gives back what a lane's dead owners left reserved, and what its reader has passed. The caller holds the lane's lock.
    pub(crate) fn trim_abandoned(memory: &Memory) -> Result<(), Damage> {
        let lane = &memory.lane;
        let (mut ring, mut growth, _) = Writer::resume(memory)?;
        let (read, write) = (ring.read_copy(), ring.write_pos());
        let closed_at: Peer<AtomicU64> = lane.peer(layout::lane::CLOSED_AT);
        if let Some(slot) = ring.segment() {
            // The room behind the last record is of no use to anybody but a sender, and the next one can take its own.
            growth.leave(slot, write + 8);
            growth.trim(read);
            if ring.may_go_home() && closed_at.load() == 0 {
                // The receiver is done with the segment when it has found the way out.
                ring.go_home();
                let hint: Own<AtomicU64> = lane.own(layout::lane::WRITE_HINT);
                // ORDERING(hint): relaxed; whoever uses it checks every record from there on.
                hint.store(ring.write_pos(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Room for `len` bytes, if it is known to be there.
    #[inline(always)]
    pub(crate) fn claim_known(&mut self, len: usize) -> Option<Claim> {
        self.ring.claim_known(len)
    }

    /// Room for `len` bytes, or why not; in a new segment if need be and `grow` says so. Rings for the pad that may have
    /// been committed on the way.
    pub(crate) fn claim(&mut self, len: usize, grow: bool) -> Result<Claim, Refusal> {
        if self.poisoned().is_some() {
            return Err(Refusal::Full);
        }
        self.ring.refresh().map_err(Refusal::Broken)?;
        self.go_home();
        let mut claim = self.claim_behind(self.untold, len, grow);
        if claim.is_ok() {
            self.untold = 0;
        } else if self.untold > 0 && self.ring.read_copy() == self.ring.write_pos() {
            // There is nothing to wait for: the two may not fit together. A shorter one will say that others are missing.
            claim = self.claim_behind(0, len, grow);
        }
        self.weigh(claim.map_or(self.ring.write_pos(), |claim| claim.next));
        claim.inspect_err(|_| self.ring())
    }

    /// Room for a message, behind a gap if there is one.
    fn claim_behind(&mut self, dropped: u32, len: usize, grow: bool) -> Result<Claim, Refusal> {
        match self.ring.claim(len, dropped) {
            Err(Refusal::Full) if grow => {
                // The gap, the record, and a word for the jump out of the segment.
                let gap = if dropped > 0 { layout::record_len(0) } else { 0 };
                let record = layout::next_record(gap, layout::record_len(len));
                self.grow(record + 8).and_then(|()| self.ring.claim(len, dropped))
            }
            answer => answer,
        }
    }

    /// Tells of dropped messages without another behind them, if there is room for that.
    fn tell_dropped(&mut self) {
        if self.untold > 0 && self.ring.commit_gap(self.untold).is_ok() {
            self.untold = 0;
            self.leave_hint();
        }
    }

    /// Whether a claim that found no room could find some now, at a glance.
    pub(crate) fn reader_has_moved(&self) -> bool {
        self.ring.reader_has_moved()
    }

    /// Goes on in the ring if it is empty. Also before a record that is too long for it: the reader is done with a segment
    /// only when it was left.
    fn go_home(&mut self) {
        if self.ring.may_go_home() {
            self.leave_segment();
            self.ring.go_home();
        }
    }

    /// Goes on in a segment with room for `need` bytes.
    #[cold]
    fn grow(&mut self, need: u64) -> Result<(), Refusal> {
        let (from, read) = (self.ring.write_pos(), self.ring.read_copy());
        let mut found = self.growth.take(need, from, read);
        if found == Err(Short::Limit) && self.ring.segment().is_some() {
            // What is left of this segment is too short, and may be just what is missing.
            self.leave_segment();
            self.ring.cut_segment();
            self.growth.trim(read);
            found = self.growth.take(need, from, read);
        }
        let entry = found.map_err(|short| match short {
            Short::Limit => Refusal::Full,
            Short::Space => Refusal::NoSpace,
        })?;
        self.leave_segment();
        self.ring.jump_to(&entry);
        Ok(())
    }

    /// Before every jump out of a segment its entry ends here, so that entries never overlap.
    fn leave_segment(&mut self) {
        if let Some(slot) = self.ring.segment() {
            self.growth.leave(slot, self.ring.write_pos() + 8);
        }
    }

    /// Weighs what is waiting up to `end`, and sees to it that it is asked again in time: when more may be waiting than the
    /// high mark, and while the pressure is high every sixteenth of the ring, or of the segment if that is less than the
    /// whole ring.
    ///
    /// Gives segments back when the pressure is normal and a whole lap has gone through the ring since it was last entered:
    /// after less, the next burst may need them. (Giving back at once made streaming through segments ten times slower.)
    fn weigh(&mut self, end: u64) {
        let read = self.ring.read_copy();
        let waiting = Waiting::between(self.growth.entries(), read, end, self.memory.most());
        // ORDERING(hint): relaxed; both for observers, and written by this process alone.
        if waiting.bytes > self.high_water.load(Ordering::Relaxed) {
            // ORDERING(hint): as above.
            self.high_water.store(waiting.bytes, Ordering::Relaxed);
        }
        let pressure = self.memory.marks.weigh(self.pressure, waiting);
        let settled = pressure == Pressure::Normal && self.ring.home_for() >= self.memory.capacity;
        if settled && self.growth.reserved() > 0 {
            self.growth.give_back(read);
        }
        #[cfg(feature = "tracing")]
        if pressure != self.pressure {
            crate::log::pressure(&self.memory.name, pressure, waiting.bytes);
        }
        self.pressure = pressure;
        // ORDERING(hint): as above.
        self.pressure_word.store(pressure as u32, Ordering::Relaxed);
        self.set_ceiling();
    }

    fn set_ceiling(&mut self) {
        self.ring.set_ceiling(match self.pressure {
            _ if self.untold > 0 || self.asking == Asking::Always => 0,
            Pressure::High if self.asking == Asking::WhenHigh => 0,
            Pressure::Normal => self.ring.read_copy().saturating_add(self.memory.marks.high),
            Pressure::High => {
                let capacity = self.memory.capacity;
                self.ring.write_pos() + (self.ring.window() / 16).clamp(capacity / 16, capacity)
            }
        });
    }

    /// Whether the reader keeps up, as this sender last saw.
    #[inline(always)]
    pub(crate) fn pressure(&self) -> Pressure {
        self.pressure
    }

    /// The pressure now.
    pub(crate) fn weigh_now(&mut self) -> Result<Pressure, Refusal> {
        self.ring.refresh().map_err(Refusal::Broken)?;
        self.weigh(self.ring.write_pos());
        Ok(self.pressure)
    }

    /// The reader's position as last accepted.
    pub(crate) fn read_copy(&self) -> u64 {
        self.ring.read_copy()
    }

    /// Which claims go the long way from here on, although there is room.
    pub(crate) fn set_asking(&mut self, asking: Asking) {
        self.asking = asking;
        self.set_ceiling();
    }

    /// Counts a message that was dropped: the next one will say so.
    pub(crate) fn count_dropped(&mut self) {
        self.untold = self.untold.saturating_add(1);
        // ORDERING(hint): a counter of this process alone.
        self.dropped.store(self.dropped.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.set_ceiling();
    }

    /// Nothing more is claimed through this handle: tells what was not told, and gives back everything in which there is
    /// nothing to read. The rest of the segment that records go to stays for the next owner, who has but so many slots.
    pub(crate) fn end(&mut self) {
        if !self.ended {
            self.tell_dropped();
            self.trim();
            self.ended = true;
        }
    }

    /// Gives back everything that the reader has passed, whatever the pressure.
    pub(crate) fn trim(&mut self) {
        if self.growth.reserved() > 0 && self.ring.refresh().is_ok() {
            self.go_home();
            self.growth.trim(self.ring.read_copy());
            self.weigh(self.ring.write_pos());
            self.ring();
        }
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

    /// Begins a run of messages that are committed together, when it is dropped; does not ring.
    #[inline(always)]
    pub(crate) fn run(&mut self) -> Run<'_> {
        let run = self.ring.begin_run();
        Run { lane: self, run }
    }

    /// Wakes the receiver if it sleeps.
    #[inline(always)]
    pub(crate) fn ring(&mut self) {
        if self.receiver.ring_if_asleep() {
            self.rang();
        }
    }

    /// Who slept has read everything: if there was a burst, it is over.
    #[cold]
    fn rang(&mut self) {
        if self.pressure == Pressure::High || self.growth.reserved() > 0 {
            // What is broken is found again by the next claim.
            if self.weigh_now() == Ok(Pressure::Normal) {
                self.growth.give_back(self.ring.read_copy());
            }
            if !self.ring.is_home() {
                // The next one goes home.
                self.ring.set_ceiling(0);
            }
        }
    }

    /// Says that nothing more will come, after everything committed so far.
    pub(crate) fn close(&mut self) {
        self.end();
        self.leave_segment();
        self.growth.trim(self.ring.read_copy());
        // ORDERING(close): all that this process did before the word that ends it. (The commits need no order: the receiver
        // compares the word with a position that it reached by acquiring each of them.)
        self.closed_at.store(self.ring.write_pos() + 1, Ordering::Release);
        self.ring();
    }

    /// Counts one occasion at which a message found no room.
    pub(crate) fn count_full(&self) {
        #[cfg(feature = "tracing")]
        crate::log::full(&self.memory.name);
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
