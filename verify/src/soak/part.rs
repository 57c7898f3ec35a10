//! What every process that is killed has: its place in the books, its random choices, its queue.

use super::page::{Page, token};
use laneway::Queue;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// What a process is at; what it was at when it was killed shows what the kills have hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Start,
    Attach,
    Send,
    Batch,
    Trim,
    Fork,
    Spawn,
    Detach,
    Receive,
    Release,
    Drain,
    Observe,
    Rival,
    Create,
    Destroy,
}

impl Phase {
    pub(crate) const ALL: [Phase; 15] = [
        Phase::Start,
        Phase::Attach,
        Phase::Send,
        Phase::Batch,
        Phase::Trim,
        Phase::Fork,
        Phase::Spawn,
        Phase::Detach,
        Phase::Receive,
        Phase::Release,
        Phase::Drain,
        Phase::Observe,
        Phase::Rival,
        Phase::Create,
        Phase::Destroy,
    ];
}

pub(crate) struct Part {
    pub(crate) page: &'static Page,
    pub(crate) slot: usize,
    pub(crate) incarnation: u32,
    pub(crate) epoch: u64,
    pub(crate) rng: fastrand::Rng,
    /// The longest message.
    pub(crate) max: usize,
    /// The parent's handle, which holds neither a lock nor a mapping.
    pub(crate) inherited: Queue,
    /// The directory that the queue lies in.
    pub(crate) root: PathBuf,
}

impl Part {
    fn token(&self) -> u64 {
        token(self.slot, self.incarnation)
    }

    pub(crate) fn phase(&self, phase: Phase) {
        self.page.slots[self.slot].phase.store(phase as u32, SeqCst);
    }

    pub(crate) fn complain(&self, what: &str) {
        self.page.complain(&format!("slot {}, incarnation {}: {what}", self.slot, self.incarnation));
    }

    pub(crate) fn finishing(&self) -> bool {
        self.page.finish.load(SeqCst)
    }

    /// The queue: opened, or the handle that was there before the fork.
    pub(crate) fn queue(&mut self) -> Queue {
        if self.rng.bool() {
            match Queue::open(self.inherited.path()) {
                Ok(queue) => return queue,
                Err(error) => self.complain(&format!("a queue that is there is refused: {error}")),
            }
        }
        self.inherited.clone()
    }

    /// Becomes the owner of something. Whoever owned it before said that it went, or was told to die.
    pub(crate) fn take(&self, owner: &AtomicU64, what: &str) {
        let before = owner.swap(self.token(), SeqCst);
        if before == 0 {
            return;
        }
        if self.page.is_doomed(before) {
            super::page::count(&self.page.counts.takeovers);
        } else {
            let (slot, incarnation) = ((before >> 32) - 1, before as u32);
            self.complain(&format!("two owners of {what}: slot {slot}, incarnation {incarnation} still lives"));
        }
    }

    /// Nobody takes from a process what it owns, however long it was stopped.
    pub(crate) fn must_own(&self, owner: &AtomicU64, what: &str) {
        let now = owner.load(SeqCst);
        if now != self.token() {
            self.complain(&format!("two owners of {what}: {now:#x} took it meanwhile"));
        }
    }

    /// Says that it goes, before it does.
    pub(crate) fn give_up(&self, owner: &AtomicU64) {
        let _ = owner.compare_exchange(self.token(), 0, SeqCst, SeqCst);
    }
}
