//! The picture as JSON: everything at first, and from look to look what has changed.

use crate::deliver::Payload;
use crate::figures::FiguresJson;
use crate::mail::status_json;
use crate::plain;
use crate::stat::lane_json;
use crate::units::millis;
use laneway_observe::{Detail, Key, Kind, Message, Picture, Presence, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a sender that has gone is still shown with its lane: it may have been there for a moment only.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Rows that went away and are remembered, for browsers that were away too; who was away for longer gets everything.
const REMOVED: usize = 4096;

/// What all looks so far have shown.
pub(super) struct Scene {
    look: u64,
    every: Duration,
    rows: BTreeMap<Key, Shown>,
    removed: VecDeque<(u64, String)>,
    /// Everything as of this look, once somebody has asked for it.
    whole: Option<Arc<str>>,
}

/// A row as it was said last.
struct Shown {
    text: Arc<str>,
    /// The look at which it became different.
    changed: u64,
    senders: BTreeMap<Option<String>, Seen>,
}

/// A sender, when it was last seen in a lane.
struct Seen {
    flow: FlowJson,
    at: Instant,
}

/// One look, for everybody who has seen an earlier one.
#[derive(Default)]
pub(super) struct Changes {
    look: u64,
    problems: Vec<String>,
    rows: Vec<(u64, Arc<str>)>,
    removed: Vec<(u64, String)>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    kind: &'static str,
    name: &'a str,
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    #[serde(flatten)]
    figures: Option<FiguresJson>,
    /// Messages a second.
    sent_rate: f64,
    received_rate: f64,
    flows: Vec<&'a FlowJson>,
    /// The looks before this one, the latest last: sent, received, waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<Vec<(f64, f64, u64)>>,
}

/// Who sends, through however many lanes. Without a name for who does not say.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FlowJson {
    from: Option<String>,
    /// Lanes that are held now.
    senders: usize,
    rate: f64,
    sent: u64,
}

impl Scene {
    pub(super) fn new(every: Duration) -> Scene {
        Scene { look: 0, every, rows: BTreeMap::new(), removed: VecDeque::new(), whole: None }
    }

    /// Takes in what the picture shows now, and says what became different.
    pub(super) fn take_in(&mut self, picture: &Picture) -> Changes {
        self.look += 1;
        self.whole = None;
        let (look, now) = (self.look, Instant::now());
        for row in picture.rows() {
            let shown = self.rows.entry(row.key()).or_insert_with(Shown::new);
            shown.note_senders(row, now);
            let text = shown.render(row, false);
            if *shown.text != *text {
                (shown.text, shown.changed) = (text.into(), look);
            }
        }
        let removed = &mut self.removed;
        self.rows.retain(|key, _| {
            let there = picture.row(key).is_some();
            if !there {
                removed.push_back((look, id(key)));
            }
            there
        });
        let too_many = self.removed.len().saturating_sub(REMOVED);
        self.removed.drain(..too_many);
        Changes {
            look,
            problems: picture.problems().to_vec(),
            rows: self.rows.values().map(|shown| (shown.changed, Arc::clone(&shown.text))).collect(),
            removed: self.removed.iter().cloned().collect(),
        }
    }

    /// Everything that there is, and what was seen before: for who comes new.
    pub(super) fn everything(&mut self, picture: &Picture) -> (u64, Arc<str>) {
        if let Some(whole) = &self.whole {
            return (self.look, Arc::clone(whole));
        }
        let rows = picture.rows().filter_map(|row| Some(self.rows.get(&row.key())?.render(row, true)));
        let head = json!({
            "look": self.look,
            "every_ms": millis(self.every),
            "queues": picture.queues().to_string_lossy(),
            "post": picture.post().to_string_lossy(),
            "problems": picture.problems(),
        });
        let whole: Arc<str> = with_rows(head, rows).into();
        self.whole = Some(Arc::clone(&whole));
        (self.look, whole)
    }
}

impl Changes {
    pub(super) fn look(&self) -> u64 {
        self.look
    }

    /// What has changed since an earlier look.
    pub(super) fn since(&self, seen: u64) -> String {
        let gone: Vec<&str> = self.removed.iter().filter(|(look, _)| *look > seen).map(|(_, id)| id.as_str()).collect();
        let head = json!({ "look": self.look, "problems": self.problems, "gone": gone });
        with_rows(head, self.rows.iter().filter(|(changed, _)| *changed > seen).map(|(_, text)| text))
    }
}

/// Adds rows that are JSON already to an object.
fn with_rows(head: Value, rows: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = head.to_string();
    text.pop();
    text.push_str(",\"rows\":[");
    for (number, row) in rows.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(row.as_ref());
    }
    text.push_str("]}");
    text
}

impl Shown {
    fn new() -> Shown {
        Shown { text: "".into(), changed: 0, senders: BTreeMap::new() }
    }

    /// Adds up what the lanes say by who sends; who is in no lane any more is remembered for a while.
    fn note_senders(&mut self, row: &Row, now: Instant) {
        for seen in self.senders.values_mut() {
            (seen.flow.senders, seen.flow.rate) = (0, 0.0);
        }
        let mut sums: BTreeMap<Option<String>, FlowJson> = BTreeMap::new();
        for flow in row.figures.iter().filter(|_| row.is_here()).flat_map(|figures| &figures.flows) {
            // Who holds a lane and has sent nothing yet has no name yet either.
            if flow.sent == 0 && (row.kind == Kind::Mailbox || !flow.alive) {
                continue;
            }
            let start = || FlowJson { from: flow.from.clone(), senders: 0, rate: 0.0, sent: 0 };
            let sum = sums.entry(flow.from.clone()).or_insert_with(start);
            sum.senders += usize::from(flow.alive);
            sum.rate = tenths(sum.rate + flow.rate);
            sum.sent = sum.sent.saturating_add(flow.sent);
        }
        self.senders.extend(sums.into_iter().map(|(from, flow)| (from, Seen { flow, at: now })));
        // Without a name it may be anybody, who is called by name by now.
        self.senders.retain(|from, seen| {
            let span = now.saturating_duration_since(seen.at);
            span.is_zero() || from.is_some() && span < REMEMBERED
        });
    }

    fn render(&self, row: &Row, with_samples: bool) -> String {
        let (presence, problem) = match &row.presence {
            Presence::Here => ("here", None),
            Presence::Unreadable(why) => ("unreadable", Some(why.as_str())),
            Presence::Gone(_) => ("gone", None),
        };
        let sample = |sample: &laneway_observe::Sample| {
            (tenths(sample.rates.sent), tenths(sample.rates.received), sample.waiting)
        };
        let json = RowJson {
            kind: row.kind.word(),
            name: &row.name,
            presence,
            problem,
            figures: row.figures.as_ref().map(FiguresJson::of),
            sent_rate: tenths(row.rates.sent),
            received_rate: tenths(row.rates.received),
            flows: self.senders.values().map(|seen| &seen.flow).collect(),
            samples: with_samples.then(|| row.samples().map(sample).collect()),
        };
        // Numbers and text alone: there is nothing in it that cannot be JSON.
        serde_json::to_string(&json).unwrap_or_default()
    }
}

/// Messages of each lane, and outcomes, that are looked at closely.
const CLOSELY: (usize, usize) = (8, 40);
/// Messages that are shown, and bytes of each.
const SHOWN: (usize, usize) = (40, 2048);

/// A closer look at a row; none when there is no such row, or it cannot be looked at.
pub(super) fn detail(picture: &mut Picture, key: &Key) -> Option<Value> {
    let detail = match picture.detail(key, CLOSELY.0, CLOSELY.1)? {
        Ok(detail) => detail,
        Err(error) => return Some(json!({ "problem": error.to_string() })),
    };
    let Detail { lanes, unreadable, mut messages, outcomes, .. } = detail;
    messages.sort_by_key(|message| std::cmp::Reverse(message.age));
    let more = messages.len().saturating_sub(SHOWN.0);
    Some(json!({
        "lanes": lanes.iter().map(lane_json).collect::<Vec<_>>(),
        "unreadable": unreadable,
        "messages": messages.iter().take(SHOWN.0).map(message_json).collect::<Vec<_>>(),
        "more": more,
        "outcomes": outcomes.iter().map(|(ticket, status)| status_json(*ticket, status)).collect::<Vec<_>>(),
    }))
}

fn message_json(message: &Message) -> Value {
    let bytes = message.body.len();
    let beginning = plain::whole_letters(&message.body[..bytes.min(SHOWN.1)], bytes);
    json!({
        "ticket": message.ticket,
        "from": message.from,
        "age_ms": message.age.map(millis),
        "bytes": bytes,
        "body": Payload::of(beginning),
    })
}

fn id(key: &Key) -> String {
    format!("{}/{}", key.kind.word(), key.name)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
