//! Children of the victims: they inherit every descriptor, with the locks, and outlive who started them.
#![expect(unsafe_code, reason = "signals, sleeping and ending in a forked child")]

use super::page::count;
use super::part::Part;
use crate::namespace::forked;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Children that end are nobody's business.
pub(crate) fn reap_by_itself() {
    // SAFETY: to ignore a signal is no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Forks some children that live for a while, some of them without their descriptors, or with children of their own.
pub(crate) fn fork(part: &mut Part) {
    for _ in 0..part.rng.u32(1..4) {
        let (kind, nap) = (part.rng.u32(0..4), Duration::from_micros(part.rng.u64(0..4000)));
        let child = forked(|| {
            if kind == 0 {
                // SAFETY: nothing here uses a descriptor any more. Closing one does not release its parent's lock.
                unsafe { libc::close_range(0, u32::MAX, 0) };
            }
            if kind == 1 {
                let _ = forked(|| linger(nap));
            }
            linger(nap)
        });
        match child {
            Ok(_) => count(&part.page.counts.forks),
            Err(errno) => part.complain(&format!("no fork: {errno}")),
        }
    }
}

fn linger(nap: Duration) -> i32 {
    std::thread::sleep(nap);
    0
}

/// Starts programs; one that is started may outlive this process.
pub(crate) fn spawn(part: &mut Part) {
    for _ in 0..part.rng.u32(1..4) {
        let quiet = Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        if quiet.is_ok() {
            count(&part.page.counts.spawns);
        }
    }
}
