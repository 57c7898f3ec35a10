//! Priorities between real lanes, and where it matters between processes: who overtakes whom, who gets a lane, and what
//! is left for the others. Cannot see what the share is at any instant, only over a long run.

mod support;

use laneway::layout::{HEADER_LEN, Header};
use laneway::{Cause, LaneStat, Priority, Queue, Receiver, Sender, TryRecvError, TrySendError};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use support::*;

use Priority::{Low, Normal, Urgent};

fn attach(queue: &Queue, priority: Priority) -> Sender {
    let sender = queue.sender_options().priority(priority).attach().unwrap();
    assert_eq!(sender.priority(), priority);
    sender
}

/// Sends until there is no more room.
fn fill(sender: &mut Sender, payload: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        match sender.try_send(payload) {
            Ok(_) => sent += 1,
            Err(TrySendError::Full) => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

fn queue(dir: &tempfile::TempDir) -> Queue {
    // Without segments, so that floods are full soon.
    Queue::options().capacity(64 << 10).overflow_limit(0).create(dir.path().join("queue")).unwrap()
}

#[test]
#[ignore = "the other process of the tests below"]
fn child() {
    let Some(part) = role() else { return };
    let queue = part.open();
    match part.name.as_str() {
        "flood" => {
            let mut sender = queue.sender().unwrap();
            let sent = fill(&mut sender, &[7; 1000]);
            part.say(&sent.to_string());
            sender.send(&[7; 1000]).unwrap();
            part.say("there was room again");
        }
        "steer" => {
            let mut sender = attach(&queue, Urgent);
            part.say(&format!("lane {}", sender.lane()));
            sender.try_send(b"stop").unwrap();
            part.say("sent");
        }
        "hold" => {
            let held: Vec<Sender> = (0..part.number("LANES")).map(|_| attach(&queue, Normal)).collect();
            part.say("held");
            part.pause();
            drop(held);
        }
        other => panic!("no such part: {other}"),
    }
}

#[test]
fn an_urgent_message_overtakes_a_full_lane_in_the_middle_of_its_turn() {
    let dir = scratch();
    let queue = queue(&dir);
    let receiver = queue.receiver().unwrap();
    let mut flood = Role::new("flood", queue.path()).start();
    let sent: usize = flood.hear().unwrap().parse().unwrap();
    assert!(sent > 60);
    // Three messages into a turn of sixteen.
    for _ in 0..3 {
        assert_eq!(receiver.recv().unwrap().priority(), Normal);
    }
    let mut steer = Role::new("steer", queue.path()).start();
    steer.expect("lane 56");
    steer.expect("sent");
    // Its lane is the first of its kind that the receiver sees.
    let message = receiver.recv().unwrap();
    assert_eq!((message.to_vec(), message.priority()), (b"stop".to_vec(), Urgent));
    drop(message);
    assert_eq!(receiver.try_recv().unwrap().priority(), Normal);
    flood.expect("there was room again");
}

#[test]
fn the_lane_that_was_interrupted_goes_on_with_its_turn() {
    let dir = scratch();
    let queue = queue(&dir);
    let (mut one, mut other, mut urgent) = (attach(&queue, Normal), attach(&queue, Normal), attach(&queue, Urgent));
    let receiver = queue.receiver().unwrap();
    fill(&mut one, &[0; 1016]);
    fill(&mut other, &[0; 1016]);
    let mut order = Vec::new();
    for at in 0..48 {
        if at % 3 == 2 {
            urgent.send(b"!").unwrap();
            assert_eq!(receiver.recv().unwrap().lane(), urgent.lane(), "message {at}");
        }
        order.push(receiver.recv().unwrap().lane());
    }
    let turns: Vec<u32> = order.chunks(16).map(|turn| turn[0]).collect();
    assert!(order.chunks(16).all(|turn| turn.iter().all(|lane| *lane == turn[0])), "{order:?}");
    assert_eq!(turns, [turns[0], 1 - turns[0], turns[0]]);
}

#[test]
fn urgent_senders_get_a_lane_when_ordinary_ones_hold_all_of_theirs() {
    let dir = scratch();
    let queue = Queue::options().capacity(4096).create(dir.path().join("queue")).unwrap();
    assert_eq!(queue.max_lanes(), 64);
    let mut hold = Role::new("hold", queue.path()).with("LANES", 56).start();
    hold.expect("held");
    for priority in [Normal, Low] {
        let error = queue.sender_options().priority(priority).attach().unwrap_err();
        assert!(matches!(error.cause(), Cause::TooManySenders { max_lanes: 64, usable: 56 }), "{error}");
        let sentence = error.to_string();
        assert!(sentence.contains("all of its 56 lanes") && sentence.contains("8 more"), "{sentence}");
    }
    let mut steer = Role::new("steer", queue.path()).start();
    steer.expect("lane 56");
    assert!(steer.succeeded());
    assert_eq!(queue.receiver().unwrap().recv().unwrap().to_vec(), b"stop");
    // The reserve is theirs; what is beyond it they take like anybody else, and there is nothing.
    let _reserve: Vec<Sender> = (0..8).map(|_| attach(&queue, Urgent)).collect();
    let error = queue.sender_options().priority(Urgent).attach().unwrap_err();
    assert!(matches!(error.cause(), Cause::TooManySenders { max_lanes: 64, usable: 64 }), "{error}");
    // A free lane of another priority is no lane for them either.
    hold.kill();
    assert!(queue.sender_options().priority(Urgent).attach().is_err());
    assert_eq!(attach(&queue, Normal).lane(), 0);
}

#[test]
fn few_lanes_have_no_reserve() {
    let dir = scratch();
    let queue = small_queue(&dir, 7);
    let _held: Vec<Sender> = (0..6).map(|_| attach(&queue, Low)).collect();
    assert_eq!(attach(&queue, Normal).lane(), 6);
    let error = queue.sender_options().priority(Urgent).attach().unwrap_err();
    assert!(error.to_string().contains("all of its 7 lanes") && !error.to_string().contains("more"), "{error}");
}

#[test]
fn a_lane_is_taken_over_by_senders_of_its_priority_only() {
    let dir = scratch();
    let queue = small_queue(&dir, 16);
    let lanes: Vec<u32> = [Normal, Low, Urgent].map(|priority| attach(&queue, priority).lane()).to_vec();
    assert_eq!(lanes, [0, 1, 14]);
    // The first number is free, and of another priority.
    assert_eq!([Low, Urgent, Normal].map(|priority| attach(&queue, priority).lane()), [1, 14, 0]);
    let stats: Vec<LaneStat> = queue.observe().unwrap().lanes().unwrap();
    assert_eq!(
        stats.iter().map(|lane| (lane.lane, lane.priority, lane.attaches)).collect::<Vec<_>>(),
        [(0, Normal, 2), (1, Low, 2), (14, Urgent, 2)]
    );
}

/// Receives for a while from lanes that are always full, and says how many bytes came from each. Checks the order of
/// each lane.
fn received_while_flooded(receiver: &Receiver, senders: &mut [(Sender, usize)], total: usize) -> BTreeMap<u32, usize> {
    let mut next_sent: BTreeMap<u32, u64> = BTreeMap::new();
    let mut next_received: BTreeMap<u32, u64> = BTreeMap::new();
    let mut received = BTreeMap::new();
    while received.values().sum::<usize>() < total {
        for (sender, len) in senders.iter_mut() {
            let next = next_sent.entry(sender.lane()).or_default();
            let mut bytes = vec![0; *len];
            bytes[..8].copy_from_slice(&next.to_le_bytes());
            while sender.try_send(&bytes).is_ok() {
                *next += 1;
                bytes[..8].copy_from_slice(&next.to_le_bytes());
            }
        }
        let message = receiver.recv().unwrap();
        let next = next_received.entry(message.lane()).or_default();
        assert_eq!(message.to_vec()[..8], next.to_le_bytes());
        *next += 1;
        *received.entry(message.lane()).or_default() += message.len();
    }
    received
}

#[test]
fn low_gets_a_sixteenth_of_what_goes_over_it_also_with_messages_larger_than_a_turn() {
    for low_len in [24, 1000, 20_000] {
        let dir = scratch();
        let queue = queue(&dir);
        let (urgent, normal, low) = (attach(&queue, Urgent), attach(&queue, Normal), attach(&queue, Low));
        let lanes = [&urgent, &normal, &low].map(Sender::lane);
        let mut senders = [(urgent, 1000), (normal, 3000), (low, low_len)];
        let received = received_while_flooded(&queue.receiver().unwrap(), &mut senders, 4 << 20);
        let [urgent, normal, low] = lanes.map(|lane| received[&lane] as f64);
        // Commit words count and payloads were counted: a third for those of 24 bytes.
        let words = low_len as f64 / (low_len + 8) as f64;
        let share = [normal * 16.0 / urgent, low * 16.0 / (urgent + normal) / words];
        assert!(share.iter().all(|share| (0.9..1.1).contains(share)), "{share:?} with {low_len} bytes: {received:?}");
    }
}

#[test]
fn a_sender_that_floods_does_not_starve_another_of_its_priority() {
    for (priority, len) in [(Urgent, 24), (Normal, 100), (Low, 4000)] {
        let dir = scratch();
        let queue = queue(&dir);
        let (flood, modest) = (attach(&queue, priority), attach(&queue, priority));
        let lanes = [&flood, &modest].map(Sender::lane);
        let interrupting = attach(&queue, Urgent);
        let mut senders = [(flood, 30_000), (modest, len)];
        let received = received_while_flooded(&queue.receiver().unwrap(), &mut senders, 4 << 20);
        let [flood, modest] = lanes.map(|lane| received[&lane] as f64);
        // A turn is 16 KiB of records and lasts to the end of a message: 30,000 bytes for the one.
        let turn = (16usize << 10).div_ceil((len + 15) & !7) * len;
        let share = modest / flood * 30_000.0 / turn as f64;
        assert!((0.95..1.05).contains(&share), "{priority}: {modest} bytes to {flood}, {share} of what is right");
        drop(interrupting);
    }
}

#[test]
fn each_sender_s_messages_stay_in_order_and_a_drain_goes_by_priority() {
    let dir = scratch();
    let queue = queue(&dir);
    let mut senders = [Low, Normal, Urgent, Low, Normal, Urgent].map(|priority| attach(&queue, priority));
    for number in 0..50 {
        for sender in &mut senders {
            sender.send(&payload(sender.lane().into(), number, 1000)).unwrap();
        }
    }
    let receiver = queue.receiver().unwrap();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut seen = Vec::new();
    let mut take = |message: laneway::Message<'_>| {
        let next = next.entry(message.lane()).or_default();
        assert_eq!(check(&message.to_vec()), (message.lane().into(), *next));
        *next += 1;
        seen.push(message.priority());
    };
    // Fewer than would make anything owed to the others.
    (0..10).for_each(|_| take(receiver.try_recv().unwrap()));
    receiver.drain().unwrap().for_each(&mut take);
    assert_eq!(seen.len(), 300);
    assert!(seen.is_sorted(), "{seen:?}");
    // What it took is no reason to serve the others first.
    senders[0].send(b"low").unwrap();
    senders[1].send(b"normal").unwrap();
    senders[2].send(b"urgent").unwrap();
    let rest: Vec<Priority> = receiver.try_iter().map(|message| message.priority()).collect();
    assert_eq!(rest, [Urgent, Normal, Low]);
}

#[test]
fn a_lane_that_was_waited_for_does_not_go_before_what_is_more_urgent_by_then() {
    let dir = scratch();
    let queue = queue(&dir);
    let mut low = attach(&queue, Low);
    let receiver = queue.receiver().unwrap();
    low.send(b"low").unwrap();
    // A lane that is alone has a long turn.
    assert_eq!(receiver.recv().unwrap().priority(), Low);
    let (mut normal, mut urgent) = (attach(&queue, Normal), attach(&queue, Urgent));
    for round in 0..20 {
        // Nothing there, and it is known from now on who else may send.
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        low.send(b"low").unwrap();
        normal.send(b"normal").unwrap();
        urgent.send(b"urgent").unwrap();
        let order: Vec<Priority> = receiver.try_iter().map(|message| message.priority()).collect();
        assert_eq!(order, [Urgent, Normal, Low], "round {round}");
    }
}

#[test]
fn the_end_of_a_ring_in_an_interrupted_turn_does_not_look_like_the_end_of_the_mail() {
    let dir = scratch();
    let queue = small_queue(&dir, 8);
    let (_urgent, mut normal) = (attach(&queue, Urgent), attach(&queue, Normal));
    let receiver = queue.receiver().unwrap();
    for round in 0..200 {
        for left in (0..fill(&mut normal, &[3; 700])).rev() {
            let message = receiver.try_recv();
            assert!(message.is_ok(), "{message:?} in round {round}, and {left} more are there");
        }
    }
}

#[test]
fn what_is_put_back_again_and_again_does_not_keep_the_others_waiting() {
    let dir = scratch();
    let queue = queue(&dir);
    let (mut low, mut urgent) = (attach(&queue, Low), attach(&queue, Urgent));
    let receiver = queue.receiver().unwrap();
    // 1 KiB is owed to Low, and nothing is ever done with what it gets.
    let big = fill(&mut urgent, &[1; 32_000]);
    low.send(b"not now").unwrap();
    for at in 0.. {
        let message = receiver.recv().unwrap();
        if message.priority() == Low {
            message.put_back();
        } else if message.position() > 0 {
            break;
        }
        assert!(at < 1000, "the second of {big} urgent messages never comes");
    }
}

#[test]
fn a_lane_of_an_unknown_priority_is_refused_and_no_other() {
    let dir = scratch();
    let queue = small_queue(&dir, 8);
    let mut senders = [Normal, Low, Urgent].map(|priority| attach(&queue, priority));
    senders.iter_mut().for_each(|sender| assert_eq!(sender.send(b"mail").unwrap().ticket().lane, sender.lane()));
    let lane = senders[1].lane();
    let file = queue.path().join(format!("lane-{lane:03}"));
    let mut bytes = [0; HEADER_LEN];
    File::open(&file).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    let whole: Header = bytemuck::pod_read_unaligned(&bytes);
    assert_eq!(whole.priority, 2);
    poke(&file, 0, bytemuck::bytes_of(&Header { priority: 3, ..whole }.sealed()));
    let mut observer = queue.observe().unwrap();
    assert_eq!(observer.lanes().unwrap().len(), 2);
    let unreadable: Vec<(u32, String)> = observer.unreadable().collect();
    assert!(unreadable.len() == 1 && unreadable[0].0 == lane, "{unreadable:?}");
    assert!(unreadable[0].1.contains("priority is 3, expected 0, 1 or 2"), "{unreadable:?}");
    let receiver = queue.receiver().unwrap();
    assert_eq!(receiver.damage().len(), 1);
    let lanes: Vec<u32> = receiver.try_iter().map(|message| message.lane()).collect();
    assert_eq!(lanes, [senders[2].lane(), senders[0].lane()]);
    drop(senders);
    assert_ne!(attach(&queue, Low).lane(), lane);
}
