//! Room, outcomes, answers and answers in chunks, in event loops and in tasks: woken by whoever makes room, settles, or answers, and
//! not before.

mod support;

use futures_lite::future::block_on;
use laneway::event::{
    AsyncChunks, AsyncInbox, AsyncMailbox, AsyncReplyStream, OutcomeEvents, Rearmed, RoomEvents, Selector,
};
use laneway::mailbox::{Content, Post, ReplyError, Settings, State, StreamError};
use laneway::{OnFull, Queue, RateLimit, TrySendError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;
use support::mailboxes::{body, post};
use support::{LONG, check, payload, scratch, small_queue};

fn readable(events: &impl AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() == 1
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends until there is no room.
fn fill(room: &mut RoomEvents, len: usize) -> u64 {
    let mut sent = 0;
    loop {
        match room.sender().try_send(&payload(1, sent, len)) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, TrySendError::Full);
                return sent;
            }
        }
    }
}

#[test]
fn a_descriptor_of_room_is_readable_when_there_is_some() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let receiver = queue.receiver().unwrap();
    for on_full in [OnFull::Fail, OnFull::Block, OnFull::GrowThenBlock] {
        let mut room = RoomEvents::new(queue.sender_options().on_full(on_full).attach().unwrap()).unwrap();
        assert!(readable(&room, Duration::ZERO), "the first turn looks");
        for _ in 0..20 {
            let sent = fill(&mut room, 500);
            assert_eq!(room.rearm(500), Rearmed::Quiet);
            assert!(room.is_armed());
            // All of it: a pad may be in the way of one that is shorter than what was released.
            for number in 0..sent {
                assert_eq!(check(&receiver.recv().unwrap().to_vec()), (1, number));
            }
            assert!(readable(&room, LONG));
            while room.rearm(500) == Rearmed::Quiet {
                // It was rung for before everything was released.
                assert!(readable(&room, LONG));
            }
        }
        // One that can never be sent is not waited for.
        assert_eq!(room.rearm(5000), Rearmed::Ready);
        assert!(matches!(room.sender().try_send(&[0; 5000]), Err(TrySendError::TooLarge { .. })));
        drop(room.into_inner());
    }
}

#[test]
fn who_makes_room_rings_for_it() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let receiver = queue.receiver().unwrap();
    let mut room = RoomEvents::new(queue.sender_options().on_full(OnFull::Fail).attach().unwrap()).unwrap();
    // One that has just found a lane rings for whoever died before it could.
    assert!(receiver.try_recv().is_err());
    let sent = fill(&mut room, 500);
    let rings = || receiver.wait_stats().rings;
    assert_eq!(room.rearm(500), Rearmed::Quiet);
    let before = rings();
    receiver.try_iter().take(sent as usize).for_each(drop);
    assert_eq!(rings(), before + 1, "once for each arming");
    assert!(readable(&room, LONG));
    fill(&mut room, 500);
    let before = rings();
    receiver.try_iter().for_each(drop);
    assert_eq!(rings(), before, "nobody waits");
}

#[test]
fn a_descriptor_of_room_keeps_to_the_rate_and_takes_nothing_from_it() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let _receiver = queue.receiver().unwrap();
    let limit = RateLimit::messages(20).burst_messages(1);
    let limited = queue.sender_options().on_full(OnFull::Fail).rate_limit(limit).attach().unwrap();
    let mut room = RoomEvents::new(limited).unwrap();
    for number in 0..5 {
        while room.rearm(20) == Rearmed::Quiet {
            assert!(readable(&room, LONG));
        }
        // However often it is asked.
        assert_eq!(room.rearm(20), Rearmed::Ready);
        room.sender().try_send(&payload(1, number, 20)).unwrap();
        assert!(matches!(room.sender().try_send(b"too fast"), Err(TrySendError::RateLimited { .. })));
    }
    // Where messages are dropped nobody waits, and none is dropped by asking.
    room.sender().set_on_full(OnFull::DropNewest);
    assert_eq!(room.rearm(20), Rearmed::Ready);
    assert_eq!(queue.observe().unwrap().stat().unwrap().dropped, 0);
}

#[test]
fn a_descriptor_of_outcomes_is_readable_when_something_became_of_a_message() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let mut outcomes = OutcomeEvents::new(&mut backend).unwrap();
    assert!(readable(&outcomes, Duration::ZERO), "the first turn looks");
    let tickets: Vec<_> = (0..3).map(|_| outcomes.mailbox().send(b"work").unwrap()).collect();
    let mut seen: Vec<_> = tickets.iter().map(|ticket| (*ticket, State::Pending)).collect();
    assert_eq!(outcomes.rearm(&seen), Rearmed::Quiet);
    let serving = thread::spawn(move || {
        let inbox = post.serve("backend").unwrap();
        (0..3).for_each(|_| _ = body(&inbox));
    });
    while seen.iter().any(|(_, state)| !state.is_final()) {
        assert!(readable(&outcomes, LONG));
        for (ticket, state) in &mut seen {
            *state = outcomes.mailbox().status(ticket).unwrap().state;
        }
        while outcomes.rearm(&seen) == Rearmed::Ready {
            for (ticket, state) in &mut seen {
                *state = outcomes.mailbox().status(ticket).unwrap().state;
            }
        }
    }
    assert!(seen.iter().all(|(_, state)| *state == State::Acked));
    serving.join().unwrap();
    assert_eq!(outcomes.into_inner().stats().unwrap().processed, 3);
}

#[test]
fn a_task_waits_for_an_outcome_for_several_and_for_an_answer() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = AsyncMailbox::new(post.mailbox("backend").unwrap()).unwrap();
    let first = backend.get_mut().send(b"one").unwrap();
    let second = backend.get_mut().send(b"two").unwrap();
    let mut task = Context::from_waker(Waker::noop());
    assert!(pin!(backend.wait(&first)).poll(&mut task).is_pending(), "nobody serves");
    let serving = thread::spawn({
        let post = post.clone();
        move || {
            let inbox = AsyncInbox::new(post.serve("backend").unwrap()).unwrap();
            block_on(async {
                inbox.recv().await.unwrap().ack();
                inbox.recv().await.unwrap().reject().unwrap();
                for answer in [b"late".as_slice(), b"in time"] {
                    let asked = inbox.recv().await.unwrap();
                    assert!(asked.reply(answer).unwrap());
                    asked.ack();
                }
            });
        }
    });
    runtime().block_on(async {
        assert_eq!(backend.wait(&first).await.unwrap().state, State::Acked);
        let outcome = backend.until(|backend| {
            let states = [first, second].map(|ticket| backend.status(&ticket).unwrap().state);
            states.iter().all(|state| state.is_final()).then_some(states)
        });
        assert_eq!(outcome.await, [State::Acked, State::Failed]);
        // Given up after it was sent: what is answered to it is no answer to the next one.
        assert!(pin!(backend.request(b"three")).poll(&mut task).is_pending());
        assert_eq!(backend.request(b"four").await.unwrap().body, b"in time");
        assert_eq!(backend.get_mut().late_answers(), 1);
        // Another mailbox in its place has its answers elsewhere.
        let other = std::mem::replace(backend.get_mut(), post.mailbox("other").unwrap());
        let answering = thread::spawn(move || {
            let inbox = post.serve("other").unwrap();
            let asked = inbox.recv_timeout(LONG).unwrap();
            assert!(asked.reply(b"from another").unwrap());
            asked.ack();
        });
        let answer = tokio::time::timeout(LONG, backend.request(b"five")).await.unwrap().unwrap();
        assert_eq!(answer.body, b"from another");
        answering.join().unwrap();
        drop(other);
    });
    serving.join().unwrap();
    drop(backend.into_inner());
}

#[test]
fn what_waits_for_a_mailbox_may_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let dir = scratch();
    let post = post(&dir);
    let mut backend = AsyncMailbox::new(post.mailbox("backend").unwrap()).unwrap();
    let ticket = backend.get_mut().send(b"one").unwrap();
    let mut chunks = AsyncChunks::new(backend.get_mut().request_stream(b"two").unwrap()).unwrap();
    is_send(&chunks.next());
    is_send(&backend.wait(&ticket));
    is_send(&backend.request(b"three"));
    is_send(&RoomEvents::new(small_queue(&dir, 4).sender().unwrap()).unwrap());
    is_send(&OutcomeEvents::new(backend.into_inner()).unwrap());
}

/// Futures are dropped at random between chunks; none is lost.
#[test]
fn chunks_come_to_a_task_and_a_future_that_is_dropped_takes_none() {
    const COUNT: u64 = 300;
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let mut chunks = AsyncChunks::new(backend.request_stream(b"go on").unwrap()).unwrap();
    let serving = thread::spawn(move || {
        let inbox = post.serve("backend").unwrap();
        let asked = inbox.recv_timeout(LONG).unwrap();
        let mut answer = asked.reply_stream().unwrap().unwrap();
        for number in 0..COUNT {
            answer.send(&payload(1, number, 1000)).unwrap();
            if number % 50 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        answer.fail("that is all").unwrap();
        asked.ack();
    });
    let numbers = runtime().block_on(async {
        let mut numbers = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                () = tokio::time::sleep(Duration::from_micros(numbers.len() as u64 % 7 * 20)) => continue,
                next = chunks.next() => next,
            };
            match next {
                Ok(Some(chunk)) => numbers.push(check(&chunk.body).1),
                Ok(None) => return numbers,
                Err(error) => assert_eq!(error, StreamError::Failed { reason: "that is all".to_owned() }),
            }
        }
    });
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    assert_eq!(chunks.get().discarded(), 0);
    serving.join().unwrap();
    drop(chunks.into_inner());
}

/// Both ends in tasks of one thread, which neither of them blocks.
#[test]
fn an_answer_goes_from_task_to_task_at_the_readers_pace() {
    const COUNT: u64 = 400;
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let mut chunks = AsyncChunks::new(backend.request_stream(b"go on").unwrap()).unwrap();
    let given_up = AsyncChunks::new(backend.request_stream(b"go on").unwrap()).unwrap();
    let inbox = AsyncInbox::new(post.serve("backend").unwrap()).unwrap();
    runtime().block_on(async {
        let asked = inbox.recv().await.unwrap();
        let unread = inbox.recv().await.unwrap();
        let writing = async {
            let mut answer = AsyncReplyStream::new(asked.reply_stream().unwrap().unwrap()).unwrap();
            answer.get_mut().set_content(Content::Text);
            for number in 0..COUNT {
                answer.send(&payload(1, number, 1000)).await.unwrap();
            }
            answer.into_inner().finish().unwrap();
        };
        let reading = async {
            for number in 0..COUNT {
                let chunk = chunks.next().await.unwrap().unwrap();
                assert_eq!((check(&chunk.body), chunk.content), ((1, number), Content::Text));
            }
            assert_eq!(chunks.next().await, Ok(None));
        };
        let cancelling = async {
            let mut answer = AsyncReplyStream::new(unread.reply_stream().unwrap().unwrap()).unwrap();
            while tokio::time::timeout(Duration::from_millis(20), answer.send(&[7; 1000])).await.is_ok() {}
            drop(given_up);
            assert_eq!(tokio::time::timeout(LONG, answer.send(&[7; 1000])).await.unwrap(), Err(ReplyError::Cancelled));
        };
        tokio::time::timeout(LONG, async { tokio::join!(writing, reading, cancelling) }).await.unwrap();
    });
}

/// Served by tasks of one thread, asked by tasks of another: as many mailboxes as there are in a big house.
#[test]
fn five_hundred_mailboxes_in_one_process() {
    const MAILBOXES: usize = 500;
    support::open_many_files();
    let dir = scratch();
    let options = Queue::options().capacity(4096).overflow_limit(4096).max_lanes(2);
    let settings = Settings { outcomes: 64, ..Settings::default() };
    let post = Post::open(dir.path().join("post")).queue_options(options).settings(settings);
    let name = |number: usize| format!("mailbox-{number}");
    let serving: Vec<_> =
        (0..MAILBOXES).map(|number| AsyncInbox::new(post.serve(&name(number)).unwrap()).unwrap()).collect();
    let asking: Vec<_> =
        (0..MAILBOXES).map(|number| AsyncMailbox::new(post.mailbox(&name(number)).unwrap()).unwrap()).collect();
    let served = thread::spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime(), async move {
            let all = serving
                .into_iter()
                .map(|inbox| tokio::task::spawn_local(async move { inbox.recv().await.unwrap().ack() }));
            for one in all.collect::<Vec<_>>() {
                tokio::time::timeout(LONG, one).await.unwrap().unwrap();
            }
        });
    });
    runtime().block_on(async {
        let all = asking.into_iter().map(|mut mailbox| {
            tokio::spawn(async move {
                let ticket = mailbox.get_mut().send(b"work").unwrap();
                mailbox.wait(&ticket).await.unwrap().state
            })
        });
        for one in all.collect::<Vec<_>>() {
            assert_eq!(tokio::time::timeout(LONG, one).await.unwrap().unwrap(), State::Acked);
        }
    });
    served.join().unwrap();
}

/// Several tasks that serve one mailbox: each is woken, whichever of them was there first, or is given up.
#[test]
fn a_mailbox_is_served_by_several_tasks_of_a_thread() {
    let dir = scratch();
    let post = post(&dir);
    let mut mailbox = post.mailbox("backend").unwrap();
    let inbox = Rc::new(AsyncInbox::new(post.serve("backend").unwrap()).unwrap());
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime(), async move {
        for given_up in [false, true] {
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let inbox = Rc::clone(&inbox);
                    tokio::task::spawn_local(async move { inbox.recv().await.unwrap().ack() })
                })
                .collect();
            // Each waits; the last one is the one that was told of last.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if given_up {
                workers[2].abort();
            }
            for sent in 1..=3 - u8::from(given_up) {
                // From another thread, so that it is the bridge that wakes.
                mailbox = tokio::task::spawn_blocking(move || {
                    mailbox.send(b"work").unwrap();
                    mailbox
                })
                .await
                .unwrap();
                let done = async {
                    while workers.iter().filter(|worker| worker.is_finished()).count()
                        < (sent + u8::from(given_up)).into()
                    {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), done).await.expect("one of them is woken");
            }
        }
    });
}

/// Who waits by the handle itself in between is awake afterwards; the task must not rely on the arming of before.
#[test]
fn a_handle_that_waited_in_between_is_rung_for_again() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = AsyncInbox::new(post.serve("backend").unwrap()).unwrap();
    let queue = Queue::open(dir.path().join("post/backend/mail")).unwrap();
    let mut sender = queue.sender().unwrap();
    let wait = || {
        let mut waiting = pin!(inbox.recv());
        for _ in 0..3 {
            assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    };
    wait();
    let before = sender.wait_stats().rings;
    assert!(inbox.get().recv_timeout(Duration::from_millis(1)).is_err());
    wait();
    // No envelope: it goes to the dead letters, but it rings.
    sender.send(b"hello").unwrap();
    assert_eq!(sender.wait_stats().rings, before + 1);

    let queue = small_queue(&dir, 4);
    let mut sender = queue.sender().unwrap();
    let mut selector = Selector::new();
    let key = selector.add(queue.receiver().unwrap()).unwrap();
    assert!(selector.try_recv().is_none());
    let before = sender.wait_stats().rings;
    assert!(selector.get(key).unwrap().recv_timeout(Duration::from_millis(1)).is_err());
    assert!(selector.try_recv().is_none());
    sender.send(b"hello").unwrap();
    assert_eq!(sender.wait_stats().rings, before + 1);
    assert!(selector.recv_timeout(LONG).is_some());
}

#[cfg(feature = "stream")]
#[test]
fn an_answer_is_a_stream_of_chunks_that_goes_on_after_an_error() {
    use futures_lite::StreamExt;
    use laneway::mailbox::Chunk;
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let chunks = AsyncChunks::new(backend.request_stream(b"go on").unwrap()).unwrap();
    let inbox = post.serve("backend").unwrap();
    for attempt in 1..=2 {
        let asked = inbox.recv_timeout(LONG).unwrap();
        let mut answer = asked.reply_stream().unwrap().unwrap();
        answer.send(b"half").unwrap();
        if attempt == 2 {
            answer.finish().unwrap();
            asked.ack();
        }
    }
    let half = Ok(Chunk { body: b"half".to_vec(), content: Content::Bytes });
    let expected =
        [half.clone(), Err(StreamError::BrokenOff), Err(StreamError::Restarted { attempt: 2 }), half].to_vec();
    assert_eq!(block_on(chunks.collect::<Vec<_>>()), expected);
}
