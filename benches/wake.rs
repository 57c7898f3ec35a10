//! From a send to its message in the hands of a receiver that slept in the kernel, one way, beside a futex and nothing
//! else.
//!
//! `cargo bench --bench wake`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use laneway::{OnFull, Queue, Wait};
use laneway_measure::limit::FutexWake;
use laneway_measure::{Clock, Distribution, Shared};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

fn wake(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("wake");

    let (memory, mut times) = (Shared::anonymous(FutexWake::LEN).expect("memory"), Distribution::new());
    let (waker, mut sleeper) = (FutexWake::new(&memory), FutexWake::new(&memory));
    group.bench_function("futex alone", |bencher| {
        bencher.iter_custom(|count| wakes(count, &mut times, |stamp| waker.wake(stamp), || sleeper.sleep()));
    });
    support::print("futex alone", &times);

    let (mut sender, mut receiver) = support::ends(&directory.path().join("queue"), &Queue::options(), OnFull::Block);
    receiver.set_wait(Wait::Park);
    let mut one_way = |count, times: &mut Distribution| {
        let receiver = &mut receiver;
        let send = |stamp: u64| _ = sender.send_pod(&stamp).expect("there is room");
        wakes(count, times, send, move || receiver.recv().expect("it comes").read_pod().expect("it is a word"))
    };
    one_way(100, &mut Distribution::new());
    times = Distribution::new();
    group.bench_function("laneway", |bencher| bencher.iter_custom(|count| one_way(count, &mut times)));
    support::print("laneway", &times);
    group.finish();
    let (rings, sent) = (sender.wait_stats().rings, times.count() + 100);
    assert!(rings >= sent - sent / 100, "{rings} of {sent} sends woke somebody: not what was to be measured");
}

/// Wakes somebody so many times, each with the time of it, when he sleeps in the kernel. The sum of what it took.
fn wakes(
    count: u64,
    times: &mut Distribution,
    mut wake: impl FnMut(u64) + Send,
    mut sleep: impl FnMut() -> u64 + Send,
) -> Duration {
    let (thread, woken, sum) = (&AtomicI32::new(0), &AtomicU64::new(0), &AtomicU64::new(0));
    let sleeps = move || {
        thread.store(nix::unistd::gettid().as_raw(), Ordering::Release);
        for number in 1..=count {
            let ns = sleep_ns(sleep());
            times.record(ns);
            sum.fetch_add(ns, Ordering::Relaxed);
            woken.store(number, Ordering::Release);
        }
    };
    let wakes = move || {
        for number in 0..count {
            while woken.load(Ordering::Acquire) != number || !is_asleep(thread.load(Ordering::Acquire)) {
                std::hint::spin_loop();
            }
            wake(Clock::monotonic_ns());
        }
    };
    support::together(sleeps, [wakes]);
    Duration::from_nanos(sum.load(Ordering::Relaxed))
}

fn sleep_ns(stamp: u64) -> u64 {
    Clock::monotonic_ns() - stamp
}

/// Whether the kernel says that a thread of ours waits for something.
fn is_asleep(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

criterion_group!(name = benches; config = support::criterion(); targets = wake);
criterion_main!(benches);
