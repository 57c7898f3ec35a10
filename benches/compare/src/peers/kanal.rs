//! kanal: a channel between threads, behind a lock.

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, Tx, slots};
use crate::rows::{Entry, in_place, wake};
use anyhow::Result;
use kanal::{Receiver, Sender, bounded};
use std::hint::spin_loop;

/// Its receiver spins with `try_recv`, or sleeps.
struct Kanal<const SLEEPS: bool>;

const NAME: &str = "kanal";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Kanal<false>>();
    entries.extend(in_place::cannot(NAME, Kind::Ring, "moves its items in and out"));
    entries.push(wake::entry::<Kanal<true>>("recv"));
    entries.extend(many_to_one::<Kanal<false>, Kanal<true>>("", "recv"));
    entries
}

/// A long message is not copied again and again while there is no room.
const SHORT: usize = 16;

struct End<T, const SLEEPS: bool>(T);

impl<const W: usize, const SLEEPS: bool> Tx<W> for End<Sender<[u64; W]>, SLEEPS> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        while (W > SHORT && self.0.is_full()) || !self.0.try_send(*message).expect("the receiver lives") {
            spin_loop();
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Rx<W> for End<Receiver<[u64; W]>, SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        if SLEEPS {
            return *to = self.0.recv().expect("the sender lives");
        }
        loop {
            match self.0.try_recv().expect("the sender lives") {
                Some(message) => return *to = message,
                None => spin_loop(),
            }
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Peer<W> for Kanal<SLEEPS> {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::Ring;
    type Made = (Sender<[u64; W]>, Receiver<[u64; W]>);
    type Tx = End<Sender<[u64; W]>, SLEEPS>;
    type Rx = End<Receiver<[u64; W]>, SLEEPS>;

    fn make(_: &Place) -> Result<Self::Made> {
        Ok(bounded(slots::<W>()))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(End(made.0.clone()))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        Ok(End(made.1.clone()))
    }
}

impl<const W: usize, const SLEEPS: bool> ManySenders<W> for Kanal<SLEEPS> {}
