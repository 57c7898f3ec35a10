//! A receiver as a descriptor, for event loops.

use super::alarm::{Alarm, Rearmed};
use crate::queue::Receiver;
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
/// 3. [`rearm`](Self::rearm). If it says [`Ready`](Rearmed::Ready), there is some already and the descriptor is still readable: look again
///    now, or in the next turn.
///
/// No message is missed between 2 and 3: whatever is committed before the descriptor is armed is found by `rearm`, and what comes
/// after makes it readable. Whoever takes only some of what there is and then rearms is told `Ready`. Once every lane has closed, or the queue was
/// removed, `rearm` always says `Ready`, as a socket at its end stays readable: then drop it.
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
    alarm: Alarm,
}

impl<R: BorrowMut<Receiver>> Events<R> {
    /// Has the receiver watched for. Readable from the start, so that the first turn looks.
    ///
    /// # Errors
    /// When there are no descriptors left, or no threads: the first of a process starts one.
    pub fn new(receiver: R) -> io::Result<Events<R>> {
        let alarm = Alarm::new(receiver.borrow())?;
        Ok(Events { receiver, alarm })
    }

    /// The receiver, awake: senders do not ring until the next [`rearm`](Self::rearm). Waiting in a `recv` of its own does no harm as long as
    /// that comes before the loop waits again.
    pub fn mail(&self) -> &Receiver {
        let receiver = self.receiver.borrow();
        self.alarm.disarm(receiver);
        receiver
    }

    /// From here on the descriptor becomes readable when something comes; says whether something has already. Costs two system calls.
    pub fn rearm(&self) -> Rearmed {
        self.alarm.rearm(&mut self.receiver.borrow(), |receiver| receiver.has_event())
    }

    /// Whether the descriptor is armed: [`rearm`](Self::rearm) said `Quiet`, and nobody has asked for the [`mail`](Self::mail) since.
    pub fn is_armed(&self) -> bool {
        self.alarm.is_armed()
    }

    /// Gives the receiver back.
    pub fn into_inner(self) -> R {
        self.alarm.disarm(self.receiver.borrow());
        self.receiver
    }
}

impl<R: BorrowMut<Receiver>> AsFd for Events<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
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
