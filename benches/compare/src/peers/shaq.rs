//! shaq: a ring in a file, for one sender and one receiver, and one for several.
#![expect(unsafe_code, reason = "shaq leaves to its caller who makes and who joins a file")]

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, RxInPlace, Tx, TxInPlace, slots};
use crate::rows::{Entry, in_place, wake};
use anyhow::{Result, anyhow};
use shaq::{mpmc, spsc};
use std::fs::File;
use std::hint::spin_loop;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Its receiver spins, or sleeps.
struct Spsc<const SLEEPS: bool>;
struct Mpmc<const SLEEPS: bool>;

const LONG: Duration = Duration::from_secs(60);

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Spsc<false>>();
    entries.push(in_place::entry::<128, Spsc<false>>("try_as_mut; read batch"));
    entries.push(in_place::entry::<8192, Spsc<false>>("try_as_mut; read batch"));
    entries.push(wake::entry::<Spsc<true>>("read_timeout"));
    entries.extend(many_to_one::<Mpmc<false>, Mpmc<true>>("its mpmc", "its mpmc; read_timeout"));
    entries
}

fn open(path: &PathBuf) -> Result<File> {
    Ok(File::options().read(true).write(true).open(path)?)
}

fn failed(error: shaq::error::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}

struct SpscTx<const W: usize>(spsc::Producer<[u64; W]>);

impl<const W: usize> Tx<W> for SpscTx<W> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        while self.0.try_write(*message).is_err() {
            spin_loop();
        }
    }

    #[inline(always)]
    fn send_batch(&mut self, mut messages: &[[u64; W]]) {
        while !messages.is_empty() {
            let mut batch = self.0.write_batch();
            let sent = messages.iter().take_while(|message| batch.try_write(**message).is_ok()).count();
            messages = &messages[sent..];
        }
    }
}

struct SpscRx<const W: usize, const SLEEPS: bool>(spsc::Consumer<[u64; W]>);

impl<const W: usize, const SLEEPS: bool> Rx<W> for SpscRx<W, SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        if SLEEPS {
            return *to = self.0.read_timeout(LONG).expect("the sender lives");
        }
        loop {
            match self.0.try_read() {
                Some(message) => return *to = message,
                None => spin_loop(),
            }
        }
    }

    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        let most = NonZeroUsize::new(to.len()).expect("there is room for one");
        loop {
            let Some(batch) = self.0.try_reserve_read_batch(most) else {
                spin_loop();
                continue;
            };
            let (first, second) = batch.as_slices();
            to[..first.len()].copy_from_slice(first);
            to[first.len()..][..second.len()].copy_from_slice(second);
            return first.len() + second.len();
        }
    }
}

impl<const W: usize> TxInPlace<W> for SpscTx<W> {
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W])) {
        loop {
            let mut batch = self.0.write_batch();
            // SAFETY: `fill` writes every word of the slot before the batch is dropped.
            if let Some(slot) = unsafe { batch.try_as_mut() } {
                // SAFETY: an array of words that may be uninitialised is as good as one that may be so as a whole.
                return fill(unsafe { &mut *slot.as_mut_ptr().cast() });
            }
            drop(batch);
            spin_loop();
        }
    }
}

impl<const W: usize, const SLEEPS: bool> RxInPlace<W> for SpscRx<W, SLEEPS> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T {
        loop {
            if let Some(batch) = self.0.try_reserve_read_batch(NonZeroUsize::MIN) {
                return read(&batch[0]);
            }
            spin_loop();
        }
    }
}

impl<const SLEEPS: bool, const W: usize> Peer<W> for Spsc<SLEEPS> {
    const NAME: &'static str = "shaq";
    const KIND: Kind = Kind::SharedMemory;
    const BATCH: &'static str = "write_batch; try_reserve_read_batch";
    type Made = PathBuf;
    type Tx = SpscTx<W>;
    type Rx = SpscRx<W, SLEEPS>;

    fn make(place: &Place) -> Result<PathBuf> {
        File::create_new(&place.path)?;
        // SAFETY: initialised here, once, and joined by one producer and one consumer when this one is gone.
        let made = unsafe {
            spsc::Producer::<[u64; W]>::create(&open(&place.path)?, spsc::minimum_file_size::<[u64; W]>(slots::<W>()))
        };
        drop(made.map_err(failed)?);
        Ok(place.path.clone())
    }

    fn tx(made: &mut PathBuf) -> Result<Self::Tx> {
        // SAFETY: the only producer; the items are plain words.
        Ok(SpscTx(unsafe { spsc::Producer::join(&open(made)?) }.map_err(failed)?))
    }

    fn rx(made: &mut PathBuf) -> Result<Self::Rx> {
        // SAFETY: the only consumer; the items are plain words.
        Ok(SpscRx(unsafe { spsc::Consumer::join(&open(made)?) }.map_err(failed)?))
    }
}

struct MpmcTx<const W: usize>(mpmc::Producer<[u64; W]>);

impl<const W: usize> Tx<W> for MpmcTx<W> {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        while self.0.try_write(*message).is_err() {
            spin_loop();
        }
    }
}

struct MpmcRx<const W: usize, const SLEEPS: bool>(mpmc::Consumer<[u64; W]>);

impl<const W: usize, const SLEEPS: bool> Rx<W> for MpmcRx<W, SLEEPS> {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        if SLEEPS {
            return *to = self.0.read_timeout(LONG).expect("the senders live");
        }
        loop {
            match self.0.try_read() {
                Some(message) => return *to = message,
                None => spin_loop(),
            }
        }
    }
}

impl<const SLEEPS: bool, const W: usize> Peer<W> for Mpmc<SLEEPS> {
    const NAME: &'static str = "shaq";
    const KIND: Kind = Kind::SharedMemory;
    type Made = PathBuf;
    type Tx = MpmcTx<W>;
    type Rx = MpmcRx<W, SLEEPS>;

    fn make(place: &Place) -> Result<PathBuf> {
        File::create_new(&place.path)?;
        // SAFETY: initialised here, once.
        let made = unsafe {
            mpmc::Producer::<[u64; W]>::create(&open(&place.path)?, mpmc::minimum_file_size::<[u64; W]>(slots::<W>()))
        };
        drop(made.map_err(failed)?);
        Ok(place.path.clone())
    }

    fn tx(made: &mut PathBuf) -> Result<Self::Tx> {
        // SAFETY: the file was initialised; the items are plain words.
        Ok(MpmcTx(unsafe { mpmc::Producer::join(&open(made)?) }.map_err(failed)?))
    }

    fn rx(made: &mut PathBuf) -> Result<Self::Rx> {
        // SAFETY: as above.
        Ok(MpmcRx(unsafe { mpmc::Consumer::join(&open(made)?) }.map_err(failed)?))
    }
}

impl<const SLEEPS: bool, const W: usize> ManySenders<W> for Mpmc<SLEEPS> {}
