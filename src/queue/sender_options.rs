//! How a sender is to be.

use super::Priority;
use super::directory::Directory;
use super::sender::Sender;
use crate::error::Error;
use std::sync::Arc;

/// How a sender is to be; made by [`Queue::sender_options`](super::Queue::sender_options).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// use laneway::Priority;
/// let sender = queue.sender_options().priority(Priority::Low).attach()?;
/// assert_eq!(sender.priority(), Priority::Low);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is attached before `attach`"]
pub struct SenderOptions {
    pub(super) directory: Arc<Directory>,
    pub(super) priority: Priority,
}

impl SenderOptions {
    pub(super) fn new(directory: Arc<Directory>) -> SenderOptions {
        SenderOptions { directory, priority: Priority::default() }
    }

    /// How urgent its mail is. Default: [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> SenderOptions {
        self.priority = priority;
        self
    }

    /// Attaches a sender: takes over a lane of its priority that nobody holds, or adds one.
    ///
    /// The receiver need not exist. Takes some tens of microseconds, up to milliseconds when many lanes are held and
    /// in the first call of a process with threads; up to 100 ms before it reports that every lane is held, because a
    /// lane whose owner is just dying is held for a moment.
    pub fn attach(&self) -> Result<Sender, Error> {
        Sender::attach(self)
    }
}
