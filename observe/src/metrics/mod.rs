//! What there is to be seen, as metrics: for Prometheus, and for whatever else reads its text or that of OpenMetrics.
//!
//! Nothing is registered where queues are used: the counters lie in their files, where they survive restarts of everybody, and are
//! read when somebody asks. Names follow the conventions of Prometheus: base units, `_total` behind what only grows, `laneway_`
//! before everything. The labels are `kind` (`queue` or `mailbox`) and `name`; those of lanes come when they are asked for.

mod families;
mod seen;
mod text;

pub use text::Format;

use crate::picture::Picture;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use seen::Seen;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The metrics of all queues and mailboxes under two directories. As a [`Collector`] it adds them to a registry of one's own.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use laneway_observe::{Format, Metrics};
///
/// laneway::Queue::create(dir.path().join("queues/steps"))?.sender()?.send(b"one")?;
/// let metrics = Metrics::new(dir.path().join("queues"), dir.path().join("post"));
/// let text = metrics.text(Format::Prometheus);
/// assert!(text.contains("laneway_messages_sent_total{kind=\"queue\",name=\"steps\"} 1\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Metrics {
    /// Looking needs it whole; whoever asks at the same time waits for some milliseconds.
    picture: Mutex<Picture>,
    lanes: bool,
}

impl Metrics {
    /// Of the queues in one directory and the mailboxes in another. Neither need exist yet.
    pub fn new(queues: impl AsRef<Path>, post: impl AsRef<Path>) -> Metrics {
        Metrics { picture: Mutex::new(Picture::new(queues.as_ref(), post)), lanes: false }
    }

    /// Whether there is also a series for each lane: with 64 lanes to a queue these are many.
    pub fn lanes(self, lanes: bool) -> Metrics {
        Metrics { lanes, ..self }
    }

    /// Looks at everything, and writes down what there is.
    pub fn text(&self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.look()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes any text");
        format.of_openmetrics(text)
    }

    /// Looks at everything.
    fn look(&self) -> Seen {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        Seen::of(&mut picture, self.lanes)
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.look().encode(encoder)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}
