//! How often to look at what changes all the time.

use std::time::{Duration, Instant};

/// When the look is due after one that has just ended: no more than half of the time goes into looking.
pub(crate) fn next_look(began: Instant, every: Duration) -> Instant {
    began + every.max(2 * began.elapsed())
}
