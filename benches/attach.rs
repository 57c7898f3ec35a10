//! Coming and going: what it takes to create a queue, to open it, and to attach to it. What undoes it is not timed.
//!
//! `cargo bench -p laneway --bench attach`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use laneway::{Queue, Sender};
use laneway_measure::Distribution;
use std::time::Instant;

/// All that a queue admits.
const LANES: u32 = 64;

fn attach(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("attach");
    let (path, new) = (directory.path().join("queue"), directory.path().join("new"));
    let create = |path: &_| Queue::options().max_lanes(LANES).create(path).expect("a queue");
    let queue = create(&path);

    // The first of the process registers with the kernel and looks at the clock, and the lane is there afterwards.
    let (mut sender, receiver) = (queue.sender().expect("a lane"), queue.receiver().expect("the receiver's end"));
    sender.send(b"whole").expect("there is room");
    assert_eq!(receiver.recv().expect("it was sent").to_vec(), b"whole");
    drop((sender, receiver));

    each(&mut group, "create a queue", || create(&new), |queue| queue.destroy().expect("it is ours"));
    each(&mut group, "open a queue", || Queue::open(&path).expect("it is there"), drop);
    each(&mut group, "sender, lane exists", || queue.sender().expect("a lane"), |sender| assert_eq!(sender.lane(), 0));
    each(&mut group, "receiver", || queue.receiver().expect("nobody receives"), drop);

    // Every lane is held, until none is left to be made; then the queue is made anew, outside of what is timed.
    let full = std::cell::RefCell::new((create(&new), Vec::<Sender>::new()));
    let attach = || full.borrow().0.sender().expect("a lane");
    each(&mut group, "sender, new lane", attach, |sender| {
        let (queue, held) = &mut *full.borrow_mut();
        assert_eq!(sender.lane(), held.len() as u32);
        held.push(sender);
        if held.len() == WITHOUT_URGENT {
            held.clear();
            Queue::remove(&new).expect("it is ours");
            *queue = create(&new);
        }
    });
    group.finish();
}

/// What is not kept for urgent senders.
const WITHOUT_URGENT: usize = (LANES - LANES / 8) as usize;

/// Times something alone, and prints its percentiles.
fn each<T>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, begin: impl Fn() -> T, end: impl Fn(T)) {
    let mut times = Distribution::new();
    let mut once = || {
        let started = Instant::now();
        let begun = begin();
        let took = started.elapsed();
        end(begun);
        times.record(took.as_nanos() as u64);
        took
    };
    group.bench_function(name, |bencher| bencher.iter_custom(|count| (0..count).map(|_| once()).sum()));
    support::print(name, &times);
}

criterion_group!(name = benches; config = support::criterion(); targets = attach);
criterion_main!(benches);
