//! What a sender does when its ring is full.

use std::fmt;
use std::str::FromStr;

/// What a send does when there is no room in its lane's ring. Each sender chooses for itself; how far a lane may grow is
/// its queue's [`overflow_limit`](super::Options::overflow_limit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFull {
    /// Says that it is full.
    Fail,
    /// Waits until there is room; [`send_timeout`](super::Sender::send_timeout) no longer than it is told.
    Block,
    /// Drops the message, says so, and counts it: the next message that finds room tells the receiver how many are missing
    /// before it. For mail of which the newest is worth no more than what is waiting already.
    DropNewest,
    /// Takes overflow segments, up to the limit; then as `Fail`.
    GrowThenFail,
    /// Takes overflow segments, up to the limit; then as `Block`.
    #[default]
    GrowThenBlock,
    /// Takes overflow segments, up to the limit; then as `DropNewest`.
    GrowThenDrop,
}

/// What is left to do when a lane cannot grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Fail,
    Block,
    Drop,
}

impl OnFull {
    /// All of them, with the names by which they are written.
    const NAMES: [(OnFull, &'static str); 6] = [
        (OnFull::Fail, "fail"),
        (OnFull::Block, "block"),
        (OnFull::DropNewest, "drop-newest"),
        (OnFull::GrowThenFail, "grow-then-fail"),
        (OnFull::GrowThenBlock, "grow-then-block"),
        (OnFull::GrowThenDrop, "grow-then-drop"),
    ];

    pub(super) fn grows(self) -> bool {
        matches!(self, OnFull::GrowThenFail | OnFull::GrowThenBlock | OnFull::GrowThenDrop)
    }

    pub(super) fn then(self) -> Then {
        match self {
            OnFull::Fail | OnFull::GrowThenFail => Then::Fail,
            OnFull::Block | OnFull::GrowThenBlock => Then::Block,
            OnFull::DropNewest | OnFull::GrowThenDrop => Then::Drop,
        }
    }
}

impl fmt::Display for OnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = Self::NAMES.iter().find(|(on_full, _)| on_full == self).expect("all have names");
        f.pad(name)
    }
}

/// The text is not the name of an [`OnFull`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnOnFull;

impl fmt::Display for NotAnOnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = OnFull::NAMES.map(|(_, name)| name).join(", ");
        write!(f, "what to do when a lane is full is one of: {names}")
    }
}

impl std::error::Error for NotAnOnFull {}

impl FromStr for OnFull {
    type Err = NotAnOnFull;

    fn from_str(text: &str) -> Result<OnFull, NotAnOnFull> {
        OnFull::NAMES.iter().find(|(_, name)| *name == text).map(|(on_full, _)| *on_full).ok_or(NotAnOnFull)
    }
}
