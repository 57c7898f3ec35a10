//! How a queue's directory comes and goes: whole, or not at all.
//!
//! It is built under a hidden name and then renamed; it is renamed to a hidden name and then removed. What a process that
//! was killed leaves in between is hidden, and known by a lock that nobody holds. Knows nothing of lanes but their names.

use super::files::*;
use crate::error::{Cause, Error};
use crate::layout::{self, FileKind, Header, Limits, Note};
use crate::sys::dir::{Dir, FileStat, stat_file};
use crate::sys::{fence, host, lock};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// What a queue's creator says besides the header.
pub(super) struct Born {
    pub(super) limits: Limits,
    pub(super) note: Note,
}

/// Creates a queue's directory with every file but the lanes, and then gives it its name.
pub(super) fn create(path: &Path, header: &Header, born: &Born, opening: Opening) -> Result<(), Error> {
    build(path, header, born, opening).map_err(|cause| Error::new("create", path, cause))
}

fn build(path: &Path, header: &Header, born: &Born, opening: Opening) -> Result<(), Cause> {
    let (parent, name) = split(path)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&parent).map_err(|error| io("", error))?;
    let parent = Dir::open(&parent).map_err(|error| io("", error))?;
    check_filesystem(&parent, opening.any_filesystem)?;
    if parent.has(&name).map_err(|error| io("", error))? {
        return Err(Cause::AlreadyExists);
    }
    let queue_id = host::random_id().map_err(|error| io("", error))?;
    let header = Header {
        queue_id,
        boot_id: host::boot_id().map_err(|error| io("", error))?,
        fence_mode: fence::best_mode() as u32,
        created_ns: host::realtime_ns(),
        ..*header
    };
    let (temporary, dir, _lock) = make_hidden(&parent)?;
    let born = (|| {
        if let Some(gid) = opening.group {
            // Closed to the group until everything is there.
            dir.set_group(gid).and_then(|()| dir.set_mode(0o2700)).map_err(|error| io("", error))?;
        }
        fill(&dir, &header, born)?;
        let trust = trust_of(&header).expect("made by Options");
        dir.set_mode(dir_mode(trust)).map_err(|error| io("", error))?;
        parent.rename_new(&temporary, &parent, &name).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => Cause::AlreadyExists,
            _ => io("", error),
        })
    })();
    if born.is_err() {
        // Nothing to say of a failure here: the reason for the first one is what counts.
        let _ = dismantle(&parent, &temporary, &dir);
    }
    born
}

/// Makes a directory under a name that nobody looks at, with its receiver's lock, held.
///
/// The lock is the first file and is held until the queue has its name: what is left of a creator that was killed is
/// known by a lock that is free. A sweep may come in between; then we begin again.
fn make_hidden(parent: &Dir) -> Result<(String, Dir, File), Cause> {
    for _ in 0..LOCK_ATTEMPTS {
        let name = hidden_name()?;
        match parent.make_dir(&name, 0o700).and_then(|dir| Ok((hold_lock(&dir)?, dir))) {
            Ok((Some(lock), dir)) => return Ok((name, dir, lock)),
            Ok((None, _)) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let _ = parent.remove_dir(&name);
                return Err(io("", error));
            }
        }
    }
    Err(io("", ErrorKind::ResourceBusy.into()))
}

/// Makes the receiver's lock and takes it; none if somebody else took it or removed it first.
fn hold_lock(dir: &Dir) -> std::io::Result<Option<File>> {
    let lock = dir.create_file(RECEIVER_LOCK, 0o600)?;
    let ours = lock::try_lock(&lock)? && stat_file(&lock)?.st_nlink == 1;
    Ok(ours.then_some(lock))
}

/// `.laneway-` and 16 random hexadecimal digits.
fn hidden_name() -> Result<String, Cause> {
    let id = host::random_id().map_err(|error| io("", error))?;
    Ok(format!("{HIDDEN}{:016x}", u64::from_ne_bytes(id[..8].try_into().expect("8 of 16 bytes"))))
}

fn is_hidden_name(name: &str) -> bool {
    let digits = |rest: &str| rest.len() == 16 && rest.bytes().all(|digit| digit.is_ascii_hexdigit());
    name.strip_prefix(HIDDEN).is_some_and(digits)
}

fn fill(dir: &Dir, header: &Header, born: &Born) -> Result<(), Cause> {
    for (name, kind) in [(BELL, FileKind::Bell), (RECEIVER, FileKind::Receiver)] {
        make_file(dir, name, &header.of(kind, 0))?;
    }
    if header.ledger_entries > 0 {
        for (name, kind) in [(LEDGER, FileKind::Ledger), (DESK, FileKind::Desk)] {
            make_file(dir, name, &header.of(kind, 0))?;
        }
    }
    let queue = make_file(dir, QUEUE, &header.of(FileKind::Queue, 0))?;
    queue
        .write_all_at(bytemuck::bytes_of(&born.limits.sealed()), layout::queue::LIMITS as u64)
        .and_then(|()| queue.write_all_at(bytemuck::bytes_of(&born.note.sealed()), layout::queue::NOTE as u64))
        .map_err(|error| io(QUEUE, error))?;
    // A lane comes with its sender. Should there be no room for even one, now is the time to say so.
    let lane = header.file_len(FileKind::Lane);
    let file = dir.create_file(TRIAL, 0o600).map_err(|error| io(TRIAL, error))?;
    let answer = reserve(&file, &lane_name(0), lane);
    dir.remove_file(TRIAL).map_err(|error| io(TRIAL, error))?;
    answer
}

/// The names in a queue's directory, unless there is one that is not a queue's.
fn own_names(dir: &Dir) -> Result<Vec<String>, Cause> {
    let mut names = Vec::new();
    dir.names(|name| names.push(name.to_owned())).map_err(|error| io("", error))?;
    match names.iter().find(|name| !is_queue_file(name) || dir.has_dir(name)) {
        Some(stranger) => Err(untrusted("", &format!("it also holds {stranger:?}, which is no queue's file"))),
        None => Ok(names),
    }
}

/// Whether a file begins as a queue's files do, of whatever version.
fn is_marked(dir: &Dir, name: &str) -> bool {
    let mut magic = [0; 8];
    let read = dir.open_file(name, false).and_then(|file| file.read_exact_at(&mut magic, 0));
    read.is_ok() && u64::from_le_bytes(magic) == layout::MAGIC
}

/// Removes a hidden directory with all that is in it.
fn dismantle(parent: &Dir, hidden: &str, dir: &Dir) -> Result<(), Cause> {
    // The file that makes it a queue goes first: from then on it is none, for whoever holds it open too.
    dir.remove_file(QUEUE).map_err(|error| io(QUEUE, error))?;
    tell_attached(dir);
    // Senders that were attaching still add their files, until they see that the queue is gone.
    for _ in 0..LOCK_ATTEMPTS {
        for name in own_names(dir)? {
            dir.remove_file(&name).map_err(|error| io(&name, error))?;
        }
        match parent.remove_dir(hidden) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => std::thread::sleep(LOCK_PAUSE),
            answer => return answer.map_err(|error| io("", error)),
        }
    }
    parent.remove_dir(hidden).map_err(|error| io("", error))
}

/// Lets a receiver that is awake look at the directory, and find that there is no queue in it any more.
fn tell_attached(dir: &Dir) {
    let Ok(bell) = dir.open_file(BELL, true) else { return };
    let at = layout::bell::LANES_EPOCH as u64;
    let mut word = [0; 8];
    // A hint: whoever misses it looks within 100 ms.
    if bell.read_exact_at(&mut word, at).is_ok() {
        let _ = bell.write_all_at(&u64::from_ne_bytes(word).wrapping_add(1).to_ne_bytes(), at);
    }
}

/// Whether two looks were at the same directory.
fn same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Takes the directory out of sight under another name, then removes it. With `expected`, only if it is that one.
fn remove_from(parent: &Dir, name: &str, expected: Option<&FileStat>) -> Result<(), Cause> {
    let dir = parent.open_dir(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Cause::NotFound,
        ErrorKind::NotADirectory => untrusted("", NOT_A_DIRECTORY),
        _ => io("", error),
    })?;
    let stat = dir.stat().map_err(|error| io("", error))?;
    if expected.is_some_and(|expected| !same(expected, &stat)) {
        return Err(Cause::Detached);
    }
    if !own_names(&dir)?.iter().any(|name| is_marked(&dir, name)) {
        return Err(untrusted("", "none of its files is a queue's"));
    }
    let hidden = hidden_name()?;
    parent.rename_new(name, parent, &hidden).map_err(|error| io("", error))?;
    let moved = parent.open_dir(&hidden).and_then(|dir| dir.stat()).map_err(|error| io("", error))?;
    if !same(&moved, &stat) {
        // Somebody replaced the queue between our two looks, and what we moved is another one: back with it.
        parent.rename_new(&hidden, parent, name).map_err(|error| io("", error))?;
        return Err(Cause::Detached);
    }
    dismantle(parent, &hidden, &dir).inspect_err(|_| {
        // Refused before anything was gone: then it keeps its name, too.
        if dir.has(QUEUE).unwrap_or(false) {
            let _ = parent.rename_new(&hidden, parent, name);
        }
    })
}

/// Removes what creators and removers that were killed have left under `root`; says how many.
pub(super) fn sweep(root: &Path) -> Result<usize, Error> {
    let failed = |error| Error::new("sweep", root, io("", error));
    let parent = Dir::open(root).map_err(failed)?;
    let mut hidden = Vec::new();
    parent.names(|name| hidden.extend(is_hidden_name(name).then(|| name.to_owned()))).map_err(failed)?;
    Ok(hidden.iter().filter(|name| parent.open_dir(name).is_ok_and(|dir| sweep_one(&parent, name, &dir))).count())
}

/// Removes a hidden directory, unless somebody is at it: whoever still builds holds the lock, and so does a receiver that
/// is still attached to what was removed.
fn sweep_one(parent: &Dir, name: &str, dir: &Dir) -> bool {
    match dir.open_file(RECEIVER_LOCK, true) {
        // Ours until it is gone: a builder that finds it taken begins elsewhere. One that was done in between has given
        // the directory its name, and let go of the lock after that.
        Ok(lock) => {
            let still_hidden = || parent.open_dir(name).and_then(|now| Ok(same(&now.stat()?, &dir.stat()?)));
            lock::try_lock(&lock).unwrap_or(false)
                && still_hidden().unwrap_or(false)
                && dismantle(parent, name, dir).is_ok()
        }
        Err(error) if error.kind() != ErrorKind::NotFound => false,
        // The lock is the first file of all. Without it a directory is just being made, or was being removed.
        Err(_) => match own_names(dir) {
            Ok(names) if names.is_empty() => parent.remove_dir(name).is_ok(),
            Ok(names) => !names.iter().any(|name| name == RECEIVER_LOCK) && dismantle(parent, name, dir).is_ok(),
            Err(_) => false,
        },
    }
}

/// Removes the queue that is open as `stat`, if it still has the name `path`.
pub(super) fn destroy(path: &Path, stat: &FileStat) -> Result<(), Cause> {
    let (parent, name) = split(path)?;
    let parent = Dir::open(&parent).map_err(|error| io("", error))?;
    remove_from(&parent, &name, Some(stat)).map_err(|cause| match cause {
        Cause::NotFound => Cause::Detached,
        other => other,
    })
}

/// Removes a queue's directory without opening the queue.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    split(path)
        .and_then(|(parent, name)| {
            let parent = Dir::open(&parent).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Cause::NotFound,
                _ => io("", error),
            })?;
            remove_from(&parent, &name, None)
        })
        .map_err(|cause| Error::new("remove", path, cause))
}
