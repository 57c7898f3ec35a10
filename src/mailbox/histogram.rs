//! How long something took, counted in classes: four to each power of two of nanoseconds.

use crate::layout::ledger::HISTOGRAM_CLASSES;
use std::time::Duration;

/// The class of a time: four to each power of two.
pub(super) fn class(nanos: u64) -> usize {
    match nanos {
        0..4 => nanos as usize,
        _ => {
            let power = 63 - nanos.leading_zeros();
            4 * (power as usize - 1) + (nanos >> (power - 2) & 3) as usize
        }
    }
}

/// The longest time of a class.
fn longest(class: usize) -> u64 {
    match class {
        0..4 => class as u64,
        _ => {
            let (power, quarter) = (class / 4 + 1, (class % 4) as u128);
            u64::try_from(((4 + quarter + 1) << (power - 2)) - 1).unwrap_or(u64::MAX)
        }
    }
}

/// How long messages took, as whoever handed them out counted: classes of which the longest time is a quarter more than the shortest
/// at most, and the sum of all times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    classes: Vec<u64>,
    sum: Duration,
}

impl Histogram {
    pub(super) fn new(classes: Vec<u64>, sum: Duration) -> Histogram {
        debug_assert_eq!(classes.len(), HISTOGRAM_CLASSES);
        Histogram { classes, sum }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        // What is counted is hearsay.
        self.classes.iter().copied().fold(0, u64::saturating_add)
    }

    /// All times together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many took less than `limit`, of which it is certain: those of the classes that end below it. That is all of them when the
    /// limit is a power of two of nanoseconds, or 5, 6 or 7 quarters of one.
    pub fn below(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        // The class of the limit itself is the first that may reach it.
        self.classes.iter().take(class(limit)).copied().fold(0, u64::saturating_add)
    }

    /// So many in a hundred took at most so long; none when nothing was counted.
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let total = self.count();
        // The first class with which at least so many are counted.
        let wanted = (u128::from(total) * u128::from(percent.min(100))).div_ceil(100) as u64;
        let mut seen = 0_u64;
        let reaches = |messages: &u64| {
            seen = seen.saturating_add(*messages);
            seen >= wanted
        };
        let class = self.classes.iter().position(reaches).filter(|_| total > 0)?;
        Some(Duration::from_nanos(longest(class)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_and_hold_what_belongs_to_them() {
        for class_number in 0..HISTOGRAM_CLASSES - 5 {
            assert_eq!(class(longest(class_number)), class_number);
            assert_eq!(class(longest(class_number) + 1), class_number + 1);
        }
        assert_eq!(class(u64::MAX), HISTOGRAM_CLASSES - 5);
        assert_eq!(longest(class(u64::MAX)), u64::MAX);
        let (time, longest) = (1_000_000, longest(class(1_000_000)));
        assert!(longest >= time && longest < time + time / 4, "{longest}");
    }

    #[test]
    fn what_took_less_than_a_power_of_two_is_counted_exactly() {
        let mut classes = vec![0; HISTOGRAM_CLASSES];
        let times = [0, 1, 3, 4, 1023, 1024, 1025, 1279, 1280, 1 << 20, u64::MAX];
        times.iter().for_each(|time| classes[class(*time)] += 1);
        let histogram = Histogram::new(classes, Duration::ZERO);
        let bounds = (0..63).map(|power| 1_u64 << power).chain([1280, 1536, 1792, u64::MAX]);
        for bound in bounds {
            let expected = times.iter().filter(|time| **time < bound).count() as u64;
            assert_eq!(histogram.below(Duration::from_nanos(bound)), expected, "{bound}");
        }
        assert_eq!(histogram.count(), times.len() as u64);
        assert_eq!(histogram.percentile(100), Some(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn counts_that_nobody_can_have_counted_are_no_panic() {
        let histogram = Histogram::new(vec![u64::MAX; HISTOGRAM_CLASSES], Duration::MAX);
        assert_eq!(histogram.count(), u64::MAX);
        assert!(histogram.percentile(99).is_some() && histogram.below(Duration::MAX) == u64::MAX);
    }
}
