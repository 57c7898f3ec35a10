//! rtrb: a ring between two threads.
#![expect(unsafe_code, reason = "slots that are written in place")]

use super::one_to_one;
use crate::peer::{Ends, Kind, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, slots, take};
use crate::rows::{Entry, fan_in, in_place, wake};
use anyhow::Result;
use rtrb::{Consumer, Producer, RingBuffer};
use std::hint::spin_loop;
use std::mem::MaybeUninit;

struct Rtrb;

const NAME: &str = "rtrb";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Rtrb>();
    entries.push(in_place::entry::<128, Rtrb>("chunks of one message"));
    entries.push(in_place::entry::<8192, Rtrb>("chunks of one message"));
    entries.push(wake::cannot(NAME, Kind::Ring, "never waits"));
    entries.extend(fan_in::cannot(NAME, Kind::Ring, "one sender only"));
    entries
}

/// Up to so many words a message goes by value.
const SHORT: usize = 64;

impl<const W: usize> Tx<W> for Producer<[u64; W]> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        if W <= SHORT {
            while self.push(*message).is_err() {
                spin_loop();
            }
        } else {
            while self.push_entire_slice(std::slice::from_ref(message)).is_err() {
                spin_loop();
            }
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, messages: &[[u64; W]]) {
        while self.push_entire_slice(messages).is_err() {
            spin_loop();
        }
    }
}

impl<const W: usize> Rx<W> for Consumer<[u64; W]> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        if W > SHORT {
            while self.pop_entire_slice(std::slice::from_mut(to)).is_err() {
                spin_loop();
            }
            return;
        }
        loop {
            match self.pop() {
                Ok(message) => return *to = message,
                Err(_) => spin_loop(),
            }
        }
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        loop {
            let came = self.pop_partial_slice(to).0.len();
            if came > 0 {
                return came;
            }
            spin_loop();
        }
    }
}

impl<const W: usize> TxInPlace<W> for Producer<[u64; W]> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        while self.slots() == 0 {
            spin_loop();
        }
        let mut chunk = self.write_chunk_uninit(1).expect("there is a slot");
        // SAFETY: an array of words that may be uninitialised is as good as one that may be uninitialised as a whole, and
        // `fill` writes them all.
        unsafe {
            fill(&mut *chunk.as_mut_slices().0.as_mut_ptr().cast());
            chunk.commit_all();
        }
    }
}

impl<const W: usize> RxInPlace<W> for Consumer<[u64; W]> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        while self.is_empty() {
            spin_loop();
        }
        let chunk = self.read_chunk(1).expect("there is a message");
        let found = read(&chunk.as_slices().0[0]);
        chunk.commit_all();
        found
    }
}

impl<const W: usize> Peer<W> for Rtrb {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::Ring;
    const BATCH: &'static str = "push_entire_slice; pop_partial_slice";
    type Made = Ends<Producer<[u64; W]>, Consumer<[u64; W]>>;
    type Tx = Producer<[u64; W]>;
    type Rx = Consumer<[u64; W]>;

    fn make(_: &Place) -> Result<Self::Made> {
        let (tx, rx) = RingBuffer::new(slots::<W>());
        Ok((Some(tx), Some(rx)))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        take(&mut made.0)
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        take(&mut made.1)
    }
}
