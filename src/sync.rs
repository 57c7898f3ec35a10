//! Atomics and fences, in one place, so that loom can take the place of the processor.
//!
//! Nothing else in this crate names `std::sync::atomic`. Under `--cfg laneway_loom` the types are loom's.
//!
//! Two words recur in comments next to every atomic operation:
//!
//! * `SAFETY:` says why an `unsafe` block is sound, citing an invariant of ARCHITECTURE.md (I1, I2, …);
//! * `ORDERING(edge):` says what an ordering is for. The same edge name stands at both ends of a pair.

#[cfg(not(laneway_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

#[cfg(laneway_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A compiler fence is a full one in the models: it stands where the kernel would make this thread execute one.
#[cfg(laneway_loom)]
pub(crate) use loom::sync::atomic::fence as compiler_fence;

/// Tells the processor that this is a spin loop (and loom that another thread must run).
#[inline(always)]
pub(crate) fn spin_hint() {
    #[cfg(not(laneway_loom))]
    std::hint::spin_loop();
    #[cfg(laneway_loom)]
    loom::thread::yield_now();
}

/// An acquire load of a word that may lie on a read-only page; 0 means "nothing yet" and acquires nothing.
///
/// The standard library promises only relaxed loads on read-only memory, so this is a relaxed load and, when there
/// is something to acquire, an acquire fence. On x86_64 neither costs anything.
#[inline(always)]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    // ORDERING(publish, reclaim): relaxed, because the fence below is what acquires.
    let value = word.load(Ordering::Relaxed);
    if value != 0 {
        // ORDERING(publish, reclaim): pairs with the Release store of the value just loaded.
        fence(Ordering::Acquire);
    }
    value
}
