//! Descriptors that are readable after somebody has said so, for whatever waits for descriptors: eventfd(2).

use nix::sys::eventfd::{EfdFlags, EventFd as Descriptor};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// One of them.
pub(crate) struct EventFd(Descriptor);

impl EventFd {
    /// Not readable yet. Reading it never blocks, and a program that this process becomes does not have it.
    pub(crate) fn new() -> io::Result<EventFd> {
        Ok(EventFd(Descriptor::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
    }

    /// Makes it readable, until it is cleared.
    pub(crate) fn signal(&self) {
        // Refused only when it has been signalled 2^64 times: it is readable then.
        let _ = self.0.write(1);
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        // Refused when it is not readable anyway.
        let _ = self.0.read();
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
