//! What a look shows, as JSON; by the names that `stat` gives them.

use crate::units::nanos;
use laneway::mailbox::Stats;
use laneway_observe::Figures;
use serde::Serialize;

/// Times in nanoseconds.
#[derive(Serialize)]
pub(crate) struct FiguresJson {
    waiting: u64,
    oldest_ns: Option<u64>,
    sent: u64,
    received: u64,
    delivery_p50_ns: Option<u64>,
    delivery_p99_ns: Option<u64>,
    pressure: String,
    fill: f64,
    receiver_alive: bool,
    receiver_sleeps: bool,
    receiver_attaches: u64,
    senders: usize,
    lanes: usize,
    poisoned: usize,
    dropped: u64,
    full_events: u64,
    reserved_bytes: u64,
    limit_bytes: u64,
    /// Of a mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailJson>,
}

/// What changes only when something happens.
#[derive(Serialize)]
struct MailJson {
    pending: u64,
    kept: u64,
    taken: u64,
    processed: u64,
    failed: u64,
    dead_lettered: u64,
    expired: u64,
    retried: u64,
    redelivered: u64,
}

impl FiguresJson {
    pub(crate) fn of(figures: &Figures) -> FiguresJson {
        let queue = &figures.queue;
        FiguresJson {
            waiting: figures.waiting,
            oldest_ns: figures.oldest.map(nanos),
            sent: figures.sent,
            received: figures.received,
            delivery_p50_ns: figures.delivery_p50().map(nanos),
            delivery_p99_ns: figures.delivery_p99().map(nanos),
            pressure: figures.pressure().to_string(),
            fill: figures.fill(),
            receiver_alive: queue.receiver_alive,
            receiver_sleeps: queue.receiver_sleeps,
            receiver_attaches: queue.receiver_attaches,
            senders: figures.senders,
            lanes: queue.lanes,
            poisoned: figures.poisoned,
            dropped: queue.dropped,
            full_events: figures.full_events,
            reserved_bytes: queue.reserved_bytes,
            limit_bytes: queue.limit_bytes,
            mail: figures.mail.as_ref().map(MailJson::of),
        }
    }
}

impl MailJson {
    fn of(stats: &Stats) -> MailJson {
        MailJson {
            pending: stats.pending,
            kept: stats.kept,
            taken: stats.taken,
            processed: stats.processed,
            failed: stats.failed,
            dead_lettered: stats.dead_lettered,
            expired: stats.expired,
            retried: stats.retried,
            redelivered: stats.redelivered,
        }
    }
}
