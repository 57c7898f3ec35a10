//! Limits of a queue, and the three ways to get one.

use super::birth;
use super::directory::Directory;
use super::files::Opening;
use super::{Queue, RateLimit};
use crate::error::{Cause, Error};
use crate::layout::{self, FenceMode, Header, Limits, Note, Trust};
use bytemuck::Zeroable;
use std::path::Path;
use std::sync::Arc;

/// How to create or open a queue. Limits count only for creating: an existing queue keeps its own.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("backend");
/// let queue = laneway::Queue::options().capacity(1 << 20).max_lanes(16).create(&path)?;
/// assert_eq!(queue.max_lanes(), 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    capacity: u64,
    max_lanes: u32,
    max_message: Option<u64>,
    overflow_limit: Option<u64>,
    /// Low and high.
    marks: Option<(u64, u64)>,
    rate_limit: Option<RateLimit>,
    ledger_entries: u32,
    note: Note,
    opening: Opening,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            capacity: 256 << 10,
            max_lanes: 64,
            max_message: None,
            overflow_limit: None,
            marks: None,
            rate_limit: None,
            ledger_entries: 0,
            note: Note::zeroed(),
            opening: Opening { any_filesystem: false, sigbus_guard: true, group: None },
        }
    }
}

const CAPACITY: std::ops::RangeInclusive<u64> = 4096..=1 << 30;

const LEDGER: std::ops::RangeInclusive<u32> = 64..=1 << 24;

/// The overflow limit of a queue whose creator sets none: so many rings, but no more bytes than that.
const OVERFLOW_RINGS: u64 = 16;
const OVERFLOW_DEFAULT_MOST: u64 = 64 << 20;
const OVERFLOW_MOST: u64 = 1 << 30;

impl Options {
    /// Bytes of ring for each sender: a power of two from 4 KiB to 1 GiB. Default 256 KiB. A message takes 8 bytes
    /// besides its payload rounded up to 8; small ones may take up to one cache line.
    pub fn capacity(mut self, bytes: u64) -> Options {
        self.capacity = bytes;
        self
    }

    /// The most senders at a time: 1 to 1,024. Default 64. Each costs 256 bytes from birth, and a lane when it comes.
    ///
    /// With 8 or more, an eighth of them (rounded down) is for [`Urgent`](super::Priority::Urgent) senders alone, so that
    /// these get a lane when the others hold all of theirs. A lane keeps the priority of its first sender for good: it is
    /// taken over by senders of that priority only.
    pub fn max_lanes(mut self, lanes: u32) -> Options {
        self.max_lanes = lanes;
        self
    }

    /// The most bytes that a lane may hold in segments besides its ring, when its receiver falls behind and its sender's
    /// [`OnFull`](super::OnFull) says that it may grow: a multiple of 4 KiB up to 1 GiB, or 0 for none. Default: 16 times
    /// the capacity, but at most 64 MiB.
    ///
    /// They are taken when they are needed and given back when the burst is over. The address space for them, four times
    /// as much, is mapped from the beginning.
    pub fn overflow_limit(mut self, bytes: u64) -> Options {
        self.overflow_limit = Some(bytes);
        self
    }

    /// The marks of a lane's [`Pressure`](crate::Pressure), bytes waiting: high above `high`, normal again at `low` or
    /// less. `high` is at least 1 and `low` at most `high`. Default: three quarters and one quarter of the capacity.
    pub fn water_marks(mut self, low: u64, high: u64) -> Options {
        self.marks = Some((low, high));
        self
    }

    /// How fast each sender may send, whatever it allows itself: what it does when that is too fast its
    /// [`OnFull`](super::OnFull) says. Default: as fast as it can.
    ///
    /// Each sender keeps to it by itself, from when it attached: all together may send so many times as much as there are
    /// of them, and who attaches anew for each message is not limited. It holds back senders of this library; what holds
    /// back hostile ones is the size of their lanes. Waits are no shorter than a sleep on this host, so a burst should
    /// stand for a millisecond or more.
    pub fn rate_limit(mut self, limit: RateLimit) -> Options {
        self.rate_limit = Some(limit);
        self
    }

    /// The longest message, bytes: at most, and by default, 16 less than the capacity, or 4,112 less than the overflow
    /// limit if that is more. One that does not fit in the ring needs a sender that may grow.
    ///
    /// A message does not cross the end of the ring. One longer than half of the capacity may have to wait until the
    /// receiver has passed that end (or takes a segment), also when nothing else is in the ring; shorter ones do so
    /// only behind a longer one that was refused or given up.
    pub fn max_message(mut self, bytes: u64) -> Options {
        self.max_message = Some(bytes);
        self
    }

    /// Entries of a ledger, in which the receiver writes what became of messages: a power of two from 64 to 16,777,216. And what
    /// else is to be known of the queue later. For [mailboxes](crate::mailbox), which make their queues themselves.
    pub(crate) fn ledger(mut self, entries: u32, note: [u64; 15]) -> Options {
        (self.ledger_entries, self.note.words) = (entries, note);
        self
    }

    /// Accept file systems that are not known to carry shared memory. The risk is yours: mappings may not be coherent
    /// and space may not be reservable.
    pub fn any_filesystem(mut self, accept: bool) -> Options {
        self.opening.any_filesystem = accept;
        self
    }

    /// Whether a file that somebody truncates while it is mapped damages its lane only, instead of ending the process with
    /// SIGBUS. Default: yes. It takes a handler for SIGBUS, installed once; signals that are not about a queue's memory
    /// are passed on to what was installed before.
    pub fn sigbus_guard(mut self, install: bool) -> Options {
        self.opening.sigbus_guard = install;
        self
    }

    /// Shares the queue with the users of a group: they may send and observe, this user receives.
    ///
    /// Each process can write its own files only and remove its own only, which the kernel enforces; what a hostile sender
    /// can damage is its own lane, and what it can waste is the number of lanes and wake-ups. Lanes are taken over only by
    /// the same user. The guard of [`sigbus_guard`](Self::sigbus_guard) is always on. The directories above must let the
    /// group through.
    pub fn shared_with_group(mut self, gid: u32) -> Options {
        self.opening.group = Some(gid);
        self
    }

    /// Creates a queue, and the directories above it (mode 0700) if they are missing.
    ///
    /// The queue appears whole or not at all; [`Cause::AlreadyExists`] when there is already something at `path`.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Queue, Error> {
        let path = path.as_ref();
        let header = self.header().map_err(|cause| Error::new("create", path, cause))?;
        let limits = self.limits().map_err(|cause| Error::new("create", path, cause))?;
        birth::create(path, &header, &birth::Born { limits, note: self.note }, self.opening)?;
        Ok(Queue { directory: Arc::new(Directory::open(path, self.opening)?) })
    }

    /// Opens an existing queue, after checking who owns it and that each file is what it should be.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Queue, Error> {
        Ok(Queue { directory: Arc::new(Directory::open(path.as_ref(), self.opening)?) })
    }

    /// Opens the queue at `path`, or creates it when there is nothing there.
    pub fn open_or_create(&self, path: impl AsRef<Path>) -> Result<Queue, Error> {
        let path = path.as_ref();
        // Two turns: somebody may create or remove the queue between our two calls.
        for _ in 0..2 {
            match self.open(path) {
                Err(error) if matches!(error.cause(), Cause::NotFound) => {}
                answer => return answer,
            }
            match self.create(path) {
                Err(error) if matches!(error.cause(), Cause::AlreadyExists) => {}
                answer => return answer,
            }
        }
        self.open(path)
    }

    /// What is not in the header.
    pub(super) fn limits(&self) -> Result<Limits, Cause> {
        let (low_water, high_water) = self.marks.unwrap_or_default();
        let limits = Limits { low_water, high_water, ..Limits::zeroed() };
        self.rate_limit.map_or(Ok(limits), |rate| rate.write(limits))
    }

    /// The header that these options make, all but the identities.
    pub(super) fn header(&self) -> Result<Header, Cause> {
        let bad = |option, value, rule| Err(Cause::Option { option, value, rule });
        if !self.capacity.is_power_of_two() || !CAPACITY.contains(&self.capacity) {
            return bad("capacity", self.capacity, "it must be a power of two from 4096 (4 KiB) to 1073741824 (1 GiB)");
        }
        if !(1..=1024).contains(&self.max_lanes) {
            return bad("max_lanes", self.max_lanes.into(), "it must be from 1 to 1024");
        }
        let overflow_limit = self.overflow_limit.unwrap_or((OVERFLOW_RINGS * self.capacity).min(OVERFLOW_DEFAULT_MOST));
        if !overflow_limit.is_multiple_of(layout::GRANULE) || overflow_limit > OVERFLOW_MOST {
            return bad(
                "overflow_limit",
                overflow_limit,
                "it must be a multiple of 4096 up to 1073741824 (1 GiB), or 0",
            );
        }
        if self.ledger_entries > 0 && !(self.ledger_entries.is_power_of_two() && LEDGER.contains(&self.ledger_entries))
        {
            return bad("ledger_entries", self.ledger_entries.into(), "it must be a power of two from 64 to 16777216");
        }
        check_marks(self.marks)?;
        let most = layout::max_payload(self.capacity).max(layout::max_payload_of_segment(overflow_limit));
        let max_message = self.max_message.unwrap_or(most);
        if !(1..=most).contains(&max_message) {
            let rule =
                "it must be at least 1 and at most 16 less than the capacity, or 4112 less than the overflow limit";
            return bad("max_message", max_message, rule);
        }
        Ok(Header {
            magic: layout::MAGIC,
            version: layout::VERSION,
            kind: 0,
            queue_id: [0; 16],
            boot_id: [0; 16],
            ring_capacity: self.capacity,
            overflow_limit,
            max_message: max_message as u32,
            max_lanes: self.max_lanes,
            fence_mode: FenceMode::Symmetric as u32,
            trust: if self.opening.group.is_some() { Trust::Contained } else { Trust::Cooperative } as u32,
            lane: 0,
            priority: 0,
            ledger_entries: self.ledger_entries,
            segment_slots: layout::SEGMENT_SLOTS,
            created_ns: 0,
            features: 0,
            reserved: 0,
            checksum: 0,
        })
    }

    /// Whether the marks and rates are ones that these functions could have made.
    pub(super) fn are_marks_of(limits: &Limits) -> Result<(), Cause> {
        let marks = (limits.low_water, limits.high_water);
        check_marks((marks != (0, 0)).then_some(marks))?;
        RateLimit::of_queue(limits).map_or(Ok(()), |rate| rate.write(*limits).map(|_| ()))
    }

    /// Whether a header's limits are ones that these functions could have made.
    pub(crate) fn are_limits_of(header: &Header) -> Result<(), Cause> {
        let made = Options {
            capacity: header.ring_capacity,
            max_lanes: header.max_lanes,
            max_message: Some(header.max_message.into()),
            overflow_limit: Some(header.overflow_limit),
            ledger_entries: header.ledger_entries,
            ..Options::default()
        };
        made.header().map(|_| ())
    }
}

/// The low and the high mark.
fn check_marks(marks: Option<(u64, u64)>) -> Result<(), Cause> {
    match marks {
        Some((low, high)) if !(low.max(1)..=u64::MAX >> 1).contains(&high) => {
            let rule = "it must be at least 1, and at least the low-water mark";
            Err(Cause::Option { option: "high_water", value: high, rule })
        }
        _ => Ok(()),
    }
}
