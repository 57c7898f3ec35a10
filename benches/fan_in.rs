//! Several senders stream to one receiver, each through a lane of its own: how long the receiver takes for a message.
//!
//! `cargo bench -p laneway --bench fan_in`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use laneway::{OnFull, Queue, Receiver, Sender, Wait};
use std::time::Duration;

const WORDS: usize = 7;

fn fan_in(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("fan_in");
    for count in [1, 2, 4] {
        let path = directory.path().join(format!("{count}"));
        let (first, receiver) = support::ends(&path, &Queue::options(), OnFull::Block);
        let others = (1..count).map(|_| {
            let mut sender = Queue::open(&path).and_then(|queue| queue.sender()).expect("a lane");
            sender.set_on_full(OnFull::Block);
            sender
        });
        let mut senders: Vec<Sender> = std::iter::once(first).chain(others).collect();
        // Some share a processor: who spins there keeps the others from sending.
        senders.iter().for_each(|sender| sender.set_wait(Wait::Adaptive));
        let mut receiver = receiver;
        stream(&mut senders, &mut receiver, 1000);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} senders"), |bencher| {
            bencher.iter_custom(|each| stream(&mut senders, &mut receiver, each));
        });
    }
    group.finish();
}

/// So many messages from each sender, until the last was received. Those of each must come in order.
fn stream(senders: &mut [Sender], receiver: &mut Receiver, each: u64) -> Duration {
    let mut expected = vec![0; senders.len()];
    let books = &mut expected;
    let receives = move || {
        for _ in 0..each * books.len() as u64 {
            let message = receiver.recv().expect("it comes");
            let words: [u64; WORDS] = message.read_pod().expect("it is as long");
            let next = &mut books[message.lane() as usize];
            assert_eq!(words, [*next; WORDS]);
            *next += 1;
        }
    };
    let sends = senders
        .iter_mut()
        .map(|sender| move || (0..each).for_each(|number| _ = sender.send_pod(&[number; WORDS]).expect("it is sent")));
    let took = support::together(receives, sends);
    assert!(expected.iter().all(|count| *count == each));
    took
}

criterion_group!(name = benches; config = support::criterion(); targets = fan_in);
criterion_main!(benches);
