//! The demo's processes, as their launcher sees them. Whoever is still alive when the team goes is killed, by its id.

use super::protocol::{Said, Told};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

/// A process of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Receiver,
    Observer,
    /// A sender, and how many times it had been started before.
    Sender {
        number: u32,
        before: u32,
    },
}

/// What the launcher waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// A process said something.
    Said(Who, Said),
    /// A process will say nothing more.
    Ended(Who),
    /// The user wants to stop.
    Interrupted,
}

/// A running process.
struct Member {
    who: Who,
    child: Child,
    stdin: ChildStdin,
}

/// All running processes, and the way to hear from them.
pub(super) struct Team {
    members: Vec<Member>,
    tell: mpsc::Sender<Event>,
}

impl Team {
    pub(super) fn new(tell: mpsc::Sender<Event>) -> Team {
        Team { members: Vec::new(), tell }
    }

    /// Starts a process: this program, with these arguments after `demo-process`.
    pub(super) fn start(&mut self, who: Who, args: Vec<OsString>) -> Result<()> {
        let program = std::env::current_exe().context("cannot find this program to start it again")?;
        let mut child = Command::new(program)
            .arg("demo-process")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the launcher, which then ends the others in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {who}"))?;
        let (stdin, stdout) =
            child.stdin.take().zip(child.stdout.take()).context("a pipe was asked for and not made")?;
        self.members.push(Member { who, child, stdin });
        let tell = self.tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // One that is killed may leave half a line.
                let Ok(said) = serde_json::from_str(&line) else { break };
                if tell.send(Event::Said(who, said)).is_err() {
                    return;
                }
            }
            // When nobody listens any more, the launcher is going and needs no telling.
            let _ = tell.send(Event::Ended(who));
        });
        Ok(())
    }

    /// Tells a process something. One that is gone does not hear it; that it ended is told by its own event.
    pub(super) fn tell(&mut self, who: Who, told: Told) -> Result<()> {
        let line = serde_json::to_string(&told)? + "\n";
        if let Some(member) = self.members.iter_mut().find(|member| member.who == who) {
            let _ = member.stdin.write_all(line.as_bytes());
        }
        Ok(())
    }

    /// Kills a process with SIGKILL. When this returns, the kernel has taken everything from it.
    pub(super) fn kill(&mut self, who: Who) -> Result<()> {
        let Some(mut member) = self.take(who) else { bail!("{who} is not running") };
        let killing = || format!("cannot kill {who}");
        member.child.kill().with_context(killing)?;
        member.child.wait().with_context(killing)?;
        Ok(())
    }

    /// Waits for a process that has said its last. Fails unless it ended well.
    pub(super) fn end(&mut self, who: Who) -> Result<()> {
        let Some(mut member) = self.take(who) else { return Ok(()) };
        let status = member.child.wait().with_context(|| format!("cannot wait for {who}"))?;
        if status.success() { Ok(()) } else { bail!("{who} ended by itself, with {status}") }
    }

    /// Whether this process has been started and has not ended.
    pub(super) fn is_running(&self, who: Who) -> bool {
        self.members.iter().any(|member| member.who == who)
    }

    fn take(&mut self, who: Who) -> Option<Member> {
        let index = self.members.iter().position(|member| member.who == who)?;
        Some(self.members.swap_remove(index))
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for member in &mut self.members {
            // An error means that it is gone already, which is what is wanted.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Receiver => write!(f, "the demo's receiver"),
            Who::Observer => write!(f, "the demo's observer"),
            Who::Sender { number, before: 0 } => write!(f, "the demo's sender {number}"),
            Who::Sender { number, .. } => write!(f, "the demo's sender {number}, started again,"),
        }
    }
}
