//! What becomes of a message before it is handed out: what the ledger knows of it, what its envelope says, and whether
//! somebody has taken it back.

use super::clock;
use super::control::{What, Word};
use super::delivery::{Delivery, Source};
use super::envelope::{Envelope, Opened};
use super::inbox::Inbox;
use super::kept::{Letter, Strike};
use super::settings::WhenFull;
use super::stats::Count;
use super::ticket::{Reason, State};
use crate::error::TryRecvError;
use crate::ledger::{Key, Spot};
use crate::queue::{Message, Receiver};
use std::cell::Cell;
use std::sync::Arc;

/// Families of keys that messages share.
const IDEMPOTENCY: u16 = 0;
const SUPERSEDE: u16 = 1;

/// A message of a lane against which nothing is said.
pub(super) struct Sound<'a> {
    pub(super) message: Message<'a>,
    opened: Opened,
    key: Key,
    /// The ledger says nothing of it.
    is_new: bool,
    /// How often it was handed out.
    attempts: u32,
    /// When it was looked at.
    now: u64,
}

impl Inbox {
    /// What is to become of a message: it is handed out, or something else and nothing is returned.
    #[inline]
    pub(super) fn judge<'a>(&'a self, message: Message<'a>) -> Option<Delivery<'a>> {
        let Sound { message, opened, key, is_new, attempts, now } = self.sift(message)?;
        if attempts > 0 {
            self.counters.add(Count::Redelivered);
        }
        let Some(spot) = self.take(key, is_new, attempts, &opened.envelope, now) else {
            self.pass(key, message);
            return None;
        };
        self.held.borrow_mut().push((message.lane(), message.position()));
        Some(Delivery { inbox: self, source: Some(Source::Lane(message)), opened, key, spot, attempt: attempts + 1 })
    }

    /// Does with a message what is to be done with those that are not handed out; one that may be is returned, and nothing
    /// is written of it yet.
    #[inline]
    pub(super) fn sift<'a>(&'a self, message: Message<'a>) -> Option<Sound<'a>> {
        let (lane, position) = (message.lane(), message.position());
        let Some(key) = Key::message(lane, position) else {
            // No lane comes so far in the life of a host.
            message.release();
            return None;
        };
        let now = self.clock.now();
        let known_to = self.known_to.get(lane as usize).map_or(u64::MAX, Cell::get);
        let is_new = position >= known_to;
        let attempts = if is_new { Some(0) } else { self.attempts_before(key, now) };
        let Some(attempts) = attempts else {
            self.pass(key, message);
            return None;
        };
        if known_to == 0 {
            self.lane_came.set(true);
        }
        let opened = match Envelope::of(&message) {
            Ok(opened) => opened,
            Err(_) => {
                let uid = self.mail.lane_owner(lane).unwrap_or(u32::MAX);
                let _ = self.bury(key, Reason::Malformed, attempts, uid, &message.to_vec());
                self.counters.add(Count::Malformed);
                self.settle(key, State::Failed, Reason::Malformed, attempts, now);
                self.pass(key, message);
                return None;
            }
        };
        self.count_now_and_then(now);
        if let Some((state, reason)) = self.verdict(key, &opened.envelope, now) {
            self.settle(key, state, reason, attempts, now);
            self.pass(key, message);
            return None;
        }
        if opened.envelope.not_before > now && attempts == 0 {
            let due = opened.envelope.not_before;
            let kept = |uid| self.keep(key, due, 0, Reason::Delayed, uid, message.to_vec());
            if self.mail.lane_owner(lane).and_then(kept).is_ok() {
                self.pass(key, message);
                return None;
            }
            // There is no room to keep it: rather too early than never.
        }
        if attempts > 0 && attempts >= self.max_attempts(&opened.envelope) {
            let uid = self.mail.lane_owner(lane).unwrap_or(u32::MAX);
            self.bury_spent(key, attempts, uid, &message.to_vec(), now);
            self.pass(key, message);
            return None;
        }
        Some(Sound { message, opened, key, is_new, attempts, now })
    }

    /// How often a message was handed out of which those who served before may have known; none if it is to be passed over,
    /// because it was settled, or is kept.
    fn attempts_before(&self, key: Key, now: u64) -> Option<u32> {
        let entry = self.ledger.find(key);
        let attempts = entry.map_or(0, |entry| u32::from(entry.attempts));
        let strike = self.kept.borrow().strike_of(key);
        if let Some(strike) = strike {
            // Said by whoever served before, of one that it passed behind one that was held.
            let is_said = entry.is_some_and(|entry| State::from_code(entry.state).is_final());
            if strike == Strike::TakenBack && !is_said {
                self.settle(key, State::Cancelled, Reason::None, attempts, now);
            }
            self.kept.borrow_mut().not_struck(key);
            return None;
        }
        if self.kept.borrow().holds(key) {
            let is_said = entry.is_some_and(|entry| State::from_code(entry.state) == State::Pending);
            if !is_said && self.kept.borrow().waits(key) {
                // Whoever served before died between keeping it and saying so.
                self.write(key, State::Pending, Reason::Retry, attempts, now);
            }
            return None;
        }
        match entry.map(|entry| State::from_code(entry.state)) {
            // Said to be kept, and is not: it is here.
            None | Some(State::Taken | State::Pending) => Some(attempts),
            Some(_) => None,
        }
    }

    /// Leaves behind a message of a lane that is not handed out. Until the lane has passed it, the ledger must not forget why.
    fn pass(&self, key: Key, message: Message<'_>) {
        message.release();
        if !self.held.borrow().is_empty() && self.lies(key) {
            self.ahead.borrow_mut().insert(key);
        } else if !self.ahead.borrow().is_empty() {
            self.ahead.borrow_mut().remove(&key);
        }
    }

    /// Whether a message lies in its lane, released or not.
    pub(super) fn lies(&self, key: Key) -> bool {
        let Some((lane, position)) = key.place() else { return false };
        let cursor = self.observer.borrow_mut().cursor(lane).ok().flatten();
        cursor.is_some_and(|cursor| (cursor.read_pos..cursor.write_pos).contains(&position))
    }

    /// A message that was kept and is due now.
    #[inline]
    pub(super) fn take_due(&self) -> Option<Delivery<'_>> {
        if self.kept.borrow().waiting() == 0 {
            return None;
        }
        loop {
            let (letter, attempts, now) = self.sift_due()?;
            let Letter { key, opened, .. } = *letter;
            if let Some(spot) = self.take(key, false, attempts, &opened.envelope, now) {
                let source = Some(Source::Kept(letter));
                return Some(Delivery { inbox: self, source, opened, key, spot, attempt: attempts + 1 });
            }
            self.done_keeping(key);
        }
    }

    /// As [`sift`](Self::sift), of the messages that are kept and due: one that may be handed out, how often it was, and the time.
    pub(super) fn sift_due(&self) -> Option<(Arc<Letter>, u32, u64)> {
        loop {
            let now = self.clock.now();
            let letter = self.kept.borrow_mut().take_due(now)?;
            let Letter { key, opened, uid, .. } = *letter;
            let attempts = self.ledger.find(key).map_or(0, |entry| u32::from(entry.attempts)).max(letter.attempts);
            if let Some((state, reason)) = self.verdict(key, &opened.envelope, now) {
                self.settle(key, state, reason, attempts, now);
            } else if attempts >= self.max_attempts(&opened.envelope) {
                self.bury_spent(key, attempts, uid, &letter.bytes, now);
            } else {
                return Some((letter, attempts, now));
            }
            self.done_keeping(key);
        }
    }

    /// What a message's envelope says against handing it out.
    fn verdict(&self, key: Key, envelope: &Envelope, now: u64) -> Option<(State, Reason)> {
        if envelope.deadline != 0 && envelope.deadline <= now {
            return Some((State::Expired, Reason::None));
        }
        let max_age = self.settings.max_age;
        if !max_age.is_zero() && clock::between(envelope.sent_at.max(envelope.not_before), now) > max_age {
            return Some((State::Expired, Reason::TooOld));
        }
        if envelope.supersede != 0 {
            let newest = self.ledger.find(Key::shared(SUPERSEDE, envelope.supersede));
            if newest.is_some_and(|newest| newest.extra > envelope.sent_at) {
                return Some((State::Superseded, Reason::None));
            }
        }
        if envelope.idempotency != 0 {
            let shared = Key::shared(IDEMPOTENCY, envelope.idempotency);
            match self.ledger.find(shared) {
                Some(first) if first.extra != key.word() => return Some((State::Superseded, Reason::Duplicate)),
                Some(_) => {}
                None => {
                    self.write_shared(shared, key.word(), now);
                }
            }
        }
        if self.settings.when_full == WhenFull::Roll && self.settings.max_pending > 0 {
            let waiting = self.observer.borrow().depth_messages() + self.kept.borrow().len() as u64;
            let taken = self.held.borrow().len() as u64;
            if waiting.saturating_sub(taken) > u64::from(self.settings.max_pending) {
                return Some((State::Superseded, Reason::Rolled));
            }
        }
        None
    }

    /// Writes down that a message is taken, before it is handed out, and gives where. None when it must not be, because its
    /// sender has just taken it back.
    #[inline]
    fn take(&self, key: Key, is_new: bool, attempts: u32, envelope: &Envelope, now: u64) -> Option<Option<Spot>> {
        let spot = if is_new {
            self.write_first(key, State::Taken, attempts + 1, now)
        } else {
            // There is room: that was seen to before the message was looked for.
            self.write(key, State::Taken, Reason::None, attempts + 1, now);
            None
        };
        if self.ledger.has_word() && self.read_words(Some(key)) {
            self.settle(key, State::Cancelled, Reason::None, attempts, now);
            return None;
        }
        self.ledger.wake();
        self.counters.add(Count::HandedOut);
        self.in_hands.set(self.in_hands.get() + 1);
        self.counters.set(Count::Taken, self.in_hands.get());
        let waited = clock::between(envelope.sent_at.max(envelope.not_before), now);
        if attempts == 0 {
            self.counters.add_delay(waited, now);
        }
        #[cfg(feature = "tracing")]
        crate::log::taken(&self.path, self.ticket(key), attempts + 1, waited);
        Some(spot)
    }

    /// Reads the words that were left about messages, and writes down what they say. Whether one of them is about `in_hand`,
    /// which is taken and not handed out yet.
    #[cold]
    pub(super) fn read_words(&self, in_hand: Option<Key>) -> bool {
        let mut caught = false;
        for _ in 0..FEW_WORDS {
            let Some(word) = next_word(&self.control) else { return caught };
            caught |= self.read_word(word, in_hand);
        }
        // No more than were there before: they may come faster than they are read. What was left later is counted later.
        if let Ok(words) = self.control.drain() {
            words.for_each(|word| caught |= self.read_word(word, in_hand));
        } else {
            while let Some(word) = next_word(&self.control) {
                caught |= self.read_word(word, in_hand);
            }
        }
        caught
    }

    fn read_word(&self, word: Message<'_>, in_hand: Option<Key>) -> bool {
        let mut caught = false;
        let now = self.clock.now();
        let found = word.read_pod::<Word>().ok().and_then(|word| Some((word.what()?, word)));
        match found {
            Some((What::Cancel(message), _)) => {
                let key = Key::message(message.lane, message.position);
                caught = key.is_some() && key == in_hand;
                if let Some(key) = key.filter(|_| !caught) {
                    self.cancel(key, now);
                }
            }
            Some((What::Supersede(_), Word { key, sent_at, .. })) => {
                let shared = Key::shared(SUPERSEDE, key);
                let newest = self.ledger.find(shared).map_or(0, |entry| entry.extra);
                // Nothing was sent later than now, whatever a word says; but clocks of two processes differ by some microseconds.
                self.write_shared(shared, newest.max(sent_at.min(now.saturating_add(SKEW))), now);
            }
            None => {}
        }
        // Only now is it read.
        word.release();
        caught
    }

    /// Strikes a message out in the log. False without room.
    fn strike(&self, key: Key) -> bool {
        let struck = self.kept.borrow_mut().strike(key).is_ok();
        if struck {
            self.note_known(key);
        }
        struck
    }

    /// Takes back a message that nobody has taken.
    fn cancel(&self, key: Key, now: u64) {
        let entry = self.ledger.find(key);
        let attempts = entry.map_or(0, |entry| u32::from(entry.attempts));
        let is_kept = self.kept.borrow().holds(key);
        match entry.map_or(State::Pending, |entry| State::from_code(entry.state)) {
            State::Pending if is_kept => {
                self.settle(key, State::Cancelled, Reason::None, attempts, now);
                self.done_keeping(key);
            }
            // Of more than the ledger should not forget the log says so, until their turn comes.
            State::Pending if self.lies(key) && self.is_crowded() && self.strike(key) => {}
            // Also when there is no room in the log: the ledger has some left, for those that are taken.
            State::Pending if self.lies(key) => {
                self.ahead.borrow_mut().insert(key);
                self.settle(key, State::Cancelled, Reason::None, attempts, now);
            }
            // It was taken, or is done with.
            _ => {}
        }
    }
}

/// The clocks of two processes do not differ by more, nanoseconds.
const SKEW: u64 = 1_000_000;

/// So many words are read without asking how many there are.
const FEW_WORDS: usize = 64;

fn next_word(control: &Receiver) -> Option<Message<'_>> {
    loop {
        match control.try_recv() {
            Ok(word) => return Some(word),
            Err(TryRecvError::Corrupt(_)) => {}
            Err(_) => return None,
        }
    }
}
