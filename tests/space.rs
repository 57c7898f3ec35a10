//! Growth where space is short: a file system that is full, a receiver that does not come, system calls that fail. Never
//! a signal, never a message lost, never more than the limit; and the lane goes on when there is room again. Needs a
//! mount namespace for a small file system and strace for calls that fail; says so where there is none.

mod support;

use laneway::{Cause, OnFull, Queue, Receiver, Sender, TryRecvError, TrySendError, layout};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use support::victim::progress_file;
use support::{LONG, Part, Peer, Role, check, length, payload, peek, scratch};

const RING: u64 = 4096;
const LIMIT: u64 = 32 << 10;
/// What a lane's file takes without segments.
const BASE: u64 = layout::RING as u64 + RING;

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "full file system" => match support::small_filesystem(c"size=1m", part.queue.parent().unwrap()) {
            Err(error) => part.say(&format!("no file system of its own: {error}")),
            Ok(()) => {
                on_a_full_file_system(&part.queue);
                part.say("done");
            }
        },
        "reader" => {
            let receiver = part.open().receiver().unwrap();
            part.say("reads");
            let mut next = [0; 3];
            for message in receiver.iter() {
                let (sender, number) = check(&message.to_vec());
                assert_eq!(number, next[sender as usize]);
                next[sender as usize] += 1;
            }
            part.say(&format!("{next:?}"));
        }
        "bursts" => bursts(&part),
        other => panic!("{other}"),
    }
}

/// What a lane's file takes.
fn held(queue: &Queue) -> u64 {
    fs::metadata(queue.path().join("lane-000")).unwrap().blocks() * 512
}

/// Trims the queue once nobody holds lane 0: a child of another test that was forked just before does for a moment.
fn trim(queue: &Queue) {
    until("nobody holds the lane", || !queue.observe().unwrap().lanes().unwrap()[0].sender_alive);
    queue.trim().unwrap();
}

/// Waits for something that another thread or process is about to do.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LONG, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// Takes all the space that is left but `spare` bytes.
fn ballast(dir: &Path, spare: u64) -> File {
    let file = File::create_new(dir.join("ballast")).unwrap();
    let page = vec![1; 4096];
    let mut len = 0;
    while file.write_all_at(&page, len).is_ok() {
        len += 4096;
    }
    file.set_len(len - spare).unwrap();
    file
}

/// Sends until it is refused, and says how; the number of the next message comes along.
fn fill(sender: &mut Sender, next: &mut u64, len: usize) -> TrySendError {
    loop {
        match sender.try_send(&payload(1, *next, len)) {
            Ok(_) => *next += 1,
            Err(error) => return error,
        }
    }
}

fn receive(receiver: &Receiver, from: &mut u64, to: u64) {
    while *from < to {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (1, *from));
        *from += 1;
    }
}

/// Without a guard: touching what is not reserved ends the process.
fn on_a_full_file_system(path: &Path) {
    let dir = path.parent().unwrap();
    let options = Queue::options().capacity(RING).overflow_limit(4 << 20).max_lanes(2).sigbus_guard(false);
    let queue = options.create(path).unwrap();
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let (mut sent, mut received) = (0, 0);
    for spare in [300 << 10, 0, 4096, 12 << 10, 20 << 10] {
        let weight = ballast(dir, spare);
        assert_eq!(fill(&mut sender, &mut sent, 500), TrySendError::NoSpace);
        // Ring and segments, but for what another segment would have needed.
        assert!(sent - received >= 7 + spare / 600, "{} messages where {spare} bytes were left", sent - received);
        assert_eq!(fill(&mut sender, &mut sent, 100_000), TrySendError::NoSpace);
        for (on_full, error) in [
            (OnFull::Fail, TrySendError::Full),
            (OnFull::GrowThenFail, TrySendError::NoSpace),
            (OnFull::GrowThenBlock, TrySendError::NoSpace),
        ] {
            sender.set_on_full(on_full);
            assert_eq!(fill(&mut sender, &mut sent, 500), error, "{on_full}");
        }
        let mut observer = queue.observe().unwrap();
        assert_eq!(observer.stat().unwrap().depth_messages, sent - received);
        assert_eq!(observer.peek(usize::MAX).unwrap().len() as u64, sent - received);
        // It goes on with what it has.
        let half = (sent + received) / 2;
        receive(&receiver, &mut received, half);
        fill(&mut sender, &mut sent, 300);
        receive(&receiver, &mut received, sent);
        fill(&mut sender, &mut sent, 300);
        // And with more when there is more.
        drop(weight);
        fs::remove_file(dir.join("ballast")).unwrap();
        sender.try_send(&payload(1, sent, 50_000)).unwrap();
        sent += 1;
        receive(&receiver, &mut received, sent);
        sender.try_send(&payload(1, sent, 20)).unwrap();
        sent += 1;
        receive(&receiver, &mut received, sent);
        sender.trim();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
        sender.trim();
        assert_eq!(held(&queue), BASE);
    }
    // A lane that cannot be born is refused, and the one that is there stays.
    let weight = ballast(dir, 4096);
    let refused = queue.sender().unwrap_err();
    assert!(matches!(refused.cause(), Cause::NoSpace { .. }), "{refused}");
    // Who blocks goes on when there is space, although nothing is received.
    let blocked = Instant::now();
    let until_then = sent + 100;
    let events = queue.observe().unwrap().lanes().unwrap()[0].full_events;
    std::thread::scope(|scope| {
        let all = scope.spawn(|| {
            for number in sent..until_then {
                let len = if number == until_then - 1 { 60_000 } else { 500 };
                sender.send_timeout(&payload(1, number, len), LONG).unwrap();
            }
        });
        until("it blocks", || queue.observe().unwrap().lanes().unwrap()[0].full_events > events);
        assert!(!all.is_finished());
        drop(weight);
        fs::remove_file(dir.join("ballast")).unwrap();
        all.join().unwrap();
    });
    assert!(blocked.elapsed() < LONG / 2, "it slept although there was space");
    receive(&receiver, &mut received, until_then);
}

#[test]
fn a_full_file_system_is_an_answer_and_no_signal() {
    let dir = scratch();
    let mount = dir.path().join("small");
    fs::create_dir(&mount).unwrap();
    let mut child = Role::new("full file system", &mount.join("queue")).start();
    match child.hear().as_deref() {
        Some("done") => assert!(child.succeeded()),
        Some(said) => eprintln!("skipped: {said}"),
        None => panic!("it ended early: {}", child.wait()),
    }
}

#[test]
fn a_receiver_that_is_stopped_costs_what_was_configured_and_gets_everything_later() {
    const EACH: u64 = 600;
    let dir = scratch();
    let options = Queue::options().capacity(RING).overflow_limit(LIMIT).max_lanes(3);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let mut senders: Vec<Sender> = (0..3).map(|_| queue.sender().unwrap()).collect();
    let mut reader = Role::new("reader", queue.path()).start();
    reader.expect("reads");
    let within = |queue: &Queue| {
        let mut observer = queue.observe().unwrap();
        let stat = observer.stat().unwrap();
        assert!(stat.reserved_bytes <= stat.limit_bytes, "{stat:?}");
        for lane in observer.lanes().unwrap() {
            assert!(lane.reserved_bytes <= BASE + LIMIT && lane.depth_bytes <= RING + LIMIT, "{lane:?}");
        }
    };
    let (stop, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                within(&queue);
                let held = queue.observe().unwrap().stat().unwrap().reserved_bytes;
                most.fetch_max(held, Ordering::Relaxed);
            }
        });
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..2 {
                reader.signal(libc::SIGSTOP);
                let before: Vec<u64> =
                    queue.observe().unwrap().lanes().unwrap().iter().map(|it| it.full_events).collect();
                let load: Vec<_> = senders
                    .drain(..)
                    .zip(0..)
                    .map(|(mut sender, id)| {
                        scope.spawn(move || {
                            for number in round * EACH..(round + 1) * EACH {
                                let len = length(id, number, if number % 20 == 0 { 7000 } else { 500 });
                                sender.send_timeout(&payload(id, number, len), LONG).unwrap();
                            }
                            sender
                        })
                    })
                    .collect();
                until("all senders find their lanes full", || {
                    let lanes = queue.observe().unwrap().lanes().unwrap();
                    lanes.iter().zip(&before).all(|(lane, before)| lane.full_events > *before)
                });
                within(&queue);
                reader.signal(libc::SIGCONT);
                senders.extend(load.into_iter().map(|load| load.join().unwrap()));
            }
            senders.drain(..).for_each(Sender::close);
        }));
        stop.store(true, Ordering::Relaxed);
        answer.unwrap();
    });
    reader.expect(&format!("{:?}", [2 * EACH; 3]));
    assert!(reader.succeeded());
    assert!(most.into_inner() > 3 * LIMIT, "the lanes did not grow to their limit");
    trim(&queue);
    // Its sender closed it in a segment, and where it ended there is one unit.
    assert!(held(&queue) <= BASE + layout::GRANULE);
}

/// Messages that [`bursts`] sends, if they find room.
const BURSTS: u64 = 150;

/// The length of message `number`: some do not fit in the ring.
fn long(number: u64) -> usize {
    if number % 25 == 24 { 6000 } else { 500 }
}

/// Bursts, and pauses in which all is read; what finds no room is tried again when there is some. Skips what finds none
/// in an empty lane either, because no segment can be had.
fn bursts(part: &Part) {
    let queue = part.open();
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let progress = File::options().write(true).open(progress_file(&part.queue)).unwrap();
    let say = |promised: u64, handled: u64| {
        progress.write_all_at(&(promised << 32 | handled).to_ne_bytes(), 0).unwrap();
    };
    let (mut waiting, mut handled, mut promised) = (std::collections::VecDeque::new(), 0, 0);
    let mut take = |waiting: &mut std::collections::VecDeque<u64>, promised, count: usize| {
        for _ in 0..count.min(waiting.len()) {
            let message = receiver.try_recv().unwrap();
            let number = waiting.pop_front().unwrap();
            assert_eq!(check(&message.to_vec()), (1, number));
            handled = number + 1;
            say(promised, handled);
        }
        handled
    };
    let mut skipped = 0;
    for number in 0..BURSTS {
        let bytes = payload(1, number, long(number));
        loop {
            match sender.try_send(&bytes) {
                Ok(_) => {
                    waiting.push_back(number);
                    promised = number + 1;
                    let handled = take(&mut waiting, promised, 0);
                    say(promised, handled);
                    break;
                }
                Err(TrySendError::Full | TrySendError::NoSpace) if !waiting.is_empty() => {
                    let some = waiting.len().div_ceil(2);
                    take(&mut waiting, promised, some);
                }
                Err(TrySendError::NoSpace) if bytes.len() > RING as usize => {
                    skipped += 1;
                    break;
                }
                Err(error) => panic!("message {number} of {} bytes: {error}", bytes.len()),
            }
        }
        match number % 40 {
            12 => drop(take(&mut waiting, promised, 8)),
            30 => sender.trim(),
            39 => drop(take(&mut waiting, promised, usize::MAX)),
            _ => {}
        }
        if number % 70 == 69 {
            drop(sender);
            sender = queue.sender().unwrap();
        }
    }
    take(&mut waiting, promised, usize::MAX);
    assert!(receiver.damage().is_empty());
    sender.close();
    part.say(&format!("done, {skipped} skipped"));
}

/// A lane, and the child that bursts in it, under strace with these arguments. None where there is no strace.
fn inject(queue: &Path, inject: &str, log: &Path) -> Option<Peer> {
    fs::write(progress_file(queue), [0; 8]).unwrap();
    let log = log.to_str().unwrap();
    let args = ["-f", "-qq", "-o", log, "-e", "trace=fallocate", "-e", inject];
    match Role::new("bursts", queue).run_by("strace", &args).try_start() {
        Ok(peer) => Some(peer),
        Err(error) => {
            eprintln!("skipped: strace does not start: {error}");
            None
        }
    }
}

/// Whether strace can be used at all.
fn has_strace() -> bool {
    let usable = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output();
    let usable = usable.is_ok_and(|output| output.status.success());
    if !usable {
        eprintln!("skipped: strace is not there, or may not trace");
    }
    usable
}

/// Whatever became of the last sender, nothing of what it committed is missing, the lane goes on, and holds nothing then.
fn all_is_well(queue: &Queue, what: &str) {
    let progress = peek(progress_file(queue.path()), 0);
    let (promised, handled) = (progress >> 32, progress & 0xffff_ffff);
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    let numbers: Vec<u64> = receiver.drain().unwrap().map(|message| check(&message.to_vec()).1).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{what}: {numbers:?}");
    assert!(numbers.first().is_none_or(|first| *first <= handled), "{what}: {handled} seen, now {numbers:?}");
    assert!(
        numbers.last().map_or(handled, |last| last + 1) >= promised,
        "{what}: {promised} promised, now {numbers:?}"
    );
    for (number, len) in [(0, 500), (1, 8000), (2, 3000), (3, 3000), (4, 3000), (5, 20)] {
        sender.try_send(&payload(2, number, len)).unwrap();
    }
    for number in 0..6 {
        assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (2, number));
    }
    sender.close();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    trim(queue);
    assert_eq!(held(queue), BASE, "{what}");
}

fn grown_queue(dir: &tempfile::TempDir) -> Queue {
    let options = Queue::options().capacity(RING).overflow_limit(LIMIT).max_lanes(1).sigbus_guard(false);
    let queue = options.create(dir.path().join("queue")).unwrap();
    drop(queue.sender().unwrap());
    queue
}

/// How many calls there are when none fails.
fn calls() -> usize {
    let dir = scratch();
    let queue = grown_queue(&dir);
    let log = dir.path().join("log");
    let mut child = inject(queue.path(), "inject=fallocate:error=ENOSPC:when=60000", &log).unwrap();
    child.expect("done, 0 skipped");
    assert!(child.succeeded());
    let log = fs::read_to_string(log).unwrap();
    let (back, forth) = log.lines().filter(|line| line.contains("fallocate")).fold((0, 0), |(back, forth), line| {
        if line.contains("PUNCH_HOLE") { (back + 1, forth) } else { (back, forth + 1) }
    });
    assert!(back > 5 && forth > 5, "{back} given back, {forth} reserved");
    back + forth
}

#[test]
fn a_call_that_fails_loses_nothing() {
    if !has_strace() {
        return;
    }
    let most = calls();
    for error in ["ENOSPC", "ENOMEM", "EINTR", "EPERM"] {
        let single = (1..=most).map(|call| format!("{call}"));
        let many = ["1+", "1+2", "2+3", "3..70"].map(str::to_owned);
        for when in single.chain(many) {
            let dir = scratch();
            let queue = grown_queue(&dir);
            let what = format!("inject=fallocate:error={error}:when={when}");
            let mut child = inject(queue.path(), &what, &dir.path().join("log")).unwrap();
            let said = child.hear().unwrap_or_else(|| panic!("{what}: it ended early: {}", child.wait()));
            assert!(said.starts_with("done"), "{what}: {said}");
            assert!(child.succeeded(), "{what}");
            all_is_well(&queue, &what);
        }
    }
}

#[test]
fn a_kill_at_each_call_loses_nothing() {
    if !has_strace() {
        return;
    }
    for call in 1..=calls() {
        let dir = scratch();
        let queue = grown_queue(&dir);
        let what = format!("inject=fallocate:signal=KILL:when={call}");
        let mut child = inject(queue.path(), &what, &dir.path().join("log")).unwrap();
        assert_eq!(child.hear(), None, "{what}: it was not killed");
        assert!(!child.succeeded());
        all_is_well(&queue, &what);
    }
}
