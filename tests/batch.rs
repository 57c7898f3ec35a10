//! Batches: what is sent together is there together, what is received together is released together, and neither changes what
//! arrives. One machine's memory order and its own pace; the loom models of runs try the others.

mod support;

use laneway::{OnFull, Priority, Queue, RecvError, TryRecvError};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use support::{LONG, Rng, check, length, payload, scratch, small_queue};

#[test]
fn a_batch_is_released_together_and_only_what_was_handed_out() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let messages: Vec<_> = (0..10).map(|number| payload(0, number, 20)).collect();
    assert_eq!(sender.send_batch(&messages), Ok(10));
    let released = || queue.observe().unwrap().lanes().unwrap()[0].read_pos;
    let before = released();
    let mut batch = receiver.recv_batch(4).unwrap();
    let mut tickets = Vec::new();
    while let Some(message) = batch.next() {
        assert_eq!(check(&message.to_vec()), (0, tickets.len() as u64));
        tickets.push(message.ticket());
        assert_eq!(released(), before, "it was released before the batch ended");
    }
    assert_eq!((batch.handed_out(), tickets.len()), (4, 4));
    drop(batch);
    assert!(released() > before);
    // A batch that is dropped in the middle leaves the rest where it is.
    let mut batch = receiver.recv_batch(usize::MAX).unwrap();
    assert_eq!(check(&batch.next().unwrap().to_vec()), (0, 4));
    drop(batch);
    drop(receiver.recv_batch(3).unwrap());
    for number in 5..10 {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (0, number));
    }
    assert_eq!(receiver.try_recv_batch(3).unwrap_err(), TryRecvError::Empty);
    assert_eq!(receiver.recv_batch_timeout(3, Duration::ZERO).unwrap_err(), RecvError::Timeout);
}

#[test]
fn a_panic_in_a_batch_delivers_what_was_being_handled_again_and_nothing_before() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let messages: Vec<_> = (0..6).map(|number| payload(0, number, 30)).collect();
    sender.send_batch(&messages).unwrap();
    let handling = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut batch = receiver.recv_batch(5).unwrap();
        while let Some(message) = batch.next() {
            assert!(check(&message.to_vec()).1 < 3, "as was to be expected");
        }
    }));
    assert!(handling.is_err());
    for number in 3..6 {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (0, number));
    }
}

#[test]
fn a_panic_while_a_batch_is_made_sends_what_was_made() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let made = (0..).map(|number| if number < 3 { payload(0, number, 30) } else { panic!("as was to be expected") });
    let sending = std::panic::catch_unwind(AssertUnwindSafe(|| sender.send_batch(made)));
    assert!(sending.is_err());
    sender.send(&payload(0, 3, 30)).unwrap();
    for number in 0..4 {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (0, number));
    }
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn what_was_put_back_comes_first_and_what_is_held_holds_its_bytes() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let messages: Vec<_> = (0..8).map(|number| payload(0, number, 30)).collect();
    sender.send_batch(&messages).unwrap();
    // The first is leaked, the third is put back.
    std::mem::forget(receiver.try_recv().unwrap());
    receiver.try_recv().unwrap().release();
    receiver.try_recv().unwrap().put_back();
    let held = queue.observe().unwrap().lanes().unwrap()[0].read_pos;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let mut batch = receiver.try_recv_batch(64).unwrap();
        while let Some(message) = batch.next() {
            seen.push(check(&message.to_vec()).1);
        }
    }
    assert_eq!(seen, [2, 3, 4, 5, 6, 7]);
    assert_eq!(queue.observe().unwrap().lanes().unwrap()[0].read_pos, held, "a message that is held was given back");
    drop(receiver);
    let receiver = queue.receiver().unwrap();
    assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (0, 0));
}

#[test]
fn an_urgent_message_comes_before_the_rest_of_what_would_be_a_batch() {
    let dir = scratch();
    let queue = Queue::options().capacity(64 << 10).max_lanes(16).create(dir.path().join("queue")).unwrap();
    let mut bulk = queue.sender().unwrap();
    let mut urgent = queue.sender_options().priority(Priority::Urgent).attach().unwrap();
    let mut receiver = queue.receiver().unwrap();
    let messages: Vec<_> = (0..20).map(|number| payload(0, number, 30)).collect();
    bulk.send_batch(&messages).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 21 {
        let mut batch = receiver.try_recv_batch(64).unwrap();
        while let Some(message) = batch.next() {
            seen.push(check(&message.to_vec()));
        }
        drop(batch);
        if seen.len() == 5 {
            urgent.send(&payload(1, 0, 30)).unwrap();
        }
    }
    assert_eq!(seen[5], (1, 0), "{seen:?}");
}

/// Batches of any length of messages of any length, between two threads, through a ring that wraps and through segments.
#[test]
fn batches_and_single_messages_mix_and_everything_arrives_in_order() {
    for (capacity, limit) in [(4096, 0), (4096, 64 << 10), (64 << 10, 0)] {
        let dir = scratch();
        let options = Queue::options().capacity(capacity).overflow_limit(limit).max_lanes(1);
        let queue = options.create(dir.path().join("queue")).unwrap();
        let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        sender.set_on_full(if limit > 0 { OnFull::GrowThenBlock } else { OnFull::Block });
        let total = 20_000;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut rng, mut next) = (Rng(capacity ^ limit), 0);
                while next < total {
                    let count = (1 + rng.below(40)).min(total - next);
                    let messages = (next..next + count).map(|number| payload(0, number, length(0, number, 300)));
                    match rng.below(3) {
                        0 => messages.for_each(|message| _ = sender.send(&message).unwrap()),
                        _ => assert_eq!(sender.send_batch(messages), Ok(count as usize)),
                    }
                    next += count;
                }
            });
            let (mut rng, mut next) = (Rng(limit), 0);
            while next < total {
                if rng.below(3) == 0 {
                    let message = receiver.recv_timeout(LONG).unwrap();
                    assert_eq!(check(&message.to_vec()), (0, next));
                    next += 1;
                    continue;
                }
                let mut batch = receiver.recv_batch_timeout(1 + rng.below(70) as usize, LONG).unwrap();
                while let Some(message) = batch.next() {
                    let bytes = message.to_vec();
                    assert_eq!((check(&bytes), bytes.len()), ((0, next), length(0, next, 300)));
                    next += 1;
                }
            }
        });
        assert_eq!(receiver.try_recv_batch(1).unwrap_err(), TryRecvError::Empty);
    }
}

#[test]
fn a_handler_that_always_panics_does_not_keep_what_is_urgent() {
    let dir = scratch();
    let queue = Queue::options().capacity(64 << 10).max_lanes(16).create(dir.path().join("queue")).unwrap();
    let mut bulk = queue.sender().unwrap();
    let mut urgent = queue.sender_options().priority(Priority::Urgent).attach().unwrap();
    let mut receiver = queue.receiver().unwrap();
    bulk.send(&payload(0, 0, 30)).unwrap();
    let mut handle = || {
        let handling = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut batch = receiver.try_recv_batch(64).unwrap();
            let (sender, _) = check(&batch.next().unwrap().to_vec());
            assert!(sender == 1, "as was to be expected");
        }));
        handling.is_ok()
    };
    assert!(!handle());
    urgent.send(&payload(1, 0, 30)).unwrap();
    assert!(handle(), "the urgent message did not come next");
    assert!(!handle());
}

#[test]
fn a_batch_that_was_given_up_is_looked_at_anew() {
    let dir = scratch();
    let queue = Queue::options().capacity(64 << 10).max_lanes(1).overflow_limit(0).sigbus_guard(true);
    let queue = queue.create(dir.path().join("queue")).unwrap();
    let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    sender.send(&payload(0, 0, 6000)).unwrap();
    drop(receiver.recv_batch(4).unwrap());
    let lane = std::fs::OpenOptions::new().write(true).open(queue.path().join("lane-000")).unwrap();
    lane.set_len(8192).unwrap();
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Corrupt(_))), "zeros were delivered");
}
