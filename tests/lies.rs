//! Lanes, bells and positions that lie while others work: only the lane of whoever lies is lost, and it is said once.
//! What a peer does in the middle of a single load or store is not seen here, nor what hardware damages.

mod support;

use laneway::layout::{self, HEADER_LEN};
use laneway::{Fault, Queue, RecvError, SendError, Sender, TryRecvError, TrySendError, Wait};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use support::{LONG, Rng, check, payload, poke, scratch, slot, small_queue};
use tempfile::TempDir;

/// Damages the file of a live lane; gives what the receiver said of it, once it has read everything.
fn with_a_victim(mut damage: impl FnMut(&Path, &mut Sender)) -> Vec<(Queue, TempDir, Vec<laneway::Damage>)> {
    [false, true]
        .map(|restart| {
            let dir = scratch();
            let queue = small_queue(&dir, 4);
            let (mut before, mut victim, mut after) =
                (queue.sender().unwrap(), queue.sender().unwrap(), queue.sender().unwrap());
            let mut receiver = queue.receiver().unwrap();
            for number in 0..40 {
                // Several laps, so that there is an old one to be taken for a new one.
                for (id, sender) in (0..).zip([&mut before, &mut victim, &mut after]) {
                    sender.send(&payload(id, number, 200)).unwrap();
                }
                assert_eq!(receiver.drain().unwrap().count(), 3);
            }
            let send = |sender: &mut Sender, id, numbers: std::ops::Range<u64>| {
                for number in numbers {
                    sender.send(&payload(id, number, 60)).unwrap();
                }
            };
            send(&mut before, 0, 40..45);
            send(&mut victim, 1, 40..45);
            send(&mut after, 2, 40..45);
            damage(&queue.path().join("lane-001"), &mut victim);
            send(&mut before, 0, 45..50);
            send(&mut after, 2, 45..50);
            if restart {
                drop(receiver);
                receiver = queue.receiver().unwrap();
            }
            let (mut next, mut found) = ([40, 40], Vec::new());
            for _ in 0..1_000 {
                match receiver.try_recv() {
                    Ok(message) if message.lane() == 1 => {}
                    Ok(message) => {
                        let (id, number) = check(&message.to_vec());
                        let next = &mut next[id as usize / 2];
                        assert_eq!(number, *next, "sender {id}");
                        *next += 1;
                    }
                    Err(TryRecvError::Corrupt(damage)) => found.push(damage),
                    Err(TryRecvError::Empty) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(next, [50, 50], "the others lost something");
            let mut observer = queue.observe().unwrap();
            let _ = (observer.stat().unwrap(), observer.lanes().unwrap(), observer.depth_bytes().unwrap());
            let _ = observer.peek(usize::MAX).unwrap();
            drop(receiver);
            drop((before, after));
            // Its sender does not hang, and panics no more than anybody else.
            victim.set_wait(Wait::Park);
            for _ in 0..100 {
                if victim.send_timeout(&[1; 200], Duration::from_millis(1)).is_err() {
                    break;
                }
            }
            drop(victim);
            (queue, dir, found)
        })
        .into()
}

#[test]
fn a_scribbled_lane_is_reported_once_and_costs_nobody_else_anything() {
    for seed in 0..25 {
        let mut rng = Rng(seed);
        let whole = seed % 2 == 0;
        let stories = with_a_victim(|file, _| {
            let from = if whole { HEADER_LEN } else { layout::RING };
            let len = fs::metadata(file).unwrap().len() as usize;
            let bytes: Vec<u8> = (from..len).map(|_| rng.next() as u8 | 1).collect();
            poke(file, from, &bytes);
        });
        for (queue, _dir, found) in stories {
            let [damage] = found[..] else { panic!("seed {seed}: reported {} times", found.len()) };
            assert_eq!(damage.lane, 1);
            let sentence = damage.to_string();
            assert!(sentence.contains("lane 1") && sentence.contains(&damage.position.to_string()), "{sentence}");
            // It is on record: the next receiver does not read it either, and does not say so again.
            let receiver = queue.receiver().unwrap();
            assert_eq!(receiver.damage(), [damage]);
            assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
            let stat = queue.observe().unwrap().lanes().unwrap()[1];
            assert_eq!(stat.damage, Some(damage));
            // Nobody gets that lane again.
            let mut senders: Vec<_> = (0..3).map(|_| queue.sender().unwrap()).collect();
            assert!(queue.sender().is_err());
            for (sender, lane) in senders.iter_mut().zip([0, 2, 3]) {
                assert_eq!(sender.lane(), lane);
                sender.send(b"goes on").unwrap();
                assert_eq!(receiver.recv_timeout(LONG).unwrap().to_vec(), b"goes on");
            }
        }
    }
}

#[test]
fn the_sender_of_a_retired_lane_is_told_when_it_waits_or_finds_it_full() {
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let receiver = queue.receiver().unwrap();
    let mut sender = queue.sender().unwrap();
    sender.send(b"first").unwrap();
    let whole = fs::read(queue.path().join("lane-000")).unwrap();
    poke(queue.path().join("lane-000"), layout::RING, &[0xff; 8]);
    let TryRecvError::Corrupt(damage) = receiver.try_recv().unwrap_err() else { panic!("it was not found") };
    assert_eq!((damage.lane, damage.fault, damage.position, damage.found), (0, Fault::Check, 0, u64::MAX));
    // What it was is back; but who has been retired stays so.
    poke(queue.path().join("lane-000"), layout::RING, &whole[layout::RING..]);
    let refused = std::iter::repeat_with(|| sender.try_send(&[0; 300])).take(50).find_map(Result::err);
    assert_eq!(refused, Some(TrySendError::Corrupt(damage)));
    assert_eq!(sender.send(&[0; 300]), Err(SendError::Corrupt(damage)));
    assert_eq!(sender.claim(300).unwrap_err(), SendError::Corrupt(damage));
    assert_eq!(queue.sender().unwrap().lane(), 1);
}

#[test]
fn a_sender_that_waits_for_room_in_a_lane_that_is_retired_is_woken() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    sender.set_wait(Wait::Park);
    while sender.try_send(&[1; 100]).is_ok() {}
    poke(queue.path().join("lane-000"), layout::RING, &[0xff; 8]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.send_timeout(&[1; 100], LONG));
        let receiver = queue.receiver().unwrap();
        let Err(RecvError::Corrupt(damage)) = receiver.recv_timeout(LONG).map(drop) else { panic!("not found") };
        assert_eq!(waiting.join().unwrap(), Err(SendError::Corrupt(damage)));
    });
}

const LIES: [u64; 10] = [0, 1, 7, 12, 4096, 1 << 20, (1 << 63) + 64, u64::MAX - 4095, !7, u64::MAX];

#[test]
fn a_sender_that_lies_about_itself_harms_only_its_own_lane() {
    let words = [
        ("hint", layout::lane::WRITE_HINT),
        ("sent", layout::lane::SENT),
        ("accepted", layout::lane::ACCEPTED),
        ("closed_at", layout::lane::CLOSED_AT),
        ("attaches", layout::lane::ATTACHES),
        ("full_events", layout::lane::FULL_EVENTS),
        ("sleeps", layout::lane::SLEEPS),
        ("dropped", layout::lane::DROPPED),
        ("pressure", layout::lane::PRESSURE),
        ("reserved", layout::lane::RESERVED),
        ("high water", layout::lane::HIGH_WATER),
    ];
    for (name, offset) in words {
        for lie in LIES {
            for (queue, _dir, found) in with_a_victim(|file, _| poke(file, offset, &lie.to_ne_bytes())) {
                assert!(found.is_empty(), "{name} is {lie}: {found:?}");
                // The lane is taken over or passed over; either way there is one for whoever comes.
                let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
                let _ = receiver.drain().unwrap().count();
                let _ = (receiver.dropped(), receiver.pressure(), queue.observe().unwrap().stat().unwrap());
                sender.send(b"goes on").unwrap();
                assert_eq!(receiver.recv_timeout(LONG).unwrap().to_vec(), b"goes on");
            }
        }
    }
}

#[test]
fn many_lanes_with_absurd_numbers_are_still_counted_without_overflow() {
    let dir = scratch();
    let queue = small_queue(&dir, 3);
    let senders: Vec<_> = (0..3).map(|_| queue.sender().unwrap()).collect();
    for lane in 0..3 {
        for offset in [layout::lane::WRITE_HINT, layout::lane::SENT] {
            poke(queue.path().join(format!("lane-00{lane}")), offset, &u64::MAX.to_ne_bytes());
        }
    }
    let mut observer = queue.observe().unwrap();
    let stat = observer.stat().unwrap();
    assert!(stat.depth_bytes <= 3 * 4096, "no more than there is room for: {}", stat.depth_bytes);
    assert!(observer.depth_bytes().unwrap() <= 3 * 4096);
    drop(senders);
}

#[test]
fn a_receiver_position_that_lies_is_an_error_for_the_sender_and_no_panic() {
    for lie in LIES.into_iter().filter(|lie| *lie > 4096 || *lie % 8 != 0) {
        let dir = scratch();
        let queue = small_queue(&dir, 2);
        let mut sender = queue.sender().unwrap();
        sender.set_wait(Wait::Park);
        sender.send(b"first").unwrap();
        poke(queue.path().join("receiver"), slot(0) + layout::slot::READ_POS, &lie.to_ne_bytes());
        let refused = std::iter::repeat_with(|| sender.send(&[0; 100])).take(100).find_map(Result::err);
        let Some(SendError::Corrupt(damage)) = refused else { panic!("{lie}: {refused:?}") };
        assert_eq!((damage.fault, damage.lane, damage.found), (Fault::ReadPosition, 0, lie));
        assert!(matches!(sender.try_send(&[0; 100]), Err(TrySendError::Corrupt(_))));
        assert!(damage.to_string().contains("position"), "{damage}");
    }
}

#[test]
fn a_receiver_that_finds_an_absurd_position_goes_on_with_the_other_lanes() {
    for lie in LIES {
        let dir = scratch();
        let queue = small_queue(&dir, 3);
        let (mut one, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
        for number in 0..5 {
            one.send(&payload(0, number, 100)).unwrap();
            other.send(&payload(1, number, 100)).unwrap();
        }
        drop(one);
        poke(queue.path().join("receiver"), slot(0) + layout::slot::READ_POS, &lie.to_ne_bytes());
        let receiver = queue.receiver().unwrap();
        let mut next = 0;
        let mut drain = receiver.drain().unwrap();
        for message in drain.by_ref().filter(|message| message.lane() == 1) {
            assert_eq!(check(&message.to_vec()), (1, next));
            next += 1;
        }
        assert_eq!(next, 5, "with {lie}");
        let _ = drain.arrived_since();
        drop(drain);
        let _ = receiver.finish_turn().unwrap();
        while receiver.try_recv().is_err_and(|error| matches!(error, TryRecvError::Corrupt(_))) {}
        let mut new = queue.sender().unwrap();
        for sender in [&mut new, &mut other] {
            sender.send(b"goes on").unwrap();
            let found = receiver.recv_timeout(LONG).map(|message| message.to_vec());
            assert!(found.as_ref().is_ok_and(|bytes| bytes == b"goes on"), "with {lie}: {found:?}");
        }
        let mut observer = queue.observe().unwrap();
        let _ = (observer.stat().unwrap(), observer.peek(100).unwrap());
    }
}

#[test]
fn a_bell_that_lies_all_the_time_loses_no_message_and_hides_no_lane() {
    let dir = scratch();
    let queue = small_queue(&dir, 8);
    let receiver = queue.receiver().unwrap();
    receiver.set_wait(Wait::Park);
    let first = queue.sender().unwrap();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    let bell = OpenOptions::new().read(true).write(true).open(queue.path().join("bell")).unwrap();
    let mut known = [0; 8];
    bell.read_exact_at(&mut known, layout::bell::LANES_EPOCH as u64).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng(1);
            while !stop.load(Ordering::Relaxed) {
                // Always rung, and never a new lane.
                bell.write_all_at(&(rng.next() as u32).to_ne_bytes(), layout::bell::SEQ as u64).unwrap();
                bell.write_all_at(&rng.next().to_ne_bytes(), layout::bell::RUNG_AT as u64).unwrap();
                bell.write_all_at(&known, layout::bell::LANES_EPOCH as u64).unwrap();
            }
        });
        // Also when the test fails, so that it ends.
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..5 {
                let mut sender = queue.sender().unwrap();
                sender.send(&payload(0, number, 100)).unwrap();
                assert_eq!(check(&receiver.recv_timeout(LONG / 6).unwrap().to_vec()), (0, number));
                std::mem::forget(sender);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        answer.unwrap();
    });
    drop(first);
}

#[test]
fn a_directory_of_the_far_future_is_looked_at_all_the_same() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let far = UNIX_EPOCH + Duration::from_secs(99_999_999_999);
    let directory = fs::File::open(queue.path()).expect("a directory");
    // Not every file system keeps times that are so late.
    directory.set_modified(far).expect("it is ours");
    let mut observer = queue.observe().expect("attached");
    queue.sender().expect("attached").send(b"seen").expect("sent");
    directory.set_modified(far).expect("it is ours");
    assert_eq!(observer.stat().expect("looked at").depth_messages, 1);
}
