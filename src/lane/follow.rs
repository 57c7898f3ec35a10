//! Going along a lane as an onlooker: from record to record, with no say in what is overwritten.
//!
//! What the receiver has released can still be copied until its sender has overwritten it. Whoever is too slow for that is
//! *lapped*: it goes on at the receiver's position, where it has as much time as there is room in the lane, and tells how many
//! messages it has missed by the receiver's own count.

use super::{Lapped, View};
use crate::error::{Broken, Damage, Fault};
use crate::layout::Kind;
use crate::record::Record;

/// Records that are no messages and that are passed in one look, and how often one look is lapped.
const MOST_PASSED: u32 = 256;

/// Reads bytes of the lane's file, as in [`View::copy`].
pub(crate) type Read<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> bool;

/// What there was to see.
#[derive(Debug)]
pub(crate) enum Sight {
    Message(Record, Vec<u8>),
    /// So many messages were dropped by their sender at a position.
    Dropped(u64, u32),
    /// What was overwritten before it could be copied.
    Lapped {
        bytes: u64,
        messages: u64,
    },
    /// The lane ends here for whoever looks at it.
    Damaged(Damage),
}

/// Where an onlooker is in a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follower {
    at: u64,
    /// Messages before `at`, as the receiver counts them.
    passed: u64,
    /// How many more may have been missed than were told of: there was no room for more.
    doubtful: u64,
    ended: bool,
}

impl Follower {
    fn at(at: u64, passed: u64) -> Follower {
        Follower { at, passed, doubtful: 0, ended: false }
    }

    /// Begins at the oldest message that was not released.
    pub(crate) fn pending(view: &View) -> Follower {
        let (at, passed) = view.released();
        Follower::at(at, passed)
    }

    /// Begins behind what was committed by now. Walks there, because a sender's hint alone promises nothing of what stands there.
    pub(crate) fn now(view: &View, read: Read<'_>) -> Follower {
        let mut follower = Follower::pending(view);
        let end = view.hint(follower.at);
        // No more than there is room for, wherever the hint says that the end is.
        let mut left = view.most() / 8;
        while left > 0 && follower.at < end && follower.next(view, read).is_some() {
            left -= 1;
        }
        // What was missed on the way was there before. Damage is there still.
        Follower::at(follower.at, follower.passed)
    }

    /// Begins at the oldest record that was not overwritten.
    pub(crate) fn oldest(view: &View, read: Read<'_>) -> Follower {
        let (oldest, (released, received)) = (view.oldest(), view.released());
        let mut scout = Follower::at(oldest, 0);
        let mut messages = 0;
        let reached = loop {
            if scout.at >= released {
                break scout.at == released;
            }
            match scout.next(view, read) {
                Some(Sight::Message(record, _)) if record.position < released => messages += 1,
                Some(Sight::Dropped(position, _)) if position < released => {}
                // Only what is no message stood in between.
                Some(Sight::Message(..) | Sight::Dropped(..)) => break true,
                None => break scout.at == released,
                Some(Sight::Lapped { .. } | Sight::Damaged(_)) => break false,
            }
        };
        if reached { Follower::at(oldest, received.wrapping_sub(messages)) } else { Follower::at(released, received) }
    }

    /// Begins at the beginning of a lane that has just come: all that is missed counts.
    pub(crate) fn beginning(view: &View) -> Follower {
        match view.released() {
            (at, 0) => Follower::at(at, 0),
            _ => Follower::at(0, 0),
        }
    }

    /// What comes next, if anything does.
    pub(crate) fn next(&mut self, view: &View, read: Read<'_>) -> Option<Sight> {
        if self.ended {
            return None;
        }
        let from = self.at;
        let mut lapped = None;
        for _ in 0..MOST_PASSED {
            match view.copy(self.at, read) {
                Err(Lapped::By(accepted)) => {
                    lapped = match self.catch_up(view, accepted) {
                        Ok(received) => Some(received),
                        Err(broken) => return Some(self.end(view.as_damage(broken))),
                    }
                }
                // It is copied again the next time: first things first.
                _ if lapped.is_some() => break,
                Ok(Some((record, payload))) => {
                    if view.was_truncated() {
                        return self.rest(view);
                    }
                    self.at = record.next;
                    match record.kind {
                        Kind::Data => {
                            self.passed = self.passed.wrapping_add(1);
                            return Some(Sight::Message(record, payload));
                        }
                        Kind::Gap => return Some(Sight::Dropped(record.position, record.len)),
                        Kind::Pad | Kind::Jump => {}
                    }
                }
                Ok(None) => return self.rest(view),
                Err(Lapped::Damaged(broken)) => {
                    let damage = view.damage(self.at).unwrap_or_else(|| view.as_damage(broken));
                    return Some(self.end(damage));
                }
            }
        }
        let received = lapped?;
        let bytes = self.at - from;
        self.doubtful = self.doubtful.saturating_add(bytes / 8);
        Some(Sight::Lapped { bytes, messages: self.count(received) })
    }

    /// Goes on where the receiver is, and gives its count.
    fn catch_up(&mut self, view: &View, accepted: u64) -> Result<u64, Broken> {
        let (released, received) = view.released();
        // A sender has its word from the receiver, so that is not behind it.
        if accepted > released || released <= self.at {
            return Err(Broken { fault: Fault::ReadPosition, position: self.at, found: accepted });
        }
        self.at = released;
        Ok(received)
    }

    /// Takes over the receiver's count, and says how many messages it has counted that this one has not: as many as there was room for.
    fn count(&mut self, received: u64) -> u64 {
        let ahead = received.wrapping_sub(self.passed);
        // One that has not counted what it released last is behind.
        let missed = if ahead > i64::MAX as u64 { 0 } else { ahead.min(self.doubtful) };
        self.passed = if ahead > i64::MAX as u64 { self.passed } else { received };
        self.doubtful -= missed;
        missed
    }

    /// There is nothing more: the time to see whether the lane is retired, and to count again what was counted in a hurry.
    fn rest(&mut self, view: &View) -> Option<Sight> {
        if let Some(damage) = view.damage(self.at) {
            return Some(self.end(damage));
        }
        let (released, received) = view.released();
        let messages = if released == self.at { self.count(received) } else { 0 };
        (messages > 0).then_some(Sight::Lapped { bytes: 0, messages })
    }

    fn end(&mut self, damage: Damage) -> Sight {
        self.ended = true;
        Sight::Damaged(damage)
    }
}
