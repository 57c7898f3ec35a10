//! One measurement: what it is, what it gives, and which module does it.

use super::ledger::Measured;
use super::scene::Scene;
use super::{crowd, fan_in, idle, limits, overflow, rtt, throughput, wake, watched};
use crate::args::Wait;
use anyhow::Result;
use laneway::{Options, Queue};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// What two or more processes do together. Not every field says something to every kind of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) work: Work,
    /// Bytes of a message.
    pub(super) payload: usize,
    pub(super) wait: Wait,
    pub(super) senders: u32,
    /// Messages a second, of each sender.
    pub(super) rate: u32,
    /// For how long to measure.
    pub(super) duration: Duration,
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    Limits,
    Rtt,
    Throughput,
    Doorbell,
    Wake,
    FanIn,
    FanInPaced,
    Idle,
    Crowd,
    Overflow,
    Watched,
}

/// What a measurement is called, known before it is made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Heading {
    /// As in a file of ratios.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wait: Option<Wait>,
    /// Bytes of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) senders: Option<u32>,
    /// Messages a second, of each sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u32>,
    /// The limit that it stands beside.
    #[serde(skip)]
    pub(super) limit: Option<&'static str>,
    /// Which ratios to that there are.
    #[serde(skip)]
    pub(super) ratios: &'static [&'static str],
}

/// Of what a figure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Ns,
    /// Of one processor's time.
    #[serde(rename = "%")]
    Percent,
}

/// The ratios of a distribution.
pub(super) const OF_DISTRIBUTIONS: &[&str] = &["p50", "p99.9"];
/// The ratio of a figure of many pieces.
pub(super) const OF_PIECES: &[&str] = &["median"];

impl Heading {
    /// Of a figure that says nothing of messages.
    pub(super) fn new(key: impl Into<String>, name: impl Into<String>) -> Heading {
        Heading {
            key: key.into(),
            name: name.into(),
            unit: Unit::Ns,
            wait: None,
            payload: None,
            senders: None,
            rate: None,
            limit: None,
            ratios: &[],
        }
    }

    /// With the limit that it stands beside.
    pub(super) fn beside(self, limit: &'static str, ratios: &'static [&'static str]) -> Heading {
        Heading { limit: Some(limit), ratios, ..self }
    }
}

/// A kind of work, as its module does it.
pub(super) trait Play {
    /// How many processes it takes.
    fn parts(&self, _job: &Job) -> u32 {
        2
    }

    /// How many of them work at the same time, and need a processor each.
    fn busy(&self, job: &Job) -> u32 {
        self.parts(job)
    }

    /// What it measures, in the order in which [`play`](Self::play) gives it.
    fn headings(&self, job: &Job) -> Vec<Heading>;

    /// Makes the files that its processes open.
    fn prepare(&self, job: &Job, at: &Path) -> Result<()>;

    /// One part of it. The leading part, which is 0, gives what was measured.
    fn play(&self, scene: &Scene<'_>) -> Result<Vec<Measured>>;
}

impl Job {
    pub(super) fn player(&self) -> &'static dyn Play {
        match self.work {
            Work::Limits => &limits::Limits,
            Work::Rtt => &rtt::Rtt,
            Work::Throughput => &throughput::Throughput,
            Work::Doorbell => &throughput::Doorbell,
            Work::Wake => &wake::Wake,
            Work::FanIn => &fan_in::FanIn,
            Work::FanInPaced => &fan_in::Paced,
            Work::Idle => &idle::Idle,
            Work::Crowd => &crowd::Crowd,
            Work::Overflow => &overflow::Overflow,
            Work::Watched => &watched::Watched,
        }
    }

    pub(super) fn headings(&self) -> Vec<Heading> {
        self.player().headings(self)
    }

    /// The key of a figure: the words, and how it waits where that is not the usual way.
    pub(super) fn key(&self, words: &str, usual: Wait) -> String {
        if self.wait == usual { words.to_owned() } else { format!("{words}/{}", self.wait) }
    }

    /// Limits of a queue that is good for messages of this length, with a ring that holds several.
    pub(super) fn options(&self) -> Options {
        Queue::options().capacity(ring(self.payload)).overflow_limit(0).max_lanes(1)
    }

    /// How many messages make a piece, when so many bytes do but no more than so many messages. Fewer where there is little
    /// time, for there are to be several pieces.
    pub(super) fn in_piece(&self, bytes: usize, most: usize) -> usize {
        let share = self.duration.as_secs_f64().clamp(0.02, 1.0);
        ((bytes / self.payload).min(most) as f64 * share) as usize + 2
    }
}

/// The ring that messages of so many bytes go through: the usual one if it holds four.
pub(super) fn ring(payload: usize) -> u64 {
    (4 * (payload as u64 + 16)).next_power_of_two().max(256 << 10)
}
