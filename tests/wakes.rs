//! Who wakes whom, seen in the counters of those that sleep: a sender that comes while the receiver sleeps, and somebody
//! who waits on the receiver's word without being it. Cannot see a wake-up that is late by less than a sleep's bound.
#![expect(unsafe_code, reason = "waiting on a word of a mapped file")]

mod support;

use laneway::{Queue, Wait, layout};
use memmap2::MmapOptions;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;
use support::{LONG, check, payload, peek, scratch, small_queue};

const COUNT: u64 = 40;

/// Waits until the receiver says that it sleeps, and the kernel says so of its thread: between the two it looks once more, and
/// what it finds then wakes nobody.
fn until_asleep(queue: &Queue, thread: &AtomicI32) {
    let started = Instant::now();
    let says_so = || peek(queue.path().join("receiver"), layout::receiver::SLEEPS) & 1 == 1;
    let does_so = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", thread.load(Ordering::Acquire)));
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')))
    };
    while !(says_so() && does_so()) {
        assert!(started.elapsed() < LONG, "it never slept");
        thread::yield_now();
    }
}

/// Sends to a receiver that sleeps, again and again; gives how many of its sleeps were ended by a ring, and how many by
/// their bound.
fn wake_again_and_again(queue: &Queue, mut send: impl FnMut(&[u8])) -> (u64, u64) {
    let receiver = queue.receiver().unwrap();
    receiver.set_wait(Wait::Park);
    let (received, id) = (&AtomicU32::new(0), &AtomicI32::new(0));
    thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            id.store(nix::unistd::gettid().as_raw(), Ordering::Release);
            for number in 0..COUNT {
                assert_eq!(check(&receiver.recv_timeout(LONG).unwrap().to_vec()), (0, number));
                received.fetch_add(1, Ordering::Release);
            }
            let stats = receiver.wait_stats();
            (stats.wakes, stats.expired)
        });
        for number in 0..COUNT {
            until_asleep(queue, id);
            send(&payload(0, number, 40));
            let started = Instant::now();
            while u64::from(received.load(Ordering::Acquire)) <= number {
                assert!(started.elapsed() < LONG, "message {number} has not come");
                thread::yield_now();
            }
        }
        receiving.join().unwrap()
    })
}

/// Whoever rang for this sleep and died may not have woken anybody: the next one does not take its word for it.
#[test]
fn a_sender_that_comes_while_the_receiver_sleeps_wakes_it() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut rings = 0;
    let (wakes, expired) = wake_again_and_again(&queue, |message| {
        let mut sender = queue.sender().unwrap();
        sender.send(message).unwrap();
        rings += sender.wait_stats().rings;
    });
    assert!(rings > COUNT / 2, "{rings} rings for {COUNT} messages");
    assert!(wakes > COUNT / 2 && wakes > expired, "{wakes} sleeps were ended by a ring, {expired} by their bound");
}

#[test]
fn a_batch_whose_iterator_panics_wakes_the_receiver_for_what_it_sent() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let (wakes, expired) = wake_again_and_again(&queue, |message| {
        let sending = AssertUnwindSafe(|| {
            let _ = sender
                .send_batch((0..2).map(|number| if number == 0 { message } else { panic!("as was to be expected") }));
        });
        assert!(std::panic::catch_unwind(sending).is_err());
    });
    assert!(wakes > COUNT / 2 && wakes > expired, "{wakes} sleeps were ended by a ring, {expired} by their bound");
}

#[test]
fn whoever_else_waits_on_the_bell_takes_no_wake_up_from_the_receiver() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut sender = queue.sender().unwrap();
    let stop = AtomicBool::new(false);
    let bell = MmapOptions::new().map_raw_read_only(&File::open(queue.path().join("bell")).unwrap()).unwrap();
    // SAFETY: aligned, inside the mapping, and never written through it.
    let seq = unsafe { AtomicU32::from_ptr(bell.as_mut_ptr().add(layout::bell::SEQ).cast()) };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let now = seq.load(Ordering::Relaxed);
                    let limit = libc::timespec { tv_sec: 1, tv_nsec: 0 };
                    // SAFETY: the word and the time are alive; the kernel only reads them.
                    unsafe {
                        libc::syscall(libc::SYS_futex, seq.as_ptr(), libc::FUTEX_WAIT, now, &raw const limit, 0, 0);
                    }
                }
            });
        }
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| {
            wake_again_and_again(&queue, |message| assert!(sender.send(message).is_ok()))
        }));
        stop.store(true, Ordering::Relaxed);
        let (wakes, expired) = answer.unwrap();
        assert!(wakes > COUNT / 2 && wakes > expired, "{wakes} sleeps were ended by a ring, {expired} by their bound");
    });
}
