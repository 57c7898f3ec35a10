//! What a peer has to be able to do, and what it may be able to do besides. Everything here is dispatched at compile time:
//! inside a timed loop there is no call that the optimiser cannot see through.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// Where a peer's two ends may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// laneway itself: between processes.
    Laneway,
    /// What the machine allows, with no queue around it.
    Limit,
    /// Between threads of one process.
    Ring,
    /// Between processes, through memory that they share.
    SharedMemory,
    /// Between processes, through the kernel: every receive that finds nothing sleeps there.
    Kernel,
}

impl Kind {
    /// As the tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Laneway => "laneway",
            Kind::Limit => "limit",
            Kind::Ring => "threads",
            Kind::SharedMemory => "shared memory",
            Kind::Kernel => "kernel",
        }
    }

    /// Whether it serves processes.
    pub(crate) fn crosses(self) -> bool {
        matches!(self, Kind::SharedMemory | Kind::Kernel)
    }
}

/// Where a peer may put its files, and how large it may be.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A path that nobody else uses; nothing is there.
    pub(crate) path: PathBuf,
    /// Into how many parts the memory goes: 1, or the number of senders where each has memory of its own.
    pub(crate) senders: usize,
}

impl Place {
    /// One direction of a piece.
    pub(crate) fn new(directory: &Path, name: &str, senders: usize) -> Place {
        Place { path: directory.join(name), senders }
    }
}

/// Bytes that every peer gets, where it can be told.
const RING_BYTES: usize = 256 << 10;

/// Messages of `W` words that every peer has room for, where it can be told: 256 KiB of them, and 8 at least.
pub(crate) const fn slots<const W: usize>() -> usize {
    let slots = RING_BYTES / (8 * W);
    // A power of two, as some peers demand.
    if slots < 8 { 8 } else { 1 << slots.ilog2() }
}

/// The bytes that these messages take.
pub(crate) const fn ring_bytes<const W: usize>() -> usize {
    slots::<W>() * 8 * W
}

/// A sending end for messages of `W` words.
pub(crate) trait Tx<const W: usize> {
    /// Copies a message in, as soon as there is room.
    fn send(&mut self, message: &[u64; W]);

    /// Copies several in. Who has a way of its own for that overrides it, and says so in [`Peer::BATCH`].
    #[inline(always)]
    fn send_batch(&mut self, messages: &[[u64; W]]) {
        messages.iter().for_each(|message| self.send(message));
    }
}

/// A receiving end for messages of `W` words.
pub(crate) trait Rx<const W: usize> {
    /// Copies the next message out, as soon as it is there.
    fn recv(&mut self, to: &mut [u64; W]);

    /// Copies at least one message out, and as many as are there and fit. Returns how many.
    #[inline(always)]
    fn recv_batch(&mut self, to: &mut [[u64; W]]) -> usize {
        self.recv(&mut to[0]);
        1
    }
}

/// A sending end whose messages are written where they will lie.
pub(crate) trait TxInPlace<const W: usize> {
    /// Lets `fill` write every word of the next message.
    fn send_with(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u64>; W]));
}

/// A receiving end whose messages are read where they lie.
pub(crate) trait RxInPlace<const W: usize> {
    /// Lets `read` look at the next message.
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u64; W]) -> T) -> T;
}

/// A way to send messages of `W` words from one thread or process to another.
///
/// A piece makes it, forks (or starts a thread), and each side then makes its own ends. Whoever lives between threads has its
/// ends ready in `Made`; whoever lives between processes has a path or descriptors there.
pub(crate) trait Peer<const W: usize> {
    /// As the tables name it.
    const NAME: &'static str;
    /// Where it lives.
    const KIND: Kind;
    /// How it sends and receives several messages at once.
    const BATCH: &'static str = "one by one";
    /// About how long a short message takes, for the length of a piece and for nothing else.
    const ABOUT_NS: usize = if matches!(Self::KIND, Kind::Kernel) { 1_000 } else { 30 };
    /// What both sides inherit.
    type Made: Send;
    /// See [`Tx`].
    type Tx: Tx<W>;
    /// See [`Rx`].
    type Rx: Rx<W>;

    /// Before there are two sides.
    fn make(place: &Place) -> Result<Self::Made>;
    /// On the side that sends.
    fn tx(made: &mut Self::Made) -> Result<Self::Tx>;
    /// On the side that receives.
    fn rx(made: &mut Self::Made) -> Result<Self::Rx>;
}

/// A peer of which [`Peer::tx`] can be asked several times.
pub(crate) trait ManySenders<const W: usize>: Peer<W> {}

/// The ends of a peer between threads, until somebody takes them.
pub(crate) type Ends<T, R> = (Option<T>, Option<R>);

/// Takes an end that is there once.
pub(crate) fn take<T>(end: &mut Option<T>) -> Result<T> {
    end.take().ok_or_else(|| anyhow::anyhow!("this end was taken already"))
}
