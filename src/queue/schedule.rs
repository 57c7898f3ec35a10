//! Which lane to look at next.
//!
//! Lanes that were busy lately are *hot* and looked at on every round, after the one that had its turn; the others are
//! *cold* and looked at a few at a time, so that a thousand idle lanes cost almost nothing. Plain bookkeeping: knows
//! nothing of memory; what looking means is a closure.

/// Bytes that a lane may deliver before the others have their turn.
pub(super) const QUANTUM: u64 = 16 << 10;

/// Cold lanes that are looked at in one round.
const SLICE: usize = 8;

/// Rounds in which a hot lane may have nothing before it turns cold.
const PATIENCE: u32 = 1024;

#[derive(Default)]
pub(super) struct Schedule {
    /// The lane that had the last turn is the last of them.
    hot: Vec<Hot>,
    cold: Vec<u32>,
    cold_cursor: usize,
}

struct Hot {
    lane: u32,
    misses: u32,
}

impl Schedule {
    /// A lane that has just come is expected to be busy.
    pub(super) fn add(&mut self, lane: u32) {
        self.hot.push(Hot { lane, misses: 0 });
    }

    /// All lanes, in no order.
    pub(super) fn lanes(&self) -> impl Iterator<Item = u32> {
        self.hot.iter().map(|hot| hot.lane).chain(self.cold.iter().copied())
    }

    /// One round: the first lane at which `look` finds something, which then has its turn.
    ///
    /// `turn_over` says that the last lane had something to the end of its turn: then cold lanes are looked at first,
    /// so that lanes which are always busy do not keep them cold for ever.
    pub(super) fn next<T>(&mut self, turn_over: bool, mut look: impl FnMut(u32) -> Option<T>) -> Option<T> {
        if turn_over && let Some(found) = self.look_at_cold(&mut look) {
            return Some(found);
        }
        for at in 0..self.hot.len() {
            if let Some(found) = look(self.hot[at].lane) {
                self.hot[at].misses = 0;
                self.hot[..=at].rotate_left(at);
                self.hot.rotate_left(1);
                return Some(found);
            }
            self.hot[at].misses += 1;
        }
        let cold = &mut self.cold;
        self.hot.retain(|hot| {
            let keep = hot.misses < PATIENCE;
            if !keep {
                cold.push(hot.lane);
            }
            keep
        });
        if turn_over { None } else { self.look_at_cold(&mut look) }
    }

    fn look_at_cold<T>(&mut self, look: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        for _ in 0..SLICE.min(self.cold.len()) {
            self.cold_cursor = (self.cold_cursor + 1) % self.cold.len();
            let lane = self.cold[self.cold_cursor];
            if let Some(found) = look(lane) {
                self.cold.swap_remove(self.cold_cursor);
                self.cold_cursor = self.cold_cursor.saturating_sub(1);
                self.add(lane);
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_lanes_take_turns() {
        let mut schedule = Schedule::default();
        (0..4).for_each(|lane| schedule.add(lane));
        let turns: Vec<u32> =
            (0..8).map(|_| schedule.next(true, |lane| (lane != 2).then_some(lane)).unwrap()).collect();
        assert_eq!(turns, [0, 1, 3, 0, 1, 3, 0, 1]);
    }

    #[test]
    fn an_idle_lane_turns_cold_and_is_found_again_although_another_is_always_busy() {
        let mut schedule = Schedule::default();
        (0..100).for_each(|lane| schedule.add(lane));
        for _ in 0..=PATIENCE {
            schedule.next(true, |_| None::<()>);
        }
        assert!(schedule.hot.is_empty());
        assert_eq!(schedule.lanes().count(), 100);
        let mut looks = 0;
        let mut rounds = 0;
        let found = loop {
            rounds += 1;
            let found = schedule.next(true, |lane| {
                looks += 1;
                (lane == 0 || lane == 99).then_some(lane)
            });
            if found == Some(99) {
                break 99;
            }
        };
        assert_eq!(found, 99);
        assert!(rounds <= 100 / SLICE + 3, "{rounds} rounds");
        assert!(looks <= 100 + 2 * rounds, "{looks} looks");
    }
}
