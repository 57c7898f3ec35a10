//! Word that somebody leaves about messages that were sent before: that one is not wanted any more, or that a newer one has
//! come. It goes through a queue of its own, so that it is read before any mail, and stays there until its receiver has
//! written it into the ledger.

use crate::queue::Ticket;
use bytemuck::{Pod, Zeroable};

/// What is left word of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Word {
    /// A [`What`].
    what: u32,
    lane: u32,
    position: u64,
    /// What messages share that a newer one takes the place of.
    pub(super) key: u64,
    /// When the newer one was sent.
    pub(super) sent_at: u64,
}

/// What a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// This message is not wanted any more.
    Cancel(Ticket),
    /// Messages with this key that were sent before this one have been superseded by it.
    Supersede(Ticket),
}

impl Word {
    pub(super) fn cancel(message: Ticket, now: u64) -> Word {
        Word { what: 1, lane: message.lane, position: message.position, key: 0, sent_at: now }
    }

    pub(super) fn supersede(newer: Ticket, key: u64, sent_at: u64) -> Word {
        Word { what: 2, lane: newer.lane, position: newer.position, key, sent_at }
    }

    /// None for what no sender of this version says.
    pub(super) fn what(&self) -> Option<What> {
        let message = Ticket { lane: self.lane, position: self.position };
        match self.what {
            1 => Some(What::Cancel(message)),
            2 => Some(What::Supersede(message)),
            _ => None,
        }
    }
}
