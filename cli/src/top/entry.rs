//! What is shown of a queue or a mailbox: a copy of a row, made by the thread that looks, for the one that draws.

use laneway::Pressure;
use laneway_observe::{Detail, Figures, Key, Presence, Rates, Row, Sample};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What was seen at one look.
#[derive(Debug)]
pub(super) struct Shot {
    /// When.
    pub(super) at: Instant,
    pub(super) entries: Vec<Entry>,
    /// Directories that could not be listed.
    pub(super) problems: Vec<String>,
    /// A closer look at the one that is open.
    pub(super) detail: Option<(Key, Result<Detail, String>)>,
    /// Where was looked.
    pub(super) places: [PathBuf; 2],
}

/// A queue or a mailbox.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) path: PathBuf,
    pub(super) presence: Presence,
    pub(super) figures: Option<Figures>,
    /// Over the last few looks, so that numbers stand still for long enough to be read.
    pub(super) rates: Rates,
    /// The latest last.
    pub(super) samples: Vec<Sample>,
}

/// How much somebody should care, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// It cannot be looked at, or a lane of it was retired.
    Broken,
    /// Its receiver does not keep up, or there is mail and nobody who takes it.
    Behind,
    /// Messages come, go or wait.
    Working,
    /// Nothing happens.
    Idle,
    /// It is there no more.
    Gone,
}

/// Looks that are kept for a sparkline.
pub(super) const SAMPLES: usize = 60;
/// Looks over which rates are taken.
const SMOOTH: usize = 4;

impl Entry {
    pub(super) fn of(row: &Row) -> Entry {
        let samples = row.samples();
        let samples: Vec<Sample> = samples.skip(row.samples().len().saturating_sub(SAMPLES)).copied().collect();
        // The first one has no look before it.
        let last: Vec<Rates> = samples
            .iter()
            .rev()
            .take(SMOOTH.min(row.samples().len().saturating_sub(1)))
            .map(|sample| sample.rates)
            .collect();
        let mean = |of: fn(&Rates) -> f64| last.iter().map(of).sum::<f64>() / last.len().max(1) as f64;
        let rates = match row.is_here() {
            true => Rates { sent: mean(|rates| rates.sent), received: mean(|rates| rates.received) },
            false => Rates::default(),
        };
        let (presence, figures) = (row.presence.clone(), row.figures.clone());
        Entry { key: row.key(), path: row.path.clone(), presence, figures, rates, samples }
    }

    pub(super) fn mood(&self) -> Mood {
        let figures = match (&self.presence, &self.figures) {
            (Presence::Gone(_), _) => return Mood::Gone,
            (Presence::Here, Some(figures)) => figures,
            _ => return Mood::Broken,
        };
        let is_unserved = figures.waiting > 0 && !figures.queue.receiver_alive;
        if figures.poisoned > 0 {
            Mood::Broken
        } else if is_unserved || figures.pressure() == Pressure::High {
            Mood::Behind
        } else if figures.waiting > 0 || self.rates != Rates::default() {
            Mood::Working
        } else {
            Mood::Idle
        }
    }

    /// What its receiver does, or what is wrong: a sign that says it without colour, and a word.
    pub(super) fn state(&self) -> &'static str {
        let figures = match (&self.presence, &self.figures) {
            (Presence::Gone(_), _) => return "· gone",
            (Presence::Here, Some(figures)) => figures,
            _ => return "✗ broken",
        };
        match (figures.poisoned > 0, figures.queue.receiver_alive, figures.queue.receiver_sleeps) {
            (true, ..) => "✗ harmed",
            (_, false, _) => "○ nobody",
            (_, _, true) => "● ready",
            (..) => "● busy",
        }
    }

    /// What is seen of it now; none of what is not there, or cannot be looked at.
    pub(super) fn current(&self) -> Option<&Figures> {
        self.figures.as_ref().filter(|_| self.presence == Presence::Here)
    }

    /// The sentence that says why it cannot be looked at.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.presence {
            Presence::Unreadable(why) => Some(why),
            _ => None,
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        self.current().map_or(0, |figures| figures.waiting)
    }

    pub(super) fn oldest(&self) -> Option<Duration> {
        self.current()?.oldest
    }

    /// The senders that have a name, each with whether one of its lanes is held, in the order of their lanes.
    pub(super) fn names(&self) -> Vec<(&str, bool)> {
        let mut names: Vec<(&str, bool)> = Vec::new();
        for flow in self.figures.iter().flat_map(|figures| &figures.flows) {
            let Some(from) = flow.from.as_deref() else { continue };
            match names.iter_mut().find(|(name, _)| *name == from) {
                Some((_, alive)) => *alive |= flow.alive,
                None => names.push((from, flow.alive)),
            }
        }
        names
    }
}
