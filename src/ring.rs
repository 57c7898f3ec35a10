//! The ring of a lane: positions, records, and who may touch which byte when.
//!
//! Never waits, never allocates on the way of a message, never calls the kernel; knows nothing of files, processes or
//! bells. Every function says at once what it could do.
//!
//! # The algorithm
//!
//! ```text
//! write                                           read
//!   wait until next + 8 <= read_pos + capacity      word = commit word at next     (Acquire)
//!   unless it is clear: word at next = 0            0: nothing here yet
//!   copy the payload behind the commit word         check word, copy the payload
//!   commit word = length, kind, check  (Release)    read_pos = position after it   (Release)
//!   clear the line behind what is clear
//! ```
//!
//! The commit word in the record, instead of a cursor beside the ring, is that of Agrona's one-to-one ring buffer and
//! of the BPF ring buffer: one cache line carries a message. The copy of the peer's position in the handle is that of
//! FastForward and its successors (rtrb among them): stale, never ahead. The terminator and the free word behind
//! every record are ours, and let the ring keep its old bytes: a reader never finds a word of the last lap, because
//! the word at the writer's position is always 0 before anything in front of it is committed. Short records find it cleared,
//! two or three lines ahead of them, so that no commit word has to wait behind a store to another line.
//!
//! A full ring is left by a jump, which needs only that free word, for a segment; positions run on, and the reader
//! follows. The way back is a jump too, taken when the reader is beyond the one that left: then the ring is empty.

mod reader;
#[cfg(all(test, not(laneway_loom)))]
mod segment_tests;
#[cfg(all(test, not(laneway_loom)))]
mod tests;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::{Run, Writer};

use crate::error::Broken;
use crate::layout;

/// Why a claim was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no room now.
    Full,
    /// There is no room now, and none on the file system for more.
    NoSpace,
    /// There will never be room for that.
    TooLarge,
    Broken(Broken),
}

/// Bytes that the writer may fill and then commit. Forgetting it is harmless: nothing happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) position: u64,
    pub(crate) next: u64,
    pub(crate) len: u32,
    /// How far everything behind `next` is clear.
    clear_to: u64,
}

/// Whether a word can be a position at all.
pub(crate) fn is_position(word: u64) -> bool {
    word.is_multiple_of(8) && word < layout::POSITION_LIMIT
}
