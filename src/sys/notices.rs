//! What the kernel tells of directories whose entries change: inotify.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// Directories that are watched. What has changed in them is not told: whoever is woken looks.
#[derive(Debug)]
pub(crate) struct Notices(Inotify);

impl Notices {
    /// Of no directory yet.
    pub(crate) fn new() -> io::Result<Notices> {
        Ok(Notices(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?))
    }

    /// Watches this directory from now on; one that is watched already stays so. False when there is none.
    pub(crate) fn watch(&self, directory: &Path) -> io::Result<bool> {
        let entries = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
        let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
        match self.0.add_watch(directory, entries | itself) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sleeps until something changes in a directory, at most for `limit`. Whether something has, since the last call.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let millis = limit.as_nanos().div_ceil(1_000_000).min(1 << 30);
        let limit = PollTimeout::try_from(millis).unwrap_or(PollTimeout::NONE);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            answer => answer?,
        };
        loop {
            match self.0.read_events() {
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
