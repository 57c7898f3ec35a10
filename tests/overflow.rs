//! What happens when the receiver falls behind: segments come and go, nothing is lost or out of order, and memory falls
//! back. Sequential, in one process: what a kill or a race does is for `tests/crash.rs` and the loom models.

mod support;

use laneway::{OnFull, Pressure, Queue, Receiver, SendError, Sender, TryRecvError, TrySendError, Wait, layout};
use std::time::Duration;
use support::{LONG, check, payload, peek, scratch, slot};
use tempfile::TempDir;

const RING: u64 = 4096;

fn queue(dir: &TempDir, limit: u64) -> Queue {
    Queue::options().capacity(RING).overflow_limit(limit).max_lanes(4).create(dir.path().join("queue")).unwrap()
}

/// Bytes of memory that the lane's file takes, by the kernel's word.
fn held(queue: &Queue) -> u64 {
    let lanes = queue.observe().unwrap().lanes().unwrap();
    lanes.iter().map(|lane| lane.reserved_bytes).sum()
}

fn receive(receiver: &Receiver, from: &mut u64, to: u64) {
    while *from < to {
        let (_, number) = check(&receiver.try_recv().unwrap().to_vec());
        assert_eq!(number, *from);
        *from += 1;
    }
}

/// Sends messages until one does not fit. Returns how many there are by then.
fn fill(sender: &mut Sender, mut number: u64, len: usize) -> u64 {
    loop {
        match sender.try_send(&payload(1, number, len)) {
            Ok(_) => number += 1,
            Err(TrySendError::Full) => return number,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_burst_goes_to_segments_in_order_and_the_memory_comes_back_within_a_lap_of_the_ring() {
    let dir = scratch();
    let queue = queue(&dir, 256 << 10);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let base = held(&queue);
    for len in [16, 100, 1000, 5000] {
        let sent = fill(&mut sender, 0, len);
        assert!(sent * (len as u64 + 16) > 200 << 10, "{sent} messages of {len} bytes");
        let most = base + (256 << 10);
        assert!(held(&queue) > base + (200 << 10) && held(&queue) <= most, "{} bytes of {most}", held(&queue));
        let mut next = 0;
        receive(&receiver, &mut next, sent);
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        // The receiver has everything; the sender learns of it with the next message that asks.
        for number in sent..sent + (2 * RING / len as u64).max(20) {
            sender.send(&payload(1, number, len)).unwrap();
            receive(&receiver, &mut next, number + 1);
        }
        // What is longer than the ring needs a segment each time; no more than four times as much is kept.
        let needed = if len < RING as usize { 0 } else { 4 * (8 << 10) };
        assert!(held(&queue) <= base + needed, "{} bytes after a burst of {len} bytes a message", held(&queue));
        let mut rest = 0;
        while let Ok(message) = receiver.try_recv() {
            drop(message);
            rest += 1;
        }
        assert_eq!(rest, 0);
    }
}

#[test]
fn a_message_may_be_longer_than_the_ring_up_to_the_limit() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 10);
    assert_eq!(queue.max_message(), (60 << 10) - 16);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    for (number, len) in
        [5000, (60 << 10) - 16, 4081, (60 << 10) - 16, 40_000, 60, 4080, (60 << 10) - 16].into_iter().enumerate()
    {
        let bytes = payload(7, number as u64, len);
        sender.send(&bytes).unwrap();
        let got = receiver.recv().unwrap();
        assert_eq!(got.len(), len);
        check(&got.to_vec());
        let mut again = Vec::new();
        std::io::Read::read_to_end(&mut got.reader(), &mut again).unwrap();
        assert_eq!(again, bytes);
    }
    let longest = (60 << 10) - 15;
    assert_eq!(
        sender.send(&vec![0; longest]).unwrap_err(),
        SendError::TooLarge { len: longest, max: longest as u32 - 1 }
    );
    sender.set_on_full(OnFull::Block);
    assert_eq!(sender.send(&[0; 4081]).unwrap_err(), SendError::TooLarge { len: 4081, max: 4080 });
}

#[test]
fn traffic_that_never_stops_goes_back_and_forth_between_the_ring_and_segments() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 10);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let (mut sent, mut received) = (0, 0);
    let mut rng = support::Rng(5);
    let mut high = 0;
    for _ in 0..4000 {
        for _ in 0..rng.below(40) {
            let len = support::length(1, sent, if rng.below(50) == 0 { 9000 } else { 300 });
            match sender.try_send(&payload(1, sent, len)) {
                Ok(message) => {
                    high += u64::from(message.pressure() == Pressure::High);
                    sent += 1;
                }
                Err(TrySendError::Full) => break,
                Err(other) => panic!("{other}"),
            }
        }
        let some = (received + rng.below(45)).min(sent);
        receive(&receiver, &mut received, some);
    }
    receive(&receiver, &mut received, sent);
    assert!(sent > 10_000 && high > 100, "{sent} messages, {high} under high pressure");
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn who_comes_after_on_either_side_finds_everything_wherever_it_lies() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 10);
    let mut rng = support::Rng(9);
    let (mut sent, mut received) = (0, 0);
    for _ in 0..300 {
        let mut sender = queue.sender().unwrap();
        for _ in 0..rng.below(60) {
            let len = support::length(1, sent, 400);
            match sender.try_send(&payload(1, sent, len)) {
                Ok(_) => sent += 1,
                Err(TrySendError::Full) => break,
                Err(other) => panic!("{other}"),
            }
        }
        drop(sender);
        let receiver = queue.receiver().unwrap();
        let some = (received + rng.below(62)).min(sent);
        receive(&receiver, &mut received, some);
        let mut observer = queue.observe().unwrap();
        let seen = observer.peek(10_000).unwrap();
        assert_eq!(seen.len() as u64, sent - received);
        for (peeked, number) in seen.iter().zip(received..) {
            assert_eq!(check(&peeked.payload), (1, number));
        }
        let stat = observer.stat().unwrap();
        assert_eq!(stat.depth_messages, sent - received);
        assert!(stat.segment_bytes <= stat.depth_bytes && stat.reserved_bytes <= stat.limit_bytes);
    }
    assert!(sent > 3000);
    assert_eq!(queue.observe().unwrap().lanes().unwrap().len(), 1);
}

#[test]
fn closing_detaching_taking_over_and_trimming_give_back_what_is_not_needed() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 10);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    let base = held(&queue);
    let mut received = 0;
    // The receiver stands in the last segment until it has found the way out, which is one unit.
    let way_out = base + layout::GRANULE;
    // By hand.
    let mut sent = fill(&mut sender, 0, 100);
    receive(&receiver, &mut received, sent);
    assert!(held(&queue) > way_out);
    sender.trim();
    assert_eq!(held(&queue), way_out);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    sender.trim();
    assert_eq!(held(&queue), base);
    // By the end of the sender.
    sent = fill(&mut sender, sent, 100);
    receive(&receiver, &mut received, sent);
    assert!(held(&queue) > way_out);
    drop(sender);
    assert_eq!(held(&queue), way_out);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(queue.trim().unwrap(), layout::GRANULE);
    // With mail still there, by whoever comes next, or by the queue.
    let mut sender = queue.sender().unwrap();
    sent = fill(&mut sender, sent, 100);
    receive(&receiver, &mut received, sent - 1);
    let full = held(&queue);
    drop(sender);
    let less = held(&queue);
    assert!(base < less && less < full, "{base} {less} {full}");
    assert_eq!(queue.trim().unwrap(), 0, "the last message lies in the last segment");
    receive(&receiver, &mut received, sent);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(queue.trim().unwrap(), less - base);
    assert_eq!(held(&queue), base);
    let mut sender = queue.sender().unwrap();
    sent = fill(&mut sender, sent, 100);
    receive(&receiver, &mut received, sent);
    sender.close();
    assert_eq!(held(&queue), way_out);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    assert_eq!(queue.trim().unwrap(), layout::GRANULE);
    assert_eq!(held(&queue), base);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed, "trimming opens nothing");
}

#[test]
fn a_receiver_that_sleeps_has_read_everything_and_the_memory_comes_back_within_a_few_messages() {
    let dir = scratch();
    let queue = queue(&dir, 1 << 20);
    let mut sender = queue.sender().unwrap();
    let base = held(&queue);
    let sent = fill(&mut sender, 0, 1000);
    assert!(held(&queue) > base + (900 << 10));
    const LAST: u64 = 10;
    // Released, and then asleep: what was woken says so before it releases.
    let until_asleep_after = |count| {
        let words = queue.path().join("receiver");
        while peek(&words, slot(0) + layout::slot::RECEIVED) < count || peek(&words, layout::receiver::SLEEPS) & 1 == 0
        {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let receiver = queue.receiver().unwrap();
            receiver.set_wait(Wait::Park);
            for number in 0..sent + LAST {
                assert_eq!(check(&receiver.recv_timeout(LONG).unwrap().to_vec()), (1, number));
            }
        });
        for number in sent..sent + LAST {
            until_asleep_after(number);
            if number == sent + 4 {
                assert_eq!(held(&queue), base, "after four messages");
            }
            sender.send(&payload(1, number, 100)).unwrap();
        }
        receiver.join().unwrap();
    });
}

#[test]
fn messages_are_held_and_put_back_across_segments() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 10);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let sent = fill(&mut sender, 0, 1500);
    let mut held: Vec<_> = (0..sent).map(|_| receiver.try_recv().unwrap()).collect();
    // The last of each piece first, and some of them twice.
    held.reverse();
    let mut again = Vec::new();
    for (at, message) in held.into_iter().enumerate() {
        let (_, number) = check(&message.to_vec());
        assert_eq!(number, sent - 1 - at as u64);
        match at % 3 {
            0 => drop(message),
            1 => {
                again.push(number);
                message.put_back();
            }
            _ => message.release(),
        }
    }
    again.sort_unstable();
    let (first, rest) = again.split_at(again.len() / 2);
    for number in first {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()).1, *number);
    }
    let drained: Vec<u64> = receiver.drain().unwrap().map(|message| check(&message.to_vec()).1).collect();
    assert_eq!(drained, rest);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    let more = fill(&mut sender, sent, 1500) - sent;
    assert!(more > sent / 4 * 3, "{more} of {sent} fit: what was held twice is not free");
}

#[test]
fn each_strategy_does_what_it_says() {
    let dir = scratch();
    let queue = queue(&dir, 16 << 10);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    let brief = Duration::from_millis(1);
    for grows in [false, true] {
        let most = if grows { 20 << 10 } else { 4 << 10 };
        for (on_full, error) in [
            (if grows { OnFull::GrowThenFail } else { OnFull::Fail }, SendError::Full),
            (if grows { OnFull::GrowThenBlock } else { OnFull::Block }, SendError::Timeout),
            (if grows { OnFull::GrowThenDrop } else { OnFull::DropNewest }, SendError::Dropped),
        ] {
            assert_eq!(on_full.to_string().parse(), Ok(on_full));
            sender.set_on_full(on_full);
            let mut number = 0;
            let refused = loop {
                match sender.send_timeout(&payload(1, number, 120), brief) {
                    Ok(_) => number += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, error, "{on_full}");
            let bytes = number * 128;
            assert!(bytes > most / 4 * 3 && bytes <= most, "{on_full}: {bytes} of {most} bytes");
            let mut next = 0;
            receive(&receiver, &mut next, number);
            if error == SendError::Dropped {
                assert_eq!(sender.try_send(&[1; 20]).map(|sent| sent.to_string().is_empty()), Ok(false));
                assert_eq!(receiver.try_recv().unwrap().dropped_before(), 1);
            }
        }
    }
}

#[test]
fn dropped_messages_leave_a_count_where_they_are_missing() {
    let dir = scratch();
    let queue = queue(&dir, 0);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    sender.set_on_full(OnFull::DropNewest);
    let mut missing = 0;
    let mut number = 0;
    while missing < 5 {
        match sender.send(&payload(1, number, 56)) {
            Ok(_) => {}
            Err(SendError::Dropped) => missing += 1,
            Err(other) => panic!("{other}"),
        }
        number += 1;
    }
    assert_eq!(receiver.dropped(), 5);
    assert_eq!(queue.observe().unwrap().stat().unwrap().dropped, 5);
    let first = number - 5;
    for expected in 0..first {
        let message = receiver.try_recv().unwrap();
        assert_eq!((check(&message.to_vec()).1, message.dropped_before()), (expected, 0));
    }
    sender.send(&payload(1, number, 57)).unwrap();
    sender.send(&payload(1, number + 1, 56)).unwrap();
    // Also for whoever gets it again.
    for _ in 0..2 {
        let message = receiver.try_recv().unwrap();
        assert_eq!((check(&message.to_vec()), message.dropped_before()), ((1, number), 5));
        message.put_back();
    }
    drop(receiver);
    let receiver = queue.receiver().unwrap();
    let message = receiver.try_recv().unwrap();
    assert_eq!((check(&message.to_vec()), message.dropped_before()), ((1, number), 5));
    drop(message);
    assert_eq!(receiver.try_recv().unwrap().dropped_before(), 0);
    let read_pos = peek(queue.path().join("receiver"), slot(0) + layout::slot::READ_POS);
    assert_eq!(read_pos, peek(queue.path().join("lane-000"), layout::lane::WRITE_HINT));
}

#[test]
fn pressure_rises_above_the_high_mark_and_falls_at_the_low_one() {
    let dir = scratch();
    let options = Queue::options().capacity(RING).overflow_limit(0).water_marks(640, 1280);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    let seen = |queue: &Queue| queue.observe().unwrap().lanes().unwrap()[0].pressure;
    for round in 0..20 {
        for number in 1..=20 {
            // 64 bytes each.
            let pressure = sender.send(&payload(1, number, 56)).unwrap().pressure();
            let expected = if number > 20 { Pressure::High } else { Pressure::Normal };
            assert_eq!(pressure, expected, "{number} messages in round {round}");
        }
        assert_eq!(sender.send(&[0; 56]).unwrap().pressure(), Pressure::High);
        assert_eq!((receiver.pressure(), seen(&queue)), (Pressure::High, Pressure::High));
        for left in (11..=20).rev() {
            drop(receiver.try_recv().unwrap());
            assert_eq!(sender.pressure().unwrap(), Pressure::High, "{left} left");
            assert_eq!(receiver.pressure(), Pressure::High);
        }
        assert_eq!(sender.wait_until_calm(Duration::from_millis(1)), Err(SendError::Timeout));
        drop(receiver.try_recv().unwrap());
        assert_eq!((receiver.pressure(), seen(&queue)), (Pressure::Normal, Pressure::Normal));
        assert_eq!(sender.wait_until_calm(Duration::from_millis(1)), Ok(()));
        assert_eq!(receiver.try_iter().count(), 10);
    }
}

#[test]
fn a_message_as_long_as_the_ring_gets_through_after_others_were_dropped() {
    let dir = scratch();
    let queue = queue(&dir, 0);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender_options().on_full(OnFull::DropNewest).attach().unwrap();
    let (mut dropped, mut told) = (0, 0);
    for len in 4056..=4080 {
        for round in 0..3 {
            // The receiver may have to pass what is left of the last lap, and a gap.
            let mut tries = 0;
            while sender.send(&vec![round; len]).is_err() {
                (dropped, tries) = (dropped + 1, tries + 1);
                assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
                assert!(tries < 4, "{len} bytes do not get through");
            }
            dropped += u64::from(sender.send(&vec![9; len]).is_err());
            let message = receiver.try_recv().unwrap();
            assert_eq!((message.len(), message.to_vec()[0]), (len, round));
            told += message.dropped_before();
        }
    }
    assert!(dropped >= 75);
    sender.set_on_full(OnFull::Block);
    sender.send_timeout(&[4; 100], LONG).unwrap();
    told += receiver.try_recv().unwrap().dropped_before();
    assert_eq!((told, receiver.dropped()), (dropped, dropped));
}

#[test]
fn who_drops_and_goes_says_so_and_a_batch_goes_on() {
    let dir = scratch();
    let queue = queue(&dir, 0);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender_options().on_full(OnFull::DropNewest).attach().unwrap();
    let sent = sender.send_batch((0..100).map(|number| payload(1, number, 100))).unwrap();
    assert!((30..40).contains(&sent), "{sent}");
    drop(sender);
    assert_eq!(receiver.try_iter().count(), sent);
    queue.sender().unwrap().send(b"the next owner").unwrap();
    assert_eq!(receiver.try_recv().unwrap().dropped_before(), 100 - sent as u64);
    assert_eq!(receiver.dropped(), 100 - sent as u64);
}

#[test]
fn one_long_message_makes_the_next_segment_no_longer_than_it_need_be() {
    let dir = scratch();
    let queue = queue(&dir, 64 << 20);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let base = held(&queue);
    sender.send(&payload(1, 0, 20 << 20)).unwrap();
    drop(receiver.try_recv().unwrap());
    sender.trim();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    sender.trim();
    assert_eq!(held(&queue), base);
    for number in 1..6 {
        sender.send(&payload(1, number, 1500)).unwrap();
    }
    assert!(held(&queue) <= base + (16 << 10), "{}", held(&queue));
    // And the pressure falls as soon as the receiver has caught up, not after a sixteenth of what was long.
    let mut next = 1;
    receive(&receiver, &mut next, 6);
    let mut high = 0;
    for number in 6..40 {
        high += u64::from(sender.send(&payload(1, number, 1000)).unwrap().pressure() == Pressure::High);
        receive(&receiver, &mut next, number + 1);
    }
    assert!(high < 10, "{high} of 34");
}

#[test]
fn what_is_left_of_the_last_segment_is_not_in_the_way() {
    let dir = scratch();
    let queue = queue(&dir, 1 << 20);
    let mut sender = queue.sender().unwrap();
    sender.send(&payload(1, 0, 4000)).unwrap();
    sender.send(&payload(1, 1, 500 << 10)).unwrap();
    sender.send(&payload(1, 2, 100)).unwrap();
    assert!(sender.try_send(&payload(1, 3, 500 << 10)).is_ok(), "there is room for it beside what waits");
    let receiver = queue.receiver().unwrap();
    receive(&receiver, &mut 0, 4);
}

#[test]
fn a_poisoned_lane_is_no_pressure() {
    let dir = scratch();
    let queue = queue(&dir, 0);
    let (mut victim, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
    fill(&mut victim, 0, 100);
    other.send(b"sound").unwrap();
    support::poke(queue.path().join("lane-000"), layout::RING, &u64::MAX.to_ne_bytes());
    let receiver = queue.receiver().unwrap();
    assert!(receiver.recv().is_err());
    assert_eq!(receiver.recv().unwrap().to_vec(), b"sound");
    assert_eq!(receiver.pressure(), Pressure::Normal);
    assert_eq!(queue.observe().unwrap().stat().unwrap().pressure, Pressure::Normal);
}

#[test]
fn what_is_put_back_in_a_drain_harms_nothing_that_comes_after_it() {
    let dir = scratch();
    let options = Queue::options().sigbus_guard(false);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    sender.send(&payload(1, 0, 16)).unwrap();
    // In a segment whose length is no power of two.
    sender.send(&payload(1, 1, 300_000)).unwrap();
    let mut drain = receiver.drain().unwrap();
    drop(drain.next().unwrap());
    let long = drain.next().unwrap();
    for number in 2..242 {
        sender.try_send(&payload(1, number, 1000)).unwrap();
    }
    long.put_back();
    let drained: Vec<u64> = drain.map(|message| check(&message.to_vec()).1).collect();
    assert!(drained.iter().copied().eq(2..242));
    receive(&receiver, &mut 1, 2);
    assert!(receiver.damage().is_empty());
}

#[test]
fn senders_that_come_and_go_fill_the_lane_as_one_that_stays() {
    let dir = scratch();
    let queue = queue(&dir, 1 << 20);
    let mut sent = 0;
    loop {
        let mut sender = queue.sender_options().on_full(OnFull::GrowThenFail).attach().unwrap();
        match sender.send(&payload(1, sent, 3000)) {
            Ok(_) => sent += 1,
            Err(error) => break assert_eq!(error, SendError::Full),
        }
    }
    assert!(sent * 3008 > (1 << 20) / 4 * 3, "{sent} messages");
    receive(&queue.receiver().unwrap(), &mut 0, sent);
}
