//! The bridge: threads that sleep on the bells of many, and tell each that was rung for.
//!
//! A bell's `seq` changes with each ring, whoever rings and whatever for; a thread of the bridge remembers what each was, tells
//! the owner when it has changed, and sleeps while none has ([`Relay`]). It needs no fences and writes to no shared memory:
//! saying asleep, and the look after that, are done by the handle in its own thread ([`Source`](super::source::Source)).

use super::source::Shared;
use crate::bell::{LONGEST_SLEEP, Relay};
use crate::region::Peer;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::futex::{self, MOST_WORDS, WaitAny};
use crate::sys::signals;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How the bridge sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// A thread for every 127 queues sleeps on all of them (`futex_waitv`, Linux 5.16).
    WaitAny,
    /// A thread for each queue.
    Threads,
    /// One thread looks at all of them a thousand times a second. Never chosen: what is left to those that slept on many when a filter
    /// came that forbids it, and for comparing.
    Polling,
}

impl Mechanism {
    const NAMES: [(&str, Mechanism); 3] =
        [("wait-any", Mechanism::WaitAny), ("threads", Mechanism::Threads), ("polling", Mechanism::Polling)];

    /// How many queues one thread can sleep on. One word is the thread's own.
    fn most(self) -> usize {
        match self {
            Mechanism::WaitAny => MOST_WORDS - 1,
            Mechanism::Threads => 1,
            Mechanism::Polling => usize::MAX,
        }
    }
}

/// Between two looks of [`Mechanism::Polling`], and after a wait that failed.
const POLL: Duration = Duration::from_millis(1);

/// As good as no bound at all.
const AGES: Duration = Duration::from_secs(3600);

/// The bridge of a process.
struct Bridge {
    /// Which one: a forked child has none of these threads.
    process: u32,
    forced: Option<Mechanism>,
    /// A filter has come that forbids what was chosen.
    refused: bool,
    threads: Vec<Arc<Thread>>,
}

static BRIDGE: Mutex<Bridge> = Mutex::new(Bridge { process: 0, forced: None, refused: false, threads: Vec::new() });

/// How the bridge sleeps for what is registered from here on: as the environment's `LANEWAY_EVENT` says (`wait-any`, `threads`,
/// `polling`), or by the first of those that this kernel offers and no filter forbids.
pub fn mechanism() -> Mechanism {
    let Bridge { forced, refused, .. } = *lock(&BRIDGE);
    match forced.unwrap_or_else(best) {
        Mechanism::WaitAny if refused => Mechanism::Threads,
        mechanism => mechanism,
    }
}

/// Makes the bridge sleep like this, for what is registered from here on; `None` leaves the choice to it again. For tests, and for
/// comparing.
pub fn force(mechanism: Option<Mechanism>) {
    lock(&BRIDGE).forced = mechanism;
}

fn best() -> Mechanism {
    static BEST: OnceLock<Mechanism> = OnceLock::new();
    *BEST.get_or_init(|| {
        let wanted = std::env::var("LANEWAY_EVENT").ok();
        let named = Mechanism::NAMES.iter().find(|(name, _)| Some(*name) == wanted.as_deref());
        match named {
            Some((_, mechanism)) => *mechanism,
            None if futex::can_wait_any() => Mechanism::WaitAny,
            None => Mechanism::Threads,
        }
    })
}

/// What one of its threads sleeps on, and how it is reached.
pub(super) struct Thread {
    mechanism: Mechanism,
    /// Changes when there is something to be told: its own futex word.
    control: AtomicU32,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    arrived: Vec<Entry>,
    /// How many it sleeps on, and is going to.
    load: usize,
    /// For a thread that sleeps on one thing only: what else wakes it.
    only: Option<Peer<AtomicU32>>,
    ended: bool,
}

/// One that is waited for.
struct Entry {
    relay: Relay,
    shared: Arc<Shared>,
}

/// Has somebody waited for from here on, by one of the threads.
pub(super) fn register(relay: Relay, shared: Arc<Shared>) -> io::Result<Arc<Thread>> {
    let mechanism = mechanism();
    let mut bridge = lock(&BRIDGE);
    if bridge.process != std::process::id() {
        (bridge.process, bridge.threads) = (std::process::id(), Vec::new());
    }
    bridge.threads.retain(|thread| !lock(&thread.desk).ended);
    let mut entry = Some(Entry { relay, shared });
    let with_room = bridge.threads.iter().find(|thread| thread.mechanism == mechanism && thread.take(&mut entry));
    let thread = match with_room {
        Some(thread) => Arc::clone(thread),
        None => {
            let thread = Arc::new(Thread { mechanism, control: AtomicU32::new(0), desk: Mutex::default() });
            thread.take(&mut entry);
            let its = Arc::clone(&thread);
            thread::Builder::new().name("laneway-bridge".to_owned()).stack_size(STACK).spawn(move || its.run())?;
            bridge.threads.push(Arc::clone(&thread));
            thread
        }
    };
    drop(bridge);
    thread.kick();
    Ok(thread)
}

/// It calls nothing that needs more, but for the wakers of a runtime.
const STACK: usize = 256 << 10;

impl Thread {
    /// Takes an entry, if there is one and room for it.
    fn take(&self, entry: &mut Option<Entry>) -> bool {
        let mut desk = lock(&self.desk);
        if desk.ended || desk.load >= self.mechanism.most() {
            return false;
        }
        if let Some(entry) = entry.take() {
            desk.load += 1;
            desk.only = (self.mechanism == Mechanism::Threads).then(|| entry.relay.word());
            desk.arrived.push(entry);
        }
        true
    }

    /// Makes it look at who has come or gone, and when it is to look again.
    pub(super) fn kick(&self) {
        // ORDERING(hint): relaxed; what it tells of lies behind a lock.
        self.control.fetch_add(1, Ordering::Relaxed);
        futex::wake_all(&self.control);
        let only = lock(&self.desk).only.clone();
        // Just before it sleeps it misses this, and looks when its bounded sleep ends.
        only.inspect(|word| futex::wake_all(word.futex()));
    }

    fn run(&self) {
        signals::block();
        let mut entries: Vec<Entry> = Vec::new();
        let mut refused = false;
        let mut kicks = None;
        let mut next_look = Instant::now() + LONGEST_SLEEP;
        loop {
            // ORDERING(hint): relaxed; loaded before the lock is taken behind which lies what it tells of.
            let control = self.control.load(Ordering::Relaxed);
            let now = Instant::now();
            if kicks.replace(control) != Some(control) || now >= next_look {
                entries.retain(|entry| !entry.shared.is_gone());
                if !self.admit(&mut entries) {
                    return;
                }
                if now >= next_look {
                    entries.iter().for_each(|entry| entry.shared.look(now));
                }
                next_look = entries.iter().map(|entry| entry.shared.next_look(now)).min().unwrap_or(now + AGES);
            }
            for entry in &entries {
                if entry.relay.has_rung() {
                    entry.shared.tell();
                }
            }
            let limit = next_look.saturating_duration_since(Instant::now());
            if self.sleep(&entries, control, limit, refused) {
                refused = true;
                // Nobody comes to a thread that has to look again and again.
                lock(&BRIDGE).refused = true;
            }
        }
    }

    /// Takes up who has arrived. False when the thread has nobody to sleep for and nobody will come.
    fn admit(&self, entries: &mut Vec<Entry>) -> bool {
        let mut desk = lock(&self.desk);
        entries.append(&mut desk.arrived);
        desk.load = entries.len();
        desk.ended = entries.is_empty() && self.mechanism == Mechanism::Threads;
        !desk.ended
    }

    /// Sleeps until there is something to see to. True when the kernel will never do so for all of them.
    fn sleep(&self, entries: &[Entry], control: u32, limit: Duration, refused: bool) -> bool {
        match (self.mechanism, entries) {
            (Mechanism::WaitAny, _) if !refused => {
                let words = entries.iter().map(|entry| entry.relay.futex());
                match futex::wait_any(words.chain([(&self.control, control)]), Some(limit)) {
                    WaitAny::Returned => return false,
                    WaitAny::Refused => return true,
                    WaitAny::Failed => thread::sleep(POLL),
                }
            }
            (Mechanism::Threads, [entry]) => {
                let (word, seen) = entry.relay.futex();
                futex::wait(word, seen, limit);
            }
            (_, []) => {
                futex::wait(&self.control, control, limit);
            }
            _ => {
                futex::wait(&self.control, control, limit.min(POLL));
            }
        }
        false
    }
}

/// A panic of somebody's waker does not make a list wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
