//! What metrics there are: their names, what they mean, and where each is read.

use crate::figures::Figures;
use laneway::mailbox::Stats;
use laneway::{LaneStat, Pressure};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use std::time::Duration;

/// A metric of every `T`.
pub(super) struct Family<T: 'static> {
    /// Without the unit, and without `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: Read<T>,
}

/// Where a number is read, and what it is.
pub(super) enum Read<T> {
    /// That only grows, for as long as it is the same queue.
    Total(fn(&T) -> u64),
    Now(fn(&T) -> u64),
    Bytes(fn(&T) -> u64),
    /// None when there is nothing that could have an age.
    Seconds(fn(&T) -> Option<Duration>),
}

impl<T> Family<T> {
    /// Whether there is such a number of it.
    pub(super) fn is_there(&self, from: &T) -> bool {
        match self.read {
            Seconds(read) => read(from).is_some(),
            _ => true,
        }
    }

    pub(super) fn kind(&self) -> MetricType {
        match self.read {
            Total(_) => MetricType::Counter,
            _ => MetricType::Gauge,
        }
    }

    pub(super) fn unit(&self) -> Option<Unit> {
        match self.read {
            Bytes(_) => Some(Unit::Bytes),
            Seconds(_) => Some(Unit::Seconds),
            _ => None,
        }
    }
}

const fn family<T>(name: &'static str, help: &'static str, read: Read<T>) -> Family<T> {
    Family { name, help, read }
}

use Read::{Bytes, Now, Seconds, Total};

/// Of every queue and mailbox: what can be looked at has figures.
pub(super) static READABLE: Family<Option<Figures>> =
    family("laneway_readable", "Whether it can be looked at.", Now(|figures| figures.is_some().into()));

/// Of every queue and mailbox that can be looked at.
pub(super) static OF_ALL: [Family<Figures>; 17] = [
    family("laneway_messages_sent", "Messages that were sent.", Total(|figures| figures.sent)),
    family("laneway_messages_received", "Messages that the receiver is done with.", Total(|figures| figures.received)),
    family("laneway_messages_dropped", "Messages that their senders dropped.", Total(|figures| figures.queue.dropped)),
    family("laneway_senders_full", "Times that a sender found no room.", Total(|figures| figures.full_events)),
    family(
        "laneway_receiver_attaches",
        "Times that a receiver came.",
        Total(|figures| figures.queue.receiver_attaches),
    ),
    family(
        "laneway_messages_waiting",
        "Messages that wait, or are taken and not settled.",
        Now(|figures| figures.waiting),
    ),
    family("laneway_waiting", "Bytes of messages that wait.", Bytes(|figures| figures.queue.depth_bytes)),
    family("laneway_overflow", "Bytes of these outside the rings.", Bytes(|figures| figures.queue.segment_bytes)),
    family("laneway_memory", "Bytes that the files take.", Bytes(|figures| figures.queue.reserved_bytes)),
    family(
        "laneway_memory_limit",
        "Bytes that the files may take at most.",
        Bytes(|figures| figures.queue.limit_bytes),
    ),
    family(
        "laneway_oldest_message",
        "How long the oldest message has been waiting, at least.",
        Seconds(|figures| figures.oldest),
    ),
    family("laneway_senders", "Senders that are attached.", Now(|figures| figures.senders as u64)),
    family("laneway_lanes", "Lanes that there are.", Now(|figures| figures.queue.lanes as u64)),
    family("laneway_lanes_poisoned", "Lanes that were retired as damaged.", Now(|figures| figures.poisoned as u64)),
    family(
        "laneway_receiver_attached",
        "Whether a receiver is attached.",
        Now(|figures| figures.queue.receiver_alive.into()),
    ),
    family("laneway_receiver_asleep", "Whether the receiver sleeps.", Now(is_asleep)),
    family("laneway_pressure", "Whether a receiver falls behind.", Now(|figures| is_high(figures.queue.pressure))),
];

fn is_asleep(figures: &Figures) -> u64 {
    (figures.queue.receiver_alive && figures.queue.receiver_sleeps).into()
}

fn is_high(pressure: Pressure) -> u64 {
    (pressure == Pressure::High).into()
}

/// Of every mailbox besides.
pub(super) static OF_MAILBOXES: [Family<Stats>; 17] = [
    family("laneway_mailbox_handed_out", "Messages that were handed out, each time.", Total(|mail| mail.handed_out)),
    family("laneway_mailbox_acked", "Messages that were dealt with.", Total(|mail| mail.processed)),
    family("laneway_mailbox_failed", "Messages that were refused, or malformed.", Total(|mail| mail.failed)),
    family("laneway_mailbox_malformed", "Messages whose envelopes broke the rules.", Total(|mail| mail.malformed)),
    family("laneway_mailbox_expired", "Messages that nobody took in time.", Total(|mail| mail.expired)),
    family("laneway_mailbox_cancelled", "Messages taken back by their senders.", Total(|mail| mail.cancelled)),
    family("laneway_mailbox_superseded", "Messages whose place another one took.", Total(|mail| mail.superseded)),
    family("laneway_mailbox_duplicates", "Those of them that came a second time.", Total(|mail| mail.duplicates)),
    family("laneway_mailbox_rolled", "Those of them that were the oldest of too many.", Total(|mail| mail.rolled)),
    family("laneway_mailbox_dead_lettered", "Messages that became dead letters.", Total(|mail| mail.dead_lettered)),
    family(
        "laneway_mailbox_retried",
        "Times that a message was given back for another attempt.",
        Total(|mail| mail.retried),
    ),
    family(
        "laneway_mailbox_redelivered",
        "Messages handed out again because whoever had them died.",
        Total(|mail| mail.redelivered),
    ),
    family("laneway_mailbox_refused", "Messages refused because too many were waiting.", Total(|mail| mail.refused)),
    family("laneway_mailbox_messages_kept", "Messages that are kept for later.", Now(|mail| mail.kept)),
    family("laneway_mailbox_messages_taken", "Messages that are taken and not settled.", Now(|mail| mail.taken)),
    family(
        "laneway_mailbox_messages_waiting_peak",
        "The most messages that were seen waiting.",
        Now(|mail| mail.high_water),
    ),
    family("laneway_mailbox_idle", "Time since a message was last handed out.", Seconds(|mail| mail.idle)),
];

/// Of every lane, when that is asked for.
pub(super) static OF_LANES: [Family<LaneStat>; 7] = [
    family("laneway_lane_messages_sent", "Messages that were sent through the lane.", Total(|lane| lane.sent)),
    family(
        "laneway_lane_messages_received",
        "Messages of the lane that the receiver is done with.",
        Total(|lane| lane.received),
    ),
    family("laneway_lane_messages_dropped", "Messages that the lane's sender dropped.", Total(|lane| lane.dropped)),
    family("laneway_lane_full", "Times that the lane's sender found no room.", Total(|lane| lane.full_events)),
    family("laneway_lane_waiting", "Bytes of messages that wait in the lane.", Bytes(|lane| lane.depth_bytes)),
    family("laneway_lane_memory", "Bytes that the lane's file takes.", Bytes(|lane| lane.reserved_bytes)),
    family("laneway_lane_sender_attached", "Whether a sender holds the lane.", Now(|lane| lane.sender_alive.into())),
];
