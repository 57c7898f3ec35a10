//! Locks on open file descriptions: the kernel's word on whether a holder still lives.
//!
//! The kernel tears down a dying process's memory before it closes its files, so a lock that is free means that its
//! last holder writes no more. Nothing is ever unlocked by hand: a child that was forked shares the description, and
//! unlocking there would unlock the parent. Closing does not.

use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::io;

/// Takes the write lock on `file`, which must have been opened for this purpose alone: a duplicated descriptor shares
/// the lock. False when somebody else holds it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether somebody (through another description) holds the lock.
pub(crate) fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
