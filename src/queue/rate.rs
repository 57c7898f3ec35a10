//! How fast a sender may send.
//!
//! The algorithm is `governor`'s (GCRA, a leaky bucket kept as one instant); here are our units, several limits that hold
//! together or not at all, and the clock. A bucket is counted in time: a message costs the nanoseconds in which its share of
//! the rate flows in, so that rates above a billion a second and below one a minute are equally exact.

use crate::error::Cause;
use crate::layout::Limits;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, RateLimiter, StateStore};
use governor::{NotUntil, Quota};
use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How fast a sender may send: messages per second, bytes of payload per second, or both.
///
/// What was not used is saved up, as far as the burst goes; by default that is what comes in one second. A message longer than
/// the burst of bytes takes all of it, and is not held up for ever. A zero is refused by what takes the limit, with
/// [`Cause::Option`].
///
/// ```
/// use laneway::RateLimit;
/// let limit = RateLimit::messages(1000).burst_messages(50).and_bytes(10 << 20);
/// assert_eq!(limit, RateLimit::bytes(10 << 20).and_messages(1000).burst_messages(50));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a limit limits nothing before it is given to somebody"]
pub struct RateLimit {
    messages: Option<u32>,
    bytes: Option<u64>,
    burst_messages: Option<u32>,
    burst_bytes: Option<u64>,
}

const UNLIMITED: RateLimit = RateLimit { messages: None, bytes: None, burst_messages: None, burst_bytes: None };

impl RateLimit {
    /// At most so many messages per second, in the long run.
    pub fn messages(per_second: u32) -> RateLimit {
        UNLIMITED.and_messages(per_second)
    }

    /// At most so many bytes of payload per second, in the long run.
    pub fn bytes(per_second: u64) -> RateLimit {
        UNLIMITED.and_bytes(per_second)
    }

    /// Besides, at most so many messages per second.
    pub fn and_messages(mut self, per_second: u32) -> RateLimit {
        self.messages = Some(per_second);
        self
    }

    /// Besides, at most so many bytes of payload per second.
    pub fn and_bytes(mut self, per_second: u64) -> RateLimit {
        self.bytes = Some(per_second);
        self
    }

    /// So many messages may come at once after a pause. Default: those of one second.
    pub fn burst_messages(mut self, messages: u32) -> RateLimit {
        self.burst_messages = Some(messages);
        self
    }

    /// So many bytes may come at once after a pause. Default: those of one second.
    pub fn burst_bytes(mut self, bytes: u64) -> RateLimit {
        self.burst_bytes = Some(bytes);
        self
    }

    /// As the `queue` file has it; no limit at all when it says nothing.
    pub(super) fn of_queue(limits: &Limits) -> Option<RateLimit> {
        let limit = RateLimit {
            messages: (limits.messages_per_second > 0).then_some(limits.messages_per_second),
            bytes: (limits.bytes_per_second > 0).then_some(limits.bytes_per_second),
            burst_messages: (limits.burst_messages > 0).then_some(limits.burst_messages),
            burst_bytes: (limits.burst_bytes > 0).then_some(limits.burst_bytes),
        };
        (limit != UNLIMITED).then_some(limit)
    }

    /// Writes it down as the `queue` file has it, if it makes sense.
    pub(super) fn write(&self, limits: Limits) -> Result<Limits, Cause> {
        self.checked()?;
        Ok(Limits {
            messages_per_second: self.messages.unwrap_or(0),
            bytes_per_second: self.bytes.unwrap_or(0),
            burst_messages: self.burst_messages.unwrap_or(0),
            burst_bytes: self.burst_bytes.unwrap_or(0),
            ..limits
        })
    }

    /// The rates and bursts, of messages and of bytes, if they make sense.
    fn checked(&self) -> Result<[Option<(u64, u64)>; 2], Cause> {
        let limit = |option, rate: Option<u64>, burst_option, burst: Option<u64>| {
            let bad = |option, rule| Err(Cause::Option { option, value: 0, rule });
            match (rate, burst) {
                (Some(0), _) => bad(option, "it must be at least 1 per second"),
                (_, Some(0)) => bad(burst_option, "it must be at least 1"),
                (None, Some(value)) => {
                    Err(Cause::Option { option: burst_option, value, rule: "it needs a rate of the same kind" })
                }
                (None, None) => Ok(None),
                (Some(rate), burst) => Ok(Some((rate, burst.unwrap_or(rate)))),
            }
        };
        let (messages, burst_messages) = (self.messages.map(u64::from), self.burst_messages.map(u64::from));
        Ok([
            limit("messages per second", messages, "burst_messages", burst_messages)?,
            limit("bytes per second", self.bytes, "burst_bytes", self.burst_bytes)?,
        ])
    }
}

/// The monotonic clock of this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Monotonic(Instant);

impl Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Holds a sender to several limits at a time.
#[derive(Debug)]
pub(super) struct Limiter<C: Clock = Monotonic> {
    clock: C,
    start: C::Instant,
    buckets: Vec<Bucket>,
}

impl Limiter {
    /// Holds to all of these limits, each of which has its burst to begin with.
    pub(super) fn new(limits: &[RateLimit]) -> Result<Limiter, Cause> {
        Limiter::with_clock(limits, Monotonic(Instant::now()))
    }
}

impl<C: Clock> Limiter<C> {
    fn with_clock(limits: &[RateLimit], clock: C) -> Result<Limiter<C>, Cause> {
        let mut buckets = Vec::new();
        for limit in limits {
            let [messages, bytes] = limit.checked()?;
            buckets.extend(messages.map(|(rate, burst)| Bucket::new(Unit::Messages, rate, burst)));
            buckets.extend(bytes.map(|(rate, burst)| Bucket::new(Unit::Bytes, rate, burst)));
        }
        Ok(Limiter { start: clock.now(), clock, buckets })
    }

    /// Whether a message of `len` bytes may pass now; if not, after how long. Takes nothing.
    pub(super) fn ask(&self, len: usize) -> Result<(), Duration> {
        // One instant for all, so that none is asked later than it is charged.
        let now = self.clock.now().duration_since(self.start).as_u64();
        self.buckets.iter().filter_map(|bucket| bucket.ask(now, len).err()).max().map_or(Ok(()), Err)
    }

    /// Charges what was asked for last, and admitted.
    pub(super) fn take(&self) {
        self.buckets.iter().for_each(Bucket::take);
    }
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Messages,
    Bytes,
}

/// One limit. Its cells are spans of time: one nanosecond, or longer where a burst would be more than 2³¹ of them.
#[derive(Debug)]
struct Bucket {
    unit: Unit,
    per_second: u64,
    quota: Quota,
    /// The cells' length, nanoseconds.
    cell_ns: u64,
    /// When all that was taken will have come in, nanoseconds on the limiter's clock.
    paid_at: Cell<u64>,
    /// The part of a cell that was taken and not yet charged, in units of `1 / (per_second * cell_ns)` nanoseconds.
    rest: Cell<u128>,
    /// Both of them, if the message that was asked for is admitted.
    then: Cell<(u64, u128)>,
}

const SECOND: u128 = 1_000_000_000;
/// The longest time that a burst may stand for, nanoseconds (36 years): with it, no sum of `governor`'s overflows.
const LONGEST: u128 = 1 << 60;

impl Bucket {
    fn new(unit: Unit, per_second: u64, burst: u64) -> Bucket {
        let burst_ns = (u128::from(burst) * SECOND).div_ceil(per_second.into()).min(LONGEST) as u64;
        let cell_ns = (burst_ns >> 31) + 1;
        let cells = u32::try_from(burst_ns.div_ceil(cell_ns)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let quota =
            Quota::with_period(Duration::from_nanos(cell_ns)).expect("a cell is at least 1 ns").allow_burst(cells);
        let (paid_at, rest, then) = (Cell::new(0), Cell::new(0), Cell::new((0, 0)));
        Bucket { unit, per_second, quota, cell_ns, paid_at, rest, then }
    }

    /// Whether a message of `len` bytes may pass now; if not, after how long. Takes nothing.
    fn ask(&self, now: u64, len: usize) -> Result<(), Duration> {
        let amount = if self.unit == Unit::Messages { 1 } else { len as u128 };
        let per_cell = u128::from(self.per_second) * u128::from(self.cell_ns);
        let due = amount * SECOND + self.rest.get();
        let burst = self.quota.burst_size();
        let (cells, rest) = match u32::try_from(due / per_cell) {
            Ok(cells) if cells <= burst.get() => (cells, due % per_cell),
            _ => (burst.get(), 0),
        };
        self.then.set((self.paid_at.get(), rest));
        let Some(cells) = NonZeroU32::new(cells) else { return Ok(()) };
        // Time stands still in `governor`'s eyes, and what it knows is relative to now.
        let state = Relative { bucket: self, now, rest };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(self.quota, state, Standstill);
        let answer = limiter.check_n(cells).expect("no more cells than the burst has");
        answer.map_err(|until: NotUntil<Nanos>| until.wait_time_from(Standstill.now()))
    }

    /// Takes what was asked for last.
    fn take(&self) {
        let (paid_at, rest) = self.then.get();
        self.paid_at.set(paid_at);
        self.rest.set(rest);
    }
}

/// A bucket's state as `governor` sees it. Keeps nothing but the proposal.
struct Relative<'a> {
    bucket: &'a Bucket,
    now: u64,
    rest: u128,
}

impl StateStore for Relative<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let ahead = self.bucket.paid_at.get().saturating_sub(self.now);
        let (answer, then) = decide(Some(Nanos::from(ahead)))?;
        self.bucket.then.set((self.now.saturating_add(then.as_u64()), self.rest));
        Ok(answer)
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct Standstill;

impl Clock for Standstill {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    impl<C: Clock> Limiter<C> {
        fn admit(&self, len: usize) -> Result<(), Duration> {
            self.ask(len).inspect(|()| self.take())
        }
    }

    struct Bench {
        clock: FakeRelativeClock,
        limiter: Limiter<FakeRelativeClock>,
    }

    fn bench(limits: &[RateLimit]) -> Bench {
        let clock = FakeRelativeClock::default();
        clock.advance(Duration::from_secs(3));
        Bench { limiter: Limiter::with_clock(limits, clock.clone()).unwrap(), clock }
    }

    impl Bench {
        /// How many messages pass at once.
        fn burst(&self, len: usize) -> u32 {
            (0..1_000_000).take_while(|_| self.limiter.admit(len).is_ok()).last().map_or(0, |last| last + 1)
        }

        /// How many messages pass in so long, when each is sent as soon as it may.
        fn passed_in(&self, time: Duration, len: usize) -> u32 {
            let (mut left, mut passed) = (time, 0);
            loop {
                assert!(passed < 1_000_000, "this limits nothing");
                match self.limiter.admit(len) {
                    Ok(()) => passed += 1,
                    Err(wait) if wait > left => return passed,
                    Err(wait) => {
                        assert!(wait > Duration::ZERO, "a wait of nothing is a loop");
                        self.clock.advance(wait);
                        left -= wait;
                        assert_eq!(self.limiter.admit(len), Ok(()), "it said how long: {wait:?}");
                        passed += 1;
                    }
                }
            }
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn a_burst_passes_at_once_and_then_the_rate_holds() {
        let default = bench(&[RateLimit::messages(100)]);
        assert_eq!(default.burst(1 << 20), 100, "by default, one second's");
        assert_eq!(default.limiter.admit(0), Err(Duration::from_millis(10)));
        assert_eq!(default.passed_in(seconds(10), 0), 1000);
        default.clock.advance(seconds(3600));
        assert_eq!(default.burst(0), 100, "nothing is saved up beyond the burst");

        let small = bench(&[RateLimit::messages(100).burst_messages(3)]);
        assert_eq!(small.burst(0), 3);
        small.clock.advance(Duration::from_millis(20));
        assert_eq!(small.burst(0), 2);

        let bytes = bench(&[RateLimit::bytes(1000).burst_bytes(500)]);
        assert_eq!(bytes.burst(100), 5);
        assert_eq!(bytes.limiter.admit(50), Err(Duration::from_millis(50)));
        assert_eq!(bytes.passed_in(seconds(60), 30), 2000);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn rates_that_divide_no_second_and_rates_of_all_sizes_are_exact() {
        let whole = Duration::from_secs(1);
        for (rate, len, time) in [
            (3, 1, 1000 * whole),
            (7_000_001, 100, whole),
            (3_333_333_333, 50_000, whole),
            (40_000_000_000, 1 << 20, 2 * whole),
            // A fifth of a nanosecond each.
            (40_000_000_000, 8, whole / 20_000),
        ] {
            let bench = bench(&[RateLimit::bytes(rate).burst_bytes(2 * len as u64)]);
            bench.burst(len);
            let passed = u128::from(bench.passed_in(time, len)) * len as u128;
            let right = u128::from(rate) * time.as_nanos() / SECOND;
            assert!(passed.abs_diff(right) <= right / 10_000 + 2 * len as u128, "{passed} of {right} bytes");
        }
        let hours = bench(&[RateLimit::messages(1).burst_messages(10_000)]);
        assert_eq!((hours.burst(0), hours.passed_in(seconds(100), 0)), (10_000, 100));
        // A burst of years.
        let patient = bench(&[RateLimit::bytes(1).burst_bytes(u64::MAX).and_messages(1).burst_messages(u32::MAX)]);
        patient.limiter.admit(usize::MAX).unwrap();
        assert!(patient.limiter.admit(1 << 40).is_err());
        let fast = bench(&[RateLimit::bytes(u64::MAX).and_messages(u32::MAX)]);
        assert_eq!(fast.limiter.admit(usize::MAX), Ok(()));
        assert_eq!(fast.limiter.admit(0), Ok(()), "nothing costs nothing");
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn all_limits_hold_and_a_refusal_takes_nothing_from_any() {
        let own = RateLimit::messages(10).burst_messages(10).and_bytes(1000).burst_bytes(1000);
        let queue = RateLimit::bytes(500).burst_bytes(500);
        let both = bench(&[own, queue]);
        assert_eq!(both.limiter.admit(400), Ok(()));
        // The queue's has 100 left, the sender's 600 and 9.
        for _ in 0..1000 {
            assert_eq!(both.limiter.admit(300), Err(Duration::from_millis(400)));
        }
        assert_eq!(both.limiter.admit(100), Ok(()), "what is left of the queue's was not touched");
        assert_eq!(both.burst(0), 8, "nor were the messages");
        assert_eq!(both.limiter.admit(0), Err(Duration::from_millis(100)));
        // Now all refuse: the longest wait counts.
        assert_eq!(both.limiter.admit(450), Err(Duration::from_millis(900)));
        both.clock.advance(Duration::from_millis(899));
        assert_eq!(both.limiter.admit(450), Err(Duration::from_millis(1)));
        both.clock.advance(Duration::from_millis(1));
        assert_eq!(both.limiter.admit(450), Ok(()));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn a_message_longer_than_the_burst_takes_all_of_it() {
        let bench = bench(&[RateLimit::bytes(1000).burst_bytes(100)]);
        assert_eq!(bench.limiter.admit(1000), Ok(()));
        assert_eq!(bench.limiter.admit(1), Err(Duration::from_millis(1)));
        bench.clock.advance(Duration::from_millis(50));
        assert_eq!(bench.limiter.admit(5000), Err(Duration::from_millis(50)));
        assert_eq!(bench.limiter.admit(50), Ok(()));
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn no_limit_admits_and_the_clock_of_this_process_moves() {
        let free = Limiter::new(&[]).unwrap();
        assert!((0..1000).all(|_| free.admit(usize::MAX).is_ok()));
        let real = Limiter::new(&[RateLimit::messages(1_000_000).burst_messages(1)]).unwrap();
        let mut passed = 0;
        while passed < 100 {
            passed += u32::from(real.admit(0).is_ok());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and arithmetic alone")]
    fn what_makes_no_sense_is_refused_when_it_is_used() {
        let zeros = [
            (RateLimit::messages(0), "messages per second"),
            (RateLimit::bytes(0), "bytes per second"),
            (RateLimit::messages(1).and_bytes(0), "bytes per second"),
            (RateLimit::messages(1).burst_messages(0), "burst_messages"),
            (RateLimit::bytes(1).burst_bytes(0), "burst_bytes"),
            (RateLimit::messages(1).burst_bytes(5), "burst_bytes"),
            (RateLimit::bytes(1).burst_messages(5), "burst_messages"),
        ];
        for (limit, what) in zeros {
            let error = Limiter::new(&[RateLimit::messages(1), limit]).unwrap_err();
            assert!(matches!(error, Cause::Option { option, .. } if option == what), "{limit:?}: {error:?}");
        }
    }
}
