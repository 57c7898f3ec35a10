//! Messages whose every word is written where it will lie and read where it lies.

use super::stream::{all_read, count, until_read};
use super::{Entry, Run, check_filled, fill, size};
use crate::outcome::Piece;
use crate::peer::{Kind, Peer, RxInPlace, TxInPlace};
use crate::stage::Stage;
use anyhow::Result;

/// The row's name.
pub(crate) fn row<const W: usize>() -> String {
    format!("in place {}", size(W))
}

/// Nanoseconds for a message.
pub(crate) fn entry<const W: usize, P: Peer<W>>(how: &'static str) -> Entry
where
    P::Tx: TxInPlace<W>,
    P::Rx: RxInPlace<W>,
{
    Entry { row: row::<W>(), peer: P::NAME, kind: P::KIND, how, run: Run::Piece(piece::<W, P>) }
}

/// A peer that cannot.
pub(crate) fn cannot(peer: &'static str, kind: Kind, why: &'static str) -> [Entry; 2] {
    [row::<128>(), row::<8192>()].map(|row| Entry::cannot(row, peer, kind, why))
}

fn piece<const W: usize, P: Peer<W>>(stage: &Stage) -> Result<Piece>
where
    P::Tx: TxInPlace<W>,
    P::Rx: RxInPlace<W>,
{
    let (warm, count) = (count::<W, P>(2), count::<W, P>(20));
    stage.two::<W, P, _>(
        |side, mut tx, _rx| {
            let mut send = |from: u64, to: u64| (from..to).for_each(|number| tx.send_with(|words| fill(words, number)));
            side.meet();
            send(0, warm);
            side.probe();
            let ns = until_read(side, || send(warm, warm + count));
            side.probe();
            side.meet();
            Piece::whole(ns / count as f64, std::mem::take(&mut side.probes))
        },
        |side, _tx, mut rx| {
            let mut receive =
                |from: u64, to: u64| (from..to).for_each(|number| rx.recv_with(|words| check_filled(words, number)));
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
