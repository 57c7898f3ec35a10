//! Senders that never stop: what is not to be handed out must not keep anybody from what is, nor from coming back.

use super::support::mailboxes::{body, post};
use super::support::{LONG, Rng, scratch};
use super::{inside, with};
use laneway::mailbox::{Cancelled, State};
use laneway::{OnFull, Queue, Wait};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sends these to a queue again and again, `most` at most, until somebody has come back from something. Whether the flood
/// was over first.
fn flooding<T>(
    queue: &Queue,
    most: u64,
    mut bytes: impl FnMut(u64) -> Vec<u8> + Send,
    also: impl Fn() + Send,
    work: impl FnOnce() -> T,
) -> (T, bool) {
    let done = AtomicBool::new(false);
    let mut sender = queue.sender_options().on_full(OnFull::Fail).attach().unwrap();
    std::thread::scope(|scope| {
        let (begun, begins) = std::sync::mpsc::channel();
        let flood = scope.spawn({
            let done = &done;
            move || {
                // Made before: whoever floods must be faster than whoever reads.
                let messages: Vec<Vec<u8>> = (0..512).map(&mut bytes).collect();
                let mut sent = 0;
                while sent < most && !done.load(Ordering::Relaxed) {
                    sent += match sender.send_batch(&messages) {
                        Ok(count) => count as u64,
                        Err(error) => error.sent as u64,
                    };
                    also();
                    let _ = begun.send(());
                }
                sent >= most
            }
        });
        begins.recv_timeout(LONG).unwrap();
        let answer = work();
        done.store(true, Ordering::Relaxed);
        (answer, flood.join().unwrap())
    })
}

#[test]
fn a_look_that_waits_for_nothing_ends_while_malformed_mail_floods_in() {
    let dir = scratch();
    let post = post(&dir);
    drop(post.mailbox("backend").unwrap());
    let inbox = post.serve("backend").unwrap();
    let looks: [(&str, &dyn Fn()); 3] = [
        ("try_recv", &|| assert!(inbox.try_recv().unwrap().is_none())),
        ("recv_timeout", &|| assert!(inbox.recv_timeout(Duration::from_millis(5)).is_err())),
        ("wait_for_mail", &|| assert!(!inbox.wait_for_mail(Some(Duration::from_millis(5))).unwrap())),
    ];
    for (name, look) in looks {
        let ((), over) =
            flooding(&inside(&post, "mail"), 600_000, |_| Vec::new(), || (), || (0..3).for_each(|_| look()));
        assert!(!over, "{name} came back only when the flood was over");
    }
}

#[test]
fn mail_is_handed_out_while_words_that_mean_nothing_flood_in() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    let (mut rng, desk) = (Rng(7), post.root().join("backend/mail/desk"));
    // Each is told of: lanes that are there and are not, positions, keys and sizes.
    let words = |number: u64| {
        let mut word = Vec::new();
        word.extend((number as u32 % 4).to_le_bytes());
        word.extend(((rng.next() % 2000) as u32).to_le_bytes());
        for _ in 0..3 {
            word.extend(if rng.below(2) == 0 { rng.next() } else { rng.below(100) }.to_le_bytes());
        }
        word.truncate(if number.is_multiple_of(10) { rng.below(40) as usize } else { 32 });
        word
    };
    let count = std::sync::atomic::AtomicU64::new(1 << 40);
    let also = || {
        super::support::poke(&desk, laneway::layout::desk::WORDS, &count.fetch_add(1, Ordering::Relaxed).to_le_bytes())
    };
    let (taken, over) = flooding(&inside(&post, "control"), 1_000_000, words, also, || {
        (0..8u32)
            .map(|number| {
                backend.send(&number.to_le_bytes()).unwrap();
                u32::from_le_bytes(body(&inbox).try_into().unwrap())
            })
            .collect::<Vec<_>>()
    });
    assert_eq!(taken, (0..8).collect::<Vec<_>>());
    assert!(!over, "mail came only when the flood was over");
    // What is really taken back still is.
    let unwanted = backend.send(b"unwanted").unwrap();
    assert_eq!(backend.cancel(&unwanted).unwrap(), Cancelled::Yes);
    assert!(inbox.try_recv().unwrap().is_none());
    assert_eq!(super::support::mailboxes::state(&mut backend, &unwanted), State::Cancelled);
}

/// What is sent so much later was sent later, whoever reads the clock.
const CLOCKS_DIFFER: Duration = Duration::from_millis(2);

#[test]
fn what_a_word_says_of_a_time_to_come_supersedes_nothing_that_is_sent_then() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    let inbox = post.serve("backend").unwrap();
    backend.compose().supersede(b"deploy").send(b"deploy 1").unwrap();
    // As its sender would leave it, but of the end of time.
    let control = inside(&post, "control");
    let mut word = control.observe().unwrap().peek(1).unwrap()[0].payload.clone();
    word[24..].copy_from_slice(&u64::MAX.to_le_bytes());
    control.sender().unwrap().send(&word).unwrap();
    assert!(inbox.try_recv().unwrap().is_none(), "the word is about it");
    std::thread::sleep(CLOCKS_DIFFER);
    backend.compose().supersede(b"deploy").send(b"deploy 2").unwrap();
    assert_eq!(body(&inbox), b"deploy 2");
}

#[test]
fn a_request_ends_in_time_while_answers_to_nothing_flood_in() {
    let dir = scratch();
    let post = post(&dir);
    let mut backend = post.mailbox("backend").unwrap();
    backend.set_wait(Wait::Park).unwrap();
    let replies: &Path = &post.root().join(".laneway-replies");
    let queue = Queue::open(replies.join(&Queue::list(replies).unwrap()[0])).unwrap();
    let answer = |_| {
        let mut answer = with(64, u64::MAX).to_vec();
        answer[1] = 3;
        answer
    };
    let (asked, over) = flooding(&queue, 3_000_000, answer, || (), || backend.request(b"?", Duration::from_millis(20)));
    assert!(asked.is_err() && !over, "{asked:?} came only when the flood was over");
}
