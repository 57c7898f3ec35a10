//! Who else is killed: somebody who observes, and wants to receive too; and somebody who creates and destroys queues.

use super::page::{LANES, count};
use super::part::{Part, Phase};
use crate::mail::Mail;
use laneway::{Cause, Queue};
use std::sync::atomic::Ordering::SeqCst;

/// Observes until it is killed, or until the end.
pub(crate) fn observe(part: &mut Part) {
    while !part.finishing() {
        part.phase(Phase::Observe);
        let answer = look(part);
        if let Err(error) = answer {
            part.complain(&format!("an observer is refused: {error}"));
        }
        if part.rng.u32(0..30) == 0 {
            rival(part);
        }
    }
}

fn look(part: &mut Part) -> Result<(), laneway::Error> {
    let mut observer = part.queue().observe()?;
    for _ in 0..part.rng.u32(1..20) {
        let owners = || part.page.lanes.each_ref().map(|lane| lane.owner.load(SeqCst));
        let receiving = || part.page.receiving.load(SeqCst);
        // Who owned it before and after, and was not told to die by then, lived all the time.
        let (before, received_before) = (owners(), receiving());
        let (lanes, receiver_alive) = (observer.lanes()?, observer.receiver_alive()?);
        let (after, received_after) = (owners(), receiving());
        let lived = |before: u64, after: u64| before == after && before != 0 && !part.page.is_doomed(after);
        for lane in &lanes {
            let number = lane.lane as usize;
            if lived(before[number], after[number]) {
                count(&part.page.counts.alive);
                if !lane.sender_alive {
                    part.complain(&format!("dead: the sender of lane {number} is said to be, and lives"));
                }
            }
            if lane.segment_bytes > 0 {
                count(&part.page.counts.grown);
            }
            if let Some(damage) = lane.damage {
                part.complain(&format!("damage: {damage}"));
            }
        }
        if lived(received_before, received_after) {
            count(&part.page.counts.alive);
            if !receiver_alive {
                part.complain("dead: the receiver is said to be, and lives");
            }
        }
        for peeked in observer.peek(20)? {
            count(&part.page.counts.observed);
            if Mail::read(&peeked.payload, part.max).is_none_or(|mail| mail.lane as usize >= LANES) {
                part.complain(&format!("torn: an observer saw {} in parts", peeked.ticket));
            }
        }
    }
    Ok(())
}

/// Wants the receiver's end for a moment. Somebody who has it keeps it, however long he is stopped.
fn rival(part: &mut Part) {
    part.phase(Phase::Rival);
    match part.queue().receiver() {
        Ok(receiver) => {
            part.take(&part.page.receiving, "the receiver's end");
            part.give_up(&part.page.receiving);
            drop(receiver);
        }
        Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => count(&part.page.counts.busy),
        Err(error) => part.complain(&format!("a rival is refused: {error}")),
    }
}

/// Creates and destroys queues until it is killed, or until the end. A queue is there whole, or not at all.
pub(crate) fn build(part: &mut Part) {
    let births = part.root.join("births");
    let path = births.join("queue");
    while !part.finishing() {
        part.phase(Phase::Create);
        let options = Queue::options().capacity(4096).max_lanes(2).overflow_limit(0);
        let created = match options.create(&path) {
            Ok(queue) => Some(queue),
            Err(error) => match error.cause() {
                Cause::NoSpace { .. } => {
                    count(&part.page.counts.no_space);
                    None
                }
                Cause::AlreadyExists => match Queue::open(&path) {
                    Ok(queue) => Some(queue),
                    Err(error) => {
                        part.complain(&format!("a queue is there in parts: {error}"));
                        return;
                    }
                },
                Cause::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => None,
                _ => {
                    part.complain(&format!("no queue could be created: {error}"));
                    return;
                }
            },
        };
        part.phase(Phase::Destroy);
        if let Some(queue) = created {
            count(&part.page.counts.born);
            if let Err(error) = queue.destroy() {
                part.complain(&format!("a queue could not be destroyed: {error}"));
            }
        }
        if part.rng.u32(0..4) == 0
            && let Err(error) = Queue::sweep(&births)
        {
            part.complain(&format!("what is left of the dead could not be swept: {error}"));
        }
    }
}
