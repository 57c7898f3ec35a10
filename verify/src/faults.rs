//! Every system call of a whole life, failing in every way that there is, and the process killed in the middle of it.

mod ledger;
pub(crate) mod life;
mod recovery;
mod sites;

use crate::check::{Check, Verdict};
use crate::role;
use crate::workspace::{Workspace, has, room_in_memory, run};
use anyhow::{Context, Result};
use laneway::{RecvError, SendError};
use ledger::Ledger;
use sites::{Fault, Site, When};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) struct Faults;

/// A life takes less than a second; what takes that long has hung.
const LIMIT: Duration = Duration::from_secs(60);
/// Of how many cases one is tried with `--quick`.
const QUICK: usize = 13;
/// One in so many cases may not come up, because calls differ a little from life to life.
const MISSED: usize = 20;
/// Cases at a time: most of one is waiting.
const WORKERS: usize = 4;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Nothing was refused.
    Survived,
    /// A step was refused with a sentence, and went well the second time.
    Recovered,
    /// Refused for good, with a sentence.
    Refused,
    Killed,
    /// The call that was to fail did not come up this time: nothing was tried.
    Missed,
}

/// How a process ended, whatever was done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    /// It gave up a step.
    GaveUp,
    Signal(i32),
}

impl Check for Faults {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn about(&self) -> &'static str {
        "every system call of a whole life, failing in every way, and killed in the middle of it"
    }

    fn longer(&self) -> &'static str {
        "without --quick it is whole: every site with every fault"
    }

    fn run(&self, _workspace: &Workspace, quick: bool) -> Result<Verdict> {
        if !has("strace", &["-qq", "-e", "trace=none", "true"]) {
            return Ok(Verdict::Skipped("strace is not there, or may not trace: apt-get install strace".to_owned()));
        }
        let root = room_in_memory()?;
        let sites = enumerate(root.path())?;
        let cases: Vec<(Site, Fault, When)> = sites::cases(&sites);
        let skip = if quick { QUICK } else { 1 };
        let chosen: Vec<&(Site, Fault, When)> = cases.iter().step_by(skip).collect();
        let names: BTreeMap<&str, usize> = sites.iter().fold(BTreeMap::new(), |mut names, site| {
            *names.entry(site.name.as_str()).or_default() += 1;
            names
        });
        let (next, found) = (AtomicUsize::new(0), Mutex::new((BTreeMap::new(), Vec::new())));
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((index, (site, fault, when))) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, *chosen.get(index)?)))
                    {
                        let answer = case(&root.path().join(format!("{index}")), site, *fault, *when);
                        let mut found = found.lock().expect("no worker panics with it");
                        match answer {
                            Ok(outcome) => *found.0.entry(outcome).or_insert(0) += 1,
                            Err(error) => found.1.push(format!("{}: {error:#}", sites::describe(site, *fault, *when))),
                        }
                    }
                });
            }
        });
        let (outcomes, mut complaints) = found.into_inner().expect("as above");
        let failures = complaints.len();
        complaints.truncate(40);
        if outcomes.is_empty() {
            complaints.push("no case ran".to_owned());
        }
        let missed = outcomes.get(&Outcome::Missed).copied().unwrap_or(0);
        if missed * MISSED > chosen.len() {
            complaints.push(format!("{missed} of {} faults did not come up", chosen.len()));
        }
        let list: Vec<String> = names.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let figure = format!(
            "{} call sites of {} system calls, {} cases of {} tried, {missed} did not come up, \
             {failures} failures; {outcomes:?}.\n     Sites: {}",
            sites.len(),
            names.len(),
            chosen.len() - missed,
            cases.len(),
            list.join(", ")
        );
        Ok(Verdict::of(figure, &complaints))
    }
}

/// The calls that a life makes when none fails.
fn enumerate(root: &Path) -> Result<Vec<Site>> {
    let directory = root.join("sites");
    let log = root.join("log");
    let log_text = log.to_str().context("a path that is text")?;
    let lived = live(&directory, &["-o", log_text])?;
    anyhow::ensure!(lived.complaint.is_none(), "without any fault: {:?}", lived.complaint);
    let whole = lived.end == End::Well && lived.lines.is_empty();
    anyhow::ensure!(whole, "without any fault: {:?}, {:?}", lived.end, lived.lines);
    let sites = sites::parse(&fs::read_to_string(&log)?);
    anyhow::ensure!(sites.len() > 100, "only {} calls were seen", sites.len());
    recovery::recover(&directory)?;
    fs::remove_dir_all(&directory)?;
    Ok(sites)
}

fn case(directory: &Path, site: &Site, fault: Fault, when: When) -> Result<Outcome> {
    let trace = format!("trace={}", site.name);
    let inject = sites::inject(site, fault, when);
    let log = directory.with_extension("log");
    let log_text = log.to_str().context("a path that is text")?;
    let lived = live(directory, &["-e", &trace, "-o", log_text, "-e", &inject])?;
    let happened = sites::happened(&fs::read_to_string(&log)?, site, fault);
    fs::remove_file(&log)?;
    if let Some(complaint) = lived.complaint {
        anyhow::bail!("{complaint}; {}", lived.lines.join("; "));
    }
    let outcome = outcome(fault, happened, lived.end, lived.lines.is_empty())?;
    let path = directory.to_str().context("a path that is text")?;
    // What may not be looked at is not listed.
    let unlisted = matches!(fault, Fault::Error("EPERM" | "EACCES"));
    for line in &lived.lines {
        let (_, error) = line.split_once(": ").with_context(|| format!("no step and its error: {line}"))?;
        let said = error.contains(path) || says_enough(error) || unlisted && error == "the queue is not listed";
        anyhow::ensure!(said, "an error that does not say where: {line}");
    }
    if outcome == Outcome::Refused && when == When::Once {
        anyhow::bail!("one call that failed ended it: {}", lived.lines.join("; "));
    }
    recovery::recover(directory).with_context(|| format!("afterwards ({})", lived.lines.join("; ")))?;
    fs::remove_dir_all(directory)?;
    Ok(outcome)
}

/// Whether it is one of the errors that are about no file: about a lane, or about what the other end does.
fn says_enough(error: &str) -> bool {
    let sends = [SendError::Timeout, SendError::Full, SendError::NoSpace, SendError::Detached];
    let receives = [RecvError::Timeout, RecvError::Detached];
    sends.iter().any(|send| send.to_string() == error)
        || receives.iter().any(|receive| receive.to_string() == error)
        || error.starts_with("lane ") && error.contains(" is damaged at position ")
}

/// What a case came to. A kill that came up ends a process by SIGKILL, and nothing else may end it by any signal.
fn outcome(fault: Fault, happened: bool, end: End, quiet: bool) -> Result<Outcome> {
    Ok(match (fault, end) {
        (Fault::Kill, End::Signal(libc::SIGKILL)) => Outcome::Killed,
        (_, End::Signal(signal)) => anyhow::bail!("it died of signal {signal}"),
        (Fault::Kill, _) if happened => anyhow::bail!("it was to be killed, and ended as if it had not been"),
        (_, End::GaveUp) if !happened => anyhow::bail!("it gave up, and nothing had failed"),
        _ if !happened => Outcome::Missed,
        (_, End::GaveUp) => Outcome::Refused,
        (_, End::Well) if quiet => Outcome::Survived,
        (_, End::Well) => Outcome::Recovered,
    })
}

/// What became of a life.
struct Lived {
    end: End,
    lines: Vec<String>,
    complaint: Option<String>,
}

/// Lets somebody live in a new directory, under strace.
fn live(directory: &Path, strace: &[&str]) -> Result<Lived> {
    fs::create_dir(directory)?;
    let ledger = Ledger::open(&directory.join("ledger"))?;
    let stop = AtomicBool::new(false);
    let ended = thread::scope(|scope| -> Result<_> {
        let echo = recovery::Echo::new(directory)?;
        let echo = scope.spawn(|| echo.play(&stop));
        let mut command = Command::new("strace");
        command.args(["-qq", "-f"]).args(strace).arg("--").arg(role::program()?);
        let ended = run(role::tell(&mut command, "life", directory), LIMIT, &AtomicBool::new(false));
        stop.store(true, Ordering::SeqCst);
        echo.join().map_err(|_| anyhow::anyhow!("the echo panicked"))?;
        ended
    })?;
    let lines = ledger.lines();
    let (begun, done) = (ledger.begun.load(Ordering::SeqCst), ledger.done.load(Ordering::SeqCst));
    ledger.close();
    let panicked = lines.iter().any(|line| line.contains("panicked"));
    let (end, complaint) = match (ended.success, ended.signal, ended.code) {
        _ if panicked => (End::GaveUp, Some("it panicked".to_owned())),
        (None, ..) => (End::GaveUp, Some(format!("it hung in step {begun}, {done} were done"))),
        (Some(true), ..) => (End::Well, None),
        // That of the process: strace ends by the signal that its child ended by.
        (_, Some(signal), _) => (End::Signal(signal), None),
        (_, _, Some(3)) => (End::GaveUp, None),
        (_, _, code) => (End::GaveUp, Some(format!("it ended with {code:?} in step {begun}: {}", ended.text))),
    };
    Ok(Lived { end, lines, complaint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_judged_by_all_that_it_says() {
        assert!(says_enough("the lane is full") && says_enough("the queue was removed"));
        assert!(says_enough("lane 3 is damaged at position 64: its kind is none (found 0x1)"));
        for unclear in ["send", "No space left on device (os error 28)", "the lane is", "torn", "no sender", ""] {
            assert!(!says_enough(unclear), "{unclear}");
        }
    }

    #[test]
    fn only_a_kill_may_end_a_process_by_a_signal_and_it_must() {
        let refused = Fault::Error("ENOMEM");
        assert_eq!(outcome(Fault::Kill, true, End::Signal(libc::SIGKILL), true).unwrap(), Outcome::Killed);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT] {
            assert!(outcome(Fault::Kill, true, End::Signal(signal), true).is_err());
            assert!(outcome(refused, true, End::Signal(signal), true).is_err());
        }
        assert!(outcome(refused, true, End::Signal(libc::SIGKILL), true).is_err());
        assert!(outcome(Fault::Kill, true, End::Well, true).is_err());
        assert_eq!(outcome(Fault::Kill, false, End::Well, true).unwrap(), Outcome::Missed);
        assert_eq!(outcome(refused, false, End::Well, true).unwrap(), Outcome::Missed);
        assert_eq!(outcome(refused, true, End::Well, true).unwrap(), Outcome::Survived);
        assert_eq!(outcome(refused, true, End::Well, false).unwrap(), Outcome::Recovered);
    }
}
