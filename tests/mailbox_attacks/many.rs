//! Many messages: the time they take grows as their number does, and each is accounted for; and a receiver that dies of each.

use super::support::mailboxes::{post, state};
use super::support::{Part, Role, scratch};
use super::take_all;
use laneway::Queue;
use laneway::mailbox::{Cancelled, Post, RecvError, Settings, State, Ticket};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Seconds of a processor that this thread has had: what others do does not count.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

/// Room for as many as these tests send.
fn roomy(post: Post) -> Post {
    post.queue_options(Queue::options().capacity(64 << 10).overflow_limit(64 << 20))
}

/// A mailbox with so many messages, of which all but some were taken back or are kept, and what that took a message.
fn cost(outcomes: u32, count: u32) -> f64 {
    let dir = scratch();
    let post = roomy(post(&dir)).settings(Settings { outcomes, ..Settings::default() });
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    let began = spent();
    let tickets: Vec<Ticket> = (0..count).map(|number| backend.compose().send_pod(&number).unwrap()).collect();
    tickets.iter().for_each(|ticket| assert_eq!(backend.cancel(ticket).unwrap(), Cancelled::Yes));
    assert!(inbox.try_recv().unwrap().is_none());
    let later: Vec<Ticket> =
        (0..count).map(|number| backend.compose().delay(super::support::LONG).send_pod(&number).unwrap()).collect();
    assert!(inbox.try_recv().unwrap().is_none());
    assert_eq!(backend.stats().unwrap().kept, u64::from(count));
    for ticket in later.iter().step_by(2) {
        let before = state(&mut backend, ticket);
        assert!([State::Pending, State::Unknown].contains(&before), "{before}");
    }
    drop(inbox);
    // All are found again.
    let inbox = post.serve("backend").unwrap();
    assert_eq!(backend.stats().unwrap().kept, u64::from(count));
    backend.send(b"the last").unwrap();
    assert_eq!(take_all(&inbox).len(), 1);
    (spent() - began) / f64::from(count)
}

#[test]
fn time_grows_as_the_number_of_messages_does() {
    for outcomes in [64, 8192] {
        let (few, many) = (cost(outcomes, 2_000), cost(outcomes, 20_000));
        println!("{outcomes} outcomes: {:.1} µs a message, and {:.1} of ten times as many", few * 1e6, many * 1e6);
        assert!(many < 3.0 * few, "{outcomes} outcomes: {few} s a message, and {many} of ten times as many");
    }
}

#[test]
fn a_hundred_thousand_messages_that_wait_are_handed_out_each_once() {
    for outcomes in [64, 8192] {
        let dir = scratch();
        let post = roomy(post(&dir)).settings(Settings { outcomes, ..Settings::default() });
        let mut backend = post.mailbox("backend").unwrap();
        let tickets: Vec<Ticket> = (0..100_000u32).map(|number| backend.compose().send_pod(&number).unwrap()).collect();
        assert_eq!(backend.pending().unwrap(), 100_000);
        let inbox = post.serve("backend").unwrap();
        for number in 0..100_000u32 {
            let delivery = inbox.try_recv().unwrap().unwrap();
            assert_eq!((delivery.read_pod::<u32>().unwrap(), delivery.attempt()), (number, 1));
            delivery.ack();
        }
        assert!(inbox.try_recv().unwrap().is_none());
        assert_eq!(state(&mut backend, &tickets[99_999]), State::Acked);
        assert_eq!(backend.stats().unwrap().processed, 100_000);
    }
}

/// As many as may be are in somebody's hands, whether they were kept before or not: of more the ledger could say nothing.
#[test]
fn what_was_acked_behind_one_that_is_held_is_settled_also_when_kept_ones_are_held() {
    let dir = scratch();
    let post = post(&dir).settings(Settings { outcomes: 64, ..Settings::default() });
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    for number in 0..200u32 {
        backend.compose().delay(Duration::from_millis(50)).send_pod(&number).unwrap();
    }
    // All are kept now, and some may be due.
    let mut held: Vec<_> = inbox.try_recv().unwrap().into_iter().collect();
    let mut error = None;
    while held.len() < 100 && error.is_none() {
        match inbox.recv_timeout(super::support::LONG) {
            Ok(delivery) => held.push(delivery),
            Err(busy) => error = Some(busy),
        }
    }
    let taken = held.len();
    backend.send(b"first").unwrap();
    backend.send(b"second").unwrap();
    let (mut second, mut first) = (None, None);
    while let Ok(Some(delivery)) = inbox.try_recv() {
        match &delivery.body()[..] {
            b"second" => second = Some(delivery),
            b"first" => first = Some(delivery),
            _ => held.push(delivery),
        }
    }
    let acked = second.is_some();
    second.into_iter().for_each(|second| second.ack());
    held.into_iter().chain(first).for_each(std::mem::forget);
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    let mut attempts = Vec::new();
    let mut bodies = std::collections::BTreeSet::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        assert!(bodies.insert(delivery.body()));
        attempts.push(delivery.attempt());
        delivery.ack();
    }
    assert!(!acked || !bodies.contains(&b"second"[..]), "it was acked, and handed out again");
    let again = attempts.iter().filter(|attempt| **attempt == 2).count();
    assert!(again >= taken, "{taken} were taken by one who died, and of {again} that is known");
    assert_eq!(error, Some(RecvError::Busy { taken: 16 }));
}

/// The victim: takes a message, says which, and has it until it is killed.
pub(super) fn take_one_and_wait(part: &Part) {
    let inbox = Post::open(&part.queue).serve("backend").unwrap();
    match inbox.try_recv().unwrap() {
        Some(delivery) => {
            part.say(&format!("{} {}", delivery.read_pod::<u32>().unwrap(), delivery.attempt()));
            part.pause();
        }
        None => part.say("none"),
    }
}

#[test]
fn a_receiver_that_dies_of_each_message_loses_none_and_every_attempt_counts() {
    const MESSAGES: u32 = 150;
    let dir = scratch();
    let post = post(&dir).settings(Settings { max_attempts: 2, ..Settings::default() });
    let mut backend = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..MESSAGES).map(|number| backend.compose().send_pod(&number).unwrap()).collect();
    let mut seen = Vec::new();
    loop {
        let mut victim = Role::new("victim", post.root()).start();
        let said = victim.hear().unwrap();
        if said == "none" {
            break;
        }
        let (number, attempt) = said.split_once(' ').unwrap();
        seen.push((number.parse::<u32>().unwrap(), attempt.parse::<u32>().unwrap()));
        victim.kill();
    }
    assert_eq!(seen, (0..MESSAGES).flat_map(|number| [(number, 1), (number, 2)]).collect::<Vec<_>>());
    assert!(tickets.iter().all(|ticket| state(&mut backend, ticket) == State::DeadLettered));
    let letters = backend.dead_letters().unwrap();
    assert!(
        letters.iter().map(|letter| (letter.ticket, letter.attempts)).eq(tickets.iter().map(|ticket| (*ticket, 2)))
    );
    assert_eq!(backend.stats().unwrap().redelivered, u64::from(MESSAGES));
}
