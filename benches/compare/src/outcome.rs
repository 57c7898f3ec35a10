//! What a piece found.

use laneway_measure::Distribution;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The figures of one piece, and the probes around it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// By name: `ns` (a message, or an item), `p50`, `p99`, `p99.9` (nanoseconds).
    pub(crate) figures: BTreeMap<String, f64>,
    /// The upper end of each bucket, nanoseconds, and how many are in it; empty where only the whole was timed.
    pub(crate) buckets: Vec<(u64, u64)>,
    /// The raw round trips around it, nanoseconds.
    pub(crate) probes: Vec<f64>,
}

impl Piece {
    /// Of something that was timed as a whole.
    pub(crate) fn whole(ns: f64, probes: Vec<f64>) -> Piece {
        Piece { figures: BTreeMap::from([("ns".to_owned(), ns)]), buckets: Vec::new(), probes }
    }

    /// Of something of which each was timed.
    pub(crate) fn each(times: &Distribution, probes: Vec<f64>) -> Piece {
        let found = times.percentiles();
        let figures = [("p50", found.p50_ns), ("p99", found.p99_ns), ("p99.9", found.p999_ns)];
        Piece {
            figures: figures.into_iter().map(|(name, ns)| (name.to_owned(), ns as f64)).collect(),
            buckets: times.buckets().collect(),
            probes,
        }
    }
}

/// How a piece ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It has figures.
    Done(Piece),
    /// It has none, and why.
    Failed(String),
}
