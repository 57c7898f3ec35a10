//! What a mailbox's creator fixed: limits, and how messages that failed are tried again.

use crate::error::Cause;
use std::time::Duration;

/// The limits of a mailbox, fixed when it is created. The bytes that wait are limited too, for each sender by itself: by the
/// mailbox's queue ([`Options::overflow_limit`](crate::Options::overflow_limit)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The most messages that wait or are taken; 0 for any number. Counted over all senders, each by what it sees now and
    /// then: a burst of several senders at once can go beyond it by 64 messages each.
    pub max_pending: u32,
    /// What becomes of messages beyond that.
    pub when_full: WhenFull,
    /// How often a message is handed out before it goes to the dead letters; from 1.
    pub max_attempts: u16,
    /// How long a message may wait; zero for any time. Judged when it is taken, from the end of the time that its sender
    /// delayed it for.
    pub max_age: Duration,
    /// How long a message that failed waits before it is handed out again.
    pub backoff: Backoff,
    /// Messages whose outcomes are remembered: a power of two from 64 to 16,777,216; each takes 32 bytes. At most a quarter as many
    /// may be taken at a time. Of messages that are kept for later beyond half as many, the state is `Unknown` until their time.
    pub outcomes: u32,
}

/// What becomes of messages for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// The sender is told, and nothing is sent.
    #[default]
    Refuse,
    /// The oldest ones make room: they are superseded, as [`Reason::Rolled`](super::Reason::Rolled) says.
    Roll,
}

/// How long a message that failed waits: a first time, doubled with each attempt up to a cap, and of that a random part
/// between one half and all of it, so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt.
    pub first: Duration,
    /// At most.
    pub cap: Duration,
}

impl Default for Settings {
    /// Any number of messages of any age, five attempts from a second up to a minute apart, 8,192 outcomes.
    fn default() -> Settings {
        Settings {
            max_pending: 0,
            when_full: WhenFull::Refuse,
            max_attempts: 5,
            max_age: Duration::ZERO,
            backoff: Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(60) },
            outcomes: 8192,
        }
    }
}

impl Backoff {
    /// How long to wait after so many attempts (from 1). `chance` is any number.
    pub fn delay(&self, attempts: u32, chance: u64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let most = u64::try_from(doubled.min(self.cap).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(most / 2 + ((u128::from(chance) * u128::from(most - most / 2)) >> 64) as u64)
    }
}

/// What the words of a note mean to this layer.
const VERSION: u64 = 1;

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Settings {
    pub(super) fn write(&self) -> Result<[u64; 15], Cause> {
        let bad = |option, value, rule| Err(Cause::Option { option, value, rule });
        if self.max_attempts == 0 {
            return bad("max_attempts", 0, "it must be at least 1");
        }
        if self.backoff.first > self.backoff.cap {
            return bad("backoff.first", nanos(self.backoff.first), "it must not be longer than the cap, nanoseconds");
        }
        let mut words = [0; 15];
        words[..8].copy_from_slice(&[
            VERSION,
            self.max_pending.into(),
            (self.when_full == WhenFull::Roll).into(),
            self.max_attempts.into(),
            nanos(self.max_age),
            nanos(self.backoff.first),
            nanos(self.backoff.cap),
            self.outcomes.into(),
        ]);
        Ok(words)
    }

    pub(super) fn read(words: &[u64; 15]) -> Result<Settings, Cause> {
        let damaged = |field, found: u64, expected: &str| Cause::Damaged {
            file: "queue".to_owned(),
            field,
            found: found.to_string(),
            expected: expected.to_owned(),
        };
        if words[0] != VERSION {
            return Err(damaged("the settings' version", words[0], "1: another version of laneway made this mailbox"));
        }
        let max_pending = words[1].try_into().map_err(|_| damaged("max_pending", words[1], "32 bits"))?;
        let max_attempts = words[3].try_into().map_err(|_| damaged("max_attempts", words[3], "16 bits"))?;
        let outcomes = words[7].try_into().map_err(|_| damaged("outcomes", words[7], "32 bits"))?;
        let backoff = Backoff { first: Duration::from_nanos(words[5]), cap: Duration::from_nanos(words[6]) };
        let when_full = if words[2] == 0 { WhenFull::Refuse } else { WhenFull::Roll };
        let settings = Settings {
            max_pending,
            when_full,
            max_attempts,
            max_age: Duration::from_nanos(words[4]),
            backoff,
            outcomes,
        };
        settings.write().map_err(|cause| damaged("the settings", 0, &cause.to_string()))?;
        Ok(settings)
    }
}
