//! Queues: directories of lanes, and the handles on them.

mod batch;
mod birth;
mod claim;
mod directory;
mod drain;
mod files;
#[cfg(fuzzing)]
mod fuzzed;
mod host;
mod interrupt;
mod iter;
mod message;
mod observer;
mod on_full;
mod options;
mod pair;
mod priority;
mod rate;
mod receiver;
mod schedule;
mod sender;
mod sender_options;
mod tail;
mod take;
mod upcoming;
mod watch;

pub use batch::{Batch, BatchError};
pub use claim::Claim;
pub use drain::{Drain, TurnEnd};
pub(crate) use files::{is_queue_file, kind_of, lane_number};
#[cfg(fuzzing)]
pub use fuzzed::{Fuzzed, Part, Plan};
pub use host::Host;
pub(crate) use interrupt::Interrupter;
pub use iter::{Iter, TryIter};
pub use message::{Message, MessageReader, MessageRef};
pub use observer::{Cursor, LaneStat, Observer, Peeked, QueueStat};
pub use on_full::{NotAnOnFull, OnFull};
pub use options::Options;
pub use pair::pair;
pub use priority::{NotAPriority, Priority};
pub use rate::RateLimit;
pub use receiver::Receiver;
pub use sender::Sender;
pub use sender_options::SenderOptions;
pub use tail::{Since, Tail, Traffic};
pub(crate) use watch::Lookout;

use crate::error::{Cause, Error};
use crate::lane::Pressure;
use crate::layout::FenceMode;
use crate::region::Region;
use crate::sys::dir::Dir;
use crate::sys::fence::Fences;
use directory::Directory;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A queue on this host: a directory that senders, one receiver and observers attach to.
///
/// This handle reads the queue's limits and makes the other handles; it holds no lane and no lock. Cloning is cheap.
///
/// # After a fork
/// A forked child does not inherit the mappings, so that there are never two writers: it must not touch handles that its
/// parent attached (an access faults). It inherits the locks, though, until it executes another program or exits; a
/// parent that dies meanwhile looks alive. `std::process::Command` is no concern.
#[derive(Debug, Clone)]
pub struct Queue {
    directory: Arc<Directory>,
}

impl Queue {
    /// The options for creating or opening a queue.
    pub fn options() -> Options {
        Options::default()
    }

    /// Creates a queue with the default options. See [`Options::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Queue, Error> {
        Options::default().create(path)
    }

    /// Opens an existing queue. See [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Queue, Error> {
        Options::default().open(path)
    }

    /// Opens a queue, or creates it with the default options. See [`Options::open_or_create`].
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Queue, Error> {
        Options::default().open_or_create(path)
    }

    /// Attaches a sender with the default options. See [`SenderOptions::attach`].
    pub fn sender(&self) -> Result<Sender, Error> {
        self.sender_options().attach()
    }

    /// The options for attaching a sender.
    pub fn sender_options(&self) -> SenderOptions {
        SenderOptions::new(Arc::clone(&self.directory))
    }

    /// Attaches the receiver, of which there is one at a time.
    ///
    /// Refused with [`Cause::AlreadyReceiving`] while another one lives, after at most 100 ms; granted at once when
    /// the kernel says that the last one is gone. What it had not released is delivered again.
    pub fn receiver(&self) -> Result<Receiver, Error> {
        Receiver::attach(Arc::clone(&self.directory))
    }

    /// Attaches an observer, which maps everything read-only and changes nothing.
    pub fn observe(&self) -> Result<Observer, Error> {
        Observer::attach(Arc::clone(&self.directory))
    }

    /// Removes the queue and everything in it. Whoever is still attached keeps its memory and gets `Detached` when it
    /// next waits.
    pub fn destroy(self) -> Result<(), Error> {
        let directory = &self.directory;
        let gone = directory.stat().and_then(|stat| birth::destroy(directory.path(), &stat));
        gone.map_err(|cause| directory.error("destroy", cause))
    }

    /// Removes what a queue's directory at `path` consists of, also when it cannot be opened: damaged, of another
    /// version, or left over from another boot. Refuses a directory that holds anything but a queue's files.
    pub fn remove(path: impl AsRef<Path>) -> Result<(), Error> {
        birth::remove(path.as_ref())
    }

    /// Removes what is left under `root` of processes that were killed while they created or removed a queue there: hidden
    /// directories that nobody holds. Returns how many there were.
    pub fn sweep(root: impl AsRef<Path>) -> Result<usize, Error> {
        birth::sweep(root.as_ref())
    }

    /// Whether there is a queue at `path`, whatever its state: it may still be one that cannot be opened. False where that cannot be
    /// asked. Takes one system call.
    pub fn exists(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(files::QUEUE).symlink_metadata().is_ok()
    }

    /// The names of the queues directly under `root`, sorted. A root that does not exist has none.
    pub fn list(root: impl AsRef<Path>) -> Result<Vec<String>, Error> {
        let root = root.as_ref();
        let failed = |source: std::io::Error| Error::new("list", root, Cause::Io { file: String::new(), source });
        let mut names = Vec::new();
        let dir = match Dir::open(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            answer => answer.map_err(failed)?,
        };
        let mut failure = None;
        dir.names(|name| match dir.open_dir(name).and_then(|queue| queue.has(files::QUEUE)) {
            _ if check_name(name).is_err() => {}
            Ok(true) => names.push(name.to_owned()),
            Ok(false) => {}
            Err(error) if is_no_queue(&error) => {}
            Err(error) => failure = Some(error),
        })
        .map_err(failed)?;
        if let Some(error) = failure {
            return Err(failed(error));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The queue's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Random, and no other queue's, whatever its name.
    pub fn id(&self) -> [u8; 16] {
        self.directory.header().queue_id
    }

    /// An error about it.
    pub(crate) fn error(&self, verb: &'static str, cause: Cause) -> Error {
        self.directory.error(verb, cause)
    }

    /// The ledger, of a queue that keeps one: what became of messages.
    pub(crate) fn ledger(&self, writable: bool) -> Result<(Arc<Region>, Arc<Region>), Error> {
        let mapped = self.directory.map_ledger(writable).and_then(|ledger| Ok((ledger, self.directory.map_desk()?)));
        mapped.map_err(|cause| self.directory.error("open the ledger of", cause))
    }

    /// What the layer above wanted to know of it.
    pub(crate) fn note(&self) -> Result<[u64; 15], Error> {
        self.directory.note().map(|note| note.words).map_err(|cause| self.directory.error("open", cause))
    }

    /// Entries of the ledger; 0 for a queue without one.
    pub(crate) fn ledger_entries(&self) -> u32 {
        self.directory.header().ledger_entries
    }

    /// How the two sides order their stores and loads.
    pub(crate) fn fences(&self) -> Fences {
        Fences::new(self.directory.terms().fence_mode)
    }

    /// How its two sides order their stores and loads, as its creator found that the kernel allows.
    pub fn fence_mode(&self) -> FenceMode {
        self.directory.terms().fence_mode
    }

    /// The longest message the queue admits, bytes.
    pub fn max_message(&self) -> u32 {
        self.directory.header().max_message
    }

    /// The most senders that can be attached at a time.
    pub fn max_lanes(&self) -> u32 {
        self.directory.header().max_lanes
    }

    /// The most bytes that each sender may take besides its ring.
    pub fn overflow_limit(&self) -> u64 {
        self.directory.header().overflow_limit
    }

    /// Gives back what lanes that nobody holds have reserved and do not need. Takes a few system calls a lane; lanes with a
    /// sender see to themselves, or by [`Sender::trim`]. Returns how many bytes of files are there no more.
    pub fn trim(&self) -> Result<u64, Error> {
        Sender::trim_abandoned(&self.directory).map_err(|cause| self.directory.error("trim", cause))
    }

    /// The bytes of ring that each sender has to itself.
    pub fn capacity(&self) -> u64 {
        self.directory.header().ring_capacity
    }
}

/// Whether a failure to look into something says that it is no queue of ours. Without memory or descriptors it says nothing.
fn is_no_queue(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Checks that `name` can be a queue's name: 1 to 200 bytes, no `/`, no control character, and not starting with a
/// dot. What is refused would name another directory, or could not be typed or printed safely.
pub fn check_name(name: &str) -> Result<(), Error> {
    let rule = if name.is_empty() {
        "is not empty"
    } else if name.len() > 200 {
        "is at most 200 bytes long"
    } else if name.starts_with('.') {
        "does not start with a dot"
    } else if name.contains('/') {
        "contains no slash"
    } else if name.chars().any(char::is_control) {
        "contains no control characters"
    } else {
        return Ok(());
    };
    Err(Error::new("use the name", &PathBuf::from(name), Cause::Name { rule }))
}

/// Names a message for as long as its lane exists: which lane, and where in it. Prints as `LANE:POSITION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// The lane's number.
    pub lane: u32,
    /// The record's position, bytes since the lane was created. Grows from message to message of a lane.
    pub position: u64,
}

/// What a send that went well returns: the message is committed, and will be delivered whatever becomes of its sender.
/// Prints as its ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    position: u64,
    lane: u32,
    pressure: Pressure,
}

impl Sent {
    /// Which message it is.
    #[inline]
    pub fn ticket(&self) -> Ticket {
        Ticket { lane: self.lane, position: self.position }
    }

    /// Whether the receiver keeps up. Looked at when it may have changed, which costs the other messages nothing: at least
    /// when the high-water mark may have been passed, and every sixteenth of the ring while it is high.
    #[inline]
    pub fn pressure(&self) -> Pressure {
        self.pressure
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ticket().fmt(f)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lane, self.position)
    }
}

/// The text is not of the form `LANE:POSITION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATicket;

impl fmt::Display for NotATicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ticket reads LANE:POSITION, two decimal numbers")
    }
}

impl std::error::Error for NotATicket {}

impl FromStr for Ticket {
    type Err = NotATicket;

    fn from_str(text: &str) -> Result<Ticket, NotATicket> {
        let (lane, position) = text.split_once(':').ok_or(NotATicket)?;
        Ok(Ticket { lane: lane.parse().map_err(|_| NotATicket)?, position: position.parse().map_err(|_| NotATicket)? })
    }
}
