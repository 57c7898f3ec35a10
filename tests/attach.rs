//! Lanes that come while the receiver looks at others, and lanes of which nobody told it. Cannot see a lane that is
//! missed for a moment and found at the next look at the directory.

mod support;

use laneway::{Queue, Receiver, TryRecvError, layout};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use support::{LONG, peek, poke, scratch, small_queue};

/// Receives without ever sleeping, so that only the bell's word makes it look for lanes, until `count` have come.
fn poll(receiver: &Receiver, count: usize) {
    let started = Instant::now();
    let mut came = 0;
    while came < count {
        assert!(started.elapsed() < LONG / 6, "{came} of {count} messages have come: a lane was missed");
        match receiver.try_recv() {
            Ok(_) => came += 1,
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_lane_that_comes_while_others_are_looked_for_is_found() {
    const SENDERS: usize = 3;
    let dir = scratch();
    for round in 0..1000 {
        let path = dir.path().join(format!("queue-{round}"));
        let queue = Queue::options().capacity(4096).overflow_limit(0).max_lanes(8).create(path).unwrap();
        let receiver = queue.receiver().unwrap();
        let start = Barrier::new(SENDERS + 1);
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    start.wait();
                    queue.sender().unwrap().send(b"here").unwrap();
                });
            }
            start.wait();
            poll(&receiver, SENDERS);
        });
        queue.destroy().unwrap();
    }
}

/// The bell's word is a hint that anybody may change: the end of a queue is not believed before the directory was asked.
#[test]
fn a_lane_of_which_nobody_told_keeps_the_queue_open() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let first = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    let (bell, epoch) = (queue.path().join("bell"), layout::bell::LANES_EPOCH);
    let before = peek(&bell, epoch);
    let mut second = queue.sender().unwrap();
    poke(&bell, epoch, &before.to_ne_bytes());
    first.close();
    second.send(b"still here").unwrap();
    let answer = receiver.try_recv().map(|message| message.to_vec());
    assert!(answer == Err(TryRecvError::Empty) || answer.as_deref() == Ok(b"still here"), "{answer:?}");
    second.close();
    poll(&receiver, usize::from(answer.is_err()));
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
}
