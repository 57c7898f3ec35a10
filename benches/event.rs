//! Waking somebody who waits for other things too, one way, beside an eventfd that the peer writes itself; and what tasks of one process
//! get through, beside channels that are made for that.
//!
//! `cargo bench -p laneway --bench event`
#![allow(missing_docs, reason = "a program")]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use laneway::event::{self, AsyncReceiver, AsyncSender, Events, Mechanism};
use laneway::{OnFull, Queue, Wait};
use laneway_measure::Distribution;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::wakes;
use tokio::runtime::{Builder, Runtime};

fn wait_for(descriptor: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(descriptor, PollFlags::POLLIN)];
    while poll(&mut fds, PollTimeout::NONE) != Ok(1) {}
}

fn wake(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("event");

    let (descriptor, stamp, mut times) =
        (EventFd::new().expect("a descriptor"), AtomicU64::new(0), Distribution::new());
    group.bench_function("an eventfd that the peer writes", |bencher| {
        let wake = |now| {
            stamp.store(now, Ordering::Relaxed);
            descriptor.write(1).expect("it is not full");
        };
        let sleep = || {
            wait_for(descriptor.as_fd());
            descriptor.read().expect("it was written");
            stamp.load(Ordering::Relaxed)
        };
        bencher.iter_custom(|count| wakes(count, &mut times, wake, sleep));
    });
    support::print("an eventfd that the peer writes", &times);

    for mechanism in [Mechanism::WaitAny, Mechanism::Threads] {
        event::force(Some(mechanism));
        let path = directory.path().join(format!("descriptor-{mechanism:?}"));
        let (mut sender, receiver) = support::ends(&path, &Queue::options(), OnFull::Block);
        let (mut events, mut times) = (Events::new(receiver).expect("a descriptor"), Distribution::new());
        group.bench_function(BenchmarkId::new("laneway, descriptor", format!("{mechanism:?}")), |bencher| {
            bencher.iter_custom(|count| {
                let events = &mut events;
                let sleep = move || loop {
                    if let Ok(message) = events.mail().try_recv() {
                        return message.read_pod().expect("it is a word");
                    }
                    let _ = events.rearm();
                    wait_for(events.as_fd());
                };
                wakes(count, &mut times, |stamp: u64| _ = sender.send_pod(&stamp).expect("there is room"), sleep)
            });
        });
        support::print(&format!("laneway, descriptor, {mechanism:?}"), &times);

        let path = directory.path().join(format!("task-{mechanism:?}"));
        let (mut sender, receiver) = support::ends(&path, &Queue::options(), OnFull::Block);
        // It is to sleep.
        receiver.set_wait(Wait::Park);
        let (mut mail, mut times) = (AsyncReceiver::new(receiver).expect("a thread"), Distribution::new());
        let mut runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        group.bench_function(BenchmarkId::new("laneway, task of tokio", format!("{mechanism:?}")), |bencher| {
            bencher.iter_custom(|count| {
                let (mail, runtime): (_, &mut Runtime) = (&mut mail, &mut runtime);
                let sleep = move || {
                    let payload = runtime.block_on(mail.recv()).expect("it comes");
                    u64::from_ne_bytes(payload.try_into().expect("it is a word"))
                };
                wakes(count, &mut times, |stamp: u64| _ = sender.send_pod(&stamp).expect("there is room"), sleep)
            });
        });
        support::print(&format!("laneway, task of tokio, {mechanism:?}"), &times);
    }
    event::force(None);
    group.finish();
}

/// Four words: what is moved is not a pointer to it.
type Message = [u64; 4];

/// As many as fit in the ring of the queue that is measured.
const ROOM: usize = 1024;

fn throughput(criterion: &mut Criterion) {
    let directory = support::directory();
    let mut group = criterion.benchmark_group("tasks");
    group.throughput(Throughput::Elements(1));
    let runtimes = [("one thread", Builder::new_current_thread()), ("two threads", Builder::new_multi_thread())];
    for (name, mut builder) in runtimes {
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        group.bench_function(BenchmarkId::new("tokio mpsc", name), |bencher| {
            bencher.iter_custom(|count| {
                let (sender, mut receiver) = tokio::sync::mpsc::channel::<Message>(ROOM);
                let send = async move {
                    for number in 0..count {
                        sender.send([number; 4]).await.expect("it is there");
                    }
                };
                let receive = async move {
                    for number in 0..count {
                        assert_eq!(receiver.recv().await, Some([number; 4]));
                    }
                };
                both(&runtime, send, receive)
            });
        });
        group.bench_function(BenchmarkId::new("kanal", name), |bencher| {
            bencher.iter_custom(|count| {
                let (sender, receiver) = kanal::bounded_async::<Message>(ROOM);
                let send = async move {
                    for number in 0..count {
                        sender.send([number; 4]).await.expect("it is there");
                    }
                };
                let receive = async move {
                    for number in 0..count {
                        assert_eq!(receiver.recv().await.expect("it is there"), [number; 4]);
                    }
                };
                both(&runtime, send, receive)
            });
        });
        let mut queues = 0;
        group.bench_function(BenchmarkId::new("laneway", name), |bencher| {
            bencher.iter_custom(|count| {
                queues += 1;
                let path = directory.path().join(format!("{name}-{queues}"));
                let options = Queue::options().capacity(ROOM as u64 * 64);
                let (sender, receiver) = support::ends(&path, &options, OnFull::Block);
                sender.set_wait(Wait::Adaptive);
                receiver.set_wait(Wait::Adaptive);
                let mut sender = AsyncSender::new(sender).expect("a thread");
                let mut receiver = AsyncReceiver::new(receiver).expect("a thread");
                let send = async move {
                    for number in 0..count {
                        sender.send(bytemuck::bytes_of(&[number; 4])).await.expect("it is there");
                    }
                };
                let receive = async move {
                    let mut number = 0;
                    while number < count {
                        receiver.ready().await;
                        for message in receiver.mail().try_iter().take(128) {
                            assert_eq!(message.read_pod::<Message>(), Ok([number; 4]));
                            number += 1;
                        }
                    }
                };
                both(&runtime, send, receive)
            });
        });
    }
    group.finish();
}

/// Runs two tasks to their ends, and says how long that took.
fn both(
    runtime: &Runtime,
    send: impl Future<Output = ()> + Send + 'static,
    receive: impl Future<Output = ()> + Send + 'static,
) -> Duration {
    runtime.block_on(async {
        let started = Instant::now();
        let (send, receive) = (tokio::spawn(send), tokio::spawn(receive));
        send.await.expect("what it asserts holds");
        receive.await.expect("what it asserts holds");
        started.elapsed()
    })
}

criterion_group!(name = benches; config = support::criterion(); targets = wake, throughput);
criterion_main!(benches);
