//! tmux, by its commands.

use std::fmt;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// A tmux server.
#[derive(Debug, Clone)]
pub(crate) struct Tmux {
    /// The name of its socket; none for the usual one.
    socket: Option<String>,
}

/// Why a command of tmux did nothing.
#[derive(Debug)]
pub(crate) enum TmuxError {
    /// tmux cannot be run.
    Run(io::Error),
    /// There is no such pane, or no server.
    Gone(String),
    /// tmux says no.
    Refused { command: String, said: String },
}

impl fmt::Display for TmuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TmuxError::Run(error) => write!(f, "tmux cannot be run: {error}"),
            TmuxError::Gone(said) => write!(f, "the pane is gone: {said}"),
            TmuxError::Refused { command, said } => write!(f, "tmux {command} failed: {said}"),
        }
    }
}

impl std::error::Error for TmuxError {}

impl Tmux {
    pub(crate) fn new(socket: Option<String>) -> Tmux {
        Tmux { socket }
    }

    /// Runs commands, with something on their standard input, and gives what they print.
    pub(crate) fn run(&self, commands: &[&str], input: &[u8]) -> Result<String, TmuxError> {
        let mut command = Command::new("tmux");
        if let Some(socket) = &self.socket {
            command.args(["-L", socket]);
        }
        command.args(commands).env_remove("TMUX");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(TmuxError::Run)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A tmux that does not read it says why.
            let _ = stdin.write_all(input);
        }
        let Output { status, stdout, stderr } = child.wait_with_output().map_err(TmuxError::Run)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&stderr).trim().to_owned();
        let gone = ["can't find", "no server running", "server exited", "error connecting", "lost server"];
        Err(match gone.iter().any(|words| said.contains(words)) {
            true => TmuxError::Gone(said),
            false => TmuxError::Refused { command: commands.first().copied().unwrap_or_default().to_owned(), said },
        })
    }

    /// A pane, by any name that tmux knows it by.
    pub(crate) fn pane(&self, target: &str) -> Result<Pane, TmuxError> {
        // Of a name that it does not know `display-message` says nothing; `capture-pane` does.
        self.run(&["capture-pane", "-p", "-t", target], b"")?;
        let id = self.run(&["display-message", "-p", "-t", target, "#{pane_id}"], b"")?.trim().to_owned();
        Ok(Pane { tmux: self.clone(), id })
    }
}

/// A pane of tmux.
#[derive(Debug, Clone)]
pub(crate) struct Pane {
    tmux: Tmux,
    /// Such as `%3`: never given to another pane of this server.
    id: String,
}

/// What is to be seen in a pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// The last line that is not empty, without what is right of its last letter.
    pub(crate) last_line: String,
    /// How far its text has come: an Enter that was read moves it on.
    pub(crate) place: String,
}

impl Pane {
    /// What is to be seen in it.
    pub(crate) fn look(&self) -> Result<Look, TmuxError> {
        let place = "#{pane_dead} #{history_size} #{cursor_y}";
        let commands = ["display-message", "-p", "-t", &self.id, place, ";", "capture-pane", "-p", "-t", &self.id];
        let text = self.tmux.run(&commands, b"")?;
        let mut lines = text.lines();
        let place = lines.next().unwrap_or_default().to_owned();
        // One that is kept after its program has ended looks as before.
        if place.starts_with('1') {
            return Err(TmuxError::Gone(format!("the program in {self} has ended")));
        }
        let last_line = lines.rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        Ok(Look { last_line, place })
    }

    /// Types a text and Enter: all of it or nothing. One call of tmux, whose server does the three things one after the other
    /// and the next only if the last one went well. A program that asks for bracketed paste gets it as one.
    pub(crate) fn type_in(&self, text: &str, buffer: &str) -> Result<(), TmuxError> {
        let load = ["load-buffer", "-b", buffer, "-", ";"];
        let paste = ["paste-buffer", "-p", "-r", "-d", "-b", buffer, "-t", &self.id, ";"];
        let enter = ["send-keys", "-t", &self.id, "Enter"];
        // Of nothing tmux makes no buffer.
        let commands = if text.is_empty() { enter.to_vec() } else { [&load[..], &paste, &enter].concat() };
        self.tmux.run(&commands, text.as_bytes()).map(drop)
    }
}

impl fmt::Display for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pane {}", self.id)
    }
}
