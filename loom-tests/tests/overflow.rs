//! Segments: who follows a jump finds what it leads to, and nobody's bytes are taken for another's.
//!
//! Three words and their commit word, 32 bytes, leave no room for as much in a ring or in a segment of 64 bytes: where
//! nothing else is said each place holds one message. Nobody rings where bytes are at stake, as in `ring.rs`.
#![cfg(laneway_loom)]

use laneway::model::{Payload, Queue, Receiver, Sender};
use loom::thread;
use loom_tests::check_within;

/// Preemptions: with one more some of these take minutes.
const PREEMPTIONS: usize = 3;

/// A lane with a ring and room for two segments, in which these messages were sent, and its two ends.
fn lane(sent: &[&[u64]]) -> (Queue, Sender, Receiver) {
    let queue = Queue::growing(64, 128);
    let (mut sender, receiver) = (queue.sender(0), queue.receiver());
    sent.iter().for_each(|payload| assert!(sender.try_send_quietly(payload)));
    (queue, sender, receiver)
}

/// What there is at most `times` times, one after the other.
fn try_recv(receiver: &Receiver, times: usize) -> Vec<Payload> {
    (0..times).filter_map(|_| receiver.try_recv()).collect()
}

fn all(receiver: &Receiver) -> impl Iterator<Item = Payload> {
    std::iter::from_fn(|| receiver.try_recv())
}

#[test]
fn who_follows_a_jump_finds_what_it_leads_to() {
    check_within(PREEMPTIONS, || {
        let (_, mut sender, receiver) = lane(&[&[1; 3]]);
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[2; 3]));
            assert!(sender.try_send_quietly(&[3; 3]));
        });
        let mut received = try_recv(&receiver, 3);
        sending.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [[1; 3], [2; 3], [3; 3]]);
    });
}

#[test]
fn the_ring_is_entered_again_only_when_the_reader_is_beyond_the_jump_that_left_it() {
    check_within(PREEMPTIONS, || {
        let (_, mut sender, receiver) = lane(&[&[1; 3], &[2; 2]]);
        // In the ring this one will lie where the jump lies that left it.
        let sending = thread::spawn(move || assert!(sender.try_send_quietly(&[3])));
        let mut received = try_recv(&receiver, 3);
        sending.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [vec![1; 3], vec![2; 2], vec![3]]);
    });
}

#[test]
fn a_segment_is_used_again_only_when_all_of_it_was_given_back() {
    check_within(PREEMPTIONS, || {
        let (_, mut sender, receiver) = lane(&[&[1; 3], &[2; 3], &[3; 3]]);
        assert_eq!(receiver.try_recv(), Some(vec![1; 3]));
        assert_eq!(receiver.try_recv(), Some(vec![2; 3]));
        // Home, and then to the first segment again, if the reader is in the second.
        let sending = thread::spawn(move || [[4; 3], [5; 3]].map(|payload| sender.try_send_quietly(&payload)));
        let mut received = try_recv(&receiver, 2);
        let sent = sending.join().unwrap();
        received.extend(all(&receiver));
        assert!(sent[0]);
        assert_eq!(received, [[3; 3], [4; 3], [5; 3]][..if sent[1] { 3 } else { 2 }]);
    });
}

#[test]
fn no_segment_is_given_back_that_the_reader_has_not_passed() {
    check_within(PREEMPTIONS, || {
        let (_, mut sender, receiver) = lane(&[&[1; 3], &[2; 3], &[3; 3]]);
        assert_eq!(receiver.try_recv(), Some(vec![1; 3]));
        let sending = thread::spawn(move || {
            sender.trim();
            [[4; 3], [5; 3]].map(|payload| sender.try_send_quietly(&payload))
        });
        let mut received = try_recv(&receiver, 2);
        let sent = sending.join().unwrap();
        received.extend(all(&receiver));
        let sent = [[4; 3], [5; 3]].into_iter().zip(sent).filter_map(|(payload, sent)| sent.then_some(payload));
        assert_eq!(received, [[2; 3], [3; 3]].into_iter().chain(sent).collect::<Vec<_>>());
    });
}

#[test]
fn no_part_of_a_segment_is_given_back_that_the_reader_has_not_passed() {
    check_within(PREEMPTIONS, || {
        // The second is so long that its segment takes all there may be; the third lies in the last half of that.
        let (_, mut sender, receiver) = lane(&[&[1; 3], &[2; 6], &[3; 3]]);
        assert_eq!(receiver.try_recv(), Some(vec![1; 3]));
        let sending = thread::spawn(move || {
            sender.trim();
            assert!(sender.try_send_quietly(&[4]));
        });
        let mut received = try_recv(&receiver, 2);
        sending.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [vec![2; 6], vec![3; 3], vec![4]]);
    });
}

#[test]
fn a_reader_that_passes_a_jump_wakes_the_sender() {
    check_within(PREEMPTIONS, || {
        let queue = Queue::growing(64, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        sender.send(&[1; 3]);
        sender.send(&[2; 3]);
        // The segment is full, the lane may have no other, and the ring is free when the jump was passed.
        let sending = thread::spawn(move || sender.send(&[3; 3]));
        assert_eq!(receiver.try_recv(), Some(vec![1; 3]));
        assert_eq!(receiver.take(0), Some(vec![2; 3]));
        sending.join().unwrap();
        assert_eq!(receiver.take(0), Some(vec![3; 3]));
    });
}

#[test]
fn the_end_in_a_segment_wakes_the_receiver_after_the_last_message() {
    check_within(PREEMPTIONS, || {
        let (_, mut sender, receiver) = lane(&[&[1; 3]]);
        let closing = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[2; 3]));
            sender.close();
        });
        assert_eq!(receiver.recv(), Some(vec![1; 3]));
        assert_eq!(receiver.recv(), Some(vec![2; 3]));
        assert_eq!(receiver.recv(), None);
        closing.join().unwrap();
    });
}

#[test]
fn a_lane_whose_owner_died_in_a_segment_is_adopted() {
    adopt(|_| {});
}

#[test]
fn a_lane_whose_owner_died_before_a_jump_out_of_a_segment_is_adopted() {
    adopt(|queue| queue.doomed_sender(0).prepare_jump(40));
}

/// The owner leaves one message in the ring and one in a segment, and dies in what it does then. The heir is of the same
/// thread: a lock would order no less.
fn adopt(die: fn(&Queue)) {
    check_within(PREEMPTIONS, move || {
        let (queue, sender, receiver) = lane(&[&[1; 3], &[2; 2]]);
        drop(sender);
        let owners = thread::spawn(move || {
            die(&queue);
            assert!(queue.sender(0).try_send_quietly(&[3]));
        });
        let mut received = try_recv(&receiver, 3);
        owners.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [vec![1; 3], vec![2; 2], vec![3]]);
    });
}

#[test]
fn a_receiver_that_comes_while_the_lane_grows_knows_where_its_position_lies() {
    check_within(PREEMPTIONS, || {
        let (queue, mut sender, receiver) = lane(&[&[1; 3]]);
        assert_eq!(receiver.take(0), Some(vec![1; 3]));
        drop(receiver);
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[2; 3]));
            assert!(sender.try_send_quietly(&[3; 3]));
        });
        let receiver = queue.receiver();
        let mut received = try_recv(&receiver, 2);
        sending.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [[1; 3], [2; 3], [3; 3]]);
    });
}

#[test]
fn what_a_receiver_did_not_release_in_a_segment_is_delivered_again() {
    check_within(PREEMPTIONS, || {
        let (queue, mut sender, receiver) = lane(&[&[1; 3], &[2; 3]]);
        assert_eq!(receiver.try_recv(), Some(vec![1; 3]));
        assert_eq!(receiver.take(0), Some(vec![2; 3]));
        drop(receiver);
        let sending = thread::spawn(move || {
            assert!(sender.try_send_quietly(&[3; 3]));
            sender.trim();
        });
        let receiver = queue.receiver();
        let mut received = try_recv(&receiver, 2);
        sending.join().unwrap();
        received.extend(all(&receiver));
        assert_eq!(received, [[2; 3], [3; 3]]);
    });
}
