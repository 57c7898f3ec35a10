//! Receivers in event loops, and many of them on one thread, with each mechanism of the bridge: processes that send, are killed before
//! they ring, and receivers that die armed. Cannot see orderings: for those there is `loom-tests/tests/event.rs`.

mod support;

use laneway::event::{self, Events, Mechanism, Rearmed, Selector};
use laneway::{Queue, Receiver, Sender, TryRecvError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use support::{LONG, Role, check, payload, peek, poke, scratch, small_queue};

const MECHANISMS: [Mechanism; 3] = [Mechanism::WaitAny, Mechanism::Threads, Mechanism::Polling];

/// Runs `test` with each mechanism, one test at a time: which one is in force is the process's.
fn with_each(test: impl Fn()) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn: MutexGuard<'_, ()> = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for mechanism in MECHANISMS {
        event::force(Some(mechanism));
        assert_eq!(event::mechanism(), mechanism);
        test();
    }
    event::force(None);
}

/// Whether the descriptor is readable, or becomes so in that time.
fn readable(events: &impl AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() == 1
}

fn is_readable(events: &impl AsFd) -> bool {
    readable(events, Duration::ZERO)
}

fn sleeps(queue: &Queue) -> u32 {
    peek(queue.path().join("receiver"), laneway::layout::receiver::SLEEPS) as u32
}

fn seq(queue: &Queue) -> u32 {
    peek(queue.path().join("bell"), laneway::layout::bell::SEQ) as u32
}

#[test]
fn a_descriptor_is_readable_from_a_message_until_it_is_rearmed() {
    with_each(|| {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let (mut sender, mut receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        let events = Events::new(&mut receiver).unwrap();
        assert!(is_readable(&events), "the first turn looks");
        assert_eq!(events.rearm(), Rearmed::Quiet);
        assert!(!is_readable(&events));
        for number in 0..100 {
            sender.send(&payload(1, number, 20)).unwrap();
            assert!(readable(&events, LONG));
            assert!(is_readable(&events), "level-triggered");
            assert_eq!(check(&events.mail().try_recv().unwrap().to_vec()), (1, number));
            assert!(is_readable(&events), "until it is rearmed");
            assert_eq!(events.rearm(), Rearmed::Quiet);
            assert!(!is_readable(&events));
        }
    });
}

#[test]
fn the_word_says_asleep_while_armed_and_awake_otherwise() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let events = Events::new(receiver).unwrap();
    assert_eq!(sleeps(&queue) % 2, 0);
    assert_eq!(events.rearm(), Rearmed::Quiet);
    let (first, rung) = (sleeps(&queue), seq(&queue));
    assert_eq!(first % 2, 1);
    for _ in 0..10 {
        sender.send(b"a burst").unwrap();
    }
    assert_eq!(seq(&queue), rung.wrapping_add(1), "one ring for each arming");
    assert_eq!(events.mail().try_iter().count(), 10);
    assert_eq!(sleeps(&queue) % 2, 0, "awake");
    sender.send(b"to one who is awake").unwrap();
    assert_eq!(seq(&queue), rung.wrapping_add(1), "nobody rings");
    // There is mail: not armed, readable.
    assert_eq!(events.rearm(), Rearmed::Ready);
    assert!(is_readable(&events) && !events.is_armed());
    assert_eq!(sleeps(&queue) % 2, 0);
    assert_eq!(events.mail().try_iter().count(), 1);
    assert_eq!(events.rearm(), Rearmed::Quiet);
    assert!(sleeps(&queue) > first && sleeps(&queue) % 2 == 1);
    let receiver = events.into_inner();
    assert_eq!(sleeps(&queue) % 2, 0);
    drop(receiver);
}

#[test]
fn who_waits_in_recv_meanwhile_and_rearms_misses_nothing() {
    with_each(|| {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        let events = Events::new(receiver).unwrap();
        let mail: &Receiver = events.mail();
        assert_eq!(events.rearm(), Rearmed::Quiet);
        sender.send(b"one").unwrap();
        assert_eq!(mail.recv().unwrap().to_vec(), b"one");
        assert!(mail.recv_timeout(Duration::from_millis(5)).is_err());
        assert_eq!(events.rearm(), Rearmed::Quiet);
        sender.send(b"two").unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(mail.try_recv().unwrap().to_vec(), b"two");
    });
}

/// What it says of a message that nobody rang for, and of a lane that nobody announced, within the bound of a sleep.
#[test]
fn a_message_whose_sender_was_killed_before_it_rang_is_found_without_waking_anybody_else() {
    with_each(|| {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        let events = Events::new(receiver).unwrap();
        assert_eq!(events.rearm(), Rearmed::Quiet);
        assert!(!readable(&events, Duration::from_millis(350)), "an idle queue wakes nobody");
        sender.try_send_quietly(b"and killed").unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_recv().unwrap().to_vec(), b"and killed");
        assert_eq!(events.rearm(), Rearmed::Quiet);

        // The same through a lane that comes while it is armed.
        let mut second = queue.sender().unwrap();
        second.try_send_quietly(b"and killed too").unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_recv().unwrap().to_vec(), b"and killed too");
        assert_eq!(events.rearm(), Rearmed::Quiet);
        assert!(!readable(&events, Duration::from_millis(250)));
        second.try_send_quietly(b"again").unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_iter().count(), 1);
        assert_eq!(events.rearm(), Rearmed::Quiet);

        queue.clone().destroy().unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_recv().unwrap_err(), TryRecvError::Detached);
        assert_eq!(events.rearm(), Rearmed::Ready);
    });
}

#[test]
fn the_end_is_readable() {
    with_each(|| {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let (sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        let events = Events::new(receiver).unwrap();
        assert_eq!(events.rearm(), Rearmed::Quiet);
        sender.close();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_recv().unwrap_err(), TryRecvError::Closed);
        assert_eq!(events.rearm(), Rearmed::Ready);
        assert!(is_readable(&events));
    });
}

/// A word that is left odd by one that died, and rings that were for it.
#[test]
fn a_receiver_that_died_armed_leaves_one_that_is_told() {
    with_each(|| {
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let mut sender = queue.sender().unwrap();
        for round in 0..5u64 {
            let mut armed = Role::new("arm", queue.path()).start();
            armed.expect("armed");
            assert_eq!(sleeps(&queue) % 2, 1);
            if round % 2 == 0 {
                sender.send(&payload(1, round, 20)).unwrap();
            }
            armed.kill();
            let events = Events::new(queue.receiver().unwrap()).unwrap();
            let found = events.mail().try_iter().count();
            assert_eq!(found, usize::from(round % 2 == 0));
            assert_eq!(events.rearm(), Rearmed::Quiet);
            sender.send(&payload(2, round, 20)).unwrap();
            assert!(readable(&events, LONG));
            assert_eq!(check(&events.mail().try_recv().unwrap().to_vec()), (2, round));
        }
    });
}

#[test]
fn a_process_wakes_a_loop_with_every_message() {
    with_each(|| {
        const ROUNDS: u64 = 300;
        let dir = scratch();
        let queue = small_queue(&dir, 4);
        let events = Events::new(queue.receiver().unwrap()).unwrap();
        let mut sender = Role::new("send", queue.path()).with("COUNT", ROUNDS).start();
        let mut next = 0;
        while next < ROUNDS {
            assert!(readable(&events, LONG), "message {next} woke nobody");
            for message in events.mail().try_iter() {
                assert_eq!(check(&message.to_vec()), (7, next));
                next += 1;
            }
            let _ = events.rearm();
        }
        assert!(sender.succeeded());
    });
}

#[test]
fn a_selector_takes_turns() {
    with_each(|| {
        let dir = scratch();
        let mut selector = Selector::new();
        let mut senders: Vec<Sender> = Vec::new();
        let mut keys = Vec::new();
        for number in 0..3 {
            let queue = Queue::create(dir.path().join(number.to_string())).unwrap();
            senders.push(queue.sender().unwrap());
            keys.push(selector.add(queue.receiver().unwrap()).unwrap());
        }
        // Before it has looked for the first time: who is told of later has its turn later.
        for (sender, count) in senders.iter_mut().zip([30, 2, 10]) {
            (0..count).for_each(|number| _ = sender.send(&payload(0, number, 16)).unwrap());
        }
        let mut order = Vec::new();
        while let Some(selected) = selector.recv_timeout(Duration::from_millis(300)) {
            drop(selected.message.unwrap());
            order.push(keys.iter().position(|key| *key == selected.key).unwrap());
        }
        assert_eq!(order.len(), 42);
        assert!(selector.try_recv().is_none());
        let mut first: Vec<usize> = order[..6].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 0, 1, 1, 2, 2], "each that has some, in turn: {order:?}");
        assert_eq!(order[6..22].iter().filter(|of| **of == 2).count(), 8, "{order:?}");

        senders.remove(1).close();
        let said = |selected: event::Selected<'_>| (selected.key, selected.message.unwrap_err());
        assert_eq!(said(selector.recv_timeout(LONG).unwrap()), (keys[1], TryRecvError::Closed));
        assert!(selector.recv_timeout(Duration::from_millis(250)).is_none(), "said once");
        let reopened = Queue::open(dir.path().join("1")).unwrap();
        reopened.sender().unwrap().send(b"back").unwrap();
        assert_eq!(selector.recv().unwrap().message.unwrap().to_vec(), b"back");

        reopened.destroy().unwrap();
        assert_eq!(said(selector.recv().unwrap()), (keys[1], TryRecvError::Detached));
        assert!(selector.recv_timeout(Duration::from_millis(250)).is_none());
        assert!(selector.remove(keys[1]).is_some() && selector.remove(keys[1]).is_none());
        assert_eq!(selector.len(), 2);
        senders[0].send(b"still there").unwrap();
        assert_eq!(selector.recv().unwrap().key, keys[0]);
    });
}

#[test]
fn five_hundred_queues_on_one_thread() {
    const QUEUES: u64 = 500;
    support::open_many_files();
    const EACH: u64 = 5;
    with_each(|| {
        let dir = scratch();
        let mut selector = Selector::new();
        let mut senders = Vec::new();
        let mut numbers = BTreeMap::new();
        for number in 0..QUEUES {
            let queue = small_queue_at(dir.path().join(number.to_string()));
            senders.push(queue.sender().unwrap());
            numbers.insert(selector.add(queue.receiver().unwrap()).unwrap(), (number, 0));
        }
        let sending = std::thread::spawn(move || {
            for message in 0..EACH {
                for (sender, number) in senders.iter_mut().zip(0..) {
                    sender.send(&payload(number, message, 24)).unwrap();
                }
                // Once all were asleep again, and once not.
                std::thread::sleep(Duration::from_millis(if message % 2 == 0 { 30 } else { 0 }));
            }
            senders
        });
        for _ in 0..QUEUES * EACH {
            let selected = selector.recv_timeout(LONG).expect("it comes");
            let (number, next) = numbers.get_mut(&selected.key).unwrap();
            assert_eq!(check(&selected.message.unwrap().to_vec()), (*number, *next));
            *next += 1;
        }
        assert!(selector.try_recv().is_none());
        drop(sending.join().unwrap());
    });
}

fn small_queue_at(path: std::path::PathBuf) -> Queue {
    Queue::options().capacity(4096).overflow_limit(0).max_lanes(2).create(path).unwrap()
}

/// Threads of this process that the bridge has begun, by their names.
#[test]
fn a_thread_sleeps_for_many_and_those_that_sleep_for_one_go_with_it() {
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task").unwrap();
        let names = names.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        names.filter(|name| name.trim() == "laneway-bridge").count()
    };
    let dir = scratch();
    with_each(|| {
        let before = threads();
        let many: Vec<_> = (0..130)
            .map(|number| {
                let queue = small_queue_at(dir.path().join(format!("{:?}-{number}", event::mechanism())));
                Events::new(queue.receiver().unwrap()).unwrap()
            })
            .collect();
        many.iter().for_each(|events| assert_eq!(events.rearm(), Rearmed::Quiet));
        let most = match event::mechanism() {
            Mechanism::Threads => 130,
            Mechanism::WaitAny => 2,
            _ => 1,
        };
        assert!(threads() <= before + most, "{} threads", threads());
        drop(many);
        let began = Instant::now();
        while event::mechanism() == Mechanism::Threads && threads() > before {
            assert!(began.elapsed() < LONG, "{} threads are left", threads());
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "arm" => {
            let events = Events::new(part.open().receiver().unwrap()).unwrap();
            let _ = events.mail().try_iter().count();
            assert_eq!(events.rearm(), Rearmed::Quiet);
            part.say("armed");
            part.pause();
        }
        "send" => {
            let mut sender = part.open().sender().unwrap();
            for number in 0..part.number("COUNT") {
                sender.send(&payload(7, number, 40)).unwrap();
                if number % 3 != 0 {
                    // Now and then the loop falls asleep in between.
                    std::thread::sleep(Duration::from_micros(200 * (number % 5)));
                }
            }
        }
        "fork" => {
            let events = Events::new(part.open().receiver().unwrap()).unwrap();
            assert_eq!(events.rearm(), Rearmed::Quiet);
            // SAFETY: this is the only thread but for the bridge's, and what the child does needs nothing that those hold.
            #[expect(unsafe_code, reason = "fork")]
            let child = unsafe { libc::fork() };
            if child == 0 {
                let path = part.queue.with_file_name("of-the-child");
                let queue = Queue::options().capacity(4096).create(path).unwrap();
                let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
                let own = Events::new(receiver).unwrap();
                let quiet = own.rearm() == Rearmed::Quiet;
                sender.send(b"in the child").unwrap();
                let told = quiet && readable(&own, LONG) && own.mail().try_recv().is_ok();
                // SAFETY: it ends the process, without touching what its parent attached.
                #[expect(unsafe_code, reason = "the parent's handles are not to be dropped here")]
                unsafe {
                    libc::_exit(if told { 7 } else { 8 })
                }
            }
            let mut status = 0;
            // SAFETY: the status is ours.
            #[expect(unsafe_code, reason = "waiting for what was forked")]
            let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!((ended, libc::WEXITSTATUS(status)), (child, 7));
            part.say("forked");
            assert!(readable(&events, LONG), "the parent's bridge goes on");
            part.say(&events.mail().try_recv().unwrap().len().to_string());
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_forked_child_has_a_bridge_of_its_own() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let mut forking = Role::new("fork", queue.path()).start();
    forking.expect("forked");
    queue.sender().unwrap().send(b"hello").unwrap();
    forking.expect("5");
    assert!(forking.succeeded());
}

/// What a scribbler makes of the word costs wake-ups only.
#[test]
fn a_word_that_somebody_scribbled_over_says_asleep_again_when_it_is_armed() {
    let dir = scratch();
    let queue = small_queue(&dir, 4);
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let events = Events::new(receiver).unwrap();
    for word in [0u32, 1, 6, u32::MAX, u32::MAX - 1] {
        poke(queue.path().join("receiver"), laneway::layout::receiver::SLEEPS, &word.to_ne_bytes());
        assert_eq!(events.rearm(), Rearmed::Quiet);
        assert_eq!(sleeps(&queue) % 2, 1);
        sender.send(b"hello").unwrap();
        assert!(readable(&events, LONG));
        assert_eq!(events.mail().try_iter().count(), 1);
    }
}
