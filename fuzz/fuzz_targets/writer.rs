//! A sender that takes over a lane of arbitrary bytes, and whose receiver lies about every word of its slot.
#![no_main]

use laneway::layout::{self, lane, slot};
use laneway::{Fuzzed, OnFull, Part, Queue, Sender, TrySendError};
use laneway_fuzz::LIAR;
use laneway_fuzz::input::{Input, scribble};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

const MAX: u32 = 4080;
const LANE: Part = Part::Lane(LIAR);

/// The words of others that a sender reads, by their offsets in `receiver`.
fn words() -> [usize; 9] {
    let slot = layout::slot_offset(LIAR as usize);
    let own = [slot::READ_POS, slot::RECEIVED, slot::FAULT, slot::FAULT_POSITION, slot::FAULT_FOUND, slot::SEQ];
    let [read, received, fault, position, found, seq] = own.map(|offset| slot + offset);
    [
        read,
        received,
        fault,
        position,
        found,
        seq,
        slot + slot::RUNG_AT,
        layout::receiver::ROLE,
        layout::receiver::SLEEPS,
    ]
}

thread_local!(static QUEUE: RefCell<Fuzzed> = RefCell::new(Fuzzed::new(
    &Queue::options().capacity(4096).overflow_limit(8192).max_message(MAX.into()).max_lanes(2)
)));

fuzz_target!(|data: &[u8]| {
    QUEUE.with_borrow_mut(|queue| {
        queue.clear();
        let mut input = Input(data);
        let steps = input.byte() % 64;
        let mut plan = [0; 256];
        let plan_len = input.0.len().min(4 * usize::from(steps));
        let (taken, rest) = input.0.split_at(plan_len);
        plan[..plan_len].copy_from_slice(taken);
        let mut rest = Input(rest);
        let at = rest.word();
        scribble(&mut rest, queue, LIAR, at);
        queue.store(Part::Receiver, words()[0], at);
        let mut story = Story { queue, told: [0; 9], sender: None };
        story.told[0] = at;
        let mut plan = Input(&plan[..plan_len]);
        story.attach();
        while !plan.is_over() {
            story.step(&mut plan);
        }
        story.sender = None;
        story.look();
    });
});

struct Story<'a> {
    queue: &'a Fuzzed,
    /// What the receiver's words say: nobody but it changes them.
    told: [u64; 9],
    sender: Option<Sender>,
}

impl Story<'_> {
    fn attach(&mut self) {
        self.sender = None;
        self.sender = self.queue.sender(LIAR).inspect_err(|damage| assert_eq!(damage.lane, LIAR)).ok();
    }

    fn step(&mut self, plan: &mut Input<'_>) {
        let (kind, len) = (plan.byte(), plan.short());
        let Some(sender) = &mut self.sender else {
            // What the receiver says may change, and then the lane can be taken over.
            self.lie(kind, len, plan.byte());
            return self.attach();
        };
        match kind % 8 {
            0 | 1 => {
                let payload = [7; MAX as usize + 1];
                let len = usize::from(len) % payload.len();
                judge(sender.try_send(&payload[..len]).map(|sent| assert_eq!(sent.ticket().lane, LIAR)), len);
            }
            2 => {
                let len = usize::from(len) % (MAX as usize + 2);
                let claimed = sender.try_claim(len).map(|claim| claim.commit());
                judge(claimed.map(drop), len);
            }
            3 => {
                sender.set_on_full([OnFull::GrowThenBlock, OnFull::Block, OnFull::GrowThenDrop][usize::from(len) % 3]);
            }
            4 => sender.trim(),
            5 => drop(sender.pressure()),
            6 if len % 4 == 0 => self.attach(),
            _ => self.lie(kind, len, plan.byte()),
        }
        self.look();
    }

    /// Another word of the receiver's: anything, or something near the truth.
    fn lie(&mut self, kind: u8, len: u16, how: u8) {
        let hint = self.queue.load(LANE, lane::WRITE_HINT);
        let near = u64::from(len % 2048) * 8;
        let word = match how % 5 {
            0 => hint,
            1 => hint.wrapping_sub(near),
            2 => hint.wrapping_add(near),
            3 => u64::from(len),
            _ => !u64::from(len),
        };
        // Positions are what is believed most.
        let which = if how & 0x80 == 0 { 0 } else { usize::from(kind / 8) % 9 };
        self.told[which] = word;
        self.queue.store(Part::Receiver, words()[which], self.told[which]);
    }

    /// A sender changes nothing that is not its own, and believes no more than it may.
    fn look(&self) {
        for (offset, told) in words().into_iter().zip(self.told) {
            assert_eq!(self.queue.load(Part::Receiver, offset), told, "the word at {offset} is the receiver's");
        }
        for offset in (0..layout::HEADER_LEN).step_by(8) {
            assert_eq!(self.queue.load(LANE, offset), 0, "the header is nobody's to change");
        }
    }
}

fn judge(answer: Result<(), TrySendError>, len: usize) {
    match answer {
        Ok(()) => assert!(len <= MAX as usize),
        Err(TrySendError::Corrupt(damage)) => assert_eq!(damage.lane, LIAR),
        Err(TrySendError::TooLarge { .. }) => assert!(len > MAX as usize),
        Err(TrySendError::Full | TrySendError::Dropped | TrySendError::Closed) => {}
        Err(error) => panic!("{error}"),
    }
}
