//! ipc-channel: bytes through Unix sockets, and through shared memory where they are many.

use super::{many_to_one, one_to_one};
use crate::peer::{Ends, Kind, ManySenders, Peer, Place, Rx, Tx, take};
use crate::rows::{Entry, in_place, wake};
use anyhow::{Context, Result};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

struct IpcChannel;

const NAME: &str = "ipc-channel";
const HOW: &str = "bytes_channel; sleeps in the kernel";

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = one_to_one::<IpcChannel>();
    entries.extend(in_place::cannot(NAME, Kind::Kernel, "copies in and out"));
    entries.push(wake::entry::<IpcChannel>(HOW));
    entries.extend(many_to_one::<IpcChannel, IpcChannel>("", HOW));
    entries
}

struct End<T>(T);

impl<const W: usize> Tx<W> for End<IpcBytesSender> {
    fn send(&mut self, message: &[u64; W]) {
        self.0.send(bytemuck::bytes_of(message)).expect("the receiver lives");
    }
}

impl<const W: usize> Rx<W> for End<IpcBytesReceiver> {
    fn recv(&mut self, to: &mut [u64; W]) {
        bytemuck::bytes_of_mut(to).copy_from_slice(&self.0.recv().expect("the sender lives"));
    }
}

impl<const W: usize> Peer<W> for IpcChannel {
    const NAME: &'static str = NAME;
    const KIND: Kind = Kind::Kernel;
    const ABOUT_NS: usize = 2_000;
    type Made = Ends<IpcBytesSender, IpcBytesReceiver>;
    type Tx = End<IpcBytesSender>;
    type Rx = End<IpcBytesReceiver>;

    fn make(_: &Place) -> Result<Self::Made> {
        let (tx, rx) = bytes_channel()?;
        Ok((Some(tx), Some(rx)))
    }

    fn tx(made: &mut Self::Made) -> Result<Self::Tx> {
        Ok(End(made.0.as_ref().context("there is no sender to clone")?.clone()))
    }

    fn rx(made: &mut Self::Made) -> Result<Self::Rx> {
        Ok(End(take(&mut made.1)?))
    }
}

impl<const W: usize> ManySenders<W> for IpcChannel {}
