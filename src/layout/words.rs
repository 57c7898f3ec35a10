//! The words of each file by their names: what [`offsets`](super::offsets) says, as tables, for whoever shows them all.

use super::offsets::{bell, desk, entry, lane, ledger, receiver, segment, slot};

/// A word of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// As in the format's page, in capitals.
    pub name: &'static str,
    /// Where it lies, bytes from the start of what it is in.
    pub offset: usize,
    /// 4 or 8 bytes.
    pub len: usize,
}

macro_rules! words {
    ($(#[$doc:meta])* $table:ident, $module:ident: $($word:ident $type:ty),*) => {
        $(#[$doc])*
        pub const $table: &[Word] =
            &[$(Word { name: stringify!($word), offset: $module::$word, len: size_of::<$type>() }),*];
    };
}

words!(/// Of `bell`.
    BELL_WORDS, bell: SEQ u32, RUNG_AT u64, LANES_EPOCH u64, STAMP u64);
words!(/// Of `receiver`.
    RECEIVER_WORDS, receiver: SLEEPS u32, ROLE u32, ATTACHES u64);
words!(/// Of a slot of `receiver`.
    SLOT_WORDS, slot: READ_POS u64, RECEIVED u64, FAULT u32, FAULT_POSITION u64, FAULT_FOUND u64, SEQ u32, RUNG_AT u64);
words!(/// Of `lane-NNN`.
    LANE_WORDS, lane: WRITE_HINT u64, SENT u64, ACCEPTED u64, CLOSED_AT u64, ATTACHES u64, FULL_EVENTS u64,
    DROPPED u64, PRESSURE u32, RESERVED u64, HIGH_WATER u64, SLEEPS u32);
words!(/// Of `ledger`.
    LEDGER_WORDS, ledger: SEQ u32, SPILLED u64);
words!(/// Of an entry of `ledger`.
    ENTRY_WORDS, entry: KEY u64, STATE u64, AT u64, EXTRA u64);
words!(/// Of `desk`.
    DESK_WORDS, desk: WAITS u64, WORDS u64, REFUSED u64);
words!(/// Of an entry of a lane's segment table.
    SEGMENT_WORDS, segment: START u64, END u64, FILE u64, FROM u64);
