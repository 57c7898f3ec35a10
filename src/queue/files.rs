//! The files of a queue: their names, how one is made, and the words for what is wrong with one.

use crate::error::Cause;
use crate::layout::{FileKind, Header, Trust};
use crate::sys::dir::Dir;
use crate::sys::space;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that makes a directory a queue; its header is what the others are compared with.
pub(super) const QUEUE: &str = "queue";
pub(super) const BELL: &str = "bell";
pub(super) const RECEIVER: &str = "receiver";
/// What became of messages, in a queue that keeps a ledger; and what others leave for its receiver to look at.
pub(super) const LEDGER: &str = "ledger";
pub(super) const DESK: &str = "desk";
pub(super) const RECEIVER_LOCK: &str = "receiver.lock";
/// A file that is there for a moment while a queue is built.
pub(super) const TRIAL: &str = ".trial";
/// How the names of directories begin that are being built or removed.
pub(super) const HIDDEN: &str = ".laneway-";

/// File systems whose shared mappings are coherent, whose locks are the kernel's own, and which can reserve space.
/// A queue on overlayfs is born there and lives in the upper layer; one from an image is of another boot.
pub(super) const FILESYSTEMS: [(i64, &str); 6] = [
    (0x0102_1994, "tmpfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0x794c_7630, "overlay"),
];

/// How often, and how far apart, a lock that is held is tried again: a process that forks to start another holds its
/// locks twice for some milliseconds, and one that was killed still holds them until the kernel has cleared it away.
pub(super) const LOCK_ATTEMPTS: u32 = 20;
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The name of a lane's file.
pub(super) fn lane_name(number: u32) -> String {
    format!("lane-{number:03}")
}

/// What a file of this name is, if it is one that is mapped.
pub(crate) fn kind_of(name: &str) -> Option<FileKind> {
    match name {
        QUEUE => Some(FileKind::Queue),
        BELL => Some(FileKind::Bell),
        RECEIVER => Some(FileKind::Receiver),
        LEDGER => Some(FileKind::Ledger),
        DESK => Some(FileKind::Desk),
        _ => lane_number(name).map(|_| FileKind::Lane),
    }
}

/// The number of the lane whose file has this name.
pub(crate) fn lane_number(name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix("lane-")?.parse().ok()?;
    (lane_name(number) == name).then_some(number)
}

pub(crate) fn is_queue_file(name: &str) -> bool {
    let owner = [".lock", ".new", ".alive"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    [QUEUE, BELL, RECEIVER, RECEIVER_LOCK, LEDGER, DESK, TRIAL].contains(&name)
        || owner == RECEIVER
        || lane_number(owner).is_some()
}

/// The mode of a queue's directory.
pub(super) fn dir_mode(trust: Trust) -> u32 {
    match trust {
        Trust::Cooperative => 0o700,
        // New files belong to the group, and everybody can remove his own only.
        Trust::Contained => 0o3770,
    }
}

/// The mode of a file that is mapped.
pub(super) fn file_mode(trust: Trust, kind: FileKind) -> u32 {
    match (trust, kind) {
        (Trust::Cooperative, _) => 0o600,
        (Trust::Contained, FileKind::Bell | FileKind::Desk) => 0o660,
        (Trust::Contained, _) => 0o640,
    }
}

/// The header's word.
pub(super) fn trust_of(header: &Header) -> Option<Trust> {
    [Trust::Cooperative, Trust::Contained].into_iter().find(|trust| *trust as u32 == header.trust)
}

pub(super) fn io(file: &str, source: io::Error) -> Cause {
    Cause::Io { file: file.to_owned(), source }
}

/// The parent directory and the name in it.
pub(super) fn split(path: &Path) -> Result<(PathBuf, String), Cause> {
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or(Cause::Name { rule: "is valid UTF-8 and not `..`" })?;
    super::check_name(name).map_err(|error| match error.cause() {
        Cause::Name { rule } => Cause::Name { rule },
        _ => unreachable!("check_name answers with a name's rule"),
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_owned(), name.to_owned()))
}

/// Makes a file with a header, its bytes reserved and zero.
pub(super) fn make_file(dir: &Dir, name: &str, header: &Header) -> Result<File, Cause> {
    use FileKind::{Bell, Desk, Lane, Ledger, Queue, Receiver};
    let kind = [Queue, Bell, Receiver, Lane, Ledger, Desk]
        .into_iter()
        .find(|kind| *kind as u32 == header.kind)
        .expect("made by Header::of");
    let trust = trust_of(header).expect("checked when the queue was opened, or made by us");
    let file = dir.create_file(name, file_mode(trust, kind)).map_err(|error| io(name, error))?;
    reserve(&file, name, header.file_len(kind))?;
    file.write_all_at(bytemuck::bytes_of(header), 0).map_err(|error| io(name, error))?;
    Ok(file)
}

pub(super) fn reserve(file: &File, name: &str, bytes: u64) -> Result<(), Cause> {
    space::reserve(file, 0..bytes).map_err(|error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Cause::NoSpace { file: name.to_owned(), bytes }
        }
        _ => io(name, error),
    })
}

pub(super) fn check_filesystem(dir: &Dir, any: bool) -> Result<(), Cause> {
    let magic = dir.filesystem().map_err(|error| io("", error))?;
    if any || FILESYSTEMS.iter().any(|(known, _)| *known == magic) { Ok(()) } else { Err(Cause::Filesystem { magic }) }
}

/// The kernel gives one answer for both.
pub(super) const NOT_A_DIRECTORY: &str = "it is not a directory, or it is a symbolic link";

pub(super) fn untrusted(file: &str, what: &str) -> Cause {
    Cause::Untrusted { file: file.to_owned(), what: what.to_owned() }
}

/// What opening accepts, and what it installs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) any_filesystem: bool,
    pub(super) sigbus_guard: bool,
    /// The group to share a new queue with.
    pub(super) group: Option<u32>,
}
