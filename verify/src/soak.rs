//! Senders, a receiver and others that are killed at random moments, stopped, continued, and fork meanwhile, on a file
//! system that is nearly full; and books that say what was promised.

mod others;
mod page;
mod part;
mod receiver;
mod sender;
mod storm;
mod supervisor;

use crate::check::{Check, Verdict};
use crate::namespace::{die_with, enter, exit_code, forked, mount_memory};
use crate::workspace::{Workspace, number};
use anyhow::Result;
use nix::sched::CloneFlags;
use nix::unistd::getpid;
use page::Page;
use part::Phase;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use supervisor::Supervisor;

pub(crate) struct Soak;

/// Kills without `--quick`.
const KILLS: u64 = 100_000;
/// How long the killing goes on with `--quick`.
const QUICK: Duration = Duration::from_secs(45);
/// Kills before everybody comes to an end, and another queue is begun.
const EPOCH: u64 = 1_000;
/// Bytes of the file system: some of the lanes can grow, not all.
const ROOM: u64 = 1 << 20;

impl Check for Soak {
    fn name(&self) -> &'static str {
        "soak"
    }

    fn about(&self) -> &'static str {
        "real processes under random SIGKILL, SIGSTOP, fork and spawn storms, on a nearly full file system"
    }

    fn longer(&self) -> &'static str {
        "LANEWAY_SOAK_KILLS=1000000 (and LANEWAY_SOAK_SEED=N for the choices of another run) with `verify soak`"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let seed = number("LANEWAY_SOAK_SEED")?.unwrap_or_else(|| fastrand::u64(..));
        let kills = number("LANEWAY_SOAK_KILLS")?.unwrap_or(if quick { u64::MAX } else { KILLS });
        let limit = if quick { QUICK } else { Duration::MAX };
        println!("   seed {seed}: choices come again with LANEWAY_SOAK_SEED={seed}, moments do not");
        let root = workspace.scratch.join("soak");
        fs::create_dir_all(&root)?;
        let page = Page::new()?;
        let (reader, writer) = std::io::pipe()?;
        let parent = getpid();
        let child = forked(|| {
            die_with(parent);
            if let Err(error) = enter(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID) {
                let _ = std::io::Write::write_all(&mut &writer, format!("skipped: {error:#}").as_bytes());
                return 2;
            }
            // The first process of a new namespace: what it leaves ends with it.
            let parent = getpid();
            let first = forked(|| {
                die_with(parent);
                match chaos(page, seed, &root, kills, limit) {
                    Ok(figure) => drop(std::io::Write::write_all(&mut &writer, figure.as_bytes())),
                    Err(error) => page.complain(&format!("the supervisor: {error:#}")),
                }
                0
            });
            first.ok().and_then(|first| exit_code(first).ok()).unwrap_or(1)
        })?;
        drop(writer);
        let figure = std::io::read_to_string(reader)?;
        match exit_code(child)? {
            2 => return Ok(Verdict::Skipped(figure)),
            0 => {}
            code => page.complain(&format!("the supervisor ended with {code}")),
        }
        let mut complaints = page.complaints();
        complaints.truncate(12);
        Ok(Verdict::of(format!("{figure} (seed {seed})"), &complaints))
    }
}

fn chaos(page: &'static Page, seed: u64, root: &Path, kills: u64, limit: Duration) -> Result<String> {
    mount_memory(root, &format!("size={ROOM}"))?;
    let mut supervisor = Supervisor::new(page, seed, root.to_owned(), ROOM)?;
    let (began, mut said) = (Instant::now(), Instant::now());
    while supervisor.deeds.kills < kills && began.elapsed() < limit && !page.has_complaints() {
        supervisor.epoch(EPOCH.min(kills - supervisor.deeds.kills))?;
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            println!("   {} kills in {} s", supervisor.deeds.kills, began.elapsed().as_secs());
        }
    }
    Ok(figure(page, &supervisor, began.elapsed()))
}

fn figure(page: &Page, supervisor: &Supervisor, took: Duration) -> String {
    let (deeds, counts) = (&supervisor.deeds, &page.counts);
    let failures = page.complaints().len();
    let hit: Vec<String> =
        Phase::ALL.iter().zip(deeds.hit).filter(|(_, n)| *n > 0).map(|(phase, n)| format!("{phase:?} {n}")).collect();
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(SeqCst);
    let bound = if failures == 0 {
        format!("at 95 % fewer than {:.1e} a kill", 3.0 / deeds.kills.max(1) as f64)
    } else {
        "no bound".to_owned()
    };
    format!(
        "{} real kills ({} of stopped processes) in {} s, {:.1} ms each, {failures} failures: {bound}.\n     \
         Killed at: {}.\n     \
         {} messages promised, {} delivered, {} of them again; {} attaches, {} owners killed and succeeded, {} stops, \
         {} forks, {} programs; {} looks at who lives, {} messages observed, {} looks at grown lanes; {} times no space, \
         {} times full, {} times held by others; {} queues created beside the {} soaked",
        deeds.kills,
        deeds.while_stopped,
        took.as_secs(),
        took.as_secs_f64() * 1000.0 / deeds.kills.max(1) as f64,
        hit.join(", "),
        of(&counts.sent),
        of(&counts.received),
        of(&counts.again),
        of(&counts.attaches),
        of(&counts.takeovers),
        deeds.stops,
        of(&counts.forks),
        of(&counts.spawns),
        of(&counts.alive),
        of(&counts.observed),
        of(&counts.grown),
        of(&counts.no_space),
        of(&counts.full),
        of(&counts.busy),
        of(&counts.born),
        deeds.epochs,
    )
}
