//! The reading side of a ring and its segments.

use super::is_position;
use crate::error::{Broken, Fault};
use crate::layout::{CommitWord, Kind, LINE, Lap, Place};
use crate::record::{self, Likely, Record, Rules, Walk};
use crate::region::{Own, Payload, Window};
use crate::segments::Table;
use crate::sync::{AtomicU64, Ordering};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// The reading side. Records may be released in any order; the position that the writer sees moves over whole runs.
pub(crate) struct Reader {
    window: Window,
    table: Table,
    max_len: u32,
    /// Where the next record is looked for, and what the window is turned to.
    place: Cell<Place>,
    /// Where the record lies that was looked at last. The table may say something else by now.
    looked: Cell<Place>,
    /// Where the next record is looked for.
    at: Cell<u64>,
    /// Its lap, or the one before when nobody has looked yet, or none when nothing may be read there.
    lap: Cell<Lap>,
    /// Where the page ends that was touched last, or the lap if that is sooner: what ends before is all there.
    near_end: Cell<u64>,
    likely: Likely,
    /// How far the writer had come when it was last asked, as far as that can be believed.
    seen_to: Cell<u64>,
    /// Everything below is released.
    released: Cell<u64>,
    read_pos: Own<AtomicU64>,
    /// Messages among what `released` was moved over.
    messages: Cell<u64>,
    /// Records released before an earlier one was, by position. Empty but for odd orders.
    early: RefCell<BTreeMap<u64, Early>>,
    /// Gaps, by the position of the message that follows; given back with it, so that whoever reads that again is told again.
    gaps: RefCell<BTreeMap<u64, Gap>>,
    /// While there is one: how far the writer had been told when releases began to be collected.
    batch: Cell<Option<u64>>,
    /// Records that were taken and put back, by position: looked at again before anything newer.
    put_back: RefCell<BTreeSet<u64>>,
    /// While there are some: where the first record is that was never taken.
    frontier: Cell<Option<u64>>,
    /// Positions that jumps have passed over, in which nothing lies.
    skipped: Cell<u64>,
    /// A broken rule, from whose position on nothing is read any more.
    stop: Cell<Option<Broken>>,
    /// Whether any of the last four is in force; then taking has more to do, and releasing takes the long way.
    unusual: Cell<bool>,
}

/// How far ahead lines are asked for, bytes.
const FAR_AHEAD: u64 = 16 * LINE;

/// The smallest page there is.
const PAGE: u64 = 4096;

/// A record that was released before an earlier one.
#[derive(Debug, Clone, Copy)]
struct Early {
    next: u64,
    messages: u64,
}

/// Messages that are missing.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    count: u64,
    /// Where the first record that says so starts, unless it was given back.
    from: Option<u64>,
}

impl Reader {
    /// Takes over where the last reader's released messages end. If the word that says so cannot be true, whatever
    /// stands in the ring is damage.
    pub(crate) fn resume(window: Window, table: Table, max_len: u32, read_pos: Own<AtomicU64>) -> Reader {
        // ORDERING(takeover): relaxed; the lock ordered us behind the last receiver.
        let word = read_pos.load(Ordering::Relaxed);
        let at = if is_position(word) { word } else { 0 };
        let reader = Reader {
            place: Cell::new(table.ring()),
            looked: Cell::new(table.ring()),
            lap: Cell::new(Lap::NONE),
            near_end: Cell::new(0),
            likely: Likely::new(),
            seen_to: Cell::new(at),
            window,
            table,
            max_len,
            at: Cell::new(at),
            released: Cell::new(at),
            read_pos,
            messages: Cell::new(0),
            early: RefCell::default(),
            gaps: RefCell::default(),
            batch: Cell::new(None),
            put_back: RefCell::default(),
            frontier: Cell::new(None),
            skipped: Cell::new(0),
            stop: Cell::new(None),
            unusual: Cell::new(false),
        };
        reader.turn();
        if at != word {
            reader.stop(Broken { fault: Fault::ReadPosition, position: at, found: word });
        }
        reader
    }

    /// Where a message's payload lies.
    #[inline(always)]
    pub(crate) fn payload(&self, record: &Record) -> Payload {
        self.window.payload(record.position)
    }

    /// As [`payload`](Self::payload), of the record that [`look_from`](Self::look_from) has just found: in the place in
    /// which it was judged.
    pub(crate) fn payload_looked_at(&self, record: &Record) -> Payload {
        self.window.another(&self.looked.get()).payload(record.position)
    }

    /// Touches the last word of a record that was just looked at: `here`, where the next record is looked for, or
    /// by [`look_from`](Self::look_from).
    pub(crate) fn touch_end(&self, next: u64, here: bool) {
        let last = next - 8;
        if here {
            // ORDERING(publish): relaxed; the word is touched, not believed.
            self.window.word(last).load(Ordering::Relaxed);
        } else {
            // ORDERING(publish): as above.
            self.window.another(&self.looked.get()).word(last).load(Ordering::Relaxed);
        }
    }

    /// Everything below has been released.
    pub(crate) fn released(&self) -> u64 {
        self.released.get()
    }

    /// Where the first record is that was never taken.
    pub(crate) fn next(&self) -> u64 {
        self.frontier.get().unwrap_or(self.at.get())
    }

    /// Bytes of records in front of the first that was never taken, counted from anywhere.
    pub(crate) fn distance(&self) -> u64 {
        self.next() - self.skipped.get()
    }

    /// Where the next record is looked for.
    #[inline(always)]
    pub(crate) fn at(&self) -> u64 {
        self.at.get()
    }

    /// The record at `position`, which is where the next one is looked for or behind messages that follow it, if it is a
    /// message. Leaves everything else to [`look_from`](Self::look_from), also the first
    /// message of a lap that nobody has looked at: its word's check is another, and nothing is found. `is_sound` is asked when
    /// another page was touched.
    #[inline(always)]
    pub(crate) fn message_at(&self, position: u64, is_sound: impl FnOnce() -> bool) -> Option<Record> {
        let record = record::message_at(&self.window, position, &self.lap.get(), self.max_len, &self.likely)?;
        if record.next > self.near_end.get() && !self.reach(record.next, is_sound) {
            return None;
        }
        if record.next + FAR_AHEAD < self.seen_to.get() {
            self.window.prefetch_for_read(record.next + FAR_AHEAD);
        }
        Some(record)
    }

    /// What was touched may be gone when it is looked at again.
    pub(crate) fn forget_reach(&self) {
        self.near_end.set(0);
    }

    /// Asks for the lines of what is waiting up to `hint`, the writer's own word, which costs it a cache line: for a reader that
    /// is behind. A processor has but a few messages in hand at a time, and waits for the lines of each. Lines that are
    /// still being written must not be asked for: that takes them from the writer.
    #[inline]
    pub(crate) fn look_ahead(&self, hint: u64) {
        let at = self.at.get();
        if hint > at && hint - at <= self.table.most() {
            self.seen_to.set(hint);
            (at..hint.min(at + FAR_AHEAD)).step_by(LINE as usize).for_each(|line| self.window.prefetch_for_read(line));
        }
    }

    /// Whether nobody has asked how far the writer is beyond the next record.
    #[inline(always)]
    pub(crate) fn is_short_sighted(&self) -> bool {
        self.at.get() >= self.seen_to.get()
    }

    /// Whether what ends at `next` is all there, and the lap does not end before: its commit word was just read, and with
    /// it the page that holds the start.
    #[cold]
    fn reach(&self, next: u64, is_sound: impl FnOnce() -> bool) -> bool {
        if next > self.lap.get().end {
            return false;
        }
        self.touch_end(next, true);
        if is_sound() {
            self.near_end.set(next.next_multiple_of(PAGE).min(self.lap.get().end));
            return true;
        }
        false
    }

    /// How many messages may be taken in one go: where something is unusual, the next one need not be the one behind.
    pub(crate) fn is_unusual(&self) -> bool {
        self.unusual.get()
    }

    /// Whether there is anything at all at the next record's place: the smallest possible look.
    #[inline(always)]
    pub(crate) fn has_word(&self) -> bool {
        // ORDERING(publish): relaxed; whoever then takes the record loads the word again.
        self.window.word(self.at.get()).load(Ordering::Relaxed) != CommitWord::NOTHING
    }

    /// The next record that is not below `from`, which may be a pad or a jump, if there is one.
    pub(crate) fn look_from(&self, from: u64) -> Result<Option<Record>, Broken> {
        let again = self.put_back.borrow().range(from..).next().copied();
        self.set_lap();
        match self.stop.get() {
            Some(broken) if again.is_none() && self.next() >= broken.position => Err(broken),
            _ => self.inspect(again.unwrap_or(self.next())),
        }
    }

    fn inspect(&self, position: u64) -> Result<Option<Record>, Broken> {
        let rules = Rules { table: &self.table, max_len: self.max_len };
        let here = position == self.at.get();
        let place = if here { self.place.get() } else { self.table.locate(position)? };
        self.looked.set(place);
        match here {
            true => rules.inspect(&self.window, &place, position),
            false => rules.inspect(&self.window.another(&place), &place, position),
        }
    }

    /// Gives back gaps behind which nothing has come yet: their writer may need the room for it. True if there were some.
    pub(crate) fn let_go(&self) -> bool {
        let from = self.gaps.borrow_mut().get_mut(&self.at.get()).and_then(|gap| gap.from.take());
        if let Some(from) = from {
            self.give_back_run(from, self.at.get(), 0);
        }
        from.is_some()
    }

    /// How many messages lie ahead, up to the first word that is none or as many as a lane can hold.
    pub(crate) fn count_ahead(&self) -> usize {
        let rules = Rules { table: &self.table, max_len: self.max_len };
        let mut count = self.put_back.borrow().len();
        if let Ok(mut walk) = Walk::new(rules, &self.window, self.next()) {
            while let Ok(Some(record)) = walk.next() {
                count += usize::from(record.kind == Kind::Data);
            }
        }
        count
    }

    /// The lane's segment table.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The most bytes of records that the lane can hold at a time.
    pub(crate) fn most(&self) -> u64 {
        self.table.most()
    }

    /// Hands out a record that was looked at, or a run of messages: everything from `position` to `next`.
    #[inline(always)]
    pub(crate) fn take(&self, position: u64, next: u64) {
        self.at.set(next);
        if self.unusual.get() {
            self.took(position, next);
        }
    }

    /// Goes on to look at what was put back, or beyond.
    #[cold]
    fn took(&self, position: u64, next: u64) {
        if let Some(frontier) = self.frontier.get() {
            let mut put_back = self.put_back.borrow_mut();
            let again = put_back.remove(&position);
            let frontier = if again { frontier } else { next };
            self.frontier.set((!put_back.is_empty()).then_some(frontier));
            self.at.set(put_back.first().copied().unwrap_or(frontier));
            drop(put_back);
            self.turn();
        } else {
            self.set_lap();
        }
        self.settle();
    }

    /// Turns to the place of the next record.
    fn turn(&self) {
        match self.table.locate(self.at.get()) {
            Ok(place) => {
                self.place.set(place);
                self.window.turn_to(&place);
                self.set_lap();
            }
            Err(broken) => self.stop(broken),
        }
    }

    fn set_lap(&self) {
        let stopped = self.stop.get().is_some_and(|broken| self.at.get() >= broken.position);
        self.lap.set(if stopped { Lap::NONE } else { self.place.get().lap(self.at.get()) });
        self.near_end.set(0);
    }

    /// Moves on behind a record that is no message, and gives it back; a gap with the message that follows.
    pub(crate) fn pass(&self, record: &Record) {
        self.take(record.position, record.next);
        if record.kind == Kind::Jump {
            self.skipped.set(self.skipped.get() + (record.next - record.position - record.bytes()));
            self.turn();
        }
        let mut gap = self.gaps.borrow_mut().remove(&record.position).unwrap_or_default();
        if record.kind == Kind::Gap {
            gap.count += u64::from(record.len);
            gap.from.get_or_insert(record.position);
        } else {
            // A writer may wait for the room behind a pad or a jump: nothing may hold it up.
            if let Some(from) = gap.from.take() {
                self.give_back_run(from, record.position, 0);
            }
            self.give_back_run(record.position, record.next, 0);
        }
        if gap.count > 0 {
            let mut gaps = self.gaps.borrow_mut();
            // Those that were given back before their message are not missed by anybody when it is released.
            let told = gaps.split_off(&self.released.get());
            *gaps = told;
            gaps.insert(record.next, gap);
        }
    }

    /// How many messages are missing before the one at `position`, which was taken and not released.
    pub(crate) fn dropped_before(&self, position: u64) -> u64 {
        self.gaps.borrow().get(&position).map_or(0, |gap| gap.count)
    }

    /// Takes a record back that was taken and not released: it is looked at again.
    pub(crate) fn put_back(&self, position: u64) {
        self.frontier.set(Some(self.next()));
        self.put_back.borrow_mut().insert(position);
        self.at.set(self.at.get().min(position));
        self.turn();
        self.settle();
    }

    /// Reads nothing any more from where a rule was broken.
    pub(crate) fn stop(&self, broken: Broken) {
        self.stop.set(Some(broken));
        self.set_lap();
        self.settle();
    }

    /// Gives a run of messages back and tells the writer: the short way, for one before which all are, while nothing is
    /// unusual. False when that is not so and nothing was done.
    #[inline(always)]
    pub(crate) fn release_next(&self, position: u64, next: u64, messages: u64) -> bool {
        if position != self.released.get() || self.unusual.get() {
            return false;
        }
        self.released.set(next);
        self.messages.set(self.messages.get().wrapping_add(messages));
        // ORDERING(reclaim): our loads of the payload before the writer's stores over it.
        self.read_pos.store(next, Ordering::Release);
        true
    }

    /// Gives the messages from `position` to `next` back, as soon as all before them are. True when the writer should be
    /// told: not for every message of a batch.
    pub(crate) fn release(&self, position: u64, next: u64, messages: u64) -> bool {
        self.give_back(position, next, messages);
        self.batch.get().is_none_or(|published| self.released.get() - published >= self.table.ring().window / 4)
    }

    /// What the readers before this one had released.
    pub(crate) fn count_from(&self, messages: u64) {
        self.messages.set(messages);
    }

    /// Messages that were released, as far as all before them are.
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
        if let Some(Gap { from: Some(from), .. }) = self.gaps.borrow_mut().remove(&position)
            && from >= self.released.get()
        {
            self.early.borrow_mut().insert(from, Early { next: position, messages: 0 });
        }
        self.give_back_run(position, next, messages);
    }

    fn give_back_run(&self, position: u64, next: u64, messages: u64) {
        if position >= self.released.get() {
            self.early.borrow_mut().insert(position, Early { next, messages });
        }
        while let Some(first) = self.early.borrow_mut().remove(&self.released.get()) {
            self.released.set(first.next);
            self.messages.set(self.messages.get().wrapping_add(first.messages));
        }
        self.settle();
    }
}
