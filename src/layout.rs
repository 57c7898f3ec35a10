//! The bytes of the files: offsets, the file header, the commit word, and where a record goes.
//!
//! Knows nothing of memory, processes or time: every function here is arithmetic on plain numbers.
//!
#![doc = include_str!("../docs/format.md")]

mod offsets;
mod words;

pub use offsets::*;
pub use words::*;

use bytemuck::{Pod, Zeroable};

/// The version of the format that this library reads and writes.
pub const VERSION: u32 = 1;

/// `LANEWAY1` in ASCII, read as a little-endian word; a big-endian host sees another number and refuses.
pub const MAGIC: u64 = u64::from_le_bytes(*b"LANEWAY1");

/// What a file is, as [`Header::kind`] says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FileKind {
    /// `queue`: limits and identity, written once.
    Queue = 1,
    /// `bell`: hints that anyone may write.
    Bell = 2,
    /// `receiver`: the receiver's words, and a slot for each lane.
    Receiver = 3,
    /// `lane-NNN`: one sender's ring.
    Lane = 4,
    /// `ledger`: what became of messages, as the receiver says.
    Ledger = 5,
    /// `desk`: hints for the receiver of a queue with a ledger, that anyone may write.
    Desk = 6,
}

/// How the two sides of the doorbell order their stores and loads; fixed when the queue is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FenceMode {
    /// Both sides use a full fence.
    Symmetric = 1,
    /// Who rings uses a compiler fence, who sleeps calls `membarrier`.
    Asymmetric = 2,
}

/// Who may take part in a queue; fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Trust {
    /// Processes of one user.
    Cooperative = 0,
    /// Processes of a group's users: each can write its own files only.
    Contained = 1,
}

/// The first 128 bytes of every file. All files of a queue agree in every field but `kind`, `lane`, `priority` and
/// `checksum`, so that each file alone, or a copy of it, says what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// A [`FileKind`].
    pub kind: u32,
    /// Random, the same in all files of a queue.
    pub queue_id: [u8; 16],
    /// The host's boot in which the queue was created: its contents do not outlive it.
    pub boot_id: [u8; 16],
    /// Bytes of ring in each lane: a power of two.
    pub ring_capacity: u64,
    /// Bytes that a lane may take in overflow segments; 0 for none.
    pub overflow_limit: u64,
    /// The longest message, bytes.
    pub max_message: u32,
    /// The most lanes there may be.
    pub max_lanes: u32,
    /// A [`FenceMode`].
    pub fence_mode: u32,
    /// A [`Trust`].
    pub trust: u32,
    /// The lane's number; 0 in other files.
    pub lane: u32,
    /// The lane's priority: 0 normal, 1 urgent, 2 low; 0 in other files.
    pub priority: u32,
    /// Entries of the ledger that says what became of messages: a power of two, or 0 for a queue without one.
    pub ledger_entries: u32,
    /// Entries in each lane's segment table.
    pub segment_slots: u32,
    /// When the queue was created, nanoseconds since 1970 (UTC). For people.
    pub created_ns: u64,
    /// Features that a reader must know to read the file; any bit it does not know refuses it.
    pub features: u64,
    /// Zero.
    pub reserved: u64,
    /// FNV-1a, 64 bits, of the 120 bytes before it.
    pub checksum: u64,
}

/// Length of [`Header`], bytes.
pub const HEADER_LEN: usize = size_of::<Header>();

impl Header {
    /// The same header for another file of the queue, with its checksum.
    pub fn of(&self, kind: FileKind, lane: u32) -> Header {
        Header { kind: kind as u32, lane, ..*self }.sealed()
    }

    /// The same header with the checksum that belongs to it.
    pub fn sealed(self) -> Header {
        let mut sealed = self;
        sealed.checksum = fnv1a(&bytemuck::bytes_of(&self)[..HEADER_LEN - 8]);
        sealed
    }

    /// The size that a file of this kind must at least have, bytes.
    pub fn file_len(&self, kind: FileKind) -> u64 {
        match kind {
            FileKind::Queue | FileKind::Bell | FileKind::Desk => PAGE,
            FileKind::Receiver => slot_offset(self.max_lanes as usize) as u64,
            FileKind::Ledger => (RING + self.ledger_entries as usize * entry::LEN) as u64,
            FileKind::Lane => RING as u64 + self.ring_capacity,
        }
    }

    /// The bytes of address space that a mapping of a file of this kind takes: a lane's segments come and go behind its
    /// ring, and their places are mapped before there is anything in them.
    pub fn map_len(&self, kind: FileKind) -> u64 {
        let segments = if kind == FileKind::Lane { overflow_span(self.overflow_limit) } else { 0 };
        self.file_len(kind) + segments
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The smallest page that a file takes.
pub(crate) const PAGE: u64 = 4096;

/// What a queue's creator set besides the header's limits; in `queue` at [`queue::LIMITS`]. All zero: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Limits {
    /// Bytes waiting in a lane above which its pressure is high; 0 for the default.
    pub high_water: u64,
    /// Bytes waiting at which it is normal again.
    pub low_water: u64,
    /// Bytes a second that a sender may send; 0 for any number.
    pub bytes_per_second: u64,
    /// Bytes that it may send at once.
    pub burst_bytes: u64,
    /// Messages a second that a sender may send; 0 for any number.
    pub messages_per_second: u32,
    /// Messages that it may send at once.
    pub burst_messages: u32,
    /// FNV-1a, 64 bits, of the 40 bytes before it; 0 when they are all 0.
    pub checksum: u64,
}

impl Limits {
    /// The same limits with the checksum that belongs to them.
    pub fn sealed(self) -> Limits {
        let mut sealed = Limits { checksum: 0, ..self };
        if sealed != Limits::zeroed() {
            sealed.checksum = fnv1a(&bytemuck::bytes_of(&self)[..size_of::<Limits>() - 8]);
        }
        sealed
    }
}

/// What the layer above a queue with a ledger wants to know of it later; in `queue` at [`queue::NOTE`]. This layer only keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Note {
    /// Whatever it is.
    pub words: [u64; 15],
    /// FNV-1a, 64 bits, of the 120 bytes before it; 0 when they are all 0.
    pub checksum: u64,
}

impl Note {
    /// The same note with the checksum that belongs to it.
    pub fn sealed(self) -> Note {
        let mut sealed = Note { checksum: 0, ..self };
        if sealed != Note::zeroed() {
            sealed.checksum = fnv1a(bytemuck::bytes_of(&self.words));
        }
        sealed
    }
}

/// Where a lane's ring starts.
pub const RING: usize = 4096;

/// Positions stay below this: one that does not is a lie, and with all that do the sums of this format cannot overflow.
pub const POSITION_LIMIT: u64 = u64::MAX - (1 << 32);

/// Entries that a lane's segment table has room for. (A model has few, because each is loaded at every look.)
pub const SEGMENT_SLOTS: u32 = if cfg!(laneway_loom) { 2 } else { 64 };

/// Segments start at multiples of this in their file and in their lengths, bytes.
pub const GRANULE: u64 = if cfg!(laneway_loom) { 64 } else { 4096 };

/// Bytes of file behind the ring in which a lane may place its segments. More than it may reserve at a time, so that
/// there is always a gap for the next one.
pub const fn overflow_span(limit: u64) -> u64 {
    4 * limit
}

/// The window of a segment of `len` bytes: the power of two by which positions in it are reduced.
pub const fn segment_window(len: u64) -> u64 {
    len.next_power_of_two()
}

/// What the receiver's role word says. For people and observers; nothing is decided by it, except that the receiver
/// of a [`pair`](crate::pair) says `Gone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// No receiver has attached yet, or the last one detached in order.
    Away = 0,
    /// A receiver is attached, or died attached.
    Attached = 1,
    /// There will be no receiver again.
    Gone = 2,
}

/// Where a lane's slot starts in `receiver`.
pub const fn slot_offset(lane: usize) -> usize {
    receiver::SLOTS + lane * slot::LEN
}

/// The size of a cache line that records avoid to straddle, bytes.
pub const LINE: u64 = 64;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// A whole word, so that a record which may be none travels in registers: packed with its length it cost 31 instructions a message.
#[repr(u64)]
pub enum Kind {
    /// A message.
    Data = 1,
    /// Nothing more until the end of the ring.
    Pad = 2,
    /// Go on in the segment whose number in the table, from 1, stands for the length; 0 is the ring.
    Jump = 3,
    /// So many messages as stand for the length were dropped here.
    Gap = 4,
}

/// The word at the start of a record, whose store commits it: length (32 bits), kind (8), flags (8), and the low 16
/// bits of the lap as a check. 0 is *nothing here yet*; no commit word is 0 because no kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitWord(pub u64);

impl CommitWord {
    /// Nothing here yet.
    pub const NOTHING: u64 = 0;

    /// The payload's length, bytes, as claimed.
    #[inline(always)]
    pub fn payload_len(self) -> u32 {
        self.0 as u32
    }

    /// The flags.
    #[inline(always)]
    pub fn flags(self) -> u8 {
        (self.0 >> 40) as u8
    }

    /// The kind as claimed.
    #[inline(always)]
    pub fn kind(self) -> u8 {
        (self.0 >> 32) as u8
    }
}

/// Where a run of positions lies in a lane's file: in the ring, or in a segment. A segment is a ring of which one lap
/// is used, from its beginning, up to wherever it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where in the file the positions lie that are multiples of the window.
    pub offset: u64,
    /// A power of two: the byte at a position lies at `offset` and the position modulo this.
    pub window: u64,
    /// The first position.
    pub start: u64,
    /// The position behind the last.
    pub end: u64,
}

impl Place {
    /// The ring, where every position lies that lies in no segment.
    pub const fn ring(capacity: u64) -> Place {
        Place { offset: RING as u64, window: capacity, start: 0, end: u64::MAX }
    }

    /// Whether this is the ring.
    pub const fn is_ring(&self) -> bool {
        self.end == u64::MAX
    }

    /// What is the same for all positions of the lap of `position`.
    pub fn lap(&self, position: u64) -> Lap {
        // A segment's last word is kept for the jump out of it. The sum does not overflow below POSITION_LIMIT.
        let end = ((position & !(self.window - 1)) + self.window).min(self.end - 8);
        let check = position >> self.window.trailing_zeros() & 0xffff;
        Lap { end, stamp: check << 48 | (Kind::Data as u64) << 32 }
    }
}

/// What is the same for all positions of a lap, so that a message need not work it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lap {
    /// The position at which its last record must end.
    pub end: u64,
    /// The commit word of an empty message in it.
    stamp: u64,
}

impl Lap {
    /// No lap: no word is a message in it.
    pub const NONE: Lap = Lap { end: 0, stamp: 0 };

    /// The commit word of a record in this lap.
    pub fn word(&self, kind: Kind, len: u32) -> CommitWord {
        CommitWord(self.stamp >> 48 << 48 | (kind as u64) << 32 | u64::from(len))
    }

    /// The commit word of a message with `len` bytes of payload in this lap.
    #[inline(always)]
    pub fn message(&self, len: u32) -> CommitWord {
        CommitWord(self.stamp | u64::from(len))
    }

    /// The payload's length, bytes, if `word` is that of a message without flags in this lap, of at most `max` bytes.
    #[inline(always)]
    pub fn message_len(&self, word: CommitWord, max: u32) -> Option<u32> {
        // What differs above the length makes it longer than any.
        let len = word.0 ^ self.stamp;
        (len <= u64::from(max)).then_some(len as u32)
    }

    /// Whether the check of `word` is that of this lap.
    pub fn has(&self, word: CommitWord) -> bool {
        word.0 >> 48 == self.stamp >> 48
    }
}

/// The length of a record with `len` bytes of payload: its commit word, and the payload padded to 8.
#[inline(always)]
pub fn record_len(len: usize) -> u64 {
    (len as u64 + 15) & !7
}

/// Where the record after the one at `position` starts.
///
/// A record that fits in a cache line is followed by a gap when another of its length would straddle the line's end.
/// Both sides compute it from what they know, so nothing is written in the gap. In a run of records of one length
/// none straddles but possibly the first, and lengths above a line leave no gaps. Measured in docs/format.md.
#[inline(always)]
pub fn next_record(position: u64, record: u64) -> u64 {
    Span::of(record).end(position)
}

/// How far a record of one length reaches, wherever it starts: see [`next_record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its bytes.
    record: u64,
    /// What must be left of its last line behind it, bytes, if there is to be no gap.
    room: u64,
}

impl Span {
    /// That of records of so many bytes.
    #[inline(always)]
    pub fn of(record: u64) -> Span {
        Span { record, room: if record <= LINE { record } else { 0 } }
    }

    /// Where the record after the one at `position` starts.
    #[inline(always)]
    pub fn end(self, position: u64) -> u64 {
        let end = position + self.record;
        let left = end.wrapping_neg() & (LINE - 1);
        if left < self.room { end + left } else { end }
    }
}

/// The largest payload a ring of `capacity` can carry: its record and the free word after it fill the ring.
pub const fn max_payload(capacity: u64) -> u64 {
    capacity - 16
}

/// The largest payload that a segment can carry: one unit of the limit may still hold the way out of the last segment.
pub const fn max_payload_of_segment(limit: u64) -> u64 {
    limit.saturating_sub(GRANULE + 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_word_is_never_nothing_and_says_what_it_was_made_of() {
        let ring = Place::ring(4096);
        for position in [0, 8, 4096, (1 << 32) - 8, (1 << 63) + 64] {
            let lap = ring.lap(position);
            for (kind, len) in
                [(Kind::Data, 0), (Kind::Data, u32::MAX), (Kind::Pad, 0), (Kind::Jump, 64), (Kind::Gap, 1)]
            {
                let word = lap.word(kind, len);
                assert_ne!(word.0, CommitWord::NOTHING);
                assert_eq!((word.payload_len(), word.kind(), word.flags()), (len, kind as u8, 0));
                assert!(lap.has(word));
                assert!(!ring.lap(position ^ 4096).has(word), "the next lap's check differs");
                let is_message = kind == Kind::Data;
                assert_eq!(lap.message_len(word, u32::MAX), is_message.then_some(len));
                assert_eq!(lap.message_len(word, len.wrapping_sub(1)).filter(|_| len > 0), None);
                assert!(!is_message || lap.message(len) == word);
            }
        }
    }

    #[test]
    fn a_lap_ends_with_its_ring_or_before_the_last_word_of_its_segment() {
        assert_eq!(Place::ring(4096).lap(5000).end, 8192);
        let segment = Place { offset: 0, window: 8192, start: 16384, end: 16384 + 5000 };
        assert_eq!(segment.lap(16384).end, 16384 + 4992);
        assert_eq!(segment.lap(16384 + 4000), segment.lap(16384));
    }

    #[test]
    fn no_record_that_fits_a_line_straddles_one_in_a_run_of_its_length() {
        for len in 0..=56 {
            let record = record_len(len);
            for start in (0..LINE).step_by(8) {
                let mut position = next_record(start, record);
                for _ in 0..if cfg!(miri) { 8 } else { 64 } {
                    assert!(position % LINE + record <= LINE, "{len} bytes at {position}");
                    position = next_record(position, record);
                }
            }
        }
    }

    #[test]
    fn records_longer_than_a_line_leave_no_gap_and_none_crosses_the_end_of_a_ring() {
        for len in 57..300 {
            assert_eq!(next_record(8, record_len(len)), 8 + record_len(len));
        }
        for record in (8..=4096).step_by(8) {
            let last = 4096 - record;
            assert!(next_record(last, record) <= 4096);
        }
    }

    #[test]
    fn every_field_of_the_header_is_under_the_checksum() {
        let header = Header { magic: MAGIC, version: VERSION, ..Header::zeroed() }.sealed();
        for byte in 0..HEADER_LEN {
            let mut bytes = [0; HEADER_LEN];
            bytes.copy_from_slice(bytemuck::bytes_of(&header));
            bytes[byte] ^= 1;
            let damaged: Header = bytemuck::pod_read_unaligned(&bytes);
            assert_ne!(damaged.sealed().checksum, damaged.checksum, "byte {byte}");
        }
    }

    /// The offsets that docs/format.md lists, against those of the code.
    #[test]
    #[cfg_attr(miri, ignore = "it reads a page, and no memory of ours")]
    fn the_offsets_of_the_format_page_are_those_of_the_code() {
        macro_rules! of_header { ($($field:ident)*) => { [$(("header", stringify!($field), std::mem::offset_of!(Header, $field), "")),*] } }
        let of_table = |of, words: &[Word]| {
            words.iter().map(|word| (of, word.name, word.offset, if word.len == 4 { "u32" } else { "u64" })).collect()
        };
        let table = |of, name, at| vec![(of, name, at, "")];
        let code: Vec<(&str, &str, usize, &str)> = [
            of_header!(magic version kind queue_id boot_id ring_capacity overflow_limit max_message max_lanes fence_mode
                trust lane priority ledger_entries segment_slots created_ns features reserved checksum).to_vec(),
            of_table("bell", BELL_WORDS),
            of_table("receiver", RECEIVER_WORDS),
            table("receiver", "slots", receiver::SLOTS),
            of_table("slot", SLOT_WORDS),
            of_table("lane", LANE_WORDS),
            table("lane", "segments", lane::SEGMENTS),
            table("lane", "ring", RING),
            of_table("ledger", LEDGER_WORDS),
            table("ledger", "counters", ledger::COUNTERS),
            table("ledger", "histogram", ledger::HISTOGRAM),
            table("ledger", "entries", ledger::ENTRIES),
            of_table("entry", ENTRY_WORDS),
            of_table("desk", DESK_WORDS),
            of_table("segment", SEGMENT_WORDS),
        ]
        .concat();
        // Of what is no single word the types are for people.
        let code: Vec<_> =
            code.iter().map(|(of, name, at, len)| (format!("{of} {} {at}", name.to_lowercase()), *len)).collect();
        let page: Vec<_> = include_str!("../docs/format.md")
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let at: usize = cells.get(2)?.parse().ok()?;
                // What a layer above writes is compared there.
                let ours = cells[1] != "envelope";
                ours.then(|| (format!("{} {} {at}", cells[1], cells[4]), cells[3]))
            })
            .collect();
        assert_eq!(page.len(), code.len());
        for (page, code) in page.iter().zip(&code) {
            assert_eq!(page.0, code.0);
            assert!(code.1.is_empty() || page.1 == code.1, "{} is {} here and {} there", code.0, code.1, page.1);
        }
    }
}
