//! laneway, between processes.
#![expect(unsafe_code, reason = "messages that are written and read in place")]

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, ring_bytes};
use crate::rows::{Entry, fan_in, in_place, round_trip, wake};
use anyhow::Result;
use laneway::{OnFull, Queue, Receiver, Sender, Wait};
use std::mem::MaybeUninit;
use std::path::PathBuf;

const SPIN: u8 = 0;
const ADAPTIVE: u8 = 1;
const PARK: u8 = 2;

/// Both ends wait like that.
struct Laneway<const WAIT: u8>;

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Laneway<SPIN>>();
    entries.push(in_place::entry::<128, Laneway<SPIN>>("claim, commit; as_slice"));
    entries.push(in_place::entry::<8192, Laneway<SPIN>>("claim, commit; as_slice"));
    entries.push(round_trip::entry::<1, Laneway<PARK>>().how("Wait::Park"));
    entries.push(round_trip::entry::<6, Laneway<PARK>>().how("Wait::Park"));
    entries.push(wake::entry::<Laneway<PARK>>("Wait::Park"));
    entries.push(wake::entry::<Laneway<ADAPTIVE>>("Wait::Adaptive, the default"));
    entries.extend(many_to_one::<Laneway<SPIN>, Laneway<ADAPTIVE>>("", "Wait::Adaptive, the default"));
    entries.push(fan_in::paced::<Laneway<SPIN>>("Wait::Spin"));
    entries
}

const fn wait(wait: u8) -> Wait {
    match wait {
        SPIN => Wait::Spin,
        ADAPTIVE => Wait::Adaptive,
        _ => Wait::Park,
    }
}

impl<const W: usize> Tx<W> for Sender {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        self.send_pod(message).expect("the receiver lives");
    }

    #[inline(always)]
    fn send_batch(&mut self, messages: &[[u64; W]]) {
        Sender::send_batch(self, messages.iter().map(bytemuck::bytes_of)).expect("the receiver lives");
    }
}

/// Up to so many words a message goes through a value that the compiler knows the length of.
const SHORT: usize = 64;

impl<const W: usize> Rx<W> for Receiver {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        let message = Receiver::recv(self).expect("the sender lives");
        if W <= SHORT {
            *to = message.read_pod().expect("it is as long as it was sent");
        } else {
            message.copy_to(bytemuck::bytes_of_mut(to));
        }
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        let mut batch = Receiver::recv_batch(self, to.len()).expect("the sender lives");
        let mut came = 0;
        while let Some(message) = batch.next() {
            to[came] = message.read_pod().expect("it is as long as it was sent");
            came += 1;
        }
        came
    }
}

impl<const W: usize> TxInPlace<W> for Sender {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        let mut claim = self.claim(8 * W).expect("the receiver lives");
        // SAFETY: the claim is that long and aligned to a word, and is ours until it is committed; `fill` writes every word.
        unsafe {
            fill(&mut *claim.as_mut_ptr().cast());
            claim.assume_written();
        }
        claim.commit().expect("it was written whole");
    }
}

impl<const W: usize> RxInPlace<W> for Receiver {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        let message = Receiver::recv(self).expect("the sender lives");
        // SAFETY: nobody writes to a record that was sent and is not released.
        let bytes = unsafe { message.as_slice() };
        read(bytemuck::from_bytes(bytes))
    }
}

impl<const WAIT: u8, const W: usize> Peer<W> for Laneway<WAIT> {
    const NAME: &'static str = match WAIT {
        SPIN => "laneway",
        ADAPTIVE => "laneway (adaptive)",
        _ => "laneway (park)",
    };
    const KIND: Kind = Kind::Laneway;
    const BATCH: &'static str = "send_batch; try_recv in a loop";
    type Made = PathBuf;
    type Tx = Sender;
    type Rx = Receiver;

    fn make(place: &Place) -> Result<PathBuf> {
        // A lane for each sender: together they have what others have.
        let capacity = (ring_bytes::<W>() / place.senders).next_power_of_two();
        Queue::options().capacity(capacity as u64).overflow_limit(0).create(&place.path)?;
        Ok(place.path.clone())
    }

    fn tx(made: &mut PathBuf) -> Result<Sender> {
        let sender = Queue::open(made)?.sender_options().on_full(OnFull::Block).attach()?;
        sender.set_wait(wait(WAIT));
        Ok(sender)
    }

    fn rx(made: &mut PathBuf) -> Result<Receiver> {
        let receiver = Queue::open(made)?.receiver()?;
        receiver.set_wait(wait(WAIT));
        Ok(receiver)
    }
}

impl<const WAIT: u8, const W: usize> ManySenders<W> for Laneway<WAIT> {}
