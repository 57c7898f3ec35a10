//! Tasks, and what teams say when they have done one: JSON.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Something to answer.
    Tell,
    /// Something to do.
    Command,
    /// Sleep, when there is nothing to do.
    Sleep,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Task {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) from_team: Option<String>,
    pub(crate) to_team: String,
    pub(crate) content: String,
    pub(crate) args: Option<String>,
}

impl Task {
    pub(crate) fn new(kind: Kind, to_team: &str, content: impl Into<String>) -> Task {
        Task { kind, from_team: None, to_team: to_team.to_owned(), content: content.into(), args: None }
    }
}

/// A task that was worked on, to the end or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) team: String,
    pub(crate) content: String,
    pub(crate) attempt: u32,
    pub(crate) success: bool,
    /// `CLOCK_MONOTONIC`.
    pub(crate) begun_ns: u64,
    pub(crate) ended_ns: u64,
}
