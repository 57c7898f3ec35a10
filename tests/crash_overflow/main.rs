//! Processes that die while a lane grows, is read across its segments, or shrinks. As `tests/crash.rs`: a victim is
//! single-stepped, and at every change of the files both sides attach to a copy. Besides that nothing is lost, torn or out
//! of order and new messages pass, also long ones, the copy holds no byte more than its base once it is read and trimmed.
//! No lane may ever touch what is not reserved, which the stepping checks by the file's size. A system call is one
//! step, and what a processor reorders is not seen; the loom models see that.

mod scripts;
#[path = "../support/mod.rs"]
mod support;

use Act::{Abort, Ask, Attach, Close, Detach, Drain, Hold, Leave, Listen, Receive, Send, Through, Trim, TrimQueue};
use laneway::{Queue, Receiver, Sender, TryRecvError, TrySendError, layout};
use scripts::{Act, SCRIPTS, Script};
use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use support::step::{Snapshot, Watch, restore};
use support::victim::{Child, Traced, stepped, traced};
use support::{Part, Role, check, flight, length, payload, peek, scratch};
use tempfile::TempDir;

const RING: u64 = 4096;
const LIMIT: u64 = 32 << 10;
/// What a lane's file takes without segments.
const BASE: u64 = layout::RING as u64 + RING;

/// A victim in the middle of a script.
struct Stage<'a> {
    part: &'a Part,
    queue: Queue,
    traced: &'a Traced,
    messages: Vec<Vec<u8>>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// The number of the next message.
    next: u64,
    /// What was sent and not received.
    waiting: VecDeque<u64>,
    promised: u64,
    handled: u64,
}

impl<'a> Stage<'a> {
    fn new(part: &'a Part, traced: &'a Traced, script: &Script) -> Stage<'a> {
        let (messages, waiting) = (script.messages(), VecDeque::new());
        let (queue, sender, receiver) = (part.open(), None, None);
        Stage { part, queue, traced, messages, sender, receiver, next: 0, waiting, promised: 0, handled: 0 }
    }

    /// Says how far it got: behind the last message that is promised, and that is about to be released.
    fn say(&self) {
        self.traced.progress(self.promised << 32 | self.handled);
    }

    /// As if it had done this.
    fn assume(&mut self, acts: &[Act]) {
        for act in acts {
            match *act {
                Send(count, _) => {
                    self.waiting.extend(self.next..self.next + count as u64);
                    self.next += count as u64;
                    self.promised = self.next;
                }
                Receive(count) => (0..count).for_each(|_| self.handled = self.waiting.pop_front().unwrap() + 1),
                _ => {}
            }
        }
        self.say();
    }

    fn act(&mut self, acts: &[Act]) {
        acts.iter().for_each(|act| self.act_one(*act));
    }

    fn act_one(&mut self, act: Act) {
        match act {
            Attach => self.sender = Some(self.queue.sender().unwrap()),
            Act::OnFull(on_full) => self.sender.as_mut().unwrap().set_on_full(on_full),
            Send(count, _) => (0..count).for_each(|_| self.send()),
            Abort(len) => {
                let mut claim = self.sender.as_mut().unwrap().try_claim(len).unwrap();
                claim.write_all(&[0xee; 64]).unwrap();
            }
            Listen => self.receiver = Some(self.queue.receiver().unwrap()),
            Receive(count) => {
                for _ in 0..count {
                    let message = self.receiver.as_ref().unwrap().try_recv().unwrap();
                    self.handled = self.waiting.pop_front().unwrap() + 1;
                    self.say();
                    drop(message);
                }
            }
            Hold(count) => {
                let receiver = self.receiver.as_ref().unwrap();
                let mut held: Vec<_> = (0..count).map(|_| receiver.try_recv().unwrap()).collect();
                let last = self.waiting.drain(..count).next_back().unwrap();
                self.handled = last + 1;
                self.say();
                while let Some(message) = held.pop() {
                    drop(message);
                }
            }
            Drain(count) => {
                for message in self.receiver.as_ref().unwrap().drain().unwrap().take(count) {
                    self.handled = self.waiting.pop_front().unwrap() + 1;
                    self.traced.progress(self.promised << 32 | self.handled);
                    drop(message);
                }
            }
            Leave => self.receiver = None,
            Through(times) => (0..times).for_each(|_| self.act(&[Send(4, 900), Receive(4)])),
            Ask => drop(self.sender.as_mut().unwrap().pressure().unwrap()),
            Trim => self.sender.as_mut().unwrap().trim(),
            Close => self.sender.take().unwrap().close(),
            Detach => self.sender = None,
            TrimQueue => drop(self.queue.trim().unwrap()),
        }
    }

    fn send(&mut self) {
        match self.sender.as_mut().unwrap().try_send(&self.messages[self.next as usize]) {
            Ok(_) => {
                self.waiting.push_back(self.next);
                self.promised = self.next + 1;
                self.say();
            }
            Err(TrySendError::Dropped) => {}
            Err(error) => self.part.say(&format!("message {}: {error}", self.next)),
        }
        self.next += 1;
    }
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let script = || &SCRIPTS[part.number("SCRIPT") as usize];
    match part.name.as_str() {
        "script" => {
            let traced = traced(&part);
            let mut stage = Stage::new(&part, &traced, script());
            stage.act(script().before);
            traced.begin();
            stage.act(script().stepped);
            traced.reached();
        }
        "before" => {
            let traced = traced(&part);
            let mut stage = Stage::new(&part, &traced, script());
            stage.act(script().before);
            // Here its parent kills it.
            traced.begin();
            drop(stage);
        }
        "after" => {
            let traced = traced(&part);
            let mut stage = Stage::new(&part, &traced, script());
            stage.assume(script().before);
            traced.begin();
            stage.act(script().stepped);
            traced.reached();
        }
        "adopt" => {
            let queue = part.open();
            let stop = stepped(&part);
            let sender = queue.sender().unwrap();
            // Killed before it has done what it does when it goes.
            std::mem::forget(sender);
            stop.reached();
        }
        "flood" => flight::flood(&part),
        "consume" => flight::consume(&part),
        other => panic!("{other}"),
    }
}

/// A queue with one lane, which is there.
fn one_lane(dir: &TempDir) -> Queue {
    let options = Queue::options().capacity(RING).overflow_limit(LIMIT).max_lanes(1);
    let queue = options.create(dir.path().join("queue")).unwrap();
    drop(queue.sender().unwrap());
    queue
}

/// What the lane's file takes; never more than it says.
#[track_caller]
fn held(queue: &Queue) -> u64 {
    let lane = queue.path().join("lane-000");
    let (held, said) = (std::fs::metadata(&lane).unwrap().blocks() * 512, peek(&lane, layout::lane::RESERVED));
    assert!(held <= BASE + said && said <= LIMIT, "{held} bytes are reserved, and {said} of them are known of");
    held
}

/// A message of a copy: its number, and how many are missing before it.
type Old = (u64, u64);

/// Reads everything that is there.
fn read_all(receiver: &Receiver, messages: &[Vec<u8>], by_drain: bool) -> Vec<Old> {
    let take = |message: laneway::Message<'_>| {
        let bytes = message.to_vec();
        let (_, number) = check(&bytes);
        assert!(bytes == messages[number as usize], "message {number} is {} bytes long", bytes.len());
        (number, message.dropped_before())
    };
    let old = match by_drain {
        true => receiver.drain().unwrap().map(take).collect(),
        false => std::iter::from_fn(|| receiver.try_recv().ok()).map(take).collect(),
    };
    assert!(receiver.damage().is_empty(), "{:?}", receiver.damage());
    old
}

/// Sends and receives, in the ring and beyond, then ends it all; nothing is held afterwards.
fn goes_on(queue: &Queue, mut sender: Sender, receiver: Receiver) {
    let mut next = 0;
    let mut take = || {
        let message = receiver.try_recv().unwrap();
        assert_eq!(check(&message.to_vec()), (2, next));
        next += 1;
    };
    let (mut number, mut observer) = (0, queue.observe().unwrap());
    // First laps of the ring alone: what a stale entry says of its positions would be believed.
    let laps = std::iter::repeat_n((1, 900), 24);
    for (burst, max) in laps.chain([(1, 6000), (24, 900), (2, 100), (1, 9000)]) {
        for _ in 0..burst {
            sender.try_send(&payload(2, number, length(2, number, max))).unwrap();
            number += 1;
        }
        held(queue);
        assert_eq!(observer.peek(usize::MAX).unwrap().len(), burst, "who looks where they lie finds others");
        (0..burst).for_each(|_| take());
    }
    sender.close();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    // A victim of another test that was forked just before holds the lane for a moment.
    while queue.observe().unwrap().lanes().unwrap()[0].sender_alive {
        std::thread::yield_now();
    }
    queue.trim().unwrap();
    assert_eq!(held(queue), BASE, "more than the base is held when all is over");
}

/// Both sides attach to a copy: the receiver first, and then, of another copy, after the sender, or nobody sends any more.
/// Gives what the copies deliver.
fn recover(dir: &TempDir, snapshot: &Snapshot, messages: &[Vec<u8>], sends: bool) -> Vec<Old> {
    let path = dir.path().join("copy");
    let orders = [0, if sends { 1 } else { 2 }].map(|order| {
        restore(snapshot, &path);
        let queue = Queue::open(&path).unwrap();
        let old = match order {
            0 => {
                let seen: Vec<_> = queue.observe().unwrap().peek(usize::MAX).unwrap();
                let receiver = queue.receiver().unwrap();
                let sender = queue.sender().unwrap();
                held(&queue);
                let old = read_all(&receiver, messages, true);
                let numbers = seen.iter().map(|peeked| check(&peeked.payload).1);
                assert!(numbers.eq(old.iter().map(|(number, _)| *number)), "an observer saw something else");
                goes_on(&queue, sender, receiver);
                old
            }
            1 => {
                queue.trim().unwrap();
                held(&queue);
                let sender = queue.sender().unwrap();
                held(&queue);
                let receiver = queue.receiver().unwrap();
                let old = read_all(&receiver, messages, false);
                goes_on(&queue, sender, receiver);
                old
            }
            _ => {
                let old = read_all(&queue.receiver().unwrap(), messages, true);
                queue.trim().unwrap();
                assert!(held(&queue) <= BASE + layout::GRANULE, "{} bytes are held for nothing", held(&queue));
                old
            }
        };
        std::fs::remove_dir_all(&path).unwrap();
        old
    });
    let [one, other] = orders;
    assert!(one == other, "what is delivered depends on who comes first");
    one
}

/// What a victim's copies have shown so far.
#[derive(Default)]
struct Seen {
    /// Below it nothing is delivered any more.
    from: u64,
    /// Behind the last that is delivered.
    to: u64,
    points: usize,
}

impl Seen {
    fn judge(&mut self, old: &[Old], progress: u64) {
        let (promised, handled) = (progress >> 32, progress & 0xffff_ffff);
        for pair in old.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0 - 1, pair[1].1, "between messages {} and {}", pair[0].0, pair[1].0);
        }
        if let (Some((first, dropped)), Some((last, _))) = (old.first(), old.last()) {
            assert!(first - dropped <= handled, "what comes before {first} is gone, and nobody had seen it");
            assert!(first - dropped >= self.from, "{first} came back");
            (self.from, self.to) = (first - dropped, self.to.max(last + 1));
            assert!(last + 1 >= promised, "promised up to {promised}, the last is {last}");
            assert_eq!(last + 1, self.to, "a committed message is gone again");
        } else {
            assert!(self.to.max(promised) <= handled, "all are gone, up to {promised}, and {handled} were seen");
            self.from = self.from.max(self.to);
        }
        self.points += 1;
    }
}

/// Steps through a script, and shows its copies, with the progress.
fn play(dir: &TempDir, name: &str, mut visit: impl FnMut(&Snapshot, u64)) -> bool {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: the registers of a victim are known on x86-64 only");
        return false;
    }
    let queue = one_lane(dir);
    let (index, script) = Script::find(name);
    let mut watch = Watch::new(queue.path()).showing_one_in(64);
    let role = |name| Role::new(name, queue.path()).with("SCRIPT", index);
    if script.orphan {
        // Its victim is killed when it comes to where its steps would begin.
        let Some(victim) = Child::start(&mut watch, role("before")) else { return false };
        drop(victim);
    }
    Child::step(&mut watch, role(if script.orphan { "after" } else { "script" }), &mut visit)
}

fn is_killed_at_every_step_of(name: &str) {
    let dir = scratch();
    let messages = Script::find(name).1.messages();
    let mut seen = Seen::default();
    if play(&dir, name, |snapshot, progress| {
        seen.judge(&recover(&dir, snapshot, &messages, seen.points % 2 == 0), progress)
    }) {
        println!("{name}: {} points", seen.points);
        assert!(seen.points > 10, "{name}: only {} points", seen.points);
    }
}

#[test]
fn a_sender_killed_while_it_grows_loses_nothing() {
    is_killed_at_every_step_of("grow");
}

#[test]
fn a_sender_killed_on_its_way_home_loses_nothing() {
    is_killed_at_every_step_of("home");
}

#[test]
fn a_sender_killed_while_it_uses_a_segment_again_loses_nothing() {
    is_killed_at_every_step_of("reuse");
}

#[test]
fn a_sender_killed_while_the_pressure_falls_loses_nothing() {
    is_killed_at_every_step_of("fall");
}

#[test]
fn a_sender_killed_while_it_trims_loses_nothing() {
    is_killed_at_every_step_of("trim");
}

#[test]
fn a_sender_killed_while_it_closes_in_a_segment_loses_nothing() {
    is_killed_at_every_step_of("close");
}

#[test]
fn a_sender_killed_while_it_detaches_and_attaches_loses_nothing() {
    is_killed_at_every_step_of("detach and attach");
}

#[test]
fn a_sender_killed_while_it_takes_a_grown_lane_over_loses_nothing() {
    is_killed_at_every_step_of("adopt");
}

#[test]
fn a_receiver_and_a_sender_killed_while_they_take_a_grown_lane_over_loses_nothing() {
    is_killed_at_every_step_of("adopt and read on");
}

#[test]
fn whoever_trims_a_queue_killed_at_it_loses_nothing() {
    is_killed_at_every_step_of("trim the queue");
}

#[test]
fn a_receiver_killed_on_its_way_across_segments_loses_nothing() {
    is_killed_at_every_step_of("read");
}

#[test]
fn a_receiver_killed_while_it_attaches_in_a_segment_loses_nothing() {
    is_killed_at_every_step_of("come to read");
}

#[test]
fn a_sender_killed_while_it_drops_loses_nothing() {
    is_killed_at_every_step_of("drop");
}

#[test]
fn a_sender_killed_while_it_grows_and_then_drops_loses_nothing() {
    is_killed_at_every_step_of("grow, then drop");
}

#[test]
fn who_takes_over_killed_while_it_does_costs_nothing_either() {
    let mut points = 0;
    for name in ["reuse"] {
        let dir = scratch();
        let messages = Script::find(name).1.messages();
        let (mut copies, mut shown) = (Vec::new(), 0);
        let played = play(&dir, name, |snapshot, progress| {
            if shown % 8 == 0 {
                copies.push((snapshot.clone(), progress));
            }
            shown += 1;
        });
        if !played {
            return;
        }
        let step = copies.len().div_ceil(3);
        for (snapshot, progress) in copies.iter().step_by(step) {
            let dir = scratch();
            let path = dir.path().join("queue");
            restore(snapshot, &path);
            let mut seen = Seen::default();
            let mut watch = Watch::restored(&path, snapshot);
            assert!(Child::step(&mut watch, Role::new("adopt", &path), |again, _| {
                seen.judge(&recover(&dir, again, &messages, seen.points % 2 == 0), *progress);
            }));
            points += seen.points;
        }
    }
    println!("a second kill at {points} points");
    assert!(points > 8, "only {points} points");
}

#[test]
fn senders_killed_in_full_flight_while_they_grow_leave_an_exact_prefix() {
    let dir = scratch();
    let queue = one_lane(&dir);
    let grown = flight::senders_are_killed(&queue, 700, 120, 300);
    assert!(grown > 20, "only {grown} of them died in a segment");
    drop(queue.sender().unwrap());
    queue.trim().unwrap();
    assert!(held(&queue) <= BASE + layout::GRANULE);
}

#[test]
fn receivers_killed_in_full_flight_across_segments_handle_everything_in_order() {
    let dir = scratch();
    let options = Queue::options().capacity(RING).overflow_limit(LIMIT).max_lanes(2);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let grown = flight::receivers_are_killed(&queue, 300, 4_000, 40);
    assert!(grown > 5, "only {grown} of them died with mail in segments");
}
