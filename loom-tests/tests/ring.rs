//! Bytes and positions: what is seen is whole, and what is overwritten was given back.
//!
//! Nobody rings and nobody sleeps here: the fences of a bell would order what the ring must order itself.
#![cfg(laneway_loom)]

use laneway::layout::{Kind, Place};
use laneway::model::{Payload, Queue, Receiver};
use loom::thread;

#[test]
fn who_finds_a_message_finds_its_bytes() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[7]));
            assert!(sender.try_send_quietly(&[8]));
        });
        let mut received: Vec<_> = (0..2).filter_map(|_| receiver.try_recv()).collect();
        sending.join().unwrap();
        received.extend(std::iter::from_fn(|| receiver.try_recv()));
        assert_eq!(received, [[7], [8]]);
    });
}

#[test]
fn who_finds_the_first_message_of_a_run_finds_them_all() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || sender.send_run_quietly(&[7, 8]));
        let first = receiver.recv_run(0);
        assert!(first.is_empty() || first == [[7], [8]], "a part of a run was there: {first:?}");
        sending.join().unwrap();
        let received = [first, receiver.recv_run(0)].concat();
        assert_eq!(received, [[7], [8]]);
    });
}

#[test]
fn the_bytes_of_the_last_lap_are_never_a_record() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        // The first lap leaves a payload that is the word of an empty message where the second one ends.
        let forged = Place::ring(64).lap(72).word(Kind::Data, 0).0;
        for payload in [forged, 2, 3] {
            assert!(sender.try_send_quietly(&[payload]));
            assert_eq!(receiver.try_recv(), Some(vec![payload]));
        }
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[4]));
            assert!(sender.try_send_quietly(&[]));
        });
        let mut received: Vec<_> = (0..3).filter_map(|_| receiver.try_recv()).collect();
        sending.join().unwrap();
        received.extend(std::iter::from_fn(|| receiver.try_recv()));
        assert_eq!(received, [vec![4], vec![]]);
    });
}

#[test]
fn what_was_not_given_back_is_not_overwritten() {
    overwrite(|receiver| receiver.try_recv().into_iter().collect());
}

#[test]
fn what_was_not_given_back_in_a_run_is_not_overwritten() {
    overwrite(|receiver| receiver.recv_run(0));
}

#[test]
fn what_was_not_given_back_with_others_is_not_overwritten() {
    overwrite(|receiver| receiver.drain(0));
}

/// A message of eight words, and one that fits in the ring only when that was given back: behind a pad, in its place.
fn overwrite(receive: fn(&Receiver) -> Vec<Payload>) {
    loom::model(move || {
        let queue = Queue::new(1, 128);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        assert!(sender.try_send_quietly(&[1; 8]));
        let sending = thread::spawn(move || sender.try_send_quietly(&[2; 7]));
        let mut received = receive(&receiver);
        let sent = sending.join().unwrap();
        received.extend(receiver.try_recv());
        assert_eq!(received[0], [1; 8]);
        assert_eq!(received[1..], if sent { vec![[2; 7]] } else { vec![] });
    });
}

/// What was checked is what is used: the word is loaded once.
#[test]
fn a_length_that_changes_while_it_is_judged_is_never_believed_unchecked() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        assert!(sender.try_send_quietly(&[7]));
        let lying = thread::spawn({
            let queue = queue.clone();
            move || queue.lie(0, 0, 4096)
        });
        assert!(matches!(receiver.next_len(0), None | Some(8)));
        lying.join().unwrap();
    });
}

/// The last message ends where the ring does, so that the next owner needs no pad and does not ask again: what it learns of
/// room when it takes over must be enough.
#[test]
fn what_was_not_given_back_is_not_overwritten_by_the_next_owner() {
    loom::model(|| {
        let queue = Queue::new(1, 128);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        assert!(sender.try_send_quietly(&[1; 6]));
        assert_eq!(receiver.try_recv(), Some(vec![1; 6]));
        assert!(sender.try_send_quietly(&[2; 7]));
        drop(sender);
        let sending = thread::spawn(move || queue.sender(0).try_send_quietly(&[3; 10]));
        let mut received: Vec<_> = receiver.try_recv().into_iter().collect();
        let sent = sending.join().unwrap();
        received.extend(receiver.try_recv());
        assert_eq!(received, [vec![2; 7], vec![3; 10]][..if sent { 2 } else { 1 }]);
    });
}

#[test]
fn lines_are_cleared_ahead_of_records_and_not_before_they_are_given_back() {
    let mut model = loom::model::Builder::new();
    // Each line is eight stores.
    model.preemption_bound = Some(2);
    model.check(|| {
        let queue = Queue::new(1, 256);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        // The first lap leaves nothing but words that would be empty messages in the second; its last line is not read yet.
        let forged = Place::ring(256).lap(256).word(Kind::Data, 0).0;
        for _ in 0..3 {
            assert!(sender.try_send_quietly(&[forged; 7]));
            assert_eq!(receiver.try_recv(), Some(vec![forged; 7]));
        }
        assert!(sender.try_send_quietly(&[forged; 7]));
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[4]));
            assert!(sender.try_send_quietly(&[5; 5]));
            assert!(sender.try_send_quietly(&[6; 7]));
        });
        let mut received: Vec<_> = (0..2).filter_map(|_| receiver.try_recv()).collect();
        sending.join().unwrap();
        received.extend(std::iter::from_fn(|| receiver.try_recv()));
        assert_eq!(received, [vec![forged; 7], vec![4], vec![5; 5], vec![6; 7]]);
    });
}
