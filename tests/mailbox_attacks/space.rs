//! A file system that is full while messages are given back, refused and taken back.

use super::support::mailboxes::state;
use super::support::{Part, Role, scratch, small_filesystem};
use super::take_all;
use laneway::Queue;
use laneway::mailbox::{Backoff, Cancelled, Post, Reason, Settings, State, Ticket};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_full_file_system_loses_nothing_that_is_given_back_or_taken_back() {
    let dir = scratch();
    let mut child = Role::new("full", dir.path()).start();
    match child.hear().unwrap().as_str() {
        "done" => assert!(child.succeeded()),
        why => eprintln!("skipped: this process may not mount a file system of its own: {why}"),
    }
}

/// Takes all that is left.
fn fill_up(dir: &Path) -> File {
    let file = File::create_new(dir.join("ballast")).unwrap();
    let mut len = 0;
    while file.write_all_at(&[1; 4096], len).is_ok() {
        len += 4096;
    }
    file
}

pub(super) fn on_a_full_file_system(part: &Part) {
    if let Err(error) = small_filesystem(c"size=2m,mode=0700", &part.queue) {
        return part.say(&error.to_string());
    }
    let backoff = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
    let settings = Settings { backoff, outcomes: 64, ..Settings::default() };
    let options = Queue::options().capacity(64 << 10).overflow_limit(1 << 20).max_lanes(4);
    let post = Post::open(part.queue.join("post")).settings(settings).queue_options(options);
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    let far = super::support::LONG * 100;
    // Until the log's ring is nearly full.
    for number in 0..12u32 {
        backend.compose().delay(far).send(&[[number as u8; 5000].as_slice(), b"kept"].concat()).unwrap();
    }
    assert!(inbox.try_recv().unwrap().is_none());
    let mail: Vec<Ticket> = (0..6u8).map(|number| backend.send(&[number; 6000]).unwrap()).collect();
    let unwanted: Vec<Ticket> = (0..30u8).map(|number| backend.send(&[number; 9]).unwrap()).collect();
    let poison = backend.compose().max_attempts(1).send(b"poison").unwrap();
    assert_eq!(backend.cancel(&unwanted[0]).unwrap(), Cancelled::Yes);
    let ballast = fill_up(&part.queue);
    let mut refused = 0;
    for _ in 0..3 {
        let delivery = inbox.try_recv().unwrap().unwrap();
        assert_eq!(delivery.ticket(), mail[0], "it is handed out again at once");
        match delivery.nack() {
            Ok(()) => break,
            Err(error) => assert!(error.to_string().contains("backend"), "{error}"),
        }
        refused += 1;
    }
    assert!(refused > 0, "there was room to give it back: this test has gone blind");
    // What said yes is not handed out, by this one or the next.
    let gone: BTreeSet<Ticket> =
        unwanted.into_iter().filter(|ticket| matches!(backend.cancel(ticket), Ok(Cancelled::Yes))).collect();
    assert!(gone.len() > 20, "only {} were taken back", gone.len());
    inbox.wait_for_mail(Some(Duration::ZERO)).unwrap();
    drop(inbox);
    let inbox = post.serve("backend").unwrap();
    let mut seen = BTreeSet::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        assert!(!gone.contains(&delivery.ticket()), "it was taken back, and handed out");
        if delivery.ticket() == poison {
            // Where it should lie there is no room: it says so.
            assert!(delivery.reject().is_err());
            continue;
        }
        assert!(seen.insert(delivery.ticket()) || mail.contains(&delivery.ticket()));
        delivery.ack();
    }
    assert!(mail.iter().all(|ticket| state(&mut backend, ticket) == State::Acked), "some mail is lost");
    assert_eq!(backend.status(&poison).unwrap().reason, Reason::NoRoom);
    drop(inbox);
    ballast.set_len(0).unwrap();
    let inbox = post.serve("backend").unwrap();
    let again = backend.send(b"again").unwrap();
    inbox.try_recv().unwrap().unwrap().nack().unwrap();
    assert_eq!(take_all(&inbox), BTreeSet::from([b"again".to_vec()]));
    assert_eq!((state(&mut backend, &again), backend.stats().unwrap().kept), (State::Acked, 12));
    part.say("done");
}
