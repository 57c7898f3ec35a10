//! What the processes of a soak share: what was promised, what was handled, and who owns what. It outlives whoever is killed.
#![expect(unsafe_code, reason = "one shared mapping for all processes")]

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

/// The most lanes of a queue that is soaked.
pub(crate) const LANES: usize = 16;
/// Processes that are killed.
pub(crate) const SLOTS: usize = 8;

/// All zero at first. Every access is sequentially consistent: what is checked is elsewhere.
#[repr(C)]
pub(crate) struct Page {
    /// The senders are to send a few more messages and close; the others but the receiver are to go.
    pub(crate) finish: AtomicBool,
    /// The receiver is to go, too.
    pub(crate) leave: AtomicBool,
    /// Which queue this is.
    pub(crate) epoch: AtomicU64,
    pub(crate) lanes: [Lane; LANES],
    pub(crate) slots: [Slot; SLOTS],
    /// Who holds the receiver's end: a token.
    pub(crate) receiving: AtomicU64,
    pub(crate) counts: Counts,
    complained: AtomicUsize,
    complaints: [AtomicU8; 16 << 10],
}

/// The books of a lane. Numbers start at 1.
#[repr(C)]
pub(crate) struct Lane {
    /// The last message that may have been committed: stored before the send.
    pub(crate) begun: AtomicU64,
    /// The last one that was: stored when the send had returned.
    pub(crate) promised: AtomicU64,
    /// The last one that the receiver has looked at: stored before it is released.
    pub(crate) handled: AtomicU64,
    /// The last one of which it knows that it is released, with all before it.
    pub(crate) released: AtomicU64,
    /// Who holds the lane: a token.
    pub(crate) owner: AtomicU64,
}

/// A process, one after the other.
#[repr(C)]
pub(crate) struct Slot {
    /// The last incarnation that was told to die; stored before the signal is sent.
    pub(crate) doomed: AtomicU32,
    /// What the process is at, as it says.
    pub(crate) phase: AtomicU32,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened, for the report.
        #[repr(C)]
        pub(crate) struct Counts { $($(#[$doc])* pub(crate) $name: AtomicU64,)* }
    };
}

counts! {
    sent,
    received,
    /// Messages that were delivered again, because their receiver was killed.
    again,
    attaches,
    /// Lanes taken over from somebody who was killed.
    takeovers,
    forks,
    spawns,
    no_space,
    full,
    /// Refused because all lanes, or the receiver's end, were held: by children of the dead, mostly.
    busy,
    observed,
    /// Looks at an owner who was alive, and said to be.
    alive,
    born,
    grown,
}

/// Which process, and which of those that were it: never 0.
pub(crate) fn token(slot: usize, incarnation: u32) -> u64 {
    (slot as u64 + 1) << 32 | u64::from(incarnation)
}

impl Page {
    /// A page that every process forked from here on shares.
    pub(crate) fn new() -> nix::Result<&'static Page> {
        let len = NonZeroUsize::new(size_of::<Page>()).expect("it has fields");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping; zeroed memory is a `Page`, all of whose fields are atomics; it is never unmapped.
        unsafe {
            let at = mmap_anonymous(None, len, access, MapFlags::MAP_SHARED)?;
            Ok(&*at.as_ptr().cast::<Page>())
        }
    }

    /// A new queue: its books are empty. Nobody else is there.
    pub(crate) fn begin(&self, epoch: u64) {
        self.finish.store(false, SeqCst);
        self.leave.store(false, SeqCst);
        self.epoch.store(epoch, SeqCst);
        self.receiving.store(0, SeqCst);
        for lane in &self.lanes {
            for word in [&lane.begun, &lane.promised, &lane.handled, &lane.released, &lane.owner] {
                word.store(0, SeqCst);
            }
        }
    }

    /// Whether whoever has this token was told to die, or is nobody.
    pub(crate) fn is_doomed(&self, token: u64) -> bool {
        let Some(slot) = (token >> 32).checked_sub(1) else { return true };
        self.slots[slot as usize].doomed.load(SeqCst) >= token as u32
    }

    /// Something is wrong. Said by whoever finds it; read by the supervisor.
    pub(crate) fn complain(&self, what: &str) {
        let text = format!("{what}\n");
        let at = self.complained.fetch_add(text.len(), SeqCst);
        for (byte, cell) in text.bytes().zip(self.complaints.get(at..).into_iter().flatten()) {
            cell.store(byte, SeqCst);
        }
    }

    pub(crate) fn has_complaints(&self) -> bool {
        self.complained.load(SeqCst) > 0
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        let len = self.complained.load(SeqCst).min(self.complaints.len());
        let bytes: Vec<u8> = self.complaints[..len].iter().map(|cell| cell.load(SeqCst)).collect();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// Messages promised and handled so far, over all lanes.
    pub(crate) fn progress(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.promised.load(SeqCst) + lane.handled.load(SeqCst)).sum()
    }

    /// The lanes in which something promised was not handled.
    pub(crate) fn owing(&self) -> Vec<String> {
        let owes = |(number, lane): (usize, &Lane)| {
            let (promised, handled) = (lane.promised.load(SeqCst), lane.handled.load(SeqCst));
            (handled < promised).then(|| format!("lane {number}: {promised} promised, {handled} handled"))
        };
        self.lanes.iter().enumerate().filter_map(owes).collect()
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, SeqCst);
}
