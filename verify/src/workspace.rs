//! Where the sources are, where there is room to work, and programs that may not take for ever.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// A directory below the target directory that is ours, and is kept.
    pub(crate) scratch: PathBuf,
    /// What the check is to be about, if not all; in its own words.
    pub(crate) only: String,
}

impl Workspace {
    /// The one that this program was built from.
    pub(crate) fn here() -> Workspace {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("verify/ lies in the workspace").to_owned();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Workspace { scratch: target.join("verify"), root, only: String::new() }
    }

    /// `cargo` in `directory`, with the target directory in there, and without what the environment would add to the
    /// flags.
    pub(crate) fn cargo(directory: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        for leaks in ["RUSTFLAGS", "MIRIFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(leaks);
        }
        command.env("CARGO_TARGET_DIR", directory.join("target"));
        // Cargo, and the toolchain and the package it set for this program, are not meant for the next one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            command.env_remove(name);
        }
        command.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_TERM_COLOR", "never");
        command.args(args).current_dir(directory);
        command
    }

    /// A copy of the workspace, with other text in the files that are `changed`, kept from run to run below the scratch
    /// directory. Its target directory is its own: cargo knows a package by its place in the workspace, so that what a
    /// copy built would pass for what the original built.
    pub(crate) fn copy_of_sources(&self, name: &str, changed: &BTreeMap<PathBuf, String>) -> Result<PathBuf> {
        let copy = self.scratch.join(name);
        self.copy_changed(&self.root, &copy, changed)?;
        let target = copy.join("target");
        // Copies once shared one, by a link.
        if target.is_symlink() {
            fs::remove_file(&target)?;
        }
        Ok(copy)
    }

    /// Copies a directory, but what cargo and git keep there; a file only if it differs, so that cargo sees what is new.
    fn copy_changed(&self, from: &Path, to: &Path, changed: &BTreeMap<PathBuf, String>) -> Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            let aside = ["target", ".git"].iter().any(|aside| name == *aside) || self.scratch.starts_with(&path);
            if aside || path.is_symlink() {
                continue;
            }
            let copy = to.join(&name);
            if path.is_dir() {
                self.copy_changed(&path, &copy, changed)?;
                continue;
            }
            let bytes = changed.get(&path).map_or_else(|| fs::read(&path), |text| Ok(text.clone().into_bytes()))?;
            if fs::read(&copy).ok().as_ref() != Some(&bytes) {
                fs::write(copy, bytes)?;
            }
        }
        // A source that is gone here must not be built there.
        for entry in fs::read_dir(to)? {
            let entry = entry?;
            if entry.path().is_file() && !from.join(entry.file_name()).exists() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// What a variable of the environment says, which must be a number if it is set.
pub(crate) fn number(variable: &str) -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(variable) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    Ok(Some(number.with_context(|| format!("{variable} is {text:?}, and should be a number"))?))
}

/// A directory that is gone afterwards, in memory where there is some, and open to other users: some checks play them.
pub(crate) fn room_in_memory() -> Result<TempDir> {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let mut builder = tempfile::Builder::new();
    builder.prefix("laneway-verify-").permissions(fs::Permissions::from_mode(0o755));
    builder.tempdir_in(&parent).with_context(|| format!("no room for queues in {}", parent.display()))
}

/// What a program left behind.
pub(crate) struct Ended {
    /// None when it was stopped: by the time limit, or because nobody wanted to know any more.
    pub(crate) success: Option<bool>,
    /// Its exit code; none when it was stopped, or ended by a signal.
    pub(crate) code: Option<i32>,
    /// The signal that it ended by, by itself.
    pub(crate) signal: Option<i32>,
    /// Standard output and standard error, as they came.
    pub(crate) text: String,
    pub(crate) took: Duration,
}

/// Runs a program for at most `limit`, or until `enough`. Then it is killed with all that it has started: it leads a
/// group of its own, which is also why an interrupt from the terminal comes to this program alone.
pub(crate) fn run(command: &mut Command, limit: Duration, enough: &AtomicBool) -> Result<Ended> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let name = format!("laneway-verify-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
    let log = std::env::temp_dir().join(name);
    let out = File::create(&log).context("no file for a program's output")?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).process_group(0);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > limit || enough.load(Ordering::Relaxed) {
            kill_group(&mut child)?;
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    fs::remove_file(&log)?;
    let (success, code) = (status.map(|status| status.success()), status.and_then(|status| status.code()));
    let signal = status.and_then(|status| status.signal());
    Ok(Ended { success, code, signal, text, took: began.elapsed() })
}

/// Kills a child that leads a process group, with the group, and waits for it.
pub(crate) fn kill_group(child: &mut Child) -> Result<()> {
    // Not waited for yet, so the number is still its.
    killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL)?;
    child.wait()?;
    Ok(())
}

/// As [`run`], for a program whose success is taken for granted.
pub(crate) fn must(command: &mut Command, limit: Duration) -> Result<String> {
    let ended = run(command, limit, &AtomicBool::new(false))?;
    ensure!(ended.success == Some(true), "{command:?}:\n{}", tail(&ended.text, 30));
    Ok(ended.text)
}

/// Whether a program can be run and succeeds.
pub(crate) fn has(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program).args(args).stdin(Stdio::null()).output();
    quiet.is_ok_and(|output| output.status.success())
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    #[test]
    fn what_is_stopped_is_killed_with_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let (started, long) = (AtomicBool::new(false), Duration::from_secs(60));
        thread::scope(|scope| {
            let heard = scope.spawn(|| {
                // Open as soon as the grandchild has it, and at its end when nobody has it any more.
                let pipe = File::open(&pipe).unwrap();
                started.store(true, Ordering::Relaxed);
                std::io::read_to_string(pipe).unwrap()
            });
            let mut command = Command::new("sh");
            command.args(["-c", "(sleep 5; echo alive) > \"$0\" & wait"]).arg(&pipe);
            let ended = run(&mut command, long, &started).unwrap();
            assert_eq!((ended.success, ended.signal), (None, None));
            assert_eq!(heard.join().unwrap(), "", "what it started outlived it");
        });
    }
}
