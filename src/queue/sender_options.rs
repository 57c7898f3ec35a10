//! How a sender is to be.

use super::directory::Directory;
use super::sender::Sender;
use super::{OnFull, Priority, RateLimit};
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
    pub(super) on_full: OnFull,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) adaptive: bool,
}

impl SenderOptions {
    pub(super) fn new(directory: Arc<Directory>) -> SenderOptions {
        let (priority, on_full) = (Priority::default(), OnFull::default());
        SenderOptions { directory, priority, on_full, rate_limit: None, adaptive: false }
    }

    /// How urgent its mail is. Default: [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> SenderOptions {
        self.priority = priority;
        self
    }

    /// What its sends do when there is no room. Default: [`OnFull::GrowThenBlock`].
    pub fn on_full(mut self, on_full: OnFull) -> SenderOptions {
        self.on_full = on_full;
        self
    }

    /// How fast it may send; the queue's own limit holds besides. What comes too fast is treated as what finds no room: it
    /// waits, fails with `RateLimited`, or is dropped. A limit costs a look at the clock for each message. It
    /// begins anew with each attach.
    pub fn rate_limit(mut self, limit: RateLimit) -> SenderOptions {
        self.rate_limit = Some(limit);
        self
    }

    /// Whether it slows down while the pressure is high: then each send waits until the receiver has released as much as is
    /// to be sent, but no longer than a millisecond. So it keeps the receiver's pace, and yet sends a thousand messages a
    /// second when the receiver stands. `try_send` does not wait. Default: no.
    pub fn adaptive(mut self, adaptive: bool) -> SenderOptions {
        self.adaptive = adaptive;
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
