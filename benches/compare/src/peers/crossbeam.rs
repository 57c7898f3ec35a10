//! crossbeam's bounded channel and its ArrayQueue: several threads to several threads.

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, Tx, slots};
use crate::rows::{Entry, in_place, wake};
use anyhow::Result;
use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_queue::ArrayQueue;
use std::hint::spin_loop;
use std::sync::Arc;

/// Its ends spin with `try_recv`, or sleep.
struct Channel<const SLEEPS: bool>;

struct Queue;

const CHANNEL: &str = "crossbeam-channel";
const QUEUE: &str = "ArrayQueue";

pub(crate) fn entries() -> Vec<Entry> {
    let moves = "moves its items in and out";
    let mut entries = one_to_one::<Channel<false>>();
    entries.extend(in_place::cannot(CHANNEL, Kind::Ring, moves));
    entries.push(wake::entry::<Channel<true>>("recv"));
    entries.extend(many_to_one::<Channel<false>, Channel<true>>("", "recv"));
    entries.extend(one_to_one::<Queue>());
    entries.extend(in_place::cannot(QUEUE, Kind::Ring, moves));
    entries.push(wake::cannot(QUEUE, Kind::Ring, "never waits"));
    entries.extend(many_to_one::<Queue, Queue>("", "spins: it never sleeps"));
    entries
}

/// A long message is not copied again and again while there is no room.
const SHORT: usize = 16;

struct ChannelTx<const W: usize>(Sender<[u64; W]>);

impl<const W: usize> Tx<W> for ChannelTx<W> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        while (W > SHORT && self.0.is_full()) || self.0.try_send(*message).is_err() {
            spin_loop();
        }
    }
}

struct ChannelRx<const W: usize, const SLEEPS: bool>(Receiver<[u64; W]>);

impl<const W: usize, const SLEEPS: bool> Rx<W> for ChannelRx<W, SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        if SLEEPS {
            return *to = self.0.recv().expect("the sender lives");
        }
        loop {
            match self.0.try_recv() {
                Ok(message) => return *to = message,
                Err(_) => spin_loop(),
            }
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Peer<W> for Channel<SLEEPS> {
    const NAME: &'static str = CHANNEL;
    const KIND: Kind = Kind::Ring;
    type Made = (Sender<[u64; W]>, Receiver<[u64; W]>);
    type Tx = ChannelTx<W>;
    type Rx = ChannelRx<W, SLEEPS>;

    fn make(_: &Place) -> Result<Self::Made> {
        Ok(bounded(slots::<W>()))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(ChannelTx(made.0.clone()))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        Ok(ChannelRx(made.1.clone()))
    }
}

impl<const W: usize, const SLEEPS: bool> ManySenders<W> for Channel<SLEEPS> {}

struct QueueEnd<const W: usize>(Arc<ArrayQueue<[u64; W]>>);

impl<const W: usize> Tx<W> for QueueEnd<W> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        while (W > SHORT && self.0.is_full()) || self.0.push(*message).is_err() {
            spin_loop();
        }
    }
}

impl<const W: usize> Rx<W> for QueueEnd<W> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        loop {
            match self.0.pop() {
                Some(message) => return *to = message,
                None => spin_loop(),
            }
        }
    }
}

impl<const W: usize> Peer<W> for Queue {
    const NAME: &'static str = QUEUE;
    const KIND: Kind = Kind::Ring;
    type Made = Arc<ArrayQueue<[u64; W]>>;
    type Tx = QueueEnd<W>;
    type Rx = QueueEnd<W>;

    fn make(_: &Place) -> Result<Self::Made> {
        Ok(Arc::new(ArrayQueue::new(slots::<W>())))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(QueueEnd(Arc::clone(made)))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        Ok(QueueEnd(Arc::clone(made)))
    }
}

impl<const W: usize> ManySenders<W> for Queue {}
