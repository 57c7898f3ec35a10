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
            // ORDERING(dekker): as above, for the compiler; the processor's is made by the heavy fence of the other side.
            compiler_fence(Ordering::SeqCst);
        }
    }

    /// Orders this thread's earlier stores before its later loads against every [`light`](Self::light) fence of the
    /// others. False when the kernel refused: then a wake-up can be missed, and the caller must sleep only briefly.
    pub(crate) fn heavy(self) -> bool {
        // ORDERING(dekker): the store of `sleeps`, before the last look at everything.
        fence(Ordering::SeqCst);
        // ORDERING(dekker): and the fence of all whose light one is for the compiler.
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
        // ORDERING(dekker): the heavy fences of others reach this process from here on.
        membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    })
}

fn membarrier(command: libc::c_int) -> bool {
    if cfg!(miri) {
        return false;
    }
    if cfg!(laneway_loom) {
        // What it makes the others execute stands in their light fences.
        return true;
    }
    // SAFETY: membarrier takes two integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0u32) == 0 }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU32, spin_hint};
    use crossbeam_utils::CachePadded;
    use std::thread;

    /// What the kernel says: a heavy fence takes so long that the processor would not show it.
    #[test]
    fn a_process_whose_light_fence_is_for_the_compiler_is_registered() {
        // MEMBARRIER_CMD_GET_REGISTRATIONS, since Linux 6.3; the libc crate does not name it.
        const GET_REGISTRATIONS: libc::c_int = 1 << 9;
        let fences = Fences::new(FenceMode::Asymmetric);
        // SAFETY: as in `membarrier`.
        let registrations = unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0u32) };
        if registrations < 0 {
            eprintln!("this kernel does not say what is registered");
            return;
        }
        let registered = registrations & i64::from(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0;
        assert!(registered || fences.light_is_full);
    }

    /// Store buffering, on this processor: what `membarrier` does is for no model to say.
    #[test]
    fn a_fence_for_the_compiler_and_a_heavy_one_let_no_two_miss_each_other() {
        const ROUNDS: u32 = 5_000;
        let fences = Fences::new(best_mode());
        let words: Vec<[CachePadded<AtomicU32>; 2]> = (0..ROUNDS).map(|_| Default::default()).collect();
        let arrived = AtomicU32::new(0);
        let misses = |ours: usize, fence: &dyn Fn()| -> Vec<bool> {
            let rounds = words.iter().zip(0..).map(|(words, round)| {
                // The line that the other one is going to store to is here: its store waits, and its load need not.
                words[1 - ours].fetch_add(0, Ordering::SeqCst);
                arrived.fetch_add(1, Ordering::SeqCst);
                for looks in 0.. {
                    if arrived.load(Ordering::SeqCst) >= 2 * (round + 1) {
                        break;
                    }
                    if looks < 1000 { spin_hint() } else { thread::yield_now() }
                }
                words[ours].store(1, Ordering::Relaxed);
                fence();
                words[1 - ours].load(Ordering::Relaxed) == 0
            });
            rounds.collect()
        };
        let [light, heavy] = thread::scope(|scope| {
            let light = scope.spawn(|| misses(0, &|| fences.light()));
            let heavy = misses(1, &|| assert!(fences.heavy()));
            [light.join().unwrap(), heavy]
        });
        assert!(!light.into_iter().zip(heavy).any(|missed| missed == (true, true)));
    }
}
