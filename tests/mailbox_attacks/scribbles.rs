//! Files of a mailbox that are scribbled over while nobody is there: whoever comes next says so in a sentence, or goes on. What
//! lies in files that nobody scribbled over is handed out.

use super::support::mailboxes::post;
use super::support::{LONG, Rng, poke, scratch};
use laneway::mailbox::{Mailbox, Post, Settings, Ticket};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mailbox with something in every queue; the numbers that wait in lanes and were never taken.
fn furnish(post: &Post) -> (Vec<Ticket>, BTreeSet<u32>) {
    let mut backend = post.mailbox("backend").unwrap();
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut send = |backend: &mut Mailbox, delay: Duration| {
        let number = tickets.len() as u32;
        tickets.push(backend.compose().delay(delay).supersede(&number.to_le_bytes()).send_pod(&number).unwrap());
    };
    (0..30).for_each(|_| send(&mut backend, Duration::ZERO));
    (0..10).for_each(|_| send(&mut backend, LONG * 100));
    let inbox = post.serve("backend").unwrap();
    for turn in 0..12 {
        let delivery = inbox.recv().unwrap();
        match turn % 4 {
            0 => delivery.ack(),
            1 => delivery.nack_after(LONG * 100).unwrap(),
            2 => delivery.reject().unwrap(),
            _ => std::mem::forget(delivery),
        }
    }
    drop(inbox);
    // Words that nobody has read.
    backend.cancel(&tickets[29]).unwrap();
    (tickets, (12..29).collect())
}

fn files(queue: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(queue).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.metadata().unwrap().len() > 4000).collect()
}

/// Changes words of these files, from this offset on: most of them where something stands.
fn scribble(files: &[PathBuf], from: usize, rng: &mut Rng) {
    for _ in 0..=rng.below(12) {
        let file = &files[rng.below(files.len() as u64) as usize];
        let words = fs::read(file).unwrap();
        let used: Vec<usize> = (from..words.len()).step_by(8).filter(|at| words[*at..*at + 8] != [0; 8]).collect();
        let anywhere = from + 8 * rng.below(((words.len() - from) / 8) as u64) as usize;
        let at =
            if used.is_empty() || rng.below(5) == 0 { anywhere } else { used[rng.below(used.len() as u64) as usize] };
        let old = u64::from_le_bytes(words[at..at + 8].try_into().unwrap());
        let new = [rng.next(), old ^ 1 << rng.below(64), u64::MAX, 0, old.wrapping_add(rng.below(9))];
        poke(file, at, &new[rng.below(5) as usize].to_le_bytes());
    }
}

/// What a mailbox still hands out; and everything that can be asked of it is. An error is a sentence about it.
fn use_it(post: &Post, tickets: &[Ticket]) -> Option<BTreeSet<u32>> {
    let sentence = |error: &dyn std::fmt::Display| assert!(error.to_string().contains("post/backend"), "{error}");
    let mut backend = match post.mailbox("backend") {
        Ok(backend) => backend,
        Err(error) => {
            sentence(&error);
            return None;
        }
    };
    let mut found = BTreeSet::new();
    let mut served = false;
    for _ in 0..2 {
        match post.serve("backend") {
            Err(error) => sentence(&error),
            Ok(inbox) => {
                served = true;
                for look in 0.. {
                    assert!(look < 1000, "it never comes to an end");
                    match inbox.try_recv() {
                        Ok(None) => break,
                        Ok(Some(delivery)) => {
                            found.extend(delivery.read_pod::<u32>().ok());
                            if look % 3 > 0 {
                                delivery.ack();
                            } else if let Err(error) = delivery.nack_after(LONG) {
                                sentence(&error);
                            }
                        }
                        Err(error) => assert!(!error.to_string().is_empty()),
                    }
                }
            }
        }
    }
    for ticket in tickets {
        backend.status(ticket).unwrap();
        let _ = backend.cancel(ticket).map_err(|error| sentence(&error));
    }
    let _ = backend.stats().map(|stats| stats.rate).map_err(|error| sentence(&error));
    let _ = backend.dead_letters().map_err(|error| sentence(&error));
    let _ =
        backend.replay_dead(|letter| letter.attempts % 2 == 0).map_err(|error| assert!(!error.to_string().is_empty()));
    let _ = backend.drop_dead(|_| true).map_err(|error| assert!(!error.to_string().is_empty()));
    let _ = backend.pending();
    served.then_some(found)
}

/// Of so many scribbled mailboxes, how many could not be served.
fn attack(queue: &str, only: &str, from: usize, loses: bool) -> u32 {
    let mut bricked = 0;
    for seed in 0..40 {
        let dir = scratch();
        let post = post(&dir).settings(Settings { outcomes: 64, ..Settings::default() });
        let (tickets, waiting) = furnish(&post);
        let mut rng = Rng(seed);
        let all = files(&post.root().join("backend").join(queue));
        let chosen: Vec<PathBuf> = all.into_iter().filter(|path| path.to_string_lossy().contains(only)).collect();
        scribble(&chosen, from, &mut rng);
        match use_it(&post, &tickets) {
            Some(found) => assert!(loses || found.is_superset(&waiting), "seed {seed}: lost {:?}", &waiting - &found),
            None => bricked += 1,
        }
    }
    bricked
}

const BEHIND_THE_HEADER: usize = 128;

#[test]
fn a_scribbled_ledger_may_say_that_mail_is_settled_and_stops_nobody() {
    assert_eq!(attack("mail", "mail/ledger", BEHIND_THE_HEADER, true), 0);
}

#[test]
fn a_scribbled_desk_costs_nothing() {
    assert_eq!(attack("mail", "mail/desk", BEHIND_THE_HEADER, false), 0);
}

#[test]
fn scribbled_dead_letters_cost_no_mail() {
    assert_eq!(attack("dead", "", 0, false), 0);
}

#[test]
fn scribbled_words_cost_no_mail() {
    // A damaged header is said, and stops who serves.
    attack("control", "", 0, true);
    assert_eq!(attack("control", "lane-", BEHIND_THE_HEADER, true), 0);
}

#[test]
fn a_scribbled_log_of_what_is_kept_costs_no_other_mail() {
    attack("retry", "", 0, true);
    assert_eq!(attack("retry", "lane-", BEHIND_THE_HEADER, false), 0);
}
