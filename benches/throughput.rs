//! Messages a second: one thread streams to another as fast as it can, beside the same copies with no queue around them;
//! and what a message costs one processor, with nothing that travels between caches.
//!
//! `cargo bench -p laneway --bench throughput`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use laneway::{OnFull, Queue, Receiver, Sender, pair};
use laneway_measure::Shared;
use laneway_measure::limit::CopyStream;
use std::hint::black_box;
use std::time::Duration;

const LENGTHS: [usize; 4] = [8, 56, 1024, 16 << 10];
const CAPACITY: u64 = 256 << 10;
const BATCH: usize = 16;

fn stream(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("stream");
    for len in LENGTHS {
        // The default, but for growing: what does not fit waits.
        let options = Queue::options().capacity(CAPACITY);
        let mut ends = support::ends(&directory.path().join(format!("{len}")), &options, OnFull::Block);
        stream_queue(&mut ends, len, 1000);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("laneway", len), |bencher| {
            bencher.iter_custom(|count| stream_queue(&mut ends, len, count));
        });
        // As many bytes as in the ring.
        let slots = (CAPACITY as usize / (len + 8)).clamp(8, 4096);
        let path = directory.path().join(format!("raw {len}"));
        let memory = Shared::create(&path, CopyStream::memory_len(slots, len) as u64).expect("memory");
        let other = Shared::open(&path).expect("it was created");
        let mut raw = (CopyStream::new(&memory, slots, len), CopyStream::new(&other, slots, len));
        stream_copies(&mut raw, len, 1000);
        group.bench_function(BenchmarkId::new("copies alone", len), |bencher| {
            bencher.iter_custom(|count| stream_copies(&mut raw, len, count));
        });
    }
    group.finish();
}

/// Until the last message was received; each says which one it is.
fn stream_queue((sender, receiver): &mut (Sender, Receiver), len: usize, count: u64) -> Duration {
    stream_with(
        len,
        count,
        move |message| _ = sender.send(message).expect("it is sent"),
        move |message| receiver.recv().expect("it comes").copy_to(message),
    )
}

fn stream_copies(raw: &mut (CopyStream<'_>, CopyStream<'_>), len: usize, count: u64) -> Duration {
    let (sender, receiver) = raw;
    stream_with(len, count, |message| sender.send(message), |message| receiver.receive(message))
}

fn stream_with(
    len: usize,
    count: u64,
    mut send: impl FnMut(&[u8]) + Send,
    mut receive: impl FnMut(&mut [u8]) + Send,
) -> Duration {
    let sends = || {
        let mut message = vec![7; len];
        for number in 0..count {
            message[..8].copy_from_slice(&number.to_le_bytes());
            send(&message);
        }
    };
    let receives = || {
        let mut message = vec![0; len];
        for number in 0..count {
            receive(&mut message);
            assert_eq!(message[..8], number.to_le_bytes());
            black_box(&message);
        }
    };
    support::together(receives, [sends])
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_thread");
    for len in LENGTHS {
        let (mut sender, receiver) = pair(1 << 20).expect("memory for a ring");
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut copy = vec![0; len];
        sender.send(&payload).expect("there is room");
        receiver.recv().expect("it was sent").copy_to(&mut copy);
        assert_eq!(copy, payload);

        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new("send_then_recv", len), |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCH {
                    sender.send(&payload).expect("there is room");
                }
                for _ in 0..BATCH {
                    receiver.recv().expect("it was sent").copy_to(&mut copy);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = support::criterion(); targets = stream, one_thread);
criterion_main!(benches);
