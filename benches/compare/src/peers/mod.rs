//! The peers, a file each. What each can do it says itself, and what it cannot do too.

mod absent;
mod crossbeam;
mod disruptor;
mod iceoryx2;
mod ipc_channel;
mod ipmpsc;
mod kanal;
mod kernel;
mod laneway;
mod limits;
mod rtrb;
mod shaq;
mod shmem_ipc;
#[cfg(feature = "tachyon")]
mod tachyon;

use crate::peer::{ManySenders, Peer};
use crate::rows::{Entry, batch, fan_in, round_trip, stream};

/// Its name, also where it is not built.
const TACHYON: &str = "tachyon-ipc";

/// Everything that every peer does or cannot do.
pub(crate) fn entries() -> Vec<Entry> {
    let all = [
        limits::entries,
        laneway::entries,
        rtrb::entries,
        crossbeam::entries,
        disruptor::entries,
        kanal::entries,
        shaq::entries,
        #[cfg(feature = "tachyon")]
        tachyon::entries,
        shmem_ipc::entries,
        iceoryx2::entries,
        ipmpsc::entries,
        ipc_channel::entries,
        kernel::entries,
        absent::entries,
    ];
    all.into_iter().flat_map(|entries| entries()).collect()
}

/// Messages of every size that is asked for: round trips, streams, batches.
pub(crate) trait AllSizes:
    Peer<1> + Peer<6> + Peer<8> + Peer<64> + Peer<128> + Peer<512> + Peer<2048> + Peer<8192>
{
}

impl<P> AllSizes for P where P: Peer<1> + Peer<6> + Peer<8> + Peer<64> + Peer<128> + Peer<512> + Peer<2048> + Peer<8192> {}

/// What a peer of one sender and one receiver does.
fn one_to_one<P: AllSizes>() -> Vec<Entry> {
    vec![
        round_trip::entry::<1, P>(),
        round_trip::entry::<6, P>(),
        stream::entry::<1, P>(),
        stream::entry::<8, P>(),
        stream::entry::<64, P>(),
        stream::entry::<512, P>(),
        stream::entry::<2048, P>(),
        stream::entry::<8192, P>(),
        batch::entry::<1, P>(),
        batch::entry::<8, P>(),
        batch::slice::<P>(),
    ]
}

/// What a peer of several senders does; `Waits` is the same peer with ends that sleep, where it has such.
fn many_to_one<P: ManySenders<{ fan_in::WORDS }>, Waits: ManySenders<{ fan_in::WORDS }>>(
    how: &'static str,
    how_it_waits: &'static str,
) -> Vec<Entry> {
    let mut entries = fan_in::entries::<P>(how);
    entries.push(fan_in::paced::<Waits>(how_it_waits));
    entries
}
