//! How long to look before sleeping.
//!
//! The competitive choice, after Karlin et al. (1991): spin for about as long as a sleep costs, and never pay more
//! than twice the best. What a sleep costs here is learned from the sleeps that happen: whoever rings leaves the time.
//! Knows of no lane and no message: it calls a closure until that finds something.

use crate::bell::{LONGEST_SLEEP, Sleeper, Slept};
use crate::sync::spin_hint;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What a handle does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Look again and again, and never sleep: the fastest, and a whole processor. Yields when there are too few.
    Spin,
    /// Look for about as long as a sleep costs on this host, then sleep.
    #[default]
    Adaptive,
    /// Sleep at once.
    Park,
}

/// What a handle's waiting has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitStats {
    /// Sleeps begun (system calls to wait).
    pub sleeps: u64,
    /// Sleeps ended by the other side.
    pub wakes: u64,
    /// Sleeps ended by their bound.
    pub expired: u64,
    /// Times that this handle woke the other side (system calls to wake).
    pub rings: u64,
    /// The learned cost of a sleep, nanoseconds: how long [`Wait::Adaptive`] looks before it sleeps.
    pub spin_ns: u64,
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// At what was busy lately.
    Quick,
    /// At everything: the others know that we are about to sleep.
    Everything,
    /// At everything, and whether there is more to look at than we know of.
    Beyond,
}

/// The policy and the memory of one handle.
pub(crate) struct Waiter {
    policy: Cell<Wait>,
    /// The processor's pauses between two glances.
    pauses: u32,
    spin_ns: Cell<u64>,
    /// Looks left for which spinning yields, because the processor was taken away in the middle of one.
    crowded: Cell<u32>,
    stats: Cell<WaitStats>,
}

const SPIN_NS: std::ops::RangeInclusive<u64> = 2_000..=200_000;
/// Looks that a [`Waiter::glance`] takes.
const GLANCES: u32 = 32;
/// About how long it pauses between two of them. A look at a line that is about to be written takes it away from whoever
/// writes it, who then waits for it: the figures are in docs/performance.md. Longer pauses find it too late.
const GLANCE_NS: f64 = 45.0;
/// Between two glances at the clock.
const LOOKS: u32 = 32;
/// Between two thorough looks of a handle that never sleeps.
const THOROUGH: Duration = Duration::from_millis(1);
/// A pause between two glances at the clock, nanoseconds, that only the scheduler can have made.
const PREEMPTED_NS: u128 = 200_000;

/// How many of the processor's pauses make one between two glances: they take 3 to 50 nanoseconds.
fn pauses() -> u32 {
    static PAUSES: OnceLock<u32> = OnceLock::new();
    *PAUSES.get_or_init(|| {
        const SAMPLE: u32 = 32;
        let sample = || {
            let start = Instant::now();
            (0..SAMPLE).for_each(|_| spin_hint());
            start.elapsed()
        };
        // What interrupts a sample only makes it longer.
        let shortest = (0..8).map(|_| sample()).min().unwrap_or_default();
        let pause_ns = shortest.as_nanos() as f64 / f64::from(SAMPLE);
        (GLANCE_NS / pause_ns).clamp(1.0, 16.0) as u32
    })
}

impl Waiter {
    pub(crate) fn new() -> Waiter {
        // Asking takes some twenty system calls, for affinity and quota: once for a process, and not where it is fuzzed, as nobody
        // waits there.
        static ALONE: OnceLock<bool> = OnceLock::new();
        let one = || std::thread::available_parallelism().is_ok_and(|n| n.get() == 1);
        let alone = !cfg!(fuzzing) && *ALONE.get_or_init(one);
        Waiter {
            policy: Cell::default(),
            pauses: pauses(),
            spin_ns: Cell::new(20_000),
            crowded: Cell::new(if alone { u32::MAX } else { 0 }),
            stats: Cell::default(),
        }
    }

    pub(crate) fn set_policy(&self, policy: Wait) {
        self.policy.set(policy);
    }

    pub(crate) fn policy(&self) -> Wait {
        self.policy.get()
    }

    /// How long it is worth looking before sleeping.
    pub(crate) fn patience(&self) -> Duration {
        match self.policy.get() {
            Wait::Spin => Duration::MAX,
            Wait::Adaptive => Duration::from_nanos(self.spin_ns.get()),
            Wait::Park => Duration::ZERO,
        }
    }

    pub(crate) fn stats(&self, rings: u64) -> WaitStats {
        WaitStats { rings, spin_ns: self.spin_ns.get(), ..self.stats.get() }
    }

    /// Looks a few times at one thing, for a microsecond or two in all, before the machinery of waiting is set in motion.
    #[inline(always)]
    pub(crate) fn glance(&self, look: impl Fn() -> bool) -> bool {
        if self.policy.get() == Wait::Park {
            return false;
        }
        for _ in 0..GLANCES {
            for _ in 0..self.pauses {
                spin_hint();
            }
            if look() {
                return true;
            }
        }
        false
    }

    /// Calls `look` until it finds something; `None` once `deadline` has passed. Blocks. `look` is called thoroughly
    /// before each sleep, and beyond that after each sleep that nobody ended.
    pub(crate) fn wait<T>(
        &self,
        sleeper: &Sleeper,
        deadline: Option<Instant>,
        mut look: impl FnMut(Look) -> Option<T>,
    ) -> Option<T> {
        let mut worth_spinning = true;
        loop {
            if worth_spinning && let Some(found) = self.spin(deadline, &mut look) {
                return Some(found);
            }
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return look(Look::Everything);
            }
            let mut found = None;
            let slept = sleeper.sleep(left, || {
                found = look(Look::Everything);
                found.is_some()
            });
            self.learn(slept);
            // Whoever slept that long is idle, and what comes next is likely to be far away too.
            worth_spinning = slept != Slept::Expired || self.policy.get() == Wait::Spin;
            if slept == Slept::Expired {
                found = look(Look::Beyond);
            }
            if found.is_some() {
                return found;
            }
        }
    }

    /// Looks until something is found, the budget is spent, or the deadline has passed.
    fn spin<T>(&self, deadline: Option<Instant>, look: &mut impl FnMut(Look) -> Option<T>) -> Option<T> {
        let budget = self.patience();
        if self.policy.get() == Wait::Park {
            // Whoever was just woken has something: to lie down again first would cost a heavy fence.
            return look(Look::Quick);
        }
        let start = Instant::now();
        let mut before = start;
        let mut thorough = start;
        let mut beyond = start;
        loop {
            for _ in 0..LOOKS {
                if let Some(found) = look(Look::Quick) {
                    return Some(found);
                }
                spin_hint();
            }
            let now = Instant::now();
            if now - start >= budget || deadline.is_some_and(|at| now >= at) {
                return None;
            }
            self.be_considerate((now - before).as_nanos());
            before = now;
            // Who spins for ever must notice what who sleeps notices: lanes that closed, and new ones.
            let how = if now - beyond >= LONGEST_SLEEP {
                (thorough, beyond) = (now, now);
                Look::Beyond
            } else if now - thorough >= THOROUGH {
                thorough = now;
                Look::Everything
            } else {
                continue;
            };
            if let Some(found) = look(how) {
                return Some(found);
            }
        }
    }

    fn be_considerate(&self, pause_ns: u128) {
        if pause_ns >= PREEMPTED_NS {
            self.crowded.set(self.crowded.get().max(256));
        }
        match self.crowded.get() {
            0 => {}
            u32::MAX => std::thread::yield_now(),
            left => {
                self.crowded.set(left - 1);
                std::thread::yield_now();
            }
        }
    }

    fn learn(&self, slept: Slept) {
        let mut stats = self.stats.get();
        stats.sleeps += u64::from(slept != Slept::NotAtAll);
        match slept {
            Slept::NotAtAll => {}
            Slept::Expired => stats.expired += 1,
            Slept::Rung { wake_ns } => {
                stats.wakes += 1;
                if let Some(ns) = wake_ns {
                    // An exponential average: one odd sleep does not decide.
                    let average = (self.spin_ns.get() * 7 + ns) / 8;
                    self.spin_ns.set(average.clamp(*SPIN_NS.start(), *SPIN_NS.end()));
                }
            }
        }
        self.stats.set(stats);
    }
}
