//! The book of a measurement: its pieces, each beside its limit, and what they say together.

use laneway_measure::Distribution;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was measured, as it travels from the process that did to the launcher.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Pieces that count.
    pub(super) pieces: usize,
    /// Pieces that do not: the machine changed in their middle.
    pub(super) thrown: usize,
    /// It changed in the middle of each, so that all of them had to count.
    pub(super) is_mixed: bool,
    pub(super) values: Values,
    pub(super) limit: Option<Values>,
    /// By name, one for each piece.
    pub(super) ratios: BTreeMap<String, Vec<f64>>,
}

/// One thing that was measured many times.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Values {
    /// Nanoseconds, each.
    Distribution(Distribution),
    /// A mean for each piece.
    Pieces(Vec<f64>),
}

/// A piece has to have so many for its own 99.9th percentile to say something.
const ENOUGH: u64 = 1_000;

impl Measured {
    /// Of durations that have no limit: they are one.
    pub(super) fn distribution(values: Distribution, pieces: usize) -> Measured {
        Measured { pieces, ..Measured::new(Values::Distribution(values), None) }
    }

    /// Of pieces that have no limit.
    pub(super) fn pieces(values: Vec<f64>) -> Measured {
        Measured { pieces: values.len(), ..Measured::new(Values::Pieces(values), None) }
    }

    fn new(values: Values, limit: Option<Values>) -> Measured {
        Measured { pieces: 0, thrown: 0, is_mixed: false, values, limit, ratios: BTreeMap::new() }
    }

    /// The same, of a limit whose own pieces stood in its place.
    pub(super) fn without_limit(self) -> Measured {
        Measured { limit: None, ratios: BTreeMap::new(), ..self }
    }

    fn enter(&mut self, ours: &Values, limit: &Values) {
        self.pieces += 1;
        let mut enter = |name: &str, ours: f64, limit: f64| {
            // What took no time at all is no limit.
            if limit > 0.0 {
                self.ratios.entry(name.to_owned()).or_default().push(ours / limit);
            }
        };
        match (ours, limit) {
            (Values::Distribution(ours), Values::Distribution(limit)) => {
                enter("p50", ours.estimate(50.0), limit.estimate(50.0));
                if ours.count().min(limit.count()) >= ENOUGH {
                    enter("p99.9", ours.at(99.9) as f64, limit.at(99.9) as f64);
                }
            }
            (Values::Pieces(ours), Values::Pieces(limit)) => {
                ours.iter().zip(limit).for_each(|(ours, limit)| enter("median", *ours, *limit));
            }
            _ => {}
        }
        self.values.add(ours);
        if let Some(sum) = &mut self.limit {
            sum.add(limit);
        }
    }
}

impl Values {
    fn add(&mut self, more: &Values) {
        match (self, more) {
            (Values::Distribution(sum), Values::Distribution(more)) => sum.add(more),
            (Values::Pieces(sum), Values::Pieces(more)) => sum.extend(more),
            _ => {}
        }
    }
}

/// Takes one piece after the other. Those in whose middle the machine changed are kept apart: they count only if there
/// are no others.
pub(super) struct Ledger {
    kept: Measured,
    mixed: Measured,
}

impl Ledger {
    /// For durations.
    pub(super) fn of_distributions() -> Ledger {
        Ledger::new(Values::Distribution(Distribution::new()))
    }

    /// For means.
    pub(super) fn of_pieces() -> Ledger {
        Ledger::new(Values::Pieces(Vec::new()))
    }

    fn new(none: Values) -> Ledger {
        let empty = Measured::new(none.clone(), Some(none));
        Ledger { kept: empty.clone(), mixed: empty }
    }

    /// A piece of durations, and what its limit took beside it; whether the machine was the same from beginning to end.
    pub(super) fn enter(&mut self, is_same: bool, ours: &Distribution, limit: &Distribution) {
        self.add(is_same, &Values::Distribution(ours.clone()), &Values::Distribution(limit.clone()));
    }

    /// The same, for means.
    pub(super) fn enter_mean(&mut self, is_same: bool, ours: f64, limit: f64) {
        self.add(is_same, &Values::Pieces(vec![ours]), &Values::Pieces(vec![limit]));
    }

    fn add(&mut self, is_same: bool, ours: &Values, limit: &Values) {
        let book = if is_same { &mut self.kept } else { &mut self.mixed };
        book.enter(ours, limit);
    }

    /// Whether a piece counts.
    pub(super) fn has_any(&self) -> bool {
        self.kept.pieces > 0
    }

    /// What all pieces say.
    pub(super) fn close(self) -> Measured {
        let Ledger { kept, mixed } = self;
        let thrown = mixed.pieces;
        let mut measured = match kept.pieces {
            0 => Measured { is_mixed: thrown > 0, ..mixed },
            _ => Measured { thrown, ..kept },
        };
        // Pieces too short for a percentile of their own have one together.
        if let (Values::Distribution(ours), Some(Values::Distribution(limit))) = (&measured.values, &measured.limit) {
            let together = ours.at(99.9) as f64 / limit.at(99.9).max(1) as f64;
            measured.ratios.entry("p99.9".to_owned()).or_insert_with(|| vec![together]);
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(ns: u64, count: usize) -> Distribution {
        let mut distribution = Distribution::new();
        (0..count).for_each(|_| distribution.record(ns));
        distribution
    }

    #[test]
    fn pieces_of_two_regimes_count_only_where_there_are_no_others() {
        let mut ledger = Ledger::of_pieces();
        ledger.enter_mean(false, 8.0, 1.0);
        assert!(!ledger.has_any());
        let mixed = ledger.close();
        assert_eq!((mixed.pieces, mixed.thrown, mixed.is_mixed), (1, 0, true));

        let mut ledger = Ledger::of_pieces();
        ledger.enter_mean(false, 8.0, 1.0);
        ledger.enter_mean(true, 3.0, 2.0);
        let kept = ledger.close();
        assert_eq!((kept.pieces, kept.thrown, kept.is_mixed), (1, 1, false));
        assert_eq!(kept.ratios["median"], [1.5]);
    }

    #[test]
    fn short_pieces_share_a_percentile_and_long_ones_have_their_own() {
        let mut short = Ledger::of_distributions();
        short.enter(true, &distribution(30, 10), &distribution(20, 10));
        short.enter(true, &distribution(60, 10), &distribution(20, 10));
        let measured = short.close();
        assert_eq!((&measured.ratios["p50"][..], &measured.ratios["p99.9"][..]), (&[1.5, 3.0][..], &[3.0][..]));

        let mut long = Ledger::of_distributions();
        long.enter(true, &distribution(30, 1000), &distribution(20, 1000));
        long.enter(true, &distribution(20, 1000), &distribution(20, 1000));
        assert_eq!(long.close().ratios["p99.9"], [1.5, 1.0]);
    }
}
