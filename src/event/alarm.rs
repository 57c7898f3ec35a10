//! A descriptor that is readable when it is worth looking, whatever at.

use super::source::{Notify, Sleeps, Source};
use crate::sys::eventfd::EventFd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What `rearm` found: of [`Events`](super::Events), [`RoomEvents`](super::RoomEvents) and [`OutcomeEvents`](super::OutcomeEvents).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "when there is something already, nobody will come to tell"]
pub enum Rearmed {
    /// Nothing: the descriptor is readable again when that changes.
    Quiet,
    /// What is waited for, or a reason to wait no more: the descriptor is readable still.
    Ready,
}

/// The descriptor of one who waits. Readable from the start.
pub(super) struct Alarm {
    source: Source,
}

impl Alarm {
    pub(super) fn new(of: &impl Sleeps) -> io::Result<Alarm> {
        let descriptor = EventFd::new()?;
        descriptor.signal();
        Ok(Alarm { source: Source::new(of, Notify::Descriptor(descriptor))? })
    }

    /// Not readable from here on, until somebody rings, unless `look`, which looks at everything, finds something.
    pub(super) fn rearm<S: Sleeps>(&self, of: &mut S, look: impl FnOnce(&mut S) -> bool) -> Rearmed {
        // Before it is armed: who rings from then on makes it readable after this.
        self.descriptor().clear();
        self.source.arm(of);
        if !look(of) {
            return Rearmed::Quiet;
        }
        self.source.disarm(of);
        self.source.tell();
        Rearmed::Ready
    }

    pub(super) fn disarm(&self, of: &impl Sleeps) {
        self.source.disarm(of);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.source.is_armed()
    }

    /// Readable when so much time has passed, besides.
    pub(super) fn tell_in(&self, time: Duration) {
        self.source.tell_in(time);
    }

    fn descriptor(&self) -> &EventFd {
        match self.source.notify() {
            Notify::Descriptor(descriptor) => descriptor,
            _ => unreachable!("it was made with a descriptor"),
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }
}
