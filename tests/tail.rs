//! Onlookers: what a tail sees of a queue, how it says what it missed, what a receiver would get next, and that looking
//! changes nothing. Cannot see how long a tail lags behind: it is not asserted.

mod support;

use laneway::{Cause, Fault, Observer, OnFull, Peeked, Priority, Queue, Since, Tail, Traffic, layout};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::{LONG, Rng, Role, check, payload, poke, role, scratch, small_queue};

fn message(traffic: Option<Traffic>) -> Peeked {
    match traffic {
        Some(Traffic::Message(seen)) => seen,
        other => panic!("not a message: {other:?}"),
    }
}

#[track_caller]
fn next(tail: &mut Tail) -> Traffic {
    tail.next(Some(LONG)).unwrap().expect("something in time")
}

fn texts(tail: &mut Tail) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(traffic) = tail.try_next().unwrap() {
        texts.push(String::from_utf8(message(Some(traffic)).payload).unwrap());
    }
    texts
}

#[test]
fn a_tail_begins_where_it_is_told_to_and_consumes_nothing() {
    let dir = scratch();
    let queue = small_queue(&dir, 8);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    ["a", "b", "c"].iter().for_each(|text| assert!(sender.send(text.as_bytes()).is_ok()));
    receiver.recv().unwrap().release();
    let mut tails = [Since::Now, Since::Pending, Since::Oldest].map(|since| queue.observe().unwrap().tail(since));
    sender.send(b"d").unwrap();
    let [now, pending, oldest] = &mut tails;
    assert_eq!(texts(now), ["d"]);
    assert_eq!(texts(pending), ["b", "c", "d"]);
    assert_eq!(texts(oldest), ["a", "b", "c", "d"], "what was released is there until it is overwritten");
    // A lane that comes later is seen from its beginning, with its priority.
    let mut urgent = queue.sender_options().priority(Priority::Urgent).attach().unwrap();
    let sent = urgent.send(b"e").unwrap();
    let seen = message(Some(next(now)));
    assert_eq!((seen.ticket, seen.priority, &seen.payload[..]), (sent.ticket(), Priority::Urgent, &b"e"[..]));
    let received: Vec<Vec<u8>> = receiver.try_iter().map(|message| message.to_vec()).collect();
    assert_eq!(received, [b"e", b"b", b"c", b"d"], "nobody took anything");
}

#[test]
fn a_tail_follows_through_segments_also_when_they_were_given_back() {
    let dir = scratch();
    let queue =
        Queue::options().capacity(4096).overflow_limit(1 << 20).max_lanes(2).create(dir.path().join("queue")).unwrap();
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let mut behind = queue.observe().unwrap().tail(Since::Now);
    let mut number = 0;
    let mut missed = 0;
    let mut expected_behind = 0;
    for round in 0..6 {
        let first = number;
        // Up to 300 KiB, through some segments.
        for _ in 0..200 + 100 * (round % 3) {
            sender.send(&payload(0, number, 16 + (number % 1000) as usize)).unwrap();
            number += 1;
        }
        for expected in first..number {
            assert_eq!(check(&message(Some(next(&mut tail))).payload), (0, expected));
        }
        receiver.try_iter().for_each(drop);
        sender.trim();
        // The other looks only now: in memory that was given back there is nothing, and it says how much it was.
        while let Some(traffic) = behind.try_next().unwrap() {
            match traffic {
                Traffic::Message(seen) => {
                    let (_, found) = check(&seen.payload);
                    assert!(found >= expected_behind);
                    missed += found - expected_behind;
                    expected_behind = found + 1;
                }
                Traffic::Lapped { messages, .. } => {
                    missed += messages;
                    expected_behind += messages;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(expected_behind, number);
    }
    assert!(missed > 0, "the other was never lapped");
}

/// What a tail saw of lanes whose messages are numbered, and what it says it missed.
#[derive(Default)]
struct Account {
    seen: u64,
    missed: u64,
    laps: u64,
    last: BTreeMap<u32, u64>,
}

impl Account {
    /// Every message is whole, of the sender that it should be of, and later than the one before.
    fn take(&mut self, traffic: Traffic) {
        match traffic {
            Traffic::Message(seen) => {
                let (_, number) = check(&seen.payload);
                let last = self.last.insert(seen.ticket.lane, number);
                assert!(last.is_none_or(|last| last < number), "{number} of lane {} after {last:?}", seen.ticket.lane);
                self.seen += 1;
            }
            Traffic::Lapped { bytes, messages, .. } => {
                self.laps += u64::from(bytes > 0);
                self.missed += messages;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn beside_fast_senders_and_a_receiver_what_is_seen_and_what_is_missed_add_up() {
    const SENDERS: u64 = 2;
    const EACH: u64 = 60_000;
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let done = AtomicBool::new(false);
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let account = thread::scope(|scope| {
        for sender in 0..SENDERS {
            let queue = &queue;
            scope.spawn(move || {
                let mut handle = queue.sender().unwrap();
                for number in 0..EACH {
                    let len = 16 + Rng(number).below(100) as usize;
                    handle.send_timeout(&payload(sender, number, len), LONG).unwrap();
                }
            });
        }
        let receiver = {
            let queue = &queue;
            scope.spawn(move || {
                let receiver = queue.receiver().unwrap();
                for _ in 0..SENDERS * EACH {
                    check(&receiver.recv_timeout(LONG).unwrap().to_vec());
                }
            })
        };
        let watching = scope.spawn(|| {
            let mut account = Account::default();
            loop {
                // Asked before the look: when all is over, one more look finds all there is.
                let over = done.load(Ordering::Acquire);
                match tail.try_next().unwrap() {
                    Some(traffic) => account.take(traffic),
                    None if over => break account,
                    None => thread::yield_now(),
                }
            }
        });
        receiver.join().unwrap();
        done.store(true, Ordering::Release);
        watching.join().unwrap()
    });
    assert!(account.seen > 0, "it saw nothing at all");
    assert_eq!(account.seen + account.missed, SENDERS * EACH, "{} seen, {} laps", account.seen, account.laps);
}

#[test]
fn one_that_looks_away_for_laps_is_told_how_many_it_missed() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let mut number = 0;
    let mut send = |messages: u64| {
        for _ in 0..messages {
            sender.send_timeout(&payload(0, number, 56), LONG).unwrap();
            receiver.recv().unwrap().release();
            number += 1;
        }
    };
    send(3);
    for expected in 0..3 {
        assert_eq!(check(&message(tail.try_next().unwrap()).payload).1, expected);
    }
    send(1000);
    assert_eq!(tail.try_next().unwrap(), Some(Traffic::Lapped { lane: 0, bytes: 64 * 1000, messages: 1000 }));
    send(1);
    assert_eq!(check(&message(tail.try_next().unwrap()).payload).1, 1003);
    assert_eq!(tail.try_next().unwrap(), None);
}

#[test]
fn a_tail_outlives_senders_and_receivers_and_ends_when_the_queue_is_gone() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let mut expected = 0;
    for round in 0..4 {
        // A process that is killed where it stands, with a message that it had claimed and not committed.
        let mut child = Role::new("sender", queue.path()).with("FIRST", 10 * round).start();
        child.expect("sent");
        child.kill();
        for _ in 0..10 {
            assert_eq!(check(&message(Some(next(&mut tail))).payload), (7, expected));
            expected += 1;
        }
        let receiver = queue.receiver().unwrap();
        (0..5).for_each(|_| receiver.recv().unwrap().release());
    }
    let mut sender = queue.sender().unwrap();
    sender.send(b"last").unwrap();
    queue.destroy().unwrap();
    assert_eq!(message(Some(next(&mut tail))).payload, b"last");
    let error = tail.next(Some(LONG)).unwrap_err();
    assert!(matches!(error.cause(), Cause::Detached), "{error}");
}

#[test]
#[ignore = "a part of the others"]
fn child() {
    let Some(part) = role() else { return };
    let queue = part.open();
    let mut sender = queue.sender().unwrap();
    let first = part.number("FIRST");
    (first..first + 10).for_each(|number| assert!(sender.send(&payload(7, number, 40)).is_ok()));
    let mut claim = sender.claim(100).unwrap();
    claim.write_all(&[0xff; 50]).unwrap();
    part.say("sent");
    part.pause();
}

#[test]
fn damage_is_told_once_and_the_other_lanes_go_on() {
    let dir = scratch();
    let queue = small_queue(&dir, 3);
    let (mut one, mut two) = (queue.sender().unwrap(), queue.sender().unwrap());
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let spoilt = one.send(b"spoilt").unwrap().ticket();
    poke(queue.path().join("lane-000"), layout::RING + spoilt.position as usize + 4, &[9]);
    let Traffic::Damaged(damage) = next(&mut tail) else { panic!("it saw no damage") };
    assert_eq!((damage.lane, damage.fault, damage.position), (0, Fault::Kind, spoilt.position));
    two.send(b"sound").unwrap();
    assert_eq!(message(Some(next(&mut tail))).payload, b"sound");
    assert_eq!(tail.try_next().unwrap(), None);
    // A lane whose file is nothing to be read.
    fs::write(queue.path().join("lane-002"), "what is this?").unwrap();
    let Traffic::Unreadable { lane: 2, why } = next(&mut tail) else { panic!("it did not tell of lane 2") };
    assert!(why.contains("lane-002"), "{why}");
    assert_eq!(tail.try_next().unwrap(), None);
}

#[test]
fn a_lane_that_its_receiver_retired_is_told() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    sender.send(b"seen").unwrap();
    assert_eq!(message(Some(next(&mut tail))).payload, b"seen");
    let word = layout::slot_offset(0) + layout::slot::FAULT;
    poke(queue.path().join("receiver"), word, &(Fault::Truncated as u32).to_ne_bytes());
    let Traffic::Damaged(damage) = next(&mut tail) else { panic!("it saw no damage") };
    assert_eq!(damage.fault, Fault::Truncated);
    assert_eq!(tail.try_next().unwrap(), None);
}

#[test]
fn a_file_that_is_cut_off_while_it_is_watched_costs_its_lane() {
    let dir = scratch();
    let queue = Queue::options().capacity(1 << 16).max_lanes(2).create(dir.path().join("queue")).unwrap();
    let (mut cut, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    cut.send(b"before").unwrap();
    assert_eq!(message(Some(next(&mut tail))).payload, b"before");
    // The commit word of this one is there, and the end of its payload is not.
    cut.send(&[1; 20_000]).unwrap();
    fs::File::options().write(true).open(queue.path().join("lane-000")).unwrap().set_len(8192).unwrap();
    let Traffic::Damaged(damage) = next(&mut tail) else { panic!("it saw no damage") };
    assert_eq!((damage.lane, damage.fault), (0, Fault::Truncated));
    other.send(b"whole").unwrap();
    assert_eq!(message(Some(next(&mut tail))).payload, b"whole");
    assert_eq!(tail.try_next().unwrap(), None);
}

#[test]
fn the_oldest_message_is_found_across_the_end_of_the_ring() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let mut looked = 0;
    // Of lengths with which pads come, and the receiver stands before them and behind them.
    for number in 0..500 {
        sender.send(&payload(0, number, 16 + (number * 37 % 700) as usize)).unwrap();
        if number % 3 == 2 {
            (0..2).for_each(|_| receiver.recv().unwrap().release());
            let _ = receiver.try_recv().map(|message| message.release());
        }
        let mut tail = queue.observe().unwrap().tail(Since::Oldest);
        let mut last = None;
        while let Some(traffic) = tail.try_next().unwrap() {
            let (_, found) = check(&message(Some(traffic)).payload);
            assert!(last.is_none_or(|last| last + 1 == found));
            last = Some(found);
            looked += 1;
        }
        assert_eq!(last, Some(number), "what was released last is there still");
    }
    assert!(looked > 1000);
}

#[test]
fn positions_that_lie_end_the_lane_and_nothing_else() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    sender.send(b"there").unwrap();
    for accepted in [u64::MAX, u64::MAX - 7, 1 << 40, 4096, 3] {
        let mut tail = queue.observe().unwrap().tail(Since::Pending);
        poke(queue.path().join("lane-000"), layout::lane::ACCEPTED, &accepted.to_ne_bytes());
        let Traffic::Damaged(damage) = next(&mut tail) else { panic!("{accepted} was believed") };
        assert_eq!((damage.fault, damage.found), (Fault::ReadPosition, accepted));
        assert_eq!(tail.try_next().unwrap(), None);
        // And who begins there.
        let mut oldest = queue.observe().unwrap().tail(Since::Oldest);
        assert!(matches!(next(&mut oldest), Traffic::Damaged(_)));
    }
}

#[test]
fn messages_that_their_sender_dropped_are_told() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender_options().on_full(OnFull::DropNewest).attach().unwrap();
    let mut tail = queue.observe().unwrap().tail(Since::Now);
    let sent = (0..100).filter(|number| sender.send(&payload(0, *number, 100)).is_ok()).count() as u64;
    queue.receiver().unwrap().try_iter().for_each(drop);
    sender.send(&payload(0, 100, 100)).unwrap();
    let mut account = Account::default();
    let mut dropped = 0;
    while let Some(traffic) = tail.try_next().unwrap() {
        match traffic {
            Traffic::Dropped { messages, .. } => dropped += messages,
            other => account.take(other),
        }
    }
    assert_eq!((account.seen + account.missed, dropped), (sent + 1, 100 - sent));
}

#[test]
fn what_is_upcoming_comes_in_that_order() {
    let dir = scratch();
    let queue = Queue::options().capacity(1 << 16).max_lanes(16).create(dir.path().join("queue")).unwrap();
    let priorities = [Priority::Low, Priority::Normal, Priority::Urgent, Priority::Normal, Priority::Low];
    let attach = |priority: Priority| queue.sender_options().priority(priority).attach().unwrap();
    let mut senders = priorities.map(attach);
    let mut rng = Rng(5);
    for number in 0..600 {
        let which = rng.below(senders.len() as u64) as usize;
        senders[which].send(&payload(which as u64, number, 16 + rng.below(1000) as usize)).unwrap();
    }
    let mut observer = queue.observe().unwrap();
    let all = observer.upcoming(usize::MAX).unwrap();
    assert_eq!(all.len(), 600);
    let ten = observer.upcoming(10).unwrap();
    assert_eq!(ten, all[..10]);
    let receiver = queue.receiver().unwrap();
    for (at, upcoming) in all.iter().enumerate() {
        let received = receiver.try_recv().unwrap();
        let (is, was) = ((received.lane(), received.position()), (upcoming.ticket.lane, upcoming.ticket.position));
        assert_eq!(is, was, "message {at}");
    }
}

#[test]
fn looking_changes_no_byte() {
    let dir = scratch();
    let queue =
        Queue::options().capacity(4096).overflow_limit(1 << 20).max_lanes(4).create(dir.path().join("queue")).unwrap();
    let mut senders = [queue.sender().unwrap(), queue.sender().unwrap()];
    let receiver = queue.receiver().unwrap();
    for number in 0..200 {
        senders[number as usize % 2].send(&payload(0, number, 100)).unwrap();
    }
    (0..50).for_each(|_| receiver.recv().unwrap().release());
    let files = || -> BTreeMap<_, _> {
        let names = fs::read_dir(queue.path()).unwrap().map(|entry| entry.unwrap().path());
        names.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
    };
    let before = files();
    let looked = |mut observer: Observer| {
        observer.stat().unwrap();
        assert_eq!(observer.upcoming(usize::MAX).unwrap().len(), 150);
        let mut tail = observer.tail(Since::Oldest);
        let mut seen = 0;
        while tail.try_next().unwrap().is_some() {
            seen += 1;
        }
        assert!(seen >= 150);
        assert!(tail.next(Some(std::time::Duration::from_millis(1))).unwrap().is_none());
    };
    looked(queue.observe().unwrap());
    assert!(before == files(), "a file is not what it was");
}
