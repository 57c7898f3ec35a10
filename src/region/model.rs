//! Regions for loom: each word is one of loom's atomics, and each payload word also one of loom's cells, so that a
//! payload that is read without having been published is reported as a race.
//!
//! Only the words that the code takes exist (a model of a whole file would take loom for ever). Payload words are
//! stored to the ring's atomics too, as they are in real memory: a lane without its terminators reads them as commit
//! words. A lane with an observer has no cells: an observer copies first and asks afterwards whether the bytes held
//! still, which is a race by design, and its loads are those of real memory.
#![expect(unsafe_code, reason = "loom's cells hand out raw pointers")]
#![allow(missing_docs, reason = "internal to the models")]

use crate::sync::{AtomicU32, AtomicU64, Ordering, load_acquire};
use loom::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::Arc;

pub(crate) struct Region {
    words: Vec<(usize, AtomicU64)>,
    halves: Vec<(usize, AtomicU32)>,
    /// None when an observer may look.
    cells: Option<Vec<UnsafeCell<u64>>>,
    ring: usize,
    capacity: u64,
}

// SAFETY: the cells are what makes this unsafe, and loom reports every unordered access to one.
unsafe impl Sync for Region {}

impl Region {
    /// A region with these 64-bit and 32-bit words.
    pub(crate) fn model(words: &[usize], halves: &[usize]) -> Arc<Region> {
        Region::with_ring(words, halves, 0, 0, false)
    }

    /// A region with these 64-bit and 32-bit words, and a ring of `capacity` bytes at `ring`.
    pub(crate) fn with_ring(
        words: &[usize],
        halves: &[usize],
        ring: usize,
        capacity: u64,
        observed: bool,
    ) -> Arc<Region> {
        let ring_words = (0..capacity as usize).step_by(8).map(|offset| ring + offset);
        Arc::new(Region {
            words: words.iter().copied().chain(ring_words).map(|offset| (offset, AtomicU64::new(0))).collect(),
            halves: halves.iter().map(|&offset| (offset, AtomicU32::new(0))).collect(),
            cells: (!observed).then(|| (0..capacity / 8).map(|_| UnsafeCell::new(0)).collect()),
            ring,
            capacity,
        })
    }

    pub(crate) fn was_truncated(&self) -> bool {
        false
    }

    pub(crate) fn own<T: Word>(self: &Arc<Self>, offset: usize) -> Own<T> {
        Own(self.peer(offset))
    }

    pub(crate) fn peer<T: Word>(self: &Arc<Self>, offset: usize) -> Peer<T> {
        Peer { index: T::index(self, offset), region: Arc::clone(self), word: std::marker::PhantomData }
    }

    pub(crate) fn window(self: &Arc<Self>, offset: usize, capacity: u64) -> Window {
        assert!(offset == self.ring && capacity == self.capacity);
        let first = AtomicU64::index(self, offset);
        Window { region: Arc::clone(self), first, capacity }
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
    first: usize,
    capacity: u64,
}

impl Window {
    fn index(&self, position: u64) -> usize {
        (position & (self.capacity - 8)) as usize / 8
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn until_end(&self, position: u64) -> u64 {
        self.capacity - (position & (self.capacity - 1))
    }

    pub(crate) fn word(&self, position: u64) -> &AtomicU64 {
        &self.region.words[self.first + self.index(position)].1
    }

    /// Where the byte at `position` lies; counts as a write of its word, for that is what it is asked for.
    pub(crate) fn at(&self, position: u64) -> *mut u8 {
        let cells = self.region.cells.as_ref().expect("an observed ring has no bytes to point at");
        cells[self.index(position)].with_mut(|cell| cell.cast())
    }

    pub(crate) fn prefetch_for_write(&self, _position: u64) {}

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

    /// # Safety
    /// `to` is valid for writing `len` bytes, and `len` is at most `until_end(position)`.
    pub(crate) unsafe fn copy_out(&self, position: u64, to: *mut u8, len: usize) {
        assert!(len as u64 <= self.until_end(position));
        for i in 0..len.div_ceil(8) {
            let at = position + 8 * i as u64;
            let word = match &self.region.cells {
                // SAFETY: loom reports any access that is not ordered with this one.
                Some(cells) => cells[self.index(at)].with(|cell| unsafe { *cell }),
                // ORDERING(lapped): relaxed, as in real memory; the fence after the copy is what counts.
                None => self.word(at).load(Ordering::Relaxed),
            };
            let word = word.to_ne_bytes();
            let part = (len - 8 * i).min(8);
            // SAFETY: the caller's contract.
            unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), to.add(8 * i), part) };
        }
    }
}
