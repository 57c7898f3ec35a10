//! What was settled is not handed out again: by the same receiver or the next, whatever the ledger had to forget, and wherever a
//! message still lies. One process plays all parts.

mod support;

use laneway::Priority;
use laneway::mailbox::{Cancelled, Inbox, Post, Settings, State, Ticket};
use std::time::Duration;
use support::mailboxes::{body, post, state};
use support::{LONG, scratch};

/// A mailbox that remembers little.
fn small(dir: &tempfile::TempDir) -> Post {
    post(dir).settings(Settings { outcomes: 64, ..Settings::default() })
}

/// Urgent messages that are dealt with at once, for which the ledger forgets older ones. Gives what else was handed out
/// meanwhile, for now and then it is the turn of others.
fn traffic(post: &Post, inbox: &Inbox) -> Vec<Vec<u8>> {
    let mut busy = post.mailbox("backend").unwrap();
    let mut others = Vec::new();
    for _ in 0..200 {
        busy.compose().priority(Priority::Urgent).send(b"traffic").unwrap();
        others.push(body(inbox));
    }
    while let Some(delivery) = inbox.try_recv().unwrap() {
        others.push(delivery.body());
        delivery.ack();
    }
    others.retain(|body| body != b"traffic");
    others
}

#[test]
fn what_was_kept_and_acked_is_not_handed_out_by_the_next_one() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    backend.compose().delay(LONG).send(b"later").unwrap();
    let failed = backend.send(b"failed").unwrap();
    {
        let inbox = post.serve("backend").unwrap();
        inbox.recv().unwrap().nack_after(Duration::ZERO).unwrap();
        assert_eq!(body(&inbox), b"failed");
    }
    assert_eq!(state(&mut backend, &failed), State::Acked);
    let inbox = post.serve("backend").unwrap();
    let again = inbox.try_recv().unwrap().map(|delivery| delivery.body());
    assert_eq!(again, None);
}

#[test]
fn more_messages_can_be_taken_back_than_are_remembered() {
    let dir = scratch();
    let post = small(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let tickets: Vec<Ticket> = (0..200u8).map(|number| backend.send(&[number]).unwrap()).collect();
    assert!(tickets.iter().all(|ticket| backend.cancel(ticket).unwrap() == Cancelled::Yes));
    let inbox = post.serve("backend").unwrap();
    assert_eq!(inbox.try_recv().unwrap().map(|delivery| delivery.body()), None);
}

#[test]
fn what_was_acked_behind_one_that_is_held_is_not_handed_out_by_the_next_one() {
    let dir = scratch();
    let post = small(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    for number in 0..200u8 {
        backend.send(&[number]).unwrap();
    }
    let inbox = post.serve("backend").unwrap();
    let first = inbox.recv().unwrap();
    let mut acked = Vec::new();
    // Until it says that it cannot remember more.
    while let Ok(Some(delivery)) = inbox.try_recv() {
        acked.push(delivery.body());
        delivery.ack();
    }
    std::mem::forget(first);
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    assert_eq!(body(&inbox), [0]);
    let mut rest = 0;
    while let Some(delivery) = inbox.try_recv().unwrap() {
        assert!(!acked.contains(&delivery.body()), "{:?} was acked", delivery.body());
        delivery.ack();
        rest += 1;
    }
    assert_eq!(acked.len() + rest, 199);
}

/// The first of two is held, the second was given back, and then whoever served died: the second lies in its lane and with what
/// is kept.
fn one_in_two_places(post: &Post, delay: Duration) -> Ticket {
    let mut backend = post.mailbox("backend").unwrap();
    backend.compose().priority(Priority::Low).send(b"first").unwrap();
    let second = backend.compose().priority(Priority::Low).send(b"second").unwrap();
    let inbox = post.serve("backend").unwrap();
    std::mem::forget(inbox.recv().unwrap());
    inbox.recv().unwrap().nack_after(delay).unwrap();
    second
}

#[test]
fn what_lay_in_two_places_and_was_acked_is_not_handed_out_again() {
    let dir = scratch();
    let post = small(&dir);
    one_in_two_places(&post, Duration::ZERO);
    let inbox = post.serve("backend").unwrap();
    assert_eq!(body(&inbox), b"second");
    assert_eq!(traffic(&post, &inbox), [b"first"]);
}

#[test]
fn what_lay_in_two_places_and_was_taken_back_is_not_handed_out_again() {
    let dir = scratch();
    let post = small(&dir);
    let second = one_in_two_places(&post, LONG);
    let inbox = post.serve("backend").unwrap();
    let mut backend = post.mailbox("backend").unwrap();
    assert_eq!(backend.cancel(&second).unwrap(), Cancelled::Yes);
    assert_eq!(traffic(&post, &inbox), [b"first"]);
}

#[test]
fn what_lies_in_two_places_and_is_taken_cannot_be_taken_back() {
    let dir = scratch();
    let post = small(&dir);
    let second = one_in_two_places(&post, Duration::ZERO);
    let inbox = post.serve("backend").unwrap();
    let mut backend = post.mailbox("backend").unwrap();
    let taken = inbox.recv().unwrap();
    assert_eq!(taken.ticket(), second);
    assert_eq!(body(&inbox), b"first");
    // It has found the second in its lane.
    assert!(inbox.try_recv().unwrap().is_none());
    assert_eq!(backend.cancel(&second).unwrap(), Cancelled::TooLate(State::Taken));
    taken.ack();
}

#[test]
fn what_was_kept_and_acked_stays_acked_while_its_lane_still_has_it() {
    let dir = scratch();
    let post = post(&dir);
    let mut mailbox = post.mailbox("backend").unwrap();
    let [held, first, acked, later] =
        ["held", "first", "acked", "later"].map(|body| mailbox.send(body.as_bytes()).unwrap());
    let inbox = post.serve("backend").unwrap();
    let take = |wanted: &Ticket| {
        let delivery = inbox.recv().unwrap();
        assert_eq!(delivery.ticket(), *wanted);
        delivery
    };
    // What is behind one that is held lies in the lane although it was moved to where messages are kept.
    let in_front = take(&held);
    take(&first).nack_after(Duration::ZERO).unwrap();
    let first_again = take(&first);
    take(&acked).nack_after(Duration::ZERO).unwrap();
    let acked_again = take(&acked);
    take(&later).nack_after(Duration::from_secs(3600)).unwrap();
    // Its record leaves the log with the first one's; that it is done with stays, behind one that is kept.
    acked_again.ack();
    first_again.ack();
    std::mem::forget(in_front);
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    let again = inbox.recv().unwrap();
    assert_eq!((again.ticket(), again.attempt()), (held, 2));
    again.ack();
    assert!(inbox.try_recv().unwrap().is_none());
    assert_eq!(state(&mut mailbox, &acked), State::Acked);
    let stats = mailbox.stats().unwrap();
    assert_eq!((stats.processed, stats.cancelled, stats.pending), (3, 0, 1));
}
