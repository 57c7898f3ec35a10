//! The work, a file for each kind of it. What is timed is the same generic code for everybody.

pub(crate) mod batch;
pub(crate) mod fan_in;
pub(crate) mod in_place;
pub(crate) mod round_trip;
pub(crate) mod stream;
pub(crate) mod wake;

use crate::outcome::Piece;
use crate::peer::Kind;
use crate::stage::Stage;
use anyhow::Result;
use std::mem::MaybeUninit;

/// Who does what: a row of the plan.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Which work: `round trip 8 B`.
    pub(crate) row: String,
    /// Who does it.
    pub(crate) peer: &'static str,
    /// Where it lives.
    pub(crate) kind: Kind,
    /// What is to be known about how it does it, or empty.
    pub(crate) how: &'static str,
    /// The piece, or why there is none.
    pub(crate) run: Run,
}

/// A piece, or why there is none.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Runs it once.
    Piece(fn(&Stage) -> Result<Piece>),
    /// The peer cannot do it.
    Cannot(&'static str),
    /// The peer is not in this program.
    Absent(&'static str),
}

impl Entry {
    /// Says why a peer cannot do some work.
    pub(crate) fn cannot(row: impl Into<String>, peer: &'static str, kind: Kind, why: &'static str) -> Entry {
        Entry { row: row.into(), peer, kind, how: "", run: Run::Cannot(why) }
    }

    /// Says what is to be known about how a peer does it.
    pub(crate) fn how(self, how: &'static str) -> Entry {
        Entry { how, ..self }
    }
}

/// `8 B`, `64 KiB`: the size of a message of so many words.
pub(crate) fn size(words: usize) -> String {
    let bytes = words * 8;
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

/// A message whose first and last words are its number: both are checked.
#[inline(always)]
pub(crate) fn numbered<const W: usize>(message: &mut [u64; W], number: u64) {
    message[0] = number;
    message[W - 1] = number;
}

/// Panics when a message is not the one that was due.
#[inline(always)]
pub(crate) fn check<const W: usize>(message: &[u64; W], number: u64) {
    assert!(message[0] == number && message[W - 1] == number, "message {} came when {number} was due", message[0]);
}

/// Writes every word of a message in place.
#[inline(always)]
pub(crate) fn fill<const W: usize>(words: &mut [MaybeUninit<u64>; W], number: u64) {
    for (at, word) in words.iter_mut().enumerate() {
        word.write(number + at as u64);
    }
}

/// Reads every word of a message in place, and panics when it is not the one that was due.
#[inline(always)]
pub(crate) fn check_filled<const W: usize>(words: &[u64; W], number: u64) {
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
    let due = (W as u64).wrapping_mul(number).wrapping_add((W as u64 * (W as u64 - 1)) / 2);
    assert_eq!(sum, due, "message {number} is not what was sent");
}

/// How many messages of `W` words make a piece of about `ms` milliseconds for somebody who takes `ns` for a short one and
/// copies 4 bytes a nanosecond.
pub(crate) const fn messages<const W: usize>(ns: usize, ms: usize) -> u64 {
    (ms * 1_000_000 / (ns + 2 * W)) as u64
}
