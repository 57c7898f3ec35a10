//! A receiver that waits for other things too: another thread of its process notices the rings for it.
//!
//! The bridge is a loop around the library's own `Relay`; what it tells the receiver by is a lock, as it is in the library. A message that
//! nobody tells of leaves the receiver waiting, and loom reports a deadlock.
#![cfg(laneway_loom)]

use laneway::model::{Queue, Relay};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_tests::check_within;

/// As in `sleep.rs`, less one: there is a thread more.
const PREEMPTIONS: usize = 3;

/// What the receiver waits for: whether it was told.
#[derive(Default)]
struct Told {
    told: Mutex<bool>,
    changed: Condvar,
    stopped: Mutex<bool>,
}

impl Told {
    fn tell(&self) {
        *self.told.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn clear(&self) {
        *self.told.lock().unwrap() = false;
    }

    fn wait(&self) {
        let mut told = self.told.lock().unwrap();
        while !*told {
            told = self.changed.wait(told).unwrap();
        }
    }
}

/// Tells of rings until it is stopped: by the last ring.
fn bridge(relay: &Relay, told: &Told) {
    loop {
        relay.wait();
        told.tell();
        if *told.stopped.lock().unwrap() {
            return;
        }
    }
}

fn stop(queue: &Queue, told: &Told) {
    *told.stopped.lock().unwrap() = true;
    queue.ring();
}

#[test]
fn a_message_committed_while_the_receiver_arms_is_seen_or_rings() {
    a_message_is_seen_or_rings(|queue| queue);
}

#[test]
fn a_message_committed_while_the_receiver_arms_is_seen_or_rings_where_the_kernel_makes_the_fences() {
    a_message_is_seen_or_rings(Queue::asymmetric);
}

fn a_message_is_seen_or_rings(fences: fn(Queue) -> Queue) {
    check_within(PREEMPTIONS, move || {
        let queue = fences(Queue::new(1, 64));
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let (relay, told) = (receiver.relay(), Arc::new(Told::default()));
        let bridging = thread::spawn({
            let told = Arc::clone(&told);
            move || bridge(&relay, &told)
        });
        let sending = thread::spawn(move || sender.send(&[7]));
        told.clear();
        receiver.arm();
        let seen = receiver.try_recv();
        let received = seen.or_else(|| {
            told.wait();
            receiver.disarm();
            receiver.try_recv()
        });
        assert_eq!(received, Some(vec![7]));
        sending.join().unwrap();
        stop(&queue, &told);
        bridging.join().unwrap();
    });
}

#[test]
fn a_message_that_comes_after_the_look_at_what_was_rung_for_is_told_of_too() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let (relay, told) = (receiver.relay(), Arc::new(Told::default()));
        let bridging = thread::spawn({
            let told = Arc::clone(&told);
            move || bridge(&relay, &told)
        });
        let sending = thread::spawn(move || {
            sender.send(&[7]);
            sender.send(&[8]);
        });
        let mut received = Vec::new();
        while received.len() < 2 {
            told.clear();
            receiver.arm();
            let Some(payload) = receiver.try_recv() else {
                told.wait();
                continue;
            };
            receiver.disarm();
            received.push(payload);
        }
        assert_eq!(received, [[7], [8]]);
        sending.join().unwrap();
        stop(&queue, &told);
        bridging.join().unwrap();
    });
}
