//! What it costs when the receiver falls behind: streaming through segments beside streaming in the ring, and a burst
//! beside a ring that holds it whole.
//!
//! `cargo bench -p laneway --bench overflow`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use laneway::{OnFull, Options, Queue, Receiver, Sender};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

const LEN: usize = 1024;
const BURST: u64 = 8_000;

fn options(capacity: u64, overflow: u64) -> Options {
    Queue::options().max_lanes(1).capacity(capacity).overflow_limit(overflow)
}

fn stream(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("stream_1024");
    group.throughput(Throughput::Elements(1));
    for (name, options, on_full) in [
        ("ring of 256 KiB", options(256 << 10, 0), OnFull::Block),
        ("ring of 4 MiB", options(4 << 20, 0), OnFull::Block),
        ("ring of 256 KiB may grow", options(256 << 10, 4 << 20), OnFull::GrowThenBlock),
        ("ring of 32 KiB may grow", options(32 << 10, 4 << 20), OnFull::GrowThenBlock),
    ] {
        let (mut sender, mut receiver) = support::ends(&directory.path().join(name), &options, on_full);
        let mut both_at_once = |count| {
            let (sender, receiver) = (&mut sender, &mut receiver);
            support::together(move || receive(receiver, count), [move || send(sender, count)])
        };
        both_at_once(1000);
        group.bench_function(name, |bencher| bencher.iter_custom(&mut both_at_once));
    }
    group.finish();
}

fn burst(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("burst_of_8_MiB");
    group.throughput(Throughput::Elements(BURST)).sampling_mode(SamplingMode::Flat);
    for (name, options, on_full) in [
        ("ring of 16 MiB", options(16 << 20, 0), OnFull::Block),
        ("ring of 256 KiB grows", options(256 << 10, 16 << 20), OnFull::GrowThenBlock),
    ] {
        let path = directory.path().join(name);
        let (mut sender, mut receiver) = support::ends(&path, &options, on_full);
        send(&mut sender, BURST);
        let (waiting, in_segments) = depth(&path);
        assert_eq!((waiting, in_segments > 0), (BURST, on_full == OnFull::GrowThenBlock), "{name}");
        receive(&mut receiver, BURST);
        let mut one_after_the_other = |times| {
            let started = Instant::now();
            for _ in 0..times {
                send(&mut sender, BURST);
                receive(&mut receiver, BURST);
            }
            started.elapsed()
        };
        group.bench_function(name, |bencher| bencher.iter_custom(&mut one_after_the_other));
    }
    group.finish();
}

/// Each message says which one it is.
fn send(sender: &mut Sender, count: u64) {
    let mut message = [7; LEN];
    for number in 0..count {
        message[..8].copy_from_slice(&number.to_le_bytes());
        sender.send(&message).expect("it is sent");
    }
}

fn receive(receiver: &mut Receiver, count: u64) {
    let mut message = [0; LEN];
    for number in 0..count {
        receiver.recv().expect("it comes").copy_to(&mut message);
        assert_eq!(message[..8], number.to_le_bytes());
        black_box(&message);
    }
}

/// How many messages wait, and how many bytes of them in segments.
fn depth(path: &Path) -> (u64, u64) {
    let mut observer = Queue::open(path).and_then(|queue| queue.observe()).expect("it can be seen");
    let stat = observer.stat().expect("it can be seen");
    (stat.depth_messages, stat.segment_bytes)
}

criterion_group!(name = benches; config = support::criterion(); targets = stream, burst);
criterion_main!(benches);
