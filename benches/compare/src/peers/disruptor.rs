//! disruptor: a ring of events that stay where they are, between threads; with a poller, so that the receiving thread is ours.
#![expect(unsafe_code, reason = "events that are written as words")]

use super::{many_to_one, one_to_one};
use crate::peer::{Ends, Kind, ManySenders, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, slots, take};
use crate::rows::{Entry, in_place, wake};
use anyhow::{Context, Result};
use disruptor::{
    BusySpin, EventPoller, MultiProducer, MultiProducerBarrier, Producer, SingleConsumerBarrier, SingleProducer,
    SingleProducerBarrier, build_multi_producer, build_single_producer,
};
use std::collections::VecDeque;
use std::hint::spin_loop;
use std::mem::MaybeUninit;

struct Single;
struct Multi;

const NAME: &str = "disruptor";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Single>();
    entries.push(in_place::entry::<128, Single>("publish; poller"));
    entries.push(in_place::entry::<8192, Single>("publish; poller"));
    entries.push(wake::cannot(NAME, Kind::Ring, "its strategies spin, or sleep for a fixed time: nobody is woken"));
    entries.extend(many_to_one::<Multi, Multi>("its multi producer, polled 64 at a time", "spins: nobody is woken"));
    entries
}

struct End<T>(T);

impl<const W: usize, P: Producer<[u64; W]>> Tx<W> for End<P> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        self.0.publish(|event| *event = *message);
    }

    #[inline(always)]
    fn send_batch(&mut self, messages: &[[u64; W]]) {
        self.0.batch_publish(messages.len(), |events| {
            events.zip(messages).for_each(|(event, message)| *event = *message)
        });
    }
}

impl<const W: usize, P: Producer<[u64; W]>> TxInPlace<W> for End<P> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        // SAFETY: words that are there may be looked at as words that may be uninitialised; `fill` writes them all.
        self.0.publish(|event| fill(unsafe { &mut *std::ptr::from_mut(event).cast() }));
    }
}

impl<const W: usize> RxInPlace<W> for End<EventPoller<[u64; W], SingleProducerBarrier>> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        loop {
            if let Ok(mut events) = self.0.take(1) {
                return read((&mut events).next().expect("one is available"));
            }
            spin_loop();
        }
    }
}

impl<const W: usize> Rx<W> for End<EventPoller<[u64; W], SingleProducerBarrier>> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        self.recv_with(|message| *to = *message);
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        loop {
            if let Ok(mut events) = self.0.take(to.len() as u64) {
                return to.iter_mut().zip(&mut events).map(|(to, event)| *to = *event).count();
            }
            spin_loop();
        }
    }
}

/// With several producers a look at what is there goes over all of it, so several messages are taken at a time.
struct MultiRx<const W: usize> {
    poller: EventPoller<[u64; W], MultiProducerBarrier>,
    taken: VecDeque<[u64; W]>,
}

impl<const W: usize> Rx<W> for MultiRx<W> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        loop {
            if let Some(message) = self.taken.pop_front() {
                return *to = message;
            }
            match self.poller.take(64) {
                Ok(mut events) => self.taken.extend(&mut events),
                Err(_) => spin_loop(),
            }
        }
    }
}

impl<const W: usize> Peer<W> for Single {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::Ring;
    const BATCH: &'static str = "batch_publish; poller";
    type Made = Ends<Self::Tx, Self::Rx>;
    type Tx = End<SingleProducer<[u64; W], SingleConsumerBarrier>>;
    type Rx = End<EventPoller<[u64; W], SingleProducerBarrier>>;

    fn make(_: &Place) -> Result<Self::Made> {
        let (poller, builder) = build_single_producer(slots::<W>(), || [0u64; W], BusySpin).new_event_poller();
        Ok((Some(End(builder.build())), Some(End(poller))))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        take(&mut made.0)
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        take(&mut made.1)
    }
}

impl<const W: usize> Peer<W> for Multi {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::Ring;
    type Made = Ends<MultiProducer<[u64; W], SingleConsumerBarrier>, Self::Rx>;
    type Tx = End<MultiProducer<[u64; W], SingleConsumerBarrier>>;
    type Rx = MultiRx<W>;

    fn make(_: &Place) -> Result<Self::Made> {
        let (poller, builder) = build_multi_producer(slots::<W>(), || [0u64; W], BusySpin).new_event_poller();
        Ok((Some(builder.build()), Some(MultiRx { poller, taken: VecDeque::with_capacity(64) })))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(End(made.0.as_ref().context("there is no producer to clone")?.clone()))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        take(&mut made.1)
    }
}

impl<const W: usize> ManySenders<W> for Multi {}
