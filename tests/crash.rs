//! Processes that die at every step. A victim is single-stepped (ptrace) through an operation; whenever a byte of the
//! queue's files has changed, the files are copied, which is what a SIGKILL at that instruction would leave, and both
//! sides attach to the copy, in both orders: nothing that was committed is missing, nothing is torn, what was released
//! stays released, and new messages pass. Real SIGKILLs of senders and receivers in full flight confirm the shortcut.
//! Single steps follow the order of the program, so this cannot see what a processor or compiler reorders; the loom
//! models do. A system call is one step.

mod support;

use laneway::{Cause, Queue, TryRecvError, layout};
use std::path::Path;
use support::step::{Snapshot, Watch, restore};
use support::victim::{Child, progress_file, stepped};
use support::{LONG, Role, check, flight, length, payload, peek, scratch, small_queue};
use tempfile::TempDir;

/// Messages that a victim sends or receives while it is stepped through.
const STEPPED: u64 = 10;
/// Messages that must pass after a recovery.
const AFTER: u64 = 12;

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "send" => {
            let mut sender = part.open().sender().unwrap();
            let all: Vec<_> = (0..STEPPED).map(|i| message(1, i)).collect();
            let stop = stepped(&part);
            for (i, bytes) in (0..).zip(&all) {
                match i % 4 {
                    0 => assert!(sender.send(bytes).is_ok()),
                    1 => {
                        let mut claim = sender.claim(bytes.len()).unwrap();
                        claim.write_all(&bytes[..11]).unwrap();
                        claim.write_all(&bytes[11..]).unwrap();
                        claim.commit().unwrap();
                    }
                    2 => {
                        sender.claim(500).unwrap().write_all(b"never sent").unwrap();
                        sender.try_send(bytes).unwrap();
                    }
                    _ => assert_eq!(sender.send_batch([bytes]), Ok(1)),
                }
                stop.progress(i + 1);
            }
            sender.close();
            stop.reached();
        }
        "receive" => {
            let receiver = part.open().receiver().unwrap();
            let stop = stepped(&part);
            for i in 0..STEPPED / 2 {
                let message = receiver.try_recv().unwrap();
                stop.progress(i + 1);
                drop(message);
            }
            let mut done = STEPPED / 2;
            for message in receiver.drain().unwrap() {
                done += 1;
                stop.progress(done);
                drop(message);
            }
            drop(receiver);
            stop.reached();
        }
        "attach sender" => {
            let queue = part.open();
            let stop = stepped(&part);
            let sender = queue.sender().unwrap();
            drop(sender);
            stop.reached();
        }
        "attach receiver" => {
            let queue = part.open();
            let stop = stepped(&part);
            drop(queue.receiver().unwrap());
            stop.reached();
        }
        "create" => {
            let stop = stepped(&part);
            Queue::options().capacity(4096).max_lanes(2).create(&part.queue).unwrap();
            stop.reached();
        }
        "destroy" => {
            let queue = part.open();
            let stop = stepped(&part);
            queue.destroy().unwrap();
            stop.reached();
        }
        "flood" => flight::flood(&part),
        "consume" => flight::consume(&part),
        other => panic!("{other}"),
    }
}

/// Message `i` of sender `sender`: words, a copy by the long path now and then, and lengths that leave gaps.
fn message(sender: u64, i: u64) -> Vec<u8> {
    let len = if i % 7 == 3 { 560 } else { length(sender, i, 200) };
    payload(sender, i, len)
}

/// Single-steps the victim `role`, as [`Watch::steps`] does, through a queue whose lanes do not grow.
fn step(role: &str, queue: &Path, relist: bool, visit: impl FnMut(&Snapshot, u64)) -> bool {
    Child::step(&mut Watch::new(queue).relisting(relist), Role::new(role, queue), visit)
}

/// Both sides attach to a copy, one after the other in both orders. Gives what the copy delivers of the old messages.
fn recover(scratch: &TempDir, snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let orders = [true, false].map(|receiver_first| {
        let path = scratch.path().join("copy");
        restore(snapshot, &path);
        let queue = Queue::open(&path).unwrap();
        let early = receiver_first.then(|| queue.receiver().unwrap());
        // All the lanes that there are, so that the one of the victim is among them.
        let mut senders: Vec<_> = (0..queue.max_lanes()).map(|_| queue.sender().unwrap()).collect();
        let receiver = early.unwrap_or_else(|| queue.receiver().unwrap());
        let old: Vec<Vec<u8>> = receiver.drain().unwrap().map(|message| message.to_vec()).collect();
        assert!(receiver.damage().is_empty(), "{:?}", receiver.damage());
        for i in 0..AFTER {
            for (sender, number) in senders.iter_mut().zip(100..) {
                sender.send_timeout(&payload(number, i, length(number, i, 900)), LONG).unwrap();
                let message = receiver.recv_timeout(LONG).unwrap();
                assert_eq!((check(&message.to_vec()), message.lane()), ((number, i), sender.lane()));
            }
        }
        senders.into_iter().for_each(laneway::Sender::close);
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
        std::fs::remove_dir_all(&path).unwrap();
        old
    });
    let [one, other] = orders;
    assert!(one == other, "what is delivered depends on who comes first");
    one
}

/// A queue whose lane 0 has seen a few laps, with nothing in it and the next record `offset` bytes into the ring.
fn lapped_queue(dir: &TempDir, offset: u64) -> Queue {
    let queue = small_queue(dir, 2);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let mut i = 0;
    loop {
        let position = sender.send(&payload(9, i, 48)).unwrap().ticket().position;
        receiver.recv().unwrap().release();
        if position > 3 * 4096 && position % 4096 + 64 == offset {
            return queue;
        }
        i += 1;
    }
}

#[test]
fn a_sender_killed_at_any_step_leaves_what_it_had_committed_and_nothing_else() {
    let dir = scratch();
    for offset in [64, 2816, 3968] {
        let queue = lapped_queue(&dir, offset);
        let path = queue.path().to_owned();
        let all: Vec<Vec<u8>> = (0..STEPPED).map(|i| message(1, i)).collect();
        let (mut delivered, mut points) = (0, 0);
        let stepped = step("send", &path, false, |snapshot, promised| {
            let old = recover(&dir, snapshot);
            assert!(all.starts_with(&old), "not what was sent, or not all that came before it");
            assert!(old.len() as u64 >= promised, "message {} of {promised} is lost", old.len());
            assert!(old.len() >= delivered, "a committed message is gone again");
            delivered = old.len();
            points += 1;
        });
        if !stepped {
            return;
        }
        assert_eq!(delivered, all.len());
        assert!(points > 100, "only {points} points");
        queue.destroy().unwrap();
    }
}

#[test]
fn a_receiver_killed_at_any_step_leaves_exactly_what_it_had_not_released() {
    let dir = scratch();
    let queue = lapped_queue(&dir, 2816);
    let all: Vec<Vec<u8>> = (0..STEPPED).map(|i| message(1, i)).collect();
    let mut sender = queue.sender().unwrap();
    sender.send_batch(&all).unwrap();
    drop(sender);
    let (mut released, mut points) = (0, 0);
    let stepped = step("receive", queue.path(), false, |snapshot, handled| {
        let old = recover(&dir, snapshot);
        let gone = all.len() - old.len();
        assert!(all.ends_with(&old), "out of order");
        assert!(gone as u64 <= handled, "a message is gone that nobody had seen");
        assert!(gone >= released, "a released message came back");
        released = gone;
        points += 1;
    });
    assert!(!stepped || released == all.len() && points > STEPPED as usize, "{released} released, {points} points");
}

#[test]
fn an_attach_killed_at_any_step_costs_nobody_anything() {
    let dir = scratch();
    // A new lane, a lane that is taken over, a receiver.
    for (role, busy) in [("attach sender", true), ("attach sender", false), ("attach receiver", false)] {
        let queue = lapped_queue(&dir, 2816);
        let mut sender = queue.sender().unwrap();
        let all: Vec<Vec<u8>> = (0..5).map(|i| message(1, i)).collect();
        sender.send_batch(&all).unwrap();
        let _busy = busy.then_some(sender);
        let mut points = 0;
        let stepped = step(role, queue.path(), true, |snapshot, _| {
            assert!(recover(&dir, snapshot) == all);
            points += 1;
        });
        assert!(!stepped || points >= 3, "{role}: only {points} points");
        queue.destroy().unwrap();
    }
}

#[test]
fn a_queue_is_born_and_removed_whole_wherever_its_maker_is_killed() {
    let dir = scratch();
    let path = dir.path().join("queue");
    let mut seen = false;
    let stepped = step("create", &path, true, |snapshot, _| {
        if !snapshot.is_empty() {
            assert!(recover(&dir, snapshot).is_empty());
            seen = true;
        }
    });
    if !stepped {
        return;
    }
    assert!(seen);
    let queue = Queue::open(&path).unwrap();
    queue.sender().unwrap().send(b"kept").unwrap();
    let mut gone = false;
    step("destroy", &path, true, |snapshot, _| {
        if snapshot.is_empty() {
            assert!(matches!(Queue::open(&path).unwrap_err().cause(), Cause::NotFound));
            gone = true;
        } else {
            assert!(!gone);
            assert_eq!(recover(&dir, snapshot), [b"kept"]);
        }
    });
    assert!(gone);
}

#[test]
fn a_sender_killed_in_full_flight_leaves_an_exact_prefix_and_the_next_one_goes_on() {
    let dir = scratch();
    flight::senders_are_killed(&small_queue(&dir, 1), 700, 200, 400);
}

#[test]
fn receivers_killed_in_full_flight_have_every_message_handled_in_order_and_few_twice() {
    let dir = scratch();
    flight::receivers_are_killed(&small_queue(&dir, 2), 300, 6_000, 60);
}

#[test]
fn a_message_whose_holder_panics_is_delivered_again_with_what_follows() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    for number in 0..4 {
        sender.send(&payload(0, number, 50)).unwrap();
    }
    let before = receiver.recv().unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = [receiver.recv().unwrap(), receiver.recv().unwrap()];
        std::panic::resume_unwind(Box::new("the work on it failed"));
    }));
    assert!(panicked.is_err());
    let numbers: Vec<u64> = receiver.try_iter().map(|message| check(&message.to_vec()).1).collect();
    assert_eq!(numbers, [1, 2, 3], "what is held elsewhere is not delivered again");
    drop(before);
    assert_eq!(queue.observe().unwrap().depth_bytes().unwrap(), 0);
}

#[test]
fn a_receiver_that_died_asleep_costs_its_successor_nothing() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    std::fs::write(progress_file(queue.path()), []).unwrap();
    let mut sender = queue.sender().unwrap();
    for number in 0..5 {
        let mut victim = Role::new("consume", queue.path()).start();
        let started = std::time::Instant::now();
        while peek(queue.path().join("receiver"), layout::receiver::SLEEPS) & 1 == 0 {
            assert!(started.elapsed() < LONG, "the receiver never slept");
            std::thread::yield_now();
        }
        victim.kill();
        let receiver = queue.receiver().unwrap();
        assert_eq!(peek(queue.path().join("receiver"), layout::receiver::SLEEPS) & 1, 0);
        sender.send(&payload(0, number, 20)).unwrap();
        assert_eq!(sender.wait_stats().rings, 0, "nobody sleeps, so nobody is to be woken");
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (0, number));
    }
}
