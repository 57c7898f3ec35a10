//! Peers that are not here, and why: in every row, so that nobody looks for them.

use crate::peer::Kind;
use crate::rows::{Entry, Run, batch, fan_in, in_place, round_trip, stream, wake};

const AERON: &str = "its crate builds the C client with CMake, and messages need a media driver beside it";
#[cfg(not(feature = "tachyon"))]
const UNBUILT: &str = "needs a compiler of C++23 and libclang (`--features tachyon`)";

pub(crate) fn entries() -> Vec<Entry> {
    [
        absent("Aeron IPC", AERON),
        #[cfg(not(feature = "tachyon"))]
        absent(super::TACHYON, UNBUILT),
    ]
    .concat()
}

fn absent(peer: &'static str, why: &'static str) -> Vec<Entry> {
    let kind = Kind::SharedMemory;
    let rows = [
        round_trip::row::<1>(),
        round_trip::row::<6>(),
        stream::row::<1>(),
        stream::row::<8>(),
        stream::row::<64>(),
        stream::row::<512>(),
        stream::row::<2048>(),
        stream::row::<8192>(),
        batch::row::<1>(),
        batch::row::<8>(),
        batch::SLICE.to_owned(),
    ];
    let mut entries: Vec<Entry> = rows.into_iter().map(|row| Entry::cannot(row, peer, kind, why)).collect();
    entries.extend(in_place::cannot(peer, kind, why));
    entries.push(wake::cannot(peer, kind, why));
    entries.extend(fan_in::cannot(peer, kind, why));
    entries.into_iter().map(|entry| Entry { run: Run::Absent(why), ..entry }).collect()
}
