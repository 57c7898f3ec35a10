//! What the two say to each other: JSON.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::error::Error;

/// To the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Something to do.
    Prompt(Prompt),
    /// Something to mind while doing it.
    Steer { text: String },
    /// Stop what you are doing.
    Cancel,
    /// There is no more to do.
    Close,
    /// Receive so many messages of eight bytes, which say when they were sent, from this mailbox.
    Measure { mailbox: String, messages: u64, park: bool },
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// How many steps it takes at least.
    pub(crate) steps: u32,
    /// How many things it must be told before it can be finished.
    pub(crate) needs: usize,
    /// The step in which the first attempt fails.
    pub(crate) fails_in: Option<u32>,
}

/// To the user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Partial {
    /// A step has been done.
    Step {
        prompt: String,
        step: u32,
        /// When it was begun, `CLOCK_MONOTONIC`.
        begun_ns: u64,
        /// What was minded.
        steered: Vec<String>,
    },
    /// Nothing more comes.
    End { prompt: String, cancelled: bool, attempt: u32 },
    /// What was measured: how long each message took, and how busy the agent was.
    Measured { took: laneway_measure::Distribution, span_ns: u64, cpu_ns: u64 },
}

pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has a form in JSON")
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<dyn Error>> {
    Ok(serde_json::from_slice(bytes)?)
}
