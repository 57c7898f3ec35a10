//! The processes that a command starts of this program, and what they and their launcher say to each other: one JSON
//! object a line, through standard input and output. Whoever is still alive when the team goes is killed, by its id.

use crate::output;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

/// What the launcher waits for.
#[derive(Debug)]
pub(crate) enum Event<W, S> {
    /// A process said something.
    Said(W, S),
    /// A process will say nothing more.
    Ended(W),
    /// The user wants to stop.
    Interrupted,
}

/// A running process.
struct Member<W> {
    who: W,
    child: Child,
    stdin: ChildStdin,
}

/// All running processes, and the way to hear from them.
pub(crate) struct Team<W, S> {
    subcommand: &'static str,
    members: Vec<Member<W>>,
    tell: mpsc::Sender<Event<W, S>>,
}

impl<W: Copy + PartialEq + Display + Send + 'static, S: DeserializeOwned + Send + 'static> Team<W, S> {
    /// Whose processes are this program, with this subcommand.
    pub(crate) fn new(subcommand: &'static str, tell: mpsc::Sender<Event<W, S>>) -> Team<W, S> {
        Team { subcommand, members: Vec::new(), tell }
    }

    /// Starts a process, with these arguments after the subcommand.
    pub(crate) fn start(&mut self, who: W, args: Vec<OsString>) -> Result<()> {
        let program = std::env::current_exe().context("cannot find this program to start it again")?;
        let mut child = Command::new(program)
            .arg(self.subcommand)
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
    pub(crate) fn tell(&mut self, who: W, told: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(told)? + "\n";
        if let Some(member) = self.members.iter_mut().find(|member| member.who == who) {
            let _ = member.stdin.write_all(line.as_bytes());
        }
        Ok(())
    }

    /// Kills a process with SIGKILL. When this returns, the kernel has taken everything from it.
    pub(crate) fn kill(&mut self, who: W) -> Result<()> {
        let Some(mut member) = self.take(who) else { bail!("{who} is not running") };
        let killing = || format!("cannot kill {who}");
        member.child.kill().with_context(killing)?;
        member.child.wait().with_context(killing)?;
        Ok(())
    }

    /// Waits for a process that has said its last. Fails unless it ended well.
    pub(crate) fn end(&mut self, who: W) -> Result<()> {
        let Some(Member { mut child, stdin, .. }) = self.take(who) else { return Ok(()) };
        // One that has not ended but said what nobody understands ends when nobody tells it anything any more.
        drop(stdin);
        let status = child.wait().with_context(|| format!("cannot wait for {who}"))?;
        if status.success() { Ok(()) } else { bail!("{who} ended by itself, with {status}") }
    }

    /// Whether this process has been started and has not ended.
    pub(crate) fn is_running(&self, who: W) -> bool {
        self.members.iter().any(|member| member.who == who)
    }

    fn take(&mut self, who: W) -> Option<Member<W>> {
        let index = self.members.iter().position(|member| member.who == who)?;
        Some(self.members.swap_remove(index))
    }
}

impl<W, S> Drop for Team<W, S> {
    fn drop(&mut self) {
        for member in &mut self.members {
            // An error means that it is gone already, which is what is wanted.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

/// Says something to the launcher.
pub(crate) fn say(said: &impl Serialize) -> Result<()> {
    output::print_json(said)
}

/// What the launcher tells this process. When the launcher is gone, calls `orphaned` and ends the process: nobody would
/// hear its report, and nobody would end it.
pub(crate) fn listen<T: DeserializeOwned + Send + 'static>(
    orphaned: impl FnOnce() + Send + 'static,
) -> mpsc::Receiver<T> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            // A line that cannot be read comes from no launcher of this version.
            let Ok(order) = serde_json::from_str(&line) else { break };
            if tell.send(order).is_err() {
                return;
            }
        }
        orphaned();
        std::process::exit(output::ERROR.into());
    });
    told
}
