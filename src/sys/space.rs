//! The space that a file takes: reserved before it is touched, given back when it is not needed.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::ops::Range;

/// How often a call is begun again that signals interrupted: the kernel undoes what it had done, so signals that come
/// faster than it finishes would keep it from ever finishing.
const ATTEMPTS: u32 = 64;

/// Makes sure that these bytes of the file are there, and the file long enough: touching them cannot fail later.
pub(crate) fn reserve(file: &File, bytes: Range<u64>) -> io::Result<()> {
    // Past this limit the kernel does not only refuse: it sends a signal that ends the process.
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| bytes.end > limit) {
        return Err(Errno::EFBIG.into());
    }
    allocate(file, FallocateFlags::empty(), bytes)
}

/// Gives these bytes of the file back; its length stays. Reading them gives zeros, touching them may fail.
pub(crate) fn give_back(file: &File, bytes: Range<u64>) -> io::Result<()> {
    allocate(file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, bytes)
}

fn allocate(file: &File, flags: FallocateFlags, bytes: Range<u64>) -> io::Result<()> {
    let (offset, len) = (bytes.start as libc::off_t, (bytes.end - bytes.start) as libc::off_t);
    let mut answer = Err(Errno::EINTR);
    for _ in 0..ATTEMPTS {
        answer = fallocate(file, flags, offset, len);
        if answer != Err(Errno::EINTR) {
            break;
        }
    }
    Ok(answer?)
}

/// Where the next bytes are that were ever written: a hole is zero, however large. The file's end if there are none.
pub(crate) fn written_from(file: &File, at: u64) -> io::Result<u64> {
    match lseek(file, at as i64, Whence::SeekData) {
        Ok(found) => Ok(found as u64),
        Err(Errno::ENXIO) => Ok(file.metadata()?.len().max(at)),
        // Not every file system knows.
        Err(_) => Ok(at),
    }
}
