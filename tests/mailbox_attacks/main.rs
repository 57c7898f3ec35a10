//! Attacks on a mailbox: envelopes, words and files that lie, floods, full disks, many messages, and servers that die or race.
//! What is asked of each: nobody panics or hangs, and what honest senders sent is handed out. What cannot be seen here: lies in
//! the queue below (`tests/lies.rs`, `tests/hostile_segments.rs`), and orders of two processes that did not come up.

mod envelopes;
mod floods;
mod many;
mod names;
mod scribbles;
mod servers;
mod space;
#[path = "../support/mod.rs"]
mod support;

use laneway::Queue;
use laneway::mailbox::{Inbox, Post};
use std::collections::BTreeSet;

/// A queue of a mailbox, for who goes past its handles.
fn inside(post: &Post, queue: &str) -> Queue {
    Queue::open(post.root().join("backend").join(queue)).unwrap()
}

/// An envelope of a plain message with all its words, as `docs/format.md` has it.
fn envelope() -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[..4].copy_from_slice(&[1, 1, 0, 0b11_1111]);
    bytes
}

/// The same with a word in it.
fn with(at: usize, word: u64) -> [u8; 72] {
    let mut bytes = envelope();
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Takes and acks all there is now: the bodies, each once.
fn take_all(inbox: &Inbox) -> BTreeSet<Vec<u8>> {
    let mut taken = BTreeSet::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        assert!(taken.insert(delivery.body()), "{:?} came twice", delivery.body());
        delivery.ack();
    }
    taken
}

/// What a child process does, whichever test is its parent.
#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "full" => space::on_a_full_file_system(&part),
        "victim" => many::take_one_and_wait(&part),
        "server" => servers::serve_and_leave(&part),
        "elsewhen" => names::send_from_another_time(&part),
        other => panic!("no part is named {other}"),
    }
}
