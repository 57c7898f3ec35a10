//! What anyone may see of a lane.

use super::{Memory, Pressure, Waiting};
use crate::error::{Broken, Damage, Fault};
use crate::layout::{self, CommitWord, Kind, Place};
use crate::record::{Record, Rules};
use crate::region::{Peer, Window};
use crate::ring;
use crate::segments::Table;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// What anyone may see of a lane without touching it.
pub(crate) struct View {
    memory: Memory,
    hint: Peer<AtomicU64>,
    sent: Peer<AtomicU64>,
    accepted: Peer<AtomicU64>,
    closed_at: Peer<AtomicU64>,
    attaches: Peer<AtomicU64>,
    full_events: Peer<AtomicU64>,
    dropped: Peer<AtomicU64>,
    pressure: Peer<AtomicU32>,
    high_water: Peer<AtomicU64>,
    sleeps: Peer<AtomicU32>,
    read_pos: Peer<AtomicU64>,
    received: Peer<AtomicU64>,
    table: Table,
    ring: Window,
}

/// The numbers of a lane at about one instant: each word was true when it was loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) write_pos: u64,
    pub(crate) read_pos: u64,
    pub(crate) waiting: Waiting,
    pub(crate) pressure: Pressure,
    pub(crate) high_water: u64,
    pub(crate) dropped: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) attaches: u64,
    pub(crate) full_events: u64,
    pub(crate) closed: bool,
    pub(crate) sleeps: bool,
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
            dropped: lane.peer(layout::lane::DROPPED),
            pressure: lane.peer(layout::lane::PRESSURE),
            high_water: lane.peer(layout::lane::HIGH_WATER),
            sleeps: lane.peer(layout::lane::SLEEPS),
            table: memory.table(),
            ring: lane.window(&memory.table().ring()),
            read_pos: words.peer(memory.slot(layout::slot::READ_POS)),
            received: words.peer(memory.slot(layout::slot::RECEIVED)),
            memory,
        }
    }

    /// How far the sender is that the receiver at `read_pos` reads from. It lags behind by a message at most while the sender
    /// lives, and for good when it died.
    pub(crate) fn hint(&self, read_pos: u64) -> u64 {
        self.hint.load().max(read_pos)
    }

    pub(crate) fn glance(&self) -> Glance {
        let read_pos = self.read_pos.load();
        let write_pos = self.hint(read_pos);
        let waiting = Waiting::between(self.table.entries(), read_pos, write_pos, self.table.most());
        Glance {
            write_pos,
            read_pos,
            waiting,
            pressure: self.memory.marks.weigh(Pressure::of_word(self.pressure.load()), waiting),
            high_water: self.high_water.load().max(waiting.bytes).min(self.table.most()),
            dropped: self.dropped.load(),
            sent: self.sent.load(),
            received: self.received.load(),
            attaches: self.attaches.load(),
            full_events: self.full_events.load(),
            closed: self.closed_at.load() != 0,
            sleeps: self.sleeps.load() % 2 == 1,
            damage: self.memory.damage_on_record(),
        }
    }

    /// The position of the oldest message that was not released. It may lie in the middle of a run.
    pub(crate) fn begin(&self) -> u64 {
        // ORDERING(begin): the receiver found the first word of the run, and with it all of it, before it came here.
        self.read_pos.load_acquire()
    }

    /// Where the receiver is, as [`begin`](Self::begin), and how many messages it had released by then. It counts after it has
    /// moved on, and nothing orders the two: of what it released at that moment the count may know or not.
    pub(crate) fn released(&self) -> (u64, u64) {
        let mut read_pos = self.begin();
        let mut received = self.received.load();
        // The two words share a cache line: nearly always the second look finds what the first one did.
        for _ in 0..8 {
            let again = self.begin();
            if again == read_pos {
                break;
            }
            read_pos = again;
            received = self.received.load();
        }
        (read_pos, received)
    }

    /// The oldest position at which nothing has been overwritten yet.
    pub(crate) fn oldest(&self) -> u64 {
        // ORDERING(begin): what is copied next may begin there.
        self.accepted.load_acquire()
    }

    /// The most bytes of records that the lane can hold at a time.
    pub(crate) fn most(&self) -> u64 {
        self.table.most()
    }

    /// The damage for which the receiver retired the lane, or for which nothing more can be seen of it from `position` on.
    pub(crate) fn damage(&self, position: u64) -> Option<Damage> {
        let truncated = Broken { fault: Fault::Truncated, position, found: 0 };
        self.memory.damage_on_record().or_else(|| self.was_truncated().then(|| self.as_damage(truncated)))
    }

    /// Whether a page of the file was found missing: what was copied may be zeros.
    pub(crate) fn was_truncated(&self) -> bool {
        self.memory.lane.was_truncated() || self.memory.receiver.was_truncated()
    }

    /// As damage of this lane.
    pub(crate) fn as_damage(&self, broken: Broken) -> Damage {
        self.memory.damage(broken)
    }

    /// Copies the message at `position`, or what follows it: `Ok(None)` when nothing is committed there. What lies in a
    /// segment is read by `read`, at an offset of the lane's file: touching a segment that was just given back would take
    /// its bytes again.
    ///
    /// The copy is worth something only if the sender had not given those bytes up by then; when it had, the error is
    /// the position that it had accepted, below which everything may have been overwritten.
    pub(crate) fn copy(
        &self,
        position: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<Option<(Record, Vec<u8>)>, Lapped> {
        if !ring::is_position(position) {
            return Err(Lapped::Damaged(Broken { fault: Fault::ReadPosition, position, found: position }));
        }
        let copied = self.table.locate(position).and_then(|place| match place.is_ring() {
            true => self.copy_from_ring(&place, position),
            false => self.copy_from_segment(&place, position, read),
        });
        // ORDERING(lapped): the copy before the load of what the sender had accepted by then.
        fence(Ordering::Acquire);
        let accepted = self.oldest();
        if accepted > position {
            return Err(Lapped::By(accepted));
        }
        copied.map_err(Lapped::Damaged)
    }

    fn rules(&self) -> Rules<'_> {
        Rules { table: &self.table, max_len: self.memory.max_message }
    }

    fn copy_from_ring(&self, place: &Place, position: u64) -> Result<Option<(Record, Vec<u8>)>, Broken> {
        let Some(record) = self.rules().inspect(&self.ring, place, position)? else { return Ok(None) };
        let len = payload_len(&record);
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: I5: the record was found to end before the ring does. The vector has room for `len` bytes, and has that
        // many initialised ones afterwards.
        #[expect(unsafe_code, reason = "filling a vector without zeroing it first")]
        unsafe {
            self.ring.payload(record.position).copy_out(0, bytes.as_mut_ptr(), len);
            bytes.set_len(len);
        }
        Ok(Some((record, bytes)))
    }

    fn copy_from_segment(
        &self,
        place: &Place,
        position: u64,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Result<Option<(Record, Vec<u8>)>, Broken> {
        let offset = |position: u64| place.offset + (position & (place.window - 1));
        let mut read = |position, to: &mut [u8]| match read(offset(position), to) {
            true => Ok(()),
            false => Err(Broken { fault: Fault::Truncated, position, found: 0 }),
        };
        let mut word = [0; 8];
        read(position, &mut word)?;
        let word = CommitWord(u64::from_le_bytes(word));
        let Some(record) = self.rules().judge(word, place, position)? else { return Ok(None) };
        let mut bytes = vec![0; payload_len(&record)];
        read(record.position + 8, &mut bytes)?;
        Ok(Some((record, bytes)))
    }
}

/// What of a record is payload.
fn payload_len(record: &Record) -> usize {
    if record.kind == Kind::Data { record.len as usize } else { 0 }
}

/// Why an observer's copy is worth nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lapped {
    /// The sender has moved on; everything below this position may have been overwritten.
    By(u64),
    /// What stands there is no record.
    Damaged(Broken),
}
