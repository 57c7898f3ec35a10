//! A root directory for queues, and the binary run in it.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A root that goes with its test.
pub(crate) struct Root(TempDir);

/// What a run of the binary left.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Root {
    /// In memory if there is a place for that.
    pub(crate) fn new() -> Root {
        Root(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a directory for the test"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a queue of this name is.
    pub(crate) fn queue(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The binary, told where names are, with nothing on its standard input.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_laneway"));
        command.args(args).env("LANEWAY_DIR", self.path()).env_remove("XDG_RUNTIME_DIR").env_remove("LANEWAY_POST");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Done {
        self.command(args).output().expect("the binary runs").into()
    }

    /// Runs it with this on its standard input.
    pub(crate) fn run_with<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Done {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the binary runs");
        // It may have stopped reading; then its own words say why.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("the binary ends").into()
    }

    /// A named pipe: whoever opens it waits for who opens the other end.
    pub(crate) fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        path
    }

    /// What becomes of a mailbox's message, in the word that `laneway status` has for it.
    pub(crate) fn state(&self, mailbox: &str, ticket: &str) -> String {
        let done = self.run(["status", mailbox, ticket, "--json"]);
        let status: Value = serde_json::from_slice(&done.stdout).expect("a line of JSON");
        status["state"].as_str().expect("text").to_owned()
    }

    /// Leaves a message, and gives its ticket.
    pub(crate) fn post(&self, mailbox: &str, more: &[&str]) -> String {
        self.run(["post", mailbox].iter().chain(more)).ok().trim_end().to_owned()
    }

    /// Starts it.
    pub(crate) fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Child {
        self.command(args).spawn().expect("the binary runs")
    }
}

/// The beginning of the output is enough to see what went wrong.
impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(200)]);
        write!(f, "code {:?}, output {beginning:?}, errors {:?}", self.code, self.stderr)
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("messages are text"),
        }
    }
}

impl Done {
    /// Expects success and silence on standard error, and gives the output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        String::from_utf8(self.stdout).expect("text was sent")
    }

    /// The same, as JSON, one value a line.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Expects an error of one sentence that has all these parts.
    #[track_caller]
    pub(crate) fn refused(self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stderr.starts_with("laneway: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
    }
}

impl Done {
    /// Expects that the arguments were refused, for this reason.
    #[track_caller]
    pub(crate) fn refused_by_usage(self, parts: &[&str]) {
        assert!(self.code == Some(2) && parts.iter().all(|part| self.stderr.contains(part)), "{self:?}");
    }
}

/// Waits until something outside of this process is the case; fails when that takes absurdly long.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        // Politeness, not timing: whatever its length, the answer is the same.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes that it started, and the words of each one's command line.
pub(crate) fn children(launcher: &Child) -> Vec<(Pid, Vec<String>)> {
    let id = launcher.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let words = |child: &str| {
        Some(std::fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?.split('\0').map(str::to_owned).collect())
    };
    children.split_whitespace().filter_map(|child| Some((Pid::from_raw(child.parse().ok()?), words(child)?))).collect()
}

/// Waits until these processes have ended and there is nothing in the root.
#[track_caller]
pub(crate) fn assert_nothing_is_left(root: &Root, processes: impl Iterator<Item = Pid> + Clone) {
    eventually("every process has ended", || processes.clone().all(|id| kill(id, None).is_err()));
    eventually("the root is empty", || root.path().read_dir().expect("the root").count() == 0);
}
