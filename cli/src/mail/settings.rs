//! What the creator of a mailbox fixes.

use super::args::{Making, WhenFull};
use crate::{output, place};
use anyhow::Result;
use laneway::mailbox::{self, Post, Settings};
use std::ffi::OsStr;

impl Making {
    fn is_anything_said(&self) -> bool {
        self.max_pending.is_some() || self.attempts.is_some() || self.max_age.is_some() || self.backoff.is_some()
    }

    /// What is said, and of the rest what `otherwise` says.
    fn over(&self, otherwise: &Settings) -> Settings {
        let when_full = self.when_full.map(|when_full| match when_full {
            WhenFull::Refuse => mailbox::WhenFull::Refuse,
            WhenFull::Roll => mailbox::WhenFull::Roll,
        });
        Settings {
            max_pending: self.max_pending.unwrap_or(otherwise.max_pending),
            when_full: when_full.unwrap_or(otherwise.when_full),
            max_attempts: self.attempts.unwrap_or(otherwise.max_attempts),
            max_age: self.max_age.unwrap_or(otherwise.max_age),
            backoff: self.backoff.unwrap_or(otherwise.backoff),
            ..*otherwise
        }
    }

    /// Where the mailbox is that the user means, to be made like this.
    pub(super) fn place(&self, named: &OsStr) -> Result<(Post, String)> {
        let (post, name) = place::mailbox(named)?;
        Ok((post.settings(self.over(&Settings::default())), name))
    }

    /// Says so when a mailbox was there already, and is other than this asks.
    pub(super) fn compare(&self, name: &str, settings: &Settings) {
        if self.is_anything_said() && self.over(settings) != *settings {
            let Settings { max_pending, max_attempts, max_age, backoff, .. } = settings;
            output::warn(format_args!(
                "{name} exists, and keeps what it was made with: at most {max_pending} pending ({:?}), {max_attempts} \
                 attempts, {max_age:?} of age, backoff {:?}..{:?}",
                settings.when_full, backoff.first, backoff.cap,
            ));
        }
    }
}
