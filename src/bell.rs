//! The doorbell: an eventcount whose halves are owned by different processes. Never sees a message.
//!
//! ```text
//! to sleep                                   to ring, after committing (or releasing)
//!   s = seq                                    light fence
//!   sleeps += 1               (now odd)        w = sleeps
//!   heavy fence                                if w is odd and w != rung:
//!   look at everything once more                 seq += 1;  wake all;  rung = w
//!   futex wait (seq, s), bounded
//!   sleeps += 1               (even again)
//! ```
//!
//! # Why nobody sleeps for ever
//!
//! Ann commits and loads `sleeps`; Bob makes `sleeps` odd and looks at the ring. The fences between the two steps of
//! each (edge `dekker`) exclude that both miss the other. If Bob sees the message he does not sleep. If Ann sees the
//! odd count she changes `seq` before she wakes; Bob took `s` before he made the count odd (edge `sleep`), so his wait
//! either finds another `seq` and returns, or began before and is woken. Should Ann be killed between the two, the
//! count is still odd and `rung` died with her: the next one to send rings. Should she be killed before her load,
//! Bob's sleep is bounded. Checked by `docs/models/doorbell.pml` and by the loom models named after it.
//!
//! Eventcount: D. P. Reed and R. K. Kanodia, 1979; the two-word form is ours.

use crate::region::{Own, Peer};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::fence::Fences;
use crate::sys::futex::{self, Wait};
use crate::sys::host;
use std::cell::Cell;
use std::time::Duration;

/// The longest sleep. A wake-up can be lost only with the process that was to give it, and then costs this much.
pub(crate) const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// The longest sleep where the heavy fence was refused and a wake-up can be missed.
const BRIEF_SLEEP: Duration = Duration::from_millis(1);

/// How a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// The last look found something: there was no sleep.
    NotAtAll,
    /// Somebody rang. The time from the ring to here, if the ringer's clock can be believed.
    Rung { wake_ns: Option<u64> },
    /// The limit passed.
    Expired,
}

/// Whoever sleeps. Owns `sleeps`.
pub(crate) struct Sleeper {
    sleeps: Own<AtomicU32>,
    seq: Peer<AtomicU32>,
    rung_at: Peer<AtomicU64>,
    fences: Fences,
}

impl Sleeper {
    /// Takes the place of a sleeper that may have died asleep: its count becomes even.
    pub(crate) fn new(
        sleeps: Own<AtomicU32>,
        seq: Peer<AtomicU32>,
        rung_at: Peer<AtomicU64>,
        fences: Fences,
    ) -> Sleeper {
        let sleeper = Sleeper { sleeps, seq, rung_at, fences };
        // ORDERING(takeover): relaxed; only the owner writes this word, and the lock ordered us behind the last one.
        let count = sleeper.sleeps.load(Ordering::Relaxed);
        if is_asleep(count) {
            sleeper.set_count(count.wrapping_add(1));
        }
        sleeper
    }

    /// Sleeps until rung, at most for `limit`, unless `ready`, called after the others can see us asleep, says that
    /// there is something. `ready` must look at everything that a ringer could have changed.
    pub(crate) fn sleep(&self, limit: Duration, ready: impl FnOnce() -> bool) -> Slept {
        // ORDERING(rung): the heavy fence below acquires what came before the ring that left this number.
        let seq = self.seq.load();
        self.say_asleep();
        // ORDERING(dekker): the odd count before the last look.
        let ordered = self.fences.heavy();
        let slept = if ready() {
            Slept::NotAtAll
        } else {
            match futex::wait(self.seq.futex(), seq, limit.min(longest_sleep(ordered))) {
                Wait::Woken => Slept::Rung { wake_ns: self.wake_ns() },
                Wait::Changed => Slept::Rung { wake_ns: None },
                Wait::Expired => Slept::Expired,
            }
        };
        self.disarm();
        slept
    }

    /// This process's part in the fences.
    pub(crate) fn fences(&self) -> Fences {
        self.fences
    }

    /// Says asleep, anew if it says so already: everyone rings once more. Whoever was rung for before it was said is not rung for
    /// again, so the caller looks at everything once more before it relies on being woken. False when a wake-up can be missed, for
    /// want of a fence: then it must look again after [`longest_sleep`].
    pub(crate) fn arm(&self) -> bool {
        self.say_asleep();
        // ORDERING(dekker): the odd count before the look that follows.
        self.fences.heavy()
    }

    fn say_asleep(&self) {
        // ORDERING(takeover): as in `new`.
        let count = self.sleeps.load(Ordering::Relaxed);
        // Even, unless it says so already or somebody scribbled; then it must not say awake while we sleep.
        let count = count.wrapping_add(count % 2);
        self.set_count(count.wrapping_add(1));
    }

    /// Says awake: nobody rings.
    pub(crate) fn disarm(&self) {
        // ORDERING(takeover): as in `new`.
        let count = self.sleeps.load(Ordering::Relaxed);
        if is_asleep(count) {
            self.set_count(count.wrapping_add(1));
        }
    }

    /// What notices the rings for this sleeper in another thread, from here on.
    pub(crate) fn relay(&self) -> Relay {
        Relay::new(self.seq.clone())
    }

    /// Orders everything before against the sends of the others, as before a sleep.
    pub(crate) fn heavy_fence(&self) {
        // ORDERING(dekker): with the light fence between a commit and whatever its sender does next.
        self.fences.heavy();
    }

    fn set_count(&self, count: u32) {
        // ORDERING(sleep): our load of `seq` before the count that makes anyone change it. Else we might take the number that
        // a ring for this very sleep leaves: for something that we had taken before, say; and be rung for no more.
        self.sleeps.store(count, Ordering::Release);
    }

    /// A hint that anyone may scribble over: believed only when it is plausible.
    fn wake_ns(&self) -> Option<u64> {
        let ns = host::monotonic_ns().checked_sub(self.rung_at.load())?;
        (ns < LONGEST_SLEEP.as_nanos() as u64).then_some(ns)
    }
}

/// Whoever rings. Owns nothing but the memory of its last ring.
pub(crate) struct Ringer {
    sleeps: Peer<AtomicU32>,
    seq: Own<AtomicU32>,
    rung_at: Own<AtomicU64>,
    fences: Fences,
    /// The count for which we rang: once per sleep is enough.
    rung: Cell<u32>,
    rings: Cell<u64>,
}

impl Ringer {
    pub(crate) fn new(sleeps: Peer<AtomicU32>, seq: Own<AtomicU32>, rung_at: Own<AtomicU64>, fences: Fences) -> Ringer {
        Ringer { sleeps, seq, rung_at, fences, rung: Cell::new(0), rings: Cell::new(0) }
    }

    /// Rings if the other side sleeps and we have not rung for this sleep, and says whether. No system call otherwise.
    #[inline(always)]
    pub(crate) fn ring_if_asleep(&self) -> bool {
        // ORDERING(dekker): what was committed or released before the load of the count.
        self.fences.light();
        let count = self.sleeps.load();
        is_asleep(count) && self.ring_once(count)
    }

    /// Rings, unless we have rung for this sleep.
    #[cold]
    fn ring_once(&self, count: u32) -> bool {
        if count == self.rung.get() {
            return false;
        }
        // ORDERING(sleep): pairs with the Release of the odd count: the sleeper took its `seq` before our add.
        fence(Ordering::Acquire);
        self.rung.set(count);
        self.change_seq();
        self.wake();
        true
    }

    /// Rings whatever the count says: after taking over from somebody who may have died before ringing.
    pub(crate) fn ring_anyway(&self) {
        self.change_seq();
        self.wake();
    }

    fn change_seq(&self) {
        // ORDERING(hint): relaxed; a wrong time costs a wrong guess.
        self.rung_at.store(host::monotonic_ns(), Ordering::Relaxed);
        // ORDERING(rung): whoever takes this `seq` for the one it goes to sleep with sees what we ring for. Needed when
        // no light fence came before: after taking over, or to say that something has ended.
        self.seq.fetch_add(1, Ordering::Release);
    }

    fn wake(&self) {
        futex::wake_all(&self.seq);
        self.rings.set(self.rings.get() + 1);
    }

    /// How often this handle rang.
    pub(crate) fn rings(&self) -> u64 {
        self.rings.get()
    }
}

/// Notices rings on behalf of a sleeper that cannot wait for them itself, because it waits for other things too. Every ring changes
/// `seq`, so whoever compares it with what it was last misses none, whenever the sleeper says asleep and awake; and a ring
/// that was for an earlier sleep costs one look at nothing. That the sleeper looks between saying asleep and relying on this is
/// all that is needed: what was committed before that look is found by it, and what comes after rings.
pub(crate) struct Relay {
    seq: Peer<AtomicU32>,
    seen: Cell<u32>,
}

impl Relay {
    /// For whoever is rung for by this word; from here on.
    pub(crate) fn new(seq: Peer<AtomicU32>) -> Relay {
        let relay = Relay { seq, seen: Cell::new(0) };
        relay.has_rung();
        relay
    }

    /// Whether anybody has rung since the last time.
    pub(crate) fn has_rung(&self) -> bool {
        let now = self.seq.load();
        // ORDERING(rung): what was done before the ring, for whoever is told of it.
        fence(Ordering::Acquire);
        self.seen.replace(now) != now
    }

    /// The word that changes, for waking who waits on it.
    pub(crate) fn word(&self) -> Peer<AtomicU32> {
        self.seq.clone()
    }

    /// What to wait on, and while it is what.
    pub(crate) fn futex(&self) -> (&AtomicU32, u32) {
        (self.seq.futex(), self.seen.get())
    }
}

/// The longest that anybody relies on being rung for. Brief where the heavy fence was refused.
pub(crate) fn longest_sleep(ordered: bool) -> Duration {
    if ordered { LONGEST_SLEEP } else { BRIEF_SLEEP }
}

/// Whether a count of sleeps says that its owner sleeps.
fn is_asleep(count: u32) -> bool {
    count % 2 == 1
}
