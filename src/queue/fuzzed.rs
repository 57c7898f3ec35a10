//! A queue over plain memory of which every word can be read and changed: what `fuzz/` starts from. Only under
//! `cfg(fuzzing)`, which cargo-fuzz sets. Sound files are mapped bytes to everything above `region`, so what holds here
//! holds of them; a file would cost a hundred times as long.

use super::options::Options;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::Damage;
use crate::lane::{Memory, Terms, View};
use crate::layout::{self, FenceMode, FileKind, Header, Kind};
use crate::region::{Own, Region};
use crate::ring;
use crate::segments::Table;
use crate::sync::{AtomicU64, Ordering};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// Which memory: that of one file each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `lane-NNN`.
    Lane(u32),
    /// `receiver`.
    Receiver,
    /// `bell`.
    Bell,
}

/// What a reader does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Gives it back.
    Release,
    /// Keeps it until another was released.
    Hold,
    /// Takes it again.
    PutBack,
    /// Keeps it for good, and collects what is released from here on.
    Batch,
    /// Keeps it for good, and tells the sender of what was collected.
    EndBatch,
}

/// More records than any lane that is fuzzed can hold, in all its laps and segments together.
const ENDLESS: usize = 1 << 18;

/// The bytes of a queue, without the headers of its files.
pub struct Fuzzed {
    terms: Terms,
    /// Each lane's own memory, and that of the others beside it.
    lanes: Vec<Memory>,
    /// What was stored since it was all zero.
    stored: RefCell<Vec<(Part, usize)>>,
}

impl Fuzzed {
    /// A queue with these options, all of whose lanes are there.
    ///
    /// # Panics
    /// When the options are none.
    pub fn new(options: &Options) -> Fuzzed {
        // Both sides use full fences: there are no others to ask the kernel for.
        let fence_mode = FenceMode::Symmetric;
        let header = options.header().expect("options that can be");
        let terms = Terms {
            header: Header { fence_mode: fence_mode as u32, ..header },
            limits: options.limits().expect("limits that can be"),
            fence_mode,
        };
        let region = |kind| Region::heap(header.map_len(kind) as usize);
        let (receiver, bell) = (region(FileKind::Receiver), region(FileKind::Bell));
        let lane = |number| {
            let (header, lane) = (terms.header.of(FileKind::Lane, number), region(FileKind::Lane));
            Memory::new(&terms, &header, lane, Arc::clone(&receiver), Arc::clone(&bell))
        };
        Fuzzed { lanes: (0..header.max_lanes).map(lane).collect(), terms, stored: RefCell::default() }
    }

    /// Zeroes all of it, as if it had just been born. No handle may be left.
    pub fn clear(&mut self) {
        self.region(Part::Receiver).zero();
        self.region(Part::Bell).zero();
        self.lanes.iter().for_each(|memory| memory.lane.zero());
        self.stored.borrow_mut().clear();
    }

    /// Zeroes what [`store`](Self::store) changed, which is all when nobody else wrote anything.
    pub fn undo(&mut self) {
        for (part, offset) in self.stored.get_mut().drain(..) {
            // ORDERING(hint): relaxed; one thread.
            region(&self.lanes, part).own::<AtomicU64>(offset).store(0, Ordering::Relaxed);
        }
    }

    fn region(&self, part: Part) -> &Arc<Region> {
        region(&self.lanes, part)
    }

    /// Where in this process's memory its bytes lie.
    pub fn range(&self, part: Part) -> Range<usize> {
        self.region(part).range()
    }

    /// The word at an offset, which is a multiple of 8.
    ///
    /// # Panics
    /// When there is no such word.
    pub fn load(&self, part: Part, offset: usize) -> u64 {
        // ORDERING(hint): relaxed; one thread.
        self.word(part, offset).load(Ordering::Relaxed)
    }

    /// Changes a word.
    ///
    /// # Panics
    /// As [`load`](Self::load).
    pub fn store(&self, part: Part, offset: usize, word: u64) {
        // ORDERING(hint): relaxed; one thread.
        self.word(part, offset).store(word, Ordering::Relaxed);
        self.stored.borrow_mut().push((part, offset));
    }

    fn word(&self, part: Part, offset: usize) -> Own<AtomicU64> {
        self.region(part).own(offset)
    }

    fn memory(&self, number: u32) -> Memory {
        self.lanes[number as usize].clone()
    }

    /// Takes over a lane, which must have no other sender. Closes it when it is dropped.
    pub fn sender(&self, number: u32) -> Result<Sender, Damage> {
        Sender::new(self.memory(number), &self.terms, None)
    }

    /// Takes over all lanes. There must be no other receiver.
    pub fn receiver(&self) -> Receiver {
        let lanes = self.lanes.len();
        let Memory { receiver, bell, .. } = self.memory(0);
        let receiver = Receiver::new(receiver, bell, lanes, self.terms.fence_mode, None);
        for number in 0..lanes as u32 {
            receiver.add_lane(number, self.memory(number));
        }
        receiver
    }

    /// Reads a lane to its end by the ring alone, without a receiver around it; `plan` says what is done with each
    /// message. Fails on what must not be found, however the bytes lie.
    pub fn read(&self, number: u32, mut plan: impl FnMut() -> Plan) {
        let memory = self.memory(number);
        let slot = layout::slot_offset(number as usize);
        let table = || Table::new(&memory.lane, memory.capacity, memory.overflow_limit);
        let ring = table().ring();
        let (window, read_pos) = (memory.lane.window(&ring), memory.receiver.own(slot + layout::slot::READ_POS));
        let reader = ring::Reader::resume(window, table(), memory.max_message, read_pos);
        let (mut held, mut again) = (None, u64::MAX);
        let ends = memory.lane.range().end;
        for _ in 0..ENDLESS {
            let Ok(Some(record)) = reader.look_from(0) else {
                reader.let_go();
                reader.publish();
                assert!(reader.released() <= reader.next());
                let _ = (reader.count_ahead(), reader.distance(), reader.has_word());
                return;
            };
            assert!(record.next > record.position && record.next.is_multiple_of(8));
            if record.kind != Kind::Data {
                reader.pass(&record);
                continue;
            }
            assert!(record.len <= memory.max_message && record.bytes() <= reader.most());
            let short = reader.message_at(reader.at(), || true);
            assert!(
                short.is_none_or(|short| short == record),
                "the short way finds {short:?} and the long one {record:?}"
            );
            let payload = reader.payload_looked_at(&record);
            reader.touch_end(record.next, record.position == reader.at());
            let lies = payload.as_ptr().addr();
            assert!(lies >= memory.lane.range().start + layout::RING && lies + record.len as usize <= ends);
            let mut bytes = [0; 64];
            let len = bytes.len().min(record.len as usize);
            // SAFETY: just asserted to lie in the lane, and there is room for as much.
            #[expect(unsafe_code, reason = "the copy takes a pointer")]
            unsafe {
                payload.copy_out(0, bytes.as_mut_ptr(), len);
                payload.copy_out(record.len as usize / 8 * 8, bytes.as_mut_ptr(), record.len as usize % 8);
            }
            reader.take(record.position, record.next);
            match plan() {
                Plan::PutBack if again != record.position => {
                    again = record.position;
                    reader.put_back(record.position);
                }
                Plan::Hold if held.is_none() => held = Some(record),
                Plan::Batch => reader.begin_batch(),
                Plan::EndBatch => drop(reader.end_batch()),
                _ => {
                    if !reader.release_next(record.position, record.next, 1) {
                        reader.release(record.position, record.next, 1);
                    }
                    let late = if again == u64::MAX { held.take() } else { None };
                    if let Some(late) = late {
                        reader.release(late.position, late.next, 1);
                    }
                }
            }
        }
        panic!("reading does not end");
    }

    /// Everything that an observer reads of a lane: its numbers, and up to `most` records from `position` on. How many
    /// bytes of payload there were.
    pub fn observe(&self, number: u32, position: u64, most: usize) -> usize {
        let view = View::new(self.memory(number));
        let glance = view.glance();
        assert!(glance.waiting.bytes <= self.terms.header.ring_capacity + self.terms.header.overflow_limit);
        let region = self.region(Part::Lane(number));
        let mut read = |offset, to: &mut [u8]| region.read(offset, to);
        let (mut at, mut bytes) = (position, 0);
        for _ in 0..most {
            let Ok(Some((record, payload))) = view.copy(at, &mut read) else { break };
            assert!(record.next > at);
            (at, bytes) = (record.next, bytes + payload.len());
        }
        bytes
    }
}

fn region(lanes: &[Memory], part: Part) -> &Arc<Region> {
    match part {
        Part::Lane(number) => &lanes[number as usize].lane,
        Part::Receiver => &lanes[0].receiver,
        Part::Bell => &lanes[0].bell,
    }
}
