//! How long a message takes to somebody who sleeps, sent at a rate that leaves time to fall asleep.

use super::job::{Heading, Job, OF_DISTRIBUTIONS, Play};
use super::ledger::{Ledger, Measured};
use super::pair::{is_marked, mark};
use super::raw::{Signal, create};
use super::scene::{Scene, Turns};
use crate::args::Wait;
use crate::units::bytes;
use anyhow::{Result, bail};
use laneway::{Receiver, Sender};
use laneway_measure::{Clock, Distribution, Pace, Shared, no_slack};
use std::path::Path;
use std::time::Duration;

/// One-way delays beside those of a bare futex.
pub(super) struct Wake;

const QUEUE: &str = "lane";
/// A piece lasts so long if the rate allows it, and is no more messages than this.
const PIECE: Duration = Duration::from_millis(100);
const PIECE_MESSAGES: usize = 20_000;
/// From the beginning of a piece to its first message: the receiver is to fall asleep.
const FIRST_NS: u64 = 1_000_000;

impl Play for Wake {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let key = job.key(&format!("wake/{}", job.payload), Wait::Park);
        let name = format!("one way, {}, {}", bytes(job.payload as u64), job.wait.as_verb());
        let (wait, payload, rate) = (Some(job.wait), Some(job.payload), Some(job.rate));
        let heading = Heading { wait, payload, rate, ..Heading::new(key, name) };
        vec![heading.beside(Signal::name(job.wait), OF_DISTRIBUTIONS)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        job.options().create(at.join(QUEUE))?;
        create(at, Signal::FILE, Signal::LEN)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    /// The receiver leads: it has the times.
    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, signal) = (scene.shared(Turns::FILE)?, scene.shared(Signal::FILE)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut signals = Signals::new(scene, &signal);
        if !scene.leads() {
            let mut sender = scene.sender(QUEUE)?;
            scene.begin()?;
            while turns.next(true) {
                signals.piece(scene, &mut Distribution::new());
                send(scene, &mut sender)?;
            }
            return Ok(Vec::new());
        }
        let receiver = scene.receiver(QUEUE)?;
        scene.begin()?;
        let mut ledger = Ledger::of_distributions();
        while turns.next(ledger.has_any()) {
            let (mut ours, mut limit) = (Distribution::new(), Distribution::new());
            signals.piece(scene, &mut limit);
            receive(scene, &receiver, &mut ours)?;
            ledger.enter(true, &ours, &limit);
        }
        Ok(vec![ledger.close()])
    }
}

fn receive(scene: &Scene<'_>, receiver: &Receiver, into: &mut Distribution) -> Result<()> {
    let mut payload = vec![0; scene.job.payload];
    for _ in 0..in_piece(scene.job) {
        take_stamped(receiver, &mut payload, into)?;
    }
    Ok(())
}

/// Copies the next message out and enters how long it took.
pub(super) fn take_stamped(receiver: &Receiver, payload: &mut [u8], into: &mut Distribution) -> Result<()> {
    let message = receiver.recv()?;
    if message.len() != payload.len() {
        bail!("a message of {} bytes came in place of one of {}", message.len(), payload.len());
    }
    message.copy_to(payload);
    message.release();
    let now = Clock::monotonic_ns();
    let stamp = u64::from_le_bytes(*payload.first_chunk().unwrap_or(&[0; 8]));
    if stamp > now || !is_marked(payload, stamp) {
        bail!("a message came torn: it was sent at {stamp}, and it is {now}");
    }
    into.record(now - stamp);
    Ok(())
}

/// Sends a piece's messages, each with the time at which it was to be sent.
pub(super) fn send(scene: &Scene<'_>, sender: &mut Sender) -> Result<()> {
    let mut payload = vec![0x5a; scene.job.payload];
    let mut pace = pace(scene);
    for _ in 0..in_piece(scene.job) {
        mark(&mut payload, pace.wait());
        sender.send(&payload)?;
    }
    Ok(())
}

fn pace(scene: &Scene<'_>) -> Pace {
    no_slack();
    Pace::new(Clock::monotonic_ns() + FIRST_NS, interval_ns(scene.job), scene.rest())
}

fn interval_ns(job: &Job) -> u64 {
    1_000_000_000 / u64::from(job.rate)
}

/// Messages of a piece, of each sender.
pub(super) fn in_piece(job: &Job) -> usize {
    let lasts = PIECE.min(job.duration / 4);
    ((f64::from(job.rate) * lasts.as_secs_f64()) as usize).clamp(1, PIECE_MESSAGES)
}

/// A piece of raw signals at the same rate.
pub(super) struct Signals<'a>(Signal<'a>);

impl<'a> Signals<'a> {
    /// To somebody who waits as the job says.
    pub(super) fn new(scene: &Scene<'_>, memory: &'a Shared) -> Signals<'a> {
        Signals(Signal::new(scene, memory, scene.job.wait))
    }

    /// To somebody who sleeps.
    pub(super) fn futex(scene: &Scene<'_>, memory: &'a Shared) -> Signals<'a> {
        Signals(Signal::new(scene, memory, Wait::Park))
    }

    /// The leading side receives.
    pub(super) fn piece(&mut self, scene: &Scene<'_>, into: &mut Distribution) {
        if scene.leads() {
            self.0.receive_all(interval_ns(scene.job), into);
        } else {
            self.0.send_all(in_piece(scene.job), &mut pace(scene));
        }
    }
}
