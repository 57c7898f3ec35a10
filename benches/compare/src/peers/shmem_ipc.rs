//! shmem-ipc: a ring in a memfd for one sender and one receiver, with an event descriptor each way.
#![expect(unsafe_code, reason = "it hands out pointers")]

use super::one_to_one;
use crate::peer::{Kind, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, slots};
use crate::rows::{Entry, fan_in, in_place, wake};
use anyhow::{Context, Result};
use shmem_ipc::sharedring::{Receiver, Sender};
use std::hint::spin_loop;
use std::mem::MaybeUninit;

/// Its ends spin, and signal nobody; or its receiver sleeps, and is signalled.
struct ShmemIpc<const SLEEPS: bool>;

const NAME: &str = "shmem-ipc";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<ShmemIpc<false>>();
    entries.push(in_place::entry::<128, ShmemIpc<false>>("send, recv: pointers"));
    entries.push(in_place::entry::<8192, ShmemIpc<false>>("send, recv: pointers"));
    entries.push(wake::entry::<ShmemIpc<true>>("block_until_readable"));
    entries.extend(fan_in::cannot(NAME, Kind::SharedMemory, "one sender only"));
    entries
}

struct ShmemTx<const W: usize, const SLEEPS: bool>(Sender<[u64; W]>);

impl<const W: usize, const SLEEPS: bool> ShmemTx<W, SLEEPS> {
    /// Lets `write` write what it wants of the items at a pointer, and say how many that is, as soon as there is room for one.
    #[inline(always)]
    fn write(&mut self, mut write: impl FnMut(*mut [u64; W], usize) -> usize) {
        let mut wrote = 0;
        while wrote == 0 {
            let write = |to, room| {
                wrote = write(to, room);
                wrote
            };
            match SLEEPS {
                true => drop(self.0.send_raw(write).expect("the ring is sound")),
                false => drop(self.0.sender_mut().send(write).expect("the ring is sound")),
            }
            if wrote == 0 {
                spin_loop();
            }
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Tx<W> for ShmemTx<W, SLEEPS> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        self.write(|to, _| {
            // SAFETY: there is room for one item.
            unsafe { to.write(*message) };
            1
        });
    }

    #[inline(always)]
    fn send_batch(&mut self, mut messages: &[[u64; W]]) {
        while !messages.is_empty() {
            let mut sent = 0;
            self.write(|to, room| {
                sent = room.min(messages.len());
                // SAFETY: there is room for so many.
                unsafe { to.copy_from_nonoverlapping(messages.as_ptr(), sent) };
                sent
            });
            messages = &messages[sent..];
        }
    }
}

impl<const W: usize, const SLEEPS: bool> TxInPlace<W> for ShmemTx<W, SLEEPS> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        let mut fill = Some(fill);
        self.write(|to, _| {
            if let Some(fill) = fill.take() {
                // SAFETY: there is room for one item, which nobody reads before it is sent.
                fill(unsafe { &mut *to.cast() });
            }
            1
        });
    }
}

struct ShmemRx<const W: usize, const SLEEPS: bool>(Receiver<[u64; W]>);

impl<const W: usize, const SLEEPS: bool> ShmemRx<W, SLEEPS> {
    /// Lets `read` read what it wants of the items at a pointer, and say how many that is, as soon as there is one.
    #[inline(always)]
    fn read(&mut self, mut read: impl FnMut(*const [u64; W], usize) -> usize) {
        let mut came = 0;
        while came == 0 {
            if SLEEPS {
                self.0.block_until_readable().expect("the ring is sound");
            }
            let read = |from, there| {
                came = read(from, there);
                came
            };
            match SLEEPS {
                true => drop(self.0.receive_raw(read).expect("the ring is sound")),
                false => drop(self.0.receiver_mut().recv(read).expect("the ring is sound")),
            }
            if came == 0 {
                spin_loop();
            }
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Rx<W> for ShmemRx<W, SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        self.read(|from, _| {
            // SAFETY: there is one item.
            *to = unsafe { from.read() };
            1
        });
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        let mut came = 0;
        self.read(|from, there| {
            came = there.min(to.len());
            // SAFETY: there are so many.
            unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), came) };
            came
        });
        came
    }
}

impl<const W: usize, const SLEEPS: bool> RxInPlace<W> for ShmemRx<W, SLEEPS> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        let (mut read, mut found) = (Some(read), None);
        self.read(|from, _| {
            // SAFETY: there is one item, and its sender leaves it alone until it is released.
            found = read.take().map(|read| read(unsafe { &*from }));
            1
        });
        found.expect("one item was read")
    }
}

impl<const W: usize, const SLEEPS: bool> Peer<W> for ShmemIpc<SLEEPS> {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::SharedMemory;
    const BATCH: &'static str = "send, recv: pointers";
    type Made = Option<Sender<[u64; W]>>;
    type Tx = ShmemTx<W, SLEEPS>;
    type Rx = ShmemRx<W, SLEEPS>;

    fn make(_: &Place) -> Result<Self::Made> {
        Ok(Some(Sender::new(slots::<W>())?))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(ShmemTx(made.take().context("the sender was taken already")?))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        let sender = made.as_ref().context("the sender was taken already")?;
        let memory = sender.memfd().as_file().try_clone()?;
        let (empty, full) = (sender.empty_signal().try_clone()?, sender.full_signal().try_clone()?);
        Ok(ShmemRx(Receiver::open(slots::<W>(), memory, empty, full)?))
    }
}
