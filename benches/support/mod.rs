//! What the benches share: queues that are gone afterwards, two ends with mappings of their own, pinned threads.
#![allow(dead_code, reason = "no bench uses all of it")]

use criterion::Criterion;
use laneway::{OnFull, Options, Queue, Receiver, Sender, Wait};
use laneway_measure::{Clock, Distribution, pin, processors};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Short enough for all of a bench to take less than a minute. Criterion's options say otherwise.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
}

/// A directory for queues, in memory where there is some.
pub(crate) fn directory() -> TempDir {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).expect("a directory")
}

/// Both ends of a new queue, each with a mapping of its own, as two processes have. Both spin.
pub(crate) fn ends(path: &Path, options: &Options, on_full: OnFull) -> (Sender, Receiver) {
    options.create(path).expect("a queue");
    let open = || Queue::open(path).expect("it was created");
    let (mut sender, receiver) = (open().sender().expect("a lane"), open().receiver().expect("the receiver's end"));
    sender.set_on_full(on_full);
    sender.set_wait(Wait::Spin);
    receiver.set_wait(Wait::Spin);
    (sender, receiver)
}

/// Runs all at once, each on a thread that is pinned: `lead` on one processor and the others on the rest. Returns how long
/// `lead` took; threads are begun before, and ended afterwards.
pub(crate) fn together<F: FnOnce() + Send>(
    lead: impl FnOnce() + Send,
    others: impl IntoIterator<Item = F>,
) -> Duration {
    // Asked for before any thread is pinned. Handles are made by a thread that is not, and know how many there are.
    static PROCESSORS: LazyLock<Vec<usize>> = LazyLock::new(processors);
    let (first, rest) = PROCESSORS.split_first().expect("this thread runs somewhere");
    let others: Vec<F> = others.into_iter().collect();
    let missing = &AtomicUsize::new(others.len() + 1);
    let begin = move |processor: usize| {
        pin(processor).expect("it is one of ours");
        missing.fetch_sub(1, Ordering::AcqRel);
        // Who is woken would come late.
        while missing.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        for (number, other) in others.into_iter().enumerate() {
            let processor = if rest.is_empty() { *first } else { rest[number % rest.len()] };
            scope.spawn(move || {
                begin(processor);
                other();
            });
        }
        let lead = scope.spawn(move || {
            begin(*first);
            let started = Instant::now();
            lead();
            started.elapsed()
        });
        lead.join().expect("what it asserts holds")
    })
}

/// Prints what Criterion does not: how single times are distributed.
pub(crate) fn print(name: &str, times: &Distribution) {
    let found = times.percentiles();
    println!(
        "{name:<40} p50 {:.1} µs, p90 {:.1} µs, p99 {:.1} µs, of {}\n",
        found.p50_ns as f64 / 1000.0,
        found.p90_ns as f64 / 1000.0,
        found.p99_ns as f64 / 1000.0,
        found.count
    );
}

/// Wakes somebody so many times, each with the time of it, when he sleeps in the kernel. The sum of what it took.
pub(crate) fn wakes(
    count: u64,
    times: &mut Distribution,
    mut wake: impl FnMut(u64) + Send,
    mut sleep: impl FnMut() -> u64 + Send,
) -> Duration {
    let (thread, woken, sum) = (&AtomicI32::new(0), &AtomicU64::new(0), &AtomicU64::new(0));
    let sleeps = move || {
        thread.store(nix::unistd::gettid().as_raw(), Ordering::Release);
        for number in 1..=count {
            let ns = sleep_ns(sleep());
            times.record(ns);
            sum.fetch_add(ns, Ordering::Relaxed);
            woken.store(number, Ordering::Release);
        }
    };
    let wakes = move || {
        for number in 0..count {
            while woken.load(Ordering::Acquire) != number || !is_asleep(thread.load(Ordering::Acquire)) {
                std::hint::spin_loop();
            }
            wake(Clock::monotonic_ns());
        }
    };
    together(sleeps, [wakes]);
    Duration::from_nanos(sum.load(Ordering::Relaxed))
}

fn sleep_ns(stamp: u64) -> u64 {
    Clock::monotonic_ns() - stamp
}

/// Whether the kernel says that a thread of ours waits for something.
fn is_asleep(thread: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}
