//! What a message costs one processor: sent and received by the same thread, nothing travels between caches.
//!
//! `cargo bench --bench one_thread`
#![allow(missing_docs, reason = "a program")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use laneway::pair;

const BATCH: usize = 16;

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_thread");
    for len in [8, 56, 1024, 16 << 10] {
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

criterion_group!(benches, one_thread);
criterion_main!(benches);
