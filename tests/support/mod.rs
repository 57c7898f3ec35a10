//! What the tests share: scratch directories, payloads that show what happened to them, words of files by offset,
//! and child processes made of the test binary itself.
//!
//! A child is a test named `child`, ignored in an ordinary run, that a parent starts by [`Role::start`] and that asks
//! [`role`] what it is to do. The two talk in lines.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(unsafe_code, reason = "signals, ptrace, and mappings of files that another process writes")]

pub(crate) mod flight;
pub(crate) mod mailboxes;
pub(crate) mod step;
pub(crate) mod tree;
pub(crate) mod victim;

use laneway::{Queue, layout};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing in these tests takes this long; what does has hung.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// An empty directory in memory where there is one.
pub(crate) fn scratch() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A queue with small rings, so that they wrap often, and no segments, so that they are full often.
pub(crate) fn small_queue(dir: &TempDir, lanes: u32) -> Queue {
    Queue::options().capacity(4096).overflow_limit(0).max_lanes(lanes).create(dir.path().join("queue")).unwrap()
}

/// Lets this process have as many files open as it may: hundreds of queues need more than the usual 1,024.
pub(crate) fn open_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// A small generator of numbers (SplitMix64), the same on every run.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Message `number` of sender `sender`: both, and then bytes that follow from them. At least 16 bytes.
pub(crate) fn payload(sender: u64, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.max(16));
    bytes.extend(sender.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    let mut rng = Rng(sender << 32 ^ number);
    while bytes.len() < len {
        bytes.push(rng.next() as u8 | 1);
    }
    bytes
}

/// A length that follows from who sends what, so that a message of the wrong length shows.
pub(crate) fn length(sender: u64, number: u64, max: u64) -> usize {
    (16 + Rng(sender.wrapping_mul(1_000_003) ^ number).below(max - 15)) as usize
}

/// Sender and number of a message, after checking every byte of it.
#[track_caller]
pub(crate) fn check(bytes: &[u8]) -> (u64, u64) {
    assert!(bytes.len() >= 16, "a message of {} bytes is none of ours", bytes.len());
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (sender, number) = (word(0), word(8));
    assert!(bytes == payload(sender, number, bytes.len()), "message {number} of sender {sender} is torn");
    (sender, number)
}

/// The offset of a lane's slot in `receiver`.
pub(crate) fn slot(lane: u32) -> usize {
    layout::slot_offset(lane as usize)
}

pub(crate) fn peek(file: impl AsRef<Path>, offset: usize) -> u64 {
    let mut word = [0; 8];
    File::open(file).unwrap().read_exact_at(&mut word, offset as u64).unwrap();
    u64::from_ne_bytes(word)
}

pub(crate) fn poke(file: impl AsRef<Path>, offset: usize, bytes: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, offset as u64).unwrap();
}

/// Mounts a file system of this size (`size=1m`) that only this process sees.
pub(crate) fn small_filesystem(size: &CStr, at: &Path) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap();
    let checked = |answer| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: each call gets strings that outlive it, or null where that is allowed.
    unsafe {
        let (user, group) = (libc::getuid(), libc::getgid());
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            checked(libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUSER))?;
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        let none = std::ptr::null();
        checked(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        checked(libc::mount(c"none".as_ptr(), path(at).as_ptr(), c"tmpfs".as_ptr(), 0, size.as_ptr().cast()))
    }
}

/// How a child process is to be started.
pub(crate) struct Role {
    command: Command,
}

impl Role {
    /// A child with the role `name`, for the queue at `queue`.
    pub(crate) fn new(name: &str, queue: &Path) -> Role {
        let this = std::env::current_exe().unwrap();
        // A program for another processor is not for the kernel to start, but for an emulator, with its own arguments.
        let emulator = std::env::var("LANEWAY_TEST_EMULATOR").unwrap_or_default();
        let mut words = emulator.split_whitespace().map(OsStr::new).chain([this.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        // One test thread is the main one: the child is a process with a single thread.
        command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("LANEWAY_TEST_ROLE", name).env("LANEWAY_TEST_QUEUE", queue);
        Role { command }
    }

    /// A number that the child finds by [`Part::number`].
    pub(crate) fn with(mut self, key: &str, value: u64) -> Role {
        self.command.env(format!("LANEWAY_TEST_{key}"), value.to_string());
        self
    }

    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// The child is to be run by another program, which gets these arguments before the child's own.
    pub(crate) fn run_by(mut self, program: &str, args: &[&str]) -> Role {
        let mut command = Command::new(program);
        command.args(args).arg(self.command.get_program()).args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        self.command = command;
        self
    }

    pub(crate) fn start(self) -> Peer {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(mut self) -> io::Result<Peer> {
        let mut child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Ok(Peer { child, input, output })
    }
}

/// A child process, from its parent's side. Killed when it is dropped.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// The next line that the child has said; none when it is gone.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test harness talks on the same line.
            if let Some((_, said)) = line.split_once('@') {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Where it is heard, to be waited for: a line at a time, behind the first.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.output.get_ref().as_fd()
    }

    /// Waits until the child has said this.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) {
        assert_eq!(self.hear().as_deref(), Some(what));
    }

    /// Lets a child go on that [`Part::pause`]d.
    pub(crate) fn go(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// Sends a signal, and does not wait for what comes of it.
    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: kill takes numbers; the process has not been waited for, so the number is still its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// SIGKILL, and waits until the kernel has cleared the process away.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the child, and says whether it came to a good end.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.input = None;
        self.child.wait().unwrap().success()
    }

    /// Whether the child has ended, well or not.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.input = None;
        self.child.wait().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child process is to do.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) queue: PathBuf,
}

/// The part that this process has; none when nobody started it as a child.
pub(crate) fn role() -> Option<Part> {
    let name = std::env::var("LANEWAY_TEST_ROLE").ok()?;
    let queue = std::env::var_os("LANEWAY_TEST_QUEUE")?.into();
    // SAFETY: alarm takes a number; its signal ends this process, which would otherwise outlive a parent that failed.
    unsafe { libc::alarm(30 * LONG.as_secs() as u32) };
    Some(Part { name, queue })
}

impl Part {
    pub(crate) fn number(&self, key: &str) -> u64 {
        std::env::var(format!("LANEWAY_TEST_{key}")).unwrap().parse().unwrap()
    }

    pub(crate) fn open(&self) -> Queue {
        Queue::open(&self.queue).unwrap()
    }

    pub(crate) fn say(&self, what: &str) {
        let mut out = io::stdout().lock();
        out.write_all(format!("@{what}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }

    /// Waits until the parent says so; ends the process when the parent is gone.
    pub(crate) fn pause(&self) {
        let mut line = String::new();
        if io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
            std::process::exit(3);
        }
    }
}
