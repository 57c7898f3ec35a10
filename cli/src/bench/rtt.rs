//! There and back again.

use super::job::{Heading, Job, OF_DISTRIBUTIONS, Play};
use super::ledger::{Ledger, Measured};
use super::pair::Pair;
use super::raw::{Trips, TripsMemory, create};
use super::scene::{Scene, Turns};
use crate::args::Wait;
use crate::units::bytes;
use anyhow::Result;
use laneway_measure::{Clock, Distribution};
use std::path::Path;

/// Round trips of messages between raw ones.
pub(super) struct Rtt;

const PAIR: &str = "lane";
/// A piece is so many trips of those who spin, and so many of those who sleep, or fewer of long messages.
const TRIPS: usize = 10_000;
const SLEEPY_TRIPS: usize = 400;
const PIECE_BYTES: usize = 64 << 20;

impl Play for Rtt {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let key = job.key(&format!("rtt/{}", job.payload), Wait::Spin);
        let name = format!("round trip, {}, {}", bytes(job.payload as u64), job.wait.as_verb());
        let heading = Heading { wait: Some(job.wait), payload: Some(job.payload), ..Heading::new(key, name) };
        vec![heading.beside(Trips::name(job.wait), OF_DISTRIBUTIONS)]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        Pair::prepare(job, at, PAIR, &job.options())?;
        TripsMemory::prepare(at)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, raw) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut raw = Trips::new(scene, &raw);
        let mut pair = Pair::open(scene, PAIR)?;
        let trips = scene.job.in_piece(PIECE_BYTES, if scene.job.wait == Wait::Spin { TRIPS } else { SLEEPY_TRIPS });
        scene.begin()?;
        let mut ledger = Ledger::of_distributions();
        while turns.next(ledger.has_any()) {
            let (mut ours, mut limit) = (Distribution::new(), Distribution::new());
            let before = raw.probe(scene, &mut limit);
            timed_trips(&mut pair, trips, scene.clock, &mut ours)?;
            let after = raw.probe(scene, &mut limit);
            // A sleep takes as long as the scheduler likes, from one to the next.
            let is_same = scene.job.wait != Wait::Spin || scene.is_same(&[before, after]);
            ledger.enter(is_same, &ours, &limit);
        }
        Ok(vec![ledger.close()])
    }
}

/// So many round trips, each entered on the leading side.
pub(super) fn timed_trips(pair: &mut Pair, trips: usize, clock: &Clock, into: &mut Distribution) -> Result<()> {
    let mut start = clock.stamp();
    pair.trips(trips, || {
        into.record(clock.between(start, clock.stamp()));
        start = clock.stamp();
    })
}
