//! Everything that the files of a queue hold, for a post-mortem: of one that is dead, damaged, of another version or another
//! boot, of a copy of its files, or of one alone.
//!
//! Files are read as they are; nothing is mapped, locked or believed. Whatever is wrong is an [`Item`] of its own, where it was
//! found, and the dump goes on. What is found comes one item after the other, so that a dump takes no more memory than the
//! largest file has bytes that are not 0.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("backend");
//! # laneway::Queue::create(&path)?.sender()?.send(b"hello")?;
//! use laneway::dump::{self, Item, Options};
//!
//! let mut found = Vec::new();
//! dump::read(&path, &Options::default(), |item| {
//!     if let Item::Record { payload, .. } = item {
//!         found.push(payload);
//!     }
//!     Ok::<(), std::convert::Infallible>(())
//! })?;
//! assert_eq!(found, [b"hello"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod header;
mod image;
mod lane;

use crate::layout::{FileKind, Header};
use crate::queue::{is_queue_file, kind_of};
use crate::{mailbox, queue};
use file::Reading;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How much to tell.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most bytes of each payload.
    pub payload: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { payload: 64 }
    }
}

/// Something that was found. What belongs to a file follows its [`File`](Item::File).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A directory is read: what follows is in it.
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// A file is read.
    File {
        /// Its name in the directory; what is not UTF-8 comes with replacement characters.
        name: String,
        /// How long it is, bytes.
        bytes: u64,
    },
    /// A field of a header, or of what stands behind it in `queue`.
    Field {
        /// As in the format's page.
        name: &'static str,
        /// What it says: numbers are decimal, identities hexadecimal.
        value: String,
    },
    /// A word of a file.
    Word {
        /// What it is a word of: a lane's slot of the receiver, or the file.
        slot: Option<u32>,
        /// As in the format's page.
        name: String,
        /// Where it lies in the file, bytes.
        offset: u64,
        /// What it says.
        value: u64,
        /// What that means, where it can be said in a word.
        means: Option<String>,
    },
    /// An entry of a lane's segment table that is in use.
    Segment {
        /// Which.
        slot: u32,
        /// The first position in the segment.
        start: u64,
        /// The position behind its last.
        end: u64,
        /// Where the segment starts in the file.
        offset: u64,
        /// By what positions in it are reduced.
        window: u64,
        /// The position of the jump that leads to it.
        from: u64,
        /// Whether a sender of this library could have written it.
        possible: bool,
    },
    /// A record of a lane.
    Record {
        /// Where it is, bytes since the lane was created.
        position: u64,
        /// Where it lies in the file, bytes.
        offset: u64,
        /// `data`, `pad`, `jump` or `gap`.
        kind: &'static str,
        /// The payload's length; of a gap, how many messages are missing; of a jump, where to.
        len: u32,
        /// Where the next record is.
        next: u64,
        /// Whether the receiver has released it: it is there because nothing was written over it yet.
        released: bool,
        /// The beginning of the payload, or all of it.
        payload: Vec<u8>,
    },
    /// Nothing more can be read of a lane.
    End {
        /// From where on.
        position: u64,
        /// Whether that is how a sound lane ends.
        sound: bool,
        /// Why, as a part of a sentence.
        why: String,
    },
    /// An entry of a ledger that is in use.
    Entry {
        /// Its number in the table.
        at: u64,
        /// What it is about.
        key: u64,
        /// The message's lane and position, if it is about one.
        message: Option<queue::Ticket>,
        /// What became of it.
        state: mailbox::State,
        /// Why.
        reason: mailbox::Reason,
        /// How often it was handed out.
        attempts: u16,
        /// In which order entries were written.
        order: u32,
        /// When, nanoseconds since the boot.
        written_at: u64,
        /// What else there is to say.
        extra: u64,
    },
    /// A file whose lock says whether somebody is there.
    Lock {
        /// Its name.
        name: String,
        /// How long it is: that of a lane that was born has 1 byte.
        bytes: u64,
        /// Whether somebody holds it, by the kernel's word.
        held: bool,
    },
    /// Something is wrong, or cannot be read.
    Problem {
        /// What, as a sentence.
        text: String,
    },
}

/// Tells `visit` of everything there is at `path`: a queue's directory, a mailbox's, or one file of a queue.
///
/// # Errors
/// Those of `visit`, which end it. Everything else is an item.
pub fn read<E>(
    path: impl AsRef<Path>,
    options: &Options,
    mut visit: impl FnMut(Item) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.as_ref();
    let mut dump = Dump { options, visit: &mut visit };
    // Where a link leads is what the user means.
    match fs::canonicalize(path).and_then(|found| Ok((fs::metadata(&found)?, found))) {
        Ok((stat, found)) if stat.is_dir() => dump.directory(&found),
        Ok((_, found)) => dump.lone_file(&found),
        Err(error) => dump.problem(format!("{path:?} cannot be read: {error}")),
    }
}

/// Names of no queue that are told, at most.
const MOST_STRANGERS: usize = 100;

struct Dump<'a, E> {
    options: &'a Options,
    visit: &'a mut dyn FnMut(Item) -> Result<(), E>,
}

impl<E> Dump<'_, E> {
    fn tell(&mut self, item: Item) -> Result<(), E> {
        (self.visit)(item)
    }

    fn problem(&mut self, text: String) -> Result<(), E> {
        self.tell(Item::Problem { text })
    }

    /// A directory of a queue, or of a mailbox with queues in it.
    fn directory(&mut self, path: &Path) -> Result<(), E> {
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.problem(format!("{path:?} cannot be listed: {error}")),
        };
        let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
        names.sort_unstable();
        let queues: Vec<_> = mailbox::QUEUES.iter().filter(|name| path.join(name).is_dir()).collect();
        let has = |kind| names.iter().any(|name| name.to_str().and_then(kind_of) == Some(kind));
        if queues.is_empty() || has(FileKind::Queue) {
            self.queue(path, &names)?;
        }
        queues.into_iter().try_for_each(|name| self.directory(&path.join(name)))
    }

    fn queue(&mut self, path: &Path, names: &[std::ffi::OsString]) -> Result<(), E> {
        self.tell(Item::Directory { path: path.to_owned() })?;
        let kind = |name: &std::ffi::OsString| name.to_str().and_then(kind_of);
        let header_of = |wanted| {
            let name = names.iter().find(|name| kind(name) == Some(wanted))?;
            header::of_file(&path.join(name))
        };
        let queue = header_of(FileKind::Queue);
        for wanted in [FileKind::Queue, FileKind::Bell, FileKind::Receiver] {
            if !names.iter().any(|name| kind(name) == Some(wanted)) {
                self.problem(format!("there is no file `{}`", format!("{wanted:?}").to_lowercase()))?;
            }
        }
        let others = [queue, header_of(FileKind::Receiver), header_of(FileKind::Bell)];
        let mut reading = Reading { queue, others: others.into_iter().flatten().collect(), slots: None };
        // The receiver's words first: lanes are read from its positions.
        let mut known: Vec<_> = names.iter().filter_map(|name| Some((kind(name)?, name))).collect();
        known.sort_by_key(|(kind, name)| (*kind as u32, name.to_str().and_then(queue::lane_number)));
        for (kind, name) in known {
            self.file(&path.join(name), kind, &mut reading)?;
        }
        let mut strangers = 0;
        for name in names.iter().filter(|name| kind(name).is_none()) {
            match name.to_str() {
                Some(text) if is_queue_file(text) => self.lock(path, text)?,
                Some(text) if mailbox::QUEUES.contains(&text) => {}
                _ if strangers < MOST_STRANGERS => {
                    strangers += 1;
                    self.problem(format!("{name:?} is no file of a queue"))?;
                }
                _ => strangers += 1,
            }
        }
        if strangers > MOST_STRANGERS {
            self.problem(format!("so are {} more", strangers - MOST_STRANGERS))?;
        }
        Ok(())
    }

    /// A file that is there alone: what it says of itself is all there is.
    fn lone_file(&mut self, path: &Path) -> Result<(), E> {
        let own = header::of_file(path);
        let by_header = own.and_then(|header| header::kind_of(&header));
        let by_name = path.file_name().and_then(|name| name.to_str()).and_then(kind_of);
        let Some(kind) = by_header.or(by_name) else {
            let text = format!("{path:?} is no file of a queue: neither its name nor its header says which it is");
            return self.problem(text);
        };
        self.file(path, kind, &mut Reading { queue: None, others: Vec::new(), slots: None })
    }

    fn lock(&mut self, path: &Path, name: &str) -> Result<(), E> {
        match image::open(&path.join(name)).and_then(|(file, bytes)| Ok((crate::sys::lock::is_held(&file)?, bytes))) {
            Ok((held, bytes)) => self.tell(Item::Lock { name: name.to_owned(), bytes, held }),
            Err(error) => self.problem(format!("{name:?} cannot be asked: {error}")),
        }
    }
}

/// The header by which a file of a queue is read: its own if that can be, or another of the same queue.
fn geometry<'a>(own: &'a Header, others: &'a [Header]) -> Option<&'a Header> {
    let all = || std::iter::once(own).chain(others).filter(|header| header::is_usable(header));
    all().find(|header| header.sealed().checksum == header.checksum).or_else(|| all().next())
}
