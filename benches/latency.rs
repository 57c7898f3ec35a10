//! A round trip between two threads that spin, beside the raw one: a number that goes over on one cache line and comes back
//! on another.
//!
//! `cargo bench -p laneway --bench latency`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use laneway::{OnFull, Queue, Receiver, Sender};
use laneway_measure::{Lines, Shared};
use std::time::Duration;

fn round_trip(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("round_trip");

    let path = directory.path().join("raw");
    let memory = Shared::create(&path, Lines::LEN as u64).expect("memory");
    let other = Shared::open(&path).expect("it was created");
    let (mut leads, mut follows) = (Lines::new(&memory, true), Lines::new(&other, false));
    group.bench_function("raw lines", |bencher| {
        bencher.iter_custom(|trips| support::together(|| _ = leads.time(trips), [|| _ = follows.time(trips)]));
    });

    let ends = |name: &str| support::ends(&directory.path().join(name), &Queue::options(), OnFull::Block);
    let (mut there, mut back) = (ends("there"), ends("back"));
    trips::<6>(&mut there, &mut back, 1000);
    group.bench_function("8 B", |bencher| bencher.iter_custom(|count| trips::<1>(&mut there, &mut back, count)));
    group.bench_function("48 B", |bencher| bencher.iter_custom(|count| trips::<6>(&mut there, &mut back, count)));
    group.finish();
}

/// Of a message of so many words, copied in and out on both sides; each answer is compared with its question.
fn trips<const WORDS: usize>(there: &mut (Sender, Receiver), back: &mut (Sender, Receiver), count: u64) -> Duration {
    let ((ask, hear), (answer, learn)) = (there, back);
    let lead = move || {
        let mut words = [7; WORDS];
        for trip in 0..count {
            words[0] = trip;
            ask.send_pod(&words).expect("there is room");
            let answer: [u64; WORDS] = learn.recv().expect("it comes").read_pod().expect("it is as long");
            assert_eq!(answer, words);
        }
    };
    let follow = move || {
        for _ in 0..count {
            let words: [u64; WORDS] = hear.recv().expect("it comes").read_pod().expect("it is as long");
            answer.send_pod(&words).expect("there is room");
        }
    };
    support::together(lead, [follow])
}

criterion_group!(name = benches; config = support::criterion(); targets = round_trip);
criterion_main!(benches);
