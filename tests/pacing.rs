//! Senders that are held back: by rate limits, their own and their queue's, and by a receiver that does not keep up.
//! What they may do at once is exact; how long they wait is only compared with the least that it can be.

mod support;

use laneway::{Cause, OnFull, Pressure, Queue, RateLimit, SendError, TrySendError};
use std::time::{Duration, Instant};
use support::{poke, scratch};

#[test]
fn a_limit_of_the_sender_and_one_of_the_queue_both_hold_and_each_strategy_keeps_to_them() {
    let dir = scratch();
    let an_hour = |messages| RateLimit::messages(1).burst_messages(messages);
    let queue = Queue::options().rate_limit(an_hour(7)).create(dir.path().join("queue")).unwrap();
    let receiver = queue.receiver().unwrap();
    for (own, on_full, burst) in [
        (None, OnFull::Fail, 7),
        (Some(an_hour(3)), OnFull::GrowThenFail, 3),
        (Some(an_hour(100)), OnFull::GrowThenBlock, 7),
        (Some(RateLimit::bytes(1).burst_bytes(500)), OnFull::DropNewest, 5),
    ] {
        let mut options = queue.sender_options().on_full(on_full);
        if let Some(own) = own {
            options = options.rate_limit(own);
        }
        let mut sender = options.attach().unwrap();
        let mut sent = 0;
        let refused = loop {
            match sender.send_timeout(&[5; 100], Duration::from_millis(1)) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(sent, burst, "{on_full}");
        match on_full {
            OnFull::DropNewest => assert_eq!(refused, SendError::Dropped),
            OnFull::GrowThenBlock => {
                assert_eq!(refused, SendError::Timeout);
                assert!(matches!(sender.try_send(b"x"), Err(TrySendError::RateLimited { .. })));
            }
            _ => assert!(matches!(refused, SendError::RateLimited { wait_ms: 1..=1000 }), "{refused:?}"),
        }
        assert_eq!(receiver.try_iter().count(), burst);
    }
    assert_eq!(receiver.dropped(), 1);
}

#[test]
fn a_sender_that_waits_for_its_limit_sends_everything_no_faster_than_it_may() {
    let dir = scratch();
    let queue = Queue::create(dir.path().join("queue")).unwrap();
    let limit = RateLimit::messages(1000).burst_messages(1);
    let mut sender = queue.sender_options().rate_limit(limit).attach().unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        sender.send(b"steady").unwrap();
    }
    // A millisecond for each but the first.
    assert!(started.elapsed() >= Duration::from_millis(19));
    assert_eq!(queue.receiver().unwrap().try_iter().count(), 20);
}

#[test]
fn limits_that_make_no_sense_are_refused_with_their_names_and_a_damaged_word_is_found() {
    let dir = scratch();
    let path = dir.path().join("queue");
    let error = Queue::options().rate_limit(RateLimit::bytes(0)).create(&path).unwrap_err();
    assert!(matches!(error.cause(), Cause::Option { option: "bytes per second", .. }), "{error}");
    assert!(!path.exists());
    let queue = Queue::options().rate_limit(RateLimit::messages(9)).create(&path).unwrap();
    let error = queue.sender_options().rate_limit(RateLimit::messages(0)).attach().unwrap_err();
    assert!(error.to_string().contains("messages per second"), "{error}");
    let reopened = Queue::open(&path).unwrap();
    let mut sender = reopened.sender_options().on_full(OnFull::Fail).attach().unwrap();
    assert_eq!((0..20).filter(|_| sender.send(b"x").is_ok()).count(), 9);
    drop(sender);
    poke(path.join("queue"), laneway::layout::queue::LIMITS + 32, &1u32.to_ne_bytes());
    let error = Queue::open(&path).unwrap_err();
    assert!(error.to_string().contains("the limits' checksum"), "{error}");
}

#[test]
fn an_adaptive_sender_slows_down_under_high_pressure_and_does_not_stop() {
    let dir = scratch();
    let options = Queue::options().capacity(4096).overflow_limit(1 << 20).water_marks(512, 1024);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let mut sender = queue.sender_options().adaptive(true).attach().unwrap();
    let mut free = 0;
    while sender.send(&[1; 56]).unwrap().pressure() == Pressure::Normal {
        free += 1;
    }
    assert_eq!(free, 16);
    // The receiver does not exist: a millisecond for each message, and none fails.
    let started = Instant::now();
    for _ in 0..30 {
        assert_eq!(sender.send(&[1; 56]).unwrap().pressure(), Pressure::High);
    }
    assert!(started.elapsed() >= Duration::from_millis(30));
    // Who says not to wait does not.
    sender.try_send(b"now").unwrap();
    let receiver = queue.receiver().unwrap();
    assert_eq!(receiver.try_iter().count(), free + 1 + 30 + 1);
    let before = sender.wait_stats();
    for _ in 0..14 {
        assert_eq!(sender.send(&[1; 56]).unwrap().pressure(), Pressure::Normal);
    }
    assert_eq!(sender.wait_stats().sleeps, before.sleeps, "it has caught up");
}

#[test]
fn an_adaptive_sender_goes_on_as_soon_as_the_receiver_has_released_as_much() {
    let dir = scratch();
    let options = Queue::options().capacity(4096).overflow_limit(1 << 20).water_marks(0, 1);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let mut sender = queue.sender_options().adaptive(true).attach().unwrap();
    let receiver = queue.receiver().unwrap();
    let count = 20_000u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let receiver = receiver;
            for expected in 0..count {
                assert_eq!(receiver.recv().unwrap().read_pod(), Ok(expected));
            }
        });
        let started = Instant::now();
        for number in 0..count {
            sender.send_pod(&number).unwrap();
        }
        // Most of them did not wait for the whole millisecond.
        assert!(started.elapsed() < Duration::from_millis(count), "{:?}", started.elapsed());
    });
}

#[test]
fn a_send_that_finds_no_room_costs_nothing_of_the_limit() {
    let dir = scratch();
    let queue = Queue::options().capacity(4096).overflow_limit(0).create(dir.path().join("queue")).unwrap();
    let limit = RateLimit::bytes(1).burst_bytes(4000 + 500);
    let mut sender = queue.sender_options().on_full(OnFull::Fail).rate_limit(limit).attach().unwrap();
    let receiver = queue.receiver().unwrap();
    sender.send(&[1; 4000]).unwrap();
    for _ in 0..100 {
        assert_eq!(sender.send(&[2; 400]).unwrap_err(), SendError::Full);
    }
    drop(receiver.try_recv().unwrap());
    // A pad may come first, which the receiver passes when it looks.
    if sender.send(&[3; 400]).is_err() {
        assert!(receiver.try_recv().is_err());
        sender.send(&[3; 400]).unwrap();
    }
    sender.send(&[3; 90]).unwrap();
    assert!(matches!(sender.send(&[3; 90]), Err(SendError::RateLimited { .. })));
}

#[test]
fn marks_that_nobody_could_have_set_are_damage() {
    let dir = scratch();
    let path = dir.path().join("queue");
    Queue::options().water_marks(1, 2).create(&path).unwrap();
    let mut limits = [0; 48];
    limits[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
    let limits: laneway::layout::Limits = bytemuck::pod_read_unaligned(&limits);
    poke(path.join("queue"), laneway::layout::queue::LIMITS, bytemuck::bytes_of(&limits.sealed()));
    let error = Queue::open(&path).unwrap_err();
    assert!(error.to_string().contains("high_water"), "{error}");
}
