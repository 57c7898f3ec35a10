//! What the machine allows, and no queue can beat.

use super::job::{Heading, Job, Play};
use super::ledger::{Ledger, Measured};
use super::raw::{COPY_LEN, Copies, Signal, Trips, TripsMemory, create};
use super::scene::{Scene, Turns};
use super::wake::Signals;
use anyhow::Result;
use laneway_measure::Distribution;
use std::path::Path;

/// Cache lines, futexes, copies.
pub(super) struct Limits;

impl Play for Limits {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        vec![
            Heading::new("limits/cache-lines", "raw round trip of two cache lines"),
            Heading { rate: Some(job.rate), ..Heading::new("limits/futex-wake", "raw futex wake, one way") },
            Heading {
                payload: Some(COPY_LEN),
                ..Heading::new("limits/memcpy", "memcpy of 64 KiB, processor to processor")
            },
        ]
    }

    fn prepare(&self, _job: &Job, at: &Path) -> Result<()> {
        TripsMemory::prepare(at)?;
        create(at, Copies::FILE, Copies::LEN)?;
        create(at, Signal::FILE, Signal::LEN)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, trips) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?);
        let (copies, signal) = (scene.shared(Copies::FILE)?, scene.shared(Signal::FILE)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut trips = Trips::lines(scene, &trips);
        let mut copies = Copies::new(scene, &copies);
        let mut signals = Signals::futex(scene, &signal);
        scene.begin()?;
        let (mut round, mut wake) = (Ledger::of_distributions(), Distribution::new());
        let (mut pieces, mut wakes) = (Vec::new(), 0);
        while turns.next(round.has_any()) {
            let mut piece = Distribution::new();
            let before = trips.probe(scene, &mut piece);
            let copied = copies.piece() * COPY_LEN as f64;
            let after = trips.probe(scene, &mut piece);
            round.enter(scene.is_same(&[before, after]), &piece, &piece);
            pieces.push(copied);
            signals.piece(scene, &mut wake);
            wakes += 1;
        }
        Ok(vec![round.close().without_limit(), Measured::distribution(wake, wakes), Measured::pieces(pieces)])
    }
}
