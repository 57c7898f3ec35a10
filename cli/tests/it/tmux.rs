//! A terminal, played by tmux: a server of its own, with one pane, which goes with its test.

use crate::support::{Root, eventually};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A shell at its prompt, in a terminal.
pub(crate) struct Terminal {
    socket: String,
}

const PROMPT: &str = "ready>";

impl Terminal {
    /// None where there is no tmux.
    pub(crate) fn start(root: &Root, columns: u32, rows: u32) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("skipped: tmux is not installed");
            return None;
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal { socket: format!("laneway-top-{}-{number}", std::process::id()) };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let session = ["new-session", "-d", "-x", &columns, "-y", &rows, "--", "sh"];
        let mut command = terminal.command(&[&["-u", "-f", "/dev/null"], &session[..]].concat());
        // What the server has in its environment its panes have.
        command.env("LANEWAY_DIR", root.path()).env("LC_ALL", "C.UTF-8");
        command.env_remove("XDG_RUNTIME_DIR").env_remove("LANEWAY_POST").env_remove("ENV").env_remove("NO_COLOR");
        assert!(command.status().expect("tmux runs").success());
        terminal.line(&format!("PS1='{PROMPT} '; clear"));
        terminal.shows("a prompt", |screen| screen.trim_end() == PROMPT);
        Some(terminal)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(args).env_remove("TMUX").stdin(Stdio::null());
        command
    }

    /// Keys by the names that tmux has for them.
    pub(crate) fn keys(&self, keys: &[&str]) {
        assert!(self.command(&[&["send-keys"], keys].concat()).status().expect("tmux runs").success());
    }

    /// A line for the shell.
    pub(crate) fn line(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    pub(crate) fn resize(&self, columns: u32, rows: u32) {
        let size = ["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()];
        assert!(self.command(&size).status().expect("tmux runs").success());
    }

    /// What is to be seen.
    pub(crate) fn screen(&self) -> String {
        self.capture(&[])
    }

    /// The same, with colours and the like.
    pub(crate) fn coloured_screen(&self) -> String {
        self.capture(&["-e"])
    }

    fn capture(&self, more: &[&str]) -> String {
        let output = self.command(&[&["capture-pane", "-p"], more].concat()).output().expect("tmux runs");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Waits until the screen shows this.
    #[track_caller]
    pub(crate) fn shows(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                last = self.screen();
                is_so(&last)
            });
        }));
        assert!(shown.is_ok(), "never: {what}; the screen is\n{last}");
    }

    /// Waits until a line shows all of this.
    #[track_caller]
    pub(crate) fn shows_line(&self, words: &[&str]) {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        self.shows(&format!("a line with {words:?}"), |screen| screen.lines().any(has_all));
    }

    /// Waits until the shell is at its prompt behind this word of its last command's, and nothing is left of what was there before.
    #[track_caller]
    pub(crate) fn is_back(&self, said: &str) {
        self.shows(&format!("{said:?} and a prompt"), |screen| {
            let mut lines = screen.lines().rev().skip_while(|line| line.trim().is_empty());
            lines.next() == Some(PROMPT) && lines.next().is_some_and(|line| line == said)
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).stderr(Stdio::null()).status();
    }
}
