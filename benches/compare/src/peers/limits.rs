//! The limits of the machine, measured in the same way as the peers.

use crate::peer::{Kind, Peer, Place, Rx, Tx, ring_bytes, slots};
use crate::rows::{Entry, round_trip, stream, wake};
use anyhow::Result;
use laneway_measure::Shared;
use laneway_measure::limit::{CopyStream, FutexWake};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        round_trip::limit::<1>(),
        round_trip::limit::<6>(),
        stream::entry::<64, Copies>(),
        stream::entry::<512, Copies>(),
        stream::entry::<2048, Copies>(),
        stream::entry::<8192, Copies>(),
        wake::entry::<Futex>("FUTEX_WAIT and FUTEX_WAKE"),
    ]
}

/// A file for both sides; never unmapped, for the piece's process ends soon.
fn mapped(path: &Path) -> Result<&'static Shared> {
    Ok(Box::leak(Box::new(Shared::open(path)?)))
}

/// Copies into slots with a flag each.
struct Copies;

struct CopyEnd(CopyStream<'static>);

impl<const W: usize> Tx<W> for CopyEnd {
    #[inline(always)]
    fn send(&mut self, message: &[u64; W]) {
        self.0.send(bytemuck::bytes_of(message));
    }
}

impl<const W: usize> Rx<W> for CopyEnd {
    #[inline(always)]
    fn recv(&mut self, to: &mut [u64; W]) {
        self.0.receive(bytemuck::bytes_of_mut(to));
    }
}

impl<const W: usize> Peer<W> for Copies {
    const NAME: &'static str = "copies";
    const KIND: Kind = Kind::Limit;
    type Made = PathBuf;
    type Tx = CopyEnd;
    type Rx = CopyEnd;

    fn make(place: &Place) -> Result<PathBuf> {
        assert_eq!(ring_bytes::<W>(), slots::<W>() * 8 * W);
        Shared::create(&place.path, CopyStream::memory_len(slots::<W>(), 8 * W) as u64)?;
        Ok(place.path.clone())
    }

    fn tx(made: &mut PathBuf) -> Result<CopyEnd> {
        Ok(CopyEnd(CopyStream::new(mapped(made)?, slots::<W>(), 8 * W)))
    }

    fn rx(made: &mut PathBuf) -> Result<CopyEnd> {
        <Self as Peer<W>>::tx(made)
    }
}

/// A futex and a stamp.
struct Futex;

struct FutexEnd {
    futex: FutexWake<'static>,
    /// How many wakes the sleeper has had: a stamp that nobody has taken would be overwritten.
    woken: &'static AtomicU64,
    turn: u64,
}

impl Tx<{ wake::WORDS }> for FutexEnd {
    fn send(&mut self, message: &[u64; wake::WORDS]) {
        while self.woken.load(Ordering::Acquire) < self.turn {
            std::hint::spin_loop();
        }
        self.futex.wake(message[1]);
        self.turn += 1;
    }
}

impl Rx<{ wake::WORDS }> for FutexEnd {
    fn recv(&mut self, to: &mut [u64; wake::WORDS]) {
        *to = [self.turn, self.futex.sleep()];
        self.turn += 1;
        self.woken.store(self.turn, Ordering::Release);
    }
}

impl Peer<{ wake::WORDS }> for Futex {
    const NAME: &'static str = "futex";
    const KIND: Kind = Kind::Limit;
    type Made = PathBuf;
    type Tx = FutexEnd;
    type Rx = FutexEnd;

    fn make(place: &Place) -> Result<PathBuf> {
        Shared::create(&place.path, FutexWake::LEN as u64 + 4096)?;
        Ok(place.path.clone())
    }

    fn tx(made: &mut PathBuf) -> Result<FutexEnd> {
        let memory = mapped(made)?;
        Ok(FutexEnd { futex: FutexWake::new(memory), woken: memory.word(FutexWake::LEN), turn: 0 })
    }

    fn rx(made: &mut PathBuf) -> Result<FutexEnd> {
        <Self as Peer<{ wake::WORDS }>>::tx(made)
    }
}
