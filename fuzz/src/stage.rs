//! Two lanes, one of which lies, and what must be true of the other.

use laneway::layout::RING;
use laneway::{Damage, Fuzzed, Message, Part, Queue, Receiver, Sender, TryRecvError};
use std::collections::VecDeque;

/// The lane that lies.
pub const LIAR: u32 = 1;
/// The lane that does not.
pub const HONEST: u32 = 0;

/// More messages than the lying lane can hold, in all its laps and segments together.
const ENDLESS: usize = 1 << 18;

/// A queue, the sender of the honest lane, and what it has sent that has not arrived.
pub struct Stage {
    /// The bytes.
    pub queue: Fuzzed,
    max_message: usize,
    honest: Option<Sender>,
    sent: VecDeque<(u64, usize)>,
    number: u64,
    /// The message that was last put back.
    put_back: Option<u64>,
    /// What the present receiver has said of the lying lane.
    reported: Option<Damage>,
}

impl Stage {
    /// Small rings and a few small segments, so that it takes few messages to go around them.
    pub fn new() -> Stage {
        let max_message = 4080;
        let options = Queue::options().capacity(4096).overflow_limit(8192).max_message(max_message).max_lanes(2);
        Stage {
            queue: Fuzzed::new(&options),
            max_message: max_message as usize,
            honest: None,
            sent: VecDeque::new(),
            number: 0,
            put_back: None,
            reported: None,
        }
    }

    /// As if it had just been born.
    pub fn clear(&mut self) {
        self.honest = None;
        self.queue.clear();
        self.sent.clear();
        (self.number, self.put_back, self.reported) = (0, None, None);
        self.honest = Some(self.queue.sender(HONEST).expect("nobody has written to it"));
    }

    /// The honest lane sends; when it is full it does not.
    pub fn send(&mut self, len: usize) {
        let len = len.clamp(8, self.max_message);
        let sender = self.honest.as_mut().expect("made by clear");
        match sender.try_send(&payload(self.number, len)) {
            Ok(_) => {
                self.sent.push_back((self.number, len));
                self.number += 1;
            }
            Err(laneway::TrySendError::Full) => {}
            Err(error) => panic!("the honest lane: {error}"),
        }
    }

    /// A new receiver.
    pub fn receiver(&mut self) -> Receiver {
        self.reported = None;
        self.queue.receiver()
    }

    /// The next message, checked, if there is one; false when there is none, or damage instead.
    pub fn receive(&mut self, receiver: &Receiver) -> bool {
        match receiver.try_recv() {
            Ok(message) => self.check(message, true),
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Corrupt(damage)) => self.complain(damage),
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// What the receiver says of a lane.
    fn complain(&mut self, damage: Damage) {
        assert_eq!(damage.lane, LIAR, "{damage}");
        assert_eq!(self.reported.replace(damage), None, "it was said before");
        assert!(!damage.to_string().is_empty());
    }

    /// A message that was taken. Now and then it is put back, and must come again before anything newer; what is put
    /// back in a drain is for another one.
    fn check(&mut self, message: Message<'_>, may_put_back: bool) {
        let bytes = message.to_vec();
        assert_eq!(bytes.len(), message.len());
        if message.lane() == LIAR {
            assert!(bytes.len() <= self.max_message);
            // SAFETY: one thread, and it does not write while the slice lives.
            #[expect(unsafe_code, reason = "where the message lies is what is asked")]
            let lies = unsafe { message.as_slice().as_ptr_range() };
            let lane = self.queue.range(Part::Lane(LIAR));
            assert!(lies.start.addr() >= lane.start + RING && lies.end.addr() <= lane.end, "it lies outside its lane");
            return;
        }
        let (number, len) = self.sent.pop_front().expect("a message that was not sent");
        assert!(bytes == payload(number, len), "message {number} of {len} bytes is torn or out of order");
        if may_put_back && number % 7 == 3 && self.put_back.replace(number) != Some(number) {
            message.put_back();
            self.sent.push_front((number, len));
        }
    }

    /// A drain, checked.
    pub fn drain(&mut self, receiver: &Receiver) {
        let mut drain = receiver.drain().expect("there is no directory that could be gone");
        for _ in 0..ENDLESS {
            let Some(message) = drain.next() else { return };
            self.check(message, false);
        }
        panic!("a drain does not end");
    }

    /// Receives until there is nothing left, and the honest lane has lost nothing.
    pub fn settle(&mut self, receiver: &Receiver) {
        for _ in 0..ENDLESS {
            if !self.receive(receiver) {
                assert!(self.sent.is_empty(), "{} messages of the honest lane are lost", self.sent.len());
                return;
            }
        }
        panic!("receiving does not end");
    }

    /// Everything that there is to be done with a queue, after the lies.
    pub fn go_on(&mut self, receiver: &Receiver) {
        self.settle(receiver);
        let _ = (receiver.pressure(), receiver.dropped());
        let damage = receiver.damage();
        assert!(damage.len() <= 1 && damage.iter().all(|damage| damage.lane == LIAR), "{damage:?}");
        let _ = receiver.finish_turn().expect("there is no directory that could be gone");
        for len in [8, 300] {
            self.send(len);
        }
        self.settle(receiver);
    }
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::new()
    }
}

/// Message `number` of the honest lane.
fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8 ^ 0x5a; len];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}
