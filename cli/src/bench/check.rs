//! What a file asks of the ratios.

use super::figure::Report;
use super::job::Heading;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What is asked of each ratio, by its key.
pub(super) struct Bars(BTreeMap<String, Bar>);

/// What is asked of one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bar {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
}

/// Whether it is so.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    key: String,
    ratio: f64,
    #[serde(flatten)]
    bar: Bar,
    is_met: bool,
}

impl Bars {
    /// Reads a file, before anything is measured: each of its keys has to be one of what will be.
    pub(super) fn read(path: &Path, headings: &[Heading]) -> Result<Bars> {
        let reading = || format!("cannot read the ratios of {path:?}");
        let text = std::fs::read_to_string(path).with_context(reading)?;
        // Its errors are pictures of the text, over several lines; the sentence and the line's number will do.
        let bars: BTreeMap<String, Bar> = toml::from_str(&text)
            .map_err(|error| {
                let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
                anyhow::anyhow!("line {line}: {}", error.message().replace('\n', ", "))
            })
            .with_context(reading)?;
        if bars.is_empty() {
            bail!("{}: it asks nothing", reading());
        }
        for (key, bar) in &bars {
            let is_known = key.rsplit_once('/').is_some_and(|(figure, ratio)| {
                headings.iter().any(|heading| heading.key == figure && heading.ratios.contains(&ratio))
            });
            if !is_known {
                bail!("{}: {key:?} is no ratio of this run", reading());
            }
            let numbers = [bar.at_most, bar.at_least];
            if numbers == [None, None] || numbers.iter().flatten().any(|number| !number.is_finite()) {
                bail!("{}: {key:?} needs `at_most` or `at_least`, with a number", reading());
            }
        }
        Ok(Bars(bars))
    }

    /// Holds a report against them.
    pub(super) fn judge(&self, report: &Report) -> Result<Vec<Verdict>> {
        self.0
            .iter()
            .map(|(key, bar)| {
                let ratio = key.rsplit_once('/').and_then(|(figure, ratio)| {
                    let figure = report.figures.iter().find(|found| found.heading.key == figure)?;
                    Some(figure.ratios.get(ratio)?.median)
                });
                let ratio = ratio.with_context(|| format!("the ratio {key:?} was not measured"))?;
                Ok(Verdict { key: key.clone(), ratio, bar: *bar, is_met: bar.is_met(ratio) })
            })
            .collect()
    }
}

impl Bar {
    fn is_met(self, ratio: f64) -> bool {
        self.at_most.is_none_or(|most| ratio <= most) && self.at_least.is_none_or(|least| ratio >= least)
    }
}

impl Verdict {
    pub(super) fn is_met(&self) -> bool {
        self.is_met
    }

    /// What is wrong.
    pub(super) fn sentence(&self) -> String {
        let Verdict { key, ratio, bar, .. } = self;
        let asked =
            [bar.at_most.map(|most| format!("at most {most}")), bar.at_least.map(|least| format!("at least {least}"))];
        let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        format!("the ratio {key} is {ratio:.3}, and has to be {asked}")
    }
}
