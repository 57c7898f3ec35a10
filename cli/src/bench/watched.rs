//! What `laneway top` costs those that it looks at: one message after the other as fast as they go, with and without somebody who
//! watches them, or watches another queue of the same size; and, to know what such a difference means, without and without.

use super::job::{Heading, Job, OF_PIECES, Play};
use super::ledger::{Ledger, Measured};
use super::pair::Pair;
use super::raw::{Trips, TripsMemory, create};
use super::scene::{Scene, Turns};
use crate::units::bytes;
use anyhow::{Context, Result};
use laneway::{Queue, Sender};
use laneway_measure::Distribution;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Streams, each beside one that nobody watches.
pub(super) struct Watched;

const PAIR: &str = "lane";
/// Where the other queue is, of the same size.
const OTHER: &str = "other";
/// Ten times as often as usual, so that there are looks in each piece.
const EVERY_MS: u64 = 50;
/// A piece has a few looks.
const PIECE_NS: f64 = 3.0 * EVERY_MS as f64 * 1e6;
/// How long a message takes is found out with so many.
const TRIAL: u64 = 20_000;

/// Who watches, in a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eyes {
    /// What the others stand beside.
    Nobody,
    NobodyAgain,
    OnAnother,
    OnIt,
}

const ROUND: [Eyes; 4] = [Eyes::Nobody, Eyes::NobodyAgain, Eyes::OnAnother, Eyes::OnIt];

impl Play for Watched {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let (wait, payload) = (Some(job.wait), Some(job.payload));
        let heading = |key: &str, what: &str| {
            let name = format!("streaming, {}, {what}", bytes(job.payload as u64));
            Heading { wait, payload, ..Heading::new(key, name) }.beside("nobody watches", OF_PIECES)
        };
        vec![
            heading("watched/nobody", "nobody watches, once more"),
            heading("watched/other", "`top` watches another queue"),
            heading("watched/itself", "`top` watches this queue"),
        ]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        Pair::prepare(job, at, PAIR, &job.options())?;
        let other = at.join(OTHER);
        fs::create_dir(&other).with_context(|| format!("cannot create {other:?}"))?;
        Pair::prepare(job, &other, PAIR, &job.options())?;
        TripsMemory::prepare(at)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, lines) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut lines = Trips::lines(scene, &lines);
        let mut pair = Pair::open(scene, PAIR)?;
        if !scene.leads() {
            scene.begin()?;
            while let Some(messages) = turns.hear() {
                piece(scene, &mut lines, &mut pair, messages)?;
            }
            return Ok(Vec::new());
        }
        // Its lanes are there, as those of the other are.
        let _senders = senders(&scene.at.join(OTHER))?;
        let on_another = Watcher::start(&scene.at.join(OTHER))?;
        let on_it = Watcher::start(scene.at)?;
        scene.begin()?;
        turns.call(TRIAL);
        let (trial, _) = piece(scene, &mut lines, &mut pair, TRIAL)?;
        let share = scene.job.duration.as_secs_f64().clamp(0.02, 1.0);
        let messages = (PIECE_NS * share / trial).max(1_000.0) as u64;
        let mut ledgers = [Ledger::of_pieces(), Ledger::of_pieces(), Ledger::of_pieces()];
        for round in 0.. {
            if !turns.is_time(ledgers.iter().all(Ledger::has_any)) {
                break;
            }
            let mut found = [(0.0, [0.0; 2]); ROUND.len()];
            // Each comes first, and each last, in one of four rounds.
            for turn in 0..ROUND.len() {
                let at = (turn + round) % ROUND.len();
                on_another.opens_its_eyes(ROUND[at] == Eyes::OnAnother)?;
                on_it.opens_its_eyes(ROUND[at] == Eyes::OnIt)?;
                turns.call(messages);
                found[at] = piece(scene, &mut lines, &mut pair, messages)?;
            }
            let (limit, before) = found[0];
            for (ledger, (ours, probes)) in ledgers.iter_mut().zip(&found[1..]) {
                ledger.enter_mean(scene.is_same(&[before, *probes].concat()), *ours, limit);
            }
        }
        turns.over();
        Ok(ledgers.into_iter().map(Ledger::close).collect())
    }
}

/// So many messages between two probes: nanoseconds for each, and the probes.
fn piece(scene: &Scene<'_>, lines: &mut Trips<'_>, pair: &mut Pair, messages: u64) -> Result<(f64, [f64; 2])> {
    let mut probed = Distribution::new();
    let before = lines.probe(scene, &mut probed);
    let took = pair.stream(messages as usize)?;
    Ok((took, [before, lines.probe(scene, &mut probed)]))
}

/// A sender for each queue of a directory.
fn senders(at: &Path) -> Result<Vec<Sender>> {
    Queue::list(at)?.iter().map(|name| Ok(Queue::open(at.join(name))?.sender()?)).collect()
}

/// `laneway top` in a terminal that nobody looks at. Its eyes are closed until it is told otherwise. Who leaves it stopped and is
/// killed leaves a group of processes that nobody can continue, and such a group the kernel ends.
struct Watcher(Child);

impl Watcher {
    fn start(queues: &Path) -> Result<Watcher> {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).context("cannot make a terminal for `laneway top`")?;
        let end = || pty.slave.try_clone().map(Stdio::from).context("cannot use the terminal for `laneway top`");
        let program = std::env::current_exe().context("cannot find this program to start it again")?;
        let child = Command::new(program)
            .args(["top", "--every", &format!("{EVERY_MS}ms")])
            .env("LANEWAY_DIR", queues)
            .env("LANEWAY_POST", queues.join("post"))
            .stdin(end()?)
            .stdout(end()?)
            .stderr(end()?)
            .spawn()
            .context("cannot start `laneway top`")?;
        let watcher = Watcher(child);
        drop(pty.slave);
        let mut screen = File::from(pty.master);
        let (mut frame, mut seen) = ([0; 4096], Vec::new());
        // When it has shown the queue it is at work.
        while !String::from_utf8_lossy(&seen).contains(PAIR) {
            let read = screen.read(&mut frame).context("`laneway top` shows no queue")?;
            seen.extend_from_slice(&frame[..read]);
        }
        // A terminal that takes nothing would stop it. It ends with the last one who has its other end.
        std::thread::spawn(move || while let Ok(1..) = screen.read(&mut frame) {});
        watcher.opens_its_eyes(false)?;
        Ok(watcher)
    }

    fn opens_its_eyes(&self, opens: bool) -> Result<()> {
        let signal = if opens { Signal::SIGCONT } else { Signal::SIGSTOP };
        kill(Pid::from_raw(self.0.id() as i32), signal).context("`laneway top` has ended")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
