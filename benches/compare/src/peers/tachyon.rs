//! tachyon-ipc: a ring for one sender and one receiver, in C++.
#![expect(unsafe_code, reason = "slots that are written in place")]

use super::one_to_one;
use crate::peer::{Kind, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, ring_bytes};
use crate::rows::{Entry, fan_in, in_place, wake};
use anyhow::{Context, Result, anyhow};
use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::path::Path;
use tachyon_ipc::{Bus, TxGuard};

/// Its ends never sleep, or its receiver does.
struct Tachyon<const SLEEPS: bool>;

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Tachyon<false>>();
    entries.push(in_place::entry::<128, Tachyon<false>>("acquire_tx; acquire_rx"));
    entries.push(in_place::entry::<8192, Tachyon<false>>("acquire_tx; acquire_rx"));
    entries.push(wake::entry::<Tachyon<true>>("acquire_rx, without spinning"));
    entries.extend(fan_in::cannot(super::TACHYON, Kind::SharedMemory, "one sender only"));
    entries
}

struct End<const SLEEPS: bool>(Bus);

impl<const SLEEPS: bool> End<SLEEPS> {
    #[inline(always)]
    fn slot<const W: usize>(&self) -> TxGuard<'_> {
        loop {
            match self.0.acquire_tx(8 * W) {
                Ok(slot) => return slot,
                Err(_) => spin_loop(),
            }
        }
    }
}

/// Looks before it sleeps: as many as it can count, or none.
const fn looks(sleeps: bool) -> u32 {
    if sleeps { 0 } else { u32::MAX }
}

impl<const W: usize, const SLEEPS: bool> Tx<W> for End<SLEEPS> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        let slot = self.slot::<W>();
        slot.write(bytemuck::bytes_of(message));
        slot.commit(8 * W, 0).expect("the receiver lives");
    }

    #[inline(always)]
    fn send_batch(&mut self, messages: &[[u64; W]]) {
        for message in messages {
            // What is not flushed makes no room, so whoever finds none flushes.
            let slot = loop {
                match self.0.acquire_tx(8 * W) {
                    Ok(slot) => break slot,
                    Err(_) => self.0.flush(),
                }
            };
            slot.write(bytemuck::bytes_of(message));
            slot.commit_unflushed(8 * W, 0).expect("the receiver lives");
        }
        self.0.flush();
    }
}

impl<const W: usize, const SLEEPS: bool> Rx<W> for End<SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        self.recv_with(|message| *to = *message);
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        let batch = self.0.drain_batch(to.len(), looks(SLEEPS)).expect("the sender lives");
        for (to, message) in to.iter_mut().zip(&batch) {
            bytemuck::bytes_of_mut(to).copy_from_slice(message.data());
        }
        let came = batch.len();
        batch.commit().expect("the sender lives");
        came
    }
}

impl<const W: usize, const SLEEPS: bool> TxInPlace<W> for End<SLEEPS> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        let mut slot = self.slot::<W>();
        // SAFETY: the slot is that long, lies at a multiple of 64, and is ours until it is committed; `fill` writes it whole.
        fill(unsafe { &mut *slot.as_mut_slice().as_mut_ptr().cast() });
        slot.commit(8 * W, 0).expect("the receiver lives");
    }
}

impl<const W: usize, const SLEEPS: bool> RxInPlace<W> for End<SLEEPS> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        let slot = self.0.acquire_rx(looks(SLEEPS)).expect("the sender lives");
        let found = read(bytemuck::from_bytes(slot.data()));
        slot.commit().expect("the sender lives");
        found
    }
}

fn path(made: &Path) -> Result<&str> {
    made.to_str().context("the path of a piece is no text")
}

impl<const W: usize, const SLEEPS: bool> Peer<W> for Tachyon<SLEEPS> {
    const NAME: &'static str = super::TACHYON;
    const KIND: Kind = Kind::SharedMemory;
    const BATCH: &'static str = "commit_unflushed, flush; drain_batch";
    type Made = std::path::PathBuf;
    type Tx = End<SLEEPS>;
    type Rx = End<SLEEPS>;

    fn make(place: &Place) -> Result<Self::Made> {
        Ok(place.path.clone())
    }

    /// Waits until the receiving side has connected.
    fn tx(made: &mut Self::Made) -> Result<End<SLEEPS>> {
        // Its receiver gives room back after every 32nd message only: with less than that both would wait for ever.
        let room = (2 * ring_bytes::<W>()).max(64 * (8 * W + 64)).next_power_of_two();
        let bus = Bus::listen(path(made)?, room).map_err(|error| anyhow!("{error:?}"))?;
        bus.set_polling_mode(i32::from(!SLEEPS));
        Ok(End(bus))
    }

    fn rx(made: &mut Self::Made) -> Result<End<SLEEPS>> {
        let bus = loop {
            match Bus::connect(path(made)?) {
                Ok(bus) => break bus,
                // Its sender listens soon.
                Err(_) => std::thread::yield_now(),
            }
        };
        bus.set_polling_mode(i32::from(!SLEEPS));
        Ok(End(bus))
    }
}
