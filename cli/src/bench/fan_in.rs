//! Many senders, one receiver.

use super::job::{Heading, Job, OF_DISTRIBUTIONS, OF_PIECES, Play, ring};
use super::ledger::{Ledger, Measured};
use super::pair::{is_marked, mark};
use super::raw::{Signal, create};
use super::scene::{Scene, Turns};
use super::wake::{self, Signals};
use crate::args::Wait;
use crate::units::bytes;
use anyhow::{Result, bail};
use laneway::{Queue, Receiver};
use laneway_measure::Distribution;
use std::path::Path;
use std::time::Instant;

/// All at once, as fast as they go, beside one of them alone.
pub(super) struct FanIn;

/// Each at a rate: how long their messages take.
pub(super) struct Paced;

const QUEUE: &str = "lanes";
const PIECE_BYTES: usize = 32 << 20;
/// Of all senders together.
const PIECE_MESSAGES: usize = 200_000;
/// What the senders are called to do.
const ALL: u64 = 1;
const ALONE: u64 = 2;

impl Play for FanIn {
    fn parts(&self, job: &Job) -> u32 {
        job.senders + 1
    }

    fn headings(&self, job: &Job) -> Vec<Heading> {
        let key = job.key(&format!("fan-in/{}", job.payload), Wait::Adaptive);
        let name = format!("{} senders, {}, {}", job.senders, bytes(job.payload as u64), job.wait.as_verb());
        let (wait, payload, senders) = (Some(job.wait), Some(job.payload), Some(job.senders));
        let heading = Heading { wait, payload, senders, ..Heading::new(key, name) };
        vec![heading.beside("one of them alone", OF_PIECES)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        prepare(job, at)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let turns = scene.shared(Turns::FILE)?;
        let mut turns = Turns::new(scene, &turns, scene.job.senders, 1.0);
        let share = messages(scene.job);
        if !scene.leads() {
            let mut sender = scene.sender(QUEUE)?;
            scene.begin()?;
            let (mut payload, mut number) = (vec![0x5a; scene.job.payload], 0);
            while let Some(what) = turns.hear() {
                let mine = match what {
                    ALL => share,
                    _ if scene.part == 1 => share * scene.job.senders as usize,
                    _ => 0,
                };
                for _ in 0..mine {
                    number += 1;
                    mark(&mut payload, number);
                    sender.send(&payload)?;
                }
            }
            return Ok(Vec::new());
        }
        let receiver = scene.receiver(QUEUE)?;
        scene.begin()?;
        let mut desk = Desk { receiver, payload: vec![0; scene.job.payload], numbers: Vec::new() };
        let (mut ledger, total) = (Ledger::of_pieces(), share * scene.job.senders as usize);
        while turns.is_time(ledger.has_any()) {
            turns.call(ALL);
            let all = desk.take(total)?;
            turns.call(ALONE);
            let alone = desk.take(total)?;
            ledger.enter_mean(true, all, alone);
        }
        turns.over();
        Ok(vec![ledger.close()])
    }
}

impl Play for Paced {
    fn parts(&self, job: &Job) -> u32 {
        job.senders + 1
    }

    fn headings(&self, job: &Job) -> Vec<Heading> {
        let key = job.key(&format!("fan-in/{}/delay", job.payload), Wait::Adaptive);
        let payload = bytes(job.payload as u64);
        let name = format!("one way, {} senders, {payload}, {}", job.senders, job.wait.as_verb());
        let heading = Heading {
            wait: Some(job.wait),
            payload: Some(job.payload),
            senders: Some(job.senders),
            rate: Some(job.rate),
            ..Heading::new(key, name)
        };
        vec![heading.beside(Signal::name(job.wait), OF_DISTRIBUTIONS)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        create(at, Signal::FILE, Signal::LEN)?;
        prepare(job, at)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, signal) = (scene.shared(Turns::FILE)?, scene.shared(Signal::FILE)?);
        let mut turns = Turns::new(scene, &turns, scene.job.senders, 1.0);
        let mut signals = Signals::new(scene, &signal);
        if !scene.leads() {
            let mut sender = scene.sender(QUEUE)?;
            scene.begin()?;
            while let Some(what) = turns.hear() {
                match what {
                    ALL => wake::send(scene, &mut sender)?,
                    _ if scene.part == 1 => signals.piece(scene, &mut Distribution::new()),
                    _ => {}
                }
            }
            return Ok(Vec::new());
        }
        let receiver = scene.receiver(QUEUE)?;
        scene.begin()?;
        let (mut ledger, mut payload) = (Ledger::of_distributions(), vec![0; scene.job.payload]);
        let messages = wake::in_piece(scene.job) * scene.job.senders as usize;
        while turns.is_time(ledger.has_any()) {
            let (mut ours, mut limit) = (Distribution::new(), Distribution::new());
            turns.call(ALONE);
            signals.piece(scene, &mut limit);
            turns.call(ALL);
            for _ in 0..messages {
                wake::take_stamped(&receiver, &mut payload, &mut ours)?;
            }
            ledger.enter(true, &ours, &limit);
        }
        turns.over();
        Ok(vec![ledger.close()])
    }
}

fn prepare(job: &Job, at: &Path) -> Result<()> {
    // An eighth is for urgent senders.
    let lanes = (2 * job.senders).min(1024);
    Queue::options().capacity(ring(job.payload)).overflow_limit(0).max_lanes(lanes).create(at.join(QUEUE))?;
    create(at, Turns::FILE, Turns::LEN)
}

/// What each sender sends in a piece.
fn messages(job: &Job) -> usize {
    (job.in_piece(PIECE_BYTES, PIECE_MESSAGES) / job.senders as usize).max(2)
}

/// A receiver that keeps count of every lane.
struct Desk {
    receiver: Receiver,
    payload: Vec<u8>,
    /// Of the last message, by lane.
    numbers: Vec<u64>,
}

impl Desk {
    /// So many messages, of whomever. Nanoseconds each, from the first to the last.
    fn take(&mut self, messages: usize) -> Result<f64> {
        self.take_one()?;
        let start = Instant::now();
        for _ in 1..messages {
            self.take_one()?;
        }
        Ok(start.elapsed().as_nanos() as f64 / (messages - 1) as f64)
    }

    fn take_one(&mut self) -> Result<()> {
        let message = self.receiver.recv()?;
        let lane = message.lane() as usize;
        if message.len() != self.payload.len() {
            bail!("a message of {} bytes came in place of one of {}", message.len(), self.payload.len());
        }
        message.copy_to(&mut self.payload);
        message.release();
        if lane >= self.numbers.len() {
            self.numbers.resize(lane + 1, 0);
        }
        self.numbers[lane] += 1;
        if !is_marked(&self.payload, self.numbers[lane]) {
            bail!("message {} of lane {lane} came torn or out of order", self.numbers[lane]);
        }
        Ok(())
    }
}
