//! A sender as a descriptor, for event loops.

use super::alarm::{Alarm, Rearmed};
use crate::error::TrySendError;
use crate::queue::Sender;
use std::borrow::BorrowMut;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A sender with a descriptor that is readable when it is worth sending again: as [`Events`](super::Events), for one whose
/// [`try_send`](Sender::try_send) said that there is no room, or that it comes too fast. Made from a sender, or from a `&mut` to one.
///
/// Readable means *try again*. While it is armed it becomes so ten times a second besides, because nobody can look for the sender
/// whether its receiver was killed before it could ring, or its queue removed.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// use laneway::TrySendError;
/// use laneway::event::{Rearmed, RoomEvents};
/// let mut backend = RoomEvents::new(queue.sender()?)?;
/// // ... register `backend.as_fd()` for reading, and whenever it is readable:
/// match backend.sender().try_send(b"hello") {
///     Ok(_) => println!("sent"),
///     // Waits for the descriptor, unless there is room by now.
///     Err(TrySendError::Full) => while backend.rearm(5) == Rearmed::Ready && backend.sender().try_send(b"hello").is_err() {},
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RoomEvents<S: BorrowMut<Sender> = Sender> {
    sender: S,
    alarm: Alarm,
}

impl<S: BorrowMut<Sender>> RoomEvents<S> {
    /// Has the sender watched for. Readable from the start, so that the first turn looks.
    ///
    /// # Errors
    /// When there are no descriptors left, or no threads: the first of a process starts one.
    pub fn new(sender: S) -> io::Result<RoomEvents<S>> {
        let alarm = Alarm::new(sender.borrow())?;
        Ok(RoomEvents { sender, alarm })
    }

    /// The sender, awake: its receiver does not ring until the next [`rearm`](Self::rearm).
    pub fn sender(&mut self) -> &mut Sender {
        self.alarm.disarm(self.sender.borrow());
        self.sender.borrow_mut()
    }

    /// From here on the descriptor becomes readable when there may be room for a message of `len` bytes; says whether there is some
    /// already, or a reason other than that why it cannot be sent, which [`try_send`](Sender::try_send) will give. Sends nothing, and takes
    /// nothing from the sender's rate.
    pub fn rearm(&mut self, len: usize) -> Rearmed {
        let mut due = None;
        let rearmed = self.alarm.rearm(self.sender.borrow_mut(), |sender| match sender.has_room(len) {
            Err(TrySendError::Full | TrySendError::NoSpace) => false,
            Err(TrySendError::RateLimited { wait_ms }) => {
                due = Some(Duration::from_millis(wait_ms.into()));
                false
            }
            Ok(()) | Err(_) => true,
        });
        if let Some(due) = due {
            self.alarm.tell_in(due);
        }
        rearmed
    }

    /// Whether the descriptor is armed: [`rearm`](Self::rearm) said `Quiet`, and nobody has asked for the [`sender`](Self::sender) since.
    pub fn is_armed(&self) -> bool {
        self.alarm.is_armed()
    }

    /// Gives the sender back.
    pub fn into_inner(self) -> S {
        self.alarm.disarm(self.sender.borrow());
        self.sender
    }
}

impl<S: BorrowMut<Sender>> AsFd for RoomEvents<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

impl<S: BorrowMut<Sender>> AsRawFd for RoomEvents<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<S: BorrowMut<Sender>> fmt::Debug for RoomEvents<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEvents").field("sender", self.sender.borrow()).field("armed", &self.is_armed()).finish()
    }
}
