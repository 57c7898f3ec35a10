//! Several senders, one receiver, which has a processor to itself; the senders share the others.

use super::{Entry, Run};
use crate::outcome::Piece;
use crate::peer::{Kind, ManySenders, Rx, Tx};
use crate::stage::{Side, Stage};
use anyhow::Result;
use laneway_measure::{Clock, Distribution, Pace, Rest, no_slack};
use std::time::Instant;

/// The message: who sends, its number, the time from which its delay counts, and 32 bytes more.
pub(crate) const WORDS: usize = 7;
/// Throughput is taken with so many senders.
pub(crate) const SENDERS: [usize; 3] = [1, 2, 4];
/// The paced row's name.
pub(crate) const PACED: &str = "fan-in of 4 x 20,000/s";
const PACED_SENDERS: usize = 4;
const INTERVAL_NS: u64 = 50_000;
const PACED_MESSAGES: u64 = 8_000;
/// Who shares a processor takes turns after so many messages.
const TURN: u64 = 256;

/// The name of a throughput row.
pub(crate) fn row(senders: usize) -> String {
    format!("fan-in of {senders}, 56 B")
}

/// Throughput: nanoseconds for a message.
pub(crate) fn entries<P: ManySenders<WORDS>>(how: &'static str) -> Vec<Entry> {
    let run: [fn(&Stage) -> Result<Piece>; 3] = [piece::<P, 1>, piece::<P, 2>, piece::<P, 4>];
    let entry = |(senders, run)| Entry { row: row(senders), peer: P::NAME, kind: P::KIND, how, run: Run::Piece(run) };
    SENDERS.into_iter().zip(run).map(entry).collect()
}

/// Delay at a pace that leaves everybody time.
pub(crate) fn paced<P: ManySenders<WORDS>>(how: &'static str) -> Entry {
    Entry { row: PACED.to_owned(), peer: P::NAME, kind: P::KIND, how, run: Run::Piece(paced_piece::<P>) }
}

/// A peer that cannot.
pub(crate) fn cannot(peer: &'static str, kind: Kind, why: &'static str) -> Vec<Entry> {
    let rows = SENDERS.into_iter().map(row).chain([PACED.to_owned()]);
    rows.map(|row| Entry::cannot(row, peer, kind, why)).collect()
}

/// The senders' messages, each of whose numbers must come in order.
struct Due([u64; 4]);

impl Due {
    #[inline(always)]
    fn check(&mut self, message: &[u64; WORDS]) {
        let due = &mut self.0[message[0] as usize];
        assert_eq!(message[1], *due, "a message of sender {} came out of order", message[0]);
        *due += 1;
    }
}

fn piece<P: ManySenders<WORDS>, const SENDERS: usize>(stage: &Stage) -> Result<Piece> {
    let each = (20_000_000 / (2 * P::ABOUT_NS as u64) / SENDERS as u64).next_multiple_of(TURN);
    let warm = TURN;
    stage.many::<WORDS, P, _>(
        SENDERS,
        |side, mut rx| {
            let (mut message, mut due) = ([0; WORDS], Due([0; 4]));
            let mut receive = |count: u64| {
                for _ in 0..count {
                    rx.recv(&mut message);
                    due.check(&message);
                }
            };
            let all = SENDERS as u64 * each;
            side.meet();
            receive(SENDERS as u64 * warm);
            side.meet();
            side.probe();
            side.meet();
            let start = Instant::now();
            receive(all);
            let ns = start.elapsed().as_nanos() as f64 / all as f64;
            side.meet();
            side.probe();
            side.meet();
            Piece::whole(ns, std::mem::take(&mut side.probes))
        },
        |side, mut tx, number| {
            let mut message = [number as u64, 0, 0, 0, 0, 0, 0];
            let mut send = |from: u64, to: u64| {
                for number in from..to {
                    message[1] = number;
                    tx.send(&message);
                    if number % TURN == TURN - 1 {
                        std::thread::yield_now();
                    }
                }
            };
            side.meet();
            send(0, warm);
            around(side, number, || send(warm, warm + each));
        },
    )
}

/// What a sender does before and after what is timed: the first plays the other side of the probes.
fn around(side: &mut Side, number: usize, timed: impl FnOnce()) {
    side.meet();
    if number == 0 {
        side.probe();
    }
    side.meet();
    timed();
    side.meet();
    if number == 0 {
        side.probe();
    }
    side.meet();
}

fn paced_piece<P: ManySenders<WORDS>>(stage: &Stage) -> Result<Piece> {
    stage.many::<WORDS, P, _>(
        PACED_SENDERS,
        |side, mut rx| {
            let (mut message, mut due, mut times) = ([0; WORDS], Due([0; 4]), Distribution::new());
            side.meet();
            side.meet();
            side.probe();
            side.meet();
            for received in 0..PACED_SENDERS as u64 * PACED_MESSAGES {
                rx.recv(&mut message);
                let now = Clock::monotonic_ns();
                due.check(&message);
                // The first tenth is for caches and tables of pages.
                if received >= PACED_SENDERS as u64 * PACED_MESSAGES / 10 {
                    times.record(now.saturating_sub(message[2]));
                }
            }
            side.meet();
            side.probe();
            side.meet();
            Piece::each(&times, std::mem::take(&mut side.probes))
        },
        |side, mut tx, number| {
            no_slack();
            side.meet();
            around(side, number, || {
                // Spread over the interval: who sends at the same time waits for the other, whatever the queue.
                let start =
                    Clock::monotonic_ns() + INTERVAL_NS * (PACED_SENDERS + number) as u64 / PACED_SENDERS as u64;
                let mut pace = Pace::new(start, INTERVAL_NS, Rest::Sleep);
                for sent in 0..PACED_MESSAGES {
                    let since = pace.wait();
                    tx.send(&[number as u64, sent, since, 0, 0, 0, 0]);
                }
            });
        },
    )
}
