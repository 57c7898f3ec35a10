//! Ending the wait of a receiver from another thread of its process.

use super::receiver::Receiver;
use crate::bell::Ringer;
use crate::layout;
use crate::sync::{AtomicU32, Ordering};
use std::sync::Arc;

/// 1 when another thread has asked that this one's wait end.
#[derive(Debug, Default)]
pub(super) struct Interrupted(Arc<AtomicU32>);

impl Interrupted {
    /// Whether the wait is to end.
    pub(super) fn is_set(&self) -> bool {
        // ORDERING(dekker): the heavy fence before a sleep came between our count and this; the light one in `interrupt`
        // comes between the store and the look at our count.
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// What ends a wait; made by [`Receiver::interrupter`].
pub(crate) struct Interrupter {
    interrupted: Arc<AtomicU32>,
    ringer: Ringer,
}

impl Interrupter {
    /// Ends the wait, or the next one.
    pub(crate) fn interrupt(&self) {
        // ORDERING(dekker): before the look at the count, by the light fence.
        self.interrupted.store(1, Ordering::Relaxed);
        self.ringer.ring_if_asleep();
    }
}

impl Receiver {
    /// What ends a wait of this receiver, or the next one, from another thread: as if the time had run out, but that
    /// [`was_interrupted`](Self::was_interrupted) says so.
    pub(crate) fn interrupter(&self) -> Interrupter {
        let sleeps = self.memory.peer(layout::receiver::SLEEPS);
        let (seq, rung_at) = (self.bell.own(layout::bell::SEQ), self.bell.own(layout::bell::RUNG_AT));
        let ringer = Ringer::new(sleeps, seq, rung_at, self.sleeper.fences());
        Interrupter { interrupted: Arc::clone(&self.interrupted.0), ringer }
    }

    /// Whether another thread has ended a wait. Says so once.
    pub(crate) fn was_interrupted(&self) -> bool {
        // ORDERING(hint): relaxed; what the other has to say it says by other means.
        self.interrupted.0.swap(0, Ordering::Relaxed) != 0
    }
}
