//! Messages in batches of 64, by each peer's own way of sending and receiving several; and 64 items as one message.

use super::stream::{all_read, count, until_read};
use super::{Entry, Run, check, numbered, size, stream};
use crate::outcome::Piece;
use crate::peer::{Kind, Peer, Rx, Tx};
use crate::stage::Stage;
use anyhow::Result;

/// Messages in a batch.
pub(crate) const BATCH: usize = 64;

/// The row's name.
pub(crate) fn row<const W: usize>() -> String {
    format!("batches of {BATCH} x {}", size(W))
}

/// The other row's name.
pub(crate) const SLICE: &str = "slice of 64 x 8 B";

/// Nanoseconds for a message.
pub(crate) fn entry<const W: usize, P: Peer<W>>() -> Entry {
    Entry { row: row::<W>(), peer: P::NAME, kind: P::KIND, how: P::BATCH, run: Run::Piece(piece::<W, P>) }
}

/// 64 items of a word: who lives between threads moves them as a batch, the others as one message. Nanoseconds for an item.
pub(crate) fn slice<P: Peer<1> + Peer<BATCH>>() -> Entry {
    let kind = <P as Peer<1>>::KIND;
    let (how, run): (_, fn(&Stage) -> Result<Piece>) = match kind {
        Kind::Ring => (<P as Peer<1>>::BATCH, piece::<1, P>),
        _ => ("one message of 512 B", one_message::<P>),
    };
    Entry { row: SLICE.to_owned(), peer: <P as Peer<1>>::NAME, kind, how, run: Run::Piece(run) }
}

fn one_message<P: Peer<BATCH>>(stage: &Stage) -> Result<Piece> {
    let mut piece = stream::piece::<BATCH, P>(stage)?;
    piece.figures.values_mut().for_each(|ns| *ns /= BATCH as f64);
    Ok(piece)
}

fn piece<const W: usize, P: Peer<W>>(stage: &Stage) -> Result<Piece> {
    let whole = |count: u64| count.next_multiple_of(BATCH as u64);
    let (warm, count) = (whole(count::<W, P>(2)), whole(count::<W, P>(20)));
    stage.two::<W, P, _>(
        |side, mut tx, _rx| {
            let mut batch = [[0; W]; BATCH];
            let mut send = |from: u64, to: u64| {
                for first in (from..to).step_by(BATCH) {
                    batch.iter_mut().zip(first..).for_each(|(message, number)| numbered(message, number));
                    tx.send_batch(&batch);
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
            let mut batch = [[0; W]; BATCH];
            let mut receive = |from: u64, to: u64| {
                let mut next = from;
                while next < to {
                    // Not beyond the end: what comes behind it is for later.
                    let room = BATCH.min((to - next) as usize);
                    let came = rx.recv_batch(&mut batch[..room]);
                    batch[..came].iter().zip(next..).for_each(|(message, number)| check(message, number));
                    next += came as u64;
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
