//! What event loops need of both ends, to wait for them.

use super::clock;
use super::handle::Mailbox;
use super::inbox::Inbox;
use crate::ledger::LedgerView;
use crate::queue::Receiver;
use std::time::Duration;

impl Inbox {
    /// By which senders ring.
    pub(crate) fn mail(&self) -> &Receiver {
        &self.mail
    }

    /// How long until something is due that is kept for later, or until another look is to be taken anyway.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.take_gave_up() {
            return Some(Duration::ZERO);
        }
        self.kept.borrow().next_due().map(|due| clock::between(self.clock.now(), due))
    }
}

impl Mailbox {
    /// What tells of outcomes.
    pub(crate) fn ledger_view(&self) -> &LedgerView {
        &self.ledger
    }
}
