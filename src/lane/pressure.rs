//! How much is waiting in a lane, and whether that is too much.

use crate::layout::Limits;
use crate::segments::{self, Entry};
use std::fmt;

/// Whether a lane's receiver keeps up.
///
/// High from the moment at which more bytes wait than the queue's high-water mark, or any wait outside the ring; normal
/// again when no more wait than the low-water mark, and all in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
#[repr(u32)]
pub enum Pressure {
    /// It does.
    #[default]
    Normal = 0,
    /// It does not: who can should send less.
    High = 1,
}

impl Pressure {
    /// As the lane's word says it; whoever scribbles there is believed as far as the marks allow.
    pub(super) fn of_word(word: u32) -> Pressure {
        if word == Pressure::High as u32 { Pressure::High } else { Pressure::Normal }
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Pressure::Normal => "normal",
            Pressure::High => "high",
        })
    }
}

/// The marks of a queue's lanes, bytes waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Marks {
    /// Those that the creator set, or three quarters and one quarter of the ring.
    pub(crate) fn new(limits: &Limits, capacity: u64) -> Marks {
        match limits.high_water {
            0 => Marks { high: capacity / 4 * 3, low: capacity / 4 },
            high => Marks { high, low: limits.low_water.min(high) },
        }
    }

    /// The pressure after `before`, now that so much waits.
    pub(crate) fn weigh(&self, before: Pressure, waiting: Waiting) -> Pressure {
        match before {
            _ if waiting.in_segments > 0 || waiting.bytes > self.high => Pressure::High,
            Pressure::High if waiting.bytes > self.low => Pressure::High,
            _ => Pressure::Normal,
        }
    }
}

/// What waits in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Waiting {
    /// Bytes that are committed and not released.
    pub(crate) bytes: u64,
    /// Those among them that lie in segments.
    pub(crate) in_segments: u64,
}

impl Waiting {
    /// What lies between two positions of a lane with these segments, whatever they say: never more than it can hold.
    pub(crate) fn between(entries: impl Iterator<Item = Entry>, read: u64, write: u64, most: u64) -> Waiting {
        let (skipped, within) = segments::measure(entries, read..write);
        let bytes = write.saturating_sub(read).saturating_sub(skipped).min(most);
        Waiting { bytes, in_segments: within.min(bytes) }
    }
}
