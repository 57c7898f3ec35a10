//! Receivers and senders in tasks: on tokio, on no runtime but a thread that is parked, in combinators; cancelled at random, against an
//! oracle; with each mechanism of the bridge; and descriptors in the reactors of two runtimes.

mod support;

use futures_lite::future::block_on;
use laneway::event::{self, AsyncInbox, AsyncReceiver, AsyncSender, Events, Mechanism, Rearmed, Selector};
use laneway::{OnFull, Queue, RateLimit, RecvError, SendError};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use support::{LONG, Rng, Role, check, length, payload, scratch, small_queue};

/// A waker that counts.
#[derive(Default)]
struct Counter(AtomicU64);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls until it waits for somebody else: as a runtime does with a task that wakes itself.
fn settle(mail: &mut AsyncReceiver, counter: &Arc<Counter>) -> Poll<Result<Vec<u8>, RecvError>> {
    let waker = Waker::from(Arc::clone(counter));
    loop {
        let before = counter.count();
        let answer = mail.poll_recv(&mut Context::from_waker(&waker));
        if answer.is_ready() || counter.count() == before {
            return answer;
        }
    }
}

fn runtime(threads: bool) -> tokio::runtime::Runtime {
    let mut builder = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn an_idle_task_is_left_alone_and_woken_once_for_a_burst() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut sender = queue.sender().unwrap();
    let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
    let counter = Arc::new(Counter::default());
    assert!(settle(&mut mail, &counter).is_pending());
    let before = counter.count();
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(counter.count(), before, "nobody woke it");
    // Polled for other reasons, in a `select!` say, it does not begin anew.
    let rings = sender.wait_stats().rings;
    (0..10).for_each(|_| assert!(settle(&mut mail, &counter).is_pending()));
    assert_eq!(counter.count(), before);
    (0..10).for_each(|number| _ = sender.send(&payload(1, number, 20)).unwrap());
    assert_eq!(sender.wait_stats().rings, rings + 1);
    while counter.count() == before {
        std::thread::yield_now();
    }
    for number in 0..10 {
        assert!(matches!(settle(&mut mail, &counter), Poll::Ready(Ok(found)) if check(&found) == (1, number)));
    }
    assert_eq!(counter.count(), before + 1);
}

#[test]
fn what_waits_may_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
    let mut sender = AsyncSender::new(queue.sender().unwrap()).unwrap();
    is_send(&mail.recv());
    is_send(&mail.recv_many(&mut Vec::new(), 3));
    is_send(&mail.ready());
    is_send(&sender.send(b"hello"));
    is_send(&sender.reserve(3));
    block_on(sender.send(b"hello")).unwrap();
    block_on(mail.ready());
    block_on(mail.ready());
    assert_eq!(mail.mail().drain().unwrap().count(), 1);
}

#[test]
fn a_task_that_always_has_something_lets_others_have_a_turn() {
    let dir = scratch();
    let queue = Queue::create(dir.path().join("queue")).unwrap();
    let mut sender = queue.sender().unwrap();
    (0..1000u64).for_each(|number| _ = sender.send_pod(&number).unwrap());
    let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut in_one_turn = 0;
    while mail.poll_recv(&mut Context::from_waker(&waker)).is_ready() {
        in_one_turn += 1;
    }
    assert!(in_one_turn < 1000);
    assert_eq!(counter.count(), 1, "and comes back");
    assert!(mail.poll_recv(&mut Context::from_waker(&waker)).is_ready());
}

/// Each message once, in order, whatever is dropped in between.
#[test]
fn what_is_cancelled_at_random_loses_nothing_and_repeats_nothing() {
    const COUNT: u64 = 3000;
    for (threads, mechanism) in
        [(false, None), (true, None), (true, Some(Mechanism::Threads)), (false, Some(Mechanism::Polling))]
    {
        event::force(mechanism);
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let mut sender = AsyncSender::new(queue.sender_options().on_full(OnFull::Block).attach().unwrap()).unwrap();
        let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
        event::force(None);
        runtime(threads).block_on(async move {
            let sending = async move {
                let mut rng = Rng(1);
                let mut number = 0;
                while number < COUNT {
                    let bytes = payload(3, number, length(3, number, 900));
                    let delay = Duration::from_micros(rng.below(60));
                    let (way, commits) = (rng.below(3), rng.below(2) > 0);
                    let sending = async {
                        if way > 0 {
                            sender.send(&bytes).await.unwrap();
                            return true;
                        }
                        let mut claim = sender.reserve(bytes.len()).await.unwrap();
                        claim.write_all(&bytes).unwrap();
                        commits && claim.commit().is_ok()
                    };
                    tokio::select! {
                        sent = sending => number += u64::from(sent),
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            };
            let receiving = async move {
                let mut rng = Rng(2);
                let mut next = 0;
                while next < COUNT {
                    let delay = Duration::from_micros(rng.below(60));
                    let mut many = Vec::new();
                    let (way, is_done) = (rng.below(3), rng.below(2) > 0);
                    let receiving = async {
                        match way {
                            0 => return vec![mail.recv().await.unwrap()],
                            1 => assert!(mail.recv_many(&mut many, 5).await.unwrap() > 0),
                            _ => {
                                let held = mail.hold().await.unwrap();
                                assert_eq!(check(&held.to_vec()), (3, next));
                                if is_done {
                                    many.push(held.to_vec());
                                    held.done();
                                }
                            }
                        }
                        std::mem::take(&mut many)
                    };
                    let many = tokio::select! {
                        many = receiving => many,
                        () = tokio::time::sleep(delay) => Vec::new(),
                    };
                    for found in &many {
                        assert_eq!(check(found), (3, next));
                        next += 1;
                    }
                }
                mail
            };
            let both = async { tokio::join!(sending, receiving) };
            let ((), mut mail) = tokio::time::timeout(LONG, both).await.expect("nobody waits for ever");
            assert!(mail.mail().try_recv().is_err());
        });
    }
}

/// The receiver is killed between polls, with messages in its hands and without.
#[test]
fn a_receiver_that_is_killed_between_polls_is_followed_by_one_that_misses_nothing() {
    const COUNT: u64 = 400;
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut sender = AsyncSender::new(queue.sender_options().on_full(OnFull::Block).attach().unwrap()).unwrap();
    let path = queue.path().to_owned();
    runtime(true).block_on(async move {
        let sending = tokio::spawn(async move {
            for number in 0..COUNT {
                sender.send(&payload(1, number, length(1, number, 400))).await.unwrap();
                if number % 16 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let receiving = tokio::task::spawn_blocking(move || {
            let (mut rng, mut next) = (Rng(9), 0);
            while next < COUNT {
                let mut receiver = Role::new("receive", &path).start();
                for _ in 0..1 + rng.below(40) {
                    let Some(said) = receiver.hear() else { break };
                    let number: u64 = said.parse().unwrap();
                    // Said before it was released: one that was killed in between says it again.
                    assert!(number == next || number + 1 == next, "{number} after {next}");
                    next = number + 1;
                    if next == COUNT {
                        break;
                    }
                }
                receiver.kill();
                // What it had said and nobody had heard, the next one does not say.
                while let Some(said) = receiver.hear() {
                    next = next.max(said.parse::<u64>().unwrap() + 1);
                }
            }
        });
        tokio::time::timeout(LONG, async { tokio::join!(sending, receiving) })
            .await
            .map(|(a, b)| (a.unwrap(), b.unwrap()))
            .unwrap();
    });
}

#[test]
fn without_a_runtime_a_thread_that_is_parked_will_do() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
    let mut sender = queue.sender().unwrap();
    let sending = std::thread::spawn(move || {
        for number in 0..200 {
            sender.send(&payload(1, number, 20)).unwrap();
            if number % 4 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        sender.close();
    });
    for number in 0..200 {
        assert_eq!(check(&block_on(mail.recv()).unwrap()), (1, number));
    }
    assert_eq!(block_on(mail.recv()), Err(RecvError::Closed));
    sending.join().unwrap();
    drop(mail.into_inner());
}

#[test]
fn a_sender_waits_for_room_and_for_its_rate_and_not_where_it_is_to_fail() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let receiver = queue.receiver().unwrap();
    let limited = queue.sender_options().rate_limit(RateLimit::messages(100)).attach().unwrap();
    let mut limited = AsyncSender::new(limited).unwrap();
    for number in 0..120u64 {
        block_on(limited.send(&number.to_le_bytes())).unwrap();
        assert_eq!(receiver.recv().unwrap().read_pod::<u64>().unwrap(), number);
    }
    let mut full = AsyncSender::new(queue.sender().unwrap()).unwrap();
    let mut sent = 0;
    full.get_mut().set_on_full(OnFull::Fail);
    while block_on(full.send(&[0; 500])).is_ok() {
        sent += 1;
    }
    assert!(sent > 4);
    assert_eq!(block_on(full.send(&[0; 500])), Err(SendError::Full));
    full.get_mut().set_on_full(OnFull::Block);
    let mut waiting = pin!(full.send(&[1; 500]));
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let taking = std::thread::spawn(move || receiver.iter().take(sent + 1).map(|message| message.len()).sum::<usize>());
    block_on(waiting).unwrap();
    assert_eq!(taking.join().unwrap(), 500 * (sent + 1));
}

/// Room is reserved for one message, and is no more than that of its rate.
#[test]
fn room_that_is_reserved_takes_from_the_rate_what_is_sent() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let receiver = queue.receiver().unwrap();
    let limit = RateLimit::messages(200).burst_messages(1);
    let mut limited = AsyncSender::new(queue.sender_options().rate_limit(limit).attach().unwrap()).unwrap();
    for number in 0..20 {
        let mut claim = block_on(limited.reserve(20)).unwrap();
        claim.write_all(&payload(1, number, 20)).unwrap();
        claim.commit().unwrap();
        assert_eq!(check(&receiver.recv().unwrap().to_vec()), (1, number));
    }
}

#[test]
fn the_descriptor_works_in_the_reactors_of_tokio_and_of_async_io() {
    const COUNT: u64 = 200;
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let start = |queue: &Queue| {
        let mut sender = queue.sender().unwrap();
        std::thread::spawn(move || {
            for number in 0..COUNT {
                sender.send(&payload(1, number, 20)).unwrap();
                std::thread::sleep(Duration::from_micros(100 * (number % 4)));
            }
        })
    };
    let sending = start(&queue);
    runtime(false).block_on(async {
        let events = Events::new(queue.receiver().unwrap()).unwrap();
        // SAFETY: it has one descriptor, for as long as it lives.
        #[expect(unsafe_code, reason = "tokio cannot know that")]
        let events = unsafe { tokio::io::unix::AsyncFd::register(events) }.unwrap();
        let mut next = 0;
        while next < COUNT {
            let mut guard = tokio::time::timeout(LONG, events.readable()).await.unwrap().unwrap();
            next = take_all(events.get_ref(), next);
            if events.get_ref().rearm() == Rearmed::Quiet {
                guard.clear_ready();
            }
        }
    });
    sending.join().unwrap();
    let sending = start(&queue);
    let events = Events::new(queue.receiver().unwrap()).unwrap();
    let registered = async_io::Async::new(events.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let mut next = 0;
    while next < COUNT {
        block_on(registered.readable()).unwrap();
        next = take_all(&events, next);
        let _ = events.rearm();
    }
    sending.join().unwrap();
}

fn take_all(events: &Events, mut next: u64) -> u64 {
    for message in events.mail().try_iter() {
        assert_eq!(check(&message.to_vec()), (1, next));
        next += 1;
    }
    next
}

/// Kinds of things that a filter may forbid: then the same must go on by other means, visibly.
#[test]
fn what_a_filter_forbids_is_done_otherwise() {
    for (forbid, expected) in [(1, "Threads"), (2, "WaitAny"), (3, "Threads"), (LATE + 1, "WaitAny")] {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let mut confined = Role::new("confined", queue.path()).with("FORBID", forbid).start();
        let mut sender = queue.sender().unwrap();
        let first = confined.hear().unwrap();
        if first == "refused" {
            eprintln!("skipped: this host does not offer seccomp");
            return;
        }
        assert_eq!(first, expected, "of {forbid}");
        for number in 0..50 {
            sender.send(&payload(1, number, 20)).unwrap();
            assert_eq!(confined.hear().unwrap(), number.to_string(), "of {forbid}");
        }
        assert!(confined.succeeded());
    }
}

/// Only when it has begun.
const LATE: u64 = 4;

/// Denies the system calls with these numbers to all threads: they return EPERM.
#[expect(unsafe_code, reason = "seccomp")]
fn deny(calls: &[i64]) -> bool {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, 0, 1));
        filter.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &raw const program,
            ) == 0
    }
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "receive" => {
            let mut mail = AsyncReceiver::new(part.open().receiver().unwrap()).unwrap();
            block_on(async {
                loop {
                    let held = mail.hold().await.unwrap();
                    part.say(&check(&held.to_vec()).1.to_string());
                    held.done();
                }
            });
        }
        "confined" => {
            let all = [(1, libc::SYS_futex_waitv), (2, libc::SYS_membarrier)];
            let forbid = part.number("FORBID");
            let denied: Vec<i64> = all.iter().filter(|(bit, _)| forbid & bit != 0).map(|(_, call)| *call).collect();
            if forbid & LATE == 0 && !deny(&denied) {
                return part.say("refused");
            }
            let mut selector = Selector::new();
            let mail = part.open().receiver().unwrap();
            part.say(&format!("{:?}", event::mechanism()));
            // In each way for a while.
            let key = selector.add(mail).unwrap();
            let mut next = 0;
            let mut say = |bytes: Vec<u8>| {
                assert_eq!(check(&bytes), (1, next));
                part.say(&next.to_string());
                next += 1;
            };
            for number in 0..20 {
                say(selector.recv_timeout(LONG).unwrap().message.unwrap().to_vec());
                if number == 10 && forbid & LATE != 0 {
                    assert!(deny(&denied));
                }
            }
            if forbid & LATE != 0 {
                // A wait that has begun goes on; the next one is refused.
                while event::mechanism() != Mechanism::Threads {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let mut mail = AsyncReceiver::new(selector.remove(key).unwrap()).unwrap();
            (0..30).for_each(|_| say(block_on(mail.recv()).unwrap()));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn five_hundred_tasks_on_one_thread() {
    const QUEUES: u64 = 500;
    const EACH: u64 = 5;
    support::open_many_files();
    let dir = scratch();
    let options = Queue::options().capacity(4096).overflow_limit(0).max_lanes(2);
    let queues: Vec<Queue> =
        (0..QUEUES).map(|number| options.create(dir.path().join(number.to_string())).unwrap()).collect();
    let mut senders: Vec<_> = queues.iter().map(|queue| queue.sender().unwrap()).collect();
    runtime(false).block_on(async {
        let tasks: Vec<_> = (0..)
            .zip(&queues)
            .map(|(number, queue)| {
                let mut mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
                tokio::spawn(async move {
                    for next in 0..EACH {
                        assert_eq!(check(&mail.recv().await.unwrap()), (number, next));
                    }
                })
            })
            .collect();
        let sending = tokio::task::spawn_blocking(move || {
            for message in 0..EACH {
                for (sender, number) in senders.iter_mut().zip(0..) {
                    sender.send(&payload(number, message, 24)).unwrap();
                }
                std::thread::sleep(Duration::from_millis(10 * (message % 2)));
            }
        });
        for task in tasks {
            tokio::time::timeout(LONG, task).await.unwrap().unwrap();
        }
        sending.await.unwrap();
    });
}

#[cfg(feature = "stream")]
#[test]
fn a_receiver_is_a_stream_until_all_have_closed() {
    use futures_lite::StreamExt;
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut sender = queue.sender().unwrap();
    (0..10).for_each(|number| _ = sender.send(&payload(1, number, 20)).unwrap());
    sender.close();
    let mail = AsyncReceiver::new(queue.receiver().unwrap()).unwrap();
    let numbers: Vec<u64> = block_on(mail.map(|payload| check(&payload).1).collect());
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

/// One that is kept for later is due while nobody sends.
#[test]
fn a_mailbox_is_served_in_a_task() {
    use laneway::mailbox::{Post, State};
    let dir = scratch();
    let post = Post::open(dir.path().join("post"));
    let mut mailbox = post.mailbox("backend").unwrap();
    let inbox = AsyncInbox::new(post.serve("backend").unwrap()).unwrap();
    runtime(false).block_on(async {
        assert!(tokio::time::timeout(Duration::from_millis(20), inbox.recv()).await.is_err(), "there is nothing");
        let ticket = mailbox.send(b"work").unwrap();
        let first = tokio::time::timeout(LONG, inbox.recv()).await.unwrap().unwrap();
        assert_eq!(first.body(), b"work");
        // The task that works on it is cancelled.
        drop(first);
        let again = tokio::time::timeout(LONG, inbox.recv()).await.unwrap().unwrap();
        assert_eq!(again.body(), b"work");
        again.ack();
        assert_eq!(mailbox.status(&ticket).unwrap().state, State::Acked);
    });
    drop(inbox.into_inner());
}
