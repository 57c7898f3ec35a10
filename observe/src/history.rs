//! What follows from several looks at one thing: rates, sparklines, and how long something has been waiting at least.

use laneway::LaneStat;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Looks that are remembered.
const SAMPLES: usize = 120;

/// Looks at a lane that are remembered, to say how old its oldest message is.
const MARKS: usize = 64;

/// What was seen at one look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Messages a second, since the look before.
    pub rates: Rates,
    /// Messages that waited.
    pub waiting: u64,
}

/// Messages a second, from one look to the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Sent.
    pub sent: f64,
    /// Released by the receiver.
    pub received: f64,
}

/// The looks at one queue so far, the latest last.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    last: Option<(Instant, u64, u64)>,
    /// For each lane, when its sender was known to be how far: only where there is something that waits.
    marks: BTreeMap<u32, VecDeque<(Instant, u64)>>,
}

impl History {
    pub(crate) fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.samples.iter()
    }

    /// Adds a look. Counters that went back are those of another queue of the name.
    pub(crate) fn add(&mut self, now: Instant, sent: u64, received: u64, waiting: u64) -> Rates {
        let rates = match self.last {
            Some((then, sent_then, received_then)) => {
                let seconds = now.saturating_duration_since(then).as_secs_f64();
                let rate = |now: u64, then: u64| match now.checked_sub(then) {
                    Some(messages) if seconds > 0.0 => messages as f64 / seconds,
                    _ => 0.0,
                };
                Rates { sent: rate(sent, sent_then), received: rate(received, received_then) }
            }
            None => Rates::default(),
        };
        self.last = Some((now, sent, received));
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { rates, waiting });
        rates
    }

    /// How long the oldest message of any lane has been there, at least: no longer than it has been, and shorter by one look at
    /// most unless it was there before the first.
    pub(crate) fn oldest(&mut self, now: Instant, lanes: &[LaneStat]) -> Option<Duration> {
        self.marks.retain(|lane, _| lanes.iter().any(|stat| stat.lane == *lane));
        let ages = lanes.iter().filter_map(|lane| {
            let marks = self.marks.entry(lane.lane).or_default();
            // Another queue of this name, or a lane that was damaged.
            if marks.back().is_some_and(|(_, position)| *position > lane.write_pos) {
                marks.clear();
            }
            while marks.front().is_some_and(|(_, position)| *position <= lane.read_pos) {
                marks.pop_front();
            }
            if lane.depth_bytes == 0 {
                return None;
            }
            if marks.back().is_none_or(|(_, position)| *position < lane.write_pos) {
                if marks.len() == MARKS {
                    // Every second one: what was there at the later of two was there no longer than we say.
                    let mut keep = false;
                    marks.retain(|_| {
                        keep = !keep;
                        keep
                    });
                }
                marks.push_back((now, lane.write_pos));
            }
            marks.front().map(|(seen, _)| now.saturating_duration_since(*seen))
        });
        ages.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_looks_and_never_of_another_queues_counters() {
        let (mut history, start) = (History::default(), Instant::now());
        assert_eq!(history.add(start, 100, 50, 50), Rates::default());
        let second = start + Duration::from_millis(500);
        assert_eq!(history.add(second, 200, 150, 50), Rates { sent: 200.0, received: 200.0 });
        assert_eq!(history.add(second, 300, 150, 150), Rates::default(), "no time has passed");
        let third = second + Duration::from_secs(1);
        assert_eq!(history.add(third, 10, 150, 0), Rates { sent: 0.0, received: 0.0 }, "it was created again");
        for look in 0..500 {
            history.add(third + Duration::from_secs(look), 10 + look, 150, 0);
        }
        assert_eq!(history.samples().len(), SAMPLES);
    }
}
