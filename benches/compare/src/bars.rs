//! What laneway has to reach, and whether it did: ratios of medians within one row, and so within one regime.

use crate::peer::Kind;
use crate::results::{Cell, Row};
use laneway_measure::Summary;
use serde::Serialize;

/// Against whom.
#[derive(Debug, Clone, Copy)]
enum Rival {
    Limit,
    Ring,
    /// Any peer between processes.
    Process,
    SharedMemory,
    /// A peer whose receiver really sleeps.
    Sleeper,
    Anybody,
}

impl Rival {
    fn is(self, cell: &Cell) -> bool {
        match self {
            Rival::Limit => cell.kind == Kind::Limit,
            Rival::Ring => cell.kind == Kind::Ring,
            Rival::Process => cell.kind.crosses(),
            Rival::SharedMemory => cell.kind == Kind::SharedMemory,
            Rival::Sleeper => cell.kind == Kind::Kernel,
            Rival::Anybody => cell.kind == Kind::Ring || cell.kind.crosses(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Rival::Limit => "the limit",
            Rival::Ring => "the best between threads",
            Rival::Process => "the best between processes",
            Rival::SharedMemory => "the best over shared memory",
            Rival::Sleeper => "the best that really sleeps",
            Rival::Anybody => "the best of all",
        }
    }
}

/// What the ratio has to be.
#[derive(Debug, Clone, Copy)]
enum Bar {
    /// laneway's time over the other's.
    Time(f64),
    /// The same, and quartiles that reach the bar are enough.
    TimeWithinSpread(f64),
    /// laneway's throughput over the other's.
    Throughput(f64),
}

/// A bar, and what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) against: String,
    pub(crate) required: String,
    /// The ratio of the medians, and between which it lies by the quartiles; none where somebody has no figure.
    pub(crate) ratio: Option<(f64, f64, f64)>,
    pub(crate) verdict: &'static str,
}

const SPIN: &str = "laneway";
const PARK: &str = "laneway (park)";
const ADAPTIVE: &str = "laneway (adaptive)";

/// Row, figure, which laneway, against whom, what is required.
const BARS: &[(&str, &str, &str, Rival, Bar)] = &[
    ("round trip 8 B", "p50", SPIN, Rival::Limit, Bar::Time(1.0)),
    ("round trip 8 B", "p50", SPIN, Rival::Ring, Bar::Time(0.85)),
    ("round trip 8 B", "p50", SPIN, Rival::Process, Bar::TimeWithinSpread(1.0)),
    ("round trip 8 B", "p50", SPIN, Rival::Sleeper, Bar::Time(0.5)),
    ("round trip 8 B", "p99.9", SPIN, Rival::Limit, Bar::Time(1.5)),
    ("round trip 8 B", "p99.9", SPIN, Rival::Anybody, Bar::Time(0.9)),
    ("round trip 48 B", "p50", SPIN, Rival::Limit, Bar::Time(1.0)),
    ("round trip 48 B", "p50", SPIN, Rival::Ring, Bar::Time(0.85)),
    ("round trip 48 B", "p50", SPIN, Rival::Process, Bar::TimeWithinSpread(1.0)),
    ("round trip 48 B", "p50", SPIN, Rival::Sleeper, Bar::Time(0.5)),
    ("round trip 48 B", "p99.9", SPIN, Rival::Limit, Bar::Time(1.5)),
    ("round trip 48 B", "p99.9", SPIN, Rival::Anybody, Bar::Time(0.9)),
    ("stream 64 B", "ns", SPIN, Rival::Ring, Bar::Throughput(1.1)),
    ("stream 64 B", "ns", SPIN, Rival::Process, Bar::Throughput(1.4)),
    ("stream 8 B", "ns", SPIN, Rival::Ring, Bar::Throughput(0.7)),
    ("stream 8 B", "ns", SPIN, Rival::Process, Bar::Throughput(4.0)),
    ("batches of 64 x 8 B", "ns", SPIN, Rival::Ring, Bar::Throughput(0.5)),
    ("batches of 64 x 64 B", "ns", SPIN, Rival::Ring, Bar::Throughput(0.85)),
    ("batches of 64 x 64 B", "ns", SPIN, Rival::Process, Bar::Throughput(1.25)),
    ("slice of 64 x 8 B", "ns", SPIN, Rival::Ring, Bar::Throughput(1.0)),
    ("in place 1 KiB", "ns", SPIN, Rival::Anybody, Bar::Throughput(1.0)),
    ("in place 64 KiB", "ns", SPIN, Rival::Anybody, Bar::Throughput(1.0)),
    ("stream 64 KiB", "ns", SPIN, Rival::Limit, Bar::Throughput(0.8)),
    ("wake", "p50", PARK, Rival::Limit, Bar::TimeWithinSpread(1.1)),
    ("wake", "p50", ADAPTIVE, Rival::Limit, Bar::TimeWithinSpread(1.1)),
    ("fan-in of 4 x 20,000/s", "p99.9", ADAPTIVE, Rival::Anybody, Bar::Time(1.0)),
    ("fan-in of 4 x 20,000/s", "p99.9", ADAPTIVE, Rival::SharedMemory, Bar::Time(0.5)),
    ("fan-in of 4 x 20,000/s", "p99.9", SPIN, Rival::Anybody, Bar::Time(1.0)),
    ("fan-in of 4 x 20,000/s", "p99.9", SPIN, Rival::SharedMemory, Bar::Time(0.5)),
    ("fan-in of 4, 56 B", "ns", SPIN, Rival::Anybody, Bar::Throughput(1.5)),
];

/// All bars whose rows were run.
pub(crate) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let of = |(name, figure, ours, rival, bar): &(&str, &str, &'static str, Rival, Bar)| {
        let row = rows.iter().find(|row| row.name == *name)?;
        Some(verdict(row, figure, ours, *rival, *bar))
    };
    BARS.iter().filter_map(of).collect()
}

fn verdict(row: &Row, figure: &str, ours: &'static str, rival: Rival, bar: Bar) -> Verdict {
    let mine = row.of(ours).and_then(|cell| cell.summary(figure));
    let best = row.best(figure, |cell| rival.is(cell));
    let ratio = mine.zip(best).map(|(mine, (_, theirs))| match bar {
        Bar::Time(_) | Bar::TimeWithinSpread(_) => quotient(mine, theirs),
        Bar::Throughput(_) => quotient(theirs, mine),
    });
    let what = if figure == "ns" { row.name.clone() } else { format!("{}, {figure}", row.name) };
    Verdict {
        what: if ours == SPIN { what } else { format!("{what}, {ours}") },
        against: best.map_or_else(|| rival.name().to_owned(), |(cell, _)| format!("{}: {}", rival.name(), cell.peer)),
        required: match bar {
            Bar::Time(most) => format!("≤ {most}"),
            Bar::TimeWithinSpread(most) => format!("≤ {most}, or by the quartiles"),
            Bar::Throughput(least) => format!("≥ {least} of the throughput"),
        },
        ratio,
        verdict: match (ratio, bar) {
            (None, _) => "no figure",
            (Some((found, ..)), Bar::Time(most) | Bar::TimeWithinSpread(most)) if found <= most => "met",
            (Some((_, low, _)), Bar::TimeWithinSpread(most)) if low <= most => "met by the quartiles",
            (Some((found, ..)), Bar::Throughput(least)) if found >= least => "met",
            _ => "missed",
        },
    }
}

/// The ratio of the medians, the least and the greatest that the quartiles allow.
fn quotient(over: Summary, under: Summary) -> (f64, f64, f64) {
    (over.median / under.median, over.low / under.high, over.high / under.low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Piece;

    fn cell(peer: &'static str, kind: Kind, ns: [f64; 3]) -> Cell {
        let kept = ns.map(|ns| Piece::whole(ns, vec![120.0, 120.0])).to_vec();
        Cell { peer, kind, how: "", run: 3, kept, why: None }
    }

    fn verdict_of(bar: Bar) -> Verdict {
        let cells = vec![
            cell(SPIN, Kind::Laneway, [10.0, 11.0, 12.0]),
            cell("fast", Kind::Ring, [9.0, 10.0, 11.0]),
            cell("faster, but no ring", Kind::Kernel, [1.0, 1.0, 1.0]),
        ];
        let row = Row { name: "stream 8 B".to_owned(), regime: Some((120.0, 120.0)), cells };
        verdict(&row, "ns", SPIN, Rival::Ring, bar)
    }

    #[test]
    fn a_bar_is_met_by_the_medians_or_where_it_says_so_by_the_quartiles() {
        assert_eq!(verdict_of(Bar::Time(1.2)).verdict, "met");
        assert_eq!(verdict_of(Bar::Time(1.0)).verdict, "missed");
        assert_eq!(verdict_of(Bar::TimeWithinSpread(1.0)).verdict, "met by the quartiles");
        assert_eq!(verdict_of(Bar::Throughput(0.9)).verdict, "met");
        assert_eq!(verdict_of(Bar::Throughput(1.0)).verdict, "missed");
        assert!(verdict_of(Bar::Time(1.0)).against.ends_with(": fast"));
    }

    #[test]
    fn every_bar_is_about_a_row_that_laneway_and_a_rival_have() {
        let entries = crate::peers::entries();
        for (row, _, ours, rival, _) in BARS {
            let has = |wanted: &dyn Fn(&Cell) -> bool| {
                entries.iter().filter(|entry| entry.row == *row).any(|entry| {
                    wanted(&Cell { peer: entry.peer, kind: entry.kind, how: "", run: 0, kept: Vec::new(), why: None })
                })
            };
            assert!(has(&|cell| cell.peer == *ours), "{ours} has no {row}");
            assert!(has(&|cell| rival.is(cell)), "{} has no {row}", rival.name());
        }
    }
}
