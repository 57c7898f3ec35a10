//! What all pieces of a row say together: only those that were timed in one regime of the machine, and which.

use crate::outcome::{Outcome, Piece};
use crate::peer::Kind;
use crate::rows::{Entry, Run};
use laneway_measure::{Summary, same_regime};
use serde::Serialize;

/// How far apart the probes of two pieces may lie that are compared with each other. A little more than within a piece: the
/// three regimes of a machine are further apart.
const SAME_REGIME: f64 = 1.4;
/// Everybody's outcome of the same work.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// As the plan names it.
    pub(crate) name: String,
    /// The raw round trips between which its pieces lie, nanoseconds; none where no piece has probes that agree.
    pub(crate) regime: Option<(f64, f64)>,
    /// A cell for each peer, in the order of the plan.
    pub(crate) cells: Vec<Cell>,
}

/// One peer's outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) peer: &'static str,
    pub(crate) kind: Kind,
    /// What is to be known about how it does it.
    pub(crate) how: &'static str,
    /// Pieces that were run.
    pub(crate) run: usize,
    /// Those of the row's regime.
    pub(crate) kept: Vec<Piece>,
    /// Why there are fewer, or none: it cannot do this, or it failed.
    pub(crate) why: Option<String>,
}

/// The rows in the order of the plan.
pub(crate) fn rows(entries: &[Entry], outcomes: &[Vec<Outcome>]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (entry, outcomes) in entries.iter().zip(outcomes) {
        let at = rows.iter().position(|row| row.name == entry.row).unwrap_or_else(|| {
            rows.push(Row { name: entry.row.clone(), regime: None, cells: Vec::new() });
            rows.len() - 1
        });
        rows[at].cells.push(Cell::new(entry, outcomes));
    }
    rows.iter_mut().for_each(Row::choose_regime);
    rows
}

impl Cell {
    fn new(entry: &Entry, outcomes: &[Outcome]) -> Cell {
        let done = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Done(piece) => Some(piece.clone()),
            Outcome::Failed(_) => None,
        });
        let mut failed = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(why) => Some(why),
        });
        let failures = failed.clone().count();
        let why = match (entry.run, failed.next_back()) {
            (Run::Cannot(why), _) => Some(format!("cannot: {why}")),
            (Run::Absent(why), _) => Some(format!("not built: {why}")),
            (_, Some(why)) => Some(format!("{failures} of {} failed: {why}", outcomes.len())),
            (_, None) => None,
        };
        Cell { peer: entry.peer, kind: entry.kind, how: entry.how, run: outcomes.len(), kept: done.collect(), why }
    }

    /// The pieces' median and quartiles of a figure; none where there are no pieces, or the row has no such figure.
    pub(crate) fn summary(&self, figure: &str) -> Option<Summary> {
        let values: Vec<f64> = self.kept.iter().filter_map(|piece| piece.figures.get(figure).copied()).collect();
        Summary::of(&values)
    }

    /// The buckets of all pieces together, in order.
    pub(crate) fn buckets(&self) -> Vec<(u64, u64)> {
        let mut buckets = std::collections::BTreeMap::new();
        for (upper, count) in self.kept.iter().flat_map(|piece| &piece.buckets) {
            *buckets.entry(*upper).or_insert(0) += count;
        }
        buckets.into_iter().collect()
    }
}

impl Row {
    /// Keeps the pieces of the one regime in which most peers have enough of them.
    fn choose_regime(&mut self) {
        let found = |piece: &Piece| piece.probes.iter().sum::<f64>() / piece.probes.len() as f64;
        for cell in &mut self.cells {
            cell.kept.retain(|piece| !piece.probes.is_empty() && same_regime(&piece.probes));
        }
        let lows: Vec<f64> = self.cells.iter().flat_map(|cell| cell.kept.iter().map(found)).collect();
        let is_in = |low: f64, piece: &Piece| (low..=low * SAME_REGIME).contains(&found(piece));
        // A peer's second piece is worth half of its first, the third a third: rather some of everybody than all of one.
        let score = |low: f64| -> f64 {
            let of = |cell: &Cell| cell.kept.iter().filter(|piece| is_in(low, piece)).count();
            self.cells.iter().flat_map(|cell| 1..=of(cell)).map(|piece| 1.0 / piece as f64).sum()
        };
        let best = lows.iter().copied().max_by(|one, other| score(*one).total_cmp(&score(*other)));
        let Some(low) = best else { return };
        let high = lows.iter().copied().filter(|probe| *probe <= low * SAME_REGIME).fold(low, f64::max);
        for cell in &mut self.cells {
            cell.kept.retain(|piece| is_in(low, piece));
        }
        self.regime = Some((low, high));
    }

    /// The cell of a peer.
    pub(crate) fn of(&self, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }

    /// The one with the least median of a figure among those that are wanted.
    pub(crate) fn best(&self, figure: &str, wanted: impl Fn(&Cell) -> bool) -> Option<(&Cell, Summary)> {
        let found =
            self.cells.iter().filter(|cell| wanted(cell)).filter_map(|cell| Some((cell, cell.summary(figure)?)));
        found.min_by(|one, other| one.1.median.total_cmp(&other.1.median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(peer: &'static str, pieces: &[(f64, f64)]) -> Cell {
        let kept = pieces.iter().map(|(probe, ns)| Piece::whole(*ns, vec![*probe, *probe])).collect();
        Cell { peer, kind: Kind::Ring, how: "", run: pieces.len(), kept, why: None }
    }

    fn row(cells: Vec<Cell>) -> Row {
        let mut row = Row { name: "stream".to_owned(), regime: None, cells };
        row.choose_regime();
        row
    }

    #[test]
    fn a_regime_is_chosen_that_everybody_has() {
        let far = [(550.0, 9.0), (551.0, 9.0), (549.0, 9.0), (550.0, 9.0)];
        let usual = [(120.0, 5.0)];
        let row = row(vec![cell("one", &[&far[..], &usual].concat()), cell("other", &[(125.0, 7.0), (121.0, 6.0)])]);
        assert_eq!(row.regime, Some((120.0, 125.0)));
        assert_eq!(row.of("one").and_then(|cell| cell.summary("ns")).map(|found| found.median), Some(5.0));
        assert_eq!(row.best("ns", |cell| cell.peer != "one").map(|(_, found)| found.pieces), Some(2));
    }

    #[test]
    fn a_piece_whose_probes_disagree_says_nothing() {
        let mut cell = cell("one", &[(120.0, 5.0)]);
        cell.kept[0].probes = vec![120.0, 550.0];
        let row = row(vec![cell]);
        assert_eq!(row.regime, None);
        assert!(row.best("ns", |_| true).is_none());
    }
}
