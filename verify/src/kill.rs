//! Processes that are killed at every instruction.
//!
//! A victim is single-stepped through what a program may do with a queue. After each instruction the queue's files are what a
//! SIGKILL there would leave; recovery, through the public API, is tried on a copy of them, and every rule is
//! asked: nothing that was promised is missing, nothing is torn, only what was not released comes again, the
//! bystander's lane loses nothing, new messages pass, and nothing is held for nothing. A copy that was judged before is
//! not judged again; what was promised is compared at every point. Every episode ends with a real SIGKILL, after which the
//! directory must be what the last copy was.

mod acts;
mod birth;
mod episodes;
mod judge;
pub(crate) mod mailbox;
mod page;
mod payload;
mod scratch;
#[expect(dead_code, unsafe_code, reason = "the tests step too, and use other parts of it")]
#[path = "../../tests/support/step.rs"]
mod step;
mod tally;
mod trace;
mod worker;

use crate::check::{Check, Verdict};
use crate::role;
use crate::workspace::{Workspace, kill_group, number, room_in_memory};
use anyhow::{Context, Result, ensure};
use std::os::unix::process::CommandExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tally::{Kind, Tally};

pub(crate) struct Kill {
    /// Nothing but two processes that are stepped in turn.
    pub(crate) pairs_alone: bool,
}

/// The role of a worker, which leaves its figures in the directory that it works in.
pub(crate) const WORKER: &str = "a worker of kill";
const SEED: &str = "LANEWAY_VERIFY_SEED";
const POINTS: &str = "LANEWAY_VERIFY_POINTS";
/// The one kind of episode to play, to look for a violation.
const KIND: &str = "LANEWAY_VERIFY_KIND";

/// What may be chosen by variables of the environment.
pub(crate) const CHOICES: [&str; 4] = [SEED, POINTS, KIND, mailbox::POINTS];

/// Distinct pairs of an instruction and an image, over all workers.
const WHOLE: u64 = 10_000_000;
const QUICK: u64 = 200_000;
/// Of them, for a check of pairs alone.
const SHARE_OF_PAIRS: u64 = 4;
/// After so many violations a worker gives up.
const ENOUGH: u64 = 5;

/// How long workers may take, many times what they do: so long, and that for each point.
const LEAST: Duration = Duration::from_secs(600);
const PER_POINT: Duration = Duration::from_millis(5);

/// Each with the directory that it works in. They end with this, so that nobody works in a directory that is gone.
struct Workers(Vec<(PathBuf, Child)>);

impl Workers {
    /// One for each processor, which plays this role until it has its share of `points`. Each has another stretch of seeds.
    fn start(dir: &Path, role: &str, points: u64, environment: &[(&str, &str)]) -> Result<Workers> {
        let seed = number(SEED)?.unwrap_or(1);
        let workers = std::thread::available_parallelism()?.get() as u64;
        let mut started = Workers(Vec::new());
        for worker in 0..workers {
            let place = dir.join(format!("worker-{worker}"));
            std::fs::create_dir(&place)?;
            let mut command = worker_in(role, &place, seed << 32 | worker << 24, points.div_ceil(workers))?;
            let child = command.envs(environment.iter().copied()).spawn().context("cannot start a worker")?;
            started.0.push((place, child));
        }
        Ok(started)
    }

    /// Waits for all, until the first that fails.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            let mut working = 0;
            for (place, child) in &mut self.0 {
                match child.try_wait()? {
                    Some(status) => ensure!(status.success(), "the worker in {} ended by {status}", place.display()),
                    None => working += 1,
                }
            }
            if working == 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < limit, "{working} workers work for more than {} s", limit.as_secs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            // The number of one that was waited for is somebody else's by now.
            if matches!(child.try_wait(), Ok(None)) {
                let _ = kill_group(child);
            }
        }
    }
}

impl Check for Kill {
    fn name(&self) -> &'static str {
        if self.pairs_alone { "pairs" } else { "kill" }
    }

    fn about(&self) -> &'static str {
        match self.pairs_alone {
            true => "that part of kill in which a sender and a receiver are stepped in turn",
            false => {
                "kills processes at every instruction, alone, in pairs and while they recover, and recovers what is left"
            }
        }
    }

    fn longer(&self) -> &'static str {
        "LANEWAY_VERIFY_POINTS=100000000 and another LANEWAY_VERIFY_SEED (a number)"
    }

    fn run(&self, _: &Workspace, quick: bool) -> Result<Verdict> {
        if !cfg!(target_arch = "x86_64") {
            return Ok(Verdict::Skipped("the registers of a victim are known on x86-64 only".to_owned()));
        }
        let share = if self.pairs_alone { SHARE_OF_PAIRS } else { 1 };
        let points = number(POINTS)?.unwrap_or(if quick { QUICK } else { WHOLE } / share);
        let dir = room_in_memory()?;
        let began = Instant::now();
        let environment: &[_] = if self.pairs_alone { &[(KIND, "pairs")] } else { &[] };
        // Some pairs come up in several workers.
        let mut started = Workers::start(dir.path(), WORKER, points + points / 50, environment)?;
        started.wait(LEAST + PER_POINT.saturating_mul(u32::try_from(points).unwrap_or(u32::MAX)))?;
        let (mut sum, mut pairs, mut images) = (Tally::default(), Vec::new(), Vec::new());
        for (place, _) in &started.0 {
            sum.merge(&Tally::read(&place.join("tally"))?);
            tally::read_set(&place.join("pairs"), &mut pairs)?;
            tally::read_set(&place.join("images"), &mut images)?;
        }
        Ok(verdict(&sum, tally::distinct(pairs), tally::distinct(images), began.elapsed()))
    }
}

fn verdict(sum: &Tally, pairs: usize, images: usize, took: Duration) -> Verdict {
    for (_, name) in Kind::ALL {
        println!("   {name}: {} points in {} episodes", sum.get(&format!("points: {name}")), sum.get(name));
    }
    println!("   steps by act: {}", sum.acts());
    for name in judge::FEATURES {
        println!("   images with {name}: {}", sum.get(name));
    }
    println!("   {} survivors went on with whoever came after the dead", sum.get("survivors"));
    let figure = format!(
        "{} kill points, {pairs} distinct pairs of instruction and image, {images} distinct images judged, {} real kills, \
         {} violations, {} s",
        sum.get("points"),
        sum.get("real kills"),
        sum.get("violations"),
        took.as_secs()
    );
    match sum.get("violations") {
        0 => Verdict::Passed(figure),
        _ => Verdict::Failed(figure),
    }
}

fn worker_in(part: &str, place: &Path, seed: u64, points: u64) -> Result<Command> {
    let mut command = Command::new(role::program()?);
    // With the victims that it steps, in a group that is killed as one.
    command.process_group(0);
    role::tell(&mut command, part, place).env(SEED, seed.to_string()).env(POINTS, points.to_string());
    // SAFETY: two system calls. An instruction has the same address in every worker, or it would count several times.
    #[expect(unsafe_code, reason = "what a child does between fork and exec")]
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            match libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    Ok(command)
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

/// What panicked last, and where.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn play(place: &Path) -> Result<()> {
    let (seed, points) = (number(SEED)?.context(SEED)?, number(POINTS)?.context(POINTS)?);
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        // Of a victim, too: it shares this line with its tracer, and nothing else.
        eprintln!("   {text}");
        *PANIC.lock().unwrap() = text;
    }));
    step::stay_on((seed >> 24 & 0xff) as usize);
    let mut worker = worker::Worker::new(place, seed)?;
    let only = std::env::var(KIND).ok();
    let mut said = 0;
    for episode in 0.. {
        if worker.distinct() * 10 / points.max(10) > said {
            said = worker.distinct() * 10 / points.max(10);
            println!("   worker {}: {} points, {} distinct pairs", seed >> 24 & 0xff, worker.points, worker.distinct());
        }
        if worker.distinct() >= points || worker.tally.get("violations") >= ENOUGH {
            break;
        }
        worker.rng = fastrand::Rng::with_seed(seed + episode);
        let (kind, name) = match worker.rng.usize(0..40) {
            _ if only.is_some() => {
                *Kind::ALL.iter().find(|(_, name)| Some(*name) == only.as_deref()).context("kind")?
            }
            0 => Kind::ALL[3],
            1..13 => Kind::ALL[1],
            13..20 => Kind::ALL[2],
            _ => Kind::ALL[0],
        };
        let before = worker.points;
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| match kind {
            Kind::Solo => worker.solo(),
            Kind::Pairs => worker.pairs(),
            Kind::Recovery => worker.recovery(),
            Kind::Birth => worker.birth(),
        }));
        let points = worker.points - before;
        worker.tally.add(name, 1);
        worker.tally.add(&format!("points: {name}"), points);
        let violation = match played {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => PANIC.lock().unwrap().clone(),
        };
        worker.tally.add("violations", 1);
        println!("   VIOLATION, {name}, seed {}: {violation}", seed + episode);
    }
    worker.leave(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(scripts: &[&str]) -> Workers {
        let start = |script: &&str| Command::new("sh").args(["-c", *script]).process_group(0).spawn().unwrap();
        Workers(scripts.iter().map(|script| (PathBuf::from("here"), start(script))).collect())
    }

    #[test]
    fn a_worker_that_fails_or_hangs_is_told_of_and_the_others_end_with_it() {
        assert!(workers(&["exit 0", "sleep 0.1"]).wait(Duration::from_secs(60)).is_ok());
        for (scripts, limit, word) in
            [(["sleep 1000", "exit 3"], 60, "status: 3"), (["exit 0", "sleep 1000"], 0, "more than")]
        {
            let mut working = workers(&scripts);
            let error = working.wait(Duration::from_secs(limit)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            let numbers: Vec<i32> = working.0.iter().map(|(_, child)| child.id() as i32).collect();
            drop(working);
            for number in numbers {
                let there = nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), None);
                assert_eq!(there, Err(nix::Error::ESRCH));
            }
        }
    }
}
