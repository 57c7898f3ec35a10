//! The one who directs the bench's processes, and measures nothing itself.

use super::figure::{Figure, Report};
use super::job::Job;
use super::ledger::Measured;
use super::protocol::{Said, Told, Who};
use crate::progress::Progress;
use crate::team::{Event, Team};
use crate::temporary::Temporary;
use anyhow::{Context, Result, bail};
use laneway_measure::{Machine, processors};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{IsTerminal, stderr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a job may take besides the time that it measures for.
const STALLED: Duration = Duration::from_secs(120);
/// It may measure for so many times as long as it should.
const PATIENCE: u32 = 10;
/// Between two looks at the clock, for the progress bar. Each takes a processor away from what is measured.
const TICK: Duration = Duration::from_millis(500);

/// Measures everything. Whatever happens, no process and no file of it is left when this returns.
pub(super) fn launch(jobs: &[Job]) -> Result<Report> {
    let mut stage = Stage::set(jobs)?;
    let mut report = Report::new(Machine::this());
    if stage.processors == 1 {
        report.note("there is one processor, which all share: the figures are those of its scheduler".to_owned());
    }
    for (number, job) in jobs.iter().enumerate() {
        let headings = job.headings();
        let busy = job.player().busy(job) as usize;
        if busy > stage.processors && stage.processors > 1 {
            let keys = headings.iter().map(|heading| heading.key.as_str()).collect::<Vec<_>>().join(", ");
            report.note(format!(
                "{keys}: oversubscribed, {busy} processes share {} processors, and none is pinned",
                stage.processors
            ));
        }
        let measured = stage.play(job, number)?;
        if measured.len() != headings.len() {
            bail!("the bench's process 0 measured {} figures in place of {}", measured.len(), headings.len());
        }
        stage.notes.drain(..).for_each(|note| report.note(note));
        for (heading, measured) in headings.into_iter().zip(measured) {
            if measured.is_mixed {
                report.note(format!(
                    "{}: the machine changed in the middle of all {} pieces, so that they count although they are of two regimes",
                    heading.key, measured.pieces
                ));
            }
            report.figures.push(Figure::new(heading, measured));
        }
    }
    Ok(report)
}

/// Removes a bench's directory with everything in it.
pub(super) fn clear(directory: &Path) {
    // What cannot be removed is of no use to anybody, and nobody is left to be told.
    let _ = fs::remove_dir_all(directory);
}

/// Everything that has to be cleared away at the end: first the processes, then the files.
struct Stage {
    team: Team<Who, Said>,
    started: u32,
    directory: Temporary,
    events: mpsc::Receiver<Event<Who, Said>>,
    processors: usize,
    notes: Vec<String>,
    progress: Progress,
    /// What of the bar is done.
    done: Duration,
}

impl Stage {
    fn set(jobs: &[Job]) -> Result<Stage> {
        let (tell, events) = mpsc::channel();
        let interrupt = tell.clone();
        ctrlc::set_handler(move || drop(interrupt.send(Event::Interrupted))).context("cannot watch for Ctrl-C")?;
        let directory = Temporary::new("bench", clear)?;
        let path = directory.path();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot create {path:?}"))?;
        let total: Duration = jobs.iter().map(|job| job.duration).sum();
        Ok(Stage {
            team: Team::new("bench-process", tell),
            started: 0,
            directory,
            events,
            processors: processors().len(),
            notes: Vec::new(),
            progress: Progress::of(total.as_millis() as u64, "measuring").of_time().at_once(),
            done: Duration::ZERO,
        })
    }

    /// One job, from its files to its figures.
    fn play(&mut self, job: &Job, number: usize) -> Result<Vec<Measured>> {
        let name = format!("job-{number}");
        let at = self.directory.path().join(&name);
        fs::create_dir(&at).with_context(|| format!("cannot create {at:?}"))?;
        job.player().prepare(job, &at)?;
        let parts: BTreeSet<Who> = (0..job.player().parts(job)).map(Who).collect();
        for who in parts.iter().skip(self.started as usize) {
            let words = [self.directory.path().into(), "--part".into(), who.0.to_string().into()];
            self.team.start(*who, words.into())?;
            self.started += 1;
        }
        let what = job.headings().first().map_or_else(String::new, |heading| heading.key.clone());
        self.progress.doing(what.clone());

        let mut waits = Waits { what, began: Instant::now(), limit: job.duration * PATIENCE + STALLED };
        let order = Told::Play { job: job.clone(), directory: name };
        parts.iter().try_for_each(|who| self.team.tell(*who, &order))?;
        self.all(&parts, &waits, |said| matches!(said, Said::Ready).then(Vec::new))?;
        parts.iter().try_for_each(|who| self.team.tell(*who, &Told::Go))?;
        waits.began = Instant::now();
        let measured = self.all(&parts, &waits, |said| match said {
            Said::Done(measured) => Some(measured),
            _ => None,
        })?;
        self.done += job.duration;
        self.progress.at(self.done.as_millis() as u64);
        clear(&at);
        Ok(measured)
    }

    /// Listens until all of them have said what is waited for, and gives everything that they gave.
    fn all(
        &mut self,
        parts: &BTreeSet<Who>,
        waits: &Waits,
        mut answer: impl FnMut(Said) -> Option<Vec<Measured>>,
    ) -> Result<Vec<Measured>> {
        let (mut left, mut given) = (parts.clone(), Vec::new());
        let is_watched = stderr().is_terminal();
        while !left.is_empty() {
            let rest = waits.limit.saturating_sub(waits.began.elapsed());
            match self.events.recv_timeout(if is_watched { rest.min(TICK) } else { rest }) {
                Ok(Event::Said(_, Said::Note(note))) => self.notes.push(note),
                Ok(Event::Said(who, Said::Failed(why))) => bail!("{who} cannot measure {}: {why}", waits.what),
                Ok(Event::Said(who, said)) => match answer(said) {
                    Some(measured) => {
                        left.remove(&who);
                        given.extend(measured);
                    }
                    None => bail!("{who} makes no sense"),
                },
                Ok(Event::Ended(who)) => {
                    self.team.end(who)?;
                    bail!("{who} ended while {} was measured", waits.what);
                }
                Ok(Event::Interrupted) => bail!("interrupted; the bench's processes and its queues are gone"),
                Err(RecvTimeoutError::Timeout) if waits.began.elapsed() < waits.limit => {
                    let now = self.done + waits.began.elapsed();
                    self.progress.at(now.as_millis() as u64);
                }
                Err(_) => bail!("the bench stands still: {} is not measured after {:?}", waits.what, waits.limit),
            }
        }
        Ok(given)
    }
}

/// For what the launcher waits, and since when.
struct Waits {
    what: String,
    began: Instant,
    limit: Duration,
}
