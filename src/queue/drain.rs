//! Everything that was there at one moment, and nothing that came later.

use super::receiver::Receiver;
use super::{Message, Priority};
use crate::error::Error;
use crate::lane::Reader;
use std::fmt;

impl Receiver {
    /// Everything that was committed before the call, from every lane, and no more from a lane than it can hold: a
    /// sender that never stops cannot keep the drain from ending.
    ///
    /// "Before" is meant literally: the call orders itself against every sender on the host (at the cost of a system
    /// call or two), so a message whose `send` had returned by then is in it, also when nothing else told the receiver
    /// of it. Never blocks. Messages come, and are released together, lane by lane, the more urgent lanes first.
    ///
    /// # Errors
    /// When the directory was removed or cannot be listed, or a lane cannot be mapped for want of memory or files: then a
    /// lane might have been missed. Damage is no error: [`damage`](Self::damage) lists it.
    pub fn drain(&self) -> Result<Drain<'_>, Error> {
        // ORDERING(dekker): what the senders see as sent before our first look.
        self.sleeper.heavy_fence();
        self.find_lanes().map_err(|cause| self.error("drain", cause))?;
        let mut lanes: Vec<&Reader> = self.known().collect();
        lanes.sort_by_key(|lane| Priority::of(lane.priority()));
        // What the drain takes is no part of a turn.
        self.schedule.borrow_mut().delivered(self.taken(), false);
        self.end_turn();
        Ok(Drain::new(self, lanes))
    }

    /// For a worker that goes about its work in turns: either confirms that the queue was empty, or hands back what
    /// came in the meantime, so that no message waits for an unrelated later turn. Never blocks.
    ///
    /// ```
    /// # use laneway::{Queue, TurnEnd};
    /// # let dir = tempfile::tempdir()?;
    /// # let receiver = Queue::create(dir.path().join("agent"))?.receiver()?;
    /// loop {
    ///     // ... one step of the turn ...
    ///     match receiver.finish_turn()? {
    ///         TurnEnd::Quiet => break,
    ///         TurnEnd::Late(mail) => mail.for_each(|message| println!("steered: {message:?}")),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish_turn(&self) -> Result<TurnEnd<'_>, Error> {
        // A lane that is found empty was empty at every instant since the receiver last took from it, so one pass that
        // finds all of them empty shows that they were so together, at the instant at which the pass began.
        let drain = self.drain()?;
        // Damage is not mail: it must not keep a turn from ending.
        Ok(if self.has_mail() { TurnEnd::Late(drain) } else { TurnEnd::Quiet })
    }
}

/// Everything that was committed before [`Receiver::drain`] was called.
pub struct Drain<'a> {
    receiver: &'a Receiver,
    lanes: Vec<&'a Reader>,
    at: usize,
    /// From which position on the current lane may deliver, and how many bytes more, once it has begun.
    share: Option<(u64, u64)>,
}

impl<'a> Drain<'a> {
    /// Drains these lanes, one after the other.
    pub(super) fn new(receiver: &'a Receiver, lanes: Vec<&'a Reader>) -> Drain<'a> {
        Drain { receiver, lanes, at: 0, share: None }
    }

    /// How many messages are there now that are not part of this drain because they came later. Looks at every lane
    /// and counts, at most as many as fit. Meant for the end of the drain; before, it counts what is left of it too.
    pub fn arrived_since(&self) -> usize {
        self.lanes.iter().map(|lane| lane.count_ahead()).sum()
    }
}

impl<'a> Iterator for Drain<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        while let Some(&lane) = self.lanes.get(self.at) {
            let (from, left) = self.share.get_or_insert_with(|| {
                lane.begin_batch();
                (0, lane.most())
            });
            match lane.look_from(*from) {
                Ok(Some(record)) if record.bytes() <= *left => {
                    // What is put back during the drain is for another one, or it would never end.
                    *from = record.position + 1;
                    *left -= record.bytes();
                    let payload = lane.payload_looked_at(&record);
                    lane.take(record.position, record.next);
                    return Some(Message::new(lane, record, payload));
                }
                Ok(_) => {}
                Err(damage) => self.receiver.report_later(damage),
            }
            lane.end_batch();
            self.share = None;
            self.at += 1;
        }
        None
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.lanes.get(self.at) {
            lane.end_batch();
        }
    }
}

impl fmt::Debug for Drain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("lanes", &self.lanes.len()).field("at", &self.at).finish_non_exhaustive()
    }
}

/// How a turn ended; made by [`Receiver::finish_turn`].
#[derive(Debug)]
#[must_use = "late messages would wait for the next turn"]
pub enum TurnEnd<'a> {
    /// There was an instant during the call at which every lane was empty.
    Quiet,
    /// Messages came in the meantime. Handle them, and finish again.
    Late(Drain<'a>),
}
