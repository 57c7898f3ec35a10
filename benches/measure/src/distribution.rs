//! How long something took, as a whole distribution.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Nanoseconds, kept to three digits, up to a minute. Goes from process to process as its [`buckets`](Self::buckets).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Distribution {
    histogram: Histogram<u64>,
}

const MOST_NS: u64 = 60_000_000_000;

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution::new()
    }
}

impl Distribution {
    /// An empty one. Allocates what it will ever need.
    pub fn new() -> Distribution {
        Distribution { histogram: Histogram::new_with_bounds(1, MOST_NS, 3).expect("the bounds are legal") }
    }

    /// Counts one duration; what is longer than a minute counts as a minute.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(1));
    }

    /// As [`record`](Self::record), for somebody who sends every `interval_ns` and waits for each answer: what took longer
    /// kept others from being sent at all, and they count as having waited too (coordinated omission; Gil Tene's correction).
    #[inline]
    pub fn record_corrected(&mut self, ns: u64, interval_ns: u64) {
        let ns = ns.clamp(1, MOST_NS);
        self.histogram.record_correct(ns, interval_ns).expect("it is within the bounds");
    }

    /// Counts everything that another has counted.
    pub fn add(&mut self, other: &Distribution) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.histogram.reset();
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The duration that so many of a hundred do not exceed, nanoseconds.
    pub fn at(&self, percent: f64) -> u64 {
        self.histogram.value_at_percentile(percent)
    }

    /// The same, as if what was counted had been spread evenly around each value that occurs: some processors' counters go
    /// on in steps of 10 ns, and a ratio of two such numbers would jump.
    pub fn estimate(&self, percent: f64) -> f64 {
        let wanted = self.count() as f64 * percent / 100.0;
        let (mut below, mut before) = (0, None);
        let mut buckets = self.buckets().peekable();
        while let Some((value, count)) = buckets.next() {
            if (below + count) as f64 >= wanted {
                let edge = |other: u64| (value + other) as f64 / 2.0;
                let low = before.map_or(value as f64, edge);
                let high = buckets.peek().map_or(value as f64, |(next, _)| edge(*next));
                return low + (high - low) * (wanted - below as f64) / count as f64;
            }
            below += count;
            before = Some(value);
        }
        0.0
    }

    /// The usual ones.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.count(),
            mean_ns: self.histogram.mean(),
            p50_ns: self.at(50.0),
            p90_ns: self.at(90.0),
            p99_ns: self.at(99.0),
            p999_ns: self.at(99.9),
            p9999_ns: self.at(99.99),
            max_ns: self.histogram.max(),
        }
    }

    /// What was counted, bucket by bucket: the upper end of each that is not empty, nanoseconds, and how many are in it.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }
}

impl From<Vec<(u64, u64)>> for Distribution {
    fn from(buckets: Vec<(u64, u64)>) -> Distribution {
        let mut distribution = Distribution::new();
        buckets.into_iter().for_each(|(ns, count)| distribution.histogram.saturating_record_n(ns.max(1), count));
        distribution
    }
}

impl From<Distribution> for Vec<(u64, u64)> {
    fn from(distribution: Distribution) -> Vec<(u64, u64)> {
        distribution.buckets().collect()
    }
}

/// The usual percentiles of a [`Distribution`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were counted.
    pub count: u64,
    /// The mean, nanoseconds.
    pub mean_ns: f64,
    /// The median, nanoseconds.
    pub p50_ns: u64,
    /// 90 of 100 took no longer, nanoseconds.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1,000.
    pub p999_ns: u64,
    /// 9,999 of 10,000.
    pub p9999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let mut distribution = Distribution::new();
        (1..=1000).for_each(|ns| distribution.record(ns));
        let found = distribution.percentiles();
        assert_eq!((found.count, found.p50_ns, found.p99_ns, found.max_ns), (1000, 500, 990, 1000));
        assert_eq!(distribution.buckets().map(|(_, count)| count).sum::<u64>(), 1000);
    }

    #[test]
    fn what_a_stall_kept_from_being_sent_is_counted_too() {
        let mut distribution = Distribution::new();
        distribution.record_corrected(1000, 100);
        assert_eq!(distribution.count(), 10);
        assert_eq!(distribution.at(50.0), 500);
    }

    #[test]
    fn an_estimate_lies_between_the_steps_of_the_clock() {
        let mut distribution = Distribution::new();
        for (ns, count) in [(60, 10), (70, 60), (80, 30)] {
            (0..count).for_each(|_| distribution.record(ns));
        }
        assert_eq!(distribution.at(50.0), 70);
        assert!((distribution.estimate(50.0) - (65.0 + 10.0 * 40.0 / 60.0)).abs() < 1e-9);
        assert_eq!(Distribution::new().estimate(50.0), 0.0);
    }

    #[test]
    fn its_buckets_are_all_of_it() {
        let mut distribution = Distribution::new();
        (1..=1000u64).for_each(|number| distribution.record(number * number));
        let again = Distribution::from(distribution.buckets().collect::<Vec<_>>());
        let (here, there) = (distribution.percentiles(), again.percentiles());
        assert_eq!(
            (here.count, here.p50_ns, here.p9999_ns, here.max_ns),
            (1000, there.p50_ns, there.p9999_ns, there.max_ns)
        );
        distribution.clear();
        assert_eq!(distribution.count(), 0);
    }

    #[test]
    fn nothing_is_too_long_or_too_short() {
        let mut distribution = Distribution::new();
        distribution.record(0);
        distribution.record(u64::MAX);
        distribution.record_corrected(u64::MAX, MOST_NS);
        assert_eq!(distribution.count(), 3);
    }
}
