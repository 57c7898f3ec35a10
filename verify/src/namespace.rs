//! Processes and file systems of our own: what is started in them ends with them, and nobody else sees it.
#![expect(unsafe_code, reason = "fork, and ending without unwinding")]

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getgid, getppid, getuid};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Runs `work` in a forked child, which ends with its answer as exit code, or with 101 when it panics.
///
/// Only for processes with one thread: a lock that another one holds would be held for ever in the child.
pub(crate) fn forked(work: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: this process has one thread, so that the child finds everything as it was here.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(101);
            // SAFETY: ends the process at once: what it has of its parent's is not its to drop or to flush.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for a child; its exit code, or what else became of it.
pub(crate) fn exit_code(child: Pid) -> Result<i32> {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, code) => Ok(code),
        other => anyhow::bail!("a process ended by {other:?}"),
    }
}

/// Ends this process when `parent`, which forked it, ends; also when it has already.
pub(crate) fn die_with(parent: Pid) {
    // SAFETY: prctl takes numbers; the end of a process that has nothing to drop or to flush.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // A parent outside this pid namespace has no number in it.
        let now = getppid();
        if now != parent && now.as_raw() != 0 {
            libc::_exit(0);
        }
    }
}

/// Takes this process into namespaces of its own, with a user namespace where that is what it takes.
pub(crate) fn enter(flags: CloneFlags) -> Result<()> {
    let (user, group) = (getuid(), getgid());
    if unshare(flags).is_err() {
        unshare(flags | CloneFlags::CLONE_NEWUSER).context("no namespaces of its own")?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    Ok(())
}

/// Mounts an empty file system in memory at `at`, in this mount namespace alone.
pub(crate) fn mount_memory(at: &Path, options: &str) -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("no mounts of its own")?;
    mount(Some("none"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).context("no tmpfs of its own")
}
