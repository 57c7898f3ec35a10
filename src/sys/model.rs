//! What loom uses in place of the kernel: one lock around every futex, fences that are fences, a clock that stands.

use crate::sync::Ordering;

pub(crate) mod futex {
    use super::Ordering;
    use crate::sync::AtomicU32;
    use std::time::Duration;

    loom::lazy_static! {
        static ref KERNEL: (loom::sync::Mutex<()>, loom::sync::Condvar) =
            (loom::sync::Mutex::new(()), loom::sync::Condvar::new());
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Wait {
        Woken,
        Changed,
        #[allow(dead_code, reason = "time stands still in a model: a lost wake-up must hang it")]
        Expired,
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _limit: Duration) -> Wait {
        let guard = KERNEL.0.lock().unwrap();
        // ORDERING(kernel): the kernel compares under its own lock; relaxed takes no more than that.
        if word.load(Ordering::Relaxed) != expected {
            return Wait::Changed;
        }
        drop(KERNEL.1.wait(guard).unwrap());
        Wait::Woken
    }

    pub(crate) fn wake_all(_word: &AtomicU32) {
        let _guard = KERNEL.0.lock().unwrap();
        KERNEL.1.notify_all();
    }
}

pub(crate) mod fence {
    use super::Ordering;
    use crate::layout::FenceMode;

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Fences;

    impl Fences {
        pub(crate) fn new(_mode: FenceMode) -> Fences {
            Fences
        }

        pub(crate) fn light(self) {
            crate::sync::fence(Ordering::SeqCst);
        }

        pub(crate) fn heavy(self) -> bool {
            crate::sync::fence(Ordering::SeqCst);
            true
        }
    }
}

pub(crate) mod host {
    pub(crate) fn monotonic_ns() -> u64 {
        0
    }
}
