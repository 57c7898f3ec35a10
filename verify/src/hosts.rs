//! Hosts that are not like this one: two processes in different namespaces, of different users, without this or that
//! system call, with larger pages, with few descriptors.

mod calls;
mod members;
mod pages;
mod parties;
mod spaces;
mod users;

use crate::check::{Check, Verdict};
use crate::role;
use crate::workspace::{Workspace, room_in_memory, run};
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) struct Hosts;

/// A part takes some seconds; what takes that long has hung.
const LIMIT: Duration = Duration::from_secs(120);

/// What became of a part that did not fail.
pub(crate) enum Answer {
    Done(String),
    /// The machine does not allow it.
    Skipped(String),
}

type Part = (&'static str, fn(&Path) -> Result<Answer>);

/// Each is played by a process of its own, in an empty directory.
const PARTS: &[Part] = &[
    ("pid namespaces", spaces::pids),
    ("user namespaces", spaces::users),
    ("mount namespaces", spaces::mounts),
    ("time namespaces", spaces::times),
    ("two users", users::two),
    ("two users, protected files", users::two_protected),
    ("created without membarrier (ENOSYS)", |at| calls::created_without(at, libc::ENOSYS)),
    ("created without membarrier (EPERM)", |at| calls::created_without(at, libc::EPERM)),
    ("joined without membarrier (ENOSYS)", |at| calls::joined_without(at, libc::ENOSYS)),
    ("joined without membarrier (EPERM)", |at| calls::joined_without(at, libc::EPERM)),
    ("large pages", pages::large),
    ("64 KiB pages, on paper", pages::on_paper),
    ("few descriptors", members::few_descriptors),
];

impl Check for Hosts {
    fn name(&self) -> &'static str {
        "hosts"
    }

    fn about(&self) -> &'static str {
        "other namespaces, other users, system calls that are denied, larger pages, few descriptors"
    }

    fn longer(&self) -> &'static str {
        "it is whole with --quick, too; what is skipped here needs another machine"
    }

    fn run(&self, _workspace: &Workspace, _quick: bool) -> Result<Verdict> {
        let (mut complaints, mut done, mut skipped) = (Vec::new(), 0, 0);
        for (name, _) in PARTS {
            let directory = room_in_memory()?;
            let mut command = Command::new(role::program()?);
            let ended = run(role::tell(&mut command, name, directory.path()), LIMIT, &AtomicBool::new(false));
            let ended = ended?;
            let text = ended.text.trim().replace('\n', "\n     ");
            let verdict = match (ended.success, ended.code) {
                (Some(true), _) => {
                    done += 1;
                    "ran"
                }
                (_, Some(SKIPPED)) => {
                    skipped += 1;
                    "skipped"
                }
                (None, _) => "HUNG",
                _ => "FAILED",
            };
            println!("   {name}: {verdict}: {text}");
            if !matches!(verdict, "ran" | "skipped") {
                complaints.push(format!("{name}: {verdict}: {text}"));
            }
        }
        let figure = format!("{done} of {} parts ran, {skipped} skipped", PARTS.len());
        if done == 0 && complaints.is_empty() {
            return Ok(Verdict::Skipped(figure));
        }
        Ok(Verdict::of(figure, &complaints))
    }
}

const SKIPPED: i32 = 2;

/// Plays a part in this process; its exit code.
pub(crate) fn play(part: &str, directory: &Path) -> u8 {
    let Some((_, play)) = PARTS.iter().find(|(name, _)| *name == part) else { return 64 };
    match play(directory) {
        Ok(Answer::Done(text)) => {
            println!("{text}");
            0
        }
        Ok(Answer::Skipped(text)) => {
            println!("{text}");
            SKIPPED as u8
        }
        Err(error) => {
            println!("{error:#}");
            1
        }
    }
}
