//! Regions of real memory.
#![expect(unsafe_code, reason = "the crate's pointer arithmetic is here, behind checked constructors")]

use super::copy;
use crate::layout::{self, LINE, Place};
use crate::sync::{AtomicU32, AtomicU64, Ordering, load_acquire};
use crate::sys::sigbus::Guard;
use crate::sys::space;
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The memory of one file, mapped once; lives as long as anything made from it.
pub(crate) struct Region {
    base: *mut u8,
    len: usize,
    writable: bool,
    /// Declared before the memory, so that it is dropped before.
    guard: Option<Guard>,
    memory: Memory,
}

/// The most bytes of a mapping that are touched: 256 KiB take some 40 µs, and twice that when they are new.
const TOUCHED: usize = layout::RING + (256 << 10);

/// What a mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// Writing, and growing the file.
    Grow,
}

#[expect(dead_code, reason = "held for its destructor")]
enum Memory {
    File(MmapRaw, Option<File>),
    Anonymous(MmapMut),
    /// A vector, not a box: moving a box would invalidate every pointer made from it before.
    Heap(Vec<u64>),
}

// SAFETY: the memory is reached only through atomics and through `copy`, which tolerate concurrent access; `base`
// stays valid because `memory` moves with it and neither unmaps nor reallocates before it is dropped.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes of `file`. Nobody touches bytes that the file does not have: those that it may get later are
    /// [`reserve`](Self::reserve)d before.
    ///
    /// A forked child does not inherit the mapping: two writers of one lane would follow. With `guarded`, pages that the
    /// file loses later read as zero instead of ending the process; see [`was_truncated`](Self::was_truncated).
    pub(crate) fn map(file: File, len: usize, access: Access, guarded: bool) -> io::Result<Arc<Region>> {
        let mut options = MmapOptions::new();
        options.len(len);
        let writable = access != Access::Read;
        let map = if writable { options.map_raw(&file)? } else { options.map_raw_read_only(&file)? };
        map.advise(Advice::DontFork)?;
        let guard = guarded.then(|| Guard::new(map.as_ptr(), len)).flatten();
        // A descriptor is kept only for what needs one: a receiver may map more lanes than it may have files open.
        let file = (access == Access::Grow).then_some(file);
        Ok(Arc::new(Region { base: map.as_mut_ptr(), len, writable, guard, memory: Memory::File(map, file) }))
    }

    /// Bytes of memory.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Maps the pages of the first `len` bytes, which the file has, at once: otherwise each costs a fault in the first lap, on both
    /// sides. An older kernel refuses, and a page that is missing is for later.
    ///
    /// Pages that have been used come sixteen at a time when they are read, and a file system in memory need not be told of a write: then
    /// there is nothing left to do for writing them. New ones come one at a time, whatever for.
    pub(crate) fn touch(&self, len: usize, new: bool) {
        if let Memory::File(map, _) = &self.memory {
            let len = len.min(TOUCHED);
            if !new || !self.writable {
                let _ = map.advise_range(Advice::PopulateRead, 0, len);
            }
            if self.writable {
                let _ = map.advise_range(Advice::PopulateWrite, 0, len);
            }
        }
    }

    /// Makes sure that these bytes are there: touching them cannot fail later. They keep what they hold; new ones are
    /// zero. Blocks for as long as the file system takes, some tens of microseconds a megabyte in memory.
    pub(crate) fn reserve(&self, bytes: Range<u64>) -> io::Result<()> {
        match &self.memory {
            Memory::File(_, Some(file)) => space::reserve(file, bytes),
            _ => Ok(()),
        }
    }

    /// Gives these bytes back to the file system. They may not be touched before they are reserved again. False when it
    /// failed, and they are still there.
    pub(crate) fn give_back(&self, bytes: Range<u64>) -> bool {
        match &self.memory {
            Memory::File(_, Some(file)) => space::give_back(file, bytes).is_ok(),
            _ => true,
        }
    }

    /// Whether a page of the file was found missing.
    #[inline(always)]
    pub(crate) fn was_truncated(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::was_hit)
    }

    /// A copy of a file, as long as `len`: the file's bytes as far as it has any, then zeros. Reads, and maps nothing of it. Also how
    /// many bytes there were, and what went wrong on the way.
    pub(crate) fn copy_of(file: &File, len: usize) -> io::Result<(Arc<Region>, u64, Option<io::Error>)> {
        let mut map = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
        let mut chunk = vec![0; 64 << 10];
        let (mut at, mut failure) = (0, None);
        while at < len {
            at = space::written_from(file, at as u64)?.min(len as u64) as usize;
            let wanted = chunk.len().min(len - at);
            let read = match file.read_at(&mut chunk[..wanted], at as u64) {
                Ok(0) => break,
                Ok(read) => &chunk[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
            // What is zero already takes no memory.
            if read.iter().any(|byte| *byte != 0) {
                map[at..at + read.len()].copy_from_slice(read);
            }
            at += read.len();
        }
        let base = map.as_mut_ptr();
        let region = Region { base, len, writable: false, guard: None, memory: Memory::Anonymous(map) };
        Ok((Arc::new(region), at as u64, failure))
    }

    /// Zeroed memory of this process alone, for threads.
    pub(crate) fn anonymous(len: usize) -> io::Result<Arc<Region>> {
        if cfg!(miri) {
            return Ok(Region::heap(len));
        }
        let mut map = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
        let base = map.as_mut_ptr();
        Ok(Arc::new(Region { base, len, writable: true, guard: None, memory: Memory::Anonymous(map) }))
    }

    /// Zeroed memory on the heap: for Miri, and for copies of queues that are to be examined.
    pub(crate) fn heap(len: usize) -> Arc<Region> {
        // Plain words, which the allocator zeroes as a whole; nobody reaches them but through `base`.
        let mut words = vec![0u64; len.div_ceil(8)];
        let base = words.as_mut_ptr().cast();
        Arc::new(Region { base, len, writable: true, guard: None, memory: Memory::Heap(words) })
    }

    /// Zeroes it. Nobody else may be using it.
    #[cfg(fuzzing)]
    pub(crate) fn zero(&self) {
        // SAFETY: the memory is ours, as long as that, and nobody else is using it.
        unsafe { self.base.write_bytes(0, self.len) };
    }

    /// Where it lies in this process.
    #[cfg(fuzzing)]
    pub(crate) fn range(&self) -> Range<usize> {
        self.base.addr()..self.base.addr() + self.len
    }

    /// Copies bytes out as from a file; false when they are not all there.
    #[cfg(fuzzing)]
    pub(crate) fn read(&self, offset: u64, to: &mut [u8]) -> bool {
        let there = offset.checked_add(to.len() as u64).is_some_and(|end| end <= self.len as u64);
        if there {
            // SAFETY: just checked to lie inside the region, which is another allocation than `to`.
            unsafe { std::ptr::copy_nonoverlapping(self.base.add(offset as usize), to.as_mut_ptr(), to.len()) };
        }
        there
    }

    /// A word that this process may write.
    pub(crate) fn own<T: Word>(self: &Arc<Self>, offset: usize) -> Own<T> {
        assert!(self.writable, "a word of a read-only mapping was taken for writing");
        Own(Peer { word: self.locate(offset), region: Arc::clone(self) })
    }

    /// A word that somebody else writes.
    pub(crate) fn peer<T: Word>(self: &Arc<Self>, offset: usize) -> Peer<T> {
        Peer { word: self.locate(offset), region: Arc::clone(self) }
    }

    fn locate<T: Word>(&self, offset: usize) -> *const T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: just checked to lie inside the region, which is aligned to 8 at least.
        unsafe { self.base.add(offset).cast() }
    }

    /// A window on a place.
    pub(crate) fn window(self: &Arc<Self>, place: &Place) -> Window {
        let window = Window { base: Cell::new(self.base), mask: Cell::new(0), region: Arc::clone(self) };
        window.turn_to(place);
        window
    }
}

/// The types of shared words.
pub(crate) trait Word: sealed::Sealed {}
impl Word for AtomicU32 {}
impl Word for AtomicU64 {}
mod sealed {
    pub(crate) trait Sealed {}
    impl Sealed for super::AtomicU32 {}
    impl Sealed for super::AtomicU64 {}
}

/// A shared word that this process may write.
pub(crate) struct Own<T>(Peer<T>);

impl<T: Word> Deref for Own<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.0.get()
    }
}

/// A shared word of somebody else: load it once, into a local, and check the local.
pub(crate) struct Peer<T> {
    word: *const T,
    /// Keeps the memory mapped.
    region: Arc<Region>,
}

// SAFETY: a `Peer` gives nothing but shared access to an atomic in a `Region`, which is `Sync`.
unsafe impl<T: Word> Send for Peer<T> {}
// SAFETY: as above.
unsafe impl<T: Word> Sync for Peer<T> {}

impl<T> Clone for Peer<T> {
    fn clone(&self) -> Peer<T> {
        Peer { word: self.word, region: Arc::clone(&self.region) }
    }
}

impl<T: Word> Peer<T> {
    #[inline(always)]
    fn get(&self) -> &T {
        // SAFETY: I8: `locate` checked bounds and alignment, and `region` keeps the memory mapped.
        unsafe { &*self.word }
    }
}

impl Peer<AtomicU64> {
    /// The word as it is, ordering nothing.
    #[inline(always)]
    pub(crate) fn load(&self) -> u64 {
        // ORDERING(hint): the callers check what they get, and order it themselves where they need to.
        self.get().load(Ordering::Relaxed)
    }

    /// The word, and with it everything that was stored before it with Release.
    #[inline(always)]
    pub(crate) fn load_acquire(&self) -> u64 {
        // ORDERING(reclaim, close, attach): whichever word it is.
        load_acquire(self.get())
    }
}

impl Peer<AtomicU32> {
    /// The word as it is, ordering nothing.
    #[inline(always)]
    pub(crate) fn load(&self) -> u32 {
        // ORDERING(hint): as above.
        self.get().load(Ordering::Relaxed)
    }

    /// The word itself, to sleep on or to wake. It may be read-only: the kernel does not mind.
    pub(crate) fn futex(&self) -> &AtomicU32 {
        self.get()
    }
}

/// A place in shared memory, addressed by positions that count on for ever.
///
/// Any position is in bounds: it is reduced to an offset by a mask. That is what makes these methods safe to call
/// with numbers that came from somebody else.
pub(crate) struct Window {
    base: Cell<*mut u8>,
    /// The place's window less 8: clears the bits above it and the three below a word.
    mask: Cell<u64>,
    region: Arc<Region>,
}

// SAFETY: a `Window` reaches a `Region`, which is `Sync`, through atomics and `copy` alone; its own cells move with it.
unsafe impl Send for Window {}

impl Window {
    /// Looks at another place.
    pub(crate) fn turn_to(&self, place: &Place) {
        assert!(place.window.is_power_of_two() && place.window >= 8 && place.offset.is_multiple_of(8));
        assert!(place.offset.checked_add(place.window).is_some_and(|end| end <= self.region.len as u64));
        // SAFETY: I8: just checked to lie inside the region.
        self.base.set(unsafe { self.region.base.add(place.offset as usize) });
        self.mask.set(place.window - 8);
    }

    /// Another window on the same region.
    pub(crate) fn another(&self, place: &Place) -> Window {
        self.region.window(place)
    }

    /// Bytes from `position` to the end of the window.
    #[inline(always)]
    fn until_end(&self, position: u64) -> u64 {
        let window = self.mask.get() + 8;
        window - (position & (window - 1))
    }

    /// The word at `position`. For storing, the region must be writable (I1).
    #[inline(always)]
    pub(crate) fn word(&self, position: u64) -> &AtomicU64 {
        // SAFETY: I8: the mask leaves a multiple of 8 that is at most `capacity - 8`.
        unsafe { &*self.at(position).cast() }
    }

    /// Where the byte at `position` lies. The caller must not go past the end of the window from there.
    #[inline(always)]
    pub(crate) fn at(&self, position: u64) -> *mut u8 {
        // SAFETY: I8: the masked offset lies inside the window, which lies inside the region.
        unsafe { self.base.get().add((position & self.mask.get()) as usize) }
    }

    /// The payload behind the word at `position`, wherever the window turns afterwards.
    #[inline(always)]
    pub(crate) fn payload(&self, position: u64) -> Payload {
        // SAFETY: I8: behind the last word of the window is its end, where an empty payload may lie.
        Payload(unsafe { self.at(position).add(8) })
    }

    /// Asks for the cache line at `position` to become ours alone. A hint; touches nothing.
    #[inline(always)]
    pub(crate) fn prefetch_for_write(&self, position: u64) {
        // SAFETY: a prefetch neither faults nor changes anything. (The intrinsic for this one turns into a prefetch for
        // reading where the target is not said to have PRFCHW; processors without it take this for a no-op.)
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        unsafe {
            std::arch::asm!("prefetchw [{0}]", in(reg) self.at(position), options(nostack, preserves_flags));
        }
        // SAFETY: as above.
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        unsafe {
            std::arch::asm!("prfm pstl1keep, [{0}]", in(reg) self.at(position), options(nostack, preserves_flags));
        }
        #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
        let _ = position;
    }

    /// Asks for the cache line at `position`, for reading. A hint; touches nothing.
    #[inline(always)]
    pub(crate) fn prefetch_for_read(&self, position: u64) {
        // SAFETY: a prefetch neither faults nor changes anything.
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        unsafe {
            std::arch::asm!("prefetcht0 [{0}]", in(reg) self.at(position), options(nostack, preserves_flags, readonly));
        }
        // SAFETY: as above.
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) self.at(position), options(nostack, preserves_flags, readonly));
        }
        #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
        let _ = position;
    }

    /// Clears the [`LINE`] bytes from `position` on.
    ///
    /// # Safety
    /// They are the caller's to write, and the window does not end before them.
    #[inline(always)]
    pub(crate) unsafe fn clear_line(&self, position: u64) {
        debug_assert!(self.region.writable && LINE <= self.until_end(position));
        // SAFETY: I8 and the caller's contract.
        unsafe { copy::clear_line(self.at(position)) }
    }

    /// Copies bytes in. `position` is a multiple of 8.
    ///
    /// # Safety
    /// There are at most `until_end(position)` bytes: whoever claimed the room has checked that.
    #[inline(always)]
    pub(crate) unsafe fn copy_in(&self, position: u64, bytes: &[u8]) {
        debug_assert!(self.region.writable && position.is_multiple_of(8));
        debug_assert!(bytes.len() as u64 <= self.until_end(position));
        // SAFETY: I8 and the caller's contract; the ring's end is a multiple of 8, so rounding up fits too.
        unsafe { copy::copy_in(self.at(position), bytes.as_ptr(), bytes.len()) }
    }
}

/// Where a payload lies. Aligned to 8.
#[derive(Clone, Copy)]
pub(crate) struct Payload(*mut u8);

impl Payload {
    /// Where its first byte lies.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *const u8 {
        self.0
    }

    /// Copies `len` bytes from `at` (a multiple of 8) on to `to`.
    ///
    /// # Safety
    /// `to` is valid for writing `len` bytes, the payload is at least `at + len` long, and its region is still mapped:
    /// whoever found the record has checked that, and the way of a message is the wrong place to check it twice.
    #[inline(always)]
    pub(crate) unsafe fn copy_out(self, at: usize, to: *mut u8, len: usize) {
        debug_assert!(at.is_multiple_of(8));
        // SAFETY: the caller's contract.
        unsafe { copy::copy_out(to, self.0.add(at), len) }
    }
}
