//! What it costs when the receiver falls behind: lanes that grow beside rings that are large enough.

use super::job::{Heading, Job, OF_PIECES, Play};
use super::ledger::{Ledger, Measured};
use super::pair::Pair;
use super::raw::{Trips, TripsMemory, create};
use super::scene::{Scene, Turns};
use crate::units::bytes;
use anyhow::Result;
use laneway::{Options, Queue};
use laneway_measure::Distribution;
use laneway_measure::limit::FutexWake;
use std::path::Path;

/// Streams, and bursts that are read when they are over.
pub(super) struct Overflow;

/// One way to stream: the ring, and what the lane may grow by.
struct Arrangement {
    name: &'static str,
    capacity: u64,
    overflow: u64,
}

const RING: u64 = 256 << 10;
const GROWING: Arrangement = Arrangement { name: "growing", capacity: RING, overflow: 4 << 20 };
const LARGE: Arrangement = Arrangement { name: "large", capacity: 4 << 20, overflow: 0 };
const BURST_GROWING: Arrangement = Arrangement { name: "burst-growing", capacity: RING, overflow: 16 << 20 };
const BURST_LARGE: Arrangement = Arrangement { name: "burst-large", capacity: 16 << 20, overflow: 0 };
/// When a burst may be read.
const SENT: &str = "sent";
const STREAM_BYTES: usize = 16 << 20;
const BURST_BYTES: usize = 8 << 20;
/// Two of them make a burst's ring full.
pub(super) const MOST_PAYLOAD: usize = 1 << 20;

impl Arrangement {
    fn options(&self) -> Options {
        Queue::options().capacity(self.capacity).overflow_limit(self.overflow).max_lanes(1)
    }
}

impl Play for Overflow {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let heading = |key: &str, what: &str| {
            let name = format!("{what}, {}, ring of {} that grows", bytes(job.payload as u64), bytes(RING));
            let key = format!("overflow/{}/{key}", job.payload);
            Heading { wait: Some(job.wait), payload: Some(job.payload), ..Heading::new(key, name) }
        };
        vec![
            heading("stream", "streaming").beside("ring of 4 MiB that may not", OF_PIECES),
            heading("burst", "burst of 8 MiB, then read").beside("ring of 16 MiB that may not", OF_PIECES),
        ]
    }

    fn prepare(&self, job: &Job, at: &Path) -> Result<()> {
        for arrangement in [GROWING, LARGE, BURST_GROWING, BURST_LARGE] {
            Pair::prepare(job, at, arrangement.name, &arrangement.options())?;
        }
        TripsMemory::prepare(at)?;
        create(at, SENT, FutexWake::LEN as u64)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, lines, sent) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?, scene.shared(SENT)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut lines = Trips::lines(scene, &lines);
        let mut sent = FutexWake::new(&sent);
        let open = |arrangement: Arrangement| Pair::open(scene, arrangement.name);
        let (mut growing, mut large) = (open(GROWING)?, open(LARGE)?);
        let (mut burst_growing, mut burst_large) = (open(BURST_GROWING)?, open(BURST_LARGE)?);
        scene.begin()?;
        let stream = scene.job.in_piece(STREAM_BYTES, STREAM_BYTES);
        // A record may take a cache line for itself.
        let burst = (BURST_BYTES / scene.job.payload.next_multiple_of(64)).max(1);
        let (mut streams, mut bursts, mut probed) = (Ledger::of_pieces(), Ledger::of_pieces(), Distribution::new());
        while turns.next(streams.has_any()) {
            let before = lines.probe(scene, &mut probed);
            let (ours, limit) = (growing.stream(stream)?, large.stream(stream)?);
            let mut send = |pair: &mut Pair| pair.burst(burst, &mut sent);
            let (burst_ours, burst_limit) = (send(&mut burst_growing)?, send(&mut burst_large)?);
            let is_same = scene.is_same(&[before, lines.probe(scene, &mut probed)]);
            streams.enter_mean(is_same, ours, limit);
            bursts.enter_mean(is_same, burst_ours, burst_limit);
        }
        Ok(vec![streams.close(), bursts.close()])
    }
}
