//! The ring of a lane: positions, records, and who may touch which byte when.
//!
//! Never waits, never allocates on the way of a message, never calls the kernel; knows nothing of files, processes or
//! bells. Every function says at once what it could do.
//!
//! # The algorithm
//!
//! ```text
//! write                                           read
//!   wait until next + 8 <= read_pos + capacity      word = commit word at next     (Acquire)
//!   terminator: word at next = 0                    0: nothing here yet
//!   copy the payload behind the commit word         check word, copy the payload
//!   commit word = length, kind, check  (Release)    read_pos = position after it   (Release)
//! ```
//!
//! The commit word in the record, instead of a cursor beside the ring, is that of Agrona's one-to-one ring buffer and
//! of the BPF ring buffer: one cache line carries a message. The copy of the peer's position in the handle is that of
//! FastForward and its successors (rtrb among them): stale, never ahead. The terminator and the free word behind
//! every record are ours, and let the ring keep its old bytes: a reader never finds a word of the last lap, because
//! the word at the writer's position is always 0 before anything in front of it is committed.

use crate::error::Fault;
use crate::layout::{self, CommitWord, Kind, Lap};
use crate::region::{Own, Peer, Window};
use crate::sync::{AtomicU64, Ordering, fence, load_acquire};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// A broken rule, and the word that broke it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) fault: Fault,
    pub(crate) position: u64,
    pub(crate) found: u64,
}

/// A committed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) position: u64,
    pub(crate) next: u64,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
}

/// Why a claim was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    TooLarge,
    Broken(Broken),
}

/// Bytes that the writer may fill and then commit. Forgetting it is harmless: nothing happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) position: u64,
    next: u64,
    pub(crate) len: u32,
}

impl Record {
    /// The message at `position` with `len` bytes of payload.
    #[inline(always)]
    pub(crate) fn message(position: u64, len: u32) -> Record {
        let next = layout::next_record(position, layout::record_len(len as usize));
        Record { position, next, len, kind: Kind::Data }
    }
}

/// The message at `position`, if the word there is that of one. The word is loaded once and checked; nobody is trusted.
#[inline(always)]
fn message_at(window: &Window, position: u64, lap: &Lap, max_len: u32) -> Result<Record, CommitWord> {
    // ORDERING(publish): the payload was stored before the commit word.
    let word = CommitWord(load_acquire(window.word(position)));
    match lap.message_len(word) {
        Some(len) if len <= max_len && position + layout::record_len(len as usize) <= lap.end => {
            Ok(Record::message(position, len))
        }
        _ => Err(word),
    }
}

/// What stands at `position`, if anything does.
pub(crate) fn inspect(window: &Window, position: u64, max_len: u32) -> Result<Option<Record>, Broken> {
    match message_at(window, position, &Lap::of(position, window.capacity()), max_len) {
        Ok(message) => Ok(Some(message)),
        Err(CommitWord(CommitWord::NOTHING)) => Ok(None),
        Err(other) => inspect_other(other, position, window),
    }
}

/// The records that are not messages, and the reason why a word is no record.
#[cold]
fn inspect_other(commit: CommitWord, position: u64, window: &Window) -> Result<Option<Record>, Broken> {
    let broken = |fault| Err(Broken { fault, position, found: commit.0 });
    // A pad is a way out of a lap that is too short for a record; a whole lap never is.
    let until_end = window.until_end(position);
    if !commit.belongs_to(position, window.capacity()) {
        broken(Fault::Check)
    } else if commit.flags() != 0 {
        broken(Fault::Flags)
    } else if commit.kind() == Kind::Pad as u8 && commit.payload_len() == 0 && until_end < window.capacity() {
        Ok(Some(Record { position, next: position + until_end, len: 0, kind: Kind::Pad }))
    } else if commit.kind() == Kind::Data as u8 || commit.kind() == Kind::Pad as u8 {
        broken(Fault::Length)
    } else {
        broken(Fault::Kind)
    }
}

/// Whether a word can be a position at all.
pub(crate) fn is_position(word: u64) -> bool {
    word.is_multiple_of(8) && word < layout::POSITION_LIMIT
}

/// The writing side: its position is its own secret, and true.
pub(crate) struct Writer {
    window: Window,
    max_len: u32,
    write_pos: u64,
    /// The reader's position as last accepted: stale, never ahead.
    read_copy: u64,
    lap: Lap,
    /// The last position at which the next record may end without asking anybody: within the lap, and with room.
    limit: u64,
    read_pos: Peer<AtomicU64>,
    /// `read_copy` for observers, stored before it is used.
    accepted: Own<AtomicU64>,
}

impl Writer {
    /// Takes over behind what is committed (I2), and says how many of those messages lie at `hint` or above it. The
    /// caller holds the lane's lock, so nobody else writes.
    ///
    /// What the reader has not released is all there, so the walk from its position finds the end. The last writer's hint
    /// is not believed: one that is too high would leave a hole that no reader ever passes.
    pub(crate) fn resume(
        window: Window,
        max_len: u32,
        hint: u64,
        read_pos: Peer<AtomicU64>,
        accepted: Own<AtomicU64>,
    ) -> Result<(Writer, u64), Broken> {
        // ORDERING(reclaim): what the reader released may be overwritten.
        let read = read_pos.load_acquire();
        if !is_position(read) {
            return Err(Broken { fault: Fault::ReadPosition, position: hint, found: read });
        }
        let limit = read + window.capacity();
        let (mut write_pos, mut beyond_hint) = (read, 0);
        while let Some(record) = inspect(&window, write_pos, max_len)? {
            beyond_hint += u64::from(record.kind == Kind::Data && record.position >= hint);
            write_pos = record.next;
            if write_pos >= limit {
                return Err(Broken { fault: Fault::Length, position: record.position, found: write_pos });
            }
        }
        if hint > write_pos {
            return Err(Broken { fault: Fault::WritePosition, position: write_pos, found: hint });
        }
        let lap = Lap::of(write_pos, window.capacity());
        let mut writer = Writer { window, max_len, write_pos, read_copy: read, lap, limit: 0, read_pos, accepted };
        writer.accept(read);
        writer.set_limit();
        Ok((writer, beyond_hint))
    }

    /// Where the next record will start.
    #[inline(always)]
    pub(crate) fn write_pos(&self) -> u64 {
        self.write_pos
    }

    /// Room for `len` bytes of payload, if it is known to be there: the short way, which leaves the end of the ring and
    /// everything that must be asked for to [`claim`](Self::claim).
    #[inline(always)]
    pub(crate) fn claim_known(&self, len: usize) -> Option<Claim> {
        let next = layout::next_record(self.write_pos, layout::record_len(len));
        let known = next <= self.limit && len <= self.max_len as usize;
        known.then(|| self.terminated(next, len as u32))
    }

    /// Room for `len` bytes of payload. May commit a pad on the way, also when it then reports `Full`: a reader must
    /// be able to pass the end of the ring before the room behind it is counted.
    pub(crate) fn claim(&mut self, len: usize) -> Result<Claim, Refusal> {
        if len > self.max_len as usize {
            return Err(Refusal::TooLarge);
        }
        let record = layout::record_len(len);
        if self.write_pos == self.lap.end {
            self.lap = Lap::of(self.write_pos, self.window.capacity());
        }
        if self.write_pos + record > self.lap.end {
            self.need(self.lap.end)?;
            let pad = CommitWord::new(Kind::Pad, 0, self.write_pos, self.window.capacity());
            let claim = self.terminated(self.lap.end, 0);
            self.commit_word(pad, claim);
            self.lap = Lap::of(self.write_pos, self.window.capacity());
        }
        let next = layout::next_record(self.write_pos, record);
        self.need(next)?;
        Ok(self.terminated(next, len as u32))
    }

    /// The claim of everything up to `next`, with the terminator behind it.
    ///
    /// The terminator comes first because it often lies in a line of its own: were it stored between payload and commit
    /// word, the reader could fetch their line while the store waits for its own, and cost the writer another turn.
    #[inline(always)]
    fn terminated(&self, next: u64, len: u32) -> Claim {
        // ORDERING(terminator): relaxed; the commit word's Release puts it before the record, so whoever finds the
        // record finds 0 behind it and never the bytes of the last lap.
        self.window.word(next).store(CommitWord::NOTHING, Ordering::Relaxed);
        Claim { position: self.write_pos, next, len }
    }

    /// Copies part of a claim's payload. `at` is a multiple of 8.
    #[inline(always)]
    pub(crate) fn fill(&self, claim: &Claim, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= claim.len as usize);
        // SAFETY: I5: a claim ends before the lap does, and these bytes lie in it.
        #[expect(unsafe_code, reason = "the way of a message is the wrong place to check its room twice")]
        unsafe {
            self.window.copy_in(claim.position + 8 + at as u64, bytes);
        }
    }

    /// Where a claim's payload lies.
    pub(crate) fn payload(&self, claim: &Claim) -> *mut u8 {
        self.window.at(claim.position + 8)
    }

    /// Makes the claim a record: from this store on it is there for everybody, whatever becomes of this process.
    #[inline(always)]
    pub(crate) fn commit(&mut self, claim: Claim) {
        self.commit_word(self.lap.message(claim.len), claim);
    }

    #[inline(always)]
    fn commit_word(&mut self, word: CommitWord, claim: Claim) {
        // ORDERING(publish): payload and terminator before the commit word.
        self.window.word(claim.position).store(word.0, Ordering::Release);
        self.write_pos = claim.next;
        // The next commits store to lines that the reader still holds from the last lap; taking them back early is off
        // anybody's way. Measured for 56 B: streaming 55 ns a message without this and 28 with it.
        self.window.prefetch_for_write(claim.next + 2 * layout::LINE);
    }

    /// Makes sure that everything below `next`, and the free word at it, may be written (I3).
    fn need(&mut self, next: u64) -> Result<(), Refusal> {
        if !self.fits(next) {
            // ORDERING(reclaim): the reader's loads of what it released come before our stores over it.
            let found = self.read_pos.load_acquire();
            if found < self.read_copy || found > self.write_pos || !found.is_multiple_of(8) {
                return Err(Refusal::Broken(Broken { fault: Fault::ReadPosition, position: self.write_pos, found }));
            }
            self.accept(found);
        }
        self.set_limit();
        if self.fits(next) { Ok(()) } else { Err(Refusal::Full) }
    }

    fn fits(&self, next: u64) -> bool {
        next + 8 <= self.read_copy + self.window.capacity()
    }

    fn set_limit(&mut self) {
        self.limit = self.lap.end.min(self.read_copy + self.window.capacity() - 8);
    }

    fn accept(&mut self, read: u64) {
        self.read_copy = read;
        // ORDERING(lapped): relaxed, and the fence puts it before every store over what it gives up.
        self.accepted.store(read, Ordering::Relaxed);
        // ORDERING(lapped): pairs with the observer's fence between its copy and its load of `accepted`.
        fence(Ordering::Release);
    }
}

/// The reading side. Records may be released in any order; the position that the writer sees moves over whole runs.
pub(crate) struct Reader {
    window: Window,
    max_len: u32,
    /// Where the next record is looked for.
    at: Cell<u64>,
    /// Its lap, or the one before when nobody has looked yet, or none when nothing may be read there.
    lap: Cell<Lap>,
    /// Everything below is released.
    released: Cell<u64>,
    read_pos: Own<AtomicU64>,
    /// Messages among what this handle has moved `released` over.
    messages: Cell<u64>,
    /// Records released before an earlier one was, by position. Empty but for odd orders.
    early: RefCell<BTreeMap<u64, Early>>,
    /// While there is one: how far the writer had been told when releases began to be collected.
    batch: Cell<Option<u64>>,
    /// Records that were taken and put back, by position: looked at again before anything newer.
    put_back: RefCell<BTreeSet<u64>>,
    /// While there are some: where the first record is that was never taken.
    frontier: Cell<Option<u64>>,
    /// A broken rule, from whose position on nothing is read any more.
    stop: Cell<Option<Broken>>,
    /// Whether any of the last four is in force; then taking has more to do, and releasing takes the long way.
    unusual: Cell<bool>,
}

/// A record that was released before an earlier one.
#[derive(Debug, Clone, Copy)]
struct Early {
    next: u64,
    messages: u64,
}

impl Reader {
    /// Takes over where the last reader's released messages end. If the word that says so cannot be true, whatever
    /// stands in the ring is damage.
    pub(crate) fn resume(window: Window, max_len: u32, read_pos: Own<AtomicU64>) -> Reader {
        // ORDERING(takeover): relaxed; the lock ordered us behind the last receiver.
        let word = read_pos.load(Ordering::Relaxed);
        let at = if is_position(word) { word } else { 0 };
        let reader = Reader {
            lap: Cell::new(Lap::of(at, window.capacity())),
            window,
            max_len,
            at: Cell::new(at),
            released: Cell::new(at),
            read_pos,
            messages: Cell::new(0),
            early: RefCell::default(),
            batch: Cell::new(None),
            put_back: RefCell::default(),
            frontier: Cell::new(None),
            stop: Cell::new(None),
            unusual: Cell::new(false),
        };
        if at != word {
            reader.stop(Broken { fault: Fault::ReadPosition, position: at, found: word });
        }
        reader
    }

    /// The ring's bytes.
    #[inline(always)]
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// Where the first record is that was never taken.
    pub(crate) fn next(&self) -> u64 {
        self.frontier.get().unwrap_or(self.at.get())
    }

    /// The next record, if it is a message. Leaves everything else to [`look_from`](Self::look_from), also the first
    /// message of a lap that nobody has looked at: its word's check is another, and nothing is found.
    #[inline(always)]
    pub(crate) fn message(&self) -> Option<Record> {
        message_at(&self.window, self.at.get(), &self.lap.get(), self.max_len).ok()
    }

    /// Whether there is anything at all at the next record's place: the smallest possible look.
    #[inline(always)]
    pub(crate) fn has_word(&self) -> bool {
        // ORDERING(publish): relaxed; whoever then takes the record loads the word again.
        self.window.word(self.at.get()).load(Ordering::Relaxed) != CommitWord::NOTHING
    }

    /// The next record that is not below `from`, which may be a pad, if there is one.
    pub(crate) fn look_from(&self, from: u64) -> Result<Option<Record>, Broken> {
        let again = self.put_back.borrow().range(from..).next().copied();
        self.set_lap();
        match self.stop.get() {
            Some(broken) if again.is_none() && self.next() >= broken.position => Err(broken),
            _ => inspect(&self.window, again.unwrap_or(self.next()), self.max_len),
        }
    }

    /// How many messages lie ahead, up to the first word that is none or a lap.
    pub(crate) fn count_ahead(&self) -> usize {
        let mut position = self.next();
        let end = position + self.window.capacity();
        let mut count = self.put_back.borrow().len();
        while position < end
            && let Ok(Some(record)) = inspect(&self.window, position, self.max_len)
        {
            position = record.next;
            count += usize::from(record.kind == Kind::Data);
        }
        count
    }

    /// Hands out a record that was looked at.
    #[inline(always)]
    pub(crate) fn take(&self, record: &Record) {
        self.at.set(record.next);
        if self.unusual.get() {
            self.took(record);
        }
    }

    /// Goes on to look at what was put back, or beyond.
    #[cold]
    fn took(&self, record: &Record) {
        let mut put_back = self.put_back.borrow_mut();
        if let Some(frontier) = self.frontier.get() {
            let again = put_back.remove(&record.position);
            let frontier = if again { frontier } else { record.next };
            self.frontier.set((!put_back.is_empty()).then_some(frontier));
            self.at.set(put_back.first().copied().unwrap_or(frontier));
        }
        drop(put_back);
        self.set_lap();
        self.settle();
    }

    fn set_lap(&self) {
        let stopped = self.stop.get().is_some_and(|broken| self.at.get() >= broken.position);
        self.lap.set(if stopped { Lap::NONE } else { Lap::of(self.at.get(), self.window.capacity()) });
    }

    /// Moves on behind a pad, and gives it back.
    pub(crate) fn pass(&self, pad: &Record) {
        self.take(pad);
        self.give_back(pad.position, pad.next, 0);
    }

    /// Takes a record back that was taken and not released: it is looked at again.
    pub(crate) fn put_back(&self, position: u64) {
        self.frontier.set(Some(self.next()));
        self.put_back.borrow_mut().insert(position);
        self.at.set(self.at.get().min(position));
        self.set_lap();
        self.settle();
    }

    /// Reads nothing any more from where a rule was broken.
    pub(crate) fn stop(&self, broken: Broken) {
        self.stop.set(Some(broken));
        self.set_lap();
        self.settle();
    }

    /// Gives a message back and tells the writer: the short way, for a message before which all are, while nothing is
    /// unusual. False when that is not so and nothing was done.
    #[inline(always)]
    pub(crate) fn release_next(&self, position: u64, next: u64) -> bool {
        if position != self.released.get() || self.unusual.get() {
            return false;
        }
        self.released.set(next);
        self.messages.set(self.messages.get() + 1);
        // ORDERING(reclaim): our loads of the payload before the writer's stores over it.
        self.read_pos.store(next, Ordering::Release);
        true
    }

    /// Gives the message from `position` to `next` back, as soon as all before it are. True when the writer should be
    /// told: not for every message of a batch.
    pub(crate) fn release(&self, position: u64, next: u64) -> bool {
        self.give_back(position, next, 1);
        self.batch.get().is_none_or(|published| self.released.get() - published >= self.window.capacity() / 4)
    }

    /// Messages that this handle has released, as far as all before them are.
    #[inline(always)]
    pub(crate) fn messages(&self) -> u64 {
        self.messages.get()
    }

    /// Tells the writer what is released.
    pub(crate) fn publish(&self) {
        // ORDERING(reclaim): our loads of the payload before the writer's stores over it.
        self.read_pos.store(self.released.get(), Ordering::Release);
        if self.batch.get().is_some() {
            self.batch.set(Some(self.released.get()));
        }
    }

    /// From here on the writer is told of several releases at once.
    pub(crate) fn begin_batch(&self) {
        self.batch.set(Some(self.released.get()));
        self.settle();
    }

    /// Ends a batch. True when there was one: then the writer is to be told.
    pub(crate) fn end_batch(&self) -> bool {
        let was_batch = self.batch.replace(None).is_some();
        if was_batch {
            self.settle();
        }
        was_batch
    }

    fn settle(&self) {
        let put_back = !self.put_back.borrow().is_empty();
        let early = !self.early.borrow().is_empty();
        self.unusual.set(put_back || early || self.batch.get().is_some() || self.stop.get().is_some());
    }

    fn give_back(&self, position: u64, next: u64, messages: u64) {
        if position >= self.released.get() {
            self.early.borrow_mut().insert(position, Early { next, messages });
        }
        while let Some(first) = self.early.borrow_mut().remove(&self.released.get()) {
            self.released.set(first.next);
            self.messages.set(self.messages.get() + first.messages);
        }
        self.settle();
    }
}

#[cfg(all(test, not(laneway_loom)))]
mod tests;
