//! A row as JSON.

use super::entry::Entry;
use crate::units::nanos;
use laneway_observe::Presence;
use serde_json::{Value, json};

/// Times in nanoseconds, rates in messages a second.
pub(super) fn line(entry: &Entry) -> Value {
    let mut line = json!({
        "kind": entry.key.kind.word(),
        "name": entry.key.name,
        "path": entry.path.to_string_lossy(),
    });
    let Some(figures) = entry.current() else {
        match &entry.presence {
            Presence::Unreadable(why) => line["error"] = why.as_str().into(),
            _ => line["gone"] = true.into(),
        }
        return line;
    };
    let flows = figures.flows.iter().map(|flow| {
        json!({ "lane": flow.lane, "from": flow.from, "alive": flow.alive, "sent": flow.sent, "rate": flow.rate })
    });
    let more = json!({
        "waiting": figures.waiting,
        "oldest_ns": figures.oldest.map(nanos),
        "sent": figures.sent,
        "received": figures.received,
        "sent_rate": entry.rates.sent,
        "received_rate": entry.rates.received,
        "delivery_p50_ns": figures.delivery_p50().map(nanos),
        "delivery_p99_ns": figures.delivery_p99().map(nanos),
        "pressure": figures.pressure().to_string(),
        "fill": figures.fill(),
        "receiver_alive": figures.queue.receiver_alive,
        "receiver_sleeps": figures.queue.receiver_sleeps,
        "senders": figures.senders,
        "lanes": figures.queue.lanes,
        "poisoned": figures.poisoned,
        "dropped": figures.queue.dropped,
        "full_events": figures.full_events,
        "reserved_bytes": figures.queue.reserved_bytes,
        "limit_bytes": figures.queue.limit_bytes,
        "flows": flows.collect::<Vec<_>>(),
    });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}
