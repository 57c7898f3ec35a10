//! Glances at a lane for its reader, from another thread of the reader's process, while the reader relies on being rung for.
//!
//! A sender that is killed between its commit and its ring leaves a message that nobody is told of. Whoever sleeps finds it when its
//! bounded sleep ends; whoever waits on an event loop is not woken for that, because somebody looks for it, with two loads a lane.

use crate::layout::CommitWord;
use crate::region::{Peer, Window};
use crate::ring::is_position;
use crate::segments::Table;
use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;

/// What it takes to glance at a lane.
pub(crate) struct Scout {
    pub(super) window: Window,
    pub(super) table: Table,
    pub(super) read_pos: Peer<AtomicU64>,
    pub(super) closed_at: Peer<AtomicU64>,
    pub(super) seen_closed: Cell<u64>,
}

impl Scout {
    /// Whether the reader should look: there is something behind what it has released, or the sender has closed the lane since the
    /// last glance. What cannot be true is for the reader to judge.
    pub(crate) fn has_something(&self) -> bool {
        let (position, closed) = (self.read_pos.load(), self.closed_at.load());
        let closed = self.seen_closed.replace(closed) != closed;
        closed || !is_position(position) || self.has_word(position)
    }

    fn has_word(&self, position: u64) -> bool {
        let Ok(place) = self.table.locate(position) else { return true };
        self.window.turn_to(&place);
        // ORDERING(hint): relaxed; the reader loads it again.
        self.window.word(position).load(Ordering::Relaxed) != CommitWord::NOTHING
    }
}
