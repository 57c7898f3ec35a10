//! Handles for the loom models of the ledger: whoever writes it, and those who read it, wait for it, and leave word.

use crate::layout::{self, FenceMode, entry};
use crate::ledger::{Entry, Key, Ledger, LedgerView};
use crate::region::Region;
use crate::sys::fence::Fences;
use crate::sys::futex;
use std::sync::Arc;
use std::time::Duration;

/// The memory of a ledger and its desk.
pub struct Memory {
    ledger: Arc<Region>,
    desk: Arc<Region>,
    entries: u32,
    fence_mode: FenceMode,
}

impl Memory {
    /// A ledger that was just created, with room for so many messages, a power of two.
    pub fn new(entries: u32) -> Memory {
        futex::boot();
        let bytes = u64::from(entries) * entry::LEN as u64;
        Memory {
            // Without cells: who reads an entry while it changes hands finds out afterwards.
            ledger: Region::with_ring(&[layout::ledger::SPILLED], &[layout::ledger::SEQ], bytes, 0, true),
            desk: Region::model(&[layout::desk::WAITS, layout::desk::WORDS, layout::desk::REFUSED], &[]),
            entries,
            fence_mode: FenceMode::Symmetric,
        }
    }

    /// The same where the kernel makes the writer's fences.
    pub fn asymmetric(self) -> Memory {
        Memory { fence_mode: FenceMode::Asymmetric, ..self }
    }

    /// The one who writes, which has read all words that were left. The caller holds the receiver's lock.
    pub fn writer(&self) -> Writer {
        let fences = Fences::new(self.fence_mode);
        let ledger = Ledger::new(&self.ledger, &self.desk, self.entries, fences);
        ledger.has_word();
        Writer { ledger }
    }

    /// Anybody else.
    pub fn reader(&self) -> Reader {
        let fences = Fences::new(self.fence_mode);
        Reader { ledger: LedgerView::new(&self.ledger, &self.desk, self.entries, fences) }
    }
}

/// The message of this number, of one lane.
fn key(message: u64) -> Key {
    Key::message(0, 8 * message).expect("a position")
}

/// The receiver, as far as it writes what became of messages.
pub struct Writer {
    ledger: Ledger,
}

impl Writer {
    /// Writes a message's state, and when it got there, twice; in place of any other message's if there is no room.
    pub fn write(&self, message: u64, state: u8, at: u64) {
        let entry = Entry { state, reason: 0, attempts: 1, at, extra: at };
        self.ledger.write(key(message), &entry, |_, _| true).expect("all may be forgotten");
    }

    /// Whether somebody has left word since the last time.
    pub fn has_word(&self) -> bool {
        self.ledger.has_word()
    }

    /// Wakes those who wait.
    pub fn wake(&self) {
        self.ledger.wake();
    }
}

/// Somebody who asks what became of messages.
pub struct Reader {
    ledger: LedgerView,
}

impl Reader {
    /// A message's state, when it got there, and that once more.
    pub fn find(&self, message: u64) -> Option<(u8, u64, u64)> {
        self.ledger.find(key(message)).map(|entry| (entry.state, entry.at, entry.extra))
    }

    /// Leaves word, and says whether what is found from then on is final.
    pub fn leave_word(&self) -> bool {
        self.ledger.leave_word()
    }

    /// Sleeps until something is found of a message.
    pub fn wait(&self, message: u64) -> (u8, u64, u64) {
        loop {
            if let Some(found) = self.find(message) {
                return found;
            }
            self.ledger.sleep(Duration::MAX, || self.find(message).is_some());
        }
    }
}
