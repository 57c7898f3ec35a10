//! Where the words of each file lie, bytes from its start; `docs/format.md` has them in one table, and a test compares the two.

/// Offsets in `queue`.
pub mod queue {
    /// [`Limits`](super::super::Limits).
    pub const LIMITS: usize = 256;
    /// [`Note`](super::super::Note).
    pub const NOTE: usize = 384;
}

/// Offsets in `bell`.
pub mod bell {
    /// `u32`, the futex word that the receiver sleeps on; each ring adds one.
    pub const SEQ: usize = 256;
    /// `u64`, `CLOCK_MONOTONIC` of the last ring, nanoseconds: lets the sleeper learn what a sleep costs.
    pub const RUNG_AT: usize = 264;
    /// `u64`, changes when a sender attaches.
    pub const LANES_EPOCH: usize = 384;
    /// `u64`, reserved for stamps that order messages across lanes.
    pub const STAMP: usize = 512;
}

/// Offsets in `receiver`.
pub mod receiver {
    /// `u32`, odd while the receiver sleeps.
    pub const SLEEPS: usize = 256;
    /// `u32`, a [`Role`](super::super::Role).
    pub const ROLE: usize = 384;
    /// `u64`, how often a receiver has attached.
    pub const ATTACHES: usize = 392;
    /// The first lane's slot.
    pub const SLOTS: usize = 4096;
}

/// Offsets in a lane's slot of `receiver`.
pub mod slot {
    /// `u64`, everything below this position has been released.
    pub const READ_POS: usize = 0;
    /// `u64`, messages released.
    pub const RECEIVED: usize = 8;
    /// `u32`, 0, or the [`Fault`](crate::Fault) for which the lane was poisoned.
    pub const FAULT: usize = 64;
    /// `u64`, where the lane is damaged.
    pub const FAULT_POSITION: usize = 72;
    /// `u64`, the word that was found there.
    pub const FAULT_FOUND: usize = 80;
    /// `u32`, the futex word that the lane's sender sleeps on when it waits for room.
    pub const SEQ: usize = 128;
    /// `u64`, `CLOCK_MONOTONIC` of the last ring, nanoseconds.
    pub const RUNG_AT: usize = 136;
    /// Bytes of a slot.
    pub const LEN: usize = 256;
}

/// Offsets in `ledger`, which the receiver writes.
pub mod ledger {
    /// `u32`, the futex word of those who wait for what becomes of a message.
    pub const SEQ: usize = 256;
    /// `u64`, how many entries stand where they do not belong, for want of room there.
    pub const SPILLED: usize = 384;
    /// `u64` each, what was counted: see the mailbox's statistics.
    pub const COUNTERS: usize = 512;
    /// How many counters there are.
    pub const COUNTER_COUNT: usize = 32;
    /// `u64` each, messages by how long they took to be handed over.
    pub const HISTOGRAM: usize = 1024;
    /// How many classes of time there are: four for each power of two, nanoseconds.
    pub const HISTOGRAM_CLASSES: usize = 256;
    /// The entries.
    pub const ENTRIES: usize = super::super::RING;
}

/// Offsets in an entry of the ledger.
pub mod entry {
    /// `u64`, which message; 0: never used.
    pub const KEY: usize = 0;
    /// `u64`, its state (8 bits), the reason (8), attempts (16), and the order in which it got there (32); 0: none.
    pub const STATE: usize = 8;
    /// `u64`, when it got there, nanoseconds since the boot.
    pub const AT: usize = 16;
    /// `u64`, what else there is to say, depending on the state.
    pub const EXTRA: usize = 24;
    /// Bytes of an entry.
    pub const LEN: usize = 32;
}

/// Offsets in `desk`, which anyone may write: hints, which cost whoever believes them a look.
pub mod desk {
    /// `u64`, grows with each sleep of somebody who waits for what becomes of a message.
    pub const WAITS: usize = 256;
    /// `u64`, grows when somebody left word about a message that was sent before.
    pub const WORDS: usize = 384;
    /// `u64`, messages that their senders did not send because too many were waiting.
    pub const REFUSED: usize = 512;
}

/// Offsets in `lane-NNN`.
pub mod lane {
    /// `u64`, a position at or below the sender's own, on a record's boundary.
    pub const WRITE_HINT: usize = 256;
    /// `u64`, messages committed, as far as the hint goes.
    pub const SENT: usize = 264;
    /// `u64`, the receiver's position that the sender last accepted: nothing at or above it has been overwritten.
    pub const ACCEPTED: usize = 384;
    /// `u64`, 0, or 1 + the position at which the sender closed the lane.
    pub const CLOSED_AT: usize = 392;
    /// `u64`, how often a sender has attached.
    pub const ATTACHES: usize = 400;
    /// `u64`, how often the sender found the lane full.
    pub const FULL_EVENTS: usize = 408;
    /// `u64`, messages dropped because there was no room.
    pub const DROPPED: usize = 416;
    /// `u32`, 1 while the pressure is high, as the sender last saw it.
    pub const PRESSURE: usize = 424;
    /// `u64`, bytes of segments that are reserved.
    pub const RESERVED: usize = 432;
    /// `u64`, the most bytes that have been waiting, as far as the sender looked.
    pub const HIGH_WATER: usize = 440;
    /// `u32`, odd while the sender sleeps.
    pub const SLEEPS: usize = 512;
    /// The segment table, an entry after the other.
    pub const SEGMENTS: usize = 1024;
}

/// Offsets in an entry of a lane's segment table.
pub mod segment {
    /// `u64`, the first position in the segment.
    pub const START: usize = 0;
    /// `u64`, the position behind its last; 0 for an entry that is not in use.
    pub const END: usize = 8;
    /// `u64`, where in the file the segment starts, and in the six lowest bits the logarithm of its window.
    pub const FILE: usize = 16;
    /// `u64`, the position of the jump that leads to it.
    pub const FROM: usize = 24;
    /// Bytes of an entry.
    pub const LEN: usize = 32;
}
