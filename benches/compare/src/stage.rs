//! Two sides that do the same piece: pinned, met, probed. Between them they have a few words of memory that belong to no peer.
#![expect(unsafe_code, reason = "fork")]

use crate::peer::{Kind, Peer, Place};
use anyhow::{Context, Result, ensure};
use laneway_measure::{Clock, Lines, Shared, pin, processors};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, getppid};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A piece that takes longer than this is killed, by the kernel, whoever else keeps the processors busy.
pub(crate) const LONGEST_S: u32 = 10;

/// What all sides of a piece share besides the peer.
#[derive(Debug)]
pub(crate) struct Stage {
    memory: &'static Shared,
    directory: std::path::PathBuf,
    clock: Clock,
}

/// Behind the lines of the probe: who has come to a meeting, and whatever a row wants to say to its other side.
const MEETING: usize = Lines::LEN;
const SIGNAL: usize = Lines::LEN + 128;

impl Stage {
    /// In a directory that is empty. The memory is never unmapped: the process ends with the piece.
    pub(crate) fn new(directory: &Path, clock: Clock) -> Result<Stage> {
        let memory = Shared::create(&directory.join("stage"), Lines::LEN as u64 + 4096)
            .with_context(|| format!("cannot make the memory of a piece in {}", directory.display()))?;
        let memory: &'static Shared = Box::leak(Box::new(memory));
        // Both sides touch it now, and not while they are timed.
        (0..memory.len()).step_by(4096).for_each(|at| memory.word(at).store(0, Ordering::Relaxed));
        Ok(Stage { memory, directory: directory.to_owned(), clock })
    }

    /// One direction's files.
    pub(crate) fn place(&self, name: &str, senders: usize) -> Place {
        Place::new(&self.directory, name, senders)
    }

    /// One of `sides` sides, on this thread. Number 0 leads, and runs on the last processor; the others share the rest.
    pub(crate) fn side(&self, number: usize, sides: usize) -> Result<Side> {
        let processors = processors();
        let last = processors.len().checked_sub(1).context("this process may use no processor")?;
        let mine = if number == 0 { last } else { (number - 1) % last.max(1) };
        pin(processors[mine])?;
        let lines = Lines::new(self.memory, number == 0);
        Ok(Side { memory: self.memory, lines, clock: self.clock.clone(), sides, meetings: 0, probes: Vec::new() })
    }

    /// Runs both sides of a peer, which gets one direction each way or one only, and returns what the leading side found.
    pub(crate) fn two<const W: usize, P: Peer<W>, T>(
        &self,
        lead: impl FnOnce(&mut Side, P::Tx, P::Rx) -> T,
        follow: impl FnOnce(&mut Side, P::Tx, P::Rx) + Send,
    ) -> Result<T> {
        let there = Mutex::new(P::make(&self.place("there", 1))?);
        let back = Mutex::new(P::make(&self.place("back", 1))?);
        let leads = || -> Result<T> {
            let mut side = self.side(0, 2)?;
            let (tx, rx) = (P::tx(&mut locked(&there))?, P::rx(&mut locked(&back))?);
            Ok(lead(&mut side, tx, rx))
        };
        let follows = || -> Result<()> {
            let mut side = self.side(1, 2)?;
            // In the same order as the other side: some ends wait for their peer.
            let rx = P::rx(&mut locked(&there))?;
            let tx = P::tx(&mut locked(&back))?;
            follow(&mut side, tx, rx);
            Ok(())
        };
        self.both(P::KIND, leads, follows)
    }

    /// Runs a side that leads and one that follows, in threads or in processes.
    pub(crate) fn both<T>(
        &self,
        kind: Kind,
        leads: impl FnOnce() -> Result<T>,
        follows: impl FnOnce() -> Result<()> + Send,
    ) -> Result<T> {
        if kind == Kind::Ring {
            return std::thread::scope(|scope| {
                scope.spawn(|| or_die(follows()));
                leads()
            });
        }
        let child = in_child(follows)?;
        let found = leads()?;
        reap(child)?;
        Ok(found)
    }

    /// Runs `senders` sides that send to one that leads, which returns what it found.
    pub(crate) fn many<const W: usize, P: Peer<W>, T>(
        &self,
        senders: usize,
        receive: impl FnOnce(&mut Side, P::Rx) -> T,
        send: impl Fn(&mut Side, P::Tx, usize) + Send + Sync,
    ) -> Result<T> {
        let made = Mutex::new(P::make(&self.place("there", senders))?);
        let sends = |number: usize| -> Result<()> {
            let mut side = self.side(1 + number, 1 + senders)?;
            let tx = P::tx(&mut locked(&made))?;
            send(&mut side, tx, number);
            Ok(())
        };
        let receives = || -> Result<T> {
            let mut side = self.side(0, 1 + senders)?;
            let rx = P::rx(&mut locked(&made))?;
            Ok(receive(&mut side, rx))
        };
        if P::KIND == Kind::Ring {
            return std::thread::scope(|scope| {
                let sends = &sends;
                (0..senders).for_each(|number| drop(scope.spawn(move || or_die(sends(number)))));
                receives()
            });
        }
        let children = (0..senders).map(|number| in_child(|| sends(number))).collect::<Result<Vec<_>>>()?;
        let found = receives()?;
        children.into_iter().try_for_each(reap)?;
        Ok(found)
    }
}

fn locked<T>(made: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    made.lock().expect("nobody panics while holding it and lives")
}

/// A side in a process of its own, which ends with its parent and after [`LONGEST_S`] at the latest.
fn in_child(run: impl FnOnce() -> Result<()>) -> Result<Pid> {
    let parent = nix::unistd::getpid();
    // SAFETY: the process of a piece has one thread when it forks.
    match unsafe { fork() }.context("cannot fork a side")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            alarm::set(LONGEST_S);
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            if getppid() == parent {
                // Whoever waits for this side need not wait until the alarm.
                let default = std::panic::take_hook();
                std::panic::set_hook(Box::new(move |panic| {
                    default(panic);
                    let _ = kill(parent, Signal::SIGTERM);
                }));
                or_die(run());
            }
            // SAFETY: ends the process; nothing of the parent's is to be cleared up here.
            unsafe { libc::_exit(0) }
        }
    }
}

/// A side that cannot go on takes the whole piece with it.
fn or_die(outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("{error:#}");
        let _ = kill(getppid(), Signal::SIGTERM);
        std::process::exit(1);
    }
}

fn reap(child: Pid) -> Result<()> {
    let status = waitpid(child, None)?;
    ensure!(matches!(status, WaitStatus::Exited(_, 0)), "the other side ended with {status:?}");
    Ok(())
}

/// One side, while it runs.
#[derive(Debug)]
pub(crate) struct Side {
    memory: &'static Shared,
    lines: Lines<'static>,
    /// Stamps.
    pub(crate) clock: Clock,
    sides: usize,
    meetings: u64,
    /// What the probes found, nanoseconds.
    pub(crate) probes: Vec<f64>,
}

impl Side {
    /// Waits until all sides have come here as often as this one. Yields: several may share a processor.
    pub(crate) fn meet(&mut self) {
        self.meetings += 1;
        let word = self.memory.word(MEETING);
        word.fetch_add(1, Ordering::AcqRel);
        while word.load(Ordering::Acquire) < self.meetings * self.sides as u64 {
            std::thread::yield_now();
        }
    }

    /// A word for whatever a row wants to say to its other side; 0 at the start.
    pub(crate) fn signal(&self) -> &AtomicU64 {
        self.memory.word(SIGNAL)
    }

    /// The raw round trip between the leading side and the second one, now. Both call it.
    pub(crate) fn probe(&mut self) {
        let ns = self.lines.probe();
        self.probes.push(ns);
    }

    /// Raw round trips, each timed.
    pub(crate) fn raw_trips(&mut self, trips: u64, record: impl FnMut(u64)) {
        let clock = self.clock.clone();
        self.lines.timed_trips(trips, &clock, record);
    }
}
