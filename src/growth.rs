//! How a lane comes by segments, and gives them back: which bytes behind the ring are reserved, and for what.
//!
//! Nothing behind the ring is touched that was not reserved before. What the reader has passed is kept while the burst
//! lasts, because it is about to be needed again, and given back together when it is over. Knows nothing of records.

use crate::layout::{self, GRANULE};
use crate::region::{Own, Region};
use crate::segments::{self, Entry, Table};
use crate::sync::{AtomicU64, Ordering};
use std::ops::Range;
use std::sync::Arc;

/// The segments of a lane, for its sender.
pub(crate) struct Growth {
    region: Arc<Region>,
    table: Table,
    held: Vec<Held>,
    /// How long the next new segment should be, bytes.
    next_len: u64,
    /// Bytes that are reserved, never less than what is: 0 tells the next owner that there is nothing to give back.
    reserved: Own<AtomicU64>,
}

/// A segment that has bytes.
struct Held {
    /// As it stands in the table, or stood there.
    entry: Entry,
    /// Where it lies; nothing else may lie there while the entry is in use.
    extent: Range<u64>,
    /// What of that is reserved: all of it, or what is still to be read.
    reserved: Range<u64>,
}

impl Held {
    /// What still has something in it, when the reader has released everything below `read`, but has not passed it.
    fn unread(&self, read: u64) -> Range<u64> {
        let Entry { start, end, offset, .. } = self.entry;
        let from = offset + read.saturating_sub(start) / GRANULE * GRANULE;
        let to = offset + (end - start).next_multiple_of(GRANULE);
        from.max(self.reserved.start)..to.min(self.reserved.end)
    }
}

fn len(bytes: &Range<u64>) -> u64 {
    bytes.end.saturating_sub(bytes.start)
}

/// Why there is no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// The lane may not hold more.
    Limit,
    /// The file system has no more.
    Space,
}

impl Growth {
    /// Takes over a lane whose committed records lie between `read` and `write`: what else is reserved is given back,
    /// also what somebody reserved and did not live to use.
    pub(crate) fn adopt(region: Arc<Region>, table: Table, reserved: Own<AtomicU64>, read: u64, write: u64) -> Growth {
        let mut held = Vec::new();
        for entry in table.entries() {
            if entry.end <= read || entry.start > write || !table.is_possible(&entry) {
                table.clear(entry.slot);
            } else {
                let extent = entry.bytes();
                let mut segment = Held { entry, reserved: extent.clone(), extent };
                segment.reserved = segment.unread(read);
                held.push(segment);
            }
        }
        let longest = held.iter().map(|held| len(&held.extent)).max().unwrap_or(0);
        let growth = Growth { region, next_len: table.ring().window.max(2 * longest), table, held, reserved };
        // ORDERING(takeover): relaxed; the lane's lock ordered us behind its last owner.
        if growth.reserved.load(Ordering::Relaxed) > 0 {
            let free = gaps(&growth.table, growth.held.iter().map(|held| &held.reserved));
            let done = free.into_iter().all(|bytes| growth.region.give_back(bytes));
            // What could not be given back now is for the owner after this one.
            growth.count(u64::from(!done));
        }
        growth
    }

    /// The entries of the segments that are held, also of those that the reader has passed.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.held.iter().map(|held| held.entry)
    }

    /// Bytes that are reserved.
    pub(crate) fn reserved(&self) -> u64 {
        self.held.iter().map(|held| len(&held.reserved)).sum()
    }

    /// A segment for a record that needs `need` bytes of it, to be entered from the jump at `from`: one that the reader
    /// has passed, or a new one, twice as long as the last if there may be as much.
    ///
    /// The longest that was passed. But who sends what is longer than the ring never comes to rest there: then, when more
    /// than four times what is needed is held, a short one will do, and the others are given back.
    pub(crate) fn take(&mut self, need: u64, from: u64, read: u64) -> Result<Entry, Short> {
        let need = need.next_multiple_of(GRANULE);
        let unread: u64 =
            self.held.iter().filter(|held| held.entry.end > read).map(|held| len(&held.unread(read))).sum();
        let too_much = need > self.table.ring().window && self.reserved() > 4 * (unread + need);
        let found = match self.passed(need, read) {
            found if too_much => found.filter(|(_, len)| *len <= 4 * need).min_by_key(|(_, len)| *len),
            found => found.max_by_key(|(_, len)| *len),
        };
        let slot = match found {
            Some((slot, _)) => slot,
            None if too_much => {
                self.give_back(read);
                self.next_len = need;
                self.make(need, read)?
            }
            None => self.make(need, read)?,
        };
        if too_much {
            self.give_back_but(Some(slot), read);
        }
        let held = self.held.iter_mut().find(|held| held.entry.slot == slot).ok_or(Short::Limit)?;
        held.extent = held.reserved.clone();
        let (offset, len) = (held.extent.start, len(&held.extent));
        let window = layout::segment_window(len);
        let start = segments::start_after(from, window).ok_or(Short::Limit)?;
        held.entry = Entry { slot, start, end: start + len, offset, window, from };
        Ok(held.entry)
    }

    /// A segment was left at `end`.
    pub(crate) fn leave(&mut self, slot: u32, end: u64) {
        self.table.trim(slot, end);
        if let Some(held) = self.held.iter_mut().find(|held| held.entry.slot == slot) {
            held.entry.end = end;
        }
    }

    /// Gives all segments that the reader has passed back to the file system.
    pub(crate) fn give_back(&mut self, read: u64) {
        self.give_back_but(None, read);
    }

    fn give_back_but(&mut self, kept: Option<u32>, read: u64) {
        let Growth { region, table, held, .. } = self;
        held.retain(|held| {
            let keep = held.entry.end > read || kept == Some(held.entry.slot);
            if !keep {
                // Not in use before it is gone, for whoever takes over from here.
                table.clear(held.entry.slot);
            }
            // What the file system does not take is still there, and may be used again.
            keep || !region.give_back(held.reserved.clone())
        });
        if self.held.is_empty() {
            self.next_len = self.table.ring().window;
        }
        self.count(0);
    }

    /// Gives back everything in which there is nothing to read any more.
    pub(crate) fn trim(&mut self, read: u64) {
        self.give_back(read);
        self.give_back_parts(read);
    }

    /// Gives also those bytes back of segments that are in use in which there is nothing to read any more.
    fn give_back_parts(&mut self, read: u64) {
        for held in self.held.iter_mut().filter(|held| held.entry.end > read) {
            let unread = held.unread(read);
            let parts = [held.reserved.start..unread.start, unread.end..held.reserved.end];
            // As above: what is still there counts.
            if parts.into_iter().all(|bytes| len(&bytes) == 0 || self.region.give_back(bytes)) {
                held.reserved = unread;
            }
        }
        self.count(0);
    }

    /// The segments that the reader has passed and that have `need` bytes: their slots and lengths.
    fn passed(&self, need: u64, read: u64) -> impl Iterator<Item = (u32, u64)> {
        let end = self.table.area().end;
        let passed = self.held.iter().filter(move |held| held.entry.end <= read);
        let sized = passed.map(|held| (held, len(&held.reserved)));
        let fits =
            move |(held, len): &(&Held, u64)| *len >= need && held.reserved.start + layout::segment_window(*len) <= end;
        sized.filter(fits).map(|(held, len)| (held.entry.slot, len))
    }

    /// Reserves a new segment of at least `need` bytes, and says which one it is.
    fn make(&mut self, need: u64, read: u64) -> Result<u32, Short> {
        if self.left() < need || self.free_slot().is_none() {
            // What the reader has passed is too short for anything: room for something longer.
            self.give_back(read);
        }
        if self.left() < need {
            self.give_back_parts(read);
        }
        let left = self.left();
        let slot = self.free_slot().filter(|_| need <= left).ok_or(Short::Limit)?;
        let mut len = self.next_len.next_multiple_of(GRANULE).clamp(need, left);
        loop {
            match self.reserve(slot, len) {
                Ok(()) => break,
                // What the reader has passed may be just what is missing.
                Err(Short::Space) if self.held.iter().any(|held| held.entry.end <= read) => self.give_back(read),
                // Half as much may be there.
                Err(_) if len > need => len = (len / 2).next_multiple_of(GRANULE).max(need),
                Err(short) => return Err(short),
            }
        }
        // One that is long for the sake of one message says nothing of how many there will be.
        self.next_len = 2 * len.min(self.next_len);
        Ok(slot)
    }

    /// Bytes that may still be reserved. A table that was taken over may claim more than there may be.
    fn left(&self) -> u64 {
        self.table.limit().saturating_sub(self.reserved())
    }

    fn free_slot(&self) -> Option<u32> {
        (0..layout::SEGMENT_SLOTS).find(|slot| self.held.iter().all(|held| held.entry.slot != *slot))
    }

    fn reserve(&mut self, slot: u32, bytes: u64) -> Result<(), Short> {
        let window = layout::segment_window(bytes);
        let end = self.table.area().end;
        let free = gaps(&self.table, self.held.iter().map(|held| &held.extent));
        let fits = |gap: &Range<u64>| len(gap) >= bytes && gap.start + window <= end;
        let offset = free.into_iter().find(fits).ok_or(Short::Limit)?.start;
        let extent = offset..offset + bytes;
        // Said before it is so: whoever takes over after a kill in between must look for it.
        self.count(bytes);
        if self.region.reserve(extent.clone()).is_err() {
            // Some file systems keep what they had found by then.
            self.region.give_back(extent);
            self.count(0);
            return Err(Short::Space);
        }
        let entry = Entry { slot, start: 0, end: 0, offset, window, from: 0 };
        self.held.push(Held { entry, reserved: extent.clone(), extent });
        Ok(())
    }

    fn count(&self, besides: u64) {
        // ORDERING(takeover): relaxed; for the next owner, whom the lock orders behind us.
        self.reserved.store(self.reserved() + besides, Ordering::Relaxed);
    }
}

/// The runs of bytes behind the ring that are none of `taken`.
fn gaps<'a>(table: &Table, taken: impl Iterator<Item = &'a Range<u64>>) -> Vec<Range<u64>> {
    let area = table.area();
    let mut taken: Vec<&Range<u64>> = taken.collect();
    taken.sort_unstable_by_key(|bytes| bytes.start);
    let mut at = area.start;
    let mut gaps = Vec::new();
    for bytes in taken {
        if bytes.start > at {
            gaps.push(at..bytes.start);
        }
        at = bytes.end.max(at);
    }
    if at < area.end {
        gaps.push(at..area.end);
    }
    gaps
}
