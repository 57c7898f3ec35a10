//! A receiver that dies at any instruction: it is single-stepped through taking, acking, giving back, refusing and reading that a
//! message was taken back; and wherever a step changed a file, a copy of all files is what a SIGKILL there leaves. On the
//! copy another receiver takes over, deals with everything, and leaves; and then a third comes, and finds nothing.
//!
//! Asked of each: nothing is lost, nothing is handed out of which a call has returned that settled it, attempts are not forgotten, and dead
//! letters and kept messages are not doubled. Steps follow the order of the program, so this cannot see what a processor or compiler
//! reorders; a system call is one step. `LANEWAY_TEST_ACTS=0,1,2,…,18` steps through other calls than the two of an ordinary run.
#![expect(unsafe_code, reason = "mappings of files that another process writes")]

mod support;

use laneway::mailbox::{Backoff, Cancelled, Inbox, Mailbox, Post, Settings, State, Ticket};
use memmap2::Mmap;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
use support::step::{Victim, stay_here};
use support::tree::{Tree, copy};
use support::{Role, scratch, victim};

const FAR: Duration = Duration::from_secs(24 * 3600);

/// What the receiver does, one call each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Serve,
    /// It is handed this message.
    Take(usize),
    Ack(usize),
    GiveBack(usize),
    GiveBackForTomorrow(usize),
    Refuse(usize),
}

use Act::{Ack, GiveBack, GiveBackForTomorrow, Refuse, Serve, Take};

/// Message 5 was taken back, and 6 is for tomorrow.
const ACTS: [Act; 19] = [
    Serve,
    Take(0),
    Take(1),
    Ack(1),
    GiveBack(0),
    Take(0),
    Take(2),
    Refuse(2),
    GiveBackForTomorrow(0),
    Take(3),
    Take(4),
    Ack(4),
    GiveBack(3),
    Take(3),
    Ack(3),
    Take(7),
    GiveBack(7),
    Take(7),
    GiveBack(7),
];
const MESSAGES: usize = 8;
const CANCELLED: usize = 5;
const LATER: usize = 6;

fn post(root: &Path) -> Post {
    let backoff = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
    let options = laneway::Queue::options().capacity(4096).max_lanes(8);
    let settings = Settings { backoff, max_attempts: 2, outcomes: 64, ..Settings::default() };
    Post::open(root).settings(settings).queue_options(options)
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let traced = victim::traced(&part);
    // SAFETY: takes a number. Single steps take as long as the machine lets them.
    unsafe { libc::alarm(600) };
    let which = part.number("ACT") as usize;
    serve(&part.queue, which + 1, |returned| {
        traced.progress(returned as u64);
        if returned == which {
            traced.begin();
        }
    });
    traced.reached();
}

/// Plays so many acts, and tells how many of them have returned.
fn serve(root: &Path, count: usize, returned: impl Fn(usize)) {
    returned(0);
    let inbox = post(root).serve("box").unwrap();
    returned(1);
    let mut held = BTreeMap::new();
    for (count, act) in (2..).zip(&ACTS[1..count]) {
        match *act {
            Serve => unreachable!("it serves already"),
            Take(number) => {
                let delivery = inbox.try_recv().unwrap().unwrap();
                assert_eq!(delivery.body(), [number as u8]);
                held.insert(number, delivery);
            }
            Ack(number) => held.remove(&number).unwrap().ack(),
            GiveBack(number) => held.remove(&number).unwrap().nack_after(Duration::ZERO).unwrap(),
            GiveBackForTomorrow(number) => held.remove(&number).unwrap().nack_after(FAR).unwrap(),
            Refuse(number) => held.remove(&number).unwrap().reject().unwrap(),
        }
        returned(count);
    }
    // As a kill leaves them, if there are any.
    held.into_values().for_each(std::mem::forget);
}

/// What may be said of a message when so many acts have returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is to be handed out, for the attempt after this one at least.
    Due(u32),
    /// It is handed out no more.
    Settled(State),
    Tomorrow,
}

fn fates(returned: usize) -> Vec<Fate> {
    let mut fates = vec![Fate::Due(0); MESSAGES];
    fates[CANCELLED] = Fate::Settled(State::Cancelled);
    fates[LATER] = Fate::Tomorrow;
    let mut attempts = [0; MESSAGES];
    for act in &ACTS[..returned] {
        match *act {
            Serve => {}
            Take(number) => {
                attempts[number] += 1;
                fates[number] = Fate::Due(attempts[number]);
            }
            Ack(number) => fates[number] = Fate::Settled(State::Acked),
            GiveBack(number) if attempts[number] == 2 => fates[number] = Fate::Settled(State::DeadLettered),
            GiveBack(_) => {}
            GiveBackForTomorrow(number) if attempts[number] == 2 => {
                fates[number] = Fate::Settled(State::DeadLettered);
            }
            GiveBackForTomorrow(number) => fates[number] = Fate::Tomorrow,
            Refuse(number) => fates[number] = Fate::Settled(State::Failed),
        }
    }
    fates
}

/// Takes and acks all there is: the attempt of each, by number.
fn deal_with(inbox: &Inbox) -> BTreeMap<usize, u32> {
    let mut seen = BTreeMap::new();
    while let Some(delivery) = inbox.try_recv().unwrap() {
        let number = usize::from(delivery.body()[0]);
        assert_eq!(seen.insert(number, delivery.attempt()), None, "{number} was handed out twice");
        delivery.ack();
    }
    seen
}

fn state(mailbox: &mut Mailbox, ticket: &Ticket) -> State {
    mailbox.status(ticket).unwrap().state
}

/// Judges what a kill left, when so many acts had returned.
fn judge(root: &Path, tickets: &[Ticket], returned: usize) {
    let before = fates(returned);
    let after = fates((returned + 1).min(ACTS.len()));
    let mut mailbox = post(root).mailbox("box").unwrap();
    tickets.iter().for_each(|ticket| assert_ne!(state(&mut mailbox, ticket), State::Unknown));
    let seen = deal_with(&post(root).serve("box").unwrap());
    let again = deal_with(&post(root).serve("box").unwrap());
    assert!(again.is_empty(), "handed out after they were acked: {again:?}");
    let mut tomorrow = 0;
    let letters = mailbox.dead_letters().unwrap();
    let dead: BTreeSet<Ticket> = letters.iter().map(|letter| letter.ticket).collect();
    assert_eq!(dead.len(), letters.len(), "dead letters are doubled");
    for (number, ticket) in tickets.iter().enumerate() {
        let state = state(&mut mailbox, ticket);
        tomorrow += u64::from(state == State::Pending);
        let is_dead = dead.contains(ticket);
        // What was going on may have happened, or not.
        let is_right = |fate: &Fate| match (*fate, seen.get(&number)) {
            (Fate::Due(2), None) => state == State::DeadLettered && is_dead,
            (Fate::Due(attempts), Some(attempt)) => *attempt == attempts + 1 && state == State::Acked,
            (Fate::Settled(settled), None) => state == settled && is_dead == settled_is_dead(settled),
            (Fate::Tomorrow, None) => state == State::Pending && !is_dead,
            _ => false,
        };
        assert!(
            is_right(&before[number]) || is_right(&after[number]),
            "{number}, which was {:?}, is {state:?} (a dead letter: {is_dead}), and was handed out: {:?}",
            before[number],
            seen.get(&number)
        );
    }
    assert_eq!(mailbox.stats().unwrap().kept, tomorrow);
}

fn settled_is_dead(state: State) -> bool {
    matches!(state, State::DeadLettered | State::Failed)
}

/// A mailbox with all messages in it.
fn fill(root: &Path) -> Vec<Ticket> {
    let mut mailbox = post(root).mailbox("box").unwrap();
    let mut send = |number: usize| {
        let draft = mailbox.compose();
        let draft = if number == LATER { draft.delay(FAR) } else { draft };
        draft.send(&[number as u8]).unwrap()
    };
    let tickets: Vec<Ticket> = (0..MESSAGES).map(&mut send).collect();
    assert_eq!(mailbox.cancel(&tickets[CANCELLED]).unwrap(), Cancelled::Yes);
    tickets
}

#[test]
fn a_receiver_that_lives_leaves_what_is_expected() {
    for returned in [0, ACTS.len()] {
        let dir = scratch();
        let root = dir.path().join("post");
        let tickets = fill(&root);
        if returned > 0 {
            serve(&root, ACTS.len(), |_| ());
        }
        judge(&root, &tickets, returned);
    }
}

#[test]
fn a_receiver_that_is_killed_at_any_instruction_loses_nothing_and_repeats_nothing() {
    // An ack behind one that is held, and one of what was kept: in these most is at stake.
    let chosen = std::env::var("LANEWAY_TEST_ACTS").unwrap_or("3,14".to_owned());
    let mut judged = 0;
    for act in chosen.split(',') {
        let Some(more) = step_through(act.parse().unwrap()) else { return };
        judged += more;
    }
    assert!(judged > 5, "only {judged} kills were judged: this test has gone blind");
}

/// Steps through one act. How many kills were judged; none, with a reason, when the kernel does not let us.
fn step_through(act: usize) -> Option<u64> {
    let dir = scratch();
    let root = dir.path().join("post");
    let tickets = fill(&root);
    let progress = victim::progress_file(&root);
    fs::write(&progress, [0; 8]).unwrap();
    // SAFETY: the bytes are only read while the process that writes them is stopped.
    let progress = unsafe { Mmap::map(&File::open(&progress).unwrap()) }.unwrap();
    stay_here();
    let mut peer = Role::new("serve", &root).with("ACT", act as u64).start();
    let said = peer.hear().unwrap();
    let Ok(thread) = said.parse() else {
        eprintln!("skipped: this host does not let a parent trace its child: {said}");
        return None;
    };
    let victim = Victim(thread);
    assert_eq!(victim.stopped_by(), Some(libc::SIGSTOP));
    // Up to where the act begins.
    assert_eq!(victim.go_on(libc::PTRACE_CONT), Some(libc::SIGSTOP));
    let mut files = Tree::new(&root);
    files.list();
    files.changed();
    let (mut steps, mut judged) = (0u64, 0u64);
    loop {
        match victim.go_on(libc::PTRACE_SINGLESTEP) {
            Some(libc::SIGTRAP) => {}
            Some(libc::SIGSTOP) => break,
            other => panic!("the victim ended early: {other:?}"),
        }
        steps += 1;
        let came = steps.is_multiple_of(500) && files.list();
        if files.changed() || came {
            let left = dir.path().join("left");
            copy(&root, &left);
            let returned = u64::from_ne_bytes(progress[..8].try_into().unwrap());
            judge(&left, &tickets, returned as usize);
            fs::remove_dir_all(&left).unwrap();
            judged += 1;
        }
    }
    peer.signal(libc::SIGKILL);
    while victim.stopped_by().is_some() {}
    // The real one.
    judge(&root, &tickets, act + 1);
    println!("{:?}: {steps} steps, and {judged} kills judged", ACTS[act]);
    Some(judged)
}
