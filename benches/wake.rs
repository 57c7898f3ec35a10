//! From a send to its message in the hands of a receiver that slept in the kernel, one way, beside a futex and nothing
//! else.
//!
//! `cargo bench -p laneway --bench wake`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use laneway::{OnFull, Queue, Wait};
use laneway_measure::limit::FutexWake;
use laneway_measure::{Distribution, Shared};
use support::wakes;

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

criterion_group!(name = benches; config = support::criterion(); targets = wake);
criterion_main!(benches);
