//! The demo's processes, by what they are.

use std::fmt;

/// A process of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Receiver,
    Observer,
    /// A sender, and how many times it had been started before.
    Sender {
        number: u32,
        before: u32,
    },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Receiver => write!(f, "the demo's receiver"),
            Who::Observer => write!(f, "the demo's observer"),
            Who::Sender { number, before: 0 } => write!(f, "the demo's sender {number}"),
            Who::Sender { number, .. } => write!(f, "the demo's sender {number}, started again,"),
        }
    }
}
