//! What was seen at one look, written down metric by metric: the format wants all series of a metric together.

use super::families::{Family, OF_ALL, OF_LANES, OF_MAILBOXES, READABLE, Read};
use crate::figures::Figures;
use crate::picture::{Key, Kind, Picture, Presence};
use laneway::LaneStat;
use laneway::mailbox::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::fmt::Error;
use std::time::{Duration, Instant};

/// One look, of which nothing is borrowed.
#[derive(Debug)]
pub(super) struct Seen {
    /// What can be looked at has figures.
    rows: Vec<(Labels, Option<Figures>)>,
    lanes: Vec<(Labels, LaneStat)>,
    unlisted: usize,
    took: Duration,
}

/// The labels of a series.
#[derive(Debug, Clone)]
struct Labels {
    kind: &'static str,
    name: String,
    lane: Option<u32>,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let Labels { kind, name, lane } = self;
        [("kind", *kind), ("name", name.as_str())].encode(encoder)?;
        lane.map_or(Ok(()), |lane| [("lane", lane)].encode(encoder))
    }
}

impl Seen {
    /// Looks at everything.
    pub(super) fn of(picture: &mut Picture, with_lanes: bool) -> Seen {
        let began = Instant::now();
        picture.look();
        let here = picture.rows().filter(|row| !matches!(row.presence, Presence::Gone(_)));
        let labels = |kind: Kind, name: &str| Labels { kind: kind.word(), name: name.to_owned(), lane: None };
        let rows: Vec<_> = here
            .map(|row| (row.key(), labels(row.kind, &row.name), row.figures.clone().filter(|_| row.is_here())))
            .collect();
        let mut lanes = Vec::new();
        if with_lanes {
            for (key, labels, _) in &rows {
                lanes.extend(lanes_of(picture, key).into_iter().map(|lane| {
                    let labels = Labels { lane: Some(lane.lane), ..labels.clone() };
                    (labels, lane)
                }));
            }
        }
        let rows = rows.into_iter().map(|(_, labels, figures)| (labels, figures)).collect();
        Seen { rows, lanes, unlisted: picture.problems().len(), took: began.elapsed() }
    }
}

fn lanes_of(picture: &mut Picture, key: &Key) -> Vec<LaneStat> {
    // One that went away since it was looked at has none.
    picture.detail(key, 0, 0).and_then(Result::ok).map_or(Vec::new(), |detail| detail.lanes)
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        write(encoder, &READABLE, self.rows.iter().map(|(labels, figures)| (labels, figures)))?;
        let all = || self.rows.iter().filter_map(|(labels, figures)| Some((labels, figures.as_ref()?)));
        let mailboxes = || all().filter_map(|(labels, figures)| Some((labels, figures.mail.as_ref()?)));
        OF_ALL.iter().try_for_each(|family| write(encoder, family, all()))?;
        OF_MAILBOXES.iter().try_for_each(|family| write(encoder, family, mailboxes()))?;
        write_delivery(encoder, mailboxes().map(|(labels, mail)| (labels, &mail.delivery)))?;
        let lanes = || self.lanes.iter().map(|(labels, lane)| (labels, lane));
        OF_LANES.iter().try_for_each(|family| write(encoder, family, lanes()))?;
        let help = "Directories that could not be listed.";
        let mut unlisted = encoder.encode_descriptor("laneway_unlisted_directories", help, None, MetricType::Gauge)?;
        unlisted.encode_gauge(&(self.unlisted as u64))?;
        let (help, unit) = ("How long it took to look at everything.", Unit::Seconds);
        let mut took = encoder.encode_descriptor("laneway_look", help, Some(&unit), MetricType::Gauge)?;
        took.encode_gauge(&self.took.as_secs_f64())?;
        let mut build = encoder.encode_descriptor("laneway_build", "What looked.", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

/// A metric, of all that have it. One that nobody has is left out: not every reader takes a metric without series.
fn write<'a, T: 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family<T>,
    all: impl Iterator<Item = (&'a Labels, &'a T)>,
) -> Result<(), Error> {
    let mut all = all.filter(|(_, from)| family.is_there(from)).peekable();
    if all.peek().is_none() {
        return Ok(());
    }
    let unit = family.unit();
    let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), family.kind())?;
    for (labels, from) in all {
        let mut series = metric.encode_family(labels)?;
        match family.read {
            Read::Total(read) => series.encode_counter::<NoLabelSet, _, u64>(&read(from), None)?,
            Read::Now(read) | Read::Bytes(read) => series.encode_gauge(&read(from))?,
            Read::Seconds(read) => series.encode_gauge(&read(from).unwrap_or_default().as_secs_f64())?,
        }
    }
    Ok(())
}

/// The bounds of the histogram's buckets, as powers of two of nanoseconds: from a microsecond to five hours, each four times the last.
/// Of these it is known exactly how many messages took less.
const BOUNDS: std::ops::RangeInclusive<u32> = 10..=44;

fn write_delivery<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    all: impl Iterator<Item = (&'a Labels, &'a Histogram)>,
) -> Result<(), Error> {
    let mut all = all.peekable();
    if all.peek().is_none() {
        return Ok(());
    }
    let help = "Time from sending a message, or from when it was due, to its first handing out.";
    let (name, unit) = ("laneway_mailbox_delivery", Unit::Seconds);
    let mut metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
    for (labels, histogram) in all {
        let mut before = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for power in BOUNDS.step_by(2) {
            let bound = Duration::from_nanos(1 << power);
            let below = histogram.below(bound);
            buckets.push((bound.as_secs_f64(), below - before));
            before = below;
        }
        // What is counted meanwhile is in neither, or in both.
        let count = histogram.count();
        buckets.push((f64::INFINITY, count - before));
        let mut series = metric.encode_family(labels)?;
        series.encode_histogram::<NoLabelSet>(histogram.sum().as_secs_f64(), count, &buckets, None)?;
    }
    Ok(())
}
