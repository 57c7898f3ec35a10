//! The segment table: where in a lane's file a position lies when the ring was full.
//!
//! An entry says that the positions from `start` up to `end` lie in a segment; a position that lies in no segment lies in
//! the ring. So where a position lies is a function of the table alone, and whoever takes over a lane, on either side,
//! knows what the last one knew. Reads and writes entries; knows nothing of records, nor how segments are come by.
//!
//! An entry is stable for as long as anybody may look for a position in it: its sender changes it only when all of it has
//! been released, except that the end moves down before the segment is left (never below what is committed).

use crate::error::{Broken, Fault};
use crate::layout::{self, GRANULE, Place, SEGMENT_SLOTS, lane, segment};
use crate::region::{Region, Window};
use crate::sync::{AtomicU64, Ordering, load_acquire};
use std::ops::Range;
use std::sync::Arc;

/// Where the table lies in a lane's file.
const BYTES: Place = Place {
    offset: lane::SEGMENTS as u64,
    window: (SEGMENT_SLOTS as usize * segment::LEN) as u64,
    start: 0,
    end: u64::MAX,
};

/// A lane's segment table.
pub(crate) struct Table {
    /// On the bytes of the table.
    words: Window,
    ring: Place,
    /// Bytes that the lane may hold in segments; without any there is no table.
    limit: u64,
}

/// An entry of the table that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the segment starts in the file.
    pub(crate) offset: u64,
    pub(crate) window: u64,
    /// The position of the jump that leads to it.
    pub(crate) from: u64,
}

impl Entry {
    /// The entry whose end is not 0, by the other words of its slot.
    pub(crate) fn of_words(slot: u32, end: u64, word: impl Fn(usize) -> u64) -> Entry {
        let file = word(segment::FILE);
        Entry {
            slot,
            start: word(segment::START),
            end,
            offset: file & !(GRANULE - 1),
            window: 1 << (file & 63),
            from: word(segment::FROM),
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place { offset: self.offset, window: self.window, start: self.start, end: self.end }
    }

    /// The bytes of the file in which something can lie, as far as the entry says.
    pub(crate) fn bytes(&self) -> Range<u64> {
        self.offset..self.offset + (self.end - self.start).next_multiple_of(GRANULE)
    }
}

impl Table {
    pub(crate) fn new(lane: &Arc<Region>, capacity: u64, limit: u64) -> Table {
        Table { words: lane.window(&BYTES), ring: Place::ring(capacity), limit }
    }

    fn word(&self, slot: u32, offset: usize) -> &AtomicU64 {
        self.words.word((slot as usize * segment::LEN + offset) as u64)
    }

    /// The place of the ring.
    pub(crate) fn ring(&self) -> Place {
        self.ring
    }

    /// Bytes that the lane may hold in segments.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The most bytes of records that the lane can hold at a time.
    pub(crate) fn most(&self) -> u64 {
        self.ring.window + self.limit
    }

    /// The entries that are in use, as they say themselves.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let slots = if self.limit == 0 { 0 } else { SEGMENT_SLOTS };
        (0..slots).filter_map(|slot| self.entry(slot))
    }

    fn entry(&self, slot: u32) -> Option<Entry> {
        // ORDERING(segment): an end that is not 0 vouches for the rest of the entry.
        let end = load_acquire(self.word(slot, segment::END));
        if end == 0 {
            return None;
        }
        // ORDERING(hint): relaxed; ordered by the end, and checked by whoever uses them.
        let word = |offset| self.word(slot, offset).load(Ordering::Relaxed);
        Some(Entry::of_words(slot, end, word))
    }

    /// Where `position` lies.
    pub(crate) fn locate(&self, position: u64) -> Result<Place, Broken> {
        match self.entries().find(|entry| (entry.start..entry.end).contains(&position)) {
            Some(entry) if self.is_possible(&entry) => Ok(entry.place()),
            Some(entry) => Err(Broken { fault: Fault::Segment, position, found: entry.start }),
            None => Ok(self.ring),
        }
    }

    /// The position at which reading goes on after the jump at `position` to `target`, which stands in its commit word.
    pub(crate) fn target(&self, position: u64, target: u32) -> Result<u64, Fault> {
        let Some(slot) = target.checked_sub(1) else { return Ok(position + 8) };
        let exists = slot < SEGMENT_SLOTS && self.limit > 0;
        let entry = exists.then(|| self.entry(slot)).flatten().ok_or(Fault::Segment)?;
        // Positions only grow, so jumps cannot run in a circle.
        let follows = || entry.from == position && start_after(position, entry.window) == Some(entry.start);
        if !self.is_possible(&entry) || !follows() {
            return Err(Fault::Segment);
        }
        let bytes = entry.bytes();
        let overlaps = |other: &Entry| {
            let theirs = other.bytes();
            other.slot != slot && other.end > position && theirs.start < bytes.end && bytes.start < theirs.end
        };
        let mut others = self.entries().filter(|other| self.is_possible(other));
        if others.any(|other| overlaps(&other)) { Err(Fault::Segment) } else { Ok(entry.start) }
    }

    /// Whether an entry could have been made by a sender of this library: everything that it says lies where segments may.
    pub(crate) fn is_possible(&self, entry: &Entry) -> bool {
        let area = self.area();
        let len = entry.end.wrapping_sub(entry.start);
        entry.start < entry.end
            && entry.end < layout::POSITION_LIMIT
            && entry.start.is_multiple_of(entry.window)
            && entry.end.is_multiple_of(8)
            && len >= 8
            && len <= entry.window.min(self.limit)
            && entry.window <= area.end - area.start
            && entry.offset >= area.start
            && entry.offset <= area.end - entry.window
    }

    /// The bytes of the file in which segments may lie.
    pub(crate) fn area(&self) -> Range<u64> {
        let start = self.ring.offset + self.ring.window;
        start..start + layout::overflow_span(self.limit)
    }
}

/// Of the positions in `span`: how many have no bytes, because a segment's positions start at a multiple of its window;
/// and how many lie in segments.
pub(crate) fn measure(entries: impl Iterator<Item = Entry>, span: Range<u64>) -> (u64, u64) {
    let mut skipped = 0u64;
    let mut within = 0u64;
    for entry in entries {
        if entry.from >= span.start && entry.start <= span.end {
            skipped = skipped.saturating_add(entry.start.saturating_sub(entry.from.saturating_add(8)));
        }
        let (start, end) = (entry.start.max(span.start), entry.end.min(span.end));
        within = within.saturating_add(end.saturating_sub(start));
    }
    (skipped, within)
}

/// For the lane's sender, which is the only one to change the table.
impl Table {
    /// Fills a slot. Nobody looks for a position in what it said before.
    ///
    /// It is out of use first, for whoever takes over after a death in between. No fence makes others see that first: who
    /// finds the old end with the new start, which lies above it, finds a run of no positions; who finds the old run with
    /// the new place asked for positions that are all released, and learns that from `accepted`.
    pub(crate) fn fill(&self, entry: &Entry) {
        self.clear(entry.slot);
        let file = entry.offset | u64::from(entry.window.trailing_zeros());
        for (offset, value) in [(segment::START, entry.start), (segment::FILE, file), (segment::FROM, entry.from)] {
            // ORDERING(segment): relaxed; the end is stored after them.
            self.word(entry.slot, offset).store(value, Ordering::Relaxed);
        }
        // ORDERING(segment): the entry before the word that puts it in use.
        self.word(entry.slot, segment::END).store(entry.end, Ordering::Release);
    }

    /// Moves the end of a segment that is about to be left down to where it is left.
    pub(crate) fn trim(&self, slot: u32, end: u64) {
        // ORDERING(segment): relaxed; between filling an entry and leaving its segment the writer asked for room, and the
        // fence in `accept` puts the entry before every store that follows. (Not so when a lane is closed whose receiver lies about
        // what it has read; that lane is lost to it anyway.) The jump publishes the end.
        self.word(slot, segment::END).store(end, Ordering::Relaxed);
    }

    /// Takes an entry out of use.
    pub(crate) fn clear(&self, slot: u32) {
        self.trim(slot, 0);
    }
}

/// The first position of a segment with this window after the jump at `position`, if there is one below 2^64.
pub(crate) fn start_after(position: u64, window: u64) -> Option<u64> {
    position.checked_add(8)?.checked_next_multiple_of(window)
}
