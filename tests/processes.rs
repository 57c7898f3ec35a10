//! Real processes: one sender or many, a receiver that leaves and comes back, a second one that is refused until the
//! first is gone, lanes that run out and are taken over, both kinds of waiting and waking, a queue that is removed
//! under its users, and futex words that pass 2^32. Whether a wake-up came from the other side or from the end of a
//! bounded sleep is told by the counts, not by a clock. The schedule is the machine's own, so a race that it does not
//! produce is not seen; the loom models are for those.

mod support;

use laneway::{Cause, Queue, RecvError, SendError, TryRecvError, Wait, layout};
use nix::sys::resource::Resource;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::{LONG, Part, Role, check, length, payload, peek, poke, scratch, slot, small_queue};

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "send" => send(&part),
        "receive" => receive(&part),
        "hold a lane" => {
            let _sender = part.open().sender().unwrap();
            part.say("attached");
            part.pause();
        }
        "hold the receiver" => {
            let _receiver = part.open().receiver().unwrap();
            part.say("attached");
            part.pause();
        }
        "try to receive" => {
            let error = part.open().receiver().unwrap_err();
            assert!(matches!(error.cause(), Cause::AlreadyReceiving), "{error}");
            part.say("refused");
        }
        "wait for room" => {
            let mut sender = part.open().sender().unwrap();
            sender.set_wait(Wait::Park);
            while sender.try_send(&payload(0, 0, 400)).is_ok() {}
            part.say("full");
            for number in 1..=part.number("COUNT") {
                sender.send(&payload(0, number, 400)).unwrap();
            }
            let stats = sender.wait_stats();
            part.say(&format!("{} {}", stats.wakes, stats.expired));
            part.pause();
        }
        "wait for mail" => {
            let receiver = part.open().receiver().unwrap();
            receiver.set_wait(Wait::Park);
            part.say("attached");
            for number in 0..part.number("COUNT") {
                assert_eq!(check(&receiver.recv().unwrap().to_vec()), (0, number));
                part.say("got");
            }
            let stats = receiver.wait_stats();
            part.say(&format!("{} {}", stats.wakes, stats.expired));
        }
        "list without descriptors" => {
            // Fills the gaps: the limit is one of numbers.
            let all: Vec<_> = (0..64).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
            let highest = all.iter().map(AsRawFd::as_raw_fd).max().unwrap();
            let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            // One for the root and one to list it, and none to look at what is in it.
            nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, highest as u64 + 3, hard).unwrap();
            let answer = Queue::list(part.queue.parent().unwrap());
            nix::sys::resource::setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
            part.say(&answer.map_or_else(|error| error.to_string(), |names| format!("{names:?}")));
        }
        "wait until detached" => {
            let queue = part.open();
            let error = if part.number("SENDS") == 1 {
                let mut sender = queue.sender().unwrap();
                while sender.try_send(&[1; 400]).is_ok() {}
                part.say("attached");
                sender.send(&[1; 400]).map(|_| ()).unwrap_err() == SendError::Detached
            } else {
                let receiver = queue.receiver().unwrap();
                part.say("attached");
                receiver.recv().map(|_| ()).unwrap_err() == RecvError::Detached
            };
            assert!(error);
            part.say("detached");
        }
        other => panic!("{other}"),
    }
}

fn send(part: &Part) {
    let mut sender = part.open().sender().unwrap();
    let (number, max) = (part.number("NUMBER"), part.number("MAX"));
    for i in 0..part.number("COUNT") {
        sender.send(&payload(number, i, length(number, i, max))).unwrap();
    }
    sender.close();
}

/// Receives `COUNT` messages, or all there are, and says how many it got of each sender, in order from `FROM` on.
fn receive(part: &Part) {
    let receiver = part.open().receiver().unwrap();
    let (max, senders) = (part.number("MAX"), part.number("SENDERS"));
    let mut next: Vec<u64> = (0..senders).map(|sender| part.number(&format!("FROM{sender}"))).collect();
    let mut left = part.number("COUNT");
    while left > 0 {
        match receiver.recv() {
            Ok(message) => {
                let bytes = message.to_vec();
                let (sender, number) = check(&bytes);
                assert_eq!(number, next[sender as usize], "sender {sender}");
                assert_eq!(bytes.len(), length(sender, number, max));
                next[sender as usize] += 1;
                left -= 1;
            }
            Err(RecvError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    part.say(&next.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
}

/// Senders in processes of their own, and receivers too, one after the other, which take `shares` and then the rest.
fn exchange(senders: u64, count: u64, max: u64, capacity: u64, shares: &[u64]) {
    let dir = scratch();
    let queue = Queue::options().capacity(capacity).max_lanes(senders as u32).create(dir.path().join("queue")).unwrap();
    let mut running: Vec<_> = (0..senders)
        .map(|number| {
            Role::new("send", queue.path()).with("NUMBER", number).with("COUNT", count).with("MAX", max).start()
        })
        .collect();
    // Before that, a receiver could find that all the senders there are have closed.
    let mut observer = queue.observe().unwrap();
    let started = std::time::Instant::now();
    while (observer.lanes().unwrap().len() as u64) < senders {
        assert!(started.elapsed() < LONG, "a sender did not come");
        std::thread::yield_now();
    }
    let mut from = vec![0; senders as usize];
    for share in shares.iter().copied().chain([u64::MAX]) {
        let mut role =
            Role::new("receive", queue.path()).with("COUNT", share).with("MAX", max).with("SENDERS", senders);
        for (sender, from) in from.iter().enumerate() {
            role = role.with(&format!("FROM{sender}"), *from);
        }
        let mut receiver = role.start();
        let said = receiver.hear().expect("the receiver failed");
        let next: Vec<u64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
        if share < u64::MAX {
            assert_eq!(next.iter().sum::<u64>() - from.iter().sum::<u64>(), share);
        }
        from = next;
        assert!(receiver.succeeded());
    }
    assert_eq!(from, vec![count; senders as usize]);
    assert!(running.iter_mut().all(support::Peer::succeeded));
}

#[test]
fn one_sender_and_one_receiver_lose_nothing_and_keep_the_order() {
    exchange(1, 20_000, 200, 4096, &[]);
}

#[test]
fn four_senders_lose_nothing_and_each_keeps_its_order() {
    exchange(4, 20_000, 120, 1 << 16, &[]);
}

#[test]
fn a_receiver_that_is_replaced_in_the_middle_loses_and_repeats_nothing() {
    exchange(2, 8_000, 300, 4096, &[1, 5_000, 777, 0, 3_000]);
}

#[test]
fn a_second_receiver_is_refused_and_let_in_as_soon_as_the_first_is_killed() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    queue.sender().unwrap().send(b"kept").unwrap();
    let refused = |queue: &Queue| {
        let error = queue.receiver().unwrap_err();
        assert!(matches!(error.cause(), Cause::AlreadyReceiving), "{error}");
    };
    let here = queue.receiver().unwrap();
    // In this process, through the same handle and another one, and in another process.
    refused(&queue);
    refused(&Queue::open(queue.path()).unwrap());
    let mut other = Role::new("try to receive", queue.path()).start();
    other.expect("refused");
    assert!(other.succeeded());
    drop(here);
    for _ in 0..10 {
        let mut first = Role::new("hold the receiver", queue.path()).start();
        first.expect("attached");
        assert!(queue.observe().unwrap().receiver_alive().unwrap());
        refused(&queue);
        first.kill();
        assert!(!queue.observe().unwrap().receiver_alive().unwrap());
        drop(queue.receiver().unwrap());
    }
    // A process that is stopped lives: nobody takes its place, whatever the clock says.
    let mut first = Role::new("hold the receiver", queue.path()).start();
    first.expect("attached");
    first.signal(libc::SIGSTOP);
    refused(&queue);
    first.signal(libc::SIGCONT);
    first.go();
    assert!(first.succeeded());
    assert_eq!(queue.receiver().unwrap().recv().unwrap().to_vec(), b"kept");
}

#[test]
fn more_senders_than_lanes_are_refused_until_one_leaves() {
    let dir = scratch();
    let queue = small_queue(&dir, 3);
    let mut held: Vec<_> = (0..2).map(|_| Role::new("hold a lane", queue.path()).start()).collect();
    held.iter_mut().for_each(|child| child.expect("attached"));
    let here = queue.sender().unwrap();
    let error = queue.sender().unwrap_err();
    assert!(matches!(error.cause(), Cause::TooManySenders { max_lanes: 3, usable: 3 }), "{error}");
    assert!(error.to_string().contains("all of its 3 lanes"), "{error}");
    // One that is killed, one that goes, one that is dropped: each leaves its lane to the next.
    held[0].kill();
    let first = queue.sender().unwrap();
    assert!(queue.sender().is_err());
    held[1].go();
    assert!(held[1].succeeded());
    let second = queue.sender().unwrap();
    assert!(queue.sender().is_err());
    let number = here.lane();
    drop(here);
    assert_eq!(queue.sender().unwrap().lane(), number);
    assert_ne!(first.lane(), second.lane());
    assert_eq!(queue.observe().unwrap().lanes().unwrap().len(), 3, "no lane was added");
}

#[test]
fn a_lane_is_used_again_by_process_after_process() {
    let dir = scratch();
    let queue = small_queue(&dir, 2);
    let receiver = queue.receiver().unwrap();
    for number in 0..20 {
        let mut sender =
            Role::new("send", queue.path()).with("NUMBER", number).with("COUNT", 50).with("MAX", 400).start();
        let started = std::time::Instant::now();
        for i in 0..50 {
            let message = loop {
                match receiver.recv_timeout(LONG) {
                    // Until it comes, the only lane that there is has closed.
                    Err(RecvError::Closed) if i == 0 && started.elapsed() < LONG => std::thread::yield_now(),
                    answer => break answer.unwrap(),
                }
            };
            assert_eq!((check(&message.to_vec()), message.lane()), ((number, i), 0));
        }
        assert!(sender.succeeded());
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    }
    assert_eq!(queue.observe().unwrap().lanes().unwrap()[0].attaches, 20);
}

/// Wakes and ends of bounded sleeps that a child has counted.
fn counts(said: &str) -> (u64, u64) {
    let (wakes, expired) = said.split_once(' ').unwrap();
    (wakes.parse().unwrap(), expired.parse().unwrap())
}

/// Without wake-ups every sleep would last to its bound; with them only one whose waker was held up for that long. How
/// many sleeps there are is open: who announces a sleep looks once more, and may find what it was to sleep for.
#[track_caller]
fn woken(wakes: u64, expired: u64) {
    assert!(wakes > expired, "{wakes} sleeps were ended by the other side, {expired} by their bound");
}

/// Waits until the word at `offset` of a file says that its owner sleeps.
fn until_asleep(file: PathBuf, offset: usize) {
    let started = std::time::Instant::now();
    while peek(&file, offset) & 1 == 0 {
        assert!(started.elapsed() < LONG, "it never slept");
        std::thread::yield_now();
    }
}

#[test]
fn a_sender_that_waits_for_room_is_woken_by_the_receiver() {
    const COUNT: u64 = 40;
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut child = Role::new("wait for room", queue.path()).with("COUNT", COUNT).start();
    child.expect("full");
    let receiver = queue.receiver().unwrap();
    let mut last = 0;
    while last < COUNT {
        if last < COUNT - 10 {
            until_asleep(queue.path().join("lane-000"), layout::lane::SLEEPS);
        }
        (_, last) = check(&receiver.recv_timeout(LONG).unwrap().to_vec());
    }
    let (wakes, expired) = counts(&child.hear().unwrap());
    woken(wakes, expired);
    child.go();
    assert!(child.succeeded());
}

#[test]
fn a_receiver_that_sleeps_is_woken_by_the_sender_once_for_each_sleep() {
    const COUNT: u64 = 60;
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut child = Role::new("wait for mail", queue.path()).with("COUNT", COUNT).start();
    child.expect("attached");
    let mut sender = queue.sender().unwrap();
    for number in 0..COUNT {
        until_asleep(queue.path().join("receiver"), layout::receiver::SLEEPS);
        sender.send(&payload(0, number, 40)).unwrap();
        child.expect("got");
    }
    let (wakes, expired) = counts(&child.hear().unwrap());
    woken(wakes, expired);
    let rings = sender.wait_stats().rings;
    assert!((1..=COUNT).contains(&rings), "{rings} rings for {COUNT} messages");
    assert!(child.succeeded());
}

#[test]
fn counts_of_sleeps_and_rings_pass_two_to_the_32() {
    const ROUNDS: u64 = 60;
    let dir = scratch();
    let [there, back] = ["there", "back"].map(|name| {
        let queue =
            Queue::options().capacity(4096).overflow_limit(0).max_lanes(1).create(dir.path().join(name)).unwrap();
        drop(queue.sender().unwrap());
        let near = |back: u32| (u32::MAX - back).to_ne_bytes();
        poke(queue.path().join("bell"), layout::bell::SEQ, &near(1));
        // Both even and odd: whoever died asleep left it odd.
        poke(queue.path().join("receiver"), layout::receiver::SLEEPS, &near(8));
        poke(queue.path().join("receiver"), slot(0) + layout::slot::SEQ, &near(1));
        poke(queue.path().join("lane-000"), layout::lane::SLEEPS, &near(7));
        queue
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut sender, receiver) = (back.sender().unwrap(), there.receiver().unwrap());
            receiver.set_wait(Wait::Park);
            for _ in 0..ROUNDS {
                let bytes = receiver.recv_timeout(LONG).unwrap().to_vec();
                until_asleep(back.path().join("receiver"), layout::receiver::SLEEPS);
                sender.send(&bytes).unwrap();
            }
        });
        let (mut sender, receiver) = (there.sender().unwrap(), back.receiver().unwrap());
        receiver.set_wait(Wait::Park);
        for number in 0..ROUNDS {
            until_asleep(there.path().join("receiver"), layout::receiver::SLEEPS);
            sender.send(&payload(0, number, 50)).unwrap();
            assert_eq!(check(&receiver.recv_timeout(LONG).unwrap().to_vec()), (0, number));
        }
        let stats = receiver.wait_stats();
        woken(stats.wakes, stats.expired);
    });
    // Room, too: a sender that waits in a full ring whose words pass 2^32 with each sleep.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = there.sender().unwrap();
            sender.set_wait(Wait::Park);
            for number in 0..400 {
                sender.send_timeout(&payload(1, number, 1000), LONG).unwrap();
            }
        });
        let receiver = there.receiver().unwrap();
        for number in 0..400 {
            // It has more left than the ring can hold.
            if number % 20 == 0 {
                until_asleep(there.path().join("lane-000"), layout::lane::SLEEPS);
            }
            assert_eq!(check(&receiver.recv_timeout(LONG).unwrap().to_vec()), (1, number));
        }
    });
    for queue in [&there, &back] {
        let small = |file: &str, offset: usize| (peek(queue.path().join(file), offset) as u32) < 1 << 31;
        assert!(small("bell", layout::bell::SEQ) && small("receiver", layout::receiver::SLEEPS));
    }
    assert!((peek(there.path().join("lane-000"), layout::lane::SLEEPS) as u32) < 1 << 31);
    assert!((peek(there.path().join("receiver"), slot(0) + layout::slot::SEQ) as u32) < 1 << 31);
}

#[test]
fn two_queues_have_nothing_to_do_with_each_other() {
    let dir = scratch();
    let queues = ["one", "other"].map(|name| Queue::create(dir.path().join(name)).unwrap());
    let receivers = queues.each_ref().map(|queue| queue.receiver().unwrap());
    let mut children: Vec<_> = (0..2)
        .map(|i| {
            let role = Role::new("send", queues[i as usize].path());
            role.with("NUMBER", i).with("COUNT", 500).with("MAX", 100).start()
        })
        .collect();
    for (sender, receiver) in (0..).zip(&receivers) {
        for number in 0..500 {
            assert_eq!(check(&receiver.recv_timeout(LONG).unwrap().to_vec()), (sender, number));
        }
    }
    assert!(children.iter_mut().all(support::Peer::succeeded));
    assert_eq!(Queue::list(dir.path()).unwrap(), ["one", "other"]);
    let [one, other] = queues;
    one.destroy().unwrap();
    assert_eq!(Queue::list(dir.path()).unwrap(), ["other"]);
    other.sender().unwrap().send(b"still here").unwrap();
    assert_eq!(receivers[1].recv_timeout(LONG).unwrap().to_vec(), b"still here");
}

#[test]
fn a_queue_that_cannot_be_looked_at_for_want_of_descriptors_is_not_left_out_of_a_list() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let mut child = Role::new("list without descriptors", queue.path()).start();
    let said = child.hear().unwrap();
    assert!(said.contains("Too many open files"), "{said}");
    assert!(child.succeeded());
}

#[test]
fn who_waits_on_a_queue_that_is_removed_is_told_so() {
    for sends in [0, 1] {
        let dir = scratch();
        let queue = small_queue(&dir, 2);
        let path = queue.path().to_owned();
        let mut child = Role::new("wait until detached", &path).with("SENDS", sends).start();
        child.expect("attached");
        let mut observer = queue.observe().unwrap();
        queue.destroy().unwrap();
        child.expect("detached");
        assert!(child.succeeded());
        assert!(matches!(observer.stat().unwrap_err().cause(), Cause::Detached));
        assert!(matches!(Queue::open(&path).unwrap_err().cause(), Cause::NotFound));
    }
}

#[test]
fn who_is_attached_to_a_queue_that_is_removed_keeps_what_it_has_and_gets_no_new_handles() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    sender.send(b"before").unwrap();
    Queue::open(queue.path()).unwrap().destroy().unwrap();
    // A new queue of the same name is another queue.
    let new = small_queue(&dir, 4);
    sender.send(b"after").unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"before");
    assert_eq!(receiver.recv().unwrap().to_vec(), b"after");
    assert_eq!(receiver.recv_timeout(LONG).unwrap_err(), RecvError::Detached);
    while sender.try_send(&[0; 300]).is_ok() {}
    assert_eq!(sender.send_timeout(&[0; 300], LONG).unwrap_err(), SendError::Detached);
    for error in [queue.sender().unwrap_err(), queue.observe().unwrap_err(), queue.clone().destroy().unwrap_err()] {
        assert!(matches!(error.cause(), Cause::Detached), "{error}");
    }
    assert!(new.observe().unwrap().lanes().unwrap().is_empty(), "the new queue was touched");
    assert!(new.receiver().unwrap().try_recv().is_err());
}

#[test]
fn a_program_that_is_started_inherits_neither_lanes_nor_locks() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    // It lives longer than the handles, and waits for its input to end.
    let mut other = Command::new("/bin/cat").arg0("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let fds = std::fs::read_dir(format!("/proc/{}/fd", other.id())).unwrap();
    let held: Vec<_> = fds.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).collect();
    assert!(held.iter().all(|file| !file.starts_with(dir.path())), "{held:?}");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", other.id())).unwrap();
    assert!(!maps.contains(dir.path().to_str().unwrap()));
    drop((sender, receiver));
    assert_eq!(queue.sender().unwrap().lane(), 0);
    drop(queue.receiver().unwrap());
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
}

#[test]
fn a_timeout_of_nothing_and_one_beyond_all_clocks_are_both_legal() {
    let dir = scratch();
    let queue = small_queue(&dir, 1);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    for wait in [Wait::Spin, Wait::Adaptive, Wait::Park] {
        receiver.set_wait(wait);
        sender.set_wait(wait);
        assert_eq!(receiver.recv_timeout(Duration::ZERO).unwrap_err(), RecvError::Timeout);
        sender.send_timeout(b"there", Duration::MAX).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::MAX).unwrap().to_vec(), b"there");
        while sender.try_send(&[0; 500]).is_ok() {}
        assert_eq!(sender.send_timeout(&[0; 500], Duration::from_millis(1)).unwrap_err(), SendError::Timeout);
        assert!(receiver.try_iter().count() > 0);
    }
}
