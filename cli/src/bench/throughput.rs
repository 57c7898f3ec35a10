//! One message after the other, as fast as they go, and what the doorbell's check costs of that.

use super::job::{Heading, Job, OF_PIECES, Play};
use super::ledger::{Ledger, Measured};
use super::pair::Pair;
use super::raw::{Copies, Trips, TripsMemory, create};
use super::scene::{Scene, Turns};
use crate::args::Wait;
use crate::units::bytes;
use anyhow::Result;
use laneway::{Sender, TrySendError};
use laneway_measure::Distribution;
use std::path::Path;

/// Streams beside copies of as many bytes.
pub(super) struct Throughput;

/// Streams with the doorbell's check on each send beside streams with none.
pub(super) struct Doorbell;

const PAIR: &str = "lane";
/// A piece is so many bytes, but no more messages than this.
const PIECE_BYTES: usize = 32 << 20;
const PIECE_MESSAGES: usize = 200_000;

impl Play for Throughput {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let key = job.key(&format!("throughput/{}", job.payload), Wait::Spin);
        let name = format!("streaming, {}, {}", bytes(job.payload as u64), job.wait.as_verb());
        let heading = Heading { wait: Some(job.wait), payload: Some(job.payload), ..Heading::new(key, name) };
        vec![heading.beside(Copies::NAME, OF_PIECES)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        create(at, Copies::FILE, Copies::LEN)?;
        prepare(job, at)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (copies, messages) = (scene.shared(Copies::FILE)?, messages(scene.job));
        let mut copies = Copies::new(scene, &copies);
        let payload = scene.job.payload as f64;
        play(scene, |pair, _| Ok((pair.stream(messages)?, copies.piece() * payload)))
    }
}

impl Play for Doorbell {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let name = format!("streaming, {}, the doorbell's check on each send", bytes(job.payload as u64));
        let heading = Heading {
            wait: Some(job.wait),
            payload: Some(job.payload),
            ..Heading::new(job.key("throughput/doorbell", Wait::Spin), name)
        };
        vec![heading.beside("the same without the check", OF_PIECES)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        prepare(job, at)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (messages, between) = (messages(scene.job), scene.between());
        let checked = |sender: &mut Sender, payload: &[u8]| loop {
            match sender.try_send(payload) {
                Ok(_) => return Ok(()),
                Err(TrySendError::Full) => between.looks(),
                Err(error) => return Err(error.into()),
            }
        };
        let unchecked = |sender: &mut Sender, payload: &[u8]| loop {
            match sender.try_send_quietly(payload) {
                Ok(_) => return Ok(()),
                Err(TrySendError::Full) => between.looks(),
                Err(error) => return Err(error.into()),
            }
        };
        // Alternately first: what comes second finds warmer caches.
        play(scene, |pair, piece| {
            let (mut with, mut without) = (0.0, 0.0);
            for turn in 0..2 {
                if (piece + turn) % 2 == 0 {
                    with = pair.stream_by(messages, checked, || ())?;
                } else {
                    without = pair.stream_by(messages, unchecked, || ())?;
                }
            }
            Ok((with, without))
        })
    }
}

fn messages(job: &Job) -> usize {
    job.in_piece(PIECE_BYTES, PIECE_MESSAGES)
}

fn prepare(job: &Job, at: &Path) -> Result<()> {
    Pair::prepare(job, at, PAIR, &job.options())?;
    TripsMemory::prepare(at)?;
    create(at, Turns::FILE, Turns::LEN)
}

/// Pieces between probes: what a message took, and its limit.
fn play(scene: &Scene<'_>, mut piece: impl FnMut(&mut Pair, usize) -> Result<(f64, f64)>) -> Result<Vec<Measured>> {
    let (turns, lines) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?);
    let mut turns = Turns::new(scene, &turns, 1, 1.0);
    let mut lines = Trips::lines(scene, &lines);
    let mut pair = Pair::open(scene, PAIR)?;
    scene.begin()?;
    let (mut ledger, mut probed) = (Ledger::of_pieces(), Distribution::new());
    for number in 0.. {
        if !turns.next(ledger.has_any()) {
            break;
        }
        let before = lines.probe(scene, &mut probed);
        let (ours, limit) = piece(&mut pair, number)?;
        let after = lines.probe(scene, &mut probed);
        ledger.enter_mean(scene.is_same(&[before, after]), ours, limit);
    }
    Ok(vec![ledger.close()])
}
