//! A lane: a ring, the words around it, and the two bells that belong to it.
//!
//! Composes [`ring`](crate::ring) and [`bell`](crate::bell) over the memory of three files. Knows nothing of the files
//! themselves, of locks, or of other lanes.

#[cfg(not(laneway_loom))]
mod follow;
#[cfg(not(laneway_loom))]
mod pending;
mod pressure;
mod reader;
#[cfg(not(laneway_loom))]
mod scout;
#[cfg(all(test, not(laneway_loom)))]
mod tests;
mod view;
mod writer;

#[cfg(not(laneway_loom))]
pub(crate) use follow::{Follower, Sight};
#[cfg(not(laneway_loom))]
pub(crate) use pending::Pending;
pub use pressure::Pressure;
pub(crate) use pressure::{Marks, Waiting};
pub(crate) use reader::Reader;
#[cfg(not(laneway_loom))]
pub(crate) use scout::Scout;
pub(crate) use view::{Glance, Lapped, View};
pub(crate) use writer::{Asking, Writer};

use crate::error::{Broken, Damage, Fault};
use crate::layout::{self, FenceMode, Header, Limits};
use crate::region::{Own, Peer, Region};
use crate::segments::Table;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::fence::Fences;
use std::sync::Arc;

/// What a queue's creator laid down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) header: Header,
    pub(crate) limits: Limits,
    pub(crate) fence_mode: FenceMode,
}

/// The memory that one end of a lane needs, and what the queue's header says about it.
#[derive(Clone)]
pub(crate) struct Memory {
    /// `lane-NNN`: writable for its sender.
    pub(crate) lane: Arc<Region>,
    /// `receiver`: writable for the receiver.
    pub(crate) receiver: Arc<Region>,
    /// `bell`: writable for all.
    pub(crate) bell: Arc<Region>,
    /// The lane's number.
    pub(crate) number: u32,
    /// Its priority, as the header says it.
    pub(crate) priority: u32,
    pub(crate) capacity: u64,
    /// Bytes that the lane may hold in segments.
    pub(crate) overflow_limit: u64,
    pub(crate) marks: Marks,
    pub(crate) max_message: u32,
    pub(crate) fences: Fences,
    /// What the log calls the lane.
    #[cfg(feature = "tracing")]
    pub(crate) name: crate::log::Name,
}

impl Memory {
    /// The memory of the lane whose file has this header.
    pub(crate) fn new(
        terms: &Terms,
        header: &Header,
        lane: Arc<Region>,
        receiver: Arc<Region>,
        bell: Arc<Region>,
    ) -> Memory {
        Memory {
            lane,
            receiver,
            bell,
            number: header.lane,
            priority: header.priority,
            capacity: header.ring_capacity,
            overflow_limit: header.overflow_limit,
            marks: Marks::new(&terms.limits, header.ring_capacity),
            max_message: header.max_message,
            fences: Fences::new(terms.fence_mode),
            #[cfg(feature = "tracing")]
            name: crate::log::Name::default(),
        }
    }

    /// The lane's segment table.
    fn table(&self) -> Table {
        Table::new(&self.lane, self.capacity, self.overflow_limit)
    }

    /// The most bytes of records that the lane can hold at a time.
    fn most(&self) -> u64 {
        self.capacity + self.overflow_limit
    }

    fn slot(&self, offset: usize) -> usize {
        layout::slot_offset(self.number as usize) + offset
    }

    fn damage(&self, broken: Broken) -> Damage {
        Damage { lane: self.number, fault: broken.fault, position: broken.position, found: broken.found }
    }

    /// The damage for which the receiver retired this lane.
    fn damage_on_record(&self) -> Option<Damage> {
        damage_on_record(&self.receiver, self.number)
    }
}

/// The damage for which the receiver retired a lane.
pub(crate) fn damage_on_record(receiver: &Arc<Region>, number: u32) -> Option<Damage> {
    let slot = layout::slot_offset(number as usize);
    let fault: Peer<AtomicU32> = receiver.peer(slot + layout::slot::FAULT);
    let fault = Fault::from_word(fault.load())?;
    // ORDERING(poison): the numbers were stored before the word.
    fence(Ordering::Acquire);
    let position: Peer<AtomicU64> = receiver.peer(slot + layout::slot::FAULT_POSITION);
    let found: Peer<AtomicU64> = receiver.peer(slot + layout::slot::FAULT_FOUND);
    Some(Damage { lane: number, fault, position: position.load(), found: found.load() })
}

/// Retires a lane for good. For the receiver.
pub(crate) fn record_damage(receiver: &Arc<Region>, damage: Damage) {
    let slot = layout::slot_offset(damage.lane as usize);
    let fault: Own<AtomicU32> = receiver.own(slot + layout::slot::FAULT);
    let position: Own<AtomicU64> = receiver.own(slot + layout::slot::FAULT_POSITION);
    let found: Own<AtomicU64> = receiver.own(slot + layout::slot::FAULT_FOUND);
    // ORDERING(poison): relaxed, both; the Release below puts them before the word.
    position.store(damage.position, Ordering::Relaxed);
    found.store(damage.found, Ordering::Relaxed);
    // ORDERING(poison): the numbers before the word that makes anyone read them.
    fault.store(damage.fault as u32, Ordering::Release);
}
