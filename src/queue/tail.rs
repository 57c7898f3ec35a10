//! Seeing what goes through a queue without taking it.

use super::{Observer, Peeked, Priority, Ticket};
use crate::epoch::Epoch;
use crate::error::{Cause, Damage, Error};
use crate::lane::{Follower, Sight, View};
use crate::sync::spin_hint;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// Where a [`Tail`] begins in lanes that are there already. In lanes that come later it begins at their beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Since {
    /// Behind what has been committed.
    #[default]
    Now,
    /// At the oldest message that the receiver has not released.
    Pending,
    /// At the oldest message that is still there: of those that the receiver has released, those over which nothing has been
    /// written yet.
    Oldest,
}

/// What there is to see of a queue, or with other messages of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traffic<M = Peeked> {
    /// A message, whole and as it was sent.
    Message(M),
    /// The sender was faster than this tail: some messages were overwritten before they could be copied. What comes next of the
    /// lane is what its receiver has before it.
    Lapped {
        /// The lane's number.
        lane: u32,
        /// How far it is from where the tail was to where it goes on, in positions of the lane. 0 for a correction: more
        /// messages were missed than was said before.
        bytes: u64,
        /// How many messages were missed, by the receiver's count.
        ///
        /// The receiver counts right after it has moved on, so this may be off by as many messages as it released at that moment
        /// (one, or a batch). What it is too low by is told when the tail has caught up with the receiver: then what was seen and
        /// what was missed add up to what was sent. What it is too high by, which takes a processor that reorders loads, the next
        /// lap has less. A receiver that was killed between the two steps has counted that much too little for good.
        messages: u64,
    },
    /// The lane's sender dropped messages here, for want of room or because they came too fast.
    Dropped {
        /// Which record says so.
        ticket: Ticket,
        /// How many.
        messages: u64,
    },
    /// The lane is damaged, or was retired; nothing more is seen of it.
    Damaged(Damage),
    /// A lane is there whose file is not what it should be; nothing is seen of it.
    Unreadable {
        /// The lane's number.
        lane: u32,
        /// What is wrong, as a sentence.
        why: String,
    },
}

impl<M> Traffic<M> {
    /// The same with another kind of message.
    pub(crate) fn map<N>(self, message: impl FnOnce(M) -> N) -> Traffic<N> {
        match self {
            Traffic::Message(seen) => Traffic::Message(message(seen)),
            Traffic::Lapped { lane, bytes, messages } => Traffic::Lapped { lane, bytes, messages },
            Traffic::Dropped { ticket, messages } => Traffic::Dropped { ticket, messages },
            Traffic::Damaged(damage) => Traffic::Damaged(damage),
            Traffic::Unreadable { lane, why } => Traffic::Unreadable { lane, why },
        }
    }
}

/// Live traffic of a queue, without consuming it; made by [`Observer::tail`].
///
/// Messages of a lane come in their order; of several lanes one after the other, in turns. Nobody is told of a tail, so nobody
/// waits for it: a tail that is slower than the sender and its receiver is lapped, and says by how many messages.
///
/// # Cost
/// Nothing to the queue but cache lines that are shared once more. The tail itself copies each message. While nothing comes it
/// looks again after 50 µs, then after twice as long each time, up to 20 ms, so a message is seen 20 ms after it was sent at
/// the latest; a look is a few loads a lane, and one system call or a few ten times a second.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// use laneway::{Since, Traffic};
///
/// let mut tail = queue.observe()?.tail(Since::Now);
/// queue.sender()?.send(b"hello")?;
/// let Some(Traffic::Message(seen)) = tail.next(None)? else { panic!("nothing else was going on") };
/// assert_eq!(seen.payload, b"hello");
/// // It is still there for the receiver.
/// assert_eq!(queue.receiver()?.recv()?.to_vec(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tail {
    observer: Observer,
    lanes: Vec<Followed>,
    /// Whose turn it is.
    turn: usize,
    /// Lanes that are followed, or whose file is not what it should be and that was told.
    known: BTreeSet<u32>,
    /// What is to be told besides what the lanes hold.
    news: VecDeque<Traffic>,
    epoch: Epoch,
    seen_epoch: u64,
    next_listing: Instant,
    gone: bool,
}

struct Followed {
    number: u32,
    priority: Priority,
    follower: Follower,
}

/// How often the directory is listed while nothing comes: a lane of which nobody told is found, and that the queue is gone.
const LIST_EVERY: Duration = Duration::from_millis(100);

/// How long to wait before the next look: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(20));

/// Looks before the first pause: as long as a receiver takes for a few messages.
const LOOKS: u32 = 64;

impl Observer {
    /// What comes from now on, or also what is there already, as `since` says. Reads the lanes that are there to find out where to
    /// begin.
    pub fn tail(self, since: Since) -> Tail {
        let epoch = Epoch::new(self.bell());
        let mut tail = Tail {
            lanes: Vec::new(),
            turn: 0,
            known: BTreeSet::new(),
            news: VecDeque::new(),
            // Not what is there: the first look lists, and finds what has come since the observer was made.
            seen_epoch: epoch.glance().wrapping_sub(1),
            epoch,
            next_listing: Instant::now(),
            gone: false,
            observer: self,
        };
        tail.follow(|view, read| match since {
            Since::Now => Follower::now(view, read),
            Since::Pending => Follower::pending(view),
            Since::Oldest => Follower::oldest(view, read),
        });
        tail
    }
}

impl Tail {
    /// The next thing there is to see, if there is any now. Takes no system call unless a lane came or it was long quiet; what
    /// lies outside of a ring is read from its file.
    ///
    /// # Errors
    /// [`Cause::Detached`] when the queue was removed, once everything was seen that was in it.
    pub fn try_next(&mut self) -> Result<Option<Traffic>, Error> {
        if self.epoch.glance() != self.seen_epoch {
            self.list()?;
        }
        if let Some(seen) = self.look() {
            return Ok(Some(seen));
        }
        if Instant::now() >= self.next_listing {
            self.list()?;
            if let Some(seen) = self.look() {
                return Ok(Some(seen));
            }
        }
        if self.gone { Err(self.observer.failed(Cause::Detached)) } else { Ok(None) }
    }

    /// As [`try_next`](Self::try_next), and waits until there is something, at most for `timeout` if there is one: none when
    /// nothing came.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Traffic>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (mut looks, mut pause) = (0, PAUSES.0);
        loop {
            if let Some(seen) = self.try_next()? {
                return Ok(Some(seen));
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            if looks < LOOKS {
                looks += 1;
                spin_hint();
            } else {
                // Nobody wakes who only watches.
                thread::sleep(pause.min(left));
                pause = (2 * pause).min(PAUSES.1);
            }
        }
    }

    /// The observer whose lanes these are.
    pub fn observer(&mut self) -> &mut Observer {
        &mut self.observer
    }

    /// Finds lanes that have come.
    fn list(&mut self) -> Result<(), Error> {
        self.seen_epoch = self.epoch.before_listing();
        self.next_listing = Instant::now() + LIST_EVERY;
        match self.observer.refresh() {
            Err(error) if matches!(error.cause(), Cause::Detached) => self.gone = true,
            answer => answer?,
        }
        self.follow(|view, _| Follower::beginning(view));
        Ok(())
    }

    /// Follows the lanes that are known and not followed yet.
    fn follow(&mut self, begin: impl Fn(&View, &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Follower) {
        for (number, priority, view) in self.observer.views() {
            if self.known.insert(number) {
                let follower = begin(view, &mut |offset, to| self.observer.read_lane(number, offset, to));
                self.lanes.push(Followed { number, priority, follower });
            }
        }
        for (lane, why) in self.observer.unreadable() {
            if self.known.insert(lane) {
                self.news.push_back(Traffic::Unreadable { lane, why });
            }
        }
    }

    /// One round over the lanes, from the one whose turn it is.
    fn look(&mut self) -> Option<Traffic> {
        if let Some(news) = self.news.pop_front() {
            return Some(news);
        }
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            let Followed { number, priority, follower } = &mut self.lanes[self.turn];
            let (number, priority, observer) = (*number, *priority, &self.observer);
            let Some(view) = observer.view(number) else { continue };
            let sight = follower.next(view, &mut |offset, to| observer.read_lane(number, offset, to));
            let ticket = |position| Ticket { lane: number, position };
            match sight {
                None => {}
                Some(Sight::Message(record, payload)) => {
                    return Some(Traffic::Message(Peeked { ticket: ticket(record.position), priority, payload }));
                }
                Some(Sight::Dropped(position, messages)) => {
                    return Some(Traffic::Dropped { ticket: ticket(position), messages: messages.into() });
                }
                Some(Sight::Lapped { bytes, messages }) => {
                    return Some(Traffic::Lapped { lane: number, bytes, messages });
                }
                Some(Sight::Damaged(damage)) => return Some(Traffic::Damaged(damage)),
            }
        }
        None
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("observer", &self.observer).finish_non_exhaustive()
    }
}
