//! Sends and receives, one message at a time and in one thread, whose instructions `verify instructions` counts.
//!
//! `exchange DIRECTORY` plays each case so many times and then twice as many times, says so, and calls `part_ends` after
//! each: what is counted are the calls of the functions of `operation` in between.

use laneway::{OnFull, Queue, Receiver, Sender};
use std::hint::black_box;
use std::path::Path;

/// A lap of the ring with the shortest messages.
const MESSAGES: usize = 4096;
const CAPACITY: u64 = 64 << 10;
const BATCH: usize = 64;
/// What is said of a part begins with it.
const PLAYED: &str = "played: ";

/// Functions of their own. Lengths are not known to the compiler, as those of texts are not.
mod operation {
    use super::*;

    #[inline(never)]
    pub(super) fn send(sender: &mut Sender, payload: &[u8]) {
        sender.send(payload).expect("there is room");
    }

    #[inline(never)]
    pub(super) fn receive(receiver: &Receiver, copy: &mut [u8]) {
        receiver.recv().expect("it was sent").copy_to(copy);
    }

    #[inline(never)]
    pub(super) fn try_send(sender: &mut Sender, payload: &[u8]) {
        sender.try_send(payload).expect("there is room");
    }

    #[inline(never)]
    pub(super) fn try_send_quietly(sender: &mut Sender, payload: &[u8]) {
        sender.try_send_quietly(payload).expect("there is room");
    }

    #[inline(never)]
    pub(super) fn send_batch(sender: &mut Sender, payloads: &[&[u8]]) {
        sender.send_batch(payloads).expect("there is room");
    }

    #[inline(never)]
    pub(super) fn claim_and_commit(sender: &mut Sender, payload: &[u8]) {
        let mut claim = sender.claim(payload.len()).expect("there is room");
        claim.write_all(payload).expect("it is as long");
        claim.commit().expect("it is whole");
    }
}

/// Both ends of a queue, and what passes.
struct Ends {
    sender: Sender,
    receiver: Receiver,
    payload: Vec<u8>,
    copy: Vec<u8>,
}

impl Ends {
    fn new(path: &Path, len: usize, on_full: OnFull) -> Ends {
        let queue = Queue::options().capacity(CAPACITY).create(path).expect("a queue");
        let (mut sender, receiver) = (queue.sender().expect("a lane"), queue.receiver().expect("the receiver's end"));
        sender.set_on_full(on_full);
        Ends { sender, receiver, payload: (0..len).map(|i| i as u8).collect(), copy: vec![0; len] }
    }

    fn receive(&mut self) {
        operation::receive(&self.receiver, &mut self.copy);
        assert_eq!(self.copy, self.payload);
    }
}

fn main() {
    let directory = std::env::args_os().nth(1).expect("a directory for the queues");
    let may_grow = OnFull::GrowThenBlock;
    let play = |name: &str, len, on_full, times, exchange: &dyn Fn(&mut Ends)| {
        let mut ends = Ends::new(&Path::new(&directory).join(name), len, on_full);
        for times in [times, 2 * times] {
            (0..times).for_each(|_| exchange(&mut ends));
            println!("{PLAYED}{times} {name}");
            part_ends(times);
        }
    };
    let send_and_receive = |ends: &mut Ends| {
        operation::send(&mut ends.sender, &ends.payload);
        ends.receive();
    };
    for len in [8, 48, 56, 64, 1024] {
        play(&format!("{len} B"), len, may_grow, MESSAGES, &send_and_receive);
    }
    play("56 B, may not grow", 56, OnFull::Block, MESSAGES, &send_and_receive);
    play("56 B, if there is room", 56, may_grow, MESSAGES, &|ends| {
        operation::try_send(&mut ends.sender, &ends.payload);
        ends.receive();
        operation::try_send_quietly(&mut ends.sender, &ends.payload);
        ends.receive();
    });
    play("56 B, in place", 56, may_grow, MESSAGES, &|ends| {
        operation::claim_and_commit(&mut ends.sender, &ends.payload);
        ends.receive();
    });
    play("64 of 56 B", 56, may_grow, MESSAGES / BATCH, &|ends| {
        operation::send_batch(&mut ends.sender, &[ends.payload.as_slice(); BATCH]);
        (0..BATCH).for_each(|_| ends.receive());
    });
}

#[inline(never)]
fn part_ends(times: usize) {
    black_box(times);
}
