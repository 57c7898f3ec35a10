//! What the demo shows at its end.

use super::launcher::Reports;
use super::protocol::{ObserverReport, SenderReport, Waits};
use super::tally::{Summary, Tally, summary};
use crate::output::{row, table};
use crate::units::{bytes, count, nanoseconds};
use serde::Serialize;
use std::time::Duration;

/// The sender that was killed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Kill {
    pub(super) sender: u32,
    /// How many messages it was to send.
    pub(super) of: u64,
    /// How many it had sent by its lane's own count, or one fewer.
    pub(super) counted: u64,
    /// How many it had committed, by what the receiver took: with which it was started again.
    pub(super) resumed_from: u64,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    sent: u64,
    received: u64,
    lost: u64,
    duplicated: u64,
    torn: u64,
    out_of_order: u64,
    elapsed_ms: u64,
    /// From just before the send until the message is in the receiver's hands.
    latency: Phases,
    /// One call of `send`.
    send: Phases,
    /// Sends that found no room, and waited.
    send_waited: Summary,
    receiver: Waits,
    senders: Waits,
    observer: ObserverReport,
    kill: Kill,
    damage: Vec<String>,
}

/// The same thing while senders paused after each message, and while they did not.
#[derive(Debug, Serialize)]
struct Phases {
    all: Summary,
    paced: Summary,
    streaming: Summary,
}

impl Report {
    pub(super) fn new(reports: Reports, kill: Kill, elapsed: Duration) -> Report {
        let Reports { senders, receiver, observer } = reports;
        let (mut sent, mut lost) = (0, 0);
        for (number, report) in &senders {
            // What a dead sender committed counts as sent, whether its `send` returned or not; so does what its lane
            // says it had sent, should that be more.
            let by_the_dead = if *number == kill.sender { kill.resumed_from.max(kill.counted) } else { 0 };
            let by_both = by_the_dead + report.sent;
            let distinct = receiver.senders.get(*number as usize).map_or(0, |counts| counts.distinct);
            sent += by_both;
            lost += by_both.saturating_sub(distinct);
        }
        let all = |which: fn(&SenderReport) -> &Tally| senders.values().map(which);
        Report {
            sent,
            received: receiver.senders.iter().map(|counts| counts.received).sum::<u64>() + receiver.torn,
            lost,
            duplicated: receiver.senders.iter().map(|counts| counts.duplicated).sum(),
            torn: receiver.torn,
            out_of_order: receiver.senders.iter().map(|counts| counts.out_of_order).sum(),
            elapsed_ms: elapsed.as_millis() as u64,
            latency: Phases {
                all: summary([&receiver.paced, &receiver.streaming]),
                paced: summary([&receiver.paced]),
                streaming: summary([&receiver.streaming]),
            },
            send: Phases {
                all: summary(all(|report| &report.paced).chain(all(|report| &report.streaming))),
                paced: summary(all(|report| &report.paced)),
                streaming: summary(all(|report| &report.streaming)),
            },
            send_waited: summary(all(|report| &report.waited)),
            receiver: receiver.waits,
            senders: senders.values().map(|report| report.waits).fold(Waits::default(), |sum, waits| sum + waits),
            observer,
            kill,
            damage: receiver.damage,
        }
    }

    /// Whether everything came, once, whole and in order.
    pub(super) fn is_sound(&self) -> bool {
        let Report { lost, duplicated, torn, out_of_order, .. } = self;
        [lost, duplicated, torn, out_of_order].iter().all(|number| **number == 0) && self.damage.is_empty()
    }

    /// The report for people.
    pub(super) fn to_text(&self) -> String {
        let mut counts = table(&[">SENT", ">RECEIVED", ">LOST", ">DUPLICATED", ">TORN", ">OUT OF ORDER"]);
        let numbers = [self.sent, self.received, self.lost, self.duplicated, self.torn, self.out_of_order].map(count);
        counts.add_row(numbers);

        let mut times = table(&["", ">P50", ">P99", ">MAX", ">MEAN", ">MESSAGES"]);
        for (name, times_of) in [
            ("send to receive", &self.latency.all),
            ("  one at a time", &self.latency.paced),
            ("  streaming", &self.latency.streaming),
            ("cost of a send", &self.send.all),
            ("  one at a time", &self.send.paced),
            ("  streaming", &self.send.streaming),
            ("wait for room", &self.send_waited),
        ] {
            let Summary { p50_ns, p99_ns, max_ns, mean_ns, count: messages } = *times_of;
            let shown = |ns| if messages == 0 { "-".to_owned() } else { nanoseconds(ns) };
            let cells = [p50_ns, p99_ns, max_ns, mean_ns].map(shown);
            times.add_row(row([&name, &cells[0], &cells[1], &cells[2], &cells[3], &count(messages)]));
        }

        let mut waits = table(&["", ">SLEEPS", ">WOKEN", ">RAN OUT", ">WOKE OTHERS"]);
        for (name, Waits { sleeps, wakes, expired, rings }) in [("receiver", self.receiver), ("senders", self.senders)]
        {
            waits.add_row(row([&name, &count(sleeps), &count(wakes), &count(expired), &count(rings)]));
        }

        let Kill { sender, of, resumed_from, .. } = self.kill;
        let ObserverReport { samples, mean_depth_bytes, max_depth_bytes, receiver_alive, came, went, .. } =
            self.observer;
        let mut text = [&counts, &times, &waits].map(|table| table.trim_fmt()).join("\n\n");
        text += &format!(
            "\n\nsender {sender} was killed (SIGKILL) after {} of its {} messages, and went on from there\n\
             the observer looked {} times: depth {} on average and {} at most, receiver attached {} times, \
             senders came {came} times and went {went} times\n{} messages in {}; {}\n",
            count(resumed_from),
            count(of),
            count(samples),
            bytes(mean_depth_bytes),
            bytes(max_depth_bytes),
            count(receiver_alive),
            count(self.received),
            nanoseconds(self.elapsed_ms * 1_000_000),
            if self.is_sound() {
                "each came once, whole and in order"
            } else {
                "NOT every one came once, whole and in order"
            },
        );
        self.damage.iter().for_each(|damage| text += &format!("{damage}\n"));
        text
    }
}
