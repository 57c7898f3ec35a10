//! The writing side of a ring and its segments.

use super::{Claim, Refusal, is_position};
use crate::error::{Broken, Fault};
use crate::layout::{self, CommitWord, Kind, Lap, Place};
use crate::record::{Rules, Walk};
use crate::region::{Own, Peer, Window};
use crate::segments::{Entry, Table};
use crate::sync::{AtomicU64, Ordering, fence};

/// The writing side: its position is its own secret, and true.
pub(crate) struct Writer {
    window: Window,
    table: Table,
    max_len: u32,
    place: Place,
    /// The slot of the segment that records go to, if they do not go to the ring.
    segment: Option<u32>,
    write_pos: u64,
    /// Every word from `write_pos` up to here is 0, and so the terminator of any record that ends before it.
    clear_to: u64,
    /// The reader's position as last accepted: stale, never ahead.
    read_copy: u64,
    lap: Lap,
    /// The last position at which the next record may end without asking anybody: within the lap, with room, and not
    /// above the ceiling.
    limit: u64,
    /// Where whoever composes the lane wants to be asked, although there is room.
    ceiling: u64,
    /// Where the ring was left for the segments that are being written; of no meaning in the ring.
    left_at: u64,
    /// Where the ring was entered again: it was empty then, whatever lies before in segments.
    entered_at: u64,
    read_pos: Peer<AtomicU64>,
    /// `read_copy` for observers, stored before it is used.
    accepted: Own<AtomicU64>,
}

/// Messages of which the first is committed last: until then nobody finds any of them, and the reader does not come for their
/// lines while they are written. Forgetting it is harmless: nothing happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Where the next message goes.
    next: u64,
    /// The commit word of the first message, which is not stored yet.
    first: CommitWord,
    messages: u64,
}

/// How many bytes a run may have before it takes no more: what is in it waits for its last message.
const LONGEST_RUN: u64 = 8 << 10;

/// How far ahead of the next record words are cleared, bytes: two records of a line each, and the line on its way.
const AHEAD: u64 = 3 * layout::LINE;

/// How far ahead lines are asked for, bytes: as many as a processor has on their way at a time.
const FAR_AHEAD: u64 = 16 * layout::LINE;

/// The most lines that are asked for at once.
const MOST_ASKED: u64 = 8;

impl Writer {
    /// Takes over behind what is committed (I2), and says how many of those messages lie at `hint` or above it. The
    /// caller holds the lane's lock, so nobody else writes.
    ///
    /// What the reader has not released is all there, so the walk from its position finds the end. The last writer's hint
    /// is not believed: one that is too high would leave a hole that no reader ever passes.
    pub(crate) fn resume(
        window: Window,
        table: Table,
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
        let mut walk = Walk::new(Rules { table: &table, max_len }, &window, read)?;
        // A walk that begins in a segment begins behind the jump that left the ring.
        let (mut left_at, mut entered_at, mut beyond_hint) = (0, 0, 0);
        let mut was_ring = walk.place.is_ring();
        while let Some(record) = walk.next()? {
            beyond_hint += u64::from(record.kind == Kind::Data && record.position >= hint);
            match (was_ring, walk.place.is_ring()) {
                (true, false) => left_at = record.position,
                (false, true) => entered_at = record.next,
                _ => {}
            }
            was_ring = walk.place.is_ring();
        }
        let (write_pos, place) = (walk.at, walk.place);
        if hint > write_pos {
            return Err(Broken { fault: Fault::WritePosition, position: write_pos, found: hint });
        }
        window.turn_to(&place);
        let segment = table.entries().find(|entry| entry.place() == place).map(|entry| entry.slot);
        let mut writer = Writer {
            window,
            table,
            max_len,
            lap: place.lap(write_pos),
            segment,
            place,
            write_pos,
            clear_to: write_pos + 8,
            read_copy: read,
            limit: 0,
            ceiling: u64::MAX,
            left_at,
            entered_at,
            read_pos,
            accepted,
        };
        if writer.room_end() < write_pos {
            return Err(Broken { fault: Fault::Length, position: read, found: write_pos });
        }
        writer.accept(read);
        writer.set_limit();
        Ok((writer, beyond_hint))
    }

    /// Where the next record will start.
    #[inline(always)]
    pub(crate) fn write_pos(&self) -> u64 {
        self.write_pos
    }

    /// The reader's position as last accepted.
    pub(crate) fn read_copy(&self) -> u64 {
        self.read_copy
    }

    /// Whether records go to the ring.
    pub(crate) fn is_home(&self) -> bool {
        self.place.is_ring()
    }

    /// Bytes that have gone to the ring since it was last entered; 0 elsewhere.
    pub(crate) fn home_for(&self) -> u64 {
        if self.is_home() { self.write_pos - self.entered_at } else { 0 }
    }

    /// The window of the ring or the segment that records go to.
    pub(crate) fn window(&self) -> u64 {
        self.place.window
    }

    /// The slot of the segment that records go to, if they do not go to the ring.
    pub(crate) fn segment(&self) -> Option<u32> {
        self.segment
    }

    /// Room for `len` bytes of payload, if it is known to be there: the short way, which leaves the end of the ring and
    /// everything that must be asked for to [`claim`](Self::claim).
    #[inline(always)]
    pub(crate) fn claim_known(&mut self, len: usize) -> Option<Claim> {
        let next = layout::next_record(self.write_pos, layout::record_len(len));
        let known = next <= self.limit && len <= self.max_len as usize;
        known.then(|| self.terminated(next, len as u32))
    }

    /// Room for `len` bytes of payload where records go now, after saying that `dropped` messages are missing before it,
    /// if any are. May commit a pad on the way, also when it then reports `Full`: a reader must be able to pass the end
    /// of the ring before the room behind it is counted.
    pub(crate) fn claim(&mut self, len: usize, dropped: u32) -> Result<Claim, Refusal> {
        if len > self.max_len as usize {
            return Err(Refusal::TooLarge);
        }
        let gap = if dropped > 0 { layout::record_len(0) } else { 0 };
        let record = layout::record_len(len);
        if self.is_home() {
            self.pass_end(gap + record)?;
        }
        self.need(layout::next_record(self.write_pos + gap, record))?;
        if dropped > 0 {
            self.commit_gap_here(dropped);
        }
        Ok(self.terminated(layout::next_record(self.write_pos, record), len as u32))
    }

    /// Says that `dropped` messages are missing, with no message behind it.
    pub(crate) fn commit_gap(&mut self, dropped: u32) -> Result<(), Refusal> {
        let gap = layout::record_len(0);
        if self.is_home() {
            self.pass_end(gap)?;
        }
        self.need(self.write_pos + gap)?;
        self.commit_gap_here(dropped);
        Ok(())
    }

    fn commit_gap_here(&mut self, dropped: u32) {
        let claim = self.terminated(self.write_pos + layout::record_len(0), 0);
        self.commit_word(self.lap.word(Kind::Gap, dropped), claim);
    }

    /// Nothing more goes to the segment that records go to: its end is here.
    pub(crate) fn cut_segment(&mut self) {
        self.place.end = self.write_pos + 8;
        self.lap = self.place.lap(self.write_pos);
        self.set_limit();
    }

    /// Makes the ring's end no obstacle for a record.
    fn pass_end(&mut self, record: u64) -> Result<(), Refusal> {
        if record + 8 > self.place.window {
            return Err(Refusal::Full);
        }
        if self.write_pos == self.lap.end {
            self.lap = self.place.lap(self.write_pos);
        }
        if self.write_pos + record > self.lap.end {
            self.need(self.lap.end)?;
            let pad = self.lap.word(Kind::Pad, 0);
            let claim = self.terminated(self.lap.end, 0);
            self.commit_word(pad, claim);
            self.lap = self.place.lap(self.write_pos);
        }
        Ok(())
    }

    /// The claim of everything up to `next`, with the terminator behind it.
    #[inline(always)]
    fn terminated(&mut self, next: u64, len: u32) -> Claim {
        let clear_to = if next < self.clear_to { self.clear_to } else { self.terminate(next) };
        // Whoever gives the claim up leaves its bytes behind.
        self.clear_to = self.write_pos + 8;
        Claim { position: self.write_pos, next, len, clear_to }
    }

    /// Stores the terminator at `next`, and clears the rest of its line as far as it is ours. Returns where that ends.
    fn terminate(&self, next: u64) -> u64 {
        let mut at = next;
        loop {
            // ORDERING(terminator): relaxed; the commit word's Release puts it before the record, so whoever finds the
            // record finds 0 behind it and never the bytes of the last lap.
            self.window.word(at).store(CommitWord::NOTHING, Ordering::Relaxed);
            at += 8;
            if at.is_multiple_of(layout::LINE) || at > self.limit {
                return at;
            }
        }
    }

    /// Prepares the lines of the next records, after one from `position` was committed and if it reached another line.
    ///
    /// Asks for as many lines as it took to become ours alone, far ahead: the reader still holds them from the last lap, and
    /// stores go out in order, so each that has to wait for its line holds up all behind it. And behind short records clears
    /// the next lines: so their terminators are there before anybody waits for them, and no commit word has to wait behind a
    /// store to another line. The figures are in docs/performance.md.
    #[inline(always)]
    fn prepare_lines(&mut self, position: u64) {
        let lines = self.write_pos / layout::LINE - position / layout::LINE;
        if lines == 0 {
            return;
        }
        self.window.prefetch_for_write(self.write_pos + FAR_AHEAD);
        if lines <= 2 {
            if lines == 2 {
                self.window.prefetch_for_write(self.write_pos + FAR_AHEAD - layout::LINE);
            }
            while self.clear_to < self.write_pos + AHEAD && self.clear_to + layout::LINE <= self.limit {
                // SAFETY: I5: all of it lies below the limit, which is not above the end of the lap.
                #[expect(unsafe_code, reason = "a line is cleared at once")]
                unsafe {
                    self.window.clear_line(self.clear_to);
                }
                self.clear_to += layout::LINE;
            }
        } else {
            (1..lines.min(MOST_ASKED)).for_each(|line| {
                self.window.prefetch_for_write(self.write_pos + FAR_AHEAD - line * layout::LINE);
            });
        }
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
        // ORDERING(publish): payload and terminator before the commit word; of a run, also the records behind it.
        self.window.word(claim.position).store(word.0, Ordering::Release);
        (self.write_pos, self.clear_to) = (claim.next, claim.clear_to);
        self.prepare_lines(claim.position);
    }

    /// Begins a run of messages.
    #[inline(always)]
    pub(crate) fn begin_run(&mut self) -> Run {
        // What the run fills behind its first record stays there when it is given up.
        self.clear_to = self.write_pos + 8;
        Run { next: self.write_pos, first: CommitWord(CommitWord::NOTHING), messages: 0 }
    }

    /// Puts a message behind the others of a run, if there is room that is known of and the run is not too long already.
    /// Nothing else is claimed while there is a run.
    #[inline(always)]
    pub(crate) fn push(&self, run: &mut Run, payload: &[u8]) -> bool {
        let (at, len) = (run.next, payload.len());
        let next = layout::next_record(at, layout::record_len(len));
        if next > self.limit || len > self.max_len as usize || at - self.write_pos >= LONGEST_RUN {
            return false;
        }
        // SAFETY: I5: the record ends below the limit, which is not above the end of the lap.
        #[expect(unsafe_code, reason = "as in `fill`")]
        unsafe {
            self.window.copy_in(at + 8, payload);
        }
        let word = self.lap.message(len as u32);
        if run.messages == 0 {
            run.first = word;
        } else {
            // ORDERING(publish): relaxed; the commit word of the first record comes after it.
            self.window.word(at).store(word.0, Ordering::Relaxed);
        }
        if at / layout::LINE != next / layout::LINE {
            self.window.prefetch_for_write(next + FAR_AHEAD);
        }
        (run.next, run.messages) = (next, run.messages + 1);
        true
    }

    /// Makes the run records, all at once, and says how many.
    #[inline(always)]
    pub(crate) fn commit_run(&mut self, run: Run) -> u64 {
        if run.messages > 0 {
            let claim = self.terminated(run.next, 0);
            self.commit_word(run.first, claim);
        }
        run.messages
    }

    /// Goes on in a segment whose bytes are reserved (I9). There is always a free word for the jump (I3).
    pub(crate) fn jump_to(&mut self, entry: &Entry) {
        if self.is_home() {
            self.left_at = self.write_pos;
        }
        self.table.fill(entry);
        self.segment = Some(entry.slot);
        self.jump(entry.slot + 1, entry.place(), entry.start);
    }

    /// Whether the ring is empty while records go to segments: the reader is beyond the jump that left it.
    pub(crate) fn may_go_home(&self) -> bool {
        !self.is_home() && self.read_copy > self.left_at
    }

    /// Goes on in the ring, which is empty.
    pub(crate) fn go_home(&mut self) {
        self.entered_at = self.write_pos + 8;
        self.segment = None;
        self.jump(0, self.table.ring(), self.entered_at);
    }

    fn jump(&mut self, target: u32, place: Place, start: u64) {
        // Of the old place's lap, which may have ended just here.
        let word = self.place.lap(self.write_pos).word(Kind::Jump, target);
        let there = self.window.another(&place);
        // ORDERING(terminator): relaxed; the jump's Release puts it before the jump.
        there.word(start).store(CommitWord::NOTHING, Ordering::Relaxed);
        // ORDERING(publish): where reading goes on, and the entry that says so, before the jump.
        self.window.word(self.write_pos).store(word.0, Ordering::Release);
        (self.window, self.place, self.write_pos, self.clear_to) = (there, place, start, start + 8);
        self.lap = place.lap(start);
        self.set_limit();
    }

    /// Whether the reader has released anything since it was last asked.
    pub(crate) fn reader_has_moved(&self) -> bool {
        self.read_pos.load() != self.read_copy
    }

    /// Asks where the reader is.
    pub(crate) fn refresh(&mut self) -> Result<(), Broken> {
        // ORDERING(reclaim): the reader's loads of what it released come before our stores over it.
        let found = self.read_pos.load_acquire();
        if found < self.read_copy || found > self.write_pos || !found.is_multiple_of(8) {
            return Err(Broken { fault: Fault::ReadPosition, position: self.write_pos, found });
        }
        self.accept(found);
        self.set_limit();
        Ok(())
    }

    /// From here on [`claim_known`](Self::claim_known) knows of nothing above `position`.
    pub(crate) fn set_ceiling(&mut self, position: u64) {
        self.ceiling = position;
        self.set_limit();
    }

    /// Makes sure that everything below `next`, and the free word at it, may be written (I3).
    fn need(&mut self, next: u64) -> Result<(), Refusal> {
        if next > self.room_end() {
            self.refresh().map_err(Refusal::Broken)?;
        }
        self.set_limit();
        if next <= self.room_end() { Ok(()) } else { Err(Refusal::Full) }
    }

    /// The last position at which a record may end: behind it is a free word, which the reader is done with.
    fn room_end(&self) -> u64 {
        match self.is_home() {
            true => self.read_copy.max(self.entered_at) + self.place.window - 8,
            false => self.lap.end,
        }
    }

    fn set_limit(&mut self) {
        self.limit = self.lap.end.min(self.room_end()).min(self.ceiling);
    }

    fn accept(&mut self, read: u64) {
        self.read_copy = read;
        // ORDERING(begin): whoever begins to look there may be in the middle of a run, whose records come before this. The fence
        // puts it before every store over what it gives up.
        self.accepted.store(read, Ordering::Release);
        // ORDERING(lapped, segment): pairs with the observer's fence between its copy and its load of `accepted`, and with
        // whoever finds the end that is about to be moved down: the entry before it.
        fence(Ordering::Release);
    }
}
