//! What victims do: before the steps begin, and then step by step.

use crate::support::payload;
use Act::{Abort, Ask, Attach, Close, Detach, Drain, Hold, Leave, Listen, Receive, Send, Through, Trim, TrimQueue};
use laneway::OnFull;

/// What a victim does. It has both ends, so that a script can say how far the receiver is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Attach,
    OnFull(OnFull),
    /// So many messages of a length.
    Send(usize, usize),
    /// A message that is claimed, half written, and not sent.
    Abort(usize),
    Listen,
    Receive(usize),
    /// Receives as many, and releases them in the reverse order.
    Hold(usize),
    /// Takes as many from a drain.
    Drain(usize),
    Leave,
    /// Sends a ring's worth and receives it, so many times.
    Through(usize),
    Ask,
    Trim,
    Close,
    Detach,
    TrimQueue,
}

/// What is done before the steps begin, and then step by step.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Whether another process does the first part, and is killed.
    pub(crate) orphan: bool,
    pub(crate) before: &'static [Act],
    pub(crate) stepped: &'static [Act],
}

/// Seven messages of 500 bytes fill the ring, the next seven the first segment, and fourteen more the second.
pub(crate) const SCRIPTS: &[Script] = &[
    Script {
        name: "grow",
        orphan: false,
        before: &[Attach, Send(7, 500)],
        stepped: &[Send(2, 500), Abort(900), Send(4, 500), Send(1, 6000), Send(1, 40), Close],
    },
    Script {
        name: "home",
        orphan: false,
        before: &[Attach, Listen, Send(12, 500), Receive(12)],
        stepped: &[Send(1, 100), Send(1, 5000), Send(1, 30), Receive(3), Send(1, 60)],
    },
    Script {
        name: "reuse",
        orphan: false,
        before: &[Attach, Listen, Send(30, 500), Receive(16)],
        stepped: &[Send(5, 800), Receive(9), Send(1, 6000)],
    },
    Script {
        name: "fall",
        orphan: false,
        // As much as the segments hold must go through the ring before they are given back: 28 KiB.
        before: &[Attach, Listen, Send(40, 500), Receive(40), Through(7)],
        stepped: &[Through(1), Ask, Through(1), Ask, Send(1, 200)],
    },
    Script {
        name: "trim",
        orphan: false,
        before: &[Attach, Listen, Send(36, 500), Receive(20)],
        stepped: &[Trim, Send(1, 500), Receive(17), Trim, Send(1, 5000), Receive(1), Trim],
    },
    Script {
        name: "close",
        orphan: false,
        before: &[Attach, Listen, Send(30, 500), Receive(18)],
        stepped: &[Close, Receive(2)],
    },
    Script {
        name: "detach and attach",
        orphan: false,
        before: &[Attach, Listen, Send(30, 500), Receive(17)],
        stepped: &[Detach, Receive(1), Attach, Send(1, 600)],
    },
    Script {
        name: "adopt",
        orphan: true,
        before: &[Attach, Listen, Send(30, 500), Receive(17)],
        stepped: &[Attach, Send(6, 600)],
    },
    Script {
        name: "adopt and read on",
        orphan: true,
        before: &[Attach, Listen, Send(16, 500), Receive(5)],
        stepped: &[Listen, Receive(11), Attach, Send(1, 700)],
    },
    Script {
        name: "trim the queue",
        orphan: true,
        before: &[Attach, Listen, Send(34, 500), Receive(19)],
        stepped: &[TrimQueue, Listen, Receive(15), TrimQueue],
    },
    Script {
        name: "read",
        orphan: false,
        before: &[Attach, Listen, Send(14, 500), Send(1, 6000), Send(8, 300), Receive(5)],
        stepped: &[Receive(3), Hold(4), Receive(2), Drain(2), Hold(2), Drain(99), Leave],
    },
    Script {
        name: "come to read",
        orphan: false,
        before: &[Attach, Listen, Send(26, 500), Receive(9), Leave],
        stepped: &[Listen, Receive(2), Hold(5), Leave],
    },
    Script {
        name: "drop",
        orphan: false,
        before: &[Attach, Act::OnFull(OnFull::DropNewest), Listen, Send(9, 500)],
        stepped: &[Send(1, 400), Receive(2), Send(2, 450), Receive(5), Send(1, 100), Receive(2)],
    },
    Script {
        name: "grow, then drop",
        orphan: false,
        before: &[Attach, Act::OnFull(OnFull::GrowThenDrop), Listen, Send(66, 500)],
        stepped: &[Send(1, 500), Receive(16), Send(2, 900)],
    },
];

impl Script {
    pub(crate) fn find(name: &str) -> (u64, &'static Script) {
        (0..).zip(SCRIPTS).find(|(_, script)| script.name == name).unwrap()
    }

    /// All messages that it sends, or drops.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let lens = self.before.iter().chain(self.stepped).flat_map(|act| match *act {
            Send(count, len) => vec![len; count],
            Through(times) => vec![900; 4 * times],
            _ => Vec::new(),
        });
        (0..).zip(lens).map(|(number, len)| payload(1, number, len)).collect()
    }
}
