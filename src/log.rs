//! What the library tells a log (feature `tracing`), under the target `laneway`. Without the feature none of it is compiled.
//!
//! Of a mailbox's messages everything is told. Of a queue's only what is rare: its messages are too many, and an observer sees them.

use crate::error::Damage;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a lane is called in the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Name {
    queue: Option<Arc<Path>>,
    lane: u32,
}

impl Name {
    pub(crate) fn new(queue: &Path, lane: u32) -> Name {
        Name { queue: Some(queue.into()), lane }
    }

    fn queue(&self) -> impl Display + '_ {
        self.queue.as_deref().unwrap_or(Path::new("pair")).display()
    }
}

macro_rules! tell {
    ($level:ident, $($field:tt)*) => {
        tracing::event!(target: "laneway", tracing::Level::$level, $($field)*)
    };
}

/// Whether somebody listens, for what takes time to find out.
pub(crate) fn has_listener() -> bool {
    tracing::enabled!(target: "laneway", tracing::Level::DEBUG)
}

/// Milliseconds, for people.
fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A sender found a lane that others had held.
pub(crate) fn adopted(name: &Name, attaches: u64) {
    tell!(INFO, queue = %name.queue(), lane = name.lane, attaches, "adopted");
}

/// A message found no room.
pub(crate) fn full(name: &Name) {
    tell!(DEBUG, queue = %name.queue(), lane = name.lane, "full");
}

pub(crate) fn pressure(name: &Name, pressure: impl Display, waiting: u64) {
    tell!(INFO, queue = %name.queue(), lane = name.lane, pressure = %pressure, waiting_bytes = waiting, "pressure");
}

/// A lane was retired.
pub(crate) fn poisoned(name: &Name, damage: &Damage) {
    tell!(ERROR, queue = %name.queue(), lane = name.lane, damage = %damage, "poisoned");
}

pub(crate) fn enqueued(mailbox: &Path, ticket: impl Display, bytes: usize) {
    tell!(DEBUG, queue = %mailbox.display(), ticket = %ticket, bytes, "enqueued");
}

/// A message was not sent, because too many were waiting.
pub(crate) fn refused(mailbox: &Path, pending: u64, max: u32) {
    tell!(WARN, queue = %mailbox.display(), pending, max, "full");
}

/// A message is handed out, so long after it was sent or due.
pub(crate) fn taken(mailbox: &Path, ticket: impl Display, attempt: u32, waited: Duration) {
    tell!(DEBUG, queue = %mailbox.display(), ticket = %ticket, attempt, waited_ms = ms(waited), "taken");
}

/// A message waits for later.
pub(crate) fn kept(mailbox: &Path, ticket: impl Display, attempts: u32, reason: &str, wait: Duration) {
    tell!(INFO, queue = %mailbox.display(), ticket = %ticket, attempts, reason, for_ms = ms(wait), "kept");
}

/// A message is done with, so long after it was taken, if it was.
pub(crate) fn settled(
    mailbox: &Path,
    ticket: impl Display,
    state: &str,
    reason: &str,
    attempts: u32,
    took: Option<Duration>,
) {
    let took_ms = took.map(ms);
    match state {
        "failed" | "dead-lettered" => {
            tell!(WARN, queue = %mailbox.display(), ticket = %ticket, attempts, reason, took_ms, "{state}");
        }
        _ => tell!(DEBUG, queue = %mailbox.display(), ticket = %ticket, attempts, reason, took_ms, "{state}"),
    }
}
