//! A histogram that travels as JSON and can be added to another.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Values and how often each was counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Tally(Vec<(u64, u64)>);

/// What is shown of a histogram, nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) mean_ns: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) max_ns: u64,
}

/// An hour is longer than anything here takes; three digits are more than anybody reads.
const LONGEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// A histogram for nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_NS, DIGITS).expect("the bounds are constant and in range")
}

impl From<&Histogram<u64>> for Tally {
    fn from(histogram: &Histogram<u64>) -> Tally {
        Tally(histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }
}

/// Everything in these tallies together.
pub(super) fn summary<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Summary {
    let mut all = histogram();
    for (value, count) in tallies.into_iter().flat_map(|tally| &tally.0) {
        all.saturating_record_n(*value, *count);
    }
    Summary {
        count: all.len(),
        mean_ns: all.mean() as u64,
        p50_ns: all.value_at_quantile(0.5),
        p99_ns: all.value_at_quantile(0.99),
        max_ns: all.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut few, mut many) = (histogram(), histogram());
        (1..=10).for_each(|value| few.saturating_record(value));
        (1..=990).for_each(|_| many.saturating_record(100));
        let all = summary([&Tally::from(&few), &Tally::from(&many)]);
        assert_eq!((all.count, all.p50_ns, all.p99_ns, all.max_ns), (1000, 100, 100, 100));
        assert_eq!(summary([]).count, 0);
    }
}
