//! What a receiver costs that has nothing to do.

use super::job::{Heading, Job, OF_PIECES, Play, Unit};
use super::ledger::{Ledger, Measured};
use super::raw::create;
use super::scene::{Scene, Turns};
use anyhow::{Result, bail};
use laneway::{Queue, RecvError};
use laneway_measure::Shared;
use laneway_measure::limit::FutexWake;
use nix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::{Duration, Instant};

/// A parked receiver beside a bare process that only sleeps, both at the same time.
pub(super) struct Idle;

const QUEUE: &str = "lane";
const ANSWER: &str = "answer";
/// As long as the library sleeps at the most.
const NAP: Duration = Duration::from_millis(100);

impl Play for Idle {
    fn headings(&self, job: &Job) -> Vec<Heading> {
        let heading = Heading::new("idle/receiver", "processor time of a parked receiver");
        let heading = Heading { unit: Unit::Percent, wait: Some(job.wait), ..heading };
        vec![heading.beside("a bare process that sleeps 100 ms at a time", OF_PIECES)]
    }

    fn prepare(&self, _job: &Job, at: &Path) -> Result<()> {
        Queue::options().max_lanes(1).create(at.join(QUEUE))?;
        create(at, ANSWER, FutexWake::LEN as u64)?;
        create(at, Turns::FILE, Turns::LEN)
    }

    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>> {
        let (turns, answer): (Shared, Shared) = (scene.shared(Turns::FILE)?, scene.shared(ANSWER)?);
        let mut turns = Turns::new(scene, &turns, 1, 1.0);
        let mut answer = FutexWake::new(&answer);
        let lasts = scene.job.duration;
        if !scene.leads() {
            // Somebody is there who might send.
            let _sender = scene.sender(QUEUE)?;
            scene.begin()?;
            turns.hear();
            let (used, start) = (used_ns(), Instant::now());
            while let Some(left) = lasts.checked_sub(start.elapsed()) {
                std::thread::sleep(left.min(NAP));
            }
            answer.wake(used_ns() - used);
            return Ok(Vec::new());
        }
        let receiver = scene.receiver(QUEUE)?;
        scene.begin()?;
        turns.call(1);
        let used = used_ns();
        match receiver.recv_timeout(lasts) {
            Err(RecvError::Timeout) => {}
            Err(error) => return Err(error.into()),
            Ok(message) => bail!("a message of {} bytes came to a receiver to whom nobody sends", message.len()),
        }
        let ours = used_ns() - used;
        let bare = answer.sleep();
        let percent = |ns: u64| ns as f64 * 100.0 / lasts.as_nanos() as f64;
        let mut ledger = Ledger::of_pieces();
        // The kernel counts in nanoseconds, and no sleep takes less.
        ledger.enter_mean(true, percent(ours), percent(bare.max(1)));
        Ok(vec![ledger.close()])
    }
}

/// What this process has used so far, for itself and in the kernel.
fn used_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(0, |used| Duration::from(used).as_nanos() as u64)
}
