//! Regions for loom: each word is one of loom's atomics, and each payload word also one of loom's cells, so that a
//! payload that is read without having been published is reported as a race.
//!
//! Only the words that the code takes exist (a model of a whole file would take loom for ever). Payload words are
//! stored to the ring's atomics too, as they are in real memory: a lane without its terminators reads them as commit
//! words. A lane with an observer has no cells: an observer copies first and asks afterwards whether the bytes held
//! still, which is a race by design, and its loads are those of real memory.
//!
//! Behind the ring is room for segments. What is not reserved may not be touched, and who gives bytes back counts as
//! writing them: whoever still has to read there is too late, or in a race.
#![expect(unsafe_code, reason = "loom's cells hand out raw pointers")]
#![allow(missing_docs, reason = "internal to the models")]

use crate::layout::{GRANULE, LINE, Place};
use crate::sync::{AtomicU32, AtomicU64, Ordering, load_acquire};
use loom::cell::UnsafeCell;
use std::cell::Cell;
use std::io;
use std::ops::{Deref, Range};
// Not loom's: it must not order anything.
use std::sync::{Arc, Mutex};

pub(crate) struct Region {
    words: Vec<(usize, AtomicU64)>,
    halves: Vec<(usize, AtomicU32)>,
    /// None when an observer may look.
    cells: Option<Vec<UnsafeCell<u64>>>,
    /// Where in `words` the first of the ring is. Those behind the ring follow it.
    first: usize,
    ring: Range<u64>,
    /// What became of the bytes behind the ring, a granule each.
    granules: Mutex<Vec<Granule>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granule {
    New,
    Reserved,
    GivenBack,
}

/// What a segment that was given back reads as, for those who are not caught otherwise.
const GARBAGE: u64 = 0xbad0_bad0_bad0_bad0;

// SAFETY: the cells are what makes this unsafe, and loom reports every unordered access to one.
unsafe impl Sync for Region {}

impl Region {
    /// A region with these 64-bit and 32-bit words.
    pub(crate) fn model(words: &[usize], halves: &[usize]) -> Arc<Region> {
        Region::with_ring(words, halves, 0, 0, false)
    }

    /// A region with these 64-bit and 32-bit words, a ring of `capacity` bytes, and `behind` bytes for segments.
    pub(crate) fn with_ring(
        words: &[usize],
        halves: &[usize],
        capacity: u64,
        behind: u64,
        observed: bool,
    ) -> Arc<Region> {
        let ring = Place::ring(capacity).offset..Place::ring(capacity).offset + capacity;
        let places = (ring.start..ring.end + behind).step_by(8).map(|offset| offset as usize);
        Arc::new(Region {
            words: words.iter().copied().chain(places).map(|offset| (offset, AtomicU64::new(0))).collect(),
            halves: halves.iter().map(|&offset| (offset, AtomicU32::new(0))).collect(),
            cells: (!observed).then(|| (0..(capacity + behind) / 8).map(|_| UnsafeCell::new(0)).collect()),
            first: words.len(),
            ring,
            granules: Mutex::new(vec![Granule::New; (behind / GRANULE) as usize]),
        })
    }

    pub(crate) fn was_truncated(&self) -> bool {
        false
    }

    /// What was given back before is zero; what is new is so anyway.
    pub(crate) fn reserve(&self, bytes: Range<u64>) -> io::Result<()> {
        self.change(bytes, |was, words| {
            if was == Granule::GivenBack {
                // ORDERING(segment): relaxed: nobody may be looking.
                words.for_each(|word| self.words[self.first + word].1.store(0, Ordering::Relaxed));
            }
            Granule::Reserved
        });
        Ok(())
    }

    pub(crate) fn give_back(&self, bytes: Range<u64>) -> bool {
        self.change(bytes, |was, words| {
            if was == Granule::Reserved {
                let cells = words.filter_map(|word| self.cells.as_ref().map(|cells| &cells[word]));
                // SAFETY: loom reports any access that is not ordered with this one.
                cells.for_each(|cell| cell.with_mut(|cell| unsafe { *cell = GARBAGE }));
            }
            if was == Granule::New { was } else { Granule::GivenBack }
        });
        true
    }

    /// Changes the state of the granules of `bytes`, as far as the model has them. `to` gets what a granule was, and the
    /// indices of its words, from the ring's first.
    fn change(&self, bytes: Range<u64>, to: impl Fn(Granule, Range<usize>) -> Granule) {
        assert!(
            bytes.start >= self.ring.end && bytes.start.is_multiple_of(GRANULE) && bytes.end.is_multiple_of(GRANULE)
        );
        let of_ring = (self.ring.end - self.ring.start) as usize / 8;
        let count = self.granules.lock().unwrap().len();
        for granule in (bytes.start - self.ring.end) / GRANULE..(bytes.end - self.ring.end) / GRANULE {
            let granule = granule as usize;
            if granule < count {
                let first = of_ring + granule * GRANULE as usize / 8;
                let was = self.granules.lock().unwrap()[granule];
                // Not under the lock: loom may let somebody else run.
                let now = to(was, first..first + GRANULE as usize / 8);
                self.granules.lock().unwrap()[granule] = now;
            }
        }
    }

    /// The index of the word that lies at `offset` of the file, from the ring's first. Somebody is going to touch it.
    fn touch(&self, offset: u64) -> usize {
        if offset >= self.ring.end {
            let granule = self.granules.lock().unwrap()[((offset - self.ring.end) / GRANULE) as usize];
            assert_eq!(granule, Granule::Reserved, "bytes were touched that are not reserved");
        }
        ((offset - self.ring.start) / 8) as usize
    }

    pub(crate) fn own<T: Word>(self: &Arc<Self>, offset: usize) -> Own<T> {
        Own(self.peer(offset))
    }

    pub(crate) fn peer<T: Word>(self: &Arc<Self>, offset: usize) -> Peer<T> {
        Peer { index: T::index(self, offset), region: Arc::clone(self), word: std::marker::PhantomData }
    }

    pub(crate) fn window(self: &Arc<Self>, place: &Place) -> Window {
        let window = Window { region: Arc::clone(self), offset: Cell::new(0), window: Cell::new(8) };
        window.turn_to(place);
        window
    }
}

pub(crate) trait Word: Sized + 'static {
    fn index(region: &Region, offset: usize) -> usize;
    fn get(region: &Region, index: usize) -> &Self;
}

impl Word for AtomicU64 {
    fn index(region: &Region, offset: usize) -> usize {
        region.words.iter().position(|(at, _)| *at == offset).expect("the model has no such word")
    }
    fn get(region: &Region, index: usize) -> &Self {
        &region.words[index].1
    }
}

impl Word for AtomicU32 {
    fn index(region: &Region, offset: usize) -> usize {
        region.halves.iter().position(|(at, _)| *at == offset).expect("the model has no such half word")
    }
    fn get(region: &Region, index: usize) -> &Self {
        &region.halves[index].1
    }
}

pub(crate) struct Own<T>(Peer<T>);

impl<T: Word> Deref for Own<T> {
    type Target = T;
    fn deref(&self) -> &T {
        T::get(&self.0.region, self.0.index)
    }
}

pub(crate) struct Peer<T> {
    region: Arc<Region>,
    index: usize,
    word: std::marker::PhantomData<fn() -> T>,
}

impl<T> Clone for Peer<T> {
    fn clone(&self) -> Peer<T> {
        Peer { region: Arc::clone(&self.region), index: self.index, word: std::marker::PhantomData }
    }
}

impl Peer<AtomicU64> {
    pub(crate) fn load(&self) -> u64 {
        // ORDERING(hint): as in real memory.
        AtomicU64::get(&self.region, self.index).load(Ordering::Relaxed)
    }

    pub(crate) fn load_acquire(&self) -> u64 {
        load_acquire(AtomicU64::get(&self.region, self.index))
    }
}

impl Peer<AtomicU32> {
    pub(crate) fn load(&self) -> u32 {
        // ORDERING(hint): as in real memory.
        self.futex().load(Ordering::Relaxed)
    }

    pub(crate) fn futex(&self) -> &AtomicU32 {
        AtomicU32::get(&self.region, self.index)
    }
}

pub(crate) struct Window {
    region: Arc<Region>,
    offset: Cell<u64>,
    window: Cell<u64>,
}

impl Window {
    pub(crate) fn turn_to(&self, place: &Place) {
        assert!(place.window.is_power_of_two());
        self.offset.set(place.offset);
        self.window.set(place.window);
    }

    pub(crate) fn another(&self, place: &Place) -> Window {
        self.region.window(place)
    }

    fn index(&self, position: u64) -> usize {
        self.region.touch(self.offset.get() + (position & (self.window.get() - 8)))
    }

    fn until_end(&self, position: u64) -> u64 {
        self.window.get() - (position & (self.window.get() - 1))
    }

    pub(crate) fn word(&self, position: u64) -> &AtomicU64 {
        let offset = self.offset.get() + (position & (self.window.get() - 8));
        match offset < self.region.ring.start {
            // A word of the segment table.
            true => AtomicU64::get(&self.region, AtomicU64::index(&self.region, offset as usize)),
            false => &self.region.words[self.region.first + self.region.touch(offset)].1,
        }
    }

    /// Where the byte at `position` lies; counts as a write of its word, for that is what it is asked for.
    pub(crate) fn at(&self, position: u64) -> *mut u8 {
        let cells = self.region.cells.as_ref().expect("an observed ring has no bytes to point at");
        cells[self.index(position)].with_mut(|cell| cell.cast())
    }

    pub(crate) fn payload(&self, word: u64) -> Payload {
        let position = word + 8;
        let offset = self.offset.get() + (position & (self.window.get() - 8));
        Payload { region: Arc::clone(&self.region), offset, room: self.until_end(position) }
    }

    pub(crate) fn prefetch_for_write(&self, _position: u64) {}

    pub(crate) fn prefetch_for_read(&self, _position: u64) {}

    /// # Safety
    /// They are the caller's to write, and the window does not end before them.
    pub(crate) unsafe fn clear_line(&self, position: u64) {
        // SAFETY: the caller's contract.
        unsafe { self.copy_in(position, &[0; LINE as usize]) };
    }

    /// # Safety
    /// There are at most `until_end(position)` bytes.
    pub(crate) unsafe fn copy_in(&self, position: u64, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= self.until_end(position));
        for (i, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_ne_bytes(word);
            let at = position + 8 * i as u64;
            // ORDERING(publish): relaxed, as in real memory; the cell is what shows a missing publication.
            self.word(at).store(word, Ordering::Relaxed);
            if let Some(cells) = &self.region.cells {
                // SAFETY: loom reports any access that is not ordered with this one.
                cells[self.index(at)].with_mut(|cell| unsafe { *cell = word });
            }
        }
    }
}

pub(crate) struct Payload {
    region: Arc<Region>,
    offset: u64,
    /// Bytes to the end of the window.
    room: u64,
}

impl Payload {
    /// # Safety
    /// `to` is valid for writing `len` bytes, and the payload is at least `at + len` long.
    pub(crate) unsafe fn copy_out(self, at: usize, to: *mut u8, len: usize) {
        assert!(at.is_multiple_of(8) && (at + len) as u64 <= self.room);
        for i in 0..len.div_ceil(8) {
            let index = self.region.touch(self.offset + (at + 8 * i) as u64);
            let word = match &self.region.cells {
                // SAFETY: loom reports any access that is not ordered with this one.
                Some(cells) => cells[index].with(|cell| unsafe { *cell }),
                // ORDERING(lapped): relaxed, as in real memory; the fence after the copy is what counts.
                None => self.region.words[self.region.first + index].1.load(Ordering::Relaxed),
            };
            let word = word.to_ne_bytes();
            let part = (len - 8 * i).min(8);
            // SAFETY: the caller's contract.
            unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), to.add(8 * i), part) };
        }
    }
}
