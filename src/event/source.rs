//! One that is waited for: what its handle and the bridge share, and the handle's part of it.
//!
//! ```text
//! the handle, in its own thread               the bridge
//!   says where it can be told                   sleeps while no seq has changed
//!   arms: count odd, heavy fence                has rung: tells whoever said where
//!   looks at everything once more
//!   relies on being told
//!   ...
//!   disarms, looks, arms again
//! ```
//!
//! What was committed before that look is found by it; what comes later finds the count odd and rings (`bell.rs`), and the ring
//! comes after the handle has said where it can be told. Each sender rings once for each arming, so whoever was told arms
//! anew before it relies on it again; who was not told need not.

use super::bridge::{self, Thread, lock};
use crate::bell::{Relay, Sleeper, longest_sleep};
use crate::ledger::LedgerView;
use crate::queue::{Lookout, Receiver, Sender};
use crate::sys::eventfd::EventFd;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How a handle is told.
pub(super) enum Notify {
    /// A descriptor becomes readable.
    Descriptor(EventFd),
    /// The tasks are woken that wait.
    Task,
    /// A number comes into a list.
    List(Arc<super::selector::Ready>, usize),
}

/// What a handle and the bridge share.
pub(super) struct Shared {
    notify: Notify,
    state: Mutex<State>,
}

struct State {
    /// The handle relies on being told.
    armed: bool,
    /// Whether a ring can be missed, for want of a fence, and the bridge must look often.
    ordered: bool,
    /// Where to look on behalf of a receiver. Nobody can look for a sender that waits for room, nor for one who waits for an outcome:
    /// they are told now and then.
    lookout: Option<Lookout>,
    /// When to tell it whatever happens.
    due: Option<Instant>,
    /// Who waits, by number: of each the task that polled last.
    wakers: Vec<(u64, Waker)>,
    gone: bool,
}

/// For the bridge.
impl Shared {
    pub(super) fn is_gone(&self) -> bool {
        lock(&self.state).gone
    }

    /// Tells the handle to look.
    pub(super) fn tell(&self) {
        match &self.notify {
            Notify::Descriptor(descriptor) => descriptor.signal(),
            Notify::List(list, number) => list.push(*number),
            Notify::Task => {
                let wakers = std::mem::take(&mut lock(&self.state).wakers);
                wake(wakers);
            }
        }
    }

    /// Looks for what nobody has rung for.
    pub(super) fn look(&self, now: Instant) {
        let mut state = lock(&self.state);
        let is_due = state.due.is_some_and(|due| due <= now);
        if is_due {
            state.due = None;
        }
        let found = state.armed && state.lookout.as_mut().is_none_or(Lookout::has_something);
        drop(state);
        if is_due || found {
            self.tell();
        }
    }

    /// When to do that again.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        let state = lock(&self.state);
        let bound = now + longest_sleep(state.ordered);
        state.due.map_or(bound, |due| due.min(bound))
    }
}

/// By what a handle says asleep and is rung for.
pub(super) trait Bell {
    /// As [`Sleeper::arm`].
    fn arm(&self) -> bool;
    fn disarm(&self);
    fn relay(&self) -> Relay;
}

impl Bell for Sleeper {
    fn arm(&self) -> bool {
        Sleeper::arm(self)
    }

    fn disarm(&self) {
        Sleeper::disarm(self);
    }

    fn relay(&self) -> Relay {
        Sleeper::relay(self)
    }
}

impl Bell for LedgerView {
    fn arm(&self) -> bool {
        LedgerView::arm(self)
    }

    /// Whoever writes rings once for each time that somebody said asleep.
    fn disarm(&self) {}

    fn relay(&self) -> Relay {
        LedgerView::relay(self)
    }
}

/// Not under the lock: a runtime may drop the handle here, or poll it.
fn wake(wakers: Vec<(u64, Waker)>) {
    for (_, waker) in wakers {
        // The others that this thread sleeps for have nothing to do with it.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// A handle that can be waited for.
pub(super) trait Sleeps {
    fn bell(&self) -> &dyn Bell;
    /// How long a task looks, turn after turn, before it relies on being told.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
    /// A lookout, if one is possible and the one that knows so many lanes will not do.
    fn lookout(&self, known: Option<usize>) -> Option<Lookout>;
}

impl Sleeps for Receiver {
    fn bell(&self) -> &dyn Bell {
        self.sleeper()
    }

    fn patience(&self) -> Duration {
        Receiver::patience(self)
    }

    fn lookout(&self, known: Option<usize>) -> Option<Lookout> {
        (known != Some(self.lane_count())).then(|| Receiver::lookout(self))
    }
}

impl<S: Sleeps> Sleeps for &S {
    fn bell(&self) -> &dyn Bell {
        (**self).bell()
    }

    fn patience(&self) -> Duration {
        (**self).patience()
    }

    fn lookout(&self, known: Option<usize>) -> Option<Lookout> {
        (**self).lookout(known)
    }
}

impl Sleeps for Sender {
    fn bell(&self) -> &dyn Bell {
        self.sleeper()
    }

    fn patience(&self) -> Duration {
        Sender::patience(self)
    }

    fn lookout(&self, _known: Option<usize>) -> Option<Lookout> {
        None
    }
}

/// The handle's part.
pub(super) struct Source {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
    armed: Cell<bool>,
    /// Since when the task has found nothing, turn after turn.
    quiet_since: Cell<Option<Instant>>,
    /// How often a task may find something until it lets others have a turn.
    budget: Cell<u32>,
}

/// The number of whoever waits alone.
const ALONE: u64 = 0;

/// As tokio has it.
const BUDGET: u32 = 128;

impl Source {
    pub(super) fn new(of: &impl Sleeps, notify: Notify) -> io::Result<Source> {
        let state = State { armed: false, ordered: true, lookout: None, due: None, wakers: Vec::new(), gone: false };
        let shared = Arc::new(Shared { notify, state: Mutex::new(state) });
        // Before it can be armed: so no ring is missed from the first on.
        let thread = bridge::register(of.bell().relay(), Arc::clone(&shared))?;
        Ok(Source { shared, thread, armed: Cell::new(false), quiet_since: Cell::new(None), budget: Cell::new(BUDGET) })
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed.get()
    }

    pub(super) fn notify(&self) -> &Notify {
        &self.shared.notify
    }

    /// Tells the handle itself to look.
    pub(super) fn tell(&self) {
        self.shared.tell();
    }

    /// From here on whoever commits makes the bridge tell us; what was committed before is for the caller to look for, after this.
    pub(super) fn arm(&self, of: &impl Sleeps) {
        self.armed.set(true);
        let ordered = of.bell().arm();
        let mut state = lock(&self.shared.state);
        let lookout = of.lookout(state.lookout.as_ref().map(Lookout::lane_count));
        if lookout.is_some() {
            state.lookout = lookout;
        }
        let is_brief = state.ordered && !ordered;
        (state.armed, state.ordered) = (true, ordered);
        drop(state);
        if is_brief {
            self.thread.kick();
        }
    }

    /// Nobody need ring for us: we are looking.
    #[inline]
    pub(super) fn disarm(&self, of: &impl Sleeps) {
        if self.armed.replace(false) {
            of.bell().disarm();
            lock(&self.shared.state).armed = false;
        }
    }

    /// Has us told when so much time has passed, besides.
    pub(super) fn tell_in(&self, time: Duration) {
        lock(&self.shared.state).due = Some(Instant::now() + time);
        self.thread.kick();
    }

    /// Polls `look`, which looks at everything: what it finds, or that the task will be woken when it is worth looking again.
    pub(super) fn poll<S: Sleeps, T>(
        &self,
        task: &mut Context<'_>,
        of: &mut S,
        look: impl FnMut(&mut S) -> Option<T>,
    ) -> Poll<T> {
        self.poll_as(ALONE, task, of, look)
    }

    /// As [`poll`](Self::poll), for one of several who wait for the same, by number. One that is given up [`leave`](Self::leave)s.
    pub(super) fn poll_as<S: Sleeps, T>(
        &self,
        number: u64,
        task: &mut Context<'_>,
        of: &mut S,
        mut look: impl FnMut(&mut S) -> Option<T>,
    ) -> Poll<T> {
        if self.budget.get() == 0 {
            // Whoever always has something must not keep the other tasks of its thread waiting.
            self.budget.set(BUDGET);
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut look = |of: &mut S| {
            let found = look(of)?;
            self.budget.set(self.budget.get() - 1);
            self.quiet_since.set(None);
            self.disarm(of);
            if number != ALONE {
                // They rely on being told, and nobody rings for one who is awake.
                self.wake_others(number);
            }
            Some(found)
        };
        if let Some(found) = look(of) {
            return Poll::Ready(found);
        }
        self.budget.set(BUDGET);
        if self.is_still_armed(number, task.waker()) {
            return Poll::Pending;
        }
        if self.is_worth_a_turn(of.patience()) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.set_waker(number, task.waker());
        self.arm(of);
        look(of).map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether to look again after the others have had a turn: once in any case, for whoever is going to send from this very thread, and for
    /// as long as it may be worth: to arm takes a fence on every processor, and to be told a wake-up or two.
    fn is_worth_a_turn(&self, patience: Duration) -> bool {
        match self.quiet_since.get() {
            None => {
                self.quiet_since.set(Some(Instant::now()));
                true
            }
            Some(since) => since.elapsed() < patience,
        }
    }

    /// Whether we are armed and this one was not told since, so that the look before this was the one that counts. Then `waker` is told.
    fn is_still_armed(&self, number: u64, waker: &Waker) -> bool {
        if !self.armed.get() {
            return false;
        }
        let mut state = lock(&self.shared.state);
        let Some((_, known)) = state.wakers.iter_mut().find(|(known, _)| *known == number) else { return false };
        known.clone_from(waker);
        true
    }

    fn set_waker(&self, number: u64, waker: &Waker) {
        self.leave(number);
        lock(&self.shared.state).wakers.push((number, waker.clone()));
    }

    /// One who waited does so no more.
    pub(super) fn leave(&self, number: u64) {
        let mut state = lock(&self.shared.state);
        let place = state.wakers.iter().position(|(known, _)| *known == number);
        let waker = place.map(|place| state.wakers.swap_remove(place));
        drop(state);
        // As in `wake`.
        drop(waker);
    }

    /// Wakes all who wait but this one: they look, and arm anew.
    fn wake_others(&self, number: u64) {
        let mut others = Vec::new();
        lock(&self.shared.state).wakers.retain(|(known, waker)| {
            let stays = *known == number;
            if !stays {
                others.push((*known, waker.clone()));
            }
            stays
        });
        wake(others);
    }

    /// As [`disarm`](Self::disarm), where several may wait.
    pub(super) fn disarm_for_all(&self, of: &impl Sleeps) {
        self.disarm(of);
        self.wake_others(ALONE);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let wakers = {
            let mut state = lock(&self.shared.state);
            state.gone = true;
            std::mem::take(&mut state.wakers)
        };
        // Not under the lock: one may be the last of its task.
        drop(wakers);
        self.thread.kick();
    }
}
