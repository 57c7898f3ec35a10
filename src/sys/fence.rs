//! The two fences of the doorbell: a light one for whoever commits often, a heavy one for whoever is about to sleep.
//!
//! In [`FenceMode::Asymmetric`] the light one is for the compiler alone, and the heavy one is
//! `membarrier(GLOBAL_EXPEDITED)`, which runs a full fence on every processor that currently runs a registered
//! process. Each process therefore registers before its first commit. The pair orders like two full fences:
//! membarrier(2), and the argument in the kernel's `kernel/sched/membarrier.c`.
#![expect(unsafe_code, reason = "a system call without a wrapper")]

use crate::layout::FenceMode;
use crate::sync::{Ordering, compiler_fence, fence};
use std::sync::OnceLock;

/// This process's part in a queue's fences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fences {
    /// Use a full fence where a compiler fence would do: the queue's mode, or a process that could not register.
    light_is_full: bool,
    mode: FenceMode,
}

impl Fences {
    /// Joins in the given mode; registers this process with the kernel when the mode asks for it.
    pub(crate) fn new(mode: FenceMode) -> Fences {
        Fences { light_is_full: mode == FenceMode::Symmetric || !register(), mode }
    }

    /// Orders this thread's earlier stores before its later loads, as far as a [`heavy`](Self::heavy) fence of the
    /// other side can observe.
    #[inline(always)]
    pub(crate) fn light(self) {
        if self.light_is_full {
            // ORDERING(dekker): the store of a commit or of a read position, before the load of `sleeps`.
            fence(Ordering::SeqCst);
        } else {
            compiler_fence();
        }
    }

    /// Orders this thread's earlier stores before its later loads against every [`light`](Self::light) fence of the
    /// others. False when the kernel refused: then a wake-up can be missed, and the caller must sleep only briefly.
    pub(crate) fn heavy(self) -> bool {
        // ORDERING(dekker): the store of `sleeps`, before the last look at everything.
        fence(Ordering::SeqCst);
        self.mode == FenceMode::Symmetric || membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    }
}

/// The mode for a queue that is born here: asymmetric where the kernel offers it.
pub(crate) fn best_mode() -> FenceMode {
    if register() { FenceMode::Asymmetric } else { FenceMode::Symmetric }
}

/// Registers this process for the heavy fences of others, once. Takes about 9 ms in a process with threads.
fn register() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    })
}

fn membarrier(command: libc::c_int) -> bool {
    if cfg!(miri) {
        return false;
    }
    // SAFETY: membarrier takes two integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0u32) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU32;
    use std::thread;

    /// Store buffering. On x86_64 it takes luck to see a fence that is missing; Miri sees it in some of its orders.
    #[test]
    fn the_orderings_of_a_light_and_a_heavy_fence_let_no_two_miss_each_other() {
        let fences = Fences::new(FenceMode::Symmetric);
        for _ in 0..if cfg!(miri) { 20 } else { 200 } {
            let (ours, theirs) = (AtomicU32::new(0), AtomicU32::new(0));
            let missed = thread::scope(|scope| {
                let ringer = scope.spawn(|| {
                    ours.store(1, Ordering::Relaxed);
                    fences.light();
                    theirs.load(Ordering::Relaxed) == 0
                });
                theirs.store(1, Ordering::Relaxed);
                assert!(fences.heavy());
                let missed = ours.load(Ordering::Relaxed) == 0;
                missed && ringer.join().unwrap()
            });
            assert!(!missed);
        }
    }
}
