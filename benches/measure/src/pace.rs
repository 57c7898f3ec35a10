//! Sending at a rate, without letting the receiver's trouble hide itself.

use crate::Clock;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::time::Duration;

/// How a sender passes the time until its next message is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Looks at the clock: exact, and a whole processor.
    Spin,
    /// Sleeps, and lets others work. Ask the kernel for no slack with [`no_slack`] first.
    Sleep,
}

/// When each message is due.
#[derive(Debug, Clone)]
pub struct Pace {
    next_ns: u64,
    interval_ns: u64,
    rest: Rest,
}

impl Pace {
    /// The first message is due at `start_ns` of [`Clock::monotonic_ns`], and one every `interval_ns` from there on.
    pub fn new(start_ns: u64, interval_ns: u64, rest: Rest) -> Pace {
        Pace { next_ns: start_ns, interval_ns, rest }
    }

    /// Waits until the next message is due, and returns the time from which its delay counts: when the sender was ready to
    /// send, or when it should have been if sending the one before took too long (coordinated omission).
    pub fn wait(&mut self) -> u64 {
        let due = self.next_ns;
        self.next_ns += self.interval_ns;
        let mut now = Clock::monotonic_ns();
        if now >= due {
            return due;
        }
        while now < due {
            match self.rest {
                Rest::Spin => std::hint::spin_loop(),
                // What a signal cuts short is gone into again.
                Rest::Sleep => drop(clock_nanosleep(
                    ClockId::CLOCK_MONOTONIC,
                    ClockNanosleepFlags::TIMER_ABSTIME,
                    &Duration::from_nanos(due).into(),
                )),
            }
            now = Clock::monotonic_ns();
        }
        now
    }
}

/// Asks the kernel to end this thread's sleeps when they are over, and not up to 50 µs later.
pub fn no_slack() {
    // What cannot be had makes the senders less exact; their messages carry the true time.
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_is_told_when_the_message_was_due() {
        let start = Clock::monotonic_ns();
        let mut late = Pace::new(start - 1_000_000, 10, Rest::Spin);
        assert_eq!(late.wait(), start - 1_000_000);
        assert_eq!(late.wait(), start - 1_000_000 + 10);
        for rest in [Rest::Spin, Rest::Sleep] {
            let due = Clock::monotonic_ns() + 200_000;
            assert!(Pace::new(due, 1, rest).wait() >= due);
        }
    }
}
