//! `laneway rm`.

use crate::args::Rm;
use crate::progress::Progress;
use crate::{output, place};
use anyhow::{Context, Result, bail};
use laneway::{Cause, Queue};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(args: Rm, json: bool) -> Result<ExitCode> {
    let progress = Progress::of(args.queues.len() as u64, "removing");
    let mut code = ExitCode::SUCCESS;
    for (done, named) in args.queues.iter().enumerate() {
        progress.at(done as u64);
        let removed = place::queue(named).and_then(|path| {
            remove(&path, args.force)?;
            if json { output::print_json(&json!({ "removed": path.to_string_lossy() })) } else { Ok(()) }
        });
        // One that cannot be removed does not keep the others.
        if let Err(error) = removed {
            code = output::failed(error);
        }
    }
    Ok(code)
}

fn remove(path: &Path, force: bool) -> Result<()> {
    if !force && let Some(who) = attached(path)? {
        bail!("cannot remove {path:?}: {who} is attached; --force removes it all the same");
    }
    Ok(Queue::remove(path)?)
}

/// Who is attached to the queue, if anybody is.
fn attached(path: &Path) -> Result<Option<String>> {
    let mut observer = match Queue::open(path).and_then(|queue| queue.observe()) {
        Ok(observer) => observer,
        // Its processes ended with their boot.
        Err(error) if matches!(error.cause(), Cause::OtherBoot) => return Ok(None),
        // `remove` has the better sentence.
        Err(error) if matches!(error.cause(), Cause::NotFound) => return Ok(None),
        Err(_) => return held_lock(path),
    };
    if observer.receiver_alive()? {
        return Ok(Some("a receiver".to_owned()));
    }
    let held = observer.lanes()?.into_iter().find(|lane| lane.sender_alive);
    Ok(held.map(|lane| format!("the sender of lane {}", lane.lane)))
}

/// The first lock file that somebody holds: a queue that was damaged while it was in use cannot be opened to be asked.
fn held_lock(path: &Path) -> Result<Option<String>> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(None) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_lock = Path::new(&name).extension().is_some_and(|extension| extension == "lock");
        if is_lock && entry.file_type().is_ok_and(|kind| kind.is_file()) && is_held(&entry.path())? {
            return Ok(Some(format!("the holder of {name:?}")));
        }
    }
    Ok(None)
}

fn is_held(path: &Path) -> Result<bool> {
    let asked = || format!("cannot ask who holds {path:?}");
    let file = File::open(path).with_context(asked)?;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).with_context(asked)?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}
