//! The space that a file takes: reserved before it is touched, given back when it is not needed.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::ops::Range;

/// How often a reservation is begun again that signals interrupted: the kernel undoes what it had done, so signals that
/// come faster than it finishes would keep it from ever finishing.
const ATTEMPTS: u32 = 64;

/// Makes sure that these bytes of the file are there, and the file long enough: touching them cannot fail later.
pub(crate) fn reserve(file: &File, bytes: Range<u64>) -> io::Result<()> {
    let mut answer = Err(Errno::EINTR);
    for _ in 0..ATTEMPTS {
        answer = fallocate(file, FallocateFlags::empty(), offset(bytes.start), offset(bytes.end - bytes.start));
        if answer != Err(Errno::EINTR) {
            break;
        }
    }
    Ok(answer?)
}

/// Gives these bytes of the file back; its length stays. Reading them gives zeros, touching them may fail. Failing costs
/// space and nothing else, so nobody is told.
pub(crate) fn give_back(file: &File, bytes: Range<u64>) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    for _ in 0..ATTEMPTS {
        if fallocate(file, flags, offset(bytes.start), offset(bytes.end - bytes.start)) != Err(Errno::EINTR) {
            break;
        }
    }
}

fn offset(bytes: u64) -> libc::off_t {
    bytes as libc::off_t
}
