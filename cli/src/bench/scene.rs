//! What a process has in its hands while it plays its part of a job, and how the processes take turns.

use super::job::Job;
use super::protocol::{Said, Told};
use crate::team::say;
use anyhow::{Context, Result, bail};
use laneway::{Queue, Receiver, Sender};
use laneway_measure::limit::FutexWake;
use laneway_measure::{Between, Clock, Rest, Shared, pin, same_regime};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A part of a job.
pub(super) struct Scene<'a> {
    pub(super) job: &'a Job,
    /// Where the job's files are.
    pub(super) at: &'a Path,
    /// Which part it is; 0 leads.
    pub(super) part: u32,
    pub(super) clock: &'a Clock,
    /// Those that may be used, by number.
    pub(super) processors: &'a [usize],
    /// For whichever thread plays.
    pub(super) told: &'a Mutex<mpsc::Receiver<Told>>,
}

impl Scene<'_> {
    pub(super) fn leads(&self) -> bool {
        self.part == 0
    }

    /// Whether some of those who work have to share a processor.
    pub(super) fn is_crowded(&self) -> bool {
        self.job.player().busy(self.job) as usize > self.processors.len()
    }

    /// What to do between two looks at memory.
    pub(super) fn between(&self) -> Between {
        if self.is_crowded() { Between::Yield } else { Between::Pause }
    }

    /// How a sender passes the time until a message is due.
    pub(super) fn rest(&self) -> Rest {
        if self.is_crowded() { Rest::Sleep } else { Rest::Spin }
    }

    /// Whether probes around a piece say that the machine was the same all the time. Those that share a processor measure
    /// its scheduler, whose probes never agree.
    pub(super) fn is_same(&self, probes: &[f64]) -> bool {
        self.is_crowded() || same_regime(probes)
    }

    /// A raw file of the job.
    pub(super) fn shared(&self, name: &str) -> Result<Shared> {
        let path = self.at.join(name);
        Shared::open(&path).with_context(|| format!("cannot open {path:?}"))
    }

    /// A sender that waits as the job says.
    pub(super) fn sender(&self, queue: &str) -> Result<Sender> {
        let sender = Queue::open(self.at.join(queue))?.sender()?;
        sender.set_wait(self.job.wait.into());
        Ok(sender)
    }

    /// A receiver that waits as the job says.
    pub(super) fn receiver(&self, queue: &str) -> Result<Receiver> {
        let receiver = Queue::open(self.at.join(queue))?.receiver()?;
        receiver.set_wait(self.job.wait.into());
        Ok(receiver)
    }

    /// Says that everything is open, waits until all parts are so far, and takes a processor for itself. Not sooner: a
    /// handle that is made by a pinned thread takes the host for one with a single processor.
    pub(super) fn begin(&self) -> Result<()> {
        say(&Said::Ready)?;
        match self.told.lock().unwrap_or_else(PoisonError::into_inner).recv() {
            Ok(Told::Go) => {}
            heard => bail!("the bench's process was told {heard:?} in place of Go"),
        }
        if !self.is_crowded()
            && let Some(processor) = self.processors.get(self.part as usize)
            && let Err(error) = pin(*processor)
        {
            say(&Said::Note(format!("{error}; it runs where the scheduler puts it")))?;
        }
        Ok(())
    }
}

/// Who leads says when there is another piece; the others sleep until then, so that a launcher gets a processor also
/// among measurements of real-time priority.
pub(super) struct Turns<'a> {
    memory: &'a Shared,
    baton: FutexWake<'a>,
    between: Between,
    leads: bool,
    /// All that came, each time, of the others.
    arrived: u64,
    others: u64,
    lasts: Duration,
    began: Option<Instant>,
}

/// There is no further piece.
const OVER: u64 = 0;
/// Where those who are to play count themselves.
const ARRIVED: usize = 1024;
/// How many times as long as it should a measurement goes on until a piece counts.
const PATIENCE: u32 = 4;

impl<'a> Turns<'a> {
    /// Bytes of the raw file, all zero.
    pub(super) const LEN: u64 = FutexWake::LEN as u64;
    /// Its name.
    pub(super) const FILE: &'static str = "turns";

    /// To be made before [`Scene::begin`]; `share` is the part of the job's time that these turns have.
    pub(super) fn new(scene: &Scene<'_>, memory: &'a Shared, others: u32, share: f64) -> Turns<'a> {
        Turns {
            memory,
            baton: FutexWake::new(memory),
            between: scene.between(),
            leads: scene.leads(),
            arrived: 0,
            others: others.into(),
            lasts: scene.job.duration.mul_f64(share),
            began: None,
        }
    }

    /// Whether there is another piece, which begins for all sides at the same time. `has_any` tells whether a piece counts
    /// already.
    pub(super) fn next(&mut self, has_any: bool) -> bool {
        if self.leads {
            let goes_on = self.is_time(has_any);
            self.call(if goes_on { 1 } else { OVER });
            goes_on
        } else {
            self.hear().is_some()
        }
    }

    /// Who leads: whether there is time for another piece. There is for the first.
    pub(super) fn is_time(&mut self, has_any: bool) -> bool {
        let Some(began) = self.began else {
            self.began = Some(Instant::now());
            return true;
        };
        let gone = began.elapsed();
        gone < self.lasts || !has_any && gone < self.lasts * PATIENCE
    }

    /// Who leads: says which piece is next, and waits until everybody has heard.
    pub(super) fn call(&mut self, what: u64) {
        self.baton.wake(what);
        if what != OVER {
            self.arrived += self.others;
            while self.memory.word(ARRIVED).load(Ordering::Acquire) < self.arrived {
                self.between.looks();
            }
        }
    }

    /// Who leads: says that there is none.
    pub(super) fn over(&mut self) {
        self.call(OVER);
    }

    /// The others: which piece is next, if there is one.
    pub(super) fn hear(&mut self) -> Option<u64> {
        let what = self.baton.sleep();
        if what == OVER {
            return None;
        }
        self.memory.word(ARRIVED).fetch_add(1, Ordering::Release);
        Some(what)
    }
}
