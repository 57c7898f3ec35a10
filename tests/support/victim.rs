//! Victims made of the test binary: children that let their parent trace them, and say in a file how far they got.

use super::step::{Snapshot, Victim, Watch, stay_here};
use super::{Part, Peer, Role};
use memmap2::Mmap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where a victim says how far it got.
pub(crate) fn progress_file(queue: &Path) -> PathBuf {
    queue.with_extension("progress")
}

/// A victim's side of it.
pub(crate) struct Traced {
    progress: File,
}

/// Lets the parent trace this process: it sees the system calls from here on.
pub(crate) fn traced(part: &Part) -> Traced {
    let progress = File::options().write(true).open(progress_file(&part.queue)).unwrap();
    // SAFETY: TRACEME takes no arguments.
    unsafe {
        if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == -1 {
            part.say(&std::io::Error::last_os_error().to_string());
            libc::_exit(0);
        }
        part.say(&libc::gettid().to_string());
    }
    stop();
    Traced { progress }
}

/// As [`traced`], and stepped from here on.
pub(crate) fn stepped(part: &Part) -> Traced {
    let traced = traced(part);
    traced.begin();
    traced
}

impl Traced {
    /// Steps begin here.
    pub(crate) fn begin(&self) {
        stop();
    }

    /// What the victim has been promised: messages whose send has returned, or which it is about to release.
    pub(crate) fn progress(&self, count: u64) {
        self.progress.write_all_at(&count.to_ne_bytes(), 0).unwrap();
    }

    /// Steps end here.
    pub(crate) fn reached(self) {
        stop();
    }
}

fn stop() {
    // SAFETY: raise sends a signal to this thread, which its tracer sees first.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// A child that has come to where its steps begin; killed when it is dropped. Its tracer must see its end before its
/// parent can.
pub(crate) struct Child {
    peer: Peer,
    victim: Victim,
    progress: Mmap,
}

impl Child {
    /// Starts a child and runs it up to where its steps begin, on the processor that this thread runs on from then on: a
    /// step is two changes of process, which cost several times as much from one processor to another. None, with a reason,
    /// when the kernel does not let us.
    pub(crate) fn start(watch: &mut Watch, role: Role) -> Option<Child> {
        let progress = progress_file(watch.dir());
        std::fs::write(&progress, [0; 8]).unwrap();
        // SAFETY: the bytes are only read while the process that writes them is stopped.
        let progress = unsafe { Mmap::map(&File::open(&progress).unwrap()) }.unwrap();
        stay_here();
        let mut peer = role.start();
        let said = peer.hear().unwrap();
        let Ok(thread) = said.parse() else {
            eprintln!("skipped: this host does not let a parent trace its child: {said}");
            return None;
        };
        let child = Child { peer, victim: Victim(thread), progress };
        assert_eq!(child.victim.stopped_by(), Some(libc::SIGSTOP));
        watch.run_up(&child.victim);
        Some(child)
    }

    /// Starts a child and single-steps it through its part, as [`Watch::steps`] does. False when the kernel does not let us.
    pub(crate) fn step(watch: &mut Watch, role: Role, visit: impl FnMut(&Snapshot, u64)) -> bool {
        let Some(child) = Child::start(watch, role) else { return false };
        let progress = || u64::from_ne_bytes(child.progress[..8].try_into().unwrap());
        watch.steps(&child.victim, progress, visit);
        true
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.peer.signal(libc::SIGKILL);
        while self.victim.stopped_by().is_some() {}
    }
}
