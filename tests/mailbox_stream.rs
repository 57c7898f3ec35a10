//! Answers in chunks: their order, their end, how far whoever answers may be ahead, and what comes of it when one of the two gives
//! up, dies, or begins again.

mod support;

use laneway::Queue;
use laneway::mailbox::{
    Chunk, Chunks, Content, Delivery, Inbox, Mailbox, Post, ReplyError, ReplyStream, RequestError, State, StreamError,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::mailboxes::{post, state};
use support::{LONG, Role, check, length, payload, scratch};

const SOON: Duration = Duration::from_millis(20);

/// A mailbox that is served, and a request for chunks that was taken.
fn asked<'a>(post: &Post, inbox: &'a Inbox) -> (Mailbox, Chunks, Delivery<'a>) {
    let mut mailbox = post.mailbox("backend").unwrap();
    let chunks = mailbox.request_stream(b"go on").unwrap();
    (mailbox, chunks, inbox.recv_timeout(LONG).unwrap())
}

fn begin(delivery: &Delivery<'_>) -> ReplyStream {
    delivery.reply_stream().unwrap().expect("somebody asks")
}

fn next(chunks: &mut Chunks) -> Option<Vec<u8>> {
    chunks.next(LONG).unwrap().map(|chunk| chunk.body)
}

/// The queues for answers.
fn queues(post: &Post) -> Vec<PathBuf> {
    let dir = post.root().join(".laneway-replies");
    let names = Queue::list(&dir).unwrap();
    assert_eq!(std::fs::read_dir(&dir).map_or(0, Iterator::count), names.len(), "nothing is left of others");
    names.iter().map(|name| dir.join(name)).collect()
}

#[test]
fn chunks_come_in_order_and_then_the_end() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (mut mailbox, mut chunks, delivery) = asked(&post, &inbox);
    assert!(delivery.wants_reply());
    let ticket = chunks.ticket();
    assert_eq!(chunks.next(SOON), Err(StreamError::Timeout { ticket }));
    let mut answer = begin(&delivery);
    let sending = std::thread::spawn(move || {
        for number in 0..500 {
            answer.send(&payload(1, number, length(1, number, 3000))).unwrap();
        }
        answer.set_content(Content::Text);
        answer.send(b"").unwrap();
        // Longer than the ring.
        answer.send(&payload(2, 0, 300_000)).unwrap();
        answer.finish().unwrap();
    });
    for number in 0..500 {
        let body = next(&mut chunks).unwrap();
        assert_eq!((check(&body), body.len()), ((1, number), length(1, number, 3000)));
    }
    assert_eq!(chunks.next(LONG), Ok(Some(Chunk { body: Vec::new(), content: Content::Text })));
    let long = next(&mut chunks).unwrap();
    assert_eq!((check(&long), long.len()), ((2, 0), 300_000));
    assert_eq!(next(&mut chunks), None);
    assert_eq!(next(&mut chunks), None, "and so it stays");
    sending.join().unwrap();
    assert!(queues(&post).is_empty(), "its space is free as soon as it has ended");
    delivery.ack();
    assert_eq!(state(&mut mailbox, &ticket), State::Acked);
    assert_eq!(chunks.discarded(), 0);
}

#[test]
fn who_answers_gets_no_further_ahead_than_the_ring_is_long() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (_mailbox, mut chunks, delivery) = asked(&post, &inbox);
    let mut answer = begin(&delivery);
    let mut sent = 0;
    let refused = loop {
        match answer.send_timeout(&payload(1, sent, 1000), SOON) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
        assert!(sent < 100, "the ring has room for 60 of them");
    };
    assert_eq!(refused, ReplyError::Timeout);
    assert!(sent > 40);
    for number in 0..sent / 2 {
        assert_eq!(check(&next(&mut chunks).unwrap()), (1, number));
    }
    // What was refused was not sent.
    answer.send(&payload(1, sent, 1000)).unwrap();
    answer.finish().unwrap();
    for number in sent / 2..=sent {
        assert_eq!(check(&next(&mut chunks).unwrap()), (1, number));
    }
    assert_eq!(next(&mut chunks), None);
    delivery.ack();
}

/// Whoever waits for room is woken; nobody else notices.
#[test]
fn a_stream_that_is_given_up_ends_the_wait_for_room_and_frees_its_space() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (mut mailbox, mut chunks, delivery) = asked(&post, &inbox);
    let mut answer = begin(&delivery);
    let sending = std::thread::spawn(move || {
        assert!(!answer.is_cancelled());
        let refused = loop {
            match answer.send(&[7; 1000]) {
                Ok(()) => {}
                Err(refused) => break refused,
            }
        };
        assert!(answer.is_cancelled());
        assert_eq!(answer.finish(), Err(ReplyError::Cancelled));
        refused
    });
    assert!(next(&mut chunks).is_some());
    let queue = Queue::open(&queues(&post)[0]).unwrap();
    while queue.observe().unwrap().lanes().unwrap()[0].full_events == 0 {
        std::thread::yield_now();
    }
    chunks.cancel();
    assert!(queues(&post).is_empty());
    assert_eq!(sending.join().unwrap(), ReplyError::Cancelled);
    // Who comes to it only then finds nobody to answer to.
    assert!(delivery.reply_stream().unwrap().is_none());
    assert!(!delivery.reply(b"all at once").unwrap());
    delivery.ack();
    drop(mailbox.request_stream(b"and at once").unwrap());
    assert!(inbox.recv_timeout(LONG).unwrap().reply_stream().unwrap().is_none());
}

#[test]
fn streams_that_nobody_reads_are_in_nobodys_way() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let mut mailbox = post.mailbox("backend").unwrap();
    let mut unread: Vec<Chunks> = (0..4).map(|_| mailbox.request_stream(b"much").unwrap()).collect();
    let mut read = mailbox.request_stream(b"little").unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(move || {
            // An answer in one piece, while all of them wait.
            let answer = mailbox.request(b"plain", LONG).unwrap();
            assert_eq!(answer.body, b"plainly");
            assert_eq!(mailbox.late_answers(), 0);
        });
        let mut writers = Vec::new();
        for _ in 0..6 {
            let delivery = inbox.recv_timeout(LONG).unwrap();
            match delivery.body().as_slice() {
                b"plain" => assert!(delivery.reply(b"plainly").unwrap()),
                b"little" => {
                    let mut answer = begin(&delivery);
                    answer.send(b"a little").unwrap();
                    answer.finish().unwrap();
                }
                _ => {
                    let mut answer = begin(&delivery);
                    while answer.send_timeout(&[1; 5000], Duration::ZERO).is_ok() {}
                    writers.push(scope.spawn(move || {
                        answer.send(b"the last one").unwrap();
                        answer.finish().unwrap();
                    }));
                }
            }
            delivery.ack();
        }
        asking.join().unwrap();
        assert_eq!(next(&mut read).as_deref(), Some(b"a little".as_slice()));
        assert_eq!(next(&mut read), None);
        for chunks in &mut unread {
            let mut last = Vec::new();
            while let Some(body) = next(chunks) {
                last = body;
            }
            assert_eq!(last, b"the last one");
        }
    });
}

#[test]
fn who_answers_may_fail_or_break_off_and_whoever_comes_next_begins_anew() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (_mailbox, mut chunks, delivery) = asked(&post, &inbox);
    let mut answer = begin(&delivery);
    answer.send(b"half of it").unwrap();
    drop(answer);
    drop(delivery);
    assert_eq!(next(&mut chunks).unwrap(), b"half of it");
    assert_eq!(chunks.next(LONG), Err(StreamError::BrokenOff));
    // Nothing was sent at this attempt but that.
    let again = inbox.recv_timeout(LONG).unwrap();
    assert_eq!(again.attempt(), 2);
    drop(begin(&again));
    drop(again);
    assert_eq!(chunks.next(LONG), Err(StreamError::Restarted { attempt: 2 }));
    assert_eq!(chunks.next(LONG), Err(StreamError::BrokenOff));
    let again = inbox.recv_timeout(LONG).unwrap();
    let mut answer = begin(&again);
    answer.send(b"all of").unwrap();
    answer.fail("the disk is full").unwrap();
    again.ack();
    assert_eq!(chunks.next(LONG), Err(StreamError::Restarted { attempt: 3 }));
    assert_eq!(next(&mut chunks).unwrap(), b"all of");
    let failed = chunks.next(LONG).unwrap_err();
    assert_eq!(failed.to_string(), "the request failed: the disk is full");
    assert_eq!(next(&mut chunks), None);
    assert!(queues(&post).is_empty());
}

/// The first one still sends, from another thread, while the second one does.
#[test]
fn two_attempts_are_never_mixed() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (_mailbox, mut chunks, first) = asked(&post, &inbox);
    let mut old = begin(&first);
    old.send(b"old 1").unwrap();
    first.nack_after(Duration::ZERO).unwrap();
    let second = inbox.recv_timeout(LONG).unwrap();
    let mut new = begin(&second);
    assert_eq!(next(&mut chunks).unwrap(), b"old 1");
    old.send(b"old 2").unwrap();
    assert_eq!(next(&mut chunks).unwrap(), b"old 2");
    new.send(b"new 1").unwrap();
    assert_eq!(chunks.next(LONG), Err(StreamError::Restarted { attempt: 2 }));
    old.send(b"old 3").unwrap();
    old.finish().unwrap();
    assert_eq!(next(&mut chunks).unwrap(), b"new 1");
    assert!(matches!(chunks.next(SOON), Err(StreamError::Timeout { .. })));
    assert_eq!(chunks.discarded(), 2);
    new.send(b"new 2").unwrap();
    new.finish().unwrap();
    second.ack();
    assert_eq!(next(&mut chunks).unwrap(), b"new 2");
    assert_eq!(next(&mut chunks), None);
}

#[test]
fn an_answer_in_one_piece_is_one_chunk_and_who_wants_one_piece_gets_no_chunks() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (mut mailbox, mut chunks, delivery) = asked(&post, &inbox);
    assert!(delivery.reply(b"all of it").unwrap());
    delivery.ack();
    assert_eq!(next(&mut chunks).unwrap(), b"all of it");
    assert_eq!(next(&mut chunks), None);
    assert!(matches!(mailbox.request(b"plain", SOON), Err(RequestError::Timeout { .. })));
    let delivery = inbox.recv_timeout(LONG).unwrap();
    assert!(delivery.reply_stream().unwrap().is_none());
    assert!(delivery.reply(b"still there").unwrap());
    mailbox.send(b"no request").unwrap();
    assert!(inbox.recv_timeout(LONG).unwrap().reply_stream().unwrap().is_none());
}

/// Bytes that no sender of ours sends: numbers that do not follow, other correlations, no envelope at all.
#[test]
fn what_does_not_belong_to_the_answer_is_discarded_and_what_is_missing_is_said() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let (_mailbox, mut chunks, delivery) = asked(&post, &inbox);
    let mut forger = Queue::open(&queues(&post)[0]).unwrap().sender().unwrap();
    let mut forge = |kind: u8, attempt: u16, number: u64, correlation: u64| {
        let mut bytes = [0; 80];
        (bytes[0], bytes[1], bytes[3]) = (1, kind, 0b11_1111);
        bytes[6..8].copy_from_slice(&attempt.to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        bytes[64..72].copy_from_slice(&correlation.to_le_bytes());
        bytes[72] = number as u8;
        forger.send(&bytes).unwrap();
    };
    // Mail, a request, and another answer; then the first of an answer, and one too many.
    for (kind, correlation) in [(1, 1), (2, 1), (4, 2)] {
        forge(kind, 1, 1, correlation);
    }
    forge(4, 1, 1, 1);
    forge(4, 1, 3, 1);
    // After that the rest is worth nothing, and so is the end.
    forge(4, 1, 4, 1);
    forge(5, 1, 5, 1);
    // A later one whose beginning is missing, the whole of it, and the earlier one once more.
    forge(4, 3, 2, 1);
    forge(4, 3, 1, 1);
    forge(4, 1, 2, 1);
    forge(5, 3, 2, 1);
    assert_eq!(next(&mut chunks).unwrap()[0], 1);
    assert_eq!(chunks.discarded(), 3);
    assert_eq!(chunks.next(LONG), Err(StreamError::Incomplete { expected: 2, found: 3 }));
    assert_eq!(chunks.next(LONG), Err(StreamError::Incomplete { expected: 1, found: 2 }));
    assert_eq!(chunks.discarded(), 5);
    assert_eq!(chunks.next(LONG), Err(StreamError::Restarted { attempt: 3 }));
    assert_eq!(next(&mut chunks).unwrap()[0], 1);
    assert_eq!(next(&mut chunks), None);
    assert_eq!(chunks.discarded(), 6);
    delivery.ack();
}

/// A stream is given up at any instant, also while somebody attaches to it, or begins to send.
#[test]
fn a_stream_that_is_given_up_at_any_instant_is_one_that_nobody_reads() {
    const COUNT: u64 = 300;
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let mut mailbox = post.mailbox("backend").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..COUNT {
                let chunks = mailbox.request_stream(b"go on").unwrap();
                let begun = Instant::now();
                // As long as it takes to attach, about, and a little more and less.
                while begun.elapsed() < Duration::from_micros(number % 100 * 15) {
                    std::hint::spin_loop();
                }
                drop(chunks);
            }
        });
        for number in 0..COUNT {
            let delivery = inbox.recv_timeout(LONG).unwrap();
            let answer = delivery.reply_stream().unwrap_or_else(|error| panic!("{number}: {error}"));
            if let Some(mut answer) = answer {
                let sent = (0..100).map(|_| answer.send(&[7; 1000])).find(Result::is_err);
                assert_eq!(sent, Some(Err(ReplyError::Cancelled)));
            }
            delivery.ack();
        }
    });
    assert!(queues(&post).is_empty());
}

#[test]
fn both_ends_of_a_stream_may_go_to_another_thread() {
    fn goes<T: Send>() {}
    goes::<Chunks>();
    goes::<ReplyStream>();
}

/// A process of the mailbox `backend` of this post.
fn start(name: &str, post: &Post) -> support::Peer {
    Role::new(name, post.root()).start()
}

#[test]
fn a_reader_that_is_killed_ends_the_wait_for_room_and_its_space_is_free() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let mut reader = start("reader", &post);
    let delivery = inbox.recv_timeout(LONG).unwrap();
    let mut answer = begin(&delivery);
    answer.send(&payload(1, 0, 1000)).unwrap();
    reader.expect("0");
    while answer.send_timeout(&[7; 1000], SOON).is_ok() {}
    reader.kill();
    assert!(answer.is_cancelled());
    assert_eq!(answer.send(&[7; 1000]), Err(ReplyError::Cancelled));
    assert!(queues(&post).is_empty());
    drop(answer);
    delivery.ack();
    // One that nobody has answered is found by the next who asks.
    let mut reader = start("reader", &post);
    inbox.recv_timeout(LONG).unwrap().ack();
    reader.kill();
    assert_eq!(queues(&post).len(), 1);
    // And so is what is left of one that was killed while it made or removed a queue.
    std::fs::create_dir(post.root().join(".laneway-replies/.laneway-0123456789abcdef")).unwrap();
    let chunks = post.mailbox("backend").unwrap().request_stream(b"go on").unwrap();
    assert_eq!(queues(&post).len(), 1);
    drop(chunks);
    assert!(queues(&post).is_empty());
}

#[test]
fn whoever_answers_is_killed_in_the_middle_and_the_answer_begins_anew() {
    let dir = scratch();
    let post = post(&dir);
    let mut mailbox = post.mailbox("backend").unwrap();
    let mut chunks = mailbox.request_stream(b"go on").unwrap();
    let mut server = start("server", &post);
    for number in 0..30 {
        assert_eq!(check(&next(&mut chunks).unwrap()), (1, number));
    }
    // It waits for room by now, or is about to.
    server.kill();
    let mut server = start("server", &post);
    let mut number = 30;
    let restarted = loop {
        match chunks.next(LONG) {
            Ok(Some(chunk)) => assert_eq!(check(&chunk.body), (1, number)),
            Ok(None) => panic!("it has not ended"),
            Err(error) => break error,
        }
        number += 1;
    };
    assert_eq!(restarted, StreamError::Restarted { attempt: 2 });
    for number in 0..COUNT {
        assert_eq!(check(&next(&mut chunks).unwrap()), (2, number));
    }
    assert_eq!(next(&mut chunks), None);
    assert!(server.succeeded());
    assert_eq!(state(&mut mailbox, &chunks.ticket()), State::Acked);
}

/// Chunks that a server sends: more than the ring holds.
const COUNT: u64 = 200;

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let post = Post::open(&part.queue);
    match part.name.as_str() {
        "reader" => {
            let mut mailbox = post.mailbox("backend").unwrap();
            let mut chunks = mailbox.request_stream(b"go on").unwrap();
            part.say(&check(&next(&mut chunks).unwrap()).1.to_string());
            part.pause();
        }
        "server" => {
            let inbox = post.serve("backend").unwrap();
            let delivery = inbox.recv_timeout(LONG).unwrap();
            let mut answer = begin(&delivery);
            (0..COUNT).for_each(|number| answer.send(&payload(delivery.attempt().into(), number, 1000)).unwrap());
            answer.finish().unwrap();
            delivery.ack();
        }
        other => panic!("{other} in {}", Path::new(&part.queue).display()),
    }
}
