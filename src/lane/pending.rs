//! What waits in a lane: a look that ends, however fast its sender and its receiver are.

use super::{Lapped, View};
use crate::layout::Kind;
use crate::record::Record;

/// How often a look may find that what it was about to copy has been overwritten.
const MOST_LAPPED: u32 = 256;

/// Goes over the messages that have not been released, the oldest first, as far as the sender was when the look began.
pub(crate) struct Pending<'a> {
    view: &'a View,
    at: u64,
    /// The sender's hint when the look began.
    hint: u64,
    /// Bytes that may still be passed, however the hint moves: there is no room for more.
    left: u64,
    lapped: u32,
    has_seen: bool,
}

impl<'a> Pending<'a> {
    pub(crate) fn new(view: &'a View) -> Pending<'a> {
        Pending { view, at: view.begin(), hint: view.hint(0), left: view.most(), lapped: 0, has_seen: false }
    }

    /// The next message, if one was there. Bytes are read by `read`, as in [`View::copy`].
    pub(crate) fn next(&mut self, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<(Record, Vec<u8>)> {
        while self.left > 0 && self.lapped < MOST_LAPPED && !self.is_over() {
            match self.view.copy(self.at, read) {
                Ok(None) | Err(Lapped::Damaged(_)) => break,
                Err(Lapped::By(position)) => {
                    self.at = position;
                    self.lapped += 1;
                    if !self.has_seen {
                        // All that was there is gone: what is there now instead.
                        self.hint = self.view.hint(0);
                    }
                }
                Ok(Some((record, payload))) => {
                    self.at = record.next;
                    self.left = self.left.saturating_sub(record.bytes());
                    if record.kind == Kind::Data {
                        self.has_seen = true;
                        return Some((record, payload));
                    }
                }
            }
        }
        None
    }

    /// Whether what comes next has come since. What a sender committed that died before it said so counts: its hint stays.
    fn is_over(&self) -> bool {
        self.at >= self.hint && self.view.hint(0) != self.hint
    }
}
