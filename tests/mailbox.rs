//! Mailboxes as their users see them: what becomes of messages, across restarts of whoever serves, and what is counted. One
//! process plays all parts; kills are in `tests/mailbox_kill.rs`.

mod support;

use laneway::mailbox::{
    Cancelled, Content, Event, Inbox, Mailbox, Post, Reason, RecvError, RequestError, SendError, Settings, State,
    Ticket, WhenFull,
};
use laneway::{Cause, Priority, Wait};
use std::time::Duration;
use support::mailboxes::{body, post, state};
use support::{LONG, scratch};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn a_message_is_sent_before_anybody_serves_and_its_ticket_tells_what_becomes_of_it() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.clone().from("planner").mailbox("backend").unwrap();
    assert!(!post.is_awake("backend").unwrap());
    let ticket = backend.send(b"run the tests").unwrap();
    assert_eq!(state(&mut backend, &ticket), State::Pending);
    let printed = ticket.to_string();
    assert_eq!(printed.parse::<Ticket>().unwrap(), ticket);
    let inbox = post.serve("backend").unwrap();
    assert!(post.is_awake("backend").unwrap() && backend.is_awake().unwrap());
    let delivery = inbox.recv().unwrap();
    assert_eq!(
        (delivery.body(), delivery.from(), delivery.attempt()),
        (b"run the tests".to_vec(), "planner".to_owned(), 1)
    );
    assert_eq!((delivery.ticket(), delivery.sequence()), (ticket, 1));
    assert_eq!(delivery.uid().unwrap(), nix::unistd::geteuid().as_raw());
    assert_eq!(state(&mut backend, &ticket), State::Taken);
    delivery.ack();
    assert_eq!(state(&mut backend, &ticket), State::Acked);
    drop(inbox);
    // Nobody need be there for the answer, nor the one who sent.
    let mut other = post.mailbox("backend").unwrap();
    assert_eq!(state(&mut other, &ticket), State::Acked);
    assert_eq!(post.list().unwrap(), ["backend"]);
}

#[test]
fn what_was_taken_and_not_settled_is_handed_out_again_and_what_was_settled_is_not() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..6u8).map(|number| backend.send(&[number]).unwrap()).collect();
    let inbox = post.serve("backend").unwrap();
    let mut taken: Vec<_> = (0..5).map(|_| inbox.recv().unwrap()).collect();
    // Out of order: the first stays, and holds up the bytes of all.
    taken.remove(3).ack();
    taken.remove(1).ack();
    // As a kill does: nothing is dropped in order.
    taken.into_iter().for_each(std::mem::forget);
    std::mem::forget(inbox.try_recv().unwrap());
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    let mut again = Vec::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        assert_eq!(delivery.attempt(), 2);
        again.push(delivery.body()[0]);
        delivery.ack();
    }
    assert_eq!(again, [0, 2, 4, 5]);
    assert!(tickets.iter().all(|ticket| state(&mut backend, ticket) == State::Acked));
    let stats = backend.stats().unwrap();
    assert_eq!((stats.processed, stats.redelivered, stats.handed_out, stats.taken, stats.pending), (6, 4, 10, 0, 0));
}

#[test]
fn a_message_that_fails_is_tried_again_and_then_becomes_a_dead_letter() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.compose().max_attempts(3).send(b"impossible").unwrap();
    let inbox = post.serve("backend").unwrap();
    for attempt in 1..=3 {
        let delivery = inbox.recv_timeout(LONG).unwrap();
        assert_eq!((delivery.attempt(), delivery.ticket(), delivery.body()), (attempt, ticket, b"impossible".to_vec()));
        delivery.nack().unwrap();
        if attempt < 3 {
            let status = backend.status(&ticket).unwrap();
            assert_eq!((status.state, status.reason, status.attempts), (State::Pending, Reason::Retry, attempt));
        }
    }
    let status = backend.status(&ticket).unwrap();
    assert_eq!((status.state, status.reason, status.attempts), (State::DeadLettered, Reason::Attempts, 3));
    let dead = backend.dead_letters().unwrap();
    assert_eq!((dead.len(), dead[0].ticket, &dead[0].body[..]), (1, ticket, &b"impossible"[..]));
    assert_eq!(inbox.recv_timeout(SOON).unwrap_err(), RecvError::Timeout);
    let replayed = backend.replay_dead(|letter| letter.ticket == ticket).unwrap();
    assert_eq!(replayed[0].0, ticket);
    assert!(backend.dead_letters().unwrap().is_empty());
    assert_eq!(body(&inbox), b"impossible");
    assert_eq!(state(&mut backend, &replayed[0].1), State::Acked);
}

#[test]
fn a_message_that_kills_whoever_takes_it_ends_among_the_dead_letters() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.send(b"poison").unwrap();
    let after = backend.send(b"fine").unwrap();
    for attempt in 1..=5 {
        let inbox = post.serve("backend").unwrap();
        let delivery = inbox.recv().unwrap();
        assert_eq!((delivery.attempt(), delivery.body()), (attempt, b"poison".to_vec()));
        std::mem::forget(delivery);
    }
    let inbox = post.serve("backend").unwrap();
    assert_eq!(body(&inbox), b"fine");
    assert_eq!(state(&mut backend, &ticket), State::DeadLettered);
    assert_eq!(state(&mut backend, &after), State::Acked);
}

#[test]
fn what_is_kept_for_later_survives_whoever_kept_it() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let later = backend.compose().delay(Duration::from_millis(900)).send(b"later").unwrap();
    let failed = backend.send(b"failed").unwrap();
    {
        let inbox = post.serve("backend").unwrap();
        let delivery = inbox.recv().unwrap();
        assert_eq!(delivery.body(), b"failed");
        delivery.nack_after(Duration::from_millis(100)).unwrap();
        assert!(inbox.try_recv().unwrap().is_none());
        assert_eq!(backend.status(&later).unwrap().reason, Reason::Delayed);
        assert_eq!(backend.stats().unwrap().kept, 2);
    }
    let inbox = post.serve("backend").unwrap();
    let delivery = inbox.recv_timeout(LONG).unwrap();
    assert_eq!((delivery.body(), delivery.attempt()), (b"failed".to_vec(), 2));
    delivery.ack();
    let delivery = inbox.recv_timeout(LONG).unwrap();
    assert_eq!((delivery.body(), delivery.attempt()), (b"later".to_vec(), 1));
    assert!(delivery.age() >= Duration::from_millis(900));
    delivery.ack();
    assert_eq!([state(&mut backend, &later), state(&mut backend, &failed)], [State::Acked; 2]);
}

#[test]
fn a_message_that_nobody_takes_in_time_expires() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.compose().ttl(Duration::ZERO).send(b"stale").unwrap();
    let fresh = backend.compose().ttl(LONG).send(b"fresh").unwrap();
    let inbox = post.serve("backend").unwrap();
    assert_eq!(body(&inbox), b"fresh");
    assert_eq!([state(&mut backend, &ticket), state(&mut backend, &fresh)], [State::Expired, State::Acked]);
    assert_eq!(backend.stats().unwrap().expired, 1);
}

#[test]
fn a_message_can_be_taken_back_until_it_is_taken() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..4u8).map(|number| backend.send(&[number]).unwrap()).collect();
    assert_eq!(backend.cancel(&tickets[0]).unwrap(), Cancelled::Yes);
    let inbox = post.serve("backend").unwrap();
    let delivery = inbox.recv().unwrap();
    assert_eq!(delivery.body(), [1]);
    // Another process, and a receiver that is busy.
    let mut other = post.mailbox("backend").unwrap();
    assert_eq!(other.cancel(&tickets[1]).unwrap(), Cancelled::TooLate(State::Taken));
    assert_eq!(other.cancel(&tickets[2]).unwrap(), Cancelled::Yes);
    delivery.nack_after(LONG).unwrap();
    assert_eq!(other.cancel(&tickets[1]).unwrap(), Cancelled::Yes);
    assert_eq!(body(&inbox), [3]);
    assert!(inbox.try_recv().unwrap().is_none());
    let states: Vec<State> = tickets.iter().map(|ticket| state(&mut other, ticket)).collect();
    assert_eq!(states, [State::Cancelled, State::Cancelled, State::Cancelled, State::Acked]);
    assert_eq!(other.cancel(&tickets[3]).unwrap(), Cancelled::TooLate(State::Acked));
    drop(inbox);
    // What was settled in its lane is not forgotten there.
    assert!(post.serve("backend").unwrap().try_recv().unwrap().is_none());
}

#[test]
fn a_newer_message_takes_the_place_of_older_ones_with_its_key() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let mut other = post.mailbox("backend").unwrap();
    let old = backend.compose().supersede(b"deploy").send(b"deploy 1").unwrap();
    let else_ = backend.compose().supersede(b"lint").send(b"lint").unwrap();
    let newer = other.compose().supersede(b"deploy").send(b"deploy 2").unwrap();
    let inbox = post.serve("backend").unwrap();
    let mut bodies = [body(&inbox), body(&inbox)];
    bodies.sort();
    assert_eq!(bodies, [b"deploy 2".to_vec(), b"lint".to_vec()]);
    assert!(inbox.try_recv().unwrap().is_none());
    let states = [old, else_, newer].map(|ticket| state(&mut backend, &ticket));
    assert_eq!(states, [State::Superseded, State::Acked, State::Acked]);
}

#[test]
fn a_second_message_with_an_idempotency_key_is_not_handed_out() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let first = backend.compose().idempotency(b"order 7").send(b"pay").unwrap();
    let inbox = post.serve("backend").unwrap();
    // It is the same message when it is tried again.
    inbox.recv().unwrap().nack_after(Duration::ZERO).unwrap();
    let second = backend.compose().idempotency(b"order 7").send(b"pay").unwrap();
    assert_eq!(body(&inbox), b"pay");
    assert!(inbox.try_recv().unwrap().is_none());
    assert_eq!(state(&mut backend, &first), State::Acked);
    let status = backend.status(&second).unwrap();
    assert_eq!((status.state, status.reason), (State::Superseded, Reason::Duplicate));
}

#[test]
fn a_request_is_answered_and_a_late_answer_is_discarded() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    backend.set_wait(Wait::Park).unwrap();
    let inbox = post.serve("backend").unwrap();
    let late = backend.request(b"one", SOON).unwrap_err();
    assert!(matches!(late, RequestError::Timeout { .. }), "{late}");
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| backend.request(b"two", LONG));
        for wanted in [b"one", b"two"] {
            let delivery = inbox_recv(&inbox);
            assert!(delivery.wants_reply());
            assert_eq!(delivery.body(), wanted);
            assert!(delivery.reply(&[b"answer to ".as_slice(), wanted].concat()).unwrap());
            delivery.ack();
        }
        asking.join().unwrap()
    });
    assert_eq!(asked.unwrap().body, b"answer to two");
    assert_eq!(backend.late_answers(), 1);
    // Whoever asked is gone.
    let asker = std::thread::scope(|scope| {
        let asking = scope.spawn(|| post.mailbox("backend").unwrap().request(b"three", SOON));
        asking.join().unwrap()
    });
    assert!(asker.is_err());
    let delivery = inbox.recv().unwrap();
    assert!(!delivery.reply(b"too late").unwrap());
    delivery.ack();
}

fn inbox_recv(inbox: &Inbox) -> laneway::mailbox::Delivery<'_> {
    inbox.recv_timeout(LONG).unwrap()
}

#[test]
fn a_full_mailbox_refuses_or_rolls_as_its_creator_chose() {
    let dir = scratch();
    let limited = |when_full| post(&dir).settings(Settings { max_pending: 10, when_full, ..Settings::default() });
    let mut refusing = limited(WhenFull::Refuse).mailbox("refusing").unwrap();
    let sent = (0..20).take_while(|_| refusing.send(b"x").is_ok()).count();
    assert_eq!(sent, 10);
    let error = refusing.send(b"x").unwrap_err();
    assert!(matches!(error, SendError::Full { pending: 10, max: 10 }), "{error}");
    assert_eq!(refusing.stats().unwrap().refused, 2);
    let post = limited(WhenFull::Roll);
    let mut rolling = post.mailbox("rolling").unwrap();
    let tickets: Vec<Ticket> = (0..25u8).map(|number| rolling.send(&[number]).unwrap()).collect();
    let inbox = post.serve("rolling").unwrap();
    let mut bodies = Vec::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        bodies.push(delivery.body()[0]);
        delivery.ack();
    }
    assert_eq!(bodies, (15..25).collect::<Vec<u8>>());
    assert_eq!(rolling.status(&tickets[14]).unwrap().reason, Reason::Rolled);
    assert_eq!(rolling.stats().unwrap().rolled, 15);
}

#[test]
fn waiting_for_an_outcome_ends_with_it() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.send(b"work").unwrap();
    assert_eq!(backend.wait(&ticket, SOON).unwrap().state, State::Pending);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let taken = backend.wait_until(&ticket, LONG, |state| state != State::Pending).unwrap().state;
            (taken, backend.wait(&ticket, LONG).unwrap().state)
        });
        let inbox = post.serve("backend").unwrap();
        let delivery = inbox.recv().unwrap();
        let mut looking = post.mailbox("backend").unwrap();
        assert_eq!(state(&mut looking, &ticket), State::Taken);
        // The other has seen it, or sees what comes of it.
        delivery.ack();
        let (taken, done) = waiting.join().unwrap();
        assert!([State::Taken, State::Acked].contains(&taken));
        assert_eq!(done, State::Acked);
    });
}

#[test]
fn who_serves_serves_alone_and_urgent_mail_comes_first() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let refused = post.serve("backend").unwrap_err();
    assert!(matches!(refused.cause(), Cause::AlreadyReceiving), "{refused}");
    let mut backend = post.mailbox("backend").unwrap();
    backend.send(b"bulk").unwrap();
    backend.compose().priority(Priority::Urgent).content(Content::Text).send(b"stop").unwrap();
    let first = inbox.recv().unwrap();
    assert_eq!((first.body(), first.content(), first.priority()), (b"stop".to_vec(), Content::Text, Priority::Urgent));
    first.ack();
    assert_eq!(body(&inbox), b"bulk");
}

#[test]
fn one_who_only_waits_for_mail_takes_nothing_and_counts_nothing() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    assert!(!inbox.wait_for_mail(Some(SOON)).unwrap());
    // None of these is a message to hand out.
    let stale = backend.compose().ttl(Duration::ZERO).send(b"stale").unwrap();
    let unwanted = backend.send(b"unwanted").unwrap();
    assert_eq!(backend.cancel(&unwanted).unwrap(), Cancelled::Yes);
    let later = backend.compose().delay(Duration::from_millis(60)).send(b"later").unwrap();
    assert!(!inbox.wait_for_mail(Some(SOON)).unwrap());
    assert_eq!([state(&mut backend, &stale), state(&mut backend, &unwanted)], [State::Expired, State::Cancelled]);
    assert!(inbox.wait_for_mail(None).unwrap(), "the one for later is due");
    assert_eq!(backend.status(&later).unwrap().reason, Reason::Delayed);
    let fresh = std::thread::scope(|scope| {
        assert_eq!(body(&inbox), b"later");
        let waiting = scope.spawn(move || (inbox.wait_for_mail(Some(LONG)).unwrap(), inbox));
        let fresh = backend.compose().idempotency(b"once").send(b"fresh").unwrap();
        let (found, inbox) = waiting.join().unwrap();
        assert!(found);
        // As often as anybody likes.
        assert!(inbox.wait_for_mail(None).unwrap() && inbox.wait_for_mail(Some(Duration::ZERO)).unwrap());
        fresh
    });
    assert_eq!(state(&mut backend, &fresh), State::Pending);
    // It is there for another one, who hands it out for the first time.
    let inbox = post.serve("backend").unwrap();
    assert!(inbox.wait_for_mail(None).unwrap());
    let delivery = inbox.recv().unwrap();
    assert_eq!((delivery.body(), delivery.attempt()), (b"fresh".to_vec(), 1));
    delivery.ack();
    assert!(!inbox.wait_for_mail(Some(Duration::ZERO)).unwrap());
    let stats = backend.stats().unwrap();
    assert_eq!((stats.handed_out, stats.redelivered, stats.processed, stats.pending), (2, 0, 2, 0));
}

#[test]
fn a_wait_is_ended_from_another_thread_and_mail_is_not_lost_by_it() {
    let dir = scratch();
    let post = post(&dir);
    let inbox = post.serve("backend").unwrap();
    let interrupter = inbox.interrupter();
    // Before the wait, once for all that came by then.
    interrupter.interrupt();
    interrupter.interrupt();
    assert_eq!(inbox.recv().unwrap_err(), RecvError::Interrupted);
    assert_eq!(inbox.recv_timeout(SOON).unwrap_err(), RecvError::Timeout);
    let mut backend = post.mailbox("backend").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            inbox.set_wait(Wait::Park);
            let ended = inbox.recv().map(|_| ()).unwrap_err();
            (ended, inbox)
        });
        interrupter.interrupt();
        let (ended, inbox) = waiting.join().unwrap();
        assert_eq!(ended, RecvError::Interrupted);
        // Whichever of the two is found first, the other is found next.
        backend.send(b"mail").unwrap();
        interrupter.interrupt();
        assert_eq!(body(&inbox), b"mail");
        assert_eq!(inbox.wait_for_mail(None), Err(RecvError::Interrupted));
    });
}

#[test]
fn a_watch_tells_of_mailboxes_and_of_those_who_serve_them() {
    let dir = scratch();
    let post = post(&dir);
    let mut watch = post.watch().unwrap();
    assert_eq!(watch.next(Some(Duration::ZERO)).unwrap(), None, "there is no such directory yet");
    let name = || "backend".to_owned();
    let inbox = post.serve("backend").unwrap();
    assert_eq!(watch.next(Some(LONG)).unwrap(), Some(Event::Appeared(name())));
    assert_eq!(watch.next(Some(LONG)).unwrap(), Some(Event::Awake(name())));
    drop(inbox);
    assert_eq!(watch.next(Some(LONG)).unwrap(), Some(Event::Asleep(name())));
    assert_eq!(watch.next(Some(SOON)).unwrap(), None);
    // Another one of the same name is another one.
    post.remove("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    let events: Vec<_> = (0..3).map(|_| watch.next(Some(LONG)).unwrap().unwrap()).collect();
    assert_eq!(events, [Event::Removed(name()), Event::Appeared(name()), Event::Awake(name())]);
    // What is there already is told first.
    let mut second = post.watch().unwrap();
    let events: Vec<_> = (0..2).map(|_| second.next(Some(LONG)).unwrap().unwrap()).collect();
    assert_eq!(events, [Event::Appeared(name()), Event::Awake(name())]);
    drop(inbox);
    post.remove("backend").unwrap();
    std::fs::remove_dir_all(post.root()).unwrap();
    let told = std::iter::from_fn(|| watch.next(Some(LONG)).unwrap()).find(|event| *event == Event::Removed(name()));
    assert!(told.is_some());
    drop(post.mailbox("other").unwrap());
    let told = std::iter::from_fn(|| watch.next(Some(LONG)).unwrap()).find(|event| !matches!(event, Event::Asleep(_)));
    assert_eq!(told, Some(Event::Appeared("other".to_owned())));
}

#[test]
fn a_rejected_message_fails_and_can_be_looked_into() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.send(b"nonsense").unwrap();
    let inbox = post.serve("backend").unwrap();
    inbox.recv().unwrap().reject().unwrap();
    let status = backend.status(&ticket).unwrap();
    assert_eq!((status.state, status.reason), (State::Failed, Reason::Rejected));
    assert_eq!(backend.dead_letters().unwrap()[0].reason, Reason::Rejected);
    assert_eq!(backend.drop_dead(|_| true).unwrap(), 1);
    assert!(backend.dead_letters().unwrap().is_empty());
}

#[test]
fn dead_letters_that_are_picked_out_of_the_middle_are_gone_and_the_others_stay_in_order() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..5u8).map(|number| backend.send(&[number]).unwrap()).collect();
    let inbox = post.serve("backend").unwrap();
    (0..5).for_each(|_| inbox.recv().unwrap().reject().unwrap());
    let dead = |backend: &Mailbox| -> Vec<u8> {
        backend.dead_letters().unwrap().iter().map(|letter| letter.body[0]).collect()
    };
    assert_eq!(backend.replay_dead(|letter| letter.ticket == tickets[1]).unwrap().len(), 1);
    assert_eq!(dead(&backend), [0, 2, 3, 4]);
    assert_eq!(backend.drop_dead(|letter| letter.body == [4]).unwrap(), 1);
    assert_eq!(dead(&backend), [0, 2, 3]);
    assert_eq!(backend.drop_dead(|letter| [1, 4].contains(&letter.body[0])).unwrap(), 0);
    assert_eq!(body(&inbox), [1]);
    assert_eq!(backend.drop_dead(|_| true).unwrap(), 3);
    assert!(dead(&backend).is_empty());
}

#[test]
fn a_mailbox_that_is_removed_is_gone_and_the_next_of_its_name_knows_nothing_of_it() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let ticket = backend.send(b"lost").unwrap();
    post.remove("backend").unwrap();
    assert!(post.list().unwrap().is_empty());
    assert!(matches!(post.remove("backend").unwrap_err().cause(), Cause::NotFound));
    let mut next = post.mailbox("backend").unwrap();
    assert_eq!(state(&mut next, &ticket), State::Unknown);
    assert!(post.serve("backend").unwrap().try_recv().unwrap().is_none());
}

#[test]
fn values_go_through_bodies_and_their_format_is_checked() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    backend.compose().send_pod(&[1u64, 2]).unwrap();
    let inbox = post.serve("backend").unwrap();
    let delivery = inbox.recv().unwrap();
    assert_eq!((delivery.content(), delivery.read_pod::<[u64; 2]>().unwrap()), (Content::Pod, [1, 2]));
    assert_eq!(delivery.read_pod::<u64>().unwrap_err().len, 16);
    delivery.ack();
    #[cfg(all(feature = "json", feature = "msgpack", feature = "cbor"))]
    {
        use laneway::mailbox::{Cbor, CodecError, Json, MessagePack};
        use std::collections::BTreeMap;
        let value = BTreeMap::from([("steps".to_owned(), vec![1, 2, 3])]);
        backend.compose().send_as::<Json>(&value).unwrap();
        backend.compose().send_as::<MessagePack>(&value).unwrap();
        backend.compose().send_as::<Cbor>(&value).unwrap();
        let read = |delivery: &laneway::mailbox::Delivery<'_>| match delivery.content() {
            Content::Json => delivery.read_as::<Json, BTreeMap<String, Vec<i32>>>(),
            Content::MessagePack => delivery.read_as::<MessagePack, _>(),
            _ => delivery.read_as::<Cbor, _>(),
        };
        for _ in 0..3 {
            let delivery = inbox.recv().unwrap();
            assert_eq!(read(&delivery).unwrap(), value);
            delivery.ack();
        }
        backend.compose().send_as::<Json>(&value).unwrap();
        let delivery = inbox.recv().unwrap();
        assert!(matches!(delivery.read_as::<Cbor, u8>(), Err(CodecError::Content { .. })));
        assert!(matches!(delivery.read_as::<Json, u8>(), Err(CodecError::Format(_))));
    }
}

#[test]
fn both_ends_may_go_to_another_thread() {
    fn goes<T: Send>() {}
    goes::<Mailbox>();
    goes::<Inbox>();
}

#[test]
fn more_messages_are_kept_than_the_ledger_holds_and_none_is_lost() {
    let dir = scratch();
    let small = Settings { outcomes: 64, max_attempts: 3, ..*post(&dir).mailbox("other").unwrap().settings() };
    let post = post(&dir).settings(small);
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    for number in 0..300u32 {
        backend.compose().delay(Duration::from_millis(900)).send_pod(&number).unwrap();
    }
    assert!(inbox.try_recv().unwrap().is_none());
    let now = backend.send(b"now").unwrap();
    assert_eq!(body(&inbox), b"now");
    assert_eq!(state(&mut backend, &now), State::Acked);
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    for attempt in 1..=2 {
        let mut seen: Vec<u32> = (0..300)
            .map(|_| {
                let delivery = inbox.recv_timeout(LONG).unwrap();
                assert_eq!(delivery.attempt(), attempt);
                let number = delivery.read_pod().unwrap();
                if attempt == 1 {
                    delivery.nack_after(Duration::from_millis(900)).unwrap()
                } else {
                    delivery.ack()
                }
                number
            })
            .collect();
        seen.sort_unstable();
        if attempt == 2 {
            assert_eq!(seen, (0..300).collect::<Vec<_>>());
        }
    }
    assert_eq!(backend.stats().unwrap().pending, 0);
}

#[test]
fn too_many_taken_messages_are_refused_until_some_are_settled() {
    let dir = scratch();
    let post = post(&dir).settings(Settings { outcomes: 64, ..Settings::default() });
    let mut backend = post.mailbox("backend").unwrap();
    (0..20).for_each(|_| _ = backend.send(b"x").unwrap());
    let inbox = post.serve("backend").unwrap();
    let mut taken: Vec<_> = (0..16).map(|_| inbox.recv().unwrap()).collect();
    assert_eq!(inbox.recv().unwrap_err(), RecvError::Busy { taken: 16 });
    taken.pop().unwrap().ack();
    inbox.recv().unwrap().ack();
}

#[test]
fn onlookers_see_what_became_of_messages_and_make_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let post = Post::open(dir.path().join("post"));
    assert!(matches!(post.find("backend").unwrap_err().cause(), Cause::NotFound));
    assert!(!post.root().exists(), "looking made a directory");
    let mut mailbox = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..5_u8).map(|body| mailbox.send(&[body]).unwrap()).collect();
    let mut found = post.find("backend").unwrap();
    assert_eq!(found.outcomes(10), []);
    let inbox = post.serve("backend").unwrap();
    for _ in 0..3 {
        inbox.recv().unwrap().ack();
    }
    let held = inbox.recv().unwrap();
    let seen: Vec<(Ticket, State)> =
        found.outcomes(3).into_iter().map(|(ticket, status)| (ticket, status.state)).collect();
    assert_eq!(seen, [(tickets[3], State::Taken), (tickets[2], State::Acked), (tickets[1], State::Acked)]);
    let age = held.age();
    let oldest = found.oldest().unwrap().expect("one is taken and one waits");
    assert!(oldest + Duration::from_millis(1) >= age, "{oldest:?} after {age:?}");
    held.ack();
    inbox.recv().unwrap().ack();
    assert_eq!(found.oldest().unwrap(), None);
    assert_eq!(found.outcomes(100).len(), 5);
}
