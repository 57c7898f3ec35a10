//! Mailboxes that are removed and made again under the same name, and clocks that do not agree.

use super::support::mailboxes::{body, post, state};
use super::support::{LONG, Part, Role, scratch};
use laneway::mailbox::{Cancelled, Post, State};
use std::fs;
use std::time::Duration;

#[test]
fn handles_and_tickets_of_a_mailbox_that_is_gone_do_nothing_to_the_next_of_its_name() {
    let dir = scratch();
    let post = post(&dir);
    let mut old = post.mailbox("backend").unwrap();
    let ticket = old.send(b"old").unwrap();
    post.remove("backend").unwrap();
    // Nothing comes back of it, whatever is asked of the old handle.
    assert!(old.cancel(&ticket).is_err() && old.dead_letters().is_err());
    assert!(old.replay_dead(|_| true).is_err() && old.drop_dead(|_| true).is_err());
    assert!(!post.root().join("backend").exists(), "something came back");
    let mut new = post.mailbox("backend").unwrap();
    let fresh = new.send(b"new").unwrap();
    // The same place in the same lane, and another mailbox.
    assert_eq!(ticket.to_string()[8..], fresh.to_string()[8..]);
    assert_eq!(state(&mut new, &ticket), State::Unknown);
    assert_eq!(new.cancel(&ticket).unwrap(), Cancelled::TooLate(State::Unknown));
    assert!(old.cancel(&ticket).is_err() && old.dead_letters().is_err());
    assert_eq!(new.wait(&ticket, LONG).unwrap().state, State::Unknown);
    let other = post.mailbox("frontend").unwrap().send(b"other").unwrap();
    assert_eq!(new.cancel(&other).unwrap(), Cancelled::TooLate(State::Unknown));
    let inbox = post.serve("backend").unwrap();
    assert_eq!(body(&inbox), b"new");
    assert!(inbox.try_recv().unwrap().is_none());
}

#[test]
fn who_only_looks_at_dead_letters_makes_no_queue_for_them() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    assert_eq!(backend.dead_letters().unwrap(), []);
    assert_eq!(backend.drop_dead(|_| true).unwrap(), 0);
    assert_eq!(backend.replay_dead(|_| true).unwrap(), []);
    let names: Vec<_> = fs::read_dir(backend.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mail"]);
}

/// In a time namespace whose clock is days ahead: one for later, one that expires, two of a key, and one taken.
pub(super) fn send_from_another_time(part: &Part) {
    let post = Post::open(&part.queue);
    let mut backend = post.mailbox("backend").unwrap();
    backend.compose().delay(Duration::from_millis(100)).send(b"later").unwrap();
    backend.compose().ttl(Duration::from_nanos(1)).send(b"stale").unwrap();
    backend.compose().ttl(LONG).send(b"fresh").unwrap();
    backend.compose().supersede(b"key").send(b"newer").unwrap();
    part.say("sent");
}

#[test]
fn messages_from_another_time_namespace_are_due_and_expire_when_they_should() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    backend.compose().supersede(b"key").send(b"older").unwrap();
    let days = ["--time", "--boottime", "1000000", "--monotonic", "1000000"];
    let elsewhen = Role::new("elsewhen", post.root()).run_by("unshare", &days).try_start();
    let Ok(mut elsewhen) = elsewhen else { return eprintln!("skipped: there is no `unshare` here") };
    match elsewhen.hear() {
        Some(said) => assert_eq!(said, "sent"),
        None => return eprintln!("skipped: this process may have no time namespace"),
    }
    let inbox = post.serve("backend").unwrap();
    let mut came = Vec::new();
    for _ in 0..3 {
        let delivery = inbox.recv_timeout(LONG).unwrap();
        assert!(delivery.age() < 2 * LONG, "{:?}", delivery.age());
        came.push(delivery.body());
        delivery.ack();
    }
    came.sort();
    assert_eq!(came, [b"fresh".to_vec(), b"later".to_vec(), b"newer".to_vec()]);
    assert!(inbox.try_recv().unwrap().is_none());
    let stats = backend.stats().unwrap();
    assert_eq!((stats.expired, stats.superseded, stats.pending), (1, 1, 0));
}
