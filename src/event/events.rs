//! A receiver as a descriptor, for event loops.

use super::source::{Notify, Source};
use crate::queue::Receiver;
use crate::sys::eventfd::EventFd;
use std::borrow::BorrowMut;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A receiver with a descriptor that is readable when it is worth looking: for `epoll`, `poll`, `select` and everything built on
/// them. Made from a receiver, or from a `&mut` to one.
///
/// The descriptor is level-triggered: it stays readable until [`rearm`](Self::rearm). Readable means *look*, not that there is a
/// message; it is readable from the start. So a turn of the loop goes:
///
/// 1. the descriptor is readable;
/// 2. take what there is from [`mail`](Self::mail), by `try_recv` until it says `Empty`, by `try_iter`, or by `drain`;
/// 3. [`rearm`](Self::rearm). If it says [`Mail`](Rearmed::Mail), there is some already and the descriptor is still readable: look again
///    now, or in the next turn.
///
/// No message is missed between 2 and 3: whatever is committed before the descriptor is armed is found by `rearm`, and what comes
/// after makes it readable. Whoever takes only some of what there is and then rearms is told `Mail`. Once every lane has closed, or the queue was
/// removed, `rearm` always says `Mail`, as a socket at its end stays readable: then drop it.
///
/// Nobody reads or writes the descriptor but this library. It belongs to this process, and is gone with it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// use laneway::event::{Events, Rearmed};
/// let events = Events::new(queue.receiver()?)?;
/// // ... register `events.as_fd()` for reading, and whenever it is readable:
/// loop {
///     events.mail().try_iter().for_each(|message| println!("{message:?}"));
///     if events.rearm() == Rearmed::Quiet {
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events<R: BorrowMut<Receiver> = Receiver> {
    receiver: R,
    source: Source,
}

/// What [`Events::rearm`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "when there is mail already, nobody will come to tell"]
pub enum Rearmed {
    /// Nothing: the descriptor is readable again when that changes.
    Quiet,
    /// A message, an end, or damage that was not reported yet: the descriptor is readable still.
    Mail,
}

impl<R: BorrowMut<Receiver>> Events<R> {
    /// Has the receiver watched for. Readable from the start, so that the first turn looks.
    ///
    /// # Errors
    /// When there are no descriptors left, or no threads: the first of a process starts one.
    pub fn new(receiver: R) -> io::Result<Events<R>> {
        let descriptor = EventFd::new()?;
        descriptor.signal();
        let source = Source::new(receiver.borrow(), Notify::Descriptor(descriptor))?;
        Ok(Events { receiver, source })
    }

    /// The receiver, awake: senders do not ring until the next [`rearm`](Self::rearm). Waiting in a `recv` of its own does no harm as long as
    /// that comes before the loop waits again.
    pub fn mail(&self) -> &Receiver {
        let receiver = self.receiver.borrow();
        self.source.disarm(receiver);
        receiver
    }

    /// From here on the descriptor becomes readable when something comes; says whether something has already. Costs two system calls.
    pub fn rearm(&self) -> Rearmed {
        let receiver = self.receiver.borrow();
        // Before it is armed: who rings from then on makes it readable after this.
        self.descriptor().clear();
        self.source.arm(receiver);
        if !receiver.has_event() {
            return Rearmed::Quiet;
        }
        self.source.disarm(receiver);
        self.source.tell();
        Rearmed::Mail
    }

    /// Whether the descriptor is armed: [`rearm`](Self::rearm) said `Quiet`, and nobody has asked for the [`mail`](Self::mail) since.
    pub fn is_armed(&self) -> bool {
        self.source.is_armed()
    }

    /// Gives the receiver back.
    pub fn into_inner(self) -> R {
        self.source.disarm(self.receiver.borrow());
        self.receiver
    }

    fn descriptor(&self) -> &EventFd {
        match self.source.notify() {
            Notify::Descriptor(descriptor) => descriptor,
            _ => unreachable!("it was made with a descriptor"),
        }
    }
}

impl<R: BorrowMut<Receiver>> AsFd for Events<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor().as_fd()
    }
}

impl<R: BorrowMut<Receiver>> AsRawFd for Events<R> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<R: BorrowMut<Receiver>> fmt::Debug for Events<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("receiver", self.receiver.borrow()).field("armed", &self.is_armed()).finish()
    }
}
