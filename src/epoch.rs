//! The word by which a receiver learns that a lane has come, or that the queue is gone. In the bell's file: anyone may
//! write it, and it is a hint that makes others look at the directory.

use crate::layout;
use crate::region::{Own, Peer, Region};
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

/// The word, for whoever asks whether it has changed.
pub(crate) struct Epoch(Peer<AtomicU64>);

impl Epoch {
    /// The one in this bell's memory.
    pub(crate) fn new(bell: &Arc<Region>) -> Epoch {
        Epoch(bell.peer(layout::bell::LANES_EPOCH))
    }

    /// The word as it is: whether it is worth looking.
    #[inline(always)]
    pub(crate) fn glance(&self) -> u64 {
        self.0.load()
    }

    /// The word before a look at the directory, which then shows every lane that was announced.
    pub(crate) fn before_listing(&self) -> u64 {
        // ORDERING(attach): before the listing: a lane that comes during it changes the word again.
        self.0.load_acquire()
    }
}

/// Says that there is a new lane, whose file is in the directory. Returns the word as it is now.
pub(crate) fn announce(bell: &Arc<Region>) -> u64 {
    let epoch: Own<AtomicU64> = bell.own(layout::bell::LANES_EPOCH);
    // ORDERING(attach): the lane's file before the word that makes the receiver look for it. The kernel's locks may order
    // as much; nothing here knows of them.
    epoch.fetch_add(1, Ordering::Release).wrapping_add(1)
}
