//! What became of a message: written down, counted, and acted on.

use super::clock;
use super::dead::Grave;
use super::delivery::{Delivery, Source};
use super::inbox::Inbox;
use super::stats::Count;
use super::ticket::{Reason, State};
use crate::error::{Cause, Error, SendError};
use crate::ledger::{Crowded, Entry, Key, Spot};
use std::time::Duration;

impl Inbox {
    /// Writes down that nothing more will become of a message, counts it, and wakes those who wait for that.
    pub(super) fn settle(&self, key: Key, state: State, reason: Reason, attempts: u32, now: u64) {
        #[cfg(feature = "tracing")]
        self.tell(key, state, reason, attempts);
        self.write(key, state, reason, attempts, now);
        self.ledger.wake();
        self.counters.add(match state {
            State::Acked => Count::Acked,
            State::Expired => Count::Expired,
            State::Cancelled => Count::Cancelled,
            State::Superseded => Count::Superseded,
            State::DeadLettered => Count::DeadLettered,
            State::Failed | State::Pending | State::Taken | State::Unknown => Count::Failed,
        });
        match reason {
            Reason::Duplicate => self.counters.add(Count::Duplicate),
            Reason::Rolled => self.counters.add(Count::Rolled),
            _ => {}
        }
    }

    /// Tells the log what becomes of a message, before it is written down: by then it is known since when it was taken.
    #[cfg(feature = "tracing")]
    fn tell(&self, key: Key, state: State, reason: Reason, attempts: u32) {
        if !crate::log::has_listener() {
            return;
        }
        let taken = self.ledger.find(key).filter(|entry| State::from_code(entry.state) == State::Taken);
        let took = taken.map(|entry| clock::between(entry.at, self.clock.now()));
        crate::log::settled(&self.path, self.ticket(key), state.name(), reason.sentence(), attempts, took);
    }

    /// Writes down what is said of a message. Without room for it nobody will know; what is handed out does not depend on it, but
    /// for a kill.
    pub(super) fn write(&self, key: Key, state: State, reason: Reason, attempts: u32, at: u64) {
        self.write_entry(key, &self.entry(state, reason, attempts, at));
    }

    /// As [`write`](Self::write), of a message of which nothing was said before; gives where.
    #[inline]
    pub(super) fn write_first(&self, key: Key, state: State, attempts: u32, at: u64) -> Option<Spot> {
        let entry = self.entry(state, Reason::None, attempts, at);
        let write = || self.ledger.write_first(key, &entry, |key, entry| self.may_forget(key, entry));
        let spot = write().or_else(|_| self.make_room(write)).ok();
        self.note_known(key);
        spot
    }

    #[inline]
    fn entry(&self, state: State, reason: Reason, attempts: u32, at: u64) -> Entry {
        let attempts = u16::try_from(attempts).unwrap_or(u16::MAX);
        Entry { state: state.code(), reason: reason.code(), attempts, at, extra: 0 }
    }

    /// Writes down what messages share.
    pub(super) fn write_shared(&self, shared: Key, extra: u64, at: u64) {
        self.write_entry(shared, &Entry { state: State::Acked.code(), reason: 0, attempts: 0, at, extra });
    }

    fn write_entry(&self, key: Key, entry: &Entry) {
        self.note_known(key);
        let write = || self.ledger.write(key, entry, |key, entry| self.may_forget(key, entry));
        let _ = write().or_else(|_| self.make_room(write));
    }

    /// Writes once more, in place of what the log says too.
    #[cold]
    fn make_room<T>(&self, write: impl Fn() -> Result<T, Crowded>) -> Result<T, Crowded> {
        self.kept_too_many.set(true);
        write()
    }

    /// Whether an entry is of no use any more but for those who ask what became of the message: it is done with, and will
    /// not be found in its lane by a receiver that comes after us.
    pub(super) fn may_forget(&self, key: Key, entry: &Entry) -> bool {
        let Some((lane, position)) = key.place() else { return true };
        match State::from_code(entry.state) {
            // The log knows as much of it; and there must be room for what is taken.
            State::Pending => self.kept_too_many.get() && self.kept.borrow().holds(key),
            state if state.is_final() => {
                let is_ahead = || !self.ahead.borrow().is_empty() && self.ahead.borrow().contains(&key);
                let behind_held = || self.held.borrow().iter().any(|&(held, at)| held == lane && at < position);
                !behind_held() && !is_ahead()
            }
            _ => false,
        }
    }

    /// Puts a message among the dead letters. What there is no room for is lost, and counted.
    pub(super) fn bury(&self, key: Key, reason: Reason, attempts: u32, uid: u32, bytes: &[u8]) -> Result<(), Error> {
        let mut grave = self.grave.borrow_mut();
        if grave.is_none() {
            *grave = Some(Grave::open(&self.path, &self.queue)?);
        }
        let grave = grave.as_mut().expect("just opened");
        grave.bury(key, reason, attempts, uid, bytes).map_err(|error| self.failed("bury a dead letter of", error))
    }

    /// A message that was handed out as often as it may be.
    pub(super) fn bury_spent(&self, key: Key, attempts: u32, uid: u32, bytes: &[u8], now: u64) {
        match self.bury(key, Reason::Attempts, attempts, uid, bytes) {
            Ok(()) => self.settle(key, State::DeadLettered, Reason::Attempts, attempts, now),
            Err(_) => self.settle(key, State::Failed, Reason::NoRoom, attempts, now),
        }
    }

    /// Keeps a message for later.
    pub(super) fn keep(
        &self,
        key: Key,
        due: u64,
        attempts: u32,
        reason: Reason,
        uid: u32,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let kept = self.kept.borrow_mut().keep(key, due, attempts, uid, bytes);
        kept.map_err(|error| self.failed("keep a message of", error))?;
        // From here on it is kept, whatever the ledger says.
        self.write(key, State::Pending, reason, attempts, self.clock.now());
        self.ledger.wake();
        self.count_kept();
        #[cfg(feature = "tracing")]
        {
            let wait = clock::between(self.clock.now(), due);
            crate::log::kept(&self.path, self.ticket(key), attempts, reason.sentence(), wait);
        }
        Ok(())
    }

    pub(super) fn failed(&self, verb: &'static str, error: SendError) -> Error {
        let source = std::io::Error::other(error);
        Error::new(verb, &self.path, Cause::Io { file: String::new(), source })
    }

    /// A delivery is not in anybody's hands any more.
    pub(super) fn let_go(&self, key: Key) {
        if let Some(place) = key.place() {
            let mut held = self.held.borrow_mut();
            if let Some(at) = held.iter().position(|held| *held == place) {
                held.swap_remove(at);
            }
            // It was settled before those that came earlier: until they are, it lies in its lane.
            if held.iter().any(|&(lane, at)| lane == place.0 && at < place.1) {
                self.ahead.borrow_mut().insert(key);
            } else if !self.ahead.borrow().is_empty() {
                self.forget_passed(place.0);
            }
            self.in_hands.set(self.in_hands.get().saturating_sub(1));
            self.counters.set(Count::Taken, self.in_hands.get());
        }
    }

    /// What a lane has passed need not be remembered.
    #[cold]
    fn forget_passed(&self, lane: u32) {
        let cursor = self.observer.borrow_mut().cursor(lane).ok().flatten();
        let passed = cursor.and_then(|cursor| Some(Key::message(lane, 0)?..Key::message(lane, cursor.read_pos)?));
        let mut ahead = self.ahead.borrow_mut();
        while let Some(first) = passed.clone().and_then(|passed| ahead.range(passed).next().copied()) {
            ahead.remove(&first);
        }
    }

    /// A delivery is done.
    #[inline]
    pub(super) fn ack(&self, key: Key, spot: Option<Spot>, attempts: u32, source: Option<Source<'_>>) {
        #[cfg(feature = "tracing")]
        self.tell(key, State::Acked, Reason::None, attempts);
        let entry = self.entry(State::Acked, Reason::None, attempts, self.clock.now());
        if !spot.is_some_and(|spot| self.ledger.write_again(spot, key, &entry)) {
            self.write_entry(key, &entry);
        }
        self.ledger.wake();
        self.counters.add(Count::Acked);
        self.finish(key, source);
    }

    /// Gives back the bytes of a delivery, of which the ledger says what became of it.
    pub(super) fn finish(&self, key: Key, source: Option<Source<'_>>) {
        match source {
            Some(Source::Lane(message)) => message.release(),
            Some(Source::Kept(_)) => self.done_keeping(key),
            None => {}
        }
        self.let_go(key);
    }

    /// A message that was kept is settled, as the ledger says.
    pub(super) fn done_keeping(&self, key: Key) {
        if self.lies(key) {
            // Whoever kept it died before its lane was passed.
            self.ahead.borrow_mut().insert(key);
        }
        self.kept.borrow_mut().done(key);
        self.count_kept();
    }

    /// A delivery failed this time.
    pub(super) fn give_back(&self, delivery: &mut Delivery<'_>, delay: Duration) -> Result<(), Error> {
        let (key, attempts, now) = (delivery.key, delivery.attempt, self.clock.now());
        self.counters.add(Count::Retried);
        let uid = match &delivery.source {
            Some(Source::Kept(letter)) => letter.uid,
            _ => delivery.uid().unwrap_or(u32::MAX),
        };
        if attempts >= self.max_attempts(&delivery.opened.envelope) {
            self.bury_spent(key, attempts, uid, &delivery.bytes(), now);
            self.finish(key, delivery.source.take());
            return Ok(());
        }
        let due = clock::after(now, delay);
        match self.keep(key, due, attempts, Reason::Retry, uid, delivery.bytes()) {
            Ok(()) => {
                if let Some(Source::Lane(message)) = delivery.source.take() {
                    message.release();
                }
                self.let_go(key);
                Ok(())
            }
            Err(error) => {
                if matches!(delivery.source, Some(Source::Kept(_))) {
                    self.kept.borrow_mut().return_at_once(key);
                }
                self.let_go(key);
                Err(error)
            }
        }
    }

    /// A delivery will never succeed.
    pub(super) fn reject(&self, delivery: &Delivery<'_>) -> Result<(), Error> {
        let (key, attempts, now) = (delivery.key, delivery.attempt, self.clock.now());
        let uid = delivery.uid().unwrap_or(u32::MAX);
        let buried = self.bury(key, Reason::Rejected, attempts, uid, &delivery.bytes());
        let reason = if buried.is_ok() { Reason::Rejected } else { Reason::NoRoom };
        self.settle(key, State::Failed, reason, attempts, now);
        buried
    }

    /// A delivery is still being worked on.
    pub(super) fn still_taken(&self, delivery: &Delivery<'_>) {
        self.write(delivery.key, State::Taken, Reason::None, delivery.attempt, self.clock.now());
        self.ledger.wake();
    }
}
