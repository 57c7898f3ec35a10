//! A receiver that sleeps, and a sender that now and then has something for it: from when the sender was ready until the
//! receiver has the message.

use super::{Entry, Run};
use crate::outcome::Piece;
use crate::peer::{Kind, Peer, Rx, Tx};
use crate::stage::Stage;
use anyhow::Result;
use laneway_measure::{Clock, Distribution, Pace, Rest};

/// The row's name.
pub(crate) const ROW: &str = "wake";
/// The message: a number, and the time from which its delay counts.
pub(crate) const WORDS: usize = 2;
const MESSAGES: u64 = 600;
const WARM: u64 = 20;
/// Long enough that the receiver has gone to sleep, also where it looks around for a while first.
const INTERVAL_NS: u64 = 800_000;

/// For ends whose `recv` sleeps.
pub(crate) fn entry<P: Peer<WORDS>>(how: &'static str) -> Entry {
    Entry { row: ROW.to_owned(), peer: P::NAME, kind: P::KIND, how, run: Run::Piece(piece::<P>) }
}

/// A peer that cannot.
pub(crate) fn cannot(peer: &'static str, kind: Kind, why: &'static str) -> Entry {
    Entry::cannot(ROW, peer, kind, why)
}

fn piece<P: Peer<WORDS>>(stage: &Stage) -> Result<Piece> {
    // The leading side receives, and so keeps what it finds; what it sends is nothing.
    stage.two::<WORDS, P, _>(
        |side, _tx, mut rx| {
            let mut times = Distribution::new();
            side.meet();
            side.probe();
            let mut message = [0; WORDS];
            for number in 0..WARM + MESSAGES {
                rx.recv(&mut message);
                let now = Clock::monotonic_ns();
                assert_eq!(message[0], number);
                if number >= WARM {
                    times.record(now.saturating_sub(message[1]));
                }
            }
            side.probe();
            side.meet();
            Piece::each(&times, std::mem::take(&mut side.probes))
        },
        |side, mut tx, _rx| {
            side.meet();
            side.probe();
            let mut pace = Pace::new(Clock::monotonic_ns() + INTERVAL_NS, INTERVAL_NS, Rest::Spin);
            for number in 0..WARM + MESSAGES {
                let since = pace.wait();
                tx.send(&[number, since]);
            }
            side.probe();
            side.meet();
        },
    )
}
