//! What onlookers see, as lines.

use crate::deliver::Payload;
use crate::mail::content_word;
use crate::{plain, units};
use laneway::mailbox::{self, Waiting};
use laneway::{Peeked, Traffic};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Something that was seen.
pub(super) struct Shown {
    /// For programs.
    pub(super) json: Map<String, Value>,
    /// For people.
    pub(super) text: String,
    pub(super) is_message: bool,
    /// How many messages it says were missed.
    pub(super) missed: u64,
}

impl Shown {
    fn message(head: String, mut json: Value, payload: &[u8]) -> Shown {
        if let (Some(json), Ok(Value::Object(payload))) =
            (json.as_object_mut(), serde_json::to_value(Payload::of(payload)))
        {
            json.extend(payload);
        }
        Shown { json: object(json), text: format!("{head}  {}", plain::escaped(payload)), is_message: true, missed: 0 }
    }

    fn note(text: String, json: Value) -> Shown {
        Shown { json: object(json), text: format!("-- {text}"), is_message: false, missed: 0 }
    }

    /// The line that ends it.
    pub(super) fn line(self, json: bool) -> String {
        if json { format!("{}\n", Value::Object(self.json)) } else { format!("{}\n", self.text) }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A message of a queue.
pub(super) fn peeked(seen: &Peeked) -> Shown {
    let (ticket, priority) = (seen.ticket, seen.priority.to_string());
    let json = json!({ "lane": ticket.lane, "position": ticket.position, "priority": priority });
    Shown::message(format!("{ticket}  {priority}"), json, &seen.payload)
}

/// A message of a mailbox.
pub(super) fn mail(seen: &mailbox::Peeked) -> Shown {
    let (ticket, priority) = (seen.ticket.to_string(), seen.priority.to_string());
    let from = if seen.from.is_empty() { "-".to_owned() } else { plain::escaped(seen.from.as_bytes()) };
    let kind = if seen.wants_reply { "request" } else { "mail" };
    let mut head = format!("{ticket}  {priority}  {kind}  {from}");
    if let Some(wrong) = &seen.malformed {
        head += &format!("  ({wrong})");
    }
    let json = json!({
        "ticket": ticket,
        "priority": priority,
        "from": seen.from,
        "content": content_word(seen.content),
        "wants_reply": seen.wants_reply,
        "age_ms": units::millis(seen.age),
        "malformed": seen.malformed,
    });
    Shown::message(head, json, &seen.body)
}

/// A message that waits in a mailbox.
pub(super) fn waiting(waiting: &Waiting) -> Shown {
    let mut shown = mail(&waiting.message);
    let status = waiting.status;
    let due = waiting.due_in.filter(|due| !due.is_zero());
    shown.json.insert("state".to_owned(), status.state.name().into());
    shown.json.insert("attempts".to_owned(), status.attempts.into());
    shown.json.insert("due_in_ms".to_owned(), waiting.due_in.map(units::millis).into());
    let due = due.map_or(String::new(), |due| format!(", in {}", humantime::format_duration(rounded(due))));
    shown.text = format!("{}{due}  {}", status.state, shown.text);
    shown
}

/// Anything that is no message.
pub(super) fn event<M>(traffic: &Traffic<M>) -> Shown {
    match traffic {
        Traffic::Lapped { lane, bytes, messages } => {
            let text = format!("{} messages of lane {lane} were missed", units::count(*messages));
            let json = json!({ "lapped": { "lane": lane, "messages": messages, "bytes": bytes } });
            Shown { missed: *messages, ..Shown::note(text, json) }
        }
        Traffic::Dropped { ticket, messages } => Shown::note(
            format!("{} messages were dropped by the sender of lane {}", units::count(*messages), ticket.lane),
            json!({ "dropped": { "lane": ticket.lane, "position": ticket.position, "messages": messages } }),
        ),
        Traffic::Damaged(damage) => Shown::note(
            format!("{damage}; nothing more is seen of it"),
            json!({ "damaged": { "lane": damage.lane, "position": damage.position, "error": damage.to_string() } }),
        ),
        Traffic::Unreadable { lane, why } => Shown::note(
            format!("nothing is seen of lane {lane}: {why}"),
            json!({ "unreadable": { "lane": lane, "error": why } }),
        ),
        _ => Shown::note("something that this program does not know".to_owned(), json!({ "unknown": true })),
    }
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(units::millis(time))
}
