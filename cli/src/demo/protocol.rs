//! What the demo's launcher and its processes say to each other.

use super::tally::Tally;
use laneway::WaitStats;
use serde::{Deserialize, Serialize};

/// From the launcher to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// To a sender: begin.
    Go,
    /// To the receiver: this sender is dead. Take everything it had committed, and say how far it came.
    HowFar {
        /// Which sender.
        sender: u32,
    },
    /// To a sender: say that nothing more will come, and end. To the others: report, and end.
    Finish,
}

/// From a process to the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// Attached.
    Ready {
        /// A sender's lane.
        lane: Option<u32>,
    },
    /// The receiver: messages received from each sender.
    Progress {
        /// By sender.
        received: Vec<u64>,
    },
    /// The receiver: after everything that the dead sender committed, the sequence that it would have sent next.
    CameTo {
        /// Which sender.
        sender: u32,
        /// The first sequence that it did not commit.
        next: u64,
    },
    /// The observer: a lane's sender came or went.
    Liveness {
        /// The lane.
        lane: u32,
        /// Whether a sender holds it.
        alive: bool,
    },
    /// A sender has sent its share.
    Sent(SenderReport),
    /// The receiver has finished.
    Received(ReceiverReport),
    /// The observer has finished.
    Observed(ObserverReport),
}

/// What a sender says at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SenderReport {
    /// Messages whose `send` returned.
    pub(super) sent: u64,
    /// What a send cost while the sender paused between messages, and the receiver slept between them.
    pub(super) paced: Tally,
    /// What a send cost in a stream, when there was room.
    pub(super) streaming: Tally,
    /// How long the others waited for room.
    pub(super) waited: Tally,
    pub(super) waits: Waits,
}

/// What the receiver says at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ReceiverReport {
    pub(super) senders: Vec<Counts>,
    /// Messages whose checksum, sender or length is wrong.
    pub(super) torn: u64,
    /// From just before the send until the message was in the receiver's hands, for paced messages.
    pub(super) paced: Tally,
    /// The same in a stream: mostly the time it waited behind others.
    pub(super) streaming: Tally,
    pub(super) waits: Waits,
    /// Lanes that were found damaged, each with a sentence.
    pub(super) damage: Vec<String>,
}

/// What the receiver counted of one sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// All that came and was whole.
    pub(super) received: u64,
    /// Different messages among them.
    pub(super) distinct: u64,
    /// Messages that had come before.
    pub(super) duplicated: u64,
    /// Messages that came after a later one.
    pub(super) out_of_order: u64,
}

/// What the observer says at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ObserverReport {
    pub(super) samples: u64,
    pub(super) mean_depth_bytes: u64,
    pub(super) max_depth_bytes: u64,
    /// Samples at which a receiver was attached.
    pub(super) receiver_alive: u64,
    /// Times that a lane's sender was seen to come.
    pub(super) came: u64,
    /// Times that a lane's sender was seen to go.
    pub(super) went: u64,
    /// Messages sent, by the lanes' own count.
    pub(super) lanes_sent: u64,
}

/// The library's `WaitStats`, as JSON.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Waits {
    pub(super) sleeps: u64,
    pub(super) wakes: u64,
    pub(super) expired: u64,
    pub(super) rings: u64,
}

impl From<WaitStats> for Waits {
    fn from(stats: WaitStats) -> Waits {
        Waits { sleeps: stats.sleeps, wakes: stats.wakes, expired: stats.expired, rings: stats.rings }
    }
}

impl std::ops::Add for Waits {
    type Output = Waits;

    fn add(self, other: Waits) -> Waits {
        Waits {
            sleeps: self.sleeps + other.sleeps,
            wakes: self.wakes + other.wakes,
            expired: self.expired + other.expired,
            rings: self.rings + other.rings,
        }
    }
}
