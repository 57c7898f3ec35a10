//! What a mailbox adds to the queue below it: a ticket and an envelope to a send, a ledger to a receive, an answer to a
//! question; each beside the queue alone.
//!
//! `cargo bench -p laneway --bench mailbox`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use laneway::mailbox::{Inbox, Mailbox, Post, State, Ticket};
use laneway::{OnFull, Queue, Receiver, Sender, Wait};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Messages between two looks at the clock. They fit in the ring.
const BATCH: u64 = 64;
const BODY: [u8; 56] = [7; 56];

fn mailbox(directory: &Path) -> (Mailbox, Inbox) {
    let post = Post::open(directory);
    let inbox = post.serve("backend").expect("nobody serves it");
    inbox.set_wait(Wait::Spin);
    (post.mailbox("backend").expect("a mailbox"), inbox)
}

/// Calls `timed` in batches, with `other` after each, and gives the time that `timed` took.
fn batches(count: u64, mut timed: impl FnMut(u64), mut other: impl FnMut(u64)) -> Duration {
    let (mut took, mut left) = (Duration::ZERO, count);
    while left > 0 {
        let batch = left.min(BATCH);
        let started = Instant::now();
        timed(batch);
        took += started.elapsed();
        other(batch);
        left -= batch;
    }
    took
}

fn send(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("send");
    let (mut sender, receiver) =
        support::ends(&directory.path().join("bare"), &Queue::options().capacity(64 << 10), OnFull::Block);
    let drain = |receiver: &Receiver| receiver.try_iter().for_each(drop);
    // As long as the envelope and the body, so that what is compared is not the copy.
    let bare = [7; 24 + BODY.len()];
    group.bench_function("bare, as long as the whole", |bencher| {
        bencher.iter_custom(|count| {
            batches(count, |batch| (0..batch).for_each(|_| _ = sender.send(&bare)), |_| drain(&receiver))
        });
    });
    group.bench_function("bare, as long as the body", |bencher| {
        bencher.iter_custom(|count| {
            batches(count, |batch| (0..batch).for_each(|_| _ = sender.send(&BODY)), |_| drain(&receiver))
        });
    });
    let (mut backend, inbox) = mailbox(directory.path());
    let ticket = backend.send(&BODY).expect("there is room");
    let delivery = inbox.recv().expect("it was sent");
    assert_eq!((delivery.ticket(), delivery.body()), (ticket, BODY.to_vec()));
    delivery.ack();
    group.bench_function("with a ticket", |bencher| {
        bencher.iter_custom(|count| {
            batches(
                count,
                |batch| (0..batch).for_each(|_| _ = black_box(backend.send(&BODY).expect("there is room"))),
                |batch| (0..batch).for_each(|_| inbox.recv().expect("it was sent").ack()),
            )
        });
    });
    group.finish();
}

fn receive(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("receive");
    let (mut sender, receiver) =
        support::ends(&directory.path().join("bare"), &Queue::options().capacity(64 << 10), OnFull::Block);
    group.bench_function("bare", |bencher| {
        bencher.iter_custom(|count| {
            (0..BATCH).for_each(|_| _ = sender.send(&BODY));
            let took = batches(
                count,
                |batch| (0..batch).for_each(|_| drop(black_box(receiver.recv()))),
                |batch| (0..batch).for_each(|_| _ = sender.send(&BODY)),
            );
            receiver.try_iter().for_each(drop);
            took
        });
    });
    let (mut backend, inbox) = mailbox(directory.path());
    group.bench_function("taken and acked", |bencher| {
        bencher.iter_custom(|count| {
            (0..BATCH).for_each(|_| _ = backend.send(&BODY));
            let took = batches(
                count,
                |batch| (0..batch).for_each(|_| black_box(inbox.recv().expect("it was sent")).ack()),
                |batch| (0..batch).for_each(|_| _ = backend.send(&BODY)),
            );
            while let Ok(Some(delivery)) = inbox.try_recv() {
                delivery.ack();
            }
            took
        });
    });
    group.finish();
}

fn status(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("status");
    let (mut backend, inbox) = mailbox(directory.path());
    let acked: Vec<Ticket> = (0..BATCH).map(|_| backend.send(&BODY).expect("there is room")).collect();
    (0..BATCH).for_each(|_| inbox.recv().expect("it was sent").ack());
    let pending: Vec<Ticket> = (0..BATCH).map(|_| backend.send(&BODY).expect("there is room")).collect();
    for (name, tickets, expected) in [("acked", acked, State::Acked), ("pending", pending, State::Pending)] {
        let mut at = tickets.iter().cycle();
        assert!(tickets.iter().all(|ticket| backend.status(ticket).expect("it is asked").state == expected));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(backend.status(at.next().expect("for ever")).expect("it is asked")));
        });
    }
    group.finish();
}

fn request(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("request");
    let ends = |name: &str| support::ends(&directory.path().join(name), &Queue::options(), OnFull::Block);
    let (mut there, mut back) = (ends("there"), ends("back"));
    group.bench_function("bare round trip", |bencher| {
        bencher.iter_custom(|count| bare_trips(&mut there, &mut back, count));
    });
    let (mut backend, mut inbox) = mailbox(directory.path());
    backend.set_wait(Wait::Spin).expect("a queue for answers");
    group.bench_function("request and reply", |bencher| {
        bencher.iter_custom(|count| requests(&mut backend, &mut inbox, count));
    });
    group.finish();
}

fn bare_trips(there: &mut (Sender, Receiver), back: &mut (Sender, Receiver), count: u64) -> Duration {
    let ((ask, hear), (answer, learn)) = (there, back);
    let lead = move || {
        for trip in 0..count {
            ask.send_pod(&trip).expect("there is room");
            assert_eq!(learn.recv().expect("it comes").read_pod(), Ok(trip));
        }
    };
    let follow = move || {
        for _ in 0..count {
            let trip: u64 = hear.recv().expect("it comes").read_pod().expect("it is as long");
            answer.send_pod(&trip).expect("there is room");
        }
    };
    support::together(lead, [follow])
}

fn requests(backend: &mut Mailbox, inbox: &mut Inbox, count: u64) -> Duration {
    let lead = move || {
        for trip in 0..count {
            let answer = backend.request(&trip.to_le_bytes(), Duration::from_secs(10)).expect("it is answered");
            assert_eq!(answer.body, trip.to_le_bytes());
        }
    };
    let follow = move || {
        for _ in 0..count {
            let delivery = inbox.recv().expect("it comes");
            let mut trip = [0; 8];
            delivery.copy_to(&mut trip);
            assert!(delivery.reply(&trip).expect("there is room"));
            delivery.ack();
        }
    };
    support::together(lead, [follow])
}

/// An answer in chunks: from asking to its end, with one chunk, and with a thousand.
fn stream(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("stream");
    let (mut backend, mut inbox) = mailbox(directory.path());
    for chunks in [1, 1000] {
        group.throughput(Throughput::Elements(chunks));
        group.bench_function(format!("chunks of 56 B/{chunks}"), |bencher| {
            bencher.iter_custom(|count| streams(&mut backend, &mut inbox, chunks, count));
        });
    }
    group.finish();
}

fn streams(backend: &mut Mailbox, inbox: &mut Inbox, chunks: u64, count: u64) -> Duration {
    let lead = move || {
        for _ in 0..count {
            let mut answer = backend.request_stream(b"go on").expect("it is sent");
            let mut came = 0;
            while let Some(chunk) = answer.next(Duration::from_secs(10)).expect("it comes") {
                assert_eq!(chunk.body, [7; 56]);
                came += 1;
            }
            assert_eq!(came, chunks);
        }
    };
    let follow = move || {
        for _ in 0..count {
            let delivery = inbox.recv().expect("it comes");
            let mut answer = delivery.reply_stream().expect("it can be answered").expect("somebody asks");
            (0..chunks).for_each(|_| answer.send(&[7; 56]).expect("somebody reads"));
            answer.finish().expect("somebody reads");
            delivery.ack();
        }
    };
    support::together(lead, [follow])
}

criterion_group!(name = benches; config = support::criterion(); targets = send, receive, status, request, stream);
criterion_main!(benches);
