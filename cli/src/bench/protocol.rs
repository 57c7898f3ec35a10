//! What the bench's launcher and its processes say to each other.

use super::job::Job;
use super::ledger::Measured;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A process of the bench, by its part in every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who(pub(super) u32);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bench's process {}", self.0)
    }
}

/// From the launcher to a process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// Open everything that this job needs, and say so.
    Play {
        job: Job,
        /// The job's directory, under that of the bench.
        directory: String,
    },
    /// Begin: everybody has opened everything.
    Go,
}

/// From a process to the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// Everything is open.
    Ready,
    /// Something that the report should say.
    Note(String),
    /// The part is played; what was measured, from the one that leads.
    Done(Vec<Measured>),
    /// It cannot be played.
    Failed(String),
}
