//! Processes that are killed at every instruction of what they do with a mailbox.
//!
//! As the check `kill` for a queue: a victim that sends and serves is stepped through calls that a seed draws; where a sampled step
//! finds a file changed, a copy of all files is what a SIGKILL there would leave. On the copy another one serves, deals with everything, or
//! with all but one and dies as well, and others after it; and every rule is asked. At the end the victim is really killed, and the same is
//! asked of what it left.

mod judge;
mod program;
#[expect(unsafe_code, reason = "mappings of files that another process writes")]
#[path = "../../../tests/support/tree.rs"]
mod tree;

use super::trace::{Stepped, Traced, stop};
use super::{ENOUGH, LEAST, PANIC, SEED, Tally, Workers, step};
use crate::check::{Check, Verdict};
use crate::workspace::{Workspace, number, room_in_memory};
use anyhow::{Context, Result, ensure};
use judge::Facts;
use program::Call;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tree::Tree;

pub(crate) struct Mailbox;

/// The role of a worker, which leaves its figures in the directory that it works in.
pub(crate) const WORKER: &str = "a worker of mailbox";
/// Copies that are judged, over all workers.
pub(super) const POINTS: &str = "LANEWAY_VERIFY_MAILBOX_POINTS";
const WHOLE: u64 = 60_000;
const QUICK: u64 = 2_500;
/// So many instructions of a call are stepped: its first ones, or sometimes those behind so many system calls at most, each counted when it
/// begins and when it ends.
const STEPPED: u64 = 20_000;
const LATE: u64 = 150;
/// Of so many steps one is looked at, at least; of the first ones of a call, which are all that most have, of fewer.
const SELDOM: u32 = 24;
const OFTEN: u32 = 3;
const FIRST: u64 = 3_000;
/// So many messages are kept for a while in a life that does not begin with an empty mailbox: the log is tidied when some more are.
const WORN: Range<usize> = 22..33;
/// How long one may take at most.
const PER_POINT: Duration = Duration::from_millis(200);

impl Check for Mailbox {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    fn about(&self) -> &'static str {
        "kills who sends to and serves a mailbox at every instruction, and has another one serve what is left"
    }

    fn longer(&self) -> &'static str {
        "LANEWAY_VERIFY_MAILBOX_POINTS=1000000 and another LANEWAY_VERIFY_SEED (a number)"
    }

    fn run(&self, _: &Workspace, quick: bool) -> Result<Verdict> {
        if !cfg!(target_arch = "x86_64") {
            return Ok(Verdict::Skipped("the registers of a victim are known on x86-64 only".to_owned()));
        }
        let points = number(POINTS)?.unwrap_or(if quick { QUICK } else { WHOLE });
        let dir = room_in_memory()?;
        let began = Instant::now();
        let mut started = Workers::start(dir.path(), WORKER, points, &[])?;
        started.wait(LEAST + PER_POINT.saturating_mul(u32::try_from(points).unwrap_or(u32::MAX)))?;
        let mut sum = Tally::default();
        for (place, _) in &started.0 {
            sum.merge(&Tally::read(&place.join("tally"))?);
        }
        let by_call =
            program::NAMES.iter().map(|name| format!("{name} {}", sum.get(name))).collect::<Vec<_>>().join(", ");
        println!("   kills judged by call: {by_call}");
        let figure = format!(
            "{} kill points, {} of them with another image, which was judged, {} real kills, {} violations, {} s",
            sum.get("points"),
            sum.get("judged"),
            sum.get("real kills"),
            sum.get("violations"),
            began.elapsed().as_secs()
        );
        let blind = program::NAMES.iter().find(|name| sum.get(name) == 0);
        match (sum.get("violations"), blind) {
            (0, None) => Ok(Verdict::Passed(figure)),
            (0, Some(name)) => Ok(Verdict::Failed(format!("no kill in `{name}` was judged; {figure}"))),
            _ => Ok(Verdict::Failed(figure)),
        }
    }
}

/// The work of a worker. Returns its exit status.
pub(crate) fn work(place: &Path) -> u8 {
    match play(place) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("   {}: {error:#}", place.display());
            1
        }
    }
}

fn play(place: &Path) -> Result<()> {
    let (seed, points) = (number(SEED)?.context(SEED)?, number(super::POINTS)?.context(super::POINTS)?);
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        eprintln!("   {text}");
        *PANIC.lock().unwrap() = text;
    }));
    step::stay_on((seed >> 24 & 0xff) as usize);
    let mut tally = Tally::default();
    for episode in seed.. {
        if tally.get("judged") >= points || tally.get("violations") >= ENOUGH {
            break;
        }
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| live(place, episode, &mut tally)));
        let violation = match played {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => PANIC.lock().unwrap().clone(),
        };
        tally.add("violations", 1);
        println!("   VIOLATION, seed {episode}: {violation}");
    }
    tally.write(&place.join("tally"))
}

/// Runs a victim up to where its next system call begins or ends.
fn to_next_call(victim: &Traced) -> Result<Stepped> {
    match victim.victim.go_on(libc::PTRACE_SYSCALL) {
        Some(libc::SIGTRAP) => Ok(Stepped::On { call: true }),
        Some(libc::SIGSTOP) => Ok(Stepped::Over),
        other => anyhow::bail!("the victim ended early: {other:?}"),
    }
}

/// Where things are in an episode.
struct Places {
    root: PathBuf,
    log: PathBuf,
    left: PathBuf,
}

/// One life, stepped in its last calls.
fn live(place: &Path, seed: u64, tally: &mut Tally) -> Result<()> {
    let at = Places { root: place.join("post"), log: place.join("log"), left: place.join("left") };
    for old in [&at.root, &at.left] {
        let _ = fs::remove_dir_all(old);
    }
    let mut log = File::create(&at.log)?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let (before, stepped) = (rng.usize(0..80), rng.usize(4..16));
    // With a ledger that is full, and one message in front of many that were kept.
    let worn = rng.bool().then(|| rng.usize(WORN));
    let victim = Traced::fork(|| {
        let mut rng = rng.clone();
        let mut stage = program::Stage::new(&at.root);
        if let Some(kept) = worn {
            let call = Call::Later(0);
            writeln!(log, "{}", stage.begins(&call)).unwrap();
            writeln!(log, "{}", stage.play(call)).unwrap();
            stage.wear(kept);
        }
        for count in 0..before + stepped {
            let call = stage.draw(&mut rng);
            writeln!(log, "{}", stage.begins(&call)).unwrap();
            if count >= before {
                stop();
            }
            let answer = stage.play(call);
            if count >= before {
                stop();
            }
            writeln!(log, "{answer}").unwrap();
        }
        stop();
    })?;
    let mut tree = Tree::new(&at.root);
    for _ in 0..stepped {
        // Up to where the call begins: what came before is not stepped.
        ensure!(victim.victim.go_on(libc::PTRACE_CONT) == Some(libc::SIGSTOP), "the victim ended early");
        let facts = Facts::read(&fs::read_to_string(&at.log)?)?;
        tree.list();
        tree.changed();
        let (mut listed, mut until) = (false, 0);
        let from = if rng.u8(0..4) == 0 { rng.u64(0..LATE) } else { 0 };
        for step in 0_u64.. {
            ensure!(step < 5_000_000, "{} does not come to an end", facts.call());
            tally.add("points", 1);
            // A call that makes a queue is long, and little of it is ours: before and behind a stretch of it a step is a system call.
            let stepped =
                if (from..from + STEPPED).contains(&step) { victim.step(victim.at())? } else { to_next_call(&victim)? };
            match stepped {
                Stepped::Over => break,
                Stepped::Slept => {}
                Stepped::On { call } => {
                    listed = call && tree.list();
                    until = if call { 0 } else { until };
                }
            }
            if until > 0 {
                until -= 1;
                continue;
            }
            // All files are compared behind each system call, and every few steps: that costs more than the step.
            until = rng.u32(0..if step < from + FIRST { OFTEN } else { SELDOM });
            if tree.changed() || listed {
                tally.add("judged", 1);
                tally.add(facts.call(), 1);
                tree::copy(&at.root, &at.left);
                judge::judge(&at.left, &facts, rng.bool())
                    .with_context(|| format!("killed in step {step} of {}", facts.call()))?;
                fs::remove_dir_all(&at.left)?;
            }
        }
    }
    // Between two calls or in the middle of one, as it comes.
    ensure!(victim.victim.go_on(libc::PTRACE_CONT) == Some(libc::SIGSTOP), "the victim ended early");
    let facts = Facts::read(&fs::read_to_string(&at.log)?)?;
    victim.kill();
    tally.add("real kills", 1);
    judge::judge(&at.root, &facts, rng.bool()).context("after a real SIGKILL")
}
