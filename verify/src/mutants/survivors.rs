//! What may be weakened unnoticed, and why it stays as it is. Whatever else survives fails the check, and so does what
//! stands here and is killed.

use super::sites::Site;

/// An ordering that no judge can miss.
pub(crate) struct Survivor {
    pub(crate) file: &'static str,
    /// The line, or so much of it that it is the only one.
    pub(crate) code: &'static str,
    /// Its edge.
    pub(crate) edge: &'static str,
    pub(crate) reason: &'static str,
}

impl Survivor {
    pub(crate) fn is(&self, site: &Site) -> bool {
        site.file == self.file && site.edge == self.edge && site.code.contains(self.code)
    }
}

const LOAD_BUFFERING: &str =
    "what it excludes is load buffering, which loom and Miri do not do; C11 and some processors do";
const VALUE_SAYS_ENOUGH: &str =
    "the receiver compares the value with a position that it reached by acquiring every commit before it";
const KERNEL: &str = "the other end is a listing of the directory, and the kernel orders it";

pub(crate) const SURVIVORS: &[Survivor] = &[
    Survivor { file: "src/bell.rs", code: "self.sleeps.store(count,", edge: "sleep", reason: LOAD_BUFFERING },
    Survivor { file: "src/bell.rs", code: "fence(", edge: "sleep", reason: LOAD_BUFFERING },
    Survivor {
        file: "src/lane/reader.rs",
        code: "self.closed_at.load_acquire()",
        edge: "close",
        reason: VALUE_SAYS_ENOUGH,
    },
    Survivor { file: "src/lane/writer.rs", code: "self.closed_at.store(", edge: "close", reason: VALUE_SAYS_ENOUGH },
    Survivor {
        file: "src/queue/receiver.rs",
        code: "self.sleeper.heavy_fence()",
        edge: "dekker",
        reason: "Miri knows no membarrier, and the sender's fence is a full one there; the same fence of the models' drain is killed",
    },
    Survivor {
        file: "src/queue/receiver.rs",
        code: "self.role.store(",
        edge: "close",
        reason: "a sender that learns of it overwrites nothing any more",
    },
    Survivor {
        file: "src/segments.rs",
        code: ".store(end, Ordering::Release)",
        edge: "segment",
        reason: "every way to it goes through `refresh`, whose fence of the edge lapped orders as much",
    },
    Survivor {
        file: "src/segments.rs",
        code: "fence(",
        edge: "segment",
        reason: "who finds the old end with the new start finds a run of no positions; kept for readers of docs/format.md alone",
    },
    Survivor { file: "src/queue/sender.rs", code: "epoch.fetch_add(", edge: "attach", reason: KERNEL },
    Survivor { file: "src/queue/receiver.rs", code: "self.lanes_epoch.load_acquire()", edge: "attach", reason: KERNEL },
];
