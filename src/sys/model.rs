//! What loom uses in place of the kernel: a lock for every futex, and a clock that stands.

use crate::sync::Ordering;

pub(crate) mod futex {
    use super::Ordering;
    use crate::sync::AtomicU32;
    use loom::sync::{Condvar, Mutex};
    use std::sync::Arc;
    use std::time::Duration;

    /// What the kernel keeps for one word: a lock, and those who sleep on it.
    #[derive(Default)]
    struct Bucket {
        lock: Mutex<()>,
        sleepers: Condvar,
    }

    // The table's own lock is not loom's: it must not order anything.
    loom::lazy_static! {
        static ref BUCKETS: std::sync::Mutex<Vec<(usize, Arc<Bucket>)>> = std::sync::Mutex::default();
    }

    /// The bucket of a word. Each word has its own: a wake-up of another word's sleepers would hide a lost one.
    fn bucket(word: &AtomicU32) -> Arc<Bucket> {
        let address = std::ptr::from_ref(word).addr();
        let mut buckets = BUCKETS.lock().unwrap();
        if let Some((_, bucket)) = buckets.iter().find(|(of, _)| *of == address) {
            return Arc::clone(bucket);
        }
        let bucket = Arc::<Bucket>::default();
        buckets.push((address, Arc::clone(&bucket)));
        bucket
    }

    /// Called before there are threads: otherwise the first to sleep would synchronise with all who come after.
    pub(crate) fn boot() {
        drop(BUCKETS.lock().unwrap());
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Wait {
        Woken,
        Changed,
        #[allow(dead_code, reason = "time stands still in a model: a lost wake-up must hang it")]
        Expired,
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _limit: Duration) -> Wait {
        let bucket = bucket(word);
        let guard = bucket.lock.lock().unwrap();
        // ORDERING(kernel): the kernel compares under its own lock; relaxed takes no more than that.
        if word.load(Ordering::Relaxed) != expected {
            return Wait::Changed;
        }
        drop(bucket.sleepers.wait(guard).unwrap());
        Wait::Woken
    }

    pub(crate) fn wake_all(word: &AtomicU32) {
        let bucket = bucket(word);
        let _guard = bucket.lock.lock().unwrap();
        bucket.sleepers.notify_all();
    }
}

pub(crate) mod host {
    pub(crate) fn monotonic_ns() -> u64 {
        0
    }
}
