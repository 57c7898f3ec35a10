//! A queue's directory: born whole, checked before anything is mapped, removed whole.
//!
//! Knows which files there are, who may own them and what their headers say. Knows nothing of messages.

use super::Options;
use crate::error::{Cause, Error};
use crate::layout::{self, FenceMode, FileKind, HEADER_LEN, Header};
use crate::region::Region;
use crate::sys::dir::{self, Dir};
use crate::sys::{fence, host, lock};
use bytemuck::Zeroable;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The file that makes a directory a queue; its header is what the others are compared with.
pub(super) const QUEUE: &str = "queue";
const BELL: &str = "bell";
const RECEIVER: &str = "receiver";
const RECEIVER_LOCK: &str = "receiver.lock";

/// File systems whose shared mappings are coherent, whose locks are the kernel's own, and which can reserve space.
/// A queue on overlayfs is born there and lives in the upper layer; one from an image is of another boot.
const FILESYSTEMS: [(i64, &str); 6] = [
    (0x0102_1994, "tmpfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xf2f5_2010, "f2fs"),
    (0x794c_7630, "overlay"),
];

/// How often, and how far apart, a lock that is held is tried again: a process that forks to start another holds its
/// locks twice for some milliseconds, and one that was killed still holds them until the kernel has cleared it away.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// An open queue: its directory, its identity and its limits.
pub(crate) struct Directory {
    path: PathBuf,
    dir: Dir,
    uid: u32,
    header: Header,
    fence_mode: FenceMode,
    opening: Opening,
}

/// What opening accepts, and what it installs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) any_filesystem: bool,
    pub(super) sigbus_guard: bool,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What became of a lane's file when it was looked for.
pub(super) enum LaneFile {
    Missing,
    Damaged(Cause),
    Mapped(Arc<Region>),
}

/// The name of a lane's file.
fn lane_name(number: u32) -> String {
    format!("lane-{number:03}")
}

/// The number of the lane whose file has this name.
fn lane_number(name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix("lane-")?.parse().ok()?;
    (lane_name(number) == name).then_some(number)
}

fn is_queue_file(name: &str) -> bool {
    [QUEUE, BELL, RECEIVER, RECEIVER_LOCK].contains(&name)
        || lane_number(name.strip_suffix(".lock").or(name.strip_suffix(".new")).unwrap_or(name)).is_some()
}

fn io(file: &str, source: io::Error) -> Cause {
    Cause::Io { file: file.to_owned(), source }
}

/// The parent directory and the name in it.
fn split(path: &Path) -> Result<(PathBuf, String), Cause> {
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or(Cause::Name { rule: "is valid UTF-8 and not `..`" })?;
    super::check_name(name).map_err(|error| match error.cause() {
        Cause::Name { rule } => Cause::Name { rule },
        _ => unreachable!("check_name answers with a name's rule"),
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_owned(), name.to_owned()))
}

/// Creates a queue's directory with every file but the lanes, and then gives it its name.
pub(super) fn create(path: &Path, limits: &Header, opening: Opening) -> Result<(), Error> {
    build(path, limits, opening).map_err(|cause| Error::new("create", path, cause))
}

fn build(path: &Path, limits: &Header, opening: Opening) -> Result<(), Cause> {
    let (parent, name) = split(path)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&parent).map_err(|error| io("", error))?;
    let parent = Dir::open(&parent).map_err(|error| io("", error))?;
    check_filesystem(&parent, opening.any_filesystem)?;
    if parent.has(&name) {
        return Err(Cause::AlreadyExists);
    }
    let queue_id = host::random_id().map_err(|error| io("", error))?;
    let header = Header {
        queue_id,
        boot_id: host::boot_id().map_err(|error| io("", error))?,
        fence_mode: fence::best_mode() as u32,
        created_ns: host::realtime_ns(),
        ..*limits
    };
    let temporary = format!(".laneway-{:016x}", u64::from_ne_bytes(queue_id[..8].try_into().expect("8 of 16 bytes")));
    let dir = parent.make_dir(&temporary, 0o700).map_err(|error| io("", error))?;
    let born = fill(&dir, &header).and_then(|()| {
        dir_rename(&parent, &temporary, &name).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => Cause::AlreadyExists,
            _ => io("", error),
        })
    });
    if born.is_err() {
        // Nothing to say of a failure here: the reason for the first one is what counts.
        let _ = empty(&dir).and_then(|()| parent.remove_dir(&temporary));
    }
    born
}

fn dir_rename(parent: &Dir, from: &str, to: &str) -> io::Result<()> {
    parent.rename_new(from, parent, to)
}

fn fill(dir: &Dir, header: &Header) -> Result<(), Cause> {
    for (name, kind) in [(QUEUE, FileKind::Queue), (BELL, FileKind::Bell), (RECEIVER, FileKind::Receiver)] {
        make_file(dir, name, &header.of(kind, 0))?;
    }
    dir.create_file(RECEIVER_LOCK, 0o600).map_err(|error| io(RECEIVER_LOCK, error))?;
    // A lane comes with its sender. Should there be no room for even one, now is the time to say so.
    let lane = header.file_len(FileKind::Lane);
    let trial = ".trial";
    let file = dir.create_file(trial, 0o600).map_err(|error| io(trial, error))?;
    let answer = reserve(&file, &lane_name(0), lane);
    dir.remove_file(trial).map_err(|error| io(trial, error))?;
    answer
}

/// Makes a file with a header, its bytes reserved and zero.
fn make_file(dir: &Dir, name: &str, header: &Header) -> Result<File, Cause> {
    let kind = [FileKind::Queue, FileKind::Bell, FileKind::Receiver, FileKind::Lane]
        .into_iter()
        .find(|kind| *kind as u32 == header.kind)
        .expect("made by Header::of");
    let file = dir.create_file(name, 0o600).map_err(|error| io(name, error))?;
    reserve(&file, name, header.file_len(kind))?;
    file.write_all_at(bytemuck::bytes_of(header), 0).map_err(|error| io(name, error))?;
    Ok(file)
}

fn reserve(file: &File, name: &str, bytes: u64) -> Result<(), Cause> {
    dir::reserve(file, bytes).map_err(|error| match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Cause::NoSpace { file: name.to_owned(), bytes }
        }
        _ => io(name, error),
    })
}

fn check_filesystem(dir: &Dir, any: bool) -> Result<(), Cause> {
    let magic = dir.filesystem().map_err(|error| io("", error))?;
    if any || FILESYSTEMS.iter().any(|(known, _)| *known == magic) { Ok(()) } else { Err(Cause::Filesystem { magic }) }
}

/// Removes the files in a directory, and refuses when there is one that is not a queue's.
fn empty(dir: &Dir) -> io::Result<()> {
    let mut names = Vec::new();
    dir.names(|name| names.push(name.to_owned()))?;
    let ours = |name: &str| is_queue_file(name) || name == ".trial";
    if let Some(stranger) = names.iter().find(|name| !ours(name)) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("it also holds {stranger:?}, which is no queue's file"),
        ));
    }
    // The file that makes it a queue goes first: from then on it is none, for whoever holds it open too.
    names.sort_by_key(|name| name != QUEUE);
    names.iter().try_for_each(|name| dir.remove_file(name))
}

/// Takes the directory out of sight under another name, then removes it.
fn remove_from(parent: &Dir, name: &str) -> Result<(), Cause> {
    let dir = parent.open_dir(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Cause::NotFound,
        ErrorKind::NotADirectory => untrusted("", NOT_A_DIRECTORY),
        _ => io("", error),
    })?;
    let mut strangers = None;
    dir.names(|name| {
        if !is_queue_file(name) {
            strangers.get_or_insert_with(|| name.to_owned());
        }
    })
    .map_err(|error| io("", error))?;
    if let Some(stranger) = strangers {
        let what = format!("it also holds {stranger:?}, which is no queue's file");
        return Err(untrusted("", &what));
    }
    let id = host::random_id().map_err(|error| io("", error))?;
    let hidden = format!(".laneway-{:016x}", u64::from_ne_bytes(id[..8].try_into().expect("8 of 16 bytes")));
    parent.rename_new(name, parent, &hidden).map_err(|error| io("", error))?;
    empty(&dir).and_then(|()| parent.remove_dir(&hidden)).map_err(|error| io("", error))
}

/// Removes a queue's directory without opening the queue.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    split(path)
        .and_then(|(parent, name)| {
            let parent = Dir::open(&parent).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Cause::NotFound,
                _ => io("", error),
            })?;
            remove_from(&parent, &name)
        })
        .map_err(|cause| Error::new("remove", path, cause))
}

/// The kernel gives one answer for both.
const NOT_A_DIRECTORY: &str = "it is not a directory, or it is a symbolic link";

fn untrusted(file: &str, what: &str) -> Cause {
    Cause::Untrusted { file: file.to_owned(), what: what.to_owned() }
}

impl Directory {
    /// Opens and checks a queue.
    pub(super) fn open(path: &Path, opening: Opening) -> Result<Directory, Error> {
        Self::check(path, opening).map_err(|cause| Error::new("open", path, cause))
    }

    fn check(path: &Path, opening: Opening) -> Result<Directory, Cause> {
        let (parent, name) = split(path)?;
        let missing = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => Cause::NotFound,
            ErrorKind::NotADirectory => untrusted("", NOT_A_DIRECTORY),
            _ => io("", error),
        };
        let dir = Dir::open(&parent).map_err(missing)?.open_dir(&name).map_err(missing)?;
        let stat = dir.stat().map_err(|error| io("", error))?;
        let me = host::euid();
        if stat.st_uid != me {
            return Err(untrusted("", &format!("it belongs to user {}, and this process is user {me}", stat.st_uid)));
        }
        if stat.st_mode & 0o022 != 0 {
            let mode = stat.st_mode & 0o7777;
            return Err(untrusted("", &format!("its mode {mode:04o} lets others write in it")));
        }
        check_filesystem(&dir, opening.any_filesystem)?;
        let (_, header) = open_checked(&dir, QUEUE, stat.st_uid, false)?;
        let fence_mode = check_identity(&header)?;
        let directory = Directory { path: path.to_owned(), dir, uid: stat.st_uid, header, fence_mode, opening };
        // They are mapped when they are needed; whether they are sound is asked now.
        directory.open_part(QUEUE, FileKind::Queue, 0, false)?;
        directory.open_part(BELL, FileKind::Bell, 0, false)?;
        directory.open_part(RECEIVER, FileKind::Receiver, 0, false)?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn fence_mode(&self) -> FenceMode {
        self.fence_mode
    }

    /// Maps the bell's file.
    pub(super) fn map_bell(&self, writable: bool) -> Result<Arc<Region>, Cause> {
        self.map(BELL, FileKind::Bell, 0, writable)
    }

    pub(super) fn error(&self, verb: &'static str, cause: Cause) -> Error {
        Error::new(verb, &self.path, cause)
    }

    /// Whether the queue still exists under any name.
    pub(super) fn is_attached(&self) -> bool {
        self.dir.has(QUEUE)
    }

    /// Maps the receiver's file.
    pub(super) fn map_receiver(&self, writable: bool) -> Result<Arc<Region>, Cause> {
        self.map(RECEIVER, FileKind::Receiver, 0, writable)
    }

    /// Maps a lane's file.
    pub(super) fn map_lane(&self, number: u32, writable: bool) -> Result<LaneFile, Cause> {
        let name = lane_name(number);
        match self.map(&name, FileKind::Lane, number, writable) {
            Ok(region) => Ok(LaneFile::Mapped(region)),
            Err(Cause::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(LaneFile::Missing),
            Err(cause @ (Cause::Io { .. } | Cause::Detached)) => Err(cause),
            Err(damage) => Ok(LaneFile::Damaged(damage)),
        }
    }

    /// Creates a lane's file, whole, starting at the position that the receiver expects. The caller holds its lock.
    pub(super) fn create_lane(&self, number: u32, start: u64) -> Result<(), Cause> {
        let (name, unfinished) = (lane_name(number), format!("{}.new", lane_name(number)));
        self.dir.remove_file(&unfinished).map_err(|error| io(&unfinished, error))?;
        let made = make_file(&self.dir, &unfinished, &self.header.of(FileKind::Lane, number)).and_then(|file| {
            file.write_all_at(&start.to_ne_bytes(), layout::lane::WRITE_HINT as u64)
                .map_err(|error| io(&unfinished, error))?;
            self.dir.rename_new(&unfinished, &self.dir, &name).map_err(|error| io(&name, error))
        });
        if made.is_err() {
            let _ = self.dir.remove_file(&unfinished);
        }
        made
    }

    /// The numbers of the lanes that have files.
    pub(super) fn lane_numbers(&self) -> Result<Vec<u32>, Cause> {
        let mut numbers = Vec::new();
        self.dir
            .names(|name| numbers.extend(lane_number(name).filter(|number| *number < self.header.max_lanes)))
            .map_err(|error| io("", error))?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Takes a lane's lock if nobody holds it.
    pub(super) fn try_lock_lane(&self, number: u32) -> Result<Option<File>, Cause> {
        let name = format!("{}.lock", lane_name(number));
        let file = self.lock_file(&name)?;
        Ok(lock::try_lock(&file).map_err(|error| io(&name, error))?.then_some(file))
    }

    /// Takes the receiver's lock, trying for a moment while somebody else holds it. Blocks, 100 ms at most.
    pub(super) fn lock_receiver(&self) -> Result<File, Cause> {
        let file = self.lock_file(RECEIVER_LOCK)?;
        retry(|| lock::try_lock(&file).map(|ours| ours.then_some(())))
            .map_err(|error| io(RECEIVER_LOCK, error))?
            .ok_or(Cause::AlreadyReceiving)?;
        Ok(file)
    }

    /// Whether somebody holds the receiver's lock, or a lane's.
    pub(super) fn is_held(&self, lane: Option<u32>) -> Result<bool, Cause> {
        let name = lane.map_or(RECEIVER_LOCK.to_owned(), |number| format!("{}.lock", lane_name(number)));
        match self.dir.open_file(&name, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            answer => answer.and_then(|file| lock::is_held(&file)).map_err(|error| io(&name, error)),
        }
    }

    /// Removes the queue that is open here, if it still has its name.
    pub(super) fn destroy(&self) -> Result<(), Error> {
        let gone = || -> Result<(), Cause> {
            let (parent, name) = split(&self.path)?;
            let parent = Dir::open(&parent).map_err(|error| io("", error))?;
            let there = parent.open_dir(&name).and_then(|dir| dir.stat()).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Cause::Detached,
                _ => io("", error),
            })?;
            let here = self.dir.stat().map_err(|error| io("", error))?;
            if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) {
                return Err(Cause::Detached);
            }
            remove_from(&parent, &name)
        };
        gone().map_err(|cause| self.error("destroy", cause))
    }

    /// Opens a lock file, or creates it.
    fn lock_file(&self, name: &str) -> Result<File, Cause> {
        // First without O_CREAT, which sticky directories refuse for files of others; then creating it for certain.
        let answer = match self.dir.open_file(name, true) {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.dir.create_file(name, 0o600) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.dir.open_file(name, true),
                answer => answer,
            },
            answer => answer,
        };
        let file = answer.map_err(|error| self.open_failed(name, error))?;
        check_owner(&file, name, self.uid)?;
        Ok(file)
    }

    fn map(&self, name: &str, kind: FileKind, lane: u32, writable: bool) -> Result<Arc<Region>, Cause> {
        let file = self.open_part(name, kind, lane, writable)?;
        Region::map(&file, self.header.file_len(kind) as usize, writable, self.opening.sigbus_guard)
            .map_err(|error| io(name, error))
    }

    /// Opens one of the queue's files and compares its header with the queue's, field by field.
    fn open_part(&self, name: &str, kind: FileKind, lane: u32, writable: bool) -> Result<File, Cause> {
        let (file, found) = open_checked(&self.dir, name, self.uid, writable).map_err(|cause| match cause {
            Cause::NotFound => self.open_failed(name, ErrorKind::NotFound.into()),
            other => other,
        })?;
        let expected = self.header.of(kind, lane);
        if found != expected {
            return Err(difference(name, &found, &expected));
        }
        let len = dir::stat_file(&file).map_err(|error| io(name, error))?.st_size as u64;
        let needed = self.header.file_len(kind);
        if len < needed {
            return Err(damaged(name, "size", format!("{len} bytes"), format!("{needed} bytes")));
        }
        Ok(file)
    }

    /// A file that is missing from a queue that is missing was not damaged.
    fn open_failed(&self, name: &str, error: io::Error) -> Cause {
        if error.kind() == ErrorKind::NotFound && !self.is_attached() { Cause::Detached } else { io(name, error) }
    }
}

/// Calls `attempt` until it gives something, for about 100 ms.
pub(super) fn retry<T, E>(mut attempt: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    for _ in 1..LOCK_ATTEMPTS {
        if let Some(found) = attempt()? {
            return Ok(Some(found));
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    attempt()
}

/// Opens a file, checks whose it is, and reads its header: by `read`, because a mapping of a short file would fault.
fn open_checked(dir: &Dir, name: &str, uid: u32, writable: bool) -> Result<(File, Header), Cause> {
    let file = dir.open_file(name, writable).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Cause::NotFound,
        _ if error.raw_os_error() == Some(libc::ELOOP) => untrusted(name, "it is a symbolic link"),
        ErrorKind::IsADirectory => untrusted(name, "it is a directory"),
        _ => io(name, error),
    })?;
    check_owner(&file, name, uid)?;
    let mut header = Header::zeroed();
    match file.read_exact_at(bytemuck::bytes_of_mut(&mut header), 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let len = dir::stat_file(&file).map_err(|error| io(name, error))?.st_size;
            return Err(damaged(name, "size", format!("{len} bytes"), format!("{HEADER_LEN} bytes or more")));
        }
        answer => answer.map_err(|error| io(name, error))?,
    }
    if header.magic != layout::MAGIC {
        let expected = format!("{:#018x}", layout::MAGIC);
        return Err(damaged(name, "the magic number", format!("{:#018x}", header.magic), expected));
    }
    if header.version != layout::VERSION {
        return Err(Cause::Version { file: name.to_owned(), found: header.version, supported: layout::VERSION });
    }
    let sealed = header.sealed();
    if header.checksum != sealed.checksum {
        let expected = format!("{:#018x}", sealed.checksum);
        return Err(damaged(name, "the header's checksum", format!("{:#018x}", header.checksum), expected));
    }
    Ok((file, header))
}

fn check_owner(file: &File, name: &str, uid: u32) -> Result<(), Cause> {
    let stat = dir::stat_file(file).map_err(|error| io(name, error))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        Err(untrusted(name, "it is not a regular file"))
    } else if stat.st_nlink > 1 {
        Err(untrusted(name, &format!("it has {} names", stat.st_nlink)))
    } else if stat.st_uid != uid {
        Err(untrusted(name, &format!("it belongs to user {}, and the queue to user {uid}", stat.st_uid)))
    } else if stat.st_mode & 0o022 != 0 {
        Err(untrusted(name, &format!("its mode {:04o} lets others write it", stat.st_mode & 0o7777)))
    } else {
        Ok(())
    }
}

/// Checks what the `queue` file says, beyond its checksum.
fn check_identity(header: &Header) -> Result<FenceMode, Cause> {
    let wrong = |field, found: u64, expected: &str| damaged(QUEUE, field, found.to_string(), expected.to_owned());
    let boot_id = host::boot_id().map_err(|error| io("", error))?;
    if header.kind != FileKind::Queue as u32 {
        return Err(wrong("kind", header.kind.into(), "1"));
    }
    if header.boot_id != boot_id {
        return Err(Cause::OtherBoot);
    }
    if header.features != 0 {
        return Err(wrong("features", header.features, "0: this library knows none"));
    }
    let reserved: [(&'static str, u64); 5] = [
        ("overflow_limit", header.overflow_limit),
        ("trust", header.trust.into()),
        ("priority", header.priority.into()),
        ("outcome_slots", header.outcome_slots.into()),
        ("reserved", header.reserved),
    ];
    if let Some((field, found)) = reserved.into_iter().find(|(_, found)| *found != 0) {
        return Err(wrong(field, found, "0"));
    }
    if header.segment_slots != layout::SEGMENT_SLOTS {
        return Err(wrong("segment_slots", header.segment_slots.into(), &layout::SEGMENT_SLOTS.to_string()));
    }
    Options::are_limits_of(header).map_err(|cause| match cause {
        Cause::Option { option: "capacity", value, rule } => wrong("ring_capacity", value, rule),
        Cause::Option { option, value, rule } => wrong(option, value, rule),
        other => other,
    })?;
    match header.fence_mode {
        mode if mode == FenceMode::Symmetric as u32 => Ok(FenceMode::Symmetric),
        mode if mode == FenceMode::Asymmetric as u32 => Ok(FenceMode::Asymmetric),
        mode => Err(wrong("fence_mode", mode.into(), "1 or 2")),
    }
}

/// The first field in which a file's header differs from what it should be.
fn difference(name: &str, found: &Header, expected: &Header) -> Cause {
    let fields: [(&'static str, u128, u128); 16] = [
        ("kind", found.kind.into(), expected.kind.into()),
        ("queue_id", u128::from_be_bytes(found.queue_id), u128::from_be_bytes(expected.queue_id)),
        ("boot_id", u128::from_be_bytes(found.boot_id), u128::from_be_bytes(expected.boot_id)),
        ("ring_capacity", found.ring_capacity.into(), expected.ring_capacity.into()),
        ("overflow_limit", found.overflow_limit.into(), expected.overflow_limit.into()),
        ("max_message", found.max_message.into(), expected.max_message.into()),
        ("max_lanes", found.max_lanes.into(), expected.max_lanes.into()),
        ("fence_mode", found.fence_mode.into(), expected.fence_mode.into()),
        ("trust", found.trust.into(), expected.trust.into()),
        ("lane", found.lane.into(), expected.lane.into()),
        ("priority", found.priority.into(), expected.priority.into()),
        ("outcome_slots", found.outcome_slots.into(), expected.outcome_slots.into()),
        ("segment_slots", found.segment_slots.into(), expected.segment_slots.into()),
        ("created_ns", found.created_ns.into(), expected.created_ns.into()),
        ("features", found.features.into(), expected.features.into()),
        ("reserved", found.reserved.into(), expected.reserved.into()),
    ];
    // Magic number, version and checksum were right, or we would not be here.
    let differs = fields.into_iter().find(|(_, found, expected)| found != expected);
    let (field, found, expected) = differs.unwrap_or(("checksum", found.checksum.into(), expected.checksum.into()));
    damaged(name, field, format!("{found:#x}"), format!("{expected:#x}"))
}

fn damaged(file: &str, field: &'static str, found: String, expected: String) -> Cause {
    Cause::Damaged { file: file.to_owned(), field, found, expected }
}
