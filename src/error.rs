//! What can go wrong.
//!
//! Sending and receiving return small `Copy` enums, one per operation; nothing is allocated to report that a ring is
//! full. Opening, creating and attaching return [`Error`], which knows the path, the verb and the numbers and prints
//! as one sentence.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a queue could not be created, opened, attached to or destroyed.
///
/// `Display` gives one sentence with the path, the field and the numbers.
#[derive(Debug)]
pub struct Error {
    verb: &'static str,
    path: PathBuf,
    /// Boxed: the answer of a call that went well should not be as large as the longest excuse.
    cause: Box<Cause>,
}

/// The reason inside an [`Error`], for programs that act on it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// There is no queue at this path.
    NotFound,
    /// There is already something at this path.
    AlreadyExists,
    /// Another process (or another handle of this one) receives from this queue.
    AlreadyReceiving,
    /// Every lane that the sender may use is held by a live one, closed to this one, of another priority, or retired.
    TooManySenders {
        /// The number of lanes the queue's creator allowed.
        max_lanes: u32,
        /// How many of them a sender of this priority may use.
        usable: u32,
    },
    /// A file is not part of a laneway queue, or was damaged.
    Damaged {
        /// The file's name inside the queue's directory.
        file: String,
        /// The header field or property that is wrong.
        field: &'static str,
        /// What was found.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The files were written by another version of the format.
    Version {
        /// The file's name inside the queue's directory.
        file: String,
        /// The version in the file.
        found: u32,
        /// The version this library reads and writes.
        supported: u32,
    },
    /// The queue was created before the host's last boot. Its contents are worth nothing now: remove it.
    OtherBoot,
    /// The directory or a file may be changed by somebody it should not be.
    Untrusted {
        /// The file's name inside the queue's directory; empty for the directory itself.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file system cannot carry a queue (no coherent shared mappings or no reservation of space).
    Filesystem {
        /// The file system's magic number, as `statfs` gives it.
        magic: i64,
    },
    /// An option is outside its limits.
    Option {
        /// The option's name.
        option: &'static str,
        /// The value given.
        value: u64,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The name cannot be a queue's name.
    Name {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The file system has no room for the queue's files.
    NoSpace {
        /// The file that could not be reserved.
        file: String,
        /// Its size, bytes.
        bytes: u64,
    },
    /// The queue's directory was removed.
    Detached,
    /// Any other answer of the operating system.
    Io {
        /// The file's name inside the queue's directory; empty for the directory itself.
        file: String,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn new(verb: &'static str, path: &Path, cause: Cause) -> Self {
        Error { verb, path: path.to_owned(), cause: Box::new(cause) }
    }

    /// The reason, for programs that act on it.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The queue's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {:?}: {}", self.verb, self.path, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NotFound => write!(f, "there is no queue here"),
            Cause::AlreadyExists => write!(f, "there is already something here"),
            Cause::AlreadyReceiving => write!(f, "somebody already receives from it"),
            Cause::TooManySenders { max_lanes, usable } => {
                let reserve = max_lanes - usable;
                write!(f, "all of its {usable} lanes are held by senders, of another priority, or retired")?;
                if reserve > 0 { write!(f, " ({reserve} more are for urgent senders)") } else { Ok(()) }
            }
            Cause::Damaged { file, field, found, expected } => {
                write!(f, "its file `{file}` is damaged or not a queue's: {field} is {found}, expected {expected}")
            }
            Cause::Version { file, found, supported } => {
                write!(f, "its file `{file}` has format version {found}, and this library reads version {supported}")
            }
            Cause::OtherBoot => write!(f, "it is left over from before the last boot; remove it and create it again"),
            Cause::Untrusted { file, what } if file.is_empty() => {
                write!(f, "its directory is not to be trusted: {what}")
            }
            Cause::Untrusted { file, what } => write!(f, "its file `{file}` is not to be trusted: {what}"),
            Cause::Filesystem { magic } => write!(
                f,
                "its file system (magic {magic:#x}) is not one known to carry shared memory (tmpfs, ext4, xfs, btrfs, f2fs, overlay)"
            ),
            Cause::Option { option, value, rule } => write!(f, "{option} is {value}, but {rule}"),
            Cause::Name { rule } => write!(f, "a queue's name {rule}"),
            Cause::NoSpace { file, bytes } => {
                write!(f, "there is no room for the {bytes} bytes of its file `{file}` on the file system")
            }
            Cause::Detached => write!(f, "its directory was removed"),
            Cause::Io { file, source } if file.is_empty() => write!(f, "{source}"),
            Cause::Io { file, source } => write!(f, "its file `{file}`: {source}"),
        }
    }
}

/// The sentence says everything, so there is no `source` that would say part of it again.
impl StdError for Error {}

/// The first word of a lane that broke a rule of the format, and where.
///
/// A damaged lane is *poisoned*: what was committed before the damage is delivered, nothing after it ever is, and the
/// queue goes on without the lane. Its sender is told when it next comes to the end of the room that it knew of, at the
/// latest after one lap of the ring; what it sent meanwhile is lost with the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The lane's number.
    pub lane: u32,
    /// The rule that was broken.
    pub fault: Fault,
    /// The position of the word, bytes since the lane was created.
    pub position: u64,
    /// The word that was found.
    pub found: u64,
}

/// A broken rule, and the word that broke it: damage before anybody said whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) fault: Fault,
    pub(crate) position: u64,
    pub(crate) found: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lane {} is damaged at position {}: {} (found {:#018x})",
            self.lane,
            self.position,
            self.fault.sentence(),
            self.found
        )
    }
}

/// A rule of the format that a shared word can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Fault {
    /// The commit word's kind is none that exists.
    Kind = 1,
    /// The commit word carries a flag that this version does not know.
    Flags = 2,
    /// The commit word's check is not that of its position: bytes of an earlier lap, or scribble.
    Check = 3,
    /// The record is longer than the queue admits or than what is left of the ring.
    Length = 4,
    /// The reader's position went backwards, past the writer's, or is not a multiple of 8.
    ReadPosition = 5,
    /// The file was truncated under its mapping.
    Truncated = 6,
    /// The lane's file does not belong to this queue.
    Header = 7,
    /// The lane's file cannot be used as it is: its kind, owner, links or mode.
    File = 8,
    /// The sender's hint is above the last committed record.
    WritePosition = 9,
    /// An entry of the segment table that cannot be true.
    Segment = 10,
}

impl Fault {
    pub(crate) fn from_word(word: u32) -> Option<Fault> {
        [
            Fault::Kind,
            Fault::Flags,
            Fault::Check,
            Fault::Length,
            Fault::ReadPosition,
            Fault::Truncated,
            Fault::Header,
            Fault::File,
            Fault::WritePosition,
            Fault::Segment,
        ]
        .into_iter()
        .find(|fault| *fault as u32 == word)
    }

    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Fault::Kind => "no record is of this kind",
            Fault::Flags => "the record carries unknown flags",
            Fault::Check => "the record's check does not belong to its position",
            Fault::Length => "the record is longer than the queue or the ring allows",
            Fault::ReadPosition => "the receiver's position is out of order",
            Fault::Truncated => "the file was truncated while it was mapped",
            Fault::Header => "the file's header or size is not that of a lane of this queue",
            Fault::WritePosition => "the sender's position is above the last record",
            Fault::File => "the file cannot be used (its kind, owner, links or mode)",
            Fault::Segment => "an entry of its segment table cannot be true",
        }
    }
}

/// Why [`try_send`](crate::Sender::try_send) did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now. The message may be sent again once the receiver has released some.
    Full,
    /// There is no room now, and the file system has none for more; see [`OnFull`](crate::OnFull).
    NoSpace,
    /// There was no room, or it came too fast, and the sender drops what does. The receiver will be told how many.
    Dropped,
    /// The sender's rate limit does not admit it yet.
    RateLimited {
        /// When it will, milliseconds from now, rounded up.
        wait_ms: u32,
    },
    /// The message is longer than the queue admits, or than the ring is and this sender may not grow.
    TooLarge {
        /// The message's length, bytes.
        len: usize,
        /// The longest message that this sender may send, bytes.
        max: u32,
    },
    /// The receiver of a [`pair`](crate::pair) is gone.
    Closed,
    /// The lane was poisoned; attach again to get another one.
    Corrupt(Damage),
    /// The queue's directory was removed.
    Detached,
}

/// Why [`send`](crate::Sender::send) or [`send_timeout`](crate::Sender::send_timeout) did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The time ran out before there was room. `send` never returns this.
    Timeout,
    /// There is no room now, and the sender does not wait.
    Full,
    /// There is no room now, and the file system has none for more; see [`OnFull`](crate::OnFull).
    NoSpace,
    /// There was no room, and the sender drops what comes then. The receiver will be told how many.
    Dropped,
    /// The sender's rate limit does not admit it yet.
    RateLimited {
        /// When it will, milliseconds from now, rounded up.
        wait_ms: u32,
    },
    /// The message is longer than the queue admits, or than the ring is and this sender may not grow.
    TooLarge {
        /// The message's length, bytes.
        len: usize,
        /// The longest message that this sender may send, bytes.
        max: u32,
    },
    /// The receiver of a [`pair`](crate::pair) is gone.
    Closed,
    /// The lane was poisoned; attach again to get another one.
    Corrupt(Damage),
    /// The queue's directory was removed.
    Detached,
}

/// Why [`try_recv`](crate::Receiver::try_recv) did not return a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is nothing to read now.
    Empty,
    /// There was at least one lane, and every lane has closed and been read.
    Closed,
    /// A lane was poisoned just now. It is reported once; the other lanes go on.
    Corrupt(Damage),
    /// The queue's directory was removed.
    Detached,
}

/// Why [`recv`](crate::Receiver::recv) or [`recv_timeout`](crate::Receiver::recv_timeout) did not return a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The time ran out. `recv` never returns this.
    Timeout,
    /// There was at least one lane, and every lane has closed and been read.
    Closed,
    /// A lane was poisoned just now. It is reported once; the other lanes go on.
    Corrupt(Damage),
    /// The queue's directory was removed.
    Detached,
}

impl TryRecvError {
    /// What a receive that waits says of it; none while there is only nothing.
    pub(crate) fn lasting(self) -> Option<RecvError> {
        match self {
            TryRecvError::Empty => None,
            TryRecvError::Closed => Some(RecvError::Closed),
            TryRecvError::Corrupt(damage) => Some(RecvError::Corrupt(damage)),
            TryRecvError::Detached => Some(RecvError::Detached),
        }
    }
}

/// The message is not as long as the type that was to be read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongLength {
    /// The message's length, bytes.
    pub len: usize,
    /// The type's size, bytes.
    pub expected: usize,
}

impl From<TrySendError> for SendError {
    fn from(error: TrySendError) -> SendError {
        match error {
            TrySendError::Full => SendError::Full,
            TrySendError::NoSpace => SendError::NoSpace,
            TrySendError::Dropped => SendError::Dropped,
            TrySendError::RateLimited { wait_ms } => SendError::RateLimited { wait_ms },
            TrySendError::TooLarge { len, max } => SendError::TooLarge { len, max },
            TrySendError::Closed => SendError::Closed,
            TrySendError::Corrupt(damage) => SendError::Corrupt(damage),
            TrySendError::Detached => SendError::Detached,
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SendError::from(*self).fmt(f)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Timeout => write!(f, "there was no room, or the rate limit held, until the time ran out"),
            SendError::Full => write!(f, "the lane is full"),
            SendError::NoSpace => write!(f, "the lane is full, and the file system has no room for it to grow"),
            SendError::Dropped => write!(f, "the message was dropped: there was no room, or it came too fast"),
            SendError::RateLimited { wait_ms } => {
                write!(f, "the sender's rate limit admits no more for {wait_ms} ms")
            }
            SendError::TooLarge { len, max } => {
                write!(f, "the message is {len} bytes long, and this sender may send {max}")
            }
            SendError::Closed => write!(f, "the receiver is gone"),
            SendError::Corrupt(damage) => damage.fmt(f),
            SendError::Detached => write!(f, "the queue was removed"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => write!(f, "there is nothing to read"),
            TryRecvError::Closed => write!(f, "every lane has closed and been read"),
            TryRecvError::Corrupt(damage) => damage.fmt(f),
            TryRecvError::Detached => write!(f, "the queue was removed"),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Timeout => write!(f, "nothing came until the time ran out"),
            RecvError::Closed => write!(f, "every lane has closed and been read"),
            RecvError::Corrupt(damage) => damage.fmt(f),
            RecvError::Detached => write!(f, "the queue was removed"),
        }
    }
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message is {} bytes long, and the type takes {}", self.len, self.expected)
    }
}

impl StdError for TrySendError {}
impl StdError for SendError {}
impl StdError for TryRecvError {}
impl StdError for RecvError {}
impl StdError for WrongLength {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hot_errors_stay_small() {
        assert_eq!(size_of::<Damage>(), 24);
        assert_eq!(size_of::<TrySendError>(), 24);
        assert_eq!(size_of::<SendError>(), 24);
        assert_eq!(size_of::<TryRecvError>(), 24);
        assert_eq!(size_of::<RecvError>(), 24);
    }
}
