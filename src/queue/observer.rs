//! Looking at a queue without touching it.

use super::directory::{Directory, LaneFile};
use super::{Priority, Ticket};
use crate::error::{Cause, Damage, Error};
use crate::lane::{Glance, Pending, Pressure, View};
use crate::layout;
use crate::region::{Peer, Region};
use crate::sync::{AtomicU32, AtomicU64};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A read-only view of a queue: it maps everything read-only, takes no lock and wakes nobody, so it costs the queue
/// nothing and can stop it from nothing.
pub struct Observer {
    directory: Arc<Directory>,
    lanes: BTreeMap<u32, (Priority, View)>,
    /// Lanes whose files are not what they should be.
    unreadable: BTreeMap<u32, Cause>,
    receiver: Arc<Region>,
    bell: Arc<Region>,
    /// The names of the queue's files, and when that was all there were.
    files: Vec<String>,
    listed: Option<u64>,
}

/// What can be seen of a queue as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStat {
    /// Whether a receiver is attached, by the kernel's word.
    pub receiver_alive: bool,
    /// How often a receiver has attached.
    pub receiver_attaches: u64,
    /// Whether the receiver sleeps now.
    pub receiver_sleeps: bool,
    /// Lanes that exist.
    pub lanes: usize,
    /// Bytes committed and not released, over all lanes.
    pub depth_bytes: u64,
    /// Messages committed and not released, over all lanes.
    pub depth_messages: u64,
    /// Those among them that lie outside the rings.
    pub segment_bytes: u64,
    /// Bytes of memory or disk that the queue's files take now.
    pub reserved_bytes: u64,
    /// Bytes that they may take at most, with every lane there may be and all of them grown to the limit.
    pub limit_bytes: u64,
    /// The highest pressure of any sound lane.
    pub pressure: Pressure,
    /// Messages that senders dropped, for want of room or because they came too fast, over all lanes.
    pub dropped: u64,
}

/// What can be seen of a lane. Each number was true at an instant; together they were not true at the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStat {
    /// The lane's number.
    pub lane: u32,
    /// How urgent what comes through it is.
    pub priority: Priority,
    /// Whether a sender holds it, by the kernel's word.
    pub sender_alive: bool,
    /// Whether that sender sleeps now, until there is room for what it sends.
    pub sender_sleeps: bool,
    /// Bytes committed and not released.
    pub depth_bytes: u64,
    /// Those among them that lie in segments.
    pub segment_bytes: u64,
    /// Bytes of memory or disk that the lane's file takes now: its ring, what is reserved for segments, and 4 KiB.
    pub reserved_bytes: u64,
    /// The most bytes that have been waiting, as far as the sender looked.
    pub high_water_bytes: u64,
    /// Whether the receiver keeps up.
    pub pressure: Pressure,
    /// Messages committed and not released.
    pub depth_messages: u64,
    /// Messages that senders dropped since the lane was created, for want of room or because they came too fast.
    pub dropped: u64,
    /// Where the next record will be written, as far as the sender has said.
    pub write_pos: u64,
    /// Everything below has been released.
    pub read_pos: u64,
    /// Messages committed since the lane was created.
    pub sent: u64,
    /// Messages released since the lane was created.
    pub received: u64,
    /// How often a sender has attached.
    pub attaches: u64,
    /// How often a sender found the lane full.
    pub full_events: u64,
    /// Whether the sender has closed it.
    pub closed: bool,
    /// Why it was retired, if it was.
    pub damage: Option<Damage>,
}

/// A message that an observer has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peeked {
    /// Which message it is.
    pub ticket: Ticket,
    /// How urgent it is.
    pub priority: Priority,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Observer {
    pub(super) fn attach(directory: Arc<Directory>) -> Result<Observer, Error> {
        let failed = |cause| directory.error("observe", cause);
        let receiver = directory.map_receiver(false).map_err(failed)?;
        let bell = directory.map_bell(false).map_err(failed)?;
        let (lanes, unreadable, files, listed) = (BTreeMap::new(), BTreeMap::new(), Vec::new(), None);
        let mut observer = Observer { directory, lanes, unreadable, receiver, bell, files, listed };
        observer.find_lanes()?;
        Ok(observer)
    }

    /// The lanes, in order of their numbers. Takes a few system calls a lane, to ask who holds it.
    pub fn lanes(&mut self) -> Result<Vec<LaneStat>, Error> {
        self.find_lanes()?;
        self.lanes.iter().map(|(number, (priority, view))| self.lane(*number, *priority, view)).collect()
    }

    /// The lanes whose files are damaged, each with a sentence.
    pub fn unreadable(&self) -> impl Iterator<Item = (u32, String)> {
        self.unreadable.iter().map(|(number, cause)| (*number, cause.to_string()))
    }

    /// The queue as a whole.
    pub fn stat(&mut self) -> Result<QueueStat, Error> {
        Ok(self.look()?.0)
    }

    /// Bytes of ring that each sender has.
    pub fn capacity(&self) -> u64 {
        self.directory.header().ring_capacity
    }

    /// The queue as a whole and its [`lanes`](Self::lanes), for the system calls of one of the two.
    pub fn look(&mut self) -> Result<(QueueStat, Vec<LaneStat>), Error> {
        let lanes = self.lanes()?;
        let sleeps: Peer<AtomicU32> = self.receiver.peer(layout::receiver::SLEEPS);
        let attaches: Peer<AtomicU64> = self.receiver.peer(layout::receiver::ATTACHES);
        let header = self.directory.header();
        use layout::FileKind::{Bell, Desk, Ledger, Queue, Receiver};
        let kinds =
            [Queue, Bell, Receiver].into_iter().chain([Ledger, Desk].into_iter().filter(|_| header.ledger_entries > 0));
        let files: u64 = kinds.map(|kind| header.file_len(kind).next_multiple_of(layout::PAGE)).sum();
        // A lock that was born has one byte, and takes a page for it.
        let lane_files = header.file_len(layout::FileKind::Lane) + header.overflow_limit + layout::PAGE;
        let reserved_bytes = self.directory.bytes(&self.files);
        let sound = || lanes.iter().filter(|lane| lane.damage.is_none());
        let stat = QueueStat {
            receiver_alive: self.receiver_alive()?,
            receiver_attaches: attaches.load(),
            receiver_sleeps: sleeps.load() % 2 == 1,
            lanes: lanes.len(),
            depth_bytes: lanes.iter().map(|lane| lane.depth_bytes).sum(),
            depth_messages: lanes.iter().map(|lane| lane.depth_messages).sum(),
            segment_bytes: lanes.iter().map(|lane| lane.segment_bytes).sum(),
            reserved_bytes,
            limit_bytes: files + u64::from(header.max_lanes) * lane_files,
            pressure: sound().map(|lane| lane.pressure).max().unwrap_or_default(),
            dropped: lanes.iter().map(|lane| lane.dropped).fold(0, u64::saturating_add),
        };
        Ok((stat, lanes))
    }

    /// Bytes committed and not released, over all lanes.
    pub fn depth_bytes(&mut self) -> Result<u64, Error> {
        self.find_lanes()?;
        Ok(self.lanes.values().map(|(_, view)| view.glance().waiting.bytes).sum())
    }

    /// How far a lane's sender and its receiver are: no system call for a lane that is known, and two for one that may have come.
    /// None for one that is not there.
    pub fn cursor(&mut self, lane: u32) -> Result<Option<Cursor>, Error> {
        self.find_one(lane)?;
        Ok(self.lanes.get(&lane).map(|(_, view)| {
            // In this order, so that what is behind the one is not behind the other.
            let read_pos = view.begin();
            Cursor { read_pos, write_pos: view.hint(read_pos) }
        }))
    }

    /// Messages committed and not released, over the lanes that are known, as their senders and the receiver count. No system call.
    pub fn depth_messages(&self) -> u64 {
        self.lanes.values().map(|(_, view)| depth_messages(&view.glance())).sum()
    }

    /// Messages that senders dropped, and how often one found no room, over the lanes that are known. No system call.
    pub(crate) fn lost(&self) -> (u64, u64) {
        self.lanes.values().map(|(_, view)| view.glance()).fold((0, 0), |(dropped, full_events), glance| {
            (dropped.saturating_add(glance.dropped), full_events.saturating_add(glance.full_events))
        })
    }

    /// Looks for lanes that came since the last time.
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.find_lanes()
    }

    /// Whether a receiver is attached, by the kernel's word: true from the moment it attached until it is gone.
    pub fn receiver_alive(&self) -> Result<bool, Error> {
        self.directory.is_held(None).map_err(|cause| self.directory.error("observe", cause))
    }

    /// Copies of up to `max` messages of each lane that have not been released, oldest first. Nothing is consumed. What comes
    /// while it looks is for the next look, so that this one ends, however fast the senders are; when the receiver and a sender
    /// have moved on meanwhile, it goes on where they are.
    pub fn peek(&mut self, max: usize) -> Result<Vec<Peeked>, Error> {
        self.find_lanes()?;
        let mut seen = Vec::new();
        for (number, (priority, view)) in &self.lanes {
            let mut pending = Pending::new(view);
            let messages = std::iter::from_fn(|| pending.next(&mut |offset, to| self.read_lane(*number, offset, to)));
            seen.extend(messages.take(max).map(|(record, payload)| {
                let ticket = Ticket { lane: *number, position: record.position };
                Peeked { ticket, priority: *priority, payload }
            }));
        }
        Ok(seen)
    }

    /// A copy of the first message of a lane at this position or behind it, whether it was released or not: for a position that was
    /// a [`Cursor::write_pos`] or a ticket's. None when there is none yet, or when something may have been written over it.
    pub fn message_from(&mut self, lane: u32, position: u64) -> Result<Option<Peeked>, Error> {
        self.find_one(lane)?;
        let Some((priority, view)) = self.lanes.get(&lane) else { return Ok(None) };
        let mut at = position;
        // What is no message leads to one: two jumps and a pad at most.
        for _ in 0..4 {
            match view.copy(at, &mut |offset, to| self.read_lane(lane, offset, to)) {
                Ok(Some((record, payload))) if record.kind == layout::Kind::Data => {
                    let ticket = Ticket { lane, position: record.position };
                    return Ok(Some(Peeked { ticket, priority: *priority, payload }));
                }
                Ok(Some((record, _))) => at = record.next,
                Ok(None) | Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The lanes that are known.
    pub(crate) fn views(&self) -> impl Iterator<Item = (u32, Priority, &View)> {
        self.lanes.iter().map(|(number, (priority, view))| (*number, *priority, view))
    }

    pub(super) fn view(&self, number: u32) -> Option<&View> {
        self.lanes.get(&number).map(|(_, view)| view)
    }

    /// Reads bytes of a lane's file; false when they are not there.
    pub(super) fn read_lane(&self, number: u32, offset: u64, to: &mut [u8]) -> bool {
        self.directory.read_lane(number, offset, to)
    }

    pub(super) fn bell(&self) -> &Arc<Region> {
        &self.bell
    }

    pub(super) fn failed(&self, cause: Cause) -> Error {
        self.directory.error("observe", cause)
    }

    fn lane(&self, number: u32, priority: Priority, view: &View) -> Result<LaneStat, Error> {
        let glance = view.glance();
        let held = self.directory.is_held(Some(number)).map_err(|cause| self.directory.error("observe", cause))?;
        Ok(LaneStat {
            lane: number,
            priority,
            sender_alive: held,
            // Of a sender that was killed in its sleep the count stays odd.
            sender_sleeps: held && glance.sleeps,
            depth_bytes: glance.waiting.bytes,
            segment_bytes: glance.waiting.in_segments,
            reserved_bytes: self
                .directory
                .lane_bytes(number)
                .map_err(|cause| self.directory.error("observe", cause))?,
            high_water_bytes: glance.high_water,
            pressure: glance.pressure,
            dropped: glance.dropped,
            depth_messages: depth_messages(&glance),
            write_pos: glance.write_pos,
            read_pos: glance.read_pos,
            sent: glance.sent,
            received: glance.received,
            attaches: glance.attaches,
            full_events: glance.full_events,
            closed: glance.closed,
            damage: glance.damage,
        })
    }

    fn ask_attached(&self) -> Result<(), Error> {
        if self.directory.is_attached() { Ok(()) } else { Err(self.directory.error("observe", Cause::Detached)) }
    }

    fn find_lanes(&mut self) -> Result<(), Error> {
        self.ask_attached()?;
        // As long as the directory is as it was, asking that is all it takes.
        let changed_at = self.directory.changed_at();
        if changed_at.is_some() && changed_at == self.listed {
            return Ok(());
        }
        self.files = self.directory.files().map_err(|cause| self.directory.error("observe", cause))?;
        let numbers = self.directory.lanes_among(&self.files);
        numbers.into_iter().try_for_each(|number| self.find_lane(number))?;
        self.listed = changed_at;
        Ok(())
    }

    /// Looks for a lane of a queue that is still there, unless it is known or cannot be.
    fn find_one(&mut self, number: u32) -> Result<(), Error> {
        if self.lanes.contains_key(&number) || number >= self.directory.header().max_lanes {
            return Ok(());
        }
        self.ask_attached()?;
        self.find_lane(number)
    }

    /// Looks for a lane, unless it is known.
    fn find_lane(&mut self, number: u32) -> Result<(), Error> {
        if self.lanes.contains_key(&number) || self.unreadable.contains_key(&number) {
            return Ok(());
        }
        let found = self.directory.map_lane(number, false);
        match found.map_err(|cause| self.directory.error("observe", cause))? {
            LaneFile::Missing => {}
            LaneFile::Unusable(cause) => {
                self.unreadable.insert(number, cause);
            }
            LaneFile::Mapped(lane, header) => {
                let memory = self.directory.memory(&header, lane, &self.receiver, &self.bell);
                self.lanes.insert(number, (Priority::of(header.priority), View::new(memory)));
            }
        }
        Ok(())
    }
}

/// As with bytes: there are no more than there is room for.
fn depth_messages(glance: &Glance) -> u64 {
    glance.sent.saturating_sub(glance.received).min(glance.waiting.bytes / 8)
}

/// How far the two sides of a lane are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Everything below was released.
    pub read_pos: u64,
    /// Everything below was committed, and more perhaps.
    pub write_pos: u64,
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}
