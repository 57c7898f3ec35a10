//! The drain contract: every message whose `send` returned before `drain` was called is in it, also those sent before
//! any receiver existed, between two receivers, and during the last instant of a turn; a drain ends although senders
//! do not; the end of a turn is quiet only if nothing waits. Threads race on the test machine's own memory order, so
//! this cannot show that no order breaks the contract; the loom models of the doorbell can.

mod support;

use laneway::{Queue, Receiver, RecvError, TurnEnd, Wait};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{LONG, Role, check, length, payload, scratch, small_queue};

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let mut sender = part.open().sender().unwrap();
    let (number, count) = (part.number("NUMBER"), part.number("COUNT"));
    for i in 0..count {
        sender.send(&payload(number, i, length(number, i, 100))).unwrap();
        if part.name == "one by one" {
            part.say(&format!("sent {i}"));
            part.pause();
        }
    }
    part.say("done");
}

/// Drains to the end: how many messages of each sender came, each in order from what had come before.
fn drain(receiver: &Receiver, seen: &mut BTreeMap<u64, u64>) -> usize {
    let mut drain = receiver.drain().unwrap();
    let mut count = 0;
    for message in &mut drain {
        let (sender, number) = check(&message.to_vec());
        let next = seen.entry(sender).or_default();
        assert_eq!(number, *next, "sender {sender}");
        *next += 1;
        count += 1;
    }
    count
}

#[test]
fn a_drain_has_what_was_sent_before_any_receiver_existed() {
    let dir = scratch();
    let queue = Queue::options().capacity(8192).max_lanes(8).create(dir.path().join("queue")).unwrap();
    let start = |number| Role::new("all at once", queue.path()).with("NUMBER", number).with("COUNT", 20).start();
    let mut children: Vec<_> = (0..7).map(start).collect();
    for child in &mut children {
        child.expect("done");
        assert!(child.succeeded());
    }
    // The last one takes over a lane of one that has exited.
    let mut last = start(7);
    last.expect("done");
    assert!(last.succeeded());
    assert!(queue.observe().unwrap().lanes().unwrap().iter().any(|lane| lane.attaches > 1));
    let receiver = queue.receiver().unwrap();
    let mut seen = BTreeMap::new();
    assert_eq!(drain(&receiver, &mut seen), 160);
    assert_eq!(drain(&receiver, &mut seen), 0);
}

#[test]
fn a_drain_has_what_was_sent_between_two_receivers() {
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let mut sender = queue.sender().unwrap();
    let mut seen = BTreeMap::new();
    for number in 0..300u64 {
        let receiver = queue.receiver().unwrap();
        // All but the first from before this receiver came.
        assert_eq!(drain(&receiver, &mut seen), usize::from(number > 0));
        drop(receiver);
        sender.send(&payload(0, number, 30)).unwrap();
    }
}

#[test]
fn a_drain_has_everything_whose_send_returned_in_another_process_before_the_call() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let receiver = queue.receiver().unwrap();
    let mut seen = BTreeMap::new();
    let mut children: Vec<_> = (0..3)
        .map(|number| Role::new("one by one", queue.path()).with("NUMBER", number).with("COUNT", 60).start())
        .collect();
    for i in 0..60 {
        for child in &mut children {
            child.expect(&format!("sent {i}"));
        }
        // Nothing but the drain itself tells the receiver, of new lanes neither.
        assert_eq!(drain(&receiver, &mut seen), 3);
        children.iter_mut().for_each(support::Peer::go);
    }
}

/// One thread sends and counts what has been sent; another one drains and compares with the count before the call.
#[test]
fn a_drain_never_misses_a_message_that_another_thread_had_sent() {
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let receiver = queue.receiver().unwrap();
    const MESSAGES: u64 = 60_000;
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = queue.sender().unwrap();
            for number in 0..MESSAGES {
                sender.send_timeout(&payload(0, number, 16), LONG).unwrap();
                // Relaxed on purpose: `drain` itself must do the ordering.
                sent.store(number + 1, Ordering::Relaxed);
            }
        });
        let mut seen = BTreeMap::new();
        while seen.get(&0).is_none_or(|next| *next < MESSAGES) {
            let before = sent.load(Ordering::Relaxed);
            drain(&receiver, &mut seen);
            assert!(seen.get(&0).copied().unwrap_or(0) >= before, "{before} were sent before the drain");
        }
    });
}

#[test]
fn a_drain_ends_although_the_senders_never_stop() {
    let dir = scratch();
    let queue = small_queue(&dir, 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiver = queue.receiver().unwrap();
        for number in 0..3 {
            let (queue, stop) = (&queue, &stop);
            scope.spawn(move || {
                let mut sender = queue.sender().unwrap();
                for i in 0.. {
                    // Empty at the end of the test, when nobody makes room any more.
                    if stop.load(Ordering::Relaxed) || sender.send_timeout(&payload(number, i, 16), LONG).is_err() {
                        break;
                    }
                }
            });
        }
        let mut seen = BTreeMap::new();
        for _ in 0..200 {
            // A lane of 4,096 bytes holds at most so many records of 24 bytes, of which two fit in a line.
            assert!(drain(&receiver, &mut seen) <= 3 * 4096 / 24);
        }
        stop.store(true, Ordering::Relaxed);
        while scope_is_busy(&queue) {
            drain(&receiver, &mut seen);
        }
    });
}

/// Whether a sender still holds a lane.
fn scope_is_busy(queue: &Queue) -> bool {
    queue.observe().unwrap().lanes().unwrap().iter().any(|lane| lane.sender_alive)
}

#[test]
fn a_drain_stops_at_one_ring_and_counts_what_came_since() {
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let receiver = queue.receiver().unwrap();
    let (mut one, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
    one.send(&payload(0, 0, 30)).unwrap();
    other.send(&payload(1, 0, 30)).unwrap();
    let mut drained = receiver.drain().unwrap();
    assert_eq!(drained.arrived_since(), 2, "before the end it counts what is left");
    let mut count = 0;
    for message in drained.by_ref() {
        let (sender, number) = check(&message.to_vec());
        drop(message);
        // For each message of the first lane a new one: it never runs empty, and the drain ends all the same.
        if sender == 0 {
            one.try_send(&payload(0, number + 1, 30)).unwrap();
        }
        count += 1;
        assert!(count < 200, "it does not end");
    }
    assert!(count > 60, "a ring holds more than {count}");
    assert_eq!(drained.arrived_since(), 1);
    for number in 1..4 {
        other.send(&payload(1, number, 30)).unwrap();
    }
    assert_eq!(drained.arrived_since(), 4);
    drop(drained);
    assert_eq!(receiver.drain().unwrap().count(), 4);
}

#[test]
fn a_drain_that_is_left_early_keeps_the_rest_for_the_next_one() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    for number in 0..10 {
        sender.send(&payload(0, number, 30)).unwrap();
    }
    assert_eq!(receiver.drain().unwrap().take(4).count(), 4);
    let held: Vec<_> = receiver.drain().unwrap().take(2).collect();
    let mut seen = BTreeMap::from([(0, 6)]);
    assert_eq!(drain(&receiver, &mut seen), 4);
    drop(held);
    assert_eq!(queue.observe().unwrap().depth_bytes().unwrap(), 0);
}

#[test]
fn room_that_a_drain_makes_is_seen_by_a_sender_that_waits_for_it() {
    // The receiver leaves its drain early and then waits: what was released must not stay with it.
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let receiver = queue.receiver().unwrap();
    receiver.set_wait(Wait::Park);
    let mut sender = queue.sender().unwrap();
    sender.send(&payload(0, 0, 30)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Only an empty ring has room for it.
            sender.send_timeout(&payload(0, 1, 4080), LONG).unwrap();
        });
        let mut drain = receiver.drain().unwrap();
        drop(drain.next().unwrap());
        let message = receiver.recv_timeout(LONG).unwrap();
        assert_eq!(check(&message.to_vec()), (0, 1));
        drop(message);
        assert!(drain.next().is_none());
    });
}

/// A worker in turns against senders that send at any moment: when the end of a turn is quiet, everything whose send
/// had returned before the call has been seen, and what comes later is found by the next drain.
#[test]
fn a_turn_ends_quietly_only_when_nothing_waits_and_nothing_is_lost_at_its_last_instant() {
    const EACH: u64 = 8_000;
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let sent = [const { AtomicU64::new(0) }; 2];
    let mut quiet = 0;
    std::thread::scope(|scope| {
        for (number, sent) in (0..).zip(&sent) {
            let queue = &queue;
            scope.spawn(move || {
                let mut sender = queue.sender().unwrap();
                for i in 0..EACH {
                    sender.send_timeout(&payload(number, i, 16), LONG).unwrap();
                    sent.store(i + 1, Ordering::Relaxed);
                    // So that the worker comes to the end of its turn now and then.
                    (0..i % 200).for_each(|_| std::hint::spin_loop());
                }
            });
        }
        let receiver = queue.receiver().unwrap();
        let mut seen = BTreeMap::new();
        while seen.values().sum::<u64>() < 2 * EACH {
            drain(&receiver, &mut seen);
            loop {
                let before = [0, 1].map(|number: usize| sent[number].load(Ordering::Relaxed));
                match receiver.finish_turn().unwrap() {
                    TurnEnd::Late(mail) => {
                        let mut count = 0;
                        for message in mail {
                            let (sender, number) = check(&message.to_vec());
                            let next = seen.entry(sender).or_default();
                            assert_eq!(number, *next);
                            *next += 1;
                            count += 1;
                        }
                        assert!(count > 0, "late, and nothing came");
                    }
                    TurnEnd::Quiet => {
                        for (number, before) in (0..).zip(before) {
                            let seen = seen.get(&number).copied().unwrap_or(0);
                            assert!(seen >= before, "quiet, with {} of sender {number} unseen", before - seen);
                        }
                        quiet += 1;
                        break;
                    }
                }
            }
        }
    });
    assert!(quiet > 0);
}

#[test]
fn a_pair_drains_and_ends_turns_like_a_queue() {
    let (mut sender, receiver) = laneway::pair(4096).unwrap();
    assert!(matches!(receiver.finish_turn().unwrap(), TurnEnd::Quiet));
    sender.send_batch((0..5).map(|i| payload(0, i, 40))).unwrap();
    let TurnEnd::Late(mail) = receiver.finish_turn().unwrap() else { panic!("five messages wait") };
    assert_eq!(mail.count(), 5);
    assert!(matches!(receiver.finish_turn().unwrap(), TurnEnd::Quiet));
    drop(sender);
    assert_eq!(receiver.recv().unwrap_err(), RecvError::Closed);
}
