//! A figure beside its limit, and the report of all of them.

use super::job::{Heading, Unit};
use super::ledger::{Measured, Values};
use laneway_measure::{Distribution, Machine, Percentiles, Summary};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// One thing that was measured, and how far from its limit it is: ratios are of times, so that 1 is the limit.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    #[serde(flatten)]
    pub(super) heading: Heading,
    /// Pieces that count, and those that do not because the machine changed in their middle.
    pub(super) pieces: usize,
    pub(super) thrown: usize,
    #[serde(flatten)]
    pub(super) shown: Shown,
    /// Messages, if it is about streaming them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_per_second: Option<f64>,
    pub(super) limit: Option<Limit>,
    pub(super) ratios: BTreeMap<String, Summary>,
    #[serde(skip)]
    values: Values,
    #[serde(skip)]
    limit_values: Option<Values>,
}

/// What a figure stands beside.
#[derive(Debug, Serialize)]
pub(super) struct Limit {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) shown: Shown,
}

/// Values, as a reader wants them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shown {
    /// Of durations.
    Percentiles(Percentiles),
    /// Of the means of pieces.
    Summary(Option<Summary>),
}

impl Shown {
    fn new(values: &Values) -> Shown {
        match values {
            Values::Distribution(distribution) => Shown::Percentiles(distribution.percentiles()),
            Values::Pieces(pieces) => Shown::Summary(Summary::of(pieces)),
        }
    }
}

impl Figure {
    pub(super) fn new(heading: Heading, measured: Measured) -> Figure {
        let Measured { pieces, thrown, values, limit, ratios, .. } = measured;
        let shown = Shown::new(&values);
        let per_second = match &shown {
            Shown::Summary(Some(summary)) if heading.unit == Unit::Ns => Some(1e9 / summary.median),
            _ => None,
        };
        let bytes_per_second = per_second.zip(heading.payload).map(|(messages, payload)| messages * payload as f64);
        let beside = heading.limit.zip(limit.as_ref());
        Figure {
            pieces,
            thrown,
            per_second,
            bytes_per_second,
            limit: beside.map(|(name, values)| Limit { name, shown: Shown::new(values) }),
            ratios: ratios.into_iter().filter_map(|(name, ratios)| Some((name, Summary::of(&ratios)?))).collect(),
            heading,
            shown,
            values,
            limit_values: limit,
        }
    }

    /// The distributions that it consists of, by name.
    pub(super) fn distributions(&self) -> Vec<(String, &Distribution)> {
        let limit_key = format!("{}/limit", self.heading.key);
        [(self.heading.key.clone(), Some(&self.values)), (limit_key, self.limit_values.as_ref())]
            .into_iter()
            .filter_map(|(key, values)| match values {
                Some(Values::Distribution(distribution)) => Some((key, distribution)),
                _ => None,
            })
            .collect()
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) date: String,
    /// As it was given.
    pub(super) command: String,
    pub(super) version: &'static str,
    /// What a reader has to know besides.
    pub(super) notes: Vec<String>,
    pub(super) figures: Vec<Figure>,
    /// What was asked of the ratios, and whether it is so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) checks: Vec<super::check::Verdict>,
}

impl Report {
    /// An empty one, of now.
    pub(super) fn new(machine: Machine) -> Report {
        let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Report {
            machine,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: ["laneway".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" "),
            version: env!("CARGO_PKG_VERSION"),
            notes: Vec::new(),
            figures: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Says something once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
