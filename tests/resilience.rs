//! What a queue does when something in it is lost, damaged or taken away while others use it: it goes on without, says
//! so once, and forgets nothing that it can still have. Cannot see races that the few rounds here do not hit.

mod support;

use laneway::{Cause, Fault, Queue, RecvError, SendError, TryRecvError, TrySendError, TurnEnd, layout};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;
use support::scratch;

fn queue(dir: &tempfile::TempDir, lanes: u32) -> (Queue, PathBuf) {
    let path = dir.path().join("queue");
    (Queue::options().capacity(4096).max_lanes(lanes).create(&path).unwrap(), path)
}

fn scribble(lane: &Path, at: usize) {
    File::options().write(true).open(lane).unwrap().write_all_at(&[0xff; 8], at as u64).unwrap();
}

#[test]
fn a_turn_ends_although_a_lane_is_damaged_and_the_damage_is_told_once() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 4);
    let (mut bad, mut good) = (queue.sender().unwrap(), queue.sender().unwrap());
    let receiver = queue.receiver().unwrap();
    bad.send(b"x").unwrap();
    scribble(&path.join("lane-000"), layout::RING);
    good.send(b"mail").unwrap();
    let TurnEnd::Late(mail) = receiver.finish_turn().unwrap() else { panic!("there was mail") };
    assert_eq!(mail.map(|message| message.to_vec()).collect::<Vec<_>>(), [b"mail"]);
    assert!(matches!(receiver.finish_turn().unwrap(), TurnEnd::Quiet));
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Corrupt(damage)) if damage.lane == 0));
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(receiver.damage().len(), 1);
}

#[test]
fn a_poisoned_lane_neither_closes_a_queue_nor_keeps_it_open() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 4);
    let mut bad = queue.sender().unwrap();
    bad.send(b"x").unwrap();
    scribble(&path.join("lane-000"), layout::RING);
    for report in [true, false] {
        let receiver = queue.receiver().unwrap();
        if report {
            assert!(matches!(receiver.recv(), Err(RecvError::Corrupt(_))));
        }
        assert_eq!(receiver.recv_timeout(Duration::from_millis(1)).unwrap_err(), RecvError::Timeout);
    }
    queue.sender().unwrap().close();
    assert_eq!(queue.receiver().unwrap().recv().unwrap_err(), RecvError::Closed);
}

#[test]
fn a_message_that_is_held_keeps_its_bytes_whatever_becomes_of_an_earlier_one() {
    let dir = scratch();
    let (queue, _) = queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    for byte in [1, 2] {
        sender.send(&[byte; 1000]).unwrap();
    }
    let (first, second) = (receiver.recv().unwrap(), receiver.recv().unwrap());
    first.put_back();
    assert_eq!(receiver.recv().unwrap().to_vec(), [1; 1000]);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty, "the second one is in our hands");
    while sender.try_send(&[9; 1000]).is_ok() {}
    assert_eq!(second.to_vec(), [2; 1000]);
}

#[test]
fn an_explicit_release_counts_also_while_panicking_and_a_drop_does_not() {
    let dir = scratch();
    let (queue, _) = queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    for byte in [1, 2, 3] {
        sender.send(&[byte]).unwrap();
    }
    struct Empty<'a>(&'a laneway::Receiver);
    impl Drop for Empty<'_> {
        fn drop(&mut self) {
            self.0.recv().unwrap().release();
        }
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _released = Empty(&receiver);
        let _dropped = receiver.recv().unwrap();
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    let rest: Vec<Vec<u8>> = receiver.try_iter().map(|message| message.to_vec()).collect();
    // The destructor ran after the drop, which had put 1 back; so it was 1 that it released.
    assert_eq!(rest, [[2], [3]]);
}

#[test]
fn a_drain_ends_although_every_message_is_put_back() {
    let dir = scratch();
    let (queue, _) = queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    for byte in [1, 2, 3] {
        sender.send(&[byte]).unwrap();
    }
    for _ in 0..2 {
        let seen: Vec<Vec<u8>> = receiver
            .drain()
            .unwrap()
            .map(|message| {
                let bytes = message.to_vec();
                message.put_back();
                bytes
            })
            .collect();
        assert_eq!(seen, [[1], [2], [3]]);
    }
}

#[test]
fn a_queue_that_was_removed_says_so_to_those_who_never_wait() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 2);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    Queue::open(&path).unwrap().destroy().unwrap();
    let _replacement = Queue::create(&path).unwrap();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Detached);
    assert!(matches!(receiver.drain().unwrap_err().cause(), Cause::Detached));
    assert!(matches!(receiver.finish_turn().unwrap_err().cause(), Cause::Detached));
    let refused = (0..1000).find_map(|_| sender.try_send(&[7; 100]).err()).unwrap();
    assert_eq!(refused, TrySendError::Detached);
    assert_eq!(sender.send(&[7; 100]).unwrap_err(), SendError::Detached);
}

#[test]
fn a_queue_goes_on_beside_a_lane_whose_file_or_lock_is_something_else() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 4);
    let _socket = UnixListener::bind(path.join("lane-000")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("lane-001.lock")).unwrap();
    let mut sender = queue.sender().unwrap();
    assert_eq!(sender.lane(), 2);
    sender.send(b"mail").unwrap();
    let receiver = queue.receiver().unwrap();
    let mut outcomes = (0..2).map(|_| receiver.recv()).collect::<Vec<_>>();
    outcomes.sort_by_key(Result::is_ok);
    assert!(matches!(outcomes[0], Err(RecvError::Corrupt(damage)) if (damage.lane, damage.fault) == (0, Fault::File)));
    assert_eq!(outcomes[1].as_ref().unwrap().to_vec(), b"mail");
    let mut observer = queue.observe().unwrap();
    assert_eq!(observer.lanes().unwrap().len(), 1);
    assert_eq!(observer.unreadable().count(), 1);
}

#[test]
fn a_lock_that_was_lost_gives_nobody_a_second_owner() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 2);
    let (first, _receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    assert_eq!(first.lane(), 0);
    fs::remove_file(path.join("lane-000.lock")).unwrap();
    fs::remove_file(path.join("receiver.lock")).unwrap();
    assert_eq!(queue.sender().unwrap().lane(), 1);
    let refused = queue.receiver().unwrap_err().to_string();
    assert!(refused.contains("receiver.lock"), "{refused}");
}

#[test]
fn a_lane_that_was_lost_is_not_made_again_under_its_number() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 2);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    sender.send(b"one").unwrap();
    drop(sender);
    fs::remove_file(path.join("lane-000")).unwrap();
    let mut next = queue.sender().unwrap();
    assert_eq!(next.lane(), 1);
    next.send(b"two").unwrap();
    let got: Vec<Vec<u8>> = receiver.drain().unwrap().map(|message| message.to_vec()).collect();
    assert_eq!(got, [b"one", b"two"]);
}

#[test]
fn a_queue_is_removed_whole_while_senders_attach_to_it() {
    let dir = scratch();
    for _ in 0..50 {
        let (queue, path) = queue(&dir, 64);
        let start = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    // Until it is gone; each attached sender stays, so that each attempt makes a lane.
                    let mut senders = Vec::new();
                    while let Ok(sender) = Queue::open(&path).and_then(|queue| queue.sender()) {
                        senders.push(sender);
                    }
                });
            }
            start.wait();
            queue.destroy().unwrap();
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[test]
fn what_a_killed_creator_left_is_swept_and_what_is_in_use_is_not() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 2);
    let receiver = queue.receiver().unwrap();
    // A creator that was killed leaves a queue without a name; so does a remover.
    let hidden = |digit: char| dir.path().join(format!(".laneway-{}", digit.to_string().repeat(16)));
    fs::create_dir(hidden('0')).unwrap();
    fs::rename(&path, hidden('1')).unwrap();
    fs::create_dir(dir.path().join(".laneway-mine")).unwrap();
    assert_eq!(Queue::sweep(dir.path()).unwrap(), 1, "the empty one; somebody still uses the other");
    drop(receiver);
    assert_eq!(Queue::sweep(dir.path()).unwrap(), 1);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".laneway-mine"]);
}

#[test]
fn a_hint_that_lies_costs_its_lane_and_no_message_of_the_next_owner() {
    let dir = scratch();
    let (queue, path) = queue(&dir, 4);
    queue.sender().unwrap().send(b"one").unwrap();
    let lane = File::options().write(true).open(path.join("lane-000")).unwrap();
    lane.write_all_at(&2048u64.to_ne_bytes(), layout::lane::WRITE_HINT as u64).unwrap();
    let mut next = queue.sender().unwrap();
    assert_eq!(next.lane(), 1, "the end of lane 0 is not where it is said to be");
    next.send(b"two").unwrap();
    let mut got: Vec<Vec<u8>> = queue.receiver().unwrap().drain().unwrap().map(|message| message.to_vec()).collect();
    got.sort();
    assert_eq!(got, [b"one", b"two"]);
}

#[test]
fn a_message_whose_end_was_truncated_away_is_not_delivered() {
    let dir = scratch();
    let path = dir.path().join("queue");
    let queue = Queue::options().capacity(1 << 18).create(&path).unwrap();
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    sender.send(b"sound").unwrap();
    sender.send(&[7; 100_000]).unwrap();
    File::options().write(true).open(path.join("lane-000")).unwrap().set_len(50_000).unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"sound");
    let refused = receiver.recv().unwrap_err();
    assert!(matches!(refused, RecvError::Corrupt(damage) if damage.fault == Fault::Truncated), "{refused}");
}

#[test]
fn what_is_no_queue_is_not_removed_and_a_refusal_changes_nothing() {
    let dir = scratch();
    let mine = dir.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("queue"), "notes about a queue").unwrap();
    assert!(Queue::remove(&mine).unwrap_err().to_string().contains("none of its files"));
    assert_eq!(fs::read_to_string(mine.join("queue")).unwrap(), "notes about a queue");

    let (queue, path) = queue(&dir, 2);
    queue.sender().unwrap().send(b"kept").unwrap();
    let not_utf8 = path.join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(path.join("lane-001")).unwrap();
    assert!(Queue::remove(&path).unwrap_err().to_string().contains("lane-001"));
    fs::remove_dir(path.join("lane-001")).unwrap();
    fs::write(path.join("a stranger"), "").unwrap();
    assert!(Queue::remove(&path).unwrap_err().to_string().contains("a stranger"));
    fs::remove_file(path.join("a stranger")).unwrap();
    fs::write(&not_utf8, "").unwrap();
    Queue::remove(&path).unwrap_err();
    fs::remove_file(not_utf8).unwrap();
    assert_eq!(queue.receiver().unwrap().recv().unwrap().to_vec(), b"kept");
    Queue::remove(&path).unwrap();
}

#[test]
fn a_sweep_never_takes_a_queue_from_whoever_builds_it() {
    let dir = scratch();
    let built = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !built.load(std::sync::atomic::Ordering::Relaxed) {
                Queue::sweep(dir.path()).unwrap();
            }
        });
        let outcome = std::panic::catch_unwind(|| {
            for number in 0..1000 {
                let queue = Queue::options().capacity(4096).create(dir.path().join(format!("q{number}"))).unwrap();
                queue.sender().unwrap().send(b"mail").unwrap();
                assert_eq!(queue.receiver().unwrap().recv().unwrap().to_vec(), b"mail");
            }
        });
        built.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1000, "the queues and nothing else");
}
