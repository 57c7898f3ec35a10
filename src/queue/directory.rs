//! An open queue: its files, checked before anything is mapped, and the locks that say who owns them.
//!
//! Knows who may own a file and what its header must say. Knows nothing of messages.

use super::files::*;
use super::{Options, Priority};
use crate::error::{Cause, Error};
use crate::lane::{Memory, Terms};
use crate::layout::{self, FenceMode, FileKind, HEADER_LEN, Header, Limits, Note, Trust};
use crate::region::{Access, Region};
use crate::sys::dir::{self, Dir, FileStat};
use crate::sys::{host, lock};
use bytemuck::Zeroable;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open queue: its directory, its identity and its limits.
pub(crate) struct Directory {
    path: PathBuf,
    dir: Dir,
    uid: u32,
    terms: Terms,
    trust: Trust,
    opening: Opening,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What became of a lane's file when it was looked for.
pub(super) enum LaneFile {
    Missing,
    /// It is there and not to be used; the queue does without it.
    Unusable(Cause),
    /// With the lane's own header: the queue's, but for its number and priority.
    Mapped(Arc<Region>, Header),
}

/// A lock, held.
///
/// That of a lane has one byte once the lane has existed, so that a lane that was lost is not made again under the same
/// number, behind the back of a receiver that still maps the old one (I7).
pub(super) struct Lock {
    file: File,
    /// In a contained queue: a second one that the group may look at, and that decides nothing.
    _shown: Option<File>,
}

impl Lock {
    /// Whether the lane has existed.
    pub(super) fn is_born(&self) -> Result<bool, Cause> {
        Ok(dir::stat_file(&self.file).map_err(|error| io("a lane's lock", error))?.st_size > 0)
    }

    /// Says that the lane exists.
    pub(super) fn set_born(&self) -> Result<(), Cause> {
        self.file.write_all_at(b"1", 0).map_err(|error| io("a lane's lock", error))
    }
}

impl Directory {
    /// Opens and checks a queue.
    pub(super) fn open(path: &Path, opening: Opening) -> Result<Directory, Error> {
        Self::check(path, opening).map_err(|cause| {
            let is_missing = || std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
            // It was removed while we looked into it.
            let cause = if matches!(cause, Cause::Io { .. }) && is_missing() { Cause::NotFound } else { cause };
            Error::new("open", path, cause)
        })
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
        let (me, mode) = (host::euid(), stat.st_mode & 0o7777);
        let contained = mode == dir_mode(Trust::Contained);
        if stat.st_uid != me && !contained {
            return Err(untrusted("", &format!("it belongs to user {}, and this process is user {me}", stat.st_uid)));
        }
        if mode & 0o022 != 0 && !contained {
            return Err(untrusted("", &format!("its mode {mode:04o} lets others write in it")));
        }
        check_filesystem(&dir, opening.any_filesystem)?;
        let (_, header) = open_checked(&dir, QUEUE, Some(stat.st_uid), false)?;
        let (fence_mode, trust) = check_identity(&header)?;
        if (trust == Trust::Contained) != contained {
            let right = dir_mode(trust);
            return Err(untrusted("", &format!("its mode is {mode:04o}, and should be {right:04o}")));
        }
        let limits = read_limits(&dir)?;
        let terms = Terms { header, limits, fence_mode };
        let directory = Directory { path: path.to_owned(), dir, uid: stat.st_uid, terms, trust, opening };
        // They are mapped when they are needed; whether they are sound is asked now.
        directory.open_part(QUEUE, FileKind::Queue, 0, false)?;
        directory.open_part(BELL, FileKind::Bell, 0, false)?;
        directory.open_part(RECEIVER, FileKind::Receiver, 0, false)?;
        if directory.terms.header.ledger_entries > 0 {
            directory.open_part(LEDGER, FileKind::Ledger, 0, false)?;
            directory.open_part(DESK, FileKind::Desk, 0, false)?;
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn header(&self) -> &Header {
        &self.terms.header
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The memory of the lane whose file has this header.
    pub(super) fn memory(
        &self,
        header: &Header,
        lane: Arc<Region>,
        receiver: &Arc<Region>,
        bell: &Arc<Region>,
    ) -> Memory {
        let memory = Memory::new(&self.terms, header, lane, Arc::clone(receiver), Arc::clone(bell));
        #[cfg(feature = "tracing")]
        let memory = Memory { name: crate::log::Name::new(&self.path, header.lane), ..memory };
        memory
    }

    /// Maps the bell's file.
    pub(super) fn map_bell(&self, writable: bool) -> Result<Arc<Region>, Cause> {
        self.map(BELL, FileKind::Bell, 0, writable).map(|(region, _)| region)
    }

    /// An error about it. A file that could not be had because the queue was removed meanwhile is no fault of the file's.
    pub(super) fn error(&self, verb: &'static str, cause: Cause) -> Error {
        let cause = if matches!(cause, Cause::Io { .. }) && !self.is_attached() { Cause::Detached } else { cause };
        Error::new(verb, &self.path, cause)
    }

    /// Whether the queue still exists under any name. Who is told that it does not never asks again, so that must be
    /// certain: a question that the kernel could not answer does not count.
    pub(super) fn is_attached(&self) -> bool {
        self.dir.has(QUEUE).unwrap_or(true)
    }

    /// When a name was last added to the directory or taken from it, nanoseconds since 1970, if that is so long ago that
    /// the next change must show: file systems keep this time to some milliseconds only.
    pub(super) fn changed_at(&self) -> Option<u64> {
        let stat = self.dir.stat().ok()?;
        // Its owner can set it to anything.
        let at = (stat.st_mtime as u64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as u64);
        (host::realtime_ns().saturating_sub(at) > 1_000_000_000).then_some(at)
    }

    /// Maps the receiver's file.
    pub(super) fn map_receiver(&self, writable: bool) -> Result<Arc<Region>, Cause> {
        self.map(RECEIVER, FileKind::Receiver, 0, writable).map(|(region, _)| region)
    }

    /// What the layer above left in the `queue` file.
    pub(super) fn note(&self) -> Result<Note, Cause> {
        read_sealed(&self.dir, layout::queue::NOTE, "the note's checksum", Note::sealed)
    }

    /// Maps the ledger's file, of a queue that has one.
    pub(super) fn map_ledger(&self, writable: bool) -> Result<Arc<Region>, Cause> {
        self.map(LEDGER, FileKind::Ledger, 0, writable).map(|(region, _)| region)
    }

    /// Maps the file of hints for the receiver of a queue with a ledger.
    pub(super) fn map_desk(&self) -> Result<Arc<Region>, Cause> {
        self.map(DESK, FileKind::Desk, 0, true).map(|(region, _)| region)
    }

    /// The user who owns a lane's file.
    pub(super) fn lane_owner(&self, number: u32) -> Result<u32, Cause> {
        let name = lane_name(number);
        self.dir.stat_name(&name).map(|stat| stat.st_uid).map_err(|error| io(&name, error))
    }

    /// Reads bytes of a lane's file, without touching what it does not have; false when they are not there.
    pub(super) fn read_lane(&self, number: u32, offset: u64, to: &mut [u8]) -> bool {
        let file = self.dir.open_file(&lane_name(number), false);
        file.and_then(|file| file.read_exact_at(to, offset)).is_ok()
    }

    /// The names of all files.
    pub(super) fn files(&self) -> Result<Vec<String>, Cause> {
        let mut files = Vec::new();
        self.dir.names(|name| files.push(name.to_owned())).map_err(|error| io("", error))?;
        Ok(files)
    }

    /// Bytes of memory or disk that these files take now; one that is gone takes none.
    pub(super) fn bytes(&self, files: &[String]) -> u64 {
        files.iter().map(|name| self.dir.stat_name(name).map_or(0, |stat| stat.st_blocks as u64 * 512)).sum()
    }

    /// Bytes of memory or disk that a lane's file takes now.
    pub(super) fn lane_bytes(&self, number: u32) -> Result<u64, Cause> {
        let name = lane_name(number);
        let stat = self.dir.stat_name(&name).map_err(|error| io(&name, error))?;
        Ok(stat.st_blocks as u64 * 512)
    }

    /// Maps a lane's file.
    pub(super) fn map_lane(&self, number: u32, writable: bool) -> Result<LaneFile, Cause> {
        let name = lane_name(number);
        match self.map(&name, FileKind::Lane, number, writable) {
            Ok((region, header)) => Ok(LaneFile::Mapped(region, header)),
            Err(Cause::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(LaneFile::Missing),
            Err(cause) if concerns_all(&cause) => Err(cause),
            Err(cause) => Ok(LaneFile::Unusable(cause)),
        }
    }

    /// Maps the pages of a lane at once, for who is about to use them.
    pub(super) fn touch_lane(&self, lane: &Region, new: bool) {
        lane.touch(self.terms.header.file_len(FileKind::Lane) as usize, new);
    }

    /// Creates a lane's file, whole, starting at the position that the receiver expects. The caller holds its lock.
    pub(super) fn create_lane(&self, number: u32, priority: Priority, start: u64) -> Result<(), Cause> {
        let (name, unfinished) = (lane_name(number), format!("{}.new", lane_name(number)));
        self.dir.remove_file(&unfinished).map_err(|error| io(&unfinished, error))?;
        let header = Header { priority: priority.word(), ..self.terms.header.of(FileKind::Lane, number) }.sealed();
        let made = make_file(&self.dir, &unfinished, &header).and_then(|file| {
            file.write_all_at(&start.to_ne_bytes(), layout::lane::WRITE_HINT as u64)
                .map_err(|error| io(&unfinished, error))?;
            self.dir.rename_new(&unfinished, &self.dir, &name).map_err(|error| io(&name, error))?;
            self.still_attached()
        });
        if made.is_err() {
            let _ = self.dir.remove_file(&unfinished);
        }
        if matches!(made, Err(Cause::Detached)) {
            let _ = self.dir.remove_file(&name);
        }
        made
    }

    /// What was added to a queue that is being removed must not keep its directory.
    fn still_attached(&self) -> Result<(), Cause> {
        if self.is_attached() { Ok(()) } else { Err(Cause::Detached) }
    }

    /// The numbers of the lanes that have files.
    pub(super) fn lane_numbers(&self) -> Result<Vec<u32>, Cause> {
        Ok(self.lanes_among(&self.files()?))
    }

    /// The numbers of the lanes whose files are among these, in order.
    pub(super) fn lanes_among(&self, files: &[String]) -> Vec<u32> {
        let numbers = files.iter().filter_map(|name| lane_number(name));
        let mut numbers: Vec<u32> = numbers.filter(|number| *number < self.terms.header.max_lanes).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Takes a lane's lock if nobody holds it and it is fit to be one.
    pub(super) fn try_lock_lane(&self, number: u32) -> Result<Option<Lock>, Cause> {
        match self.lock_lane(number) {
            Err(cause) if concerns_all(&cause) => Err(cause),
            answer => Ok(answer.unwrap_or(None)),
        }
    }

    fn lock_lane(&self, number: u32) -> Result<Option<Lock>, Cause> {
        let name = format!("{}.lock", lane_name(number));
        // First without O_CREAT, which sticky directories refuse for files of others.
        let answer = match self.dir.open_file(&name, true) {
            // A lane whose lock was lost may have an owner that we cannot see: nobody takes it again.
            Err(error) if error.kind() == ErrorKind::NotFound && self.dir.has(&lane_name(number)).unwrap_or(true) => {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match self.dir.create_file(&name, 0o600) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.dir.open_file(&name, true),
                answer => {
                    self.still_attached().inspect_err(|_| drop(self.dir.remove_file(&name)))?;
                    answer
                }
            },
            answer => answer,
        };
        let file = answer.map_err(|error| self.open_failed(&name, error))?;
        self.lock(&lane_name(number), &name, file)
    }

    /// Takes the receiver's lock, trying for a moment while somebody else holds it. Blocks, 100 ms at most.
    pub(super) fn lock_receiver(&self) -> Result<Lock, Cause> {
        retry(|| {
            // It was born with the queue and is never made again: one that was lost may still be held.
            let file =
                self.dir.open_file(RECEIVER_LOCK, true).map_err(|error| self.open_failed(RECEIVER_LOCK, error))?;
            self.lock(RECEIVER, RECEIVER_LOCK, file)
        })?
        .ok_or(Cause::AlreadyReceiving)
    }

    /// Takes a lock, unless somebody else holds it or the file has lost its name.
    fn lock(&self, owner: &str, name: &str, file: File) -> Result<Option<Lock>, Cause> {
        check_owner(&file, name, Some(host::euid()), 0o022)?;
        let ours = lock::try_lock(&file).map_err(|error| io(name, error))?
            && dir::stat_file(&file).is_ok_and(|stat| stat.st_nlink == 1);
        Ok(ours.then(|| Lock { file, _shown: self.show(owner) }))
    }

    /// Lets the group see that we are here. Whoever may look may also be in the way, so failing means nothing.
    fn show(&self, owner: &str) -> Option<File> {
        if self.trust == Trust::Cooperative {
            return None;
        }
        let name = format!("{owner}.alive");
        let file = self.dir.open_file(&name, true).or_else(|_| self.dir.create_file(&name, 0o640)).ok()?;
        lock::try_lock(&file).ok()?.then_some(file)
    }

    /// Whether somebody holds the receiver's lock, or a lane's.
    pub(super) fn is_held(&self, lane: Option<u32>) -> Result<bool, Cause> {
        let owner = lane.map_or(RECEIVER.to_owned(), lane_name);
        let name = match self.trust {
            Trust::Cooperative => format!("{owner}.lock"),
            Trust::Contained => format!("{owner}.alive"),
        };
        match self.dir.open_file(&name, false) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            answer => answer.and_then(|file| lock::is_held(&file)).map_err(|error| io(&name, error)),
        }
    }

    /// Which directory this is, whatever its name by now.
    pub(super) fn stat(&self) -> Result<FileStat, Cause> {
        self.dir.stat().map_err(|error| io("", error))
    }

    fn map(&self, name: &str, kind: FileKind, lane: u32, writable: bool) -> Result<(Arc<Region>, Header), Cause> {
        let (file, header) = self.open_part(name, kind, lane, writable)?;
        let guarded = self.opening.sigbus_guard || self.trust == Trust::Contained;
        let access = match kind {
            FileKind::Lane if writable && self.terms.header.overflow_limit > 0 => Access::Grow,
            _ if writable => Access::Write,
            _ => Access::Read,
        };
        let too_long = |_| io(name, ErrorKind::OutOfMemory.into());
        let len = usize::try_from(self.terms.header.map_len(kind)).map_err(too_long)?;
        let region = Region::map(file, len, access, guarded).map_err(|error| io(name, error))?;
        Ok((region, header))
    }

    /// Opens one of the queue's files and compares its header with the queue's, field by field.
    fn open_part(&self, name: &str, kind: FileKind, lane: u32, writable: bool) -> Result<(File, Header), Cause> {
        let owner = match (kind, self.trust) {
            // Whoever sends may own a lane; only its owner writes it.
            (FileKind::Lane, Trust::Contained) => writable.then(host::euid),
            _ => Some(self.uid),
        };
        let (file, found) = open_checked(&self.dir, name, owner, writable).map_err(|cause| match cause {
            Cause::NotFound => self.open_failed(name, ErrorKind::NotFound.into()),
            other => other,
        })?;
        let expected = Header { priority: found.priority, ..self.terms.header.of(kind, lane) }.sealed();
        if found != expected {
            return Err(difference(name, &found, &expected));
        }
        let (right, known) = match kind {
            FileKind::Lane => ("0, 1 or 2", Priority::from_word(found.priority).is_some()),
            _ => ("0", found.priority == 0),
        };
        if !known {
            return Err(damaged(name, "priority", found.priority.to_string(), right.to_owned()));
        }
        let len = dir::stat_file(&file).map_err(|error| io(name, error))?.st_size as u64;
        let needed = self.terms.header.file_len(kind);
        if len < needed {
            return Err(damaged(name, "size", format!("{len} bytes"), format!("{needed} bytes")));
        }
        Ok((file, found))
    }

    /// A file that is missing from a queue that is missing was not damaged.
    fn open_failed(&self, name: &str, error: io::Error) -> Cause {
        if error.kind() == ErrorKind::NotFound && !self.is_attached() { Cause::Detached } else { io(name, error) }
    }
}

/// Whether a failure to open a lane's file is about this process or the host, and not about that file.
fn concerns_all(cause: &Cause) -> bool {
    let of_the_file = [libc::ENXIO, libc::ELOOP, libc::EACCES, libc::EPERM, libc::EISDIR, libc::ENODEV, libc::EIO];
    match cause {
        Cause::Io { source, .. } => !source.raw_os_error().is_some_and(|errno| of_the_file.contains(&errno)),
        cause => matches!(cause, Cause::Detached | Cause::NoSpace { .. }),
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
fn open_checked(dir: &Dir, name: &str, uid: Option<u32>, writable: bool) -> Result<(File, Header), Cause> {
    let file = dir.open_file(name, writable).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Cause::NotFound,
        _ if error.raw_os_error() == Some(libc::ELOOP) => untrusted(name, "it is a symbolic link"),
        ErrorKind::IsADirectory => untrusted(name, "it is a directory"),
        _ => io(name, error),
    })?;
    // Anybody in the group may write the bell and the desk; those of a cooperative queue are in nobody else's reach.
    let others = if [BELL, DESK].contains(&name) { 0o002 } else { 0o022 };
    check_owner(&file, name, uid, others)?;
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

fn check_owner(file: &File, name: &str, uid: Option<u32>, others: u32) -> Result<(), Cause> {
    let stat = dir::stat_file(file).map_err(|error| io(name, error))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        Err(untrusted(name, "it is not a regular file"))
    } else if stat.st_nlink > 1 {
        Err(untrusted(name, &format!("it has {} names", stat.st_nlink)))
    } else if let Some(uid) = uid
        && stat.st_uid != uid
    {
        Err(untrusted(name, &format!("it belongs to user {}, and should to user {uid}", stat.st_uid)))
    } else if stat.st_mode & others != 0 {
        Err(untrusted(name, &format!("its mode {:04o} lets others write it", stat.st_mode & 0o7777)))
    } else {
        Ok(())
    }
}

/// Checks what the `queue` file says, beyond its checksum.
fn check_identity(header: &Header) -> Result<(FenceMode, Trust), Cause> {
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
    let Some(trust) = trust_of(header) else {
        return Err(wrong("trust", header.trust.into(), "0 or 1"));
    };
    let reserved: [(&'static str, u64); 2] = [("priority", header.priority.into()), ("reserved", header.reserved)];
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
        mode if mode == FenceMode::Symmetric as u32 => Ok((FenceMode::Symmetric, trust)),
        mode if mode == FenceMode::Asymmetric as u32 => Ok((FenceMode::Asymmetric, trust)),
        mode => Err(wrong("fence_mode", mode.into(), "1 or 2")),
    }
}

/// What else the creator set, from the `queue` file.
fn read_limits(dir: &Dir) -> Result<Limits, Cause> {
    let limits: Limits = read_sealed(dir, layout::queue::LIMITS, "the limits' checksum", Limits::sealed)?;
    Options::are_marks_of(&limits).map_err(|cause| match cause {
        Cause::Option { option, value, rule } => damaged(QUEUE, option, value.to_string(), rule.to_owned()),
        other => other,
    })?;
    Ok(limits)
}

/// A part of the `queue` file that carries a checksum as its last word.
fn read_sealed<T: bytemuck::Pod + PartialEq>(
    dir: &Dir,
    at: usize,
    field: &'static str,
    sealed: impl Fn(T) -> T,
) -> Result<T, Cause> {
    let file = dir.open_file(QUEUE, false).map_err(|error| io(QUEUE, error))?;
    let mut part = T::zeroed();
    match file.read_exact_at(bytemuck::bytes_of_mut(&mut part), at as u64) {
        // That the file is too short is said with its numbers, when its size is asked for.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(T::zeroed()),
        answer => answer.map_err(|error| io(QUEUE, error))?,
    }
    let right = sealed(part);
    if part != right {
        let checksum = |part: &T| {
            let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(part));
            format!("{:#018x}", words[words.len() - 1])
        };
        return Err(damaged(QUEUE, field, checksum(&part), checksum(&right)));
    }
    Ok(part)
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
        ("ledger_entries", found.ledger_entries.into(), expected.ledger_entries.into()),
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
