//! Messages one by one, as fast as they go, copied in and copied out. The time ends when the sender knows that the last one
//! was read.

use super::{Entry, Run, check, messages, numbered, size};
use crate::outcome::Piece;
use crate::peer::{Peer, Rx, Tx};
use crate::stage::{Side, Stage};
use anyhow::Result;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The row's name.
pub(crate) fn row<const W: usize>() -> String {
    format!("stream {}", size(W))
}

/// Both sides look again and again while there is no room, or nothing to read.
pub(crate) fn entry<const W: usize, P: Peer<W>>() -> Entry {
    Entry { row: row::<W>(), peer: P::NAME, kind: P::KIND, how: "", run: Run::Piece(piece::<W, P>) }
}

/// How many messages a piece of about so many milliseconds has.
pub(super) fn count<const W: usize, P: Peer<W>>(ms: usize) -> u64 {
    messages::<W>(P::ABOUT_NS, ms)
}

pub(super) fn piece<const W: usize, P: Peer<W>>(stage: &Stage) -> Result<Piece> {
    let (warm, count) = (count::<W, P>(2), count::<W, P>(20));
    stage.two::<W, P, _>(
        |side, mut tx, _rx| {
            let mut message = [0; W];
            let mut send = |from: u64, to: u64| {
                for number in from..to {
                    numbered(&mut message, number);
                    tx.send(&message);
                }
            };
            side.meet();
            send(0, warm);
            side.probe();
            let ns = until_read(side, || send(warm, warm + count));
            side.probe();
            side.meet();
            Piece::whole(ns / count as f64, std::mem::take(&mut side.probes))
        },
        |side, _tx, mut rx| {
            let mut message = [0; W];
            let mut receive = |from: u64, to: u64| {
                for number in from..to {
                    rx.recv(&mut message);
                    check(&message, number);
                }
            };
            side.meet();
            receive(0, warm);
            side.probe();
            receive(warm, warm + count);
            all_read(side);
            side.probe();
            side.meet();
        },
    )
}

/// Nanoseconds from the first send until the other side says [`all_read`]. Large messages take the stack of both.
#[inline(always)]
pub(crate) fn until_read(side: &Side, send: impl FnOnce()) -> f64 {
    let start = Instant::now();
    send();
    while side.signal().load(Ordering::Acquire) == 0 {
        std::hint::spin_loop();
    }
    start.elapsed().as_nanos() as f64
}

/// The receiving side has read everything.
#[inline(always)]
pub(crate) fn all_read(side: &Side) {
    side.signal().store(1, Ordering::Release);
}
