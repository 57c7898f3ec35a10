//! Bells: who sleeps is woken, and who drains misses nothing.
//!
//! There is no clock: a wake-up that is lost leaves the sleeper sleeping, and loom reports a deadlock.
#![cfg(laneway_loom)]

use laneway::model::Queue;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use loom_tests::check_within;

/// Preemptions in the models with several sleeps: without a bound they take many minutes each, with this one seconds.
const PREEMPTIONS: usize = 4;

#[test]
fn a_message_wakes_the_receiver() {
    a_message_wakes(|queue| queue);
}

#[test]
fn a_message_wakes_the_receiver_where_the_kernel_makes_the_fences() {
    a_message_wakes(Queue::asymmetric);
}

fn a_message_wakes(fences: fn(Queue) -> Queue) {
    loom::model(move || {
        let queue = fences(Queue::new(1, 64));
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || sender.send(&[7]));
        assert_eq!(receiver.recv(), Some(vec![7]));
        sending.join().unwrap();
    });
}

#[test]
fn each_message_wakes_the_receiver() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || {
            sender.send(&[7]);
            sender.send(&[8]);
        });
        assert_eq!(receiver.recv(), Some(vec![7]));
        assert_eq!(receiver.recv(), Some(vec![8]));
        sending.join().unwrap();
    });
}

#[test]
fn two_senders_wake_one_receiver() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(2, 32);
        let receiver = queue.receiver();
        let sending = [0, 1].map(|lane| {
            let mut sender = queue.sender(lane);
            thread::spawn(move || sender.send(&[lane as u64]))
        });
        let mut received = [(); 2].map(|()| receiver.recv());
        received.sort();
        assert_eq!(received, [Some(vec![0]), Some(vec![1])]);
        sending.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn room_wakes_the_sender() {
    loom::model(|| {
        let queue = Queue::new(1, 32);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        sender.send(&[7]);
        // The ring has no room for another one.
        let sending = thread::spawn(move || sender.send(&[8]));
        assert_eq!(receiver.try_recv(), Some(vec![7]));
        sending.join().unwrap();
        assert_eq!(receiver.try_recv(), Some(vec![8]));
    });
}

#[test]
fn both_sides_of_a_ring_of_one_message_sleep_and_wake_each_other() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 32);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || [7, 8].map(|payload| sender.send(&[payload])));
        assert_eq!(receiver.recv(), Some(vec![7]));
        assert_eq!(receiver.recv(), Some(vec![8]));
        sending.join().unwrap();
    });
}

#[test]
fn a_message_that_fits_only_behind_a_pad_gets_there() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 128);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        sender.send(&[7; 8]);
        // 56 bytes are left before the end, and behind the end there are enough only once the pad was passed.
        let sending = thread::spawn(move || sender.send(&[8; 8]));
        assert_eq!(receiver.recv(), Some(vec![7; 8]));
        assert_eq!(receiver.recv(), Some(vec![8; 8]));
        sending.join().unwrap();
    });
}

#[test]
fn the_end_wakes_the_receiver_after_the_last_message() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let closing = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[7]));
            sender.close();
        });
        assert_eq!(receiver.recv(), Some(vec![7]));
        assert_eq!(receiver.recv(), None);
        closing.join().unwrap();
    });
}

#[test]
fn who_learns_of_the_end_sees_what_the_sender_did_before() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        // In memory that the queue knows nothing of.
        let done = Arc::new(AtomicBool::new(false));
        let closing = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                done.store(true, Ordering::Relaxed);
                sender.close();
            }
        });
        let finished = receiver.is_finished();
        assert!(done.load(Ordering::Relaxed) || !finished);
        closing.join().unwrap();
    });
}

#[test]
fn a_drain_holds_what_was_sent_before_it() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        // Relaxed: a message from the sender to the receiver that orders nothing.
        let returned = Arc::new(AtomicBool::new(false));
        let sending = thread::spawn({
            let returned = Arc::clone(&returned);
            move || {
                sender.send(&[7]);
                returned.store(true, Ordering::Relaxed);
            }
        });
        let must_be_there = returned.load(Ordering::Relaxed);
        let drained = receiver.drain(0);
        assert!(drained == [[7]] || drained.is_empty() && !must_be_there);
        sending.join().unwrap();
    });
}
