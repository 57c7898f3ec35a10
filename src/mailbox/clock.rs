//! One clock for all: nanoseconds since the host's boot, with the time it slept. It does not jump when somebody sets the
//! time, and it is the same in every time namespace.

use crate::sys::host;
use std::sync::OnceLock;
use std::time::Duration;

/// The clock, for one handle.
#[derive(Debug)]
pub(super) struct Clock {
    clock: host::BootClock,
    /// What this process's time namespace adds.
    offset: i64,
}

impl Clock {
    pub(super) fn new() -> Clock {
        static OFFSET: OnceLock<i64> = OnceLock::new();
        Clock { clock: host::BootClock::new(), offset: *OFFSET.get_or_init(host::boottime_offset_ns) }
    }

    /// Nanoseconds since the boot.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.now().wrapping_add_signed(-self.offset)
    }
}

/// The time that is so far from another; as late as can be said when there is no such time.
pub(super) fn after(time: u64, span: Duration) -> u64 {
    time.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// From one time to a later one; nothing when it is not later.
pub(super) fn between(earlier: u64, later: u64) -> Duration {
    Duration::from_nanos(later.saturating_sub(earlier))
}
