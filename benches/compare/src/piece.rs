//! One piece in a process of its own: whatever becomes of it, the next one finds a clean place.
#![expect(unsafe_code, reason = "fork")]

use crate::outcome::{Outcome, Piece};
use crate::stage::{LONGEST_S, Stage};
use anyhow::{Context, Result};
use laneway_measure::Clock;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, dup2_stderr, fork, pipe};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Runs a piece and returns what it found, or why it found nothing. The process that calls this has one thread, and has
/// touched no peer: what a child inherits is a clock.
pub(crate) fn run(piece: fn(&Stage) -> Result<Piece>, root: &Path, clock: &Clock) -> Result<Outcome> {
    let directory = tempfile::tempdir_in(root).context("cannot make a directory for a piece")?;
    let log = directory.path().join("stderr");
    let (from_child, to_parent) = pipe().context("cannot make a pipe to a piece")?;
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }.context("cannot fork a piece")? {
        ForkResult::Child => {
            drop(from_child);
            alarm::set(LONGEST_S);
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            let told = tell(piece, directory.path(), &log, to_parent, clock.clone());
            // SAFETY: ends the process; what it made is its parent's to clear up.
            unsafe { libc::_exit(i32::from(told.is_err())) }
        }
        ForkResult::Parent { child } => child,
    };
    drop(to_parent);
    let mut answer = Vec::new();
    File::from(from_child).read_to_end(&mut answer).context("cannot read what a piece found")?;
    let status = waitpid(child, None).context("cannot wait for a piece")?;
    if let WaitStatus::Exited(_, 0) = status {
        return serde_json::from_slice(&answer).context("a piece answered with something that is no outcome");
    }
    let how = match status {
        WaitStatus::Signaled(_, Signal::SIGALRM, _) => format!("did not end within {LONGEST_S} s"),
        WaitStatus::Signaled(_, signal, _) => format!("ended by {signal}"),
        _ => "failed".to_owned(),
    };
    // The first line of a panic says where, the second what.
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(2).collect();
    Ok(Outcome::Failed(if said.is_empty() { how } else { format!("{how}: {}", said.join(" ")) }))
}

/// In the child: runs the piece and writes its outcome into the pipe.
fn tell(
    piece: fn(&Stage) -> Result<Piece>,
    directory: &Path,
    log: &Path,
    to_parent: OwnedFd,
    clock: Clock,
) -> Result<()> {
    dup2_stderr(File::create(log)?)?;
    // Whatever thread it is that panics, the piece is over.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        // SAFETY: ends the process.
        unsafe { libc::_exit(1) }
    }));
    let outcome = match Stage::new(directory, clock).and_then(|stage| piece(&stage)) {
        Ok(piece) => Outcome::Done(piece),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    File::from(to_parent).write_all(&serde_json::to_vec(&outcome)?)?;
    Ok(())
}
