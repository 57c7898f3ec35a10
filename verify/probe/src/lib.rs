//! One send and one receive, each a function of its own, whose generated code `verify aarch64` reads.
#![cfg(not(laneway_loom))]

use laneway::{Receiver, Sender};

/// A send of a fixed length, so that nothing but the send is in it.
#[inline(never)]
pub fn probe_send(sender: &mut Sender, payload: &[u8; 56]) -> bool {
    sender.try_send(payload).is_ok()
}

/// A receive, with the release of what was received.
#[inline(never)]
pub fn probe_receive(receiver: &Receiver) -> usize {
    receiver.try_recv().map_or(0, |message| message.len())
}
