//! Messages whose bytes anybody made up, between honest ones.

use super::support::LONG;
use super::support::mailboxes::post;
use super::support::scratch;
use super::{inside, with};
use laneway::Priority;
use laneway::mailbox::{Delivery, RecvError, Settings};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// Fields of an envelope of 8 bytes: offset and value.
fn field() -> impl Strategy<Value = (usize, u64)> {
    let now = u64::try_from(nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap().tv_sec()).unwrap();
    let second = 1_000_000_000;
    let value = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(i64::MAX as u64),
        Just((now + 86_400) * second),
        Just(now.saturating_sub(1) * second),
        any::<u64>(),
    ];
    ((1usize..9).prop_map(|word| word * 8), value)
}

/// A message: mostly an envelope of this version with some fields changed, sometimes any bytes.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let head = (
        prop_oneof![9 => Just(1), 1 => any::<u8>()],
        prop_oneof![9 => 1..4u8, 1 => any::<u8>()],
        prop_oneof![9 => 0..6u8, 1 => any::<u8>()],
        prop_oneof![6 => Just(0b11_1111), 3 => 0..64u8, 1 => any::<u8>()],
        prop_oneof![5 => Just(0), 3 => 0..220u16, 1 => any::<u16>()],
        prop_oneof![5 => Just(0), 3 => 0..3u16, 1 => any::<u16>()],
    );
    let rest = (prop::collection::vec(field(), 0..4), prop::collection::vec(any::<u8>(), 0..240));
    let made = (head, rest).prop_map(|((version, kind, content, words, name_len, attempts), (fields, rest))| {
        let mut bytes = vec![version, kind, content, words];
        bytes.extend(name_len.to_le_bytes());
        bytes.extend(attempts.to_le_bytes());
        bytes.resize(72, 0);
        for (at, value) in fields {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes.extend(rest);
        bytes
    });
    prop_oneof![9 => made, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

/// Asks a delivery everything; nothing of it may be more than can be.
fn ask(delivery: &Delivery<'_>, sent: &[Vec<u8>]) {
    let body = delivery.body();
    assert!(sent.iter().any(|bytes| bytes.ends_with(&body)) && delivery.len() == body.len());
    assert!(delivery.from().len() <= 3 * 200 && delivery.attempt() >= 1 && delivery.max_attempts() >= 1);
    assert!(delivery.age() <= Duration::from_nanos(u64::MAX) && delivery.uid().is_ok());
    let _ = (delivery.time_left(), delivery.sequence(), delivery.newer_from_sender(), delivery.content());
    let _ = (delivery.is_empty(), delivery.priority(), delivery.ticket(), delivery.read_pod::<u64>());
    if delivery.wants_reply() {
        assert!(!delivery.reply(b"to nobody").unwrap(), "somebody was answered, and nobody asked");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]
    #[test]
    fn whatever_an_envelope_says_good_mail_before_and_after_it_is_handed_out(
        hostile in prop::collection::vec(message(), 1..30),
        rolls in any::<bool>(),
        ages in any::<bool>(),
    ) {
        let dir = scratch();
        let max_age = if ages { LONG } else { Duration::ZERO };
        // Never so many that any is rolled away.
        let max_pending = if rolls { 10_000 } else { 0 };
        let when_full = if rolls { laneway::mailbox::WhenFull::Roll } else { laneway::mailbox::WhenFull::Refuse };
        let post = post(&dir).settings(Settings { max_age, max_pending, when_full, max_attempts: 2, ..Settings::default() });
        let mut honest = post.mailbox("backend").unwrap();
        let mut raw = inside(&post, "mail").sender_options().priority(Priority::Normal).attach().unwrap();
        let mut good = BTreeSet::new();
        for (number, bytes) in hostile.iter().enumerate() {
            let body = format!("good mail {number}").into_bytes();
            honest.send(&body).unwrap();
            good.insert(body);
            raw.send(bytes).unwrap();
        }
        honest.send(b"the last one").unwrap();
        good.insert(b"the last one".to_vec());
        // As one that dies and one that lives.
        for dies in [true, false] {
            let inbox = post.serve("backend").unwrap();
            let mut looks = 0;
            loop {
                looks += 1;
                prop_assert!(looks < 1000, "it never comes to an end");
                let delivery = match inbox.try_recv() {
                    Ok(Some(delivery)) => delivery,
                    Ok(None) => break,
                    Err(RecvError::Busy { .. }) => break,
                    Err(error) => panic!("{error}"),
                };
                if delivery.from().is_empty() && good.contains(&delivery.body()) {
                    good.remove(&delivery.body());
                    delivery.ack();
                    continue;
                }
                ask(&delivery, &hostile);
                match (dies, looks % 4) {
                    (true, 0) => std::mem::forget(delivery),
                    (_, 1) => delivery.nack_after(Duration::ZERO).unwrap(),
                    (_, 2) => delivery.reject().unwrap(),
                    _ => delivery.ack(),
                }
            }
        }
        prop_assert!(good.is_empty(), "lost: {good:?}");
        let stats = honest.stats().unwrap();
        // What is left is kept for a time that its sender chose.
        prop_assert!(stats.kept <= hostile.len() as u64 && stats.taken == 0, "{stats:?}");
        prop_assert_eq!(stats.pending, stats.kept);
        honest.dead_letters().unwrap();
        honest.drop_dead(|_| true).unwrap();
        prop_assert!(honest.dead_letters().unwrap().is_empty());
    }
}

#[test]
fn an_answer_to_a_queue_that_is_gone_or_is_none_is_no_answer() {
    let dir = scratch();
    let post = post(&dir);
    let mailbox = post.mailbox("backend").unwrap();
    let mut raw = inside(&post, "mail").sender().unwrap();
    // A file where the queue should be, an empty directory, and nothing.
    let replies = post.root().join(".laneway-replies");
    std::fs::create_dir_all(replies.join(format!("{:016x}", 2))).unwrap();
    std::fs::write(replies.join(format!("{:016x}", 3)), "no queue").unwrap();
    for number in 1..4 {
        let mut request = with(56, number);
        request[1] = 2;
        raw.send(&request).unwrap();
    }
    let inbox = post.serve("backend").unwrap();
    for _ in 0..3 {
        let delivery = inbox.recv().unwrap();
        assert!(delivery.wants_reply());
        match delivery.reply(b"?") {
            Ok(answered) => assert!(!answered),
            Err(error) => assert!(error.to_string().contains(".laneway-replies"), "{error}"),
        }
        delivery.ack();
    }
    assert_eq!(mailbox.dead_letters().unwrap(), []);
}
