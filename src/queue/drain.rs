//! Everything that was there at one moment, and nothing that came later.

use super::Message;
use super::receiver::Receiver;
use crate::lane::Reader;
use std::fmt;

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
