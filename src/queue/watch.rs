//! What an event loop needs of the handles: their sleepers, and a look that takes nothing.

use super::on_full::Then;
use super::receiver::Receiver;
use super::sender::{Sender, milliseconds};
use crate::bell::Sleeper;
use crate::epoch::Epoch;
use crate::error::TrySendError;
use crate::lane::{Reader, Scout};
use std::time::Duration;

/// What is looked at for a receiver in another thread; see [`Scout`].
pub(crate) struct Lookout {
    epoch: Epoch,
    seen_epoch: u64,
    lanes: Vec<Scout>,
}

impl Lookout {
    /// How many lanes it knows.
    pub(crate) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the receiver should look.
    pub(crate) fn has_something(&mut self) -> bool {
        let epoch = self.epoch.glance();
        std::mem::replace(&mut self.seen_epoch, epoch) != epoch || self.lanes.iter().any(Scout::has_something)
    }
}

impl Receiver {
    pub(crate) fn sleeper(&self) -> &Sleeper {
        &self.sleeper
    }

    /// Looks at everything, and says whether `try_recv` would have something to say besides that there is nothing, or that all is
    /// closed. Takes nothing.
    pub(crate) fn has_news(&self) -> bool {
        self.notice_lanes();
        self.has_mail() || self.has_trouble()
    }

    /// As `has_news`, of the end too.
    pub(crate) fn has_event(&self) -> bool {
        self.has_news() || self.is_finished()
    }

    /// How long it is worth looking before sleeping.
    pub(crate) fn patience(&self) -> Duration {
        self.waiter.patience()
    }

    /// A lookout for the lanes that are known.
    pub(crate) fn lookout(&self) -> Lookout {
        let (epoch, seen_epoch) = self.epoch();
        Lookout { epoch, seen_epoch, lanes: self.known().map(Reader::scout).collect() }
    }
}

impl Sender {
    pub(crate) fn sleeper(&self) -> &Sleeper {
        &self.room
    }

    /// How long it is worth looking before sleeping.
    pub(crate) fn patience(&self) -> Duration {
        self.waiter.patience()
    }

    /// Whether a message without room waits for some.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.on_full.then() == Then::Block
    }

    /// Whether anybody receives, by the kernel's word; yes when that cannot be asked. Takes some system calls.
    pub(crate) fn has_receiver(&self) -> bool {
        self.home.as_ref().is_none_or(|home| home.directory.is_held(None).unwrap_or(true))
    }

    /// Whether a message of this length would be sent now, or dropped; if not, why. Takes nothing and counts nothing.
    pub(crate) fn has_room(&mut self, len: usize) -> Result<(), TrySendError> {
        if self.is_detached() {
            return Err(TrySendError::Detached);
        }
        if len > self.longest() as usize {
            return Err(TrySendError::TooLarge { len, max: self.longest() });
        }
        if self.on_full.then() == Then::Drop {
            return Ok(());
        }
        if let Some(Err(wait)) = self.limiter.as_ref().map(|limiter| limiter.ask(len)) {
            return Err(TrySendError::RateLimited { wait_ms: milliseconds(wait) });
        }
        let claim = self.lane.claim(len, self.on_full.grows());
        claim.map(drop).map_err(|refusal| self.reason(len, refusal))
    }
}
