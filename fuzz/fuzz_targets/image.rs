//! Starts from a lane as an honest sender leaves it, and damages what it means: commit words, lengths, entries of the
//! table, positions; between any two calls of a sender, a receiver, an observer.
#![no_main]

use laneway::layout::{self, CommitWord, Kind, SEGMENT_SLOTS, lane, segment, slot};
use laneway::{Part, Receiver, Sender};
use laneway_fuzz::{LIAR, Stage};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use std::cell::RefCell;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The lane that will lie sends.
    Send(u16),
    SendMany(u8, u8),
    /// The other one does.
    Honest(u16),
    Receive(u8),
    Drain,
    FinishTurn,
    Trim,
    NextReceiver,
    NextSender,
    Close,
    Observe,
    Damage(Place, Harm),
}

/// Which word.
#[derive(Debug, Arbitrary)]
enum Place {
    /// A record's, so many 8 bytes from where the reader or the writer is.
    Ahead(u8),
    Behind(u8),
    /// An entry's.
    Table {
        slot: u8,
        word: u8,
    },
    /// The sender's own.
    Sender(u8),
    /// What the last receiver said of this lane.
    Slot(u8),
    /// Any of the lane's.
    Any(u16),
}

/// What becomes of it.
#[derive(Debug, Arbitrary)]
enum Harm {
    Word(u64),
    Bit(u8),
    Add(i8),
    /// A commit word with another part, and the right check.
    Length(u16),
    Kind(u8),
    Flags(u8),
    Check(u16),
    /// As if it were from another place.
    Copy(Place),
    Zero,
}

thread_local!(static STAGE: RefCell<Stage> = RefCell::default());

fuzz_target!(|steps: Vec<Step>| {
    STAGE.with_borrow_mut(|stage| {
        stage.clear();
        let sender = stage.queue.sender(LIAR).ok();
        let receiver = Some(stage.receiver());
        let mut story = Story { stage, sender, receiver };
        for step in steps.iter().take(64) {
            story.step(step);
        }
        let receiver = story.receiver.take().expect("there is always one");
        story.stage.go_on(&receiver);
        if let Some(sender) = &mut story.sender {
            let _ = sender.try_send(&[1; 900]);
        }
        story.stage.go_on(&receiver);
        drop(receiver);
        story.sender = None;
        let receiver = story.stage.receiver();
        story.sender = story.stage.queue.sender(LIAR).ok();
        story.stage.go_on(&receiver);
    });
});

struct Story<'a> {
    stage: &'a mut Stage,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

impl Story<'_> {
    fn step(&mut self, step: &Step) {
        let receiver = self.receiver.as_ref().expect("there is always one");
        match step {
            Step::Send(len) => self.send(usize::from(*len) % 4081, 1),
            Step::SendMany(count, len) => self.send(usize::from(*len) * 16, count % 32),
            Step::Honest(len) => self.stage.send(usize::from(*len) % 4081),
            Step::Receive(count) => {
                for _ in 0..*count {
                    if !self.stage.receive(receiver) {
                        break;
                    }
                }
            }
            Step::Drain => self.stage.drain(receiver),
            Step::FinishTurn => drop(receiver.finish_turn().expect("there is no directory that could be gone")),
            Step::Trim => self.sender.iter_mut().for_each(Sender::trim),
            Step::NextReceiver => {
                self.receiver = None;
                self.receiver = Some(self.stage.receiver());
            }
            Step::NextSender => {
                self.sender = None;
                self.sender = self.stage.queue.sender(LIAR).ok();
            }
            Step::Close => self.sender.take().into_iter().for_each(Sender::close),
            Step::Observe => {
                let at = self.stage.queue.load(Part::Receiver, slot_word(slot::READ_POS));
                self.stage.queue.observe(LIAR, at, 16);
            }
            Step::Damage(place, harm) => self.damage(place, harm),
        }
    }

    fn send(&mut self, len: usize, count: u8) {
        let payload = [1; 4081];
        for _ in 0..count {
            let Some(sender) = &mut self.sender else { return };
            if let Err(laneway::TrySendError::Corrupt(damage)) = sender.try_send(&payload[..len]) {
                assert_eq!(damage.lane, LIAR);
                self.sender = None;
            }
        }
    }

    /// Where a word lies.
    fn find(&self, place: &Place) -> (Part, usize) {
        let own = Part::Lane(LIAR);
        let queue = &self.stage.queue;
        let words = (queue.range(own).len() - layout::RING) / 8;
        match place {
            Place::Ahead(by) => {
                let read = queue.load(Part::Receiver, slot_word(slot::READ_POS));
                (own, self.locate(read.wrapping_add(u64::from(*by) * 8)))
            }
            Place::Behind(by) => {
                let hint = queue.load(own, lane::WRITE_HINT);
                (own, self.locate(hint.wrapping_sub(u64::from(*by) * 8)))
            }
            Place::Table { slot, word } => {
                let entry = lane::SEGMENTS + usize::from(*slot) % SEGMENT_SLOTS as usize * segment::LEN;
                (own, entry + usize::from(word % 4) * 8)
            }
            Place::Sender(word) => (own, layout::HEADER_LEN + usize::from(*word) % 64 * 8),
            Place::Slot(word) => (Part::Receiver, slot_word(usize::from(*word) % 32 * 8)),
            Place::Any(word) => (own, layout::RING + usize::from(*word) % words * 8),
        }
    }

    /// Where a position lies, as the table says: in the first segment that has it, or in the ring.
    fn locate(&self, position: u64) -> usize {
        let position = position & !7;
        let own = Part::Lane(LIAR);
        let len = self.stage.queue.range(own).len();
        for slot in 0..4 {
            let word = |offset| self.stage.queue.load(own, lane::SEGMENTS + slot * segment::LEN + offset);
            if (word(segment::START)..word(segment::END)).contains(&position) {
                let file = word(segment::FILE);
                let offset = (file & !4095).wrapping_add(position & ((1 << (file & 63)) - 1)) as usize;
                if (layout::RING..=len - 8).contains(&offset) {
                    return offset;
                }
            }
        }
        layout::RING + position as usize % 4096
    }

    fn damage(&mut self, place: &Place, harm: &Harm) {
        let (part, offset) = self.find(place);
        let word = self.stage.queue.load(part, offset);
        let with_kind = |kind: u64| word & !(0xff << 32) | kind << 32;
        let damaged = match harm {
            Harm::Word(word) => *word,
            Harm::Bit(bit) => word ^ 1 << (bit % 64),
            Harm::Add(eights) => word.wrapping_add_signed(i64::from(*eights) * 8),
            Harm::Length(len) => CommitWord(word >> 32 << 32 | u64::from(*len)).0,
            Harm::Kind(kind) if *kind < 8 => {
                with_kind([Kind::Data, Kind::Pad, Kind::Jump, Kind::Gap][usize::from(kind % 4)] as u64)
            }
            Harm::Kind(kind) => with_kind((*kind).into()),
            Harm::Flags(flags) => word & !(0xff << 40) | u64::from(*flags) << 40,
            Harm::Check(check) => word << 16 >> 16 | u64::from(*check) << 48,
            Harm::Copy(other) => {
                let (part, offset) = self.find(other);
                self.stage.queue.load(part, offset)
            }
            Harm::Zero => 0,
        };
        self.stage.queue.store(part, offset, damaged);
    }
}

fn slot_word(offset: usize) -> usize {
    layout::slot_offset(LIAR as usize) + offset
}
