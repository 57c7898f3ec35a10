//! What stands at a position: a message, a pad, a jump, a gap, nothing yet, or damage.
//!
//! One judgement for everybody who looks: the reader, the next owner of the lane, observers. The word is loaded once and
//! checked; nobody is trusted.

use crate::error::{Broken, Fault};
use crate::layout::{self, CommitWord, Kind, Lap, Place, Span};
use crate::region::Window;
use crate::segments::Table;
use crate::sync::{Ordering, fence, load_acquire};
use std::cell::Cell;

/// A committed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) position: u64,
    /// Where the record after it starts.
    pub(crate) next: u64,
    /// Length of the payload, bytes; of a gap, how many messages are missing.
    pub(crate) len: u32,
    pub(crate) kind: Kind,
}

impl Record {
    /// The message at `position` with `len` bytes of payload.
    #[inline(always)]
    pub(crate) fn message(position: u64, len: u32) -> Record {
        let next = layout::next_record(position, layout::record_len(len as usize));
        Record { position, next, len, kind: Kind::Data }
    }

    /// Bytes of memory that it takes: a jump passes over positions that nothing lies in.
    pub(crate) fn bytes(&self) -> u64 {
        if self.kind == Kind::Jump { 8 } else { self.next - self.position }
    }
}

/// How long the last message was, and how far such a one reaches. The next is likely to be as long: then the processor goes on
/// to look for the one behind it without waiting for its commit word (value speculation: a branch that is predicted takes
/// the place of a load).
pub(crate) struct Likely {
    len: Cell<u32>,
    span: Cell<Span>,
}

impl Likely {
    pub(crate) fn new() -> Likely {
        Likely { len: Cell::new(0), span: Cell::new(Span::of(layout::record_len(0))) }
    }

    #[inline(always)]
    fn span(&self, len: u32) -> Span {
        if len == self.len.get() { self.span.get() } else { self.learn(len) }
    }

    #[inline]
    fn learn(&self, len: u32) -> Span {
        let span = Span::of(layout::record_len(len as usize));
        self.len.set(len);
        self.span.set(span);
        span
    }
}

/// The message at `position`, if the word there is that of a plain one, wherever it then ends.
#[inline(always)]
pub(crate) fn message_at(window: &Window, position: u64, lap: &Lap, max_len: u32, likely: &Likely) -> Option<Record> {
    // ORDERING(publish): relaxed, because the fence below is what acquires.
    let word = CommitWord(window.word(position).load(Ordering::Relaxed));
    let len = lap.message_len(word, max_len)?;
    // ORDERING(publish): the payload was stored before the commit word.
    fence(Ordering::Acquire);
    Some(Record { position, next: likely.span(len).end(position), len, kind: Kind::Data })
}

fn plain(word: CommitWord, position: u64, lap: &Lap, max_len: u32) -> Option<Record> {
    let record = Record::message(position, lap.message_len(word, max_len)?);
    (record.next <= lap.end).then_some(record)
}

/// Where to look, and what is allowed to stand there.
pub(crate) struct Rules<'a> {
    pub(crate) table: &'a Table,
    pub(crate) max_len: u32,
}

impl Rules<'_> {
    /// What stands at `position`, to which `window` is turned, if anything does.
    pub(crate) fn inspect(&self, window: &Window, place: &Place, position: u64) -> Result<Option<Record>, Broken> {
        // ORDERING(publish): as in `message_at`.
        self.judge(CommitWord(load_acquire(window.word(position))), place, position)
    }

    /// What `word` says, if it stands at `position`.
    pub(crate) fn judge(&self, word: CommitWord, place: &Place, position: u64) -> Result<Option<Record>, Broken> {
        let lap = place.lap(position);
        if word.0 == CommitWord::NOTHING {
            return Ok(None);
        }
        if let Some(message) = plain(word, position, &lap, self.max_len) {
            return Ok(Some(message));
        }
        let broken = |fault| Err(Broken { fault, position, found: word.0 });
        let (kind, flags, len) = (word.kind(), word.flags(), word.payload_len());
        let other = |kind, next| Ok(Some(Record { position, next, len, kind }));
        if !lap.has(word) {
            broken(Fault::Check)
        } else if flags != 0 {
            broken(Fault::Flags)
        } else if kind == Kind::Pad as u8 && len == 0 && place.is_ring() && lap.end - position < place.window {
            // A pad is a way out of a lap that is too short for a record; a whole lap never is.
            other(Kind::Pad, lap.end)
        } else if kind == Kind::Jump as u8 && !(place.is_ring() && len == 0) {
            self.table.target(position, len).map_or_else(broken, |next| other(Kind::Jump, next))
        } else if kind == Kind::Gap as u8 && len > 0 && position + 8 <= lap.end {
            other(Kind::Gap, position + 8)
        } else if [Kind::Data as u8, Kind::Pad as u8, Kind::Gap as u8].contains(&kind) {
            broken(Fault::Length)
        } else {
            broken(Fault::Kind)
        }
    }
}

/// Goes from record to record, wherever they lie, to the first word that is none.
pub(crate) struct Walk<'a> {
    rules: Rules<'a>,
    window: Window,
    pub(crate) place: Place,
    pub(crate) at: u64,
    /// Bytes that may still be passed: more than a lane can hold is a lie.
    left: u64,
}

impl<'a> Walk<'a> {
    /// Begins at `position`. `window` is any window on the lane's memory.
    pub(crate) fn new(rules: Rules<'a>, window: &Window, position: u64) -> Result<Walk<'a>, Broken> {
        let place = rules.table.locate(position)?;
        // There is always a word left for the way on.
        let left = rules.table.most() - 8;
        Ok(Walk { window: window.another(&place), rules, place, at: position, left })
    }

    /// The next record, which is passed, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Broken> {
        let Some(record) = self.rules.inspect(&self.window, &self.place, self.at)? else { return Ok(None) };
        self.left = self.left.checked_sub(record.bytes()).ok_or(Broken {
            fault: Fault::Length,
            position: record.position,
            found: record.next,
        })?;
        self.at = record.next;
        if record.kind == Kind::Jump {
            self.place = self.rules.table.locate(self.at)?;
            self.window.turn_to(&self.place);
        }
        Ok(Some(record))
    }
    /// The first `max` bytes of the payload of the message that was just passed.
    #[cfg(not(laneway_loom))]
    pub(crate) fn payload(&self, message: &Record, max: usize) -> Vec<u8> {
        let len = max.min(message.len as usize);
        let first = message.position + 8;
        // ORDERING(hint): relaxed; whoever wants the bytes to belong together walks through a copy.
        let word = |at: u64| self.window.word(first + at).load(Ordering::Relaxed).to_le_bytes();
        let mut bytes: Vec<u8> = (0..len as u64).step_by(8).flat_map(word).collect();
        bytes.truncate(len);
        bytes
    }
}
