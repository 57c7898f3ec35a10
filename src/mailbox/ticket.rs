//! Tickets, and what becomes of messages.

use crate::ledger::Entry;
use crate::queue;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Names a message of a mailbox for as long as the mailbox exists. Prints in a short form that [`str::parse`] reads, such as
/// `5f0c2a91-3-1a40`: the mailbox, the lane and the position in it, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    pub(super) mailbox: u32,
    pub(super) message: queue::Ticket,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}-{:x}", self.mailbox, self.message.lane, self.message.position / 8)
    }
}

/// The text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotATicket(String);

impl fmt::Display for NotATicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no ticket: those read like 5f0c2a91-3-1a40", self.0)
    }
}

impl std::error::Error for NotATicket {}

impl FromStr for Ticket {
    type Err = NotATicket;

    fn from_str(text: &str) -> Result<Ticket, NotATicket> {
        let mut numbers = text.split('-').map(|part| {
            // `from_str_radix` takes a sign.
            let plain = !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_hexdigit());
            u64::from_str_radix(part, 16).ok().filter(|_| plain)
        });
        let mut next = || numbers.next().flatten();
        let found = (|| {
            let (mailbox, lane, words) = (next()?, next()?, next()?);
            let position = words.checked_mul(8)?;
            let message = queue::Ticket { lane: lane.try_into().ok()?, position };
            Some(Ticket { mailbox: mailbox.try_into().ok()?, message })
        })();
        found.filter(|_| numbers.next().is_none()).ok_or_else(|| NotATicket(text.to_owned()))
    }
}

/// What became of a message so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It waits: to be taken, or to be taken again.
    Pending,
    /// It was handed out, and nobody has said what came of it.
    Taken,
    /// Whoever took it has said that it is done.
    Acked,
    /// Whoever took it has said that it never will be.
    Failed,
    /// Nobody took it in time.
    Expired,
    /// Its sender took it back before it was handed out.
    Cancelled,
    /// It was handed out as often as it may be, and lies among the dead letters now.
    DeadLettered,
    /// Another message took its place.
    Superseded,
    /// It is long done with and forgotten, or there never was such a message.
    Unknown,
}

/// Why a message got where it is, besides what its state says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is no more to say.
    None,
    /// Whoever took it gave it back; it waits until it may be taken again.
    Retry,
    /// Its sender has said that it is for later.
    Delayed,
    /// What stands before its body breaks the rules.
    Malformed,
    /// Another message had the same idempotency key, and was first.
    Duplicate,
    /// More messages were waiting than the mailbox holds, and it was the oldest.
    Rolled,
    /// It had waited for longer than the mailbox allows.
    TooOld,
    /// It was taken as often as it may be.
    Attempts,
    /// Whoever took it refused it.
    Rejected,
    /// There was no room among the dead letters.
    NoRoom,
}

/// What the ledger calls them. Never changed: other processes read it.
const STATES: [(u8, State); 8] = [
    (1, State::Pending),
    (2, State::Taken),
    (3, State::Acked),
    (4, State::Failed),
    (5, State::Expired),
    (6, State::Cancelled),
    (7, State::DeadLettered),
    (8, State::Superseded),
];

const REASONS: [(u8, Reason); 10] = [
    (0, Reason::None),
    (1, Reason::Retry),
    (2, Reason::Delayed),
    (3, Reason::Malformed),
    (4, Reason::Duplicate),
    (5, Reason::Rolled),
    (6, Reason::TooOld),
    (7, Reason::Attempts),
    (8, Reason::Rejected),
    (9, Reason::NoRoom),
];

impl State {
    /// Whether nothing more will become of it.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Pending | State::Taken | State::Unknown)
    }

    /// The state in lower case, as the command line prints it.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Taken => "taken",
            State::Acked => "acked",
            State::Failed => "failed",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
            State::DeadLettered => "dead-lettered",
            State::Superseded => "superseded",
            State::Unknown => "unknown",
        }
    }

    pub(crate) fn from_code(code: u8) -> State {
        STATES.iter().find(|(known, _)| *known == code).map_or(State::Unknown, |(_, state)| *state)
    }

    pub(super) fn code(self) -> u8 {
        STATES.iter().find(|(_, state)| *state == self).map_or(0, |(code, _)| *code)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Reason {
    /// The reason as a part of a sentence; empty for none.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::None => "",
            Reason::Retry => "it was given back and waits for its next turn",
            Reason::Delayed => "it was sent for later",
            Reason::Malformed => "its envelope breaks the rules",
            Reason::Duplicate => "another with the same idempotency key was first",
            Reason::Rolled => "more were waiting than the mailbox holds",
            Reason::TooOld => "it waited for longer than the mailbox allows",
            Reason::Attempts => "it was taken as often as it may be",
            Reason::Rejected => "whoever took it refused it",
            Reason::NoRoom => "there was no room among the dead letters",
        }
    }

    pub(crate) fn from_code(code: u8) -> Reason {
        REASONS.iter().find(|(known, _)| *known == code).map_or(Reason::None, |(_, reason)| *reason)
    }

    pub(super) fn code(self) -> u8 {
        REASONS.iter().find(|(_, reason)| *reason == self).map_or(0, |(code, _)| *code)
    }
}

/// What became of a message, with the circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Where it got to.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// How often it was handed out.
    pub attempts: u32,
    /// How long ago it got there, as far as the ledger knows: not for a message that nobody has looked at.
    pub since: Option<Duration>,
}

impl Status {
    /// What is said of a message by who can see only where it is.
    pub(super) fn bare(state: State) -> Status {
        Status { state, reason: Reason::None, attempts: 0, since: None }
    }

    pub(super) fn of(entry: &Entry, now: u64) -> Status {
        Status {
            state: State::from_code(entry.state),
            reason: Reason::from_code(entry.reason),
            attempts: entry.attempts.into(),
            since: Some(super::clock::between(entry.at, now)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state)?;
        match self.reason.sentence() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}
