//! What this host has for queues.

use super::files::{self, FILESYSTEMS};
use crate::error::{Cause, Error};
use crate::layout::FenceMode;
use crate::sys::dir::Dir;
use crate::sys::{fence, futex};
use std::path::Path;

/// What this host has for queues, and lets this process use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// How a queue that is created here orders its stores and loads: asymmetric where there is `membarrier`, which makes each
    /// message cheaper.
    pub fence_mode: FenceMode,
    /// Whether one thread can sleep for many queues (`futex_waitv`, Linux 5.16); otherwise each has its own.
    pub futex_waitv: bool,
}

impl Host {
    /// Asks the kernel. The first time in a process that has threads takes some milliseconds.
    pub fn probe() -> Host {
        Host { fence_mode: fence::best_mode(), futex_waitv: futex::can_wait_any() }
    }

    /// The name of the file system of a directory, if it can carry queues; [`Cause::Filesystem`] if not.
    pub fn file_system(directory: impl AsRef<Path>) -> Result<&'static str, Error> {
        let path = directory.as_ref();
        let failed = |cause| Error::new("keep queues in", path, cause);
        let magic = Dir::open(path).and_then(|dir| dir.filesystem()).map_err(|error| failed(files::io("", error)))?;
        let known = FILESYSTEMS.iter().find(|(known, _)| *known == magic);
        known.map(|(_, name)| *name).ok_or_else(|| failed(Cause::Filesystem { magic }))
    }
}
