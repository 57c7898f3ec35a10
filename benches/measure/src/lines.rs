//! The raw round trip of two cache lines: what no message can beat, and the probe that says in which regime we are.

use crate::{Between, Clock, Shared};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How far a line travels depends on where it happens to lie, so there are several pairs, used one after the other.
const PAIRS: u64 = 64;
/// From one pair to the next; the two lines of a pair lie 128 bytes apart, or a prefetcher would fetch both.
const STRIDE: usize = 1024;
/// Round trips of a probe: a millisecond or two.
pub const PROBE_TRIPS: u64 = 6_400;

/// One side of a raw ping-pong: a number goes over on one cache line and comes back on another, with the spin hint. Both
/// sides play the same numbers of trips in the same order.
#[derive(Debug)]
pub struct Lines<'a> {
    memory: &'a Shared,
    leads: bool,
    between: Between,
    turn: u64,
}

impl<'a> Lines<'a> {
    /// Bytes of [`Shared`] memory, all zero, that both sides need.
    pub const LEN: usize = PAIRS as usize * STRIDE;

    /// The side that sends first and keeps the time, or the other.
    pub fn new(memory: &'a Shared, leads: bool) -> Lines<'a> {
        Lines { memory, leads, between: Between::default(), turn: 0 }
    }

    /// The same, with this between two looks.
    pub fn with(self, between: Between) -> Lines<'a> {
        Lines { between, ..self }
    }

    /// The usual probe: nanoseconds for a round trip.
    pub fn probe(&mut self) -> f64 {
        self.time(PROBE_TRIPS).as_nanos() as f64 / PROBE_TRIPS as f64
    }

    /// How long so many trips take.
    pub fn time(&mut self, trips: u64) -> Duration {
        let start = Instant::now();
        self.trips(trips, |_| ());
        start.elapsed()
    }

    /// So many trips, each timed: `record` gets its nanoseconds on the leading side, and 0 on the other.
    pub fn timed_trips(&mut self, trips: u64, clock: &Clock, mut record: impl FnMut(u64)) {
        let mut start = clock.stamp();
        self.trips(trips, |_| {
            let end = clock.stamp();
            record(clock.between(start, end));
            start = clock.stamp();
        });
    }

    /// So many trips; `done` is called after each.
    #[inline(always)]
    fn trips(&mut self, trips: u64, mut done: impl FnMut(u64)) {
        for trip in 0..trips {
            let pair = (trip * PAIRS / trips) as usize;
            let (there, back) = (self.memory.word(pair * STRIDE), self.memory.word(pair * STRIDE + 128));
            let (write, read) = if self.leads { (there, back) } else { (back, there) };
            self.turn += 1;
            if self.leads {
                write.store(self.turn, Ordering::Release);
            }
            while read.load(Ordering::Acquire) != self.turn {
                self.between.looks();
            }
            if !self.leads {
                write.store(self.turn, Ordering::Release);
            }
            done(trip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Distribution;

    #[test]
    fn both_sides_play_the_same_trips() {
        let memory = Shared::anonymous(Lines::LEN).expect("memory");
        let mut times = Distribution::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut lines = Lines::new(&memory, false);
                lines.time(100);
                lines.timed_trips(100, &Clock::new(), |_| ());
            });
            let mut lines = Lines::new(&memory, true);
            assert!(!lines.time(100).is_zero());
            lines.timed_trips(100, &Clock::new(), |ns| times.record(ns));
        });
        assert_eq!(times.count(), 100);
        assert!(times.at(50.0) > 1);
    }
}
