//! Receiving from many queues on one thread.

use super::bridge::lock;
use super::source::{Notify, Source};
use crate::bell::LONGEST_SLEEP;
use crate::error::TryRecvError;
use crate::queue::{Message, Receiver};
use crate::sync::{AtomicU32, Ordering};
use crate::sys::futex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Those of a selector that are worth looking at.
#[derive(Default)]
pub(super) struct Ready {
    list: Mutex<List>,
    /// Changes when one comes into the list: a futex word.
    changes: AtomicU32,
}

#[derive(Default)]
struct List {
    next: VecDeque<usize>,
    /// By number, so that none is in it twice.
    listed: Vec<bool>,
}

impl Ready {
    fn add(&self, number: usize) {
        let mut list = lock(&self.list);
        if list.listed.len() <= number {
            list.listed.resize(number + 1, false);
        }
        if !std::mem::replace(&mut list.listed[number], true) {
            list.next.push_back(number);
        }
    }

    /// Puts one behind the others, and wakes whoever waits.
    pub(super) fn push(&self, number: usize) {
        self.add(number);
        // ORDERING(hint): relaxed; what it tells of lies behind a lock.
        self.changes.fetch_add(1, Ordering::Relaxed);
        futex::wake_all(&self.changes);
    }

    fn pop(&self) -> Option<usize> {
        let mut list = lock(&self.list);
        let number = list.next.pop_front()?;
        list.listed[number] = false;
        Some(number)
    }

    /// The first of them. Waits until there is one, or until the deadline.
    fn wait(&self, deadline: Option<Instant>) -> Option<usize> {
        loop {
            // ORDERING(hint): relaxed; loaded before the lock is taken behind which lies what it tells of.
            let changes = self.changes.load(Ordering::Relaxed);
            if let Some(number) = self.pop() {
                return Some(number);
            }
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            futex::wait(&self.changes, changes, left.min(LONGEST_SLEEP));
        }
    }
}

/// Receives from many queues on one thread, a message from each that has some in turn. However many queues there are, waiting costs nothing and a message
/// costs the same: those without mail are not looked at.
///
/// `Send`, not `Sync`. See also [`AsyncReceiver`](super::AsyncReceiver), for tasks.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = |name| laneway::Queue::create(dir.path().join(name));
/// # let (backend, frontend) = (queue("backend")?, queue("frontend")?);
/// # frontend.sender()?.send(b"hello")?;
/// use laneway::event::Selector;
/// let mut selector = Selector::new();
/// let backend = selector.add(backend.receiver()?)?;
/// let frontend = selector.add(frontend.receiver()?)?;
/// let selected = selector.recv().expect("there are queues");
/// assert_eq!(selected.key, frontend);
/// assert_eq!(selected.message?.to_vec(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Selector {
    slots: Vec<Option<Slot>>,
    ready: Arc<Ready>,
}

struct Slot {
    receiver: Receiver,
    source: Source,
    /// That all has closed was said, and nothing has come since.
    closed: Cell<bool>,
}

/// Names a queue of a [`Selector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(usize);

/// What a [`Selector`] found.
#[derive(Debug)]
pub struct Selected<'a> {
    /// In which queue.
    pub key: Key,
    /// The message, or what happened there. `Closed` is said once, and again if senders come back and close again. After `Detached` nothing more comes from
    /// there: [`remove`](Selector::remove) it. Never `Empty`.
    pub message: Result<Message<'a>, TryRecvError>,
}

impl Selector {
    /// One without queues.
    pub fn new() -> Selector {
        Selector::default()
    }

    /// Receives from this queue too.
    ///
    /// # Errors
    /// When there are no threads left: the first 127 queues of a process take one.
    pub fn add(&mut self, receiver: Receiver) -> io::Result<Key> {
        let number = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        let source = Source::new(&receiver, Notify::List(Arc::clone(&self.ready), number))?;
        let slot = Some(Slot { receiver, source, closed: Cell::new(false) });
        match self.slots.get_mut(number) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.ready.add(number);
        Ok(Key(number))
    }

    /// Gives a queue's receiver back.
    pub fn remove(&mut self, key: Key) -> Option<Receiver> {
        let Slot { receiver, source, .. } = self.slots.get_mut(key.0)?.take()?;
        source.disarm(&receiver);
        Some(receiver)
    }

    /// A queue's receiver; for its `damage`, say.
    pub fn get(&self, key: Key) -> Option<&Receiver> {
        let slot = self.slots.get(key.0)?.as_ref()?;
        // Whatever is done with it, it is looked at, and armed anew, before anybody waits for it.
        slot.source.disarm(&slot.receiver);
        self.ready.add(key.0);
        Some(&slot.receiver)
    }

    /// How many queues there are.
    pub fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next message, or what else happened. Blocks until there is one. None if there is no queue, or each was removed from under us.
    pub fn recv(&self) -> Option<Selected<'_>> {
        if self.slots.iter().flatten().all(|slot| slot.receiver.is_gone()) {
            // What was not said yet is.
            return self.try_recv();
        }
        self.select(None)
    }

    /// As [`recv`](Self::recv), blocking at most for `timeout`. None when the time ran out.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Selected<'_>> {
        self.select(Instant::now().checked_add(timeout))
    }

    /// The next message, or what else happened, if there is something. Never blocks.
    pub fn try_recv(&self) -> Option<Selected<'_>> {
        self.select(Some(Instant::now()))
    }

    fn select(&self, deadline: Option<Instant>) -> Option<Selected<'_>> {
        loop {
            let number = self.ready.wait(deadline)?;
            // One that was removed may have been told before.
            let Some(Some(slot)) = self.slots.get(number) else { continue };
            slot.source.disarm(&slot.receiver);
            let message = slot.receiver.try_recv();
            let was_closed = slot.closed.replace(matches!(message, Err(TryRecvError::Closed)));
            match message {
                Err(TryRecvError::Empty) => self.rearm(number, slot),
                Err(TryRecvError::Closed) if was_closed => self.rearm(number, slot),
                message => {
                    if !matches!(message, Err(TryRecvError::Detached)) {
                        // Its next turn comes after those of all others that wait for theirs.
                        self.ready.add(number);
                    }
                    return Some(Selected { key: Key(number), message });
                }
            }
        }
    }

    fn rearm(&self, number: usize, slot: &Slot) {
        slot.source.arm(&slot.receiver);
        let found = if slot.closed.get() { slot.receiver.has_news() } else { slot.receiver.has_event() };
        if found {
            self.ready.add(number);
        }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("queues", &self.len()).finish_non_exhaustive()
    }
}
