//! What a task needs of the serving end, to wait for it.

use super::clock;
use super::inbox::Inbox;
use crate::queue::Receiver;
use std::time::Duration;

impl Inbox {
    /// By which senders ring.
    pub(crate) fn mail(&self) -> &Receiver {
        &self.mail
    }

    /// How long until something is due that is kept for later.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.kept.borrow().next_due().map(|due| clock::between(self.clock.now(), due))
    }
}
