//! Whoever dies, the next one goes on where that one stopped. A lock is a mutex here, and orders as much.
#![cfg(laneway_loom)]

use laneway::model::Queue;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_tests::check_within;

/// Preemptions in the models with several sleeps: without a bound they take half a minute and more each.
const PREEMPTIONS: usize = 4;

/// A directory that orders nothing: that the kernel's does is not for us to count on.
#[test]
fn who_learns_of_a_lane_finds_its_file() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let file = Arc::new(AtomicBool::new(false));
        let attaching = thread::spawn({
            let (queue, file) = (queue.clone(), Arc::clone(&file));
            move || {
                file.store(true, Ordering::Relaxed);
                queue.announce_lane();
            }
        });
        let announced = queue.has_new_lane();
        assert!(file.load(Ordering::Relaxed) || !announced);
        attaching.join().unwrap();
    });
}

#[test]
fn a_lane_whose_owner_died_before_a_commit_is_adopted() {
    adopt(false);
}

#[test]
fn a_lane_whose_owner_died_after_a_commit_is_adopted() {
    adopt(true);
}

/// The owner dies with a payload in the ring, committed or not, without leaving a hint or ringing.
fn adopt(committed: bool) {
    loom::model(move || {
        let queue = Queue::new(1, 64);
        let receiver = queue.receiver();
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let heir = thread::spawn({
            let (queue, lock) = (queue.clone(), Arc::clone(&lock));
            move || {
                let _held = lock.lock().unwrap();
                assert!(queue.sender(0).try_send_quietly(&[9]));
            }
        });
        let receiving = thread::spawn(move || {
            let early: Vec<_> = (0..2).filter_map(|_| receiver.try_recv()).collect();
            (early, receiver)
        });
        let mut owner = queue.doomed_sender(0);
        owner.claim_and_fill(&[7]);
        owner.commit();
        owner.claim_and_fill(&[8]);
        if committed {
            owner.commit();
        }
        drop(held);
        heir.join().unwrap();
        let (mut received, receiver) = receiving.join().unwrap();
        received.extend(std::iter::from_fn(|| receiver.try_recv()));
        assert_eq!(received, if committed { vec![[7], [8], [9]] } else { vec![[7], [9]] });
    });
}

#[test]
fn a_lane_whose_owner_died_behind_a_pad_is_adopted() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 128);
        let receiver = queue.receiver();
        let mut owner = queue.doomed_sender(0);
        owner.claim_and_fill(&[7; 8]);
        owner.commit();
        assert_eq!(receiver.try_recv(), Some(vec![7; 8]));
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let heir = thread::spawn({
            let (queue, lock) = (queue.clone(), Arc::clone(&lock));
            move || {
                let _held = lock.lock().unwrap();
                queue.sender(0).send(&[9; 8]);
            }
        });
        // A pad, and the beginning of the next lap.
        owner.claim_and_fill(&[8; 7]);
        drop(held);
        assert_eq!(receiver.recv(), Some(vec![9; 8]));
        heir.join().unwrap();
        assert_eq!(receiver.try_recv(), None);
    });
}

#[test]
fn what_a_receiver_did_not_release_is_delivered_again() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        sender.send(&[7]);
        let sending = thread::spawn(move || sender.send(&[8]));
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let heir = thread::spawn({
            let lock = Arc::clone(&lock);
            move || {
                let _held = lock.lock().unwrap();
                let receiver = queue.receiver();
                assert_eq!(receiver.recv(), Some(vec![7]));
                assert_eq!(receiver.recv(), Some(vec![8]));
            }
        });
        assert_eq!(receiver.take(0), Some(vec![7]));
        drop((receiver, held));
        sending.join().unwrap();
        heir.join().unwrap();
    });
}

#[test]
fn a_receiver_that_died_asleep_leaves_one_that_can_be_woken() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::new(1, 64);
        let mut sender = queue.sender(0);
        queue.doomed_receiver(0).fall_asleep();
        let sending = thread::spawn(move || [7, 8].map(|payload| sender.send(&[payload])));
        let receiver = queue.receiver();
        assert_eq!(receiver.recv(), Some(vec![7]));
        assert_eq!(receiver.recv(), Some(vec![8]));
        sending.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_for_a_dead_receiver_is_woken_by_the_next_one() {
    loom::model(|| {
        let queue = Queue::new(1, 32);
        let (mut sender, receiver) = (queue.sender(0), queue.doomed_receiver(0));
        sender.send(&[7]);
        // The ring has no room for another one.
        let sending = thread::spawn(move || sender.send(&[8]));
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let heir = thread::spawn({
            let (queue, lock) = (queue.clone(), Arc::clone(&lock));
            move || {
                let _held = lock.lock().unwrap();
                drop(queue.receiver());
            }
        });
        receiver.release_and_publish();
        drop(held);
        heir.join().unwrap();
        sending.join().unwrap();
        assert_eq!(queue.receiver().try_recv(), Some(vec![8]));
    });
}
