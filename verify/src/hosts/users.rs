//! Two users of a group, and somebody who is not of it.
#![expect(unsafe_code, reason = "a watcher that outlives its parent")]

use super::Answer;
use super::parties::{LONG, Party, small, talk};
use anyhow::{Context, Result, bail, ensure};
use laneway::{Cause, Queue};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use std::fs;
use std::io::{PipeWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const GROUP: u32 = 54_321;
const ONE: u32 = 54_001;
const OTHER: u32 = 54_002;
const STRANGER: u32 = 54_003;

/// For good: without capabilities there is no way back.
fn become_user(uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

fn one(work: &dyn Fn() -> Result<String>) -> Result<String> {
    become_user(ONE, GROUP).and_then(|()| work())
}

fn other(work: &dyn Fn() -> Result<String>) -> Result<String> {
    become_user(OTHER, GROUP).and_then(|()| work())
}

pub(super) fn two(at: &Path) -> Result<Answer> {
    if !geteuid().is_root() {
        return Ok(Answer::Skipped("only root can be several users".to_owned()));
    }
    fs::set_permissions(at, fs::Permissions::from_mode(0o777))?;
    let (there, back) = (at.join("there"), at.join("back"));
    // Each receives from the queue that it made.
    for (inside, path) in [(other as super::parties::Inside, &there), (one, &back)] {
        let made = || Ok(format!("{:?}", small().shared_with_group(GROUP).create(path)?.path()));
        Party::start(|| inside(&made))?.end()?;
    }
    let text = talk((&there, &back), one, (&there, &back), other)?;
    // A sender that is killed, and who comes after: the same user goes on in its lane, another one does not.
    let lane_of = |uid: u32| -> Result<String> {
        let party = Party::start(|| {
            become_user(uid, GROUP)?;
            let mut sender = Queue::open(&there)?.sender()?;
            sender.send_timeout(b"mine", LONG)?;
            Ok(sender.lane().to_string())
        });
        party?.end()
    };
    let lanes = [lane_of(ONE)?, lane_of(OTHER)?, lane_of(ONE)?];
    ensure!(lanes[0] == lanes[2] && lanes[0] != lanes[1], "lanes {lanes:?} for three senders of two users");
    let stranger = Party::start(|| {
        become_user(STRANGER, STRANGER)?;
        match Queue::open(&there) {
            Err(error) if matches!(error.cause(), Cause::Io { .. }) => Ok(error.to_string()),
            other => bail!("a stranger opens it: {other:?}"),
        }
    });
    let refused = stranger?.end()?;
    let removed = Party::start(|| {
        become_user(OTHER, GROUP)?;
        Queue::open(&there)?.destroy()?;
        Ok(String::new())
    });
    removed?.end().context("its owner removes it")?;
    Ok(Answer::Done(format!("{text}; a stranger is told: {refused}")))
}

const PROTECTED: &str = "/proc/sys/fs/protected_regular";

/// A setting of the whole machine that is put back as it was when this is dropped or its process ends, however it ends:
/// somebody waits for that.
struct Protected {
    held: Option<PipeWriter>,
    watcher: Option<Party>,
}

impl Protected {
    fn set(value: &str) -> Result<Protected> {
        let before = fs::read_to_string(PROTECTED)?;
        let (mut reader, writer) = std::io::pipe()?;
        let ours = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let watcher = Party::start(move || {
            outlive_parent(ours)?;
            reader.read_to_end(&mut Vec::new())?;
            fs::write(PROTECTED, before.trim())?;
            Ok(String::new())
        })?;
        let held = Protected { held: Some(writer), watcher: Some(watcher) };
        fs::write(PROTECTED, value)?;
        Ok(held)
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        self.held = None;
        if let Some(Err(error)) = self.watcher.take().map(Party::end) {
            println!("{PROTECTED} was not put back: {error:#}");
        }
    }
}

/// Leaves the parent's fate, and its end of the pipe.
fn outlive_parent(pipe: i32) -> Result<()> {
    // SAFETY: prctl takes numbers; the descriptor is the copy that this forked process has, and nothing here uses it.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, 0);
        libc::close(pipe);
    }
    nix::unistd::setsid()?;
    Ok(())
}

pub(super) fn two_protected(at: &Path) -> Result<Answer> {
    if !geteuid().is_root() {
        return Ok(Answer::Skipped("only root can be several users".to_owned()));
    }
    let _protected = match Protected::set("2") {
        Ok(protected) => protected,
        Err(error) => return Ok(Answer::Skipped(format!("{PROTECTED} cannot be set: {error:#}"))),
    };
    // That it is in force here: nobody may open with O_CREAT what is another's in such a directory.
    let sticky = at.join("sticky");
    fs::create_dir(&sticky)?;
    fs::set_permissions(&sticky, fs::Permissions::from_mode(0o1777))?;
    Party::start(|| one(&|| Ok(format!("{:?}", fs::write(sticky.join("file"), "")?))))?.end()?;
    let refused = fs::File::options().write(true).create(true).truncate(false).open(sticky.join("file"));
    if refused.is_ok() {
        return Ok(Answer::Skipped(format!("{PROTECTED} is 2 and has no effect")));
    }
    two(at)
}
