//! The ledger: what became of each message, as the receiver says. One writes it, everybody reads it, at any time.
//!
//! A table of entries in fixed places. An entry stands within a few places of where its key belongs, so that nobody
//! follows a chain that somebody else is changing; when there is no room, anywhere, and a count says that there are such. Entries
//! of messages that are not done with stay; those that are done with make room for newer ones, the oldest first: so a ledger
//! remembers about as many outcomes as it has entries. Knows nothing of messages but their keys.
//!
//! Others leave word for the receiver in the **desk**: two counts, which anyone may write and nobody believes. Both go by
//! the argument of `bell.rs`: who waits counts, fences, and looks once more; who writes an entry fences, and looks at the count.

use crate::bell::{Relay, longest_sleep};
use crate::layout::{self, Place, entry};
use crate::region::{Own, Peer, Region, Window};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, load_acquire};
use crate::sys::fence::Fences;
use crate::sys::futex;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How far from its place an entry may be.
const REACH: u64 = if cfg!(laneway_loom) { 2 } else { 16 };

/// What an entry is about. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// Bits of a key below the number of what it is about.
const BITS: u32 = 52;

/// The numbers above those of lanes.
const LAST_LANE: u64 = 1024;

impl Key {
    /// A message of a lane. None for a position that no lane comes to.
    pub(crate) fn message(lane: u32, position: u64) -> Option<Key> {
        let words = position / 8;
        let known = u64::from(lane) < LAST_LANE && words < 1 << BITS && position.is_multiple_of(8);
        known.then_some(Key((u64::from(lane) + 1) << BITS | words))
    }

    /// The key that messages share of which only one counts; `family` tells apart what for.
    pub(crate) fn shared(family: u16, hash: u64) -> Key {
        Key((LAST_LANE + 1 + u64::from(family % 2)) << BITS | hash >> (64 - BITS))
    }

    /// The word of an entry that is about anything; none for 0.
    pub(crate) fn from_word(word: u64) -> Option<Key> {
        (word >> BITS != 0).then_some(Key(word))
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The message's lane and position.
    pub(crate) fn place(self) -> Option<(u32, u64)> {
        let lane = (self.0 >> BITS).checked_sub(1).filter(|lane| *lane < LAST_LANE)?;
        Some((lane as u32, (self.0 & ((1 << BITS) - 1)) * 8))
    }

    /// Where in a table of so many entries it belongs.
    fn home(self, entries: u64) -> u64 {
        // The upper half of the product depends on all bits of the key.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & (entries - 1)
    }
}

/// What the ledger says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Never 0.
    pub(crate) state: u8,
    pub(crate) reason: u8,
    pub(crate) attempts: u16,
    /// Nanoseconds since the boot.
    pub(crate) at: u64,
    pub(crate) extra: u64,
}

/// The table, for whoever has it mapped.
struct Book {
    words: Window,
    entries: u64,
    /// How many entries stand further than [`REACH`] from where they belong.
    spilled: Peer<AtomicU64>,
}

impl Book {
    fn new(ledger: &Arc<Region>, entries: u32) -> Book {
        let place = Place {
            offset: layout::ledger::ENTRIES as u64,
            window: u64::from(entries) * entry::LEN as u64,
            start: 0,
            end: u64::MAX,
        };
        Book { words: ledger.window(&place), entries: entries.into(), spilled: ledger.peer(layout::ledger::SPILLED) }
    }

    fn word(&self, at: u64, offset: usize) -> &AtomicU64 {
        self.words.word(at * entry::LEN as u64 + offset as u64)
    }

    /// Where this key stands, if it has not been spilled.
    fn places(&self, key: Key) -> impl Iterator<Item = u64> + use<> {
        let (home, entries) = (key.home(self.entries), self.entries);
        (home..home + REACH.min(entries)).map(move |at| at & (entries - 1))
    }

    fn is_spilled(&self, key: Key, at: u64) -> bool {
        at.wrapping_sub(key.home(self.entries)) & (self.entries - 1) >= REACH
    }

    /// What is said of this key, whoever is writing meanwhile.
    fn find(&self, key: Key) -> Option<Entry> {
        for at in self.places(key) {
            match self.look(at, key) {
                Look::Found(entry) => return Some(entry),
                Look::Other => {}
                Look::Never => break,
            }
        }
        if self.spilled.load() == 0 {
            return None;
        }
        let found = |at| if let Look::Found(entry) = self.look(at, key) { Some(entry) } else { None };
        (0..self.entries).find_map(found)
    }

    fn look(&self, at: u64, key: Key) -> Look {
        // An entry can be given to another while it is read; then this key is not here any more.
        // ORDERING(ledger): what stands beside the key belongs to it, or to a later one.
        match load_acquire(self.word(at, entry::KEY)) {
            0 => return Look::Never,
            word if word == key.0 => {}
            _ => return Look::Other,
        }
        // ORDERING(ledger): with the state comes what the receiver did before.
        let state = load_acquire(self.word(at, entry::STATE));
        // ORDERING(ledger): relaxed, both; the fence below puts them before the second look at the key.
        let when = self.word(at, entry::AT).load(Ordering::Relaxed);
        // ORDERING(ledger): as above.
        let extra = self.word(at, entry::EXTRA).load(Ordering::Relaxed);
        // ORDERING(ledger): pairs with the fence after a key was changed.
        fence(Ordering::Acquire);
        // ORDERING(ledger): relaxed; the fence above.
        let same = self.word(at, entry::KEY).load(Ordering::Relaxed) == key.0;
        if same && state != 0 { Look::Found(unpack(state, when, extra)) } else { Look::Other }
    }
}

/// What stands at a place.
enum Look {
    Found(Entry),
    Other,
    /// Nothing ever did, nor anything behind it that belongs before it.
    Never,
}

fn pack(entry: &Entry, order: u32) -> u64 {
    u64::from(entry.state) | u64::from(entry.reason) << 8 | u64::from(entry.attempts) << 16 | u64::from(order) << 32
}

fn unpack(state: u64, at: u64, extra: u64) -> Entry {
    Entry { state: state as u8, reason: (state >> 8) as u8, attempts: (state >> 16) as u16, at, extra }
}

/// The ledger of whoever holds the receiver's lock.
pub(crate) struct Ledger {
    book: Book,
    spilled: Own<AtomicU64>,
    bell: Own<AtomicU32>,
    waits: Peer<AtomicU64>,
    /// The count of waits for which we rang.
    rung: Cell<u64>,
    words: Peer<AtomicU64>,
    /// The count of words left at which we looked.
    read_words: Cell<u64>,
    /// Counts changes, so that the oldest entries can be told.
    order: Cell<u32>,
    fences: Fences,
}

/// Where an entry is, as long as it is not forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot(u64);

/// There is no room: all entries that this one could take are of messages that are not done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Ledger {
    pub(crate) fn new(ledger: &Arc<Region>, desk: &Arc<Region>, entries: u32, fences: Fences) -> Ledger {
        let ledger = Ledger {
            book: Book::new(ledger, entries),
            spilled: ledger.own(layout::ledger::SPILLED),
            bell: ledger.own(layout::ledger::SEQ),
            waits: desk.peer(layout::desk::WAITS),
            rung: Cell::new(0),
            words: desk.peer(layout::desk::WORDS),
            // Not what is there: the first look finds what was left while nobody was here.
            read_words: Cell::new(u64::MAX),
            order: Cell::new(0),
            fences,
        };
        let last = ledger.all().map(|(_, _, order)| order).max();
        ledger.order.set(last.unwrap_or(0));
        // Whoever died while a place changed hands may have left a count that is too high.
        let is_spilled = |at: &u64| ledger.key_at(*at).is_some_and(|key| ledger.book.is_spilled(key, *at));
        let spilled = (0..ledger.book.entries).filter(is_spilled).count() as u64;
        // ORDERING(hint): nobody finds more or fewer entries for it than there are.
        ledger.spilled.store(spilled, Ordering::Relaxed);
        ledger
    }

    fn key_at(&self, at: u64) -> Option<Key> {
        // ORDERING(takeover): relaxed; nobody else writes it.
        Key::from_word(self.book.word(at, entry::KEY).load(Ordering::Relaxed))
    }

    /// What the ledger says of this key.
    pub(crate) fn find(&self, key: Key) -> Option<Entry> {
        self.book.find(key)
    }

    /// All entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key, Entry)> + '_ {
        self.all().map(|(key, entry, _)| (key, entry))
    }

    fn all(&self) -> impl Iterator<Item = (Key, Entry, u32)> + '_ {
        (0..self.book.entries).filter_map(|at| {
            // ORDERING(takeover): relaxed; the receiver's lock ordered us behind the last one.
            let load = |offset| self.book.word(at, offset).load(Ordering::Relaxed);
            let (key, state) = (Key::from_word(load(entry::KEY))?, load(entry::STATE));
            (state != 0).then(|| (key, unpack(state, load(entry::AT), load(entry::EXTRA)), (state >> 32) as u32))
        })
    }

    /// Writes what became of a message, in place of what was said of it, or of an old message that may be forgotten,
    /// as `forgettable` says. The kernel is not called.
    pub(crate) fn write(
        &self,
        key: Key,
        entry: &Entry,
        forgettable: impl Fn(Key, &Entry) -> bool,
    ) -> Result<(), Crowded> {
        let at = self.place_of(key).or_else(|| self.new_place(key, forgettable)).ok_or(Crowded)?;
        self.write_at(at, entry);
        Ok(())
    }

    /// As [`write`](Self::write), of a message of which nothing is said. Gives where the entry is.
    #[inline]
    pub(crate) fn write_first(
        &self,
        key: Key,
        entry: &Entry,
        forgettable: impl Fn(Key, &Entry) -> bool,
    ) -> Result<Spot, Crowded> {
        let at = self.new_place(key, forgettable).ok_or(Crowded)?;
        self.write_at(at, entry);
        Ok(Spot(at))
    }

    /// Writes what became of a message whose entry was there when it was last seen. False when it is not.
    #[inline]
    pub(crate) fn write_again(&self, spot: Spot, key: Key, entry: &Entry) -> bool {
        // ORDERING(takeover): relaxed; nobody else writes it.
        let there = self.book.word(spot.0, entry::KEY).load(Ordering::Relaxed) == key.0;
        if there {
            self.write_at(spot.0, entry);
        }
        there
    }

    #[inline]
    fn write_at(&self, at: u64, entry: &Entry) {
        let order = self.order.get().wrapping_add(1);
        self.order.set(order);
        // ORDERING(ledger): relaxed, both: whoever finds the state below finds them, or later ones.
        self.book.word(at, entry::AT).store(entry.at, Ordering::Relaxed);
        // ORDERING(ledger): as above.
        self.book.word(at, entry::EXTRA).store(entry.extra, Ordering::Relaxed);
        // ORDERING(ledger): what was done before it is visible to whoever finds the state.
        self.book.word(at, entry::STATE).store(pack(entry, order), Ordering::Release);
    }

    /// Where the entry of this key is.
    fn place_of(&self, key: Key) -> Option<u64> {
        // ORDERING(takeover): relaxed; nobody else writes it.
        let word = |at: u64| self.book.word(at, entry::KEY).load(Ordering::Relaxed);
        let near = self.book.places(key).take_while(|at| word(*at) != 0).find(|at| word(*at) == key.0);
        let spilled = || self.book.spilled.load() > 0;
        near.or_else(|| if spilled() { (0..self.book.entries).find(|at| word(*at) == key.0) } else { None })
    }

    /// A place for a key that has none: one that was never used, or whose message is older than half of those that are
    /// remembered, or the oldest of those within reach.
    #[inline]
    fn new_place(&self, key: Key, forgettable: impl Fn(Key, &Entry) -> bool) -> Option<u64> {
        let (mut oldest, half) = (None, (self.book.entries / 2) as u32);
        for at in self.book.places(key) {
            let (word, age) = self.weigh(at, &forgettable);
            if let Some(age) = age
                && oldest.is_none_or(|(_, oldest)| age > oldest)
            {
                oldest = Some((at, age));
                if age > half {
                    break;
                }
            }
            if word == 0 {
                break;
            }
        }
        let anywhere = || (0..self.book.entries).find(|at| self.weigh(*at, &forgettable).1.is_some());
        oldest.map(|(at, _)| at).or_else(anywhere).map(|at| self.hand_over(at, key))
    }

    /// The key at a place, and if it may be given to another, how old what stands there is.
    #[inline]
    fn weigh(&self, at: u64, forgettable: &impl Fn(Key, &Entry) -> bool) -> (u64, Option<u32>) {
        // ORDERING(takeover): relaxed, all; nobody else writes them.
        let load = |offset| self.book.word(at, offset).load(Ordering::Relaxed);
        let (word, state) = (load(entry::KEY), load(entry::STATE));
        let age = match Key::from_word(word) {
            Some(key) if state != 0 => forgettable(key, &unpack(state, load(entry::AT), load(entry::EXTRA)))
                .then(|| self.order.get().wrapping_sub((state >> 32) as u32)),
            _ => Some(u32::MAX),
        };
        (word, age)
    }

    /// Gives a place to another key. Nothing is said of either meanwhile, also when we die on the way.
    fn hand_over(&self, at: u64, key: Key) -> u64 {
        let old = self.key_at(at);
        let spilled = u64::from(self.book.is_spilled(key, at));
        // More are said to be spilled than are, rather than fewer.
        if spilled > 0 {
            // ORDERING(hint): who does not see it yet does not find the entry yet.
            self.spilled.store(self.book.spilled.load().wrapping_add(1), Ordering::Relaxed);
        }
        // ORDERING(ledger): no state before the new key: who finds the new key does not find the old one's state.
        self.book.word(at, entry::STATE).store(0, Ordering::Relaxed);
        // ORDERING(ledger): after the state.
        self.book.word(at, entry::KEY).store(key.0, Ordering::Release);
        // ORDERING(ledger): the key before what will stand beside it.
        fence(Ordering::Release);
        if old.is_some_and(|old| self.book.is_spilled(old, at)) {
            // ORDERING(hint): as above.
            self.spilled.store(self.book.spilled.load().saturating_sub(1), Ordering::Relaxed);
        }
        at
    }

    /// Whether somebody has left word since the last time. To be asked after an entry was written that says that a message is
    /// taken: whoever leaves word looks for that entry afterwards, and one of the two sees the other.
    #[inline]
    pub(crate) fn has_word(&self) -> bool {
        // ORDERING(dekker): the entry before the count of words.
        self.fences.light();
        let words = self.words.load();
        let new = words != self.read_words.get();
        if new {
            self.read_words.set(words);
            // ORDERING(word): the word that was left is found by whoever looks for it now.
            fence(Ordering::Acquire);
        }
        new
    }

    /// Wakes those who wait for what becomes of messages, if there are any. To be called after an entry was written.
    #[inline]
    pub(crate) fn wake(&self) {
        // ORDERING(dekker): the entry before the count of waits.
        self.fences.light();
        let counted = self.waits.load();
        if counted != self.rung.get() {
            self.wake_once();
        }
    }

    #[cold]
    fn wake_once(&self) {
        // ORDERING(sleep): who is counted here took its number to sleep with before the one that follows: else we rang for it
        // now, and no more.
        let waits = self.waits.load_acquire();
        self.rung.set(waits);
        // ORDERING(dekker): relaxed: the light fence came before; who takes this number for the one to sleep with has a heavy
        // one behind it, and sees the entry.
        self.bell.fetch_add(1, Ordering::Relaxed);
        futex::wake_all(&self.bell);
    }
}

/// The ledger for everybody else.
pub(crate) struct LedgerView {
    book: Book,
    bell: Peer<AtomicU32>,
    waits: Own<AtomicU64>,
    words: Own<AtomicU64>,
    refused: Own<AtomicU64>,
    fences: Fences,
}

impl LedgerView {
    pub(crate) fn new(ledger: &Arc<Region>, desk: &Arc<Region>, entries: u32, fences: Fences) -> LedgerView {
        LedgerView {
            book: Book::new(ledger, entries),
            bell: ledger.peer(layout::ledger::SEQ),
            waits: desk.own(layout::desk::WAITS),
            words: desk.own(layout::desk::WORDS),
            refused: desk.own(layout::desk::REFUSED),
            fences,
        }
    }

    /// What the ledger says of this key.
    pub(crate) fn find(&self, key: Key) -> Option<Entry> {
        self.book.find(key)
    }

    /// The entries of messages, those that were written last first, at most `max`. Looks at the whole table.
    pub(crate) fn newest(&self, max: usize) -> Vec<(Key, Entry)> {
        let mut newest = Vec::new();
        for at in 0..self.book.entries {
            // ORDERING(ledger): relaxed; the look below acquires it.
            let key = Key::from_word(self.book.word(at, entry::KEY).load(Ordering::Relaxed));
            let Some(key) = key.filter(|key| key.place().is_some()) else { continue };
            if let Look::Found(entry) = self.book.look(at, key) {
                newest.push((key, entry));
            }
            // Now and then, so that there are never many more than asked for.
            if newest.len() >= 2 * max + 1024 {
                keep_newest(&mut newest, max);
            }
        }
        keep_newest(&mut newest, max);
        newest
    }

    /// Sleeps until an entry is written, at most for `limit` or a bound, unless `ready` says that there is no need to. `ready` is
    /// called when the receiver can know that somebody waits.
    pub(crate) fn sleep(&self, limit: Duration, ready: impl FnOnce() -> bool) {
        let seq = self.bell.load();
        let ordered = self.arm();
        if !ready() {
            futex::wait(self.bell.futex(), seq, limit.min(longest_sleep(ordered)));
        }
    }

    /// Says that somebody waits: the next entry that is written rings. What was written before is for the caller to look for, after
    /// this. False when a ring can be missed, for want of a fence: then it must look again after [`longest_sleep`].
    pub(crate) fn arm(&self) -> bool {
        // ORDERING(sleep): our load of the number before the count that makes the receiver change it.
        self.waits.fetch_add(1, Ordering::Release);
        // ORDERING(dekker): the count before the last look; with the light fence between an entry and the look at the count.
        self.fences.heavy()
    }

    /// What notices the rings for those who wait, in another thread, from here on.
    pub(crate) fn relay(&self) -> Relay {
        Relay::new(self.bell.clone())
    }

    /// Counts a message that was refused because too many were waiting.
    pub(crate) fn count_refused(&self) {
        // ORDERING(hint): relaxed; for people.
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were refused, as their senders say.
    pub(crate) fn refused(&self) -> u64 {
        // ORDERING(hint): as above.
        self.refused.load(Ordering::Relaxed)
    }

    /// Has the receiver look for word that was left before it hands out another message. What the ledger says after this of a
    /// message that is not taken yet is final: it will not be handed out before the word is read. False when the kernel
    /// refused, and the receiver may be just about to.
    pub(crate) fn leave_word(&self) -> bool {
        // ORDERING(word): the word that was left, before the count.
        self.words.fetch_add(1, Ordering::Release);
        // ORDERING(dekker): the count before the look at the entry.
        self.fences.heavy()
    }
}

fn keep_newest(entries: &mut Vec<(Key, Entry)>, max: usize) {
    entries.sort_unstable_by_key(|(key, entry)| std::cmp::Reverse((entry.at, key.word())));
    entries.truncate(max);
}
