//! A row as JSON.

use super::entry::Entry;
use crate::figures::FiguresJson;
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
    line["sent_rate"] = entry.rates.sent.into();
    line["received_rate"] = entry.rates.received.into();
    line["flows"] = flows.collect();
    // Numbers and text alone: there is nothing in it that cannot be JSON.
    let more = serde_json::to_value(FiguresJson::of(figures)).unwrap_or_default();
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}
