//! What many short pieces say together.

use serde::Serialize;

/// Pieces of two probes that are further apart than this are of two regimes.
const SAME_REGIME: f64 = 1.25;

/// Whether probes that stand around a piece agree with each other: then the host moved nothing in between.
pub fn same_regime(probes: &[f64]) -> bool {
    let (low, high) = probes.iter().fold((f64::MAX, 0.0f64), |(low, high), probe| (low.min(*probe), high.max(*probe)));
    high <= low * SAME_REGIME
}

/// The median of pieces, and their spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many pieces there were.
    pub pieces: usize,
    /// Half of them are not above it.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Summary {
    /// None where there are no pieces, or one is no number.
    pub fn of(pieces: &[f64]) -> Option<Summary> {
        if pieces.is_empty() || pieces.iter().any(|piece| piece.is_nan()) {
            return None;
        }
        let mut sorted = pieces.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Some(Summary { pieces: sorted.len(), median: at(0.5), low: at(0.25), high: at(0.75) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_quartiles() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(summary, Some(Summary { pieces: 5, median: 3.0, low: 2.0, high: 4.0 }));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
    }

    #[test]
    fn probes_that_disagree_are_of_two_regimes() {
        assert!(same_regime(&[120.0, 125.0, 149.0]));
        assert!(!same_regime(&[120.0, 125.0, 151.0]));
    }
}
