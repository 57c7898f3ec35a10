//! What is counted about a mailbox: by its receiver, in the ledger, where it survives both; and read by anyone.

use super::clock;
use super::handle::Mailbox;
use super::histogram::{self, Histogram};
use crate::error::Error;
use crate::layout::ledger::{COUNTER_COUNT, COUNTERS, HISTOGRAM, HISTOGRAM_CLASSES};
use crate::region::{Own, Peer, Region};
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What the counters count. Never renumbered: other processes read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Count {
    /// Messages handed out, each time.
    HandedOut = 0,
    Acked = 1,
    /// Refused, and malformed.
    Failed = 2,
    Expired = 3,
    Cancelled = 4,
    Superseded = 5,
    Duplicate = 6,
    Rolled = 7,
    DeadLettered = 8,
    /// Given back for another attempt.
    Retried = 9,
    /// Handed out again because whoever had them died.
    Redelivered = 10,
    Malformed = 11,
    /// Messages kept for later, now.
    Kept = 12,
    /// Messages handed out and not settled, now.
    Taken = 13,
    /// The most messages that were seen waiting.
    HighWater = 14,
    /// When the first one was handed out.
    FirstAt = 15,
    /// When the last one was.
    LastAt = 16,
    /// Nanoseconds from sending, or from when they were due, to the first handing out: of all messages together.
    DelaySum = 17,
}

const _: () = assert!((Count::DelaySum as usize) < COUNTER_COUNT);

/// The counters of whoever serves.
pub(super) struct Counters {
    words: Vec<Own<AtomicU64>>,
    histogram: Vec<Own<AtomicU64>>,
}

impl Counters {
    pub(super) fn new(ledger: &Arc<Region>) -> Counters {
        let words = |from, count| (0..count).map(|at| ledger.own(from + 8 * at)).collect();
        Counters { words: words(COUNTERS, COUNTER_COUNT), histogram: words(HISTOGRAM, HISTOGRAM_CLASSES) }
    }

    #[inline]
    pub(super) fn add(&self, count: Count) {
        increase(&self.words[count as usize], 1);
    }

    pub(super) fn set(&self, count: Count, value: u64) {
        // ORDERING(hint): a counter of this process alone.
        self.words[count as usize].store(value, Ordering::Relaxed);
    }

    pub(super) fn raise(&self, count: Count, value: u64) {
        // ORDERING(hint): as above.
        if value > self.words[count as usize].load(Ordering::Relaxed) {
            self.set(count, value);
        }
    }

    /// Counts a message that was handed out for the first time, so long after it was sent or was due.
    #[inline]
    pub(super) fn add_delay(&self, delay: Duration, now: u64) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        increase(&self.histogram[histogram::class(nanos)], 1);
        increase(&self.words[Count::DelaySum as usize], nanos);
        // ORDERING(hint): as above.
        if self.words[Count::FirstAt as usize].load(Ordering::Relaxed) == 0 {
            self.set(Count::FirstAt, now);
        }
        self.set(Count::LastAt, now);
    }
}

fn increase(word: &AtomicU64, by: u64) {
    // ORDERING(hint): a counter of this process alone.
    word.store(word.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// What was counted about a mailbox since it was created, and what waits now.
///
/// Each number was true when it was read; they were not all read at one instant.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that wait to be taken, now and later.
    pub pending: u64,
    /// Those among them that are kept for later: sent for later, or to be tried again.
    pub kept: u64,
    /// Messages that are taken.
    pub taken: u64,
    /// Messages that were handed out; one that was handed out three times counts three times.
    pub handed_out: u64,
    /// Messages acked.
    pub processed: u64,
    /// Messages that their receiver refused, or whose envelopes broke the rules.
    pub failed: u64,
    /// Messages that nobody took in time.
    pub expired: u64,
    /// Messages taken back by their senders.
    pub cancelled: u64,
    /// Messages whose place another one took.
    pub superseded: u64,
    /// Those among them that came a second time.
    pub duplicates: u64,
    /// Those among them that were the oldest when too many were waiting.
    pub rolled: u64,
    /// Messages that became dead letters.
    pub dead_lettered: u64,
    /// Times that a message was given back for another attempt.
    pub retried: u64,
    /// Times that a message was handed out again because whoever had it died.
    pub redelivered: u64,
    /// Messages whose envelopes broke the rules.
    pub malformed: u64,
    /// Messages that their senders dropped for want of room.
    pub dropped: u64,
    /// Messages that were refused because too many were waiting, as their senders say.
    pub refused: u64,
    /// Times that a sender found its ring full.
    pub full_events: u64,
    /// The most messages that the receiver saw waiting when it counted them: every 64 messages, and at the first one after a millisecond.
    pub high_water: u64,
    /// From sending to the first handing out, for messages sent for later from when they were due.
    pub delivery: Histogram,
    /// Half of the messages took at most so long to be handed out. None when there were none. Within a quarter.
    pub delivery_p50: Option<Duration>,
    /// 95 of 100 messages took at most so long.
    pub delivery_p95: Option<Duration>,
    /// 99 of 100 messages took at most so long.
    pub delivery_p99: Option<Duration>,
    /// Messages handed out for the first time, a second, from the first to the last.
    pub rate: f64,
    /// How long ago the last message was handed out.
    pub idle: Option<Duration>,
    /// Whether somebody serves the mailbox.
    pub awake: bool,
}

pub(super) fn kept(ledger: &Arc<Region>) -> u64 {
    read_word(ledger, COUNTERS + 8 * Count::Kept as usize)
}

fn read_word(ledger: &Arc<Region>, at: usize) -> u64 {
    let word: Peer<AtomicU64> = ledger.peer(at);
    word.load()
}

pub(super) fn read(mailbox: &mut Mailbox) -> Result<Stats, Error> {
    mailbox.observer.refresh()?;
    let waiting = mailbox.observer.depth_messages();
    let (dropped, full_events) = mailbox.observer.lost();
    let ledger = &mailbox.memory;
    let count = |count: Count| read_word(ledger, COUNTERS + 8 * count as usize);
    let classes: Vec<u64> = (0..HISTOGRAM_CLASSES).map(|at| read_word(ledger, HISTOGRAM + 8 * at)).collect();
    let delivery = Histogram::new(classes, Duration::from_nanos(count(Count::DelaySum)));
    let (first, last) = (count(Count::FirstAt), count(Count::LastAt));
    let span = clock::between(first, last).as_secs_f64();
    let (kept, taken) = (count(Count::Kept), count(Count::Taken));
    Ok(Stats {
        // What is taken from a lane is not released yet; what is kept has left its lane.
        pending: waiting.saturating_add(kept).saturating_sub(taken),
        kept,
        taken,
        handed_out: count(Count::HandedOut),
        processed: count(Count::Acked),
        failed: count(Count::Failed),
        expired: count(Count::Expired),
        cancelled: count(Count::Cancelled),
        superseded: count(Count::Superseded),
        duplicates: count(Count::Duplicate),
        rolled: count(Count::Rolled),
        dead_lettered: count(Count::DeadLettered),
        retried: count(Count::Retried),
        redelivered: count(Count::Redelivered),
        malformed: count(Count::Malformed),
        dropped,
        refused: mailbox.ledger.refused(),
        full_events,
        high_water: count(Count::HighWater),
        delivery_p50: delivery.percentile(50),
        delivery_p95: delivery.percentile(95),
        delivery_p99: delivery.percentile(99),
        rate: if span > 0.0 { delivery.count().saturating_sub(1) as f64 / span } else { 0.0 },
        delivery,
        idle: (last > 0).then(|| clock::between(last, mailbox.clock.now())),
        awake: mailbox.is_awake()?,
    })
}
