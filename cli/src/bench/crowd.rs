//! One busy lane among 1,023 idle ones, beside one that is alone.

use super::job::{Heading, Job, OF_DISTRIBUTIONS, OF_PIECES, Play};
use super::ledger::{Ledger, Measured};
use super::pair::Pair;
use super::raw::{Trips, TripsMemory, create};
use super::rtt::timed_trips;
use super::scene::{Scene, Turns};
use crate::open_files;
use crate::units::{bytes, count};
use anyhow::{Context, Result};
use laneway::{Options, Priority, Queue, Receiver, Sender};
use laneway_measure::Distribution;
use laneway_measure::limit::FutexWake;
use std::path::Path;

/// Round trips and streams.
pub(super) struct Crowd;

/// As many as a queue can have.
const LANES: u32 = 1024;
/// The least.
const CAPACITY: u64 = 4096;
/// Queues each way. One way is enough of a crowd: each sender that attaches looks through the lanes of all before it, so
/// that a thousand take seconds.
const ALONE: [&str; 2] = ["alone-there", "alone-back"];
const CROWDED: [&str; 2] = ["crowded-there", "crowded-back"];
/// When whoever holds the idle lanes may go.
const END: &str = "end";
const TRIPS: usize = 4_000;
const MESSAGES: usize = 50_000;

impl Play for Crowd {
    /// The third holds the idle lanes.
    fn parts(&self, _job: &Job) -> u32 {
        3
    }

    fn busy(&self, _job: &Job) -> u32 {
        2
    }

    fn headings(&self, job: &Job) -> Vec<Heading> {
        let (wait, payload) = (Some(job.wait), Some(job.payload));
        let size = bytes(job.payload as u64);
        let heading = |key: &str, what: &str| {
            let name = format!("{what}, {size}, among {} idle lanes", count(u64::from(LANES) - 1));
            Heading { wait, payload, ..Heading::new(key, name) }
        };
        vec![
            heading("idle/rtt", "round trip").beside("alone", OF_DISTRIBUTIONS),
            heading("idle/stream", "streaming").beside("alone", OF_PIECES),
        ]
    }

    fn prepare(&self, _job: &Job, at: &Path) -> Result<()> {
        let options = |lanes| -> Options { Queue::options().capacity(CAPACITY).overflow_limit(0).max_lanes(lanes) };
        let [crowded, _] = CROWDED;
        for queue in ALONE.into_iter().chain(CROWDED) {
            options(if queue == crowded { LANES } else { 1 }).create(at.join(queue))?;
        }
        TripsMemory::prepare(at)?;
        create(at, END, FutexWake::LEN as u64)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let end = scene.shared(END)?;
        let mut end = FutexWake::new(&end);
        if scene.part == 2 {
            let _idle = idle_lanes(scene.at)?;
            scene.begin()?;
            end.sleep();
            return Ok(Vec::new());
        }
        let (turns, lines) = (scene.shared(Turns::FILE)?, TripsMemory::open(scene)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut lines = Trips::lines(scene, &lines);
        let mut alone = open(scene, ALONE)?;
        let mut crowded = open(scene, CROWDED)?;
        let trips_in_piece = scene.job.in_piece(usize::MAX, TRIPS);
        let messages = scene.job.in_piece(usize::MAX, MESSAGES);
        scene.begin()?;
        let (mut trips, mut streams, mut probed) =
            (Ledger::of_distributions(), Ledger::of_pieces(), Distribution::new());
        while turns.next(trips.has_any()) {
            let (mut ours, mut limit) = (Distribution::new(), Distribution::new());
            let before = lines.probe(scene, &mut probed);
            timed_trips(&mut crowded, trips_in_piece, scene.clock, &mut ours)?;
            timed_trips(&mut alone, trips_in_piece, scene.clock, &mut limit)?;
            let stream = crowded.stream(messages)?;
            let stream_alone = alone.stream(messages)?;
            let is_same = scene.is_same(&[before, lines.probe(scene, &mut probed)]);
            trips.enter(is_same, &ours, &limit);
            streams.enter_mean(is_same, stream, stream_alone);
        }
        if scene.leads() {
            end.wake(0);
        }
        Ok(vec![trips.close(), streams.close()])
    }
}

fn open(scene: &Scene<'_>, [there, back]: [&str; 2]) -> Result<Pair> {
    let (to, from) = if scene.leads() { (there, back) } else { (back, there) };
    let sender: Sender = Queue::open(scene.at.join(to))?.sender_options().priority(PRIORITY).attach()?;
    sender.set_wait(scene.job.wait.into());
    let receiver: Receiver = scene.receiver(from)?;
    Pair::new(scene, sender, receiver)
}

/// An eighth of all lanes is for urgent senders only, and they may have every other, so they alone can fill a queue. All
/// have the same priority: what lanes of a higher one cost is another figure.
const PRIORITY: Priority = Priority::Urgent;

/// All lanes of the crowded queue but one.
fn idle_lanes(at: &Path) -> Result<Vec<Sender>> {
    open_files::raise()?;
    let [crowded, _] = CROWDED;
    let options = Queue::open(at.join(crowded))?.sender_options().priority(PRIORITY);
    (1..LANES)
        .map(|number| {
            let attached = options.attach();
            attached.with_context(|| format!("cannot attach idle sender {number} of {}", LANES - 1))
        })
        .collect()
}
