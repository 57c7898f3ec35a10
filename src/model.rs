//! Handles for the loom models: the two ends of a lane, the bells between them, and who is killed where.
//!
//! What stands here in place of the files and the system is kept as thin as it can be: the models are about
//! [`ring`], [`bell`](crate::bell) and [`lane`] themselves. The loops around a sleep are those of
//! `wait`, without the spinning and without the clock: a wake-up that is lost leaves a model hanging, and loom says so.
#![expect(unsafe_code, reason = "copying a payload out")]

pub mod ledger;

use crate::bell::{self, Ringer, Sleeper};
use crate::epoch::{self, Epoch};
use crate::error::Fault;
use crate::growth::Growth;
use crate::lane::{self, Lapped, Marks, Memory, View};
use crate::layout::{self, FenceMode, Limits};
use crate::record::Record;
use crate::region::{Own, Region};
use crate::ring::{self, Claim, Refusal};
use crate::segments::Table;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::fence::Fences;
use crate::sys::futex;
use bytemuck::Zeroable;
use std::sync::Arc;
use std::time::Duration;

/// A message's payload, in words: 8 bytes each.
pub type Payload = Vec<u64>;

/// The memory of a queue.
#[derive(Clone)]
pub struct Queue {
    lanes: Vec<Arc<Region>>,
    receiver: Arc<Region>,
    bell: Arc<Region>,
    capacity: u64,
    overflow_limit: u64,
    fence_mode: FenceMode,
}

impl Queue {
    /// A queue that was just created, with rings of `capacity` bytes.
    pub fn new(lanes: usize, capacity: u64) -> Queue {
        Queue::with_lanes(lanes, capacity, 0, false)
    }

    /// A queue of one lane, with a ring of `capacity` bytes, that may hold `limit` bytes in segments. Its senders grow
    /// before they wait.
    pub fn growing(capacity: u64, limit: u64) -> Queue {
        Queue::with_lanes(1, capacity, limit, false)
    }

    /// A queue of one lane at which an observer may look. A payload read too early or too late is not a race here, but
    /// wrong bytes.
    pub fn observed(capacity: u64) -> Queue {
        Queue::with_lanes(1, capacity, 0, true)
    }

    fn with_lanes(lanes: usize, capacity: u64, overflow_limit: u64, observed: bool) -> Queue {
        futex::boot();
        let lane = || {
            use layout::lane::*;
            let words = [WRITE_HINT, SENT, ACCEPTED, CLOSED_AT, ATTACHES, FULL_EVENTS, DROPPED, RESERVED, HIGH_WATER];
            let slots = if overflow_limit > 0 { layout::SEGMENT_SLOTS as usize } else { 0 };
            let table = (0..slots * layout::segment::LEN).step_by(8).map(|offset| SEGMENTS + offset);
            let words: Vec<usize> = words.into_iter().chain(table).collect();
            // Segments begin where there is room first, so most of what they might take need not exist.
            let behind = 2 * overflow_limit;
            Region::with_ring(&words, &[SLEEPS, PRESSURE], capacity, behind, observed)
        };
        let in_slots = |words: &[usize]| -> Vec<usize> {
            (0..lanes).flat_map(|lane| words.iter().map(move |word| layout::slot_offset(lane) + word)).collect()
        };
        let words = {
            use layout::slot::*;
            in_slots(&[READ_POS, RECEIVED, FAULT_POSITION, FAULT_FOUND, RUNG_AT])
        };
        let mut halves = in_slots(&[layout::slot::FAULT, layout::slot::SEQ]);
        halves.extend([layout::receiver::SLEEPS, layout::receiver::ROLE]);
        Queue {
            lanes: (0..lanes).map(|_| lane()).collect(),
            receiver: Region::model(&words, &halves),
            bell: Region::model(&[layout::bell::RUNG_AT, layout::bell::LANES_EPOCH], &[layout::bell::SEQ]),
            capacity,
            overflow_limit,
            fence_mode: FenceMode::Symmetric,
        }
    }

    /// The same queue where the kernel makes the senders' fences.
    pub fn asymmetric(self) -> Queue {
        Queue { fence_mode: FenceMode::Asymmetric, ..self }
    }

    fn memory(&self, lane: usize) -> Memory {
        Memory {
            lane: Arc::clone(&self.lanes[lane]),
            receiver: Arc::clone(&self.receiver),
            bell: Arc::clone(&self.bell),
            number: lane as u32,
            priority: 0,
            capacity: self.capacity,
            overflow_limit: self.overflow_limit,
            marks: Marks::new(&Limits::zeroed(), self.capacity),
            max_message: layout::max_payload(self.capacity).max(layout::max_payload_of_segment(self.overflow_limit))
                as u32,
            fences: Fences::new(self.fence_mode),
        }
    }

    fn table(&self, lane: usize) -> Table {
        Table::new(&self.lanes[lane], self.capacity, self.overflow_limit)
    }

    /// Attaches a sender. The caller holds the lane's lock.
    pub fn sender(&self, lane: usize) -> Sender {
        let (lane, room) = lane::Writer::attach(self.memory(lane)).expect("the lane is sound");
        Sender { lane, room }
    }

    /// Attaches the receiver, to all lanes. The caller holds the receiver's lock.
    pub fn receiver(&self) -> Receiver {
        let sleeper = Sleeper::new(
            self.receiver.own(layout::receiver::SLEEPS),
            self.bell.peer(layout::bell::SEQ),
            self.bell.peer(layout::bell::RUNG_AT),
            Fences::new(self.fence_mode),
        );
        let lanes = (0..self.lanes.len()).map(|lane| lane::Reader::attach(self.memory(lane))).collect();
        Receiver { lanes, sleeper }
    }

    /// What only a sender does that lies: says of the message at `position`, in the first lap, that it is `len` bytes long.
    pub fn lie(&self, lane: usize, position: u64, len: u32) {
        let ring = layout::Place::ring(self.capacity);
        let word = ring.lap(position).message(len);
        // ORDERING(publish): as if it were a message.
        self.lanes[lane].window(&ring).word(position).store(word.0, Ordering::Release);
    }

    /// Says that a lane has come, as its first sender does.
    pub fn announce_lane(&self) {
        epoch::announce(&self.bell);
    }

    /// Whether a lane has come, as the receiver asks before it looks at the directory.
    pub fn has_new_lane(&self) -> bool {
        Epoch::new(&self.bell).before_listing() > 0
    }

    /// Rings for the receiver, whatever it says.
    pub fn ring(&self) {
        let (sleeps, bell) = (self.receiver.peer(layout::receiver::SLEEPS), &self.bell);
        let (seq, rung_at) = (bell.own(layout::bell::SEQ), bell.own(layout::bell::RUNG_AT));
        Ringer::new(sleeps, seq, rung_at, Fences::new(self.fence_mode)).ring_anyway();
    }

    /// An observer of a lane.
    pub fn observer(&self, lane: usize) -> Observer {
        Observer { view: View::new(self.memory(lane)) }
    }

    /// A sender that is going to be killed in the middle of what it does: nothing happens but what it is told, no
    /// hint and no ring.
    pub fn doomed_sender(&self, lane: usize) -> DoomedSender {
        let (memory, table) = (self.memory(lane), self.table(lane));
        let ring = ring::Writer::resume(
            memory.lane.window(&table.ring()),
            table,
            memory.max_message,
            0,
            memory.receiver.peer(layout::slot_offset(lane) + layout::slot::READ_POS),
            memory.lane.own(layout::lane::ACCEPTED),
        );
        DoomedSender { ring: ring.expect("the lane is sound").0, claim: None, table: self.table(lane), memory }
    }

    /// A receiver that is going to be killed in the middle of what it does: no ring.
    pub fn doomed_receiver(&self, lane: usize) -> DoomedReceiver {
        let (memory, table) = (self.memory(lane), self.table(lane));
        let ring = ring::Reader::resume(
            memory.lane.window(&table.ring()),
            table,
            memory.max_message,
            memory.receiver.own(layout::slot_offset(lane) + layout::slot::READ_POS),
        );
        DoomedReceiver { ring, sleeps: memory.receiver.own(layout::receiver::SLEEPS) }
    }
}

/// A sender.
pub struct Sender {
    lane: lane::Writer,
    room: Sleeper,
}

impl Sender {
    /// Commits a message if there is room. Rings only when there is none.
    pub fn try_send_quietly(&mut self, payload: &[u64]) -> bool {
        let claim = claim(&mut self.lane, 8 * payload.len());
        claim.map(|claim| self.fill_and_commit(claim, payload)).is_some()
    }

    /// Commits messages for which there is room all at once, and does not ring.
    pub fn send_run_quietly(&mut self, payloads: &[u64]) {
        let mut run = self.lane.run();
        payloads.iter().for_each(|word| assert!(run.push(&word.to_ne_bytes())));
    }

    /// Commits a message and rings. Sleeps while there is no room.
    pub fn send(&mut self, payload: &[u64]) {
        let len = 8 * payload.len();
        let claim = loop {
            if let Some(claim) = claim(&mut self.lane, len) {
                break claim;
            }
            let mut found = None;
            self.room.sleep(Duration::MAX, || {
                found = claim(&mut self.lane, len);
                found.is_some()
            });
            if let Some(claim) = found {
                break claim;
            }
        };
        self.fill_and_commit(claim, payload);
        self.lane.ring();
    }

    /// Gives back what the receiver has passed, and rings.
    pub fn trim(&mut self) {
        self.lane.trim();
    }

    /// Says that nothing more will come, and rings.
    pub fn close(&mut self) {
        self.lane.close();
    }

    /// The damage for which the receiver retired the lane: its position, and the word that was found there.
    pub fn poisoned(&self) -> Option<(u64, u64)> {
        self.lane.poisoned().map(|damage| (damage.position, damage.found))
    }

    fn fill_and_commit(&mut self, claim: Claim, payload: &[u64]) {
        payload.iter().enumerate().for_each(|(i, word)| self.lane.fill(&claim, 8 * i, &word.to_ne_bytes()));
        self.lane.commit(claim);
    }
}

/// The short way and the long one, as a sender takes them.
fn claim(lane: &mut lane::Writer, len: usize) -> Option<Claim> {
    match lane.claim_known(len).map_or_else(|| lane.claim(len, true), Ok) {
        Ok(claim) => Some(claim),
        Err(Refusal::Full) => None,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// A sender that is going to be killed: it does what it is told, step by step, and nothing else.
pub struct DoomedSender {
    ring: ring::Writer,
    claim: Option<Claim>,
    table: Table,
    memory: Memory,
}

impl DoomedSender {
    /// Claims room, perhaps after a pad, and fills it.
    pub fn claim_and_fill(&mut self, payload: &[u64]) {
        let claim = self.ring.claim(8 * payload.len(), 0).expect("there is room");
        payload.iter().enumerate().for_each(|(i, word)| self.ring.fill(&claim, 8 * i, &word.to_ne_bytes()));
        self.claim = Some(claim);
    }

    /// Commits what was claimed last, leaves no hint, and does not ring.
    pub fn commit(&mut self) {
        self.ring.commit(self.claim.take().expect("something was claimed"));
    }

    fn memory_table(&self) -> Table {
        Table::new(&self.memory.lane, self.memory.capacity, self.memory.overflow_limit)
    }

    /// Does everything that comes before a jump to a new segment with room for `need` bytes.
    pub fn prepare_jump(&mut self, need: u64) {
        let (read, write) = (self.ring.read_copy(), self.ring.write_pos());
        let lane = &self.memory.lane;
        let reserved = lane.own(layout::lane::RESERVED);
        let mut growth = Growth::adopt(Arc::clone(lane), self.memory_table(), reserved, read, write);
        let entry = growth.take(need, write, read).expect("the lane may grow");
        if let Some(slot) = self.ring.segment() {
            growth.leave(slot, write + 8);
        }
        self.table.fill(&entry);
    }
}

/// The receiver.
pub struct Receiver {
    lanes: Vec<lane::Reader>,
    sleeper: Sleeper,
}

impl Receiver {
    /// How long the next message is, if there is one; does not take it.
    pub fn next_len(&self, lane: usize) -> Option<u32> {
        self.lanes[lane].message().map(|record| record.len)
    }

    /// The next message, copied and released, if there is one. Looks at all lanes.
    pub fn try_recv(&self) -> Option<Payload> {
        self.lanes.iter().find_map(|lane| {
            let (record, payload) = take(lane)?;
            lane.release(record.position, record.next, 1);
            Some(payload)
        })
    }

    /// Messages that follow each other, copied, and released all at once.
    pub fn recv_run(&self, lane: usize) -> Vec<Payload> {
        let lane = &self.lanes[lane];
        if lane.message().is_none() {
            lane.look().expect("the lane is sound");
        }
        let (from, _) = lane.run();
        let mut payloads = Vec::new();
        let mut next = from;
        while let Some(record) = lane.message_at(next) {
            payloads.push(copy(lane.payload(&record), record.len));
            next = record.next;
        }
        if next > from {
            lane.take(from, next);
            lane.release(from, next, payloads.len() as u64);
        }
        payloads
    }

    /// Everything that was committed to a lane before the call; the releases are collected and published at the end.
    pub fn drain(&self, lane: usize) -> Vec<Payload> {
        self.sleeper.heavy_fence();
        let lane = &self.lanes[lane];
        lane.begin_batch();
        let drained = std::iter::from_fn(|| take(lane)).map(|(record, payload)| {
            lane.release(record.position, record.next, 1);
            payload
        });
        let drained = drained.collect();
        lane.end_batch();
        drained
    }

    /// The next message, or none when all lanes are closed and read. Sleeps while there is none.
    pub fn recv(&self) -> Option<Payload> {
        loop {
            if let Some(payload) = self.try_recv() {
                return Some(payload);
            }
            let mut found = None;
            self.sleeper.sleep(Duration::MAX, || {
                found = self.try_recv().map(Some).or_else(|| self.is_finished().then_some(None));
                found.is_some()
            });
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Says asleep, and goes on with something else.
    pub fn arm(&self) {
        self.sleeper.arm();
    }

    /// Says awake.
    pub fn disarm(&self) {
        self.sleeper.disarm();
    }

    /// What notices rings for it in another thread.
    pub fn relay(&self) -> Relay {
        Relay(self.sleeper.relay())
    }

    /// Whether all lanes are closed and read.
    pub fn is_finished(&self) -> bool {
        self.lanes.iter().all(lane::Reader::is_finished)
    }

    /// Looks at the next message of a lane and takes it, but does not release it.
    pub fn take(&self, lane: usize) -> Option<Payload> {
        take(&self.lanes[lane]).map(|(_, payload)| payload)
    }

    /// Retires a lane, as for a word that breaks the rules. Returns where it says that it was found.
    pub fn condemn(&self, lane: usize) -> u64 {
        self.lanes[lane].condemn(Fault::Header).position
    }
}

/// A thread of the bridge, for one receiver.
pub struct Relay(bell::Relay);

impl Relay {
    /// Waits until somebody has rung since the last time.
    pub fn wait(&self) {
        while !self.0.has_rung() {
            let (word, seen) = self.0.futex();
            futex::wait(word, seen, Duration::MAX);
        }
    }
}

/// The short way and the long one, as a receiver takes them.
fn take(lane: &lane::Reader) -> Option<(Record, Payload)> {
    let look = || lane.look().unwrap_or_else(|damage| panic!("{damage:?}"));
    let record = lane.message().or_else(look)?;
    let from = lane.payload(&record);
    lane.take(record.position, record.next);
    Some((record, copy(from, record.len)))
}

fn copy(from: crate::region::Payload, len: u32) -> Payload {
    let mut payload = vec![0u64; len as usize / 8];
    // SAFETY: the vector has `len` bytes, for lengths are multiples of 8 here, and the record was found to end before
    // its place does.
    unsafe { from.copy_out(0, payload.as_mut_ptr().cast(), len as usize) };
    payload
}

/// A receiver that is going to be killed: it does what it is told, step by step, and nothing else.
pub struct DoomedReceiver {
    ring: ring::Reader,
    sleeps: Own<AtomicU32>,
}

impl DoomedReceiver {
    /// Releases the next record and publishes that, but does not ring.
    pub fn release_and_publish(&self) {
        let record = self.ring.look_from(0).expect("the lane is sound").expect("there is a record");
        self.ring.take(record.position, record.next);
        self.ring.release(record.position, record.next, 1);
        self.ring.publish();
    }

    /// Announces a sleep, and is killed in it.
    pub fn fall_asleep(&self) {
        // ORDERING(sleep): as the living do.
        self.sleeps.store(1, Ordering::Release);
    }
}

/// An observer of a lane.
pub struct Observer {
    view: View,
}

/// What an observer found at a position.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message.
    Message(Payload),
    /// Nothing is committed there yet.
    Nothing,
    /// The sender has given up everything below this position.
    Lapped(u64),
}

impl Observer {
    /// Where the oldest message lies that was not released.
    pub fn begin(&self) -> u64 {
        self.view.begin()
    }

    /// Copies what stands at `position`.
    pub fn look(&self, position: u64) -> Seen {
        match self.view.copy(position, &mut |_, _| unreachable!("there are no segments")) {
            Ok(Some((_, bytes))) => {
                Seen::Message(bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect())
            }
            Ok(None) => Seen::Nothing,
            Err(Lapped::By(position)) => Seen::Lapped(position),
            Err(Lapped::Damaged(_)) => panic!("an observer took the bytes of another lap for damage"),
        }
    }
}
