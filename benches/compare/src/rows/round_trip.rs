//! A message there, the same one back: each trip is timed.

use super::{Entry, Run, check, numbered, size};
use crate::outcome::Piece;
use crate::peer::{Kind, Peer, Rx, Tx};
use crate::stage::{Side, Stage};
use anyhow::Result;
use laneway_measure::Distribution;

const TRIPS: u64 = 10_000;
const WARM: u64 = 1_000;

/// The row's name.
pub(crate) fn row<const W: usize>() -> String {
    format!("round trip {}", size(W))
}

/// Both sides receive as the peer does it fastest.
pub(crate) fn entry<const W: usize, P: Peer<W>>() -> Entry {
    Entry { row: row::<W>(), peer: P::NAME, kind: P::KIND, how: "", run: Run::Piece(piece::<W, P>) }
}

fn piece<const W: usize, P: Peer<W>>(stage: &Stage) -> Result<Piece> {
    stage.two::<W, P, _>(
        |side, mut tx, mut rx| {
            let mut times = Distribution::new();
            side.meet();
            trips::<W>(side, WARM, &mut tx, &mut rx, |_| ());
            side.probe();
            trips::<W>(side, TRIPS, &mut tx, &mut rx, |ns| times.record(ns));
            side.probe();
            side.meet();
            Piece::each(&times, std::mem::take(&mut side.probes))
        },
        |side, mut tx, mut rx| {
            side.meet();
            echo::<W>(WARM, &mut tx, &mut rx);
            side.probe();
            echo::<W>(TRIPS, &mut tx, &mut rx);
            side.probe();
            side.meet();
        },
    )
}

fn trips<const W: usize>(
    side: &Side,
    trips: u64,
    tx: &mut impl Tx<W>,
    rx: &mut impl Rx<W>,
    mut record: impl FnMut(u64),
) {
    let (mut message, mut answer) = ([0; W], [0; W]);
    for trip in 0..trips {
        numbered(&mut message, trip);
        let start = side.clock.stamp();
        tx.send(&message);
        rx.recv(&mut answer);
        let end = side.clock.stamp();
        check(&answer, trip);
        record(side.clock.between(start, end));
    }
}

fn echo<const W: usize>(trips: u64, tx: &mut impl Tx<W>, rx: &mut impl Rx<W>) {
    let mut message = [0; W];
    for trip in 0..trips {
        rx.recv(&mut message);
        check(&message, trip);
        tx.send(&message);
    }
}

/// The limit: two cache lines and nothing else, between processes.
pub(crate) fn limit<const W: usize>() -> Entry {
    Entry {
        row: row::<W>(),
        peer: "two cache lines",
        kind: Kind::Limit,
        how: "a number, whatever the size",
        run: Run::Piece(raw),
    }
}

fn raw(stage: &Stage) -> Result<Piece> {
    stage.both(
        Kind::Limit,
        || {
            let mut side = stage.side(0, 2)?;
            let mut times = Distribution::new();
            side.meet();
            side.raw_trips(WARM, |_| ());
            side.probe();
            side.raw_trips(TRIPS, |ns| times.record(ns));
            side.probe();
            side.meet();
            Ok(Piece::each(&times, std::mem::take(&mut side.probes)))
        },
        || {
            let mut side = stage.side(1, 2)?;
            side.meet();
            side.raw_trips(WARM, |_| ());
            side.probe();
            side.raw_trips(TRIPS, |_| ());
            side.probe();
            side.meet();
            Ok(())
        },
    )
}
