//! Time stamps that cost little and that two processes can compare.

use std::time::Duration;

/// Nanoseconds, from the processor's own counter where it can be trusted and from `CLOCK_MONOTONIC` otherwise.
#[derive(Debug, Clone)]
pub struct Clock {
    clock: quanta::Clock,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

impl Clock {
    /// The first one in a process takes up to 200 ms, to compare the counter with the kernel's clock.
    pub fn new() -> Clock {
        Clock { clock: quanta::Clock::new() }
    }

    /// A stamp of no unit, of which only differences within this process mean anything. About 10 ns.
    #[inline(always)]
    pub fn stamp(&self) -> u64 {
        self.clock.raw()
    }

    /// Nanoseconds between two stamps.
    #[inline(always)]
    pub fn between(&self, from: u64, to: u64) -> u64 {
        self.clock.delta_as_nanos(from, to)
    }

    /// `CLOCK_MONOTONIC`, nanoseconds: the same for all processes of a host, and what a message carries. About 25 ns.
    #[inline]
    pub fn monotonic_ns() -> u64 {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        now.as_nanos() as u64
    }
}
