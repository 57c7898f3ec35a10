//! ipmpsc: a ring in a file, behind a mutex that processes share, for what serde can write.

use super::{many_to_one, one_to_one};
use crate::peer::{Kind, ManySenders, Peer, Place, Rx, Tx, ring_bytes};
use crate::rows::{Entry, in_place, wake};
use anyhow::{Context, Result};
use ipmpsc::{Receiver, Sender, SharedRingBuffer};
use serde_bytes::Bytes;
use std::hint::spin_loop;

/// Its receiver spins with `try_recv`, or sleeps.
struct Ipmpsc<const SLEEPS: bool>;

const NAME: &str = "ipmpsc";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<Ipmpsc<false>>();
    entries.extend(in_place::cannot(NAME, Kind::SharedMemory, "writes what serde serialises"));
    entries.push(wake::entry::<Ipmpsc<true>>("recv"));
    entries.extend(many_to_one::<Ipmpsc<false>, Ipmpsc<true>>("", "recv"));
    entries
}

struct IpmpscTx(Sender);

impl<const W: usize> Tx<W> for IpmpscTx {
    fn send(&mut self, message: &[u64; W]) {
        self.0.send(&Bytes::new(bytemuck::bytes_of(message))).expect("the ring is sound");
    }
}

struct IpmpscRx<const SLEEPS: bool>(Receiver);

impl<const W: usize, const SLEEPS: bool> Rx<W> for IpmpscRx<SLEEPS> {
    fn recv(&mut self, to: &mut [u64; W]) {
        // Read where it lies and copied once: its own way for bytes.
        let to = bytemuck::bytes_of_mut(to);
        loop {
            let mut context = self.0.zero_copy_context();
            let found: Option<&[u8]> = match SLEEPS {
                true => Some(context.recv().expect("the ring is sound")),
                false => context.try_recv().expect("the ring is sound"),
            };
            match found {
                Some(bytes) => return to.copy_from_slice(bytes),
                None => spin_loop(),
            }
        }
    }
}

impl<const W: usize, const SLEEPS: bool> Peer<W> for Ipmpsc<SLEEPS> {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::SharedMemory;
    const ABOUT_NS: usize = 500;
    type Made = String;
    type Tx = IpmpscTx;
    type Rx = IpmpscRx<SLEEPS>;

    fn make(place: &Place) -> Result<String> {
        let path = place.path.to_str().context("the path of a piece is no text")?.to_owned();
        SharedRingBuffer::create(&path, ring_bytes::<W>() as u32)?;
        Ok(path)
    }

    fn tx(made: &mut String) -> Result<IpmpscTx> {
        Ok(IpmpscTx(Sender::new(SharedRingBuffer::open(made)?)))
    }

    fn rx(made: &mut String) -> Result<IpmpscRx<SLEEPS>> {
        Ok(IpmpscRx(Receiver::new(SharedRingBuffer::open(made)?)))
    }
}

impl<const W: usize, const SLEEPS: bool> ManySenders<W> for Ipmpsc<SLEEPS> {}
