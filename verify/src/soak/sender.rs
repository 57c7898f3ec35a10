//! A sender that is killed: attaches, sends in every way there is, forks and starts programs meanwhile, goes and comes back.

use super::page::{Lane, count};
use super::part::{Part, Phase};
use super::storm;
use crate::mail::Mail;
use laneway::{Cause, OnFull, SendError, Sender};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// Messages that each sender sends when the killing is over.
const LAST: u64 = 50;
/// How long a send waits for room before it says so and begins again: the sender looks at what it is told meanwhile.
const PATIENCE: Duration = Duration::from_millis(20);

const POLICIES: [OnFull; 6] = [
    OnFull::GrowThenBlock,
    OnFull::GrowThenBlock,
    OnFull::GrowThenFail,
    OnFull::GrowThenDrop,
    OnFull::Block,
    OnFull::Fail,
];

/// Sends until it is killed, or until the end.
pub(crate) fn play(part: &mut Part) {
    storm::reap_by_itself();
    let mut last = 0;
    loop {
        let Some(mut sender) = attach(part) else { continue };
        let number = sender.lane();
        let lane = &part.page.lanes[number as usize];
        part.take(&lane.owner, &format!("lane {number}"));
        let mut stay = part.rng.u32(1..2000);
        while stay > 0 && last < LAST {
            part.must_own(&lane.owner, &format!("lane {number}"));
            let sent = step(part, &mut sender, lane);
            stay -= 1;
            if part.finishing() {
                last += sent;
            }
        }
        // Only a lane whose last message is known may be left: the next owner could not know otherwise.
        part.phase(Phase::Detach);
        part.give_up(&lane.owner);
        if last >= LAST {
            return sender.close();
        }
        drop(sender);
    }
}

fn attach(part: &mut Part) -> Option<Sender> {
    part.phase(Phase::Attach);
    let queue = part.queue();
    let policy = POLICIES[part.rng.usize(0..POLICIES.len())];
    let (policy, adaptive) = if part.finishing() { (OnFull::GrowThenBlock, false) } else { (policy, part.rng.bool()) };
    match queue.sender_options().on_full(policy).adaptive(adaptive).attach() {
        Ok(sender) => {
            count(&part.page.counts.attaches);
            return Some(sender);
        }
        Err(error) => match error.cause() {
            Cause::NoSpace { .. } => count(&part.page.counts.no_space),
            // The byte that says that a lane was born.
            Cause::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                count(&part.page.counts.no_space);
            }
            Cause::TooManySenders { .. } => count(&part.page.counts.busy),
            _ => part.complain(&format!("a sender is refused: {error}")),
        },
    }
    None
}

/// Does one thing; says how many messages were sent.
fn step(part: &mut Part, sender: &mut Sender, lane: &Lane) -> u64 {
    let chance = part.rng.u32(0..1000);
    match chance {
        0..4 => {
            part.phase(Phase::Fork);
            storm::fork(part);
            0
        }
        4..5 => {
            part.phase(Phase::Spawn);
            storm::spawn(part);
            0
        }
        5..15 => {
            part.phase(Phase::Trim);
            sender.trim();
            0
        }
        15..25 => {
            let answer = sender.pressure().map(|_| ());
            answer.map_or_else(|error| refused(part, error), |()| 0)
        }
        25..35 => {
            // A claim that is dropped never happened.
            drop(sender.try_claim(part.rng.usize(1..500)));
            0
        }
        35..120 => batch(part, sender, lane),
        _ => single(part, sender, lane, chance % 4),
    }
}

/// The next message of the lane; the books say before it is sent that it may be there from now on.
fn next(part: &Part, sender: &Sender, lane: &Lane) -> Mail {
    let after = lane.promised.load(SeqCst);
    let number = lane.begun.load(SeqCst).max(after) + 1;
    Mail { epoch: part.epoch, lane: sender.lane(), number, after }
}

fn single(part: &mut Part, sender: &mut Sender, lane: &Lane, how: u32) -> u64 {
    let mail = next(part, sender, lane);
    let bytes = mail.write(part.max);
    part.phase(Phase::Send);
    lane.begun.store(mail.number, SeqCst);
    let answer = match how {
        0 => sender.try_send(&bytes).map(|_| ()).map_err(SendError::from),
        1 => sender.claim(bytes.len()).and_then(|mut claim| {
            let half = bytes.len() / 2;
            let written = claim.write_all(&bytes[..half]).and_then(|()| claim.write_all(&bytes[half..]));
            written.and_then(|()| claim.commit()).map(|_| ()).map_err(|error| {
                part.complain(&format!("a claim could not be filled: {error}"));
                SendError::Full
            })
        }),
        2 => {
            let answer = sender.try_send_quietly(&bytes).map(|_| ()).map_err(SendError::from);
            sender.ring();
            answer
        }
        _ => sender.send_timeout(&bytes, PATIENCE).map(|_| ()),
    };
    match answer {
        Ok(()) => {
            lane.promised.store(mail.number, SeqCst);
            count(&part.page.counts.sent);
            1
        }
        Err(error) => {
            // It was not sent, so the number is still to be had.
            lane.begun.store(mail.number - 1, SeqCst);
            refused(part, error)
        }
    }
}

fn batch(part: &mut Part, sender: &mut Sender, lane: &Lane) -> u64 {
    let first = next(part, sender, lane);
    let many = part.rng.u64(1..6);
    let letter = |i: u64| match i {
        0 => first,
        _ => Mail { number: first.number + i, after: first.number + i - 1, ..first },
    };
    let batch: Vec<Vec<u8>> = (0..many).map(|i| letter(i).write(part.max)).collect();
    part.phase(Phase::Batch);
    lane.begun.store(first.number + many - 1, SeqCst);
    // Of those that are dropped in the middle nobody could say which they were.
    sender.set_on_full(OnFull::GrowThenFail);
    let (sent, error) = match sender.send_batch(&batch) {
        Ok(sent) => (sent as u64, None),
        Err(error) => (error.sent as u64, Some(error.error)),
    };
    let last = first.number + sent - 1;
    if sent > 0 {
        lane.promised.store(last, SeqCst);
        part.page.counts.sent.fetch_add(sent, SeqCst);
    }
    lane.begun.store(last, SeqCst);
    sender.set_on_full(if part.finishing() { OnFull::GrowThenBlock } else { POLICIES[part.rng.usize(0..6)] });
    sent + error.map_or(0, |error| refused(part, error))
}

/// Why a message was not sent; 0, because it was not.
fn refused(part: &Part, error: SendError) -> u64 {
    let counts = &part.page.counts;
    match error {
        SendError::Timeout | SendError::Full | SendError::Dropped => count(&counts.full),
        SendError::NoSpace => count(&counts.no_space),
        // Longer than the ring, and this one may not grow.
        SendError::TooLarge { .. } => count(&counts.full),
        error => part.complain(&format!("a send was refused: {error}")),
    }
    0
}
