//! What a receiver would get next.

use super::schedule::Schedule;
use super::{Observer, Peeked};
use crate::error::Error;
use crate::record::Record;
use std::collections::{BTreeMap, VecDeque};

impl Observer {
    /// Copies of the next `max` messages, in the order in which a receiver would get them that attaches now: by priority, and
    /// within a priority by turns of the lanes. Nothing is consumed.
    ///
    /// A receiver that is attached already may be in the middle of a turn, or owe something to a lower priority, and then the
    /// order between lanes differs; within a lane it does not. What comes meanwhile may overtake, too.
    pub fn upcoming(&mut self, max: usize) -> Result<Vec<Peeked>, Error> {
        let mut lanes: BTreeMap<u32, VecDeque<Peeked>> = BTreeMap::new();
        for peeked in self.peek(max)? {
            lanes.entry(peeked.ticket.lane).or_default().push_back(peeked);
        }
        let mut schedule = Schedule::default();
        // All lanes have a part in the schedule, also those that have nothing.
        self.views().for_each(|(number, priority, _)| schedule.add(number, priority));
        let mut upcoming = Vec::new();
        while upcoming.len() < max {
            let waits = |number| lanes.get(&number).filter(|lane| !lane.is_empty()).map(|_| number);
            let Some((number, turn)) = schedule.next(waits) else { break };
            let lane = lanes.entry(number).or_default();
            let mut bytes = 0;
            while bytes < turn
                && let Some(peeked) = lane.pop_front()
            {
                bytes += Record::message(peeked.ticket.position, peeked.payload.len() as u32).bytes();
                upcoming.push(peeked);
            }
            schedule.delivered(bytes, bytes < turn);
        }
        upcoming.truncate(max);
        Ok(upcoming)
    }
}
