//! Senders and receivers that are killed (SIGKILL) in full flight, wherever that finds them.

use super::victim::progress_file;
use super::{LONG, Part, Rng, Role, check, length, payload, peek};
use laneway::{Queue, RecvError, Wait};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The length of a message that a sender in flight sends: up to a number, and now and then ten times that.
fn flying(sender: u64, number: u64, max: u64, grows: bool) -> usize {
    length(sender, number, if grows && number % 50 == 49 { 10 * max } else { max })
}

fn grows(queue: &Queue) -> bool {
    u64::from(queue.max_message()) > queue.capacity()
}

/// A child's part: sends as fast as it can, and says in a file how far it got.
pub(crate) fn flood(part: &Part) {
    let queue = part.open();
    let mut sender = queue.sender().unwrap();
    let promised = File::options().write(true).open(progress_file(&part.queue)).unwrap();
    let (round, max) = (part.number("ROUND"), part.number("MAX"));
    for i in 0.. {
        sender.send(&payload(round, i, flying(round, i, max, grows(&queue)))).unwrap();
        // Not after each: that would spend nearly all of its time, and so its deaths, in the kernel.
        if i % 16 == 0 {
            promised.write_all_at(&(i + 1).to_ne_bytes(), 0).unwrap();
        }
    }
}

/// Kills one sender after the other, each after up to `most` of its messages; says how often something was left in
/// segments. What comes is an exact prefix each time.
pub(crate) fn senders_are_killed(queue: &Queue, max: u64, rounds: u64, most: u64) -> u64 {
    let receiver = queue.receiver().unwrap();
    let mut rng = Rng(42);
    let mut grown = 0;
    for round in 0..rounds {
        std::fs::write(progress_file(queue.path()), [0; 8]).unwrap();
        let mut victim = Role::new("flood", queue.path()).with("ROUND", round).with("MAX", max).start();
        let after = rng.below(most);
        let mut next = 0;
        let mut take = |message: laneway::Message<'_>| {
            assert_eq!(check(&message.to_vec()), (round, next));
            let len = flying(round, next, max, grows(queue));
            assert_eq!(message.len(), len, "message {next} of round {round}");
            next += 1;
        };
        for _ in 0..after {
            take(receiver.recv_timeout(LONG).unwrap());
        }
        for _ in 0..rng.below(2_000) {
            std::hint::spin_loop();
        }
        victim.kill();
        grown += u64::from(queue.observe().unwrap().stat().unwrap().segment_bytes > 0);
        let promised = peek(progress_file(queue.path()), 0);
        receiver.drain().unwrap().for_each(&mut take);
        assert!(next >= promised, "{promised} were promised, {next} came");
    }
    let lanes = queue.observe().unwrap().lanes().unwrap();
    assert_eq!((lanes.len(), lanes[0].sender_alive, lanes[0].damage), (1, false, None));
    grown
}

/// A child's part: receives, and writes down what it has seen before it releases it.
pub(crate) fn consume(part: &Part) {
    let receiver = part.open().receiver().unwrap();
    receiver.set_wait(Wait::Park);
    let log = File::options().append(true).open(progress_file(&part.queue)).unwrap();
    loop {
        match receiver.recv() {
            Ok(message) => {
                let (sender, number) = check(&message.to_vec());
                let mut line = [0; 16];
                line[..8].copy_from_slice(&sender.to_ne_bytes());
                line[8..].copy_from_slice(&number.to_ne_bytes());
                std::io::Write::write_all(&mut &log, &line).unwrap();
            }
            Err(RecvError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    part.say("closed");
}

/// Kills one receiver after the other while two senders send `each` messages; says how often something lay in segments.
pub(crate) fn receivers_are_killed(queue: &Queue, max: u64, each: u64, kills: u64) -> u64 {
    let log = progress_file(queue.path());
    std::fs::write(&log, []).unwrap();
    let sent = AtomicU64::new(0);
    let mut grown = 0;
    std::thread::scope(|scope| {
        for number in 0..2 {
            let sent = &sent;
            scope.spawn(move || {
                let mut sender = queue.sender().unwrap();
                for i in 0..each {
                    sender.send_timeout(&payload(number, i, flying(number, i, max, grows(queue))), LONG).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                sender.close();
            });
        }
        let mut rng = Rng(7);
        let handled = || std::fs::metadata(&log).unwrap().len() / 16;
        let lies_in_segments = || queue.observe().unwrap().stat().unwrap().segment_bytes > 0;
        for _ in 0..kills {
            // While nobody receives, the senders go on into segments, however fast the receivers are.
            while grows(queue) && !lies_in_segments() && sent.load(Ordering::Relaxed) < 2 * each {
                std::thread::yield_now();
            }
            let mut victim = Role::new("consume", queue.path()).start();
            let until = (handled() + 1 + rng.below(2 * each / kills)).min(2 * each);
            let started = std::time::Instant::now();
            while handled() < until {
                assert!(started.elapsed() < LONG, "{} of {until} messages handled", handled());
                std::thread::yield_now();
            }
            victim.kill();
            grown += u64::from(lies_in_segments());
        }
        let mut last = Role::new("consume", queue.path()).start();
        last.expect("closed");
        assert!(last.succeeded());
    });
    assert_eq!(sent.into_inner(), 2 * each);
    let log = std::fs::read(log).unwrap();
    let (mut next, mut twice) = ([0; 2], 0);
    for line in log.chunks(16) {
        let word = |at: usize| u64::from_ne_bytes(line[at..at + 8].try_into().unwrap());
        let (sender, number) = (word(0) as usize, word(8));
        if number + 1 == next[sender] {
            // Seen by one that was killed before it released it, and by the next one.
            twice += 1;
        } else {
            assert_eq!(number, next[sender], "sender {sender}");
            next[sender] += 1;
        }
    }
    assert_eq!(next, [each; 2]);
    assert!(twice <= kills, "{twice} were handled twice");
    grown
}
