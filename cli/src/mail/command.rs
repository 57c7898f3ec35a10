//! A command that runs: its input, its process group, its end.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// A shell command in a process group of its own: Ctrl-C is for us, and all of it can be killed. When it is dropped it is killed.
pub(super) struct Running {
    /// None once its status was taken: then its number may be somebody else's.
    child: Option<Child>,
    output: Option<File>,
}

/// Where what a command prints goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// To our standard output.
    Shown,
    /// To our standard error, because something else is on standard output.
    Aside,
    /// To us.
    Kept,
}

/// A file in memory that no path leads to: unlike a pipe it has room for all there is, and nobody can keep it open at us.
fn memory(name: &str) -> Result<File> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC).context("cannot make a file in memory")?.into())
}

impl Running {
    /// Starts `sh -c` with this on its standard input and these variables besides ours.
    pub(super) fn start(
        command: &OsStr,
        input: &[u8],
        variables: &[(&str, String)],
        output: Output,
    ) -> Result<Running> {
        let mut stdin = memory("message")?;
        stdin.write_all(input).and_then(|()| stdin.rewind()).context("cannot keep a message in memory")?;
        let mut started = Command::new("sh");
        started.arg("-c").arg(command).process_group(0).stdin(stdin);
        // No variable can hold a NUL.
        started.envs(variables.iter().map(|(name, value)| (*name, value.replace('\0', "\u{fffd}"))));
        let mut kept = None;
        match output {
            Output::Shown => {}
            Output::Aside => drop(started.stdout(std::io::stderr())),
            Output::Kept => {
                let file = memory("answer")?;
                started.stdout(Stdio::from(file.try_clone().context("cannot keep an answer in memory")?));
                kept = Some(file);
            }
        }
        let child = started.spawn().with_context(|| format!("cannot run sh -c {command:?}"))?;
        Ok(Running { child: Some(child), output: kept })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Has another thread call `tell` when it has ended; it is still there then, for [`finish`](Self::finish).
    pub(super) fn when_ended(&self, tell: impl FnOnce() + Send + 'static) -> Result<()> {
        let pid = Pid::from_raw(self.id().cast_signed());
        let wait = move || {
            // Whatever else the kernel answers: who asks for its status waits for it all the same.
            while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
            tell();
        };
        thread::Builder::new().spawn(wait).map(drop).context("cannot start a thread that waits for a command")
    }

    /// Sends a signal to it and to everything it has started in its group.
    pub(super) fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            // An error means that they are gone.
            let _ = killpg(Pid::from_raw(self.id().cast_signed()), signal);
        }
    }

    /// Its status, and what it printed if that was kept. Waits for its end.
    pub(super) fn finish(mut self) -> Result<(ExitStatus, Option<Vec<u8>>)> {
        let mut child = self.child.take().context("a command ends once")?;
        let status = child.wait().context("cannot wait for a command")?;
        let output = self.output.take().map(|mut file| {
            let mut printed = Vec::new();
            let read = file.rewind().and_then(|()| file.take(super::LONGEST + 1).read_to_end(&mut printed));
            read.map(|_| printed).context("cannot read what a command printed")
        });
        Ok((status, output.transpose()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
