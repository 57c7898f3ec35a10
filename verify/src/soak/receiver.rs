//! A receiver that is killed: takes messages in every way there is, and checks each against the books.

use super::page::{LANES, count};
use super::part::{Part, Phase};
use super::storm;
use crate::mail::Mail;
use laneway::{Cause, Message, Receiver, RecvError, TryRecvError};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// How long it waits before it looks at what it is told.
const PATIENCE: Duration = Duration::from_millis(20);

/// What this receiver has seen of the lanes.
#[derive(Default)]
struct Seen {
    last: [u64; LANES],
    /// A message that was put back, and must come next.
    back: [Option<u64>; LANES],
}

/// Receives until it is killed, or until the end.
pub(crate) fn play(part: &mut Part) {
    storm::reap_by_itself();
    loop {
        part.phase(Phase::Attach);
        let receiver = match part.queue().receiver() {
            Ok(receiver) => receiver,
            Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => {
                count(&part.page.counts.busy);
                continue;
            }
            Err(error) => {
                part.complain(&format!("a receiver is refused: {error}"));
                return;
            }
        };
        part.take(&part.page.receiving, "the receiver's end");
        let mut seen = Seen::default();
        for _ in 0..part.rng.u32(1..4000) {
            if part.page.leave.load(SeqCst) {
                part.give_up(&part.page.receiving);
                return;
            }
            part.must_own(&part.page.receiving, "the receiver's end");
            step(part, &receiver, &mut seen);
        }
        if let [damage, ..] = receiver.damage()[..] {
            part.complain(&format!("damage: {damage}"));
        }
        part.phase(Phase::Detach);
        part.give_up(&part.page.receiving);
    }
}

fn step(part: &mut Part, receiver: &Receiver, seen: &mut Seen) {
    match part.rng.u32(0..1000) {
        0..3 => {
            part.phase(Phase::Fork);
            storm::fork(part);
        }
        3..4 => {
            part.phase(Phase::Spawn);
            storm::spawn(part);
        }
        4..10 => drain(part, receiver, seen),
        10..100 => several(part, receiver, seen),
        100..120 => {
            if let Some(message) = one(part, receiver) {
                put_back(part, message, seen);
            }
        }
        _ => {
            if let Some(message) = one(part, receiver)
                && let Some(mail) = look(part, &message, seen)
            {
                release(part, message, mail);
            }
        }
    }
}

fn one<'a>(part: &mut Part, receiver: &'a Receiver) -> Option<Message<'a>> {
    part.phase(Phase::Receive);
    let answer = if part.rng.bool() {
        receiver.try_recv().map_err(|error| match error {
            TryRecvError::Corrupt(damage) => RecvError::Corrupt(damage),
            TryRecvError::Detached => RecvError::Detached,
            _ => RecvError::Timeout,
        })
    } else {
        receiver.recv_timeout(PATIENCE)
    };
    match answer {
        Ok(message) => Some(message),
        Err(RecvError::Timeout | RecvError::Closed) => None,
        Err(error) => {
            part.complain(&format!("nothing was received: {error}"));
            None
        }
    }
}

/// Checks a message against the books, and says in them that it was looked at.
fn look(part: &Part, message: &Message<'_>, seen: &mut Seen) -> Option<Mail> {
    let mail = read(part, message)?;
    let Mail { number, after, .. } = mail;
    let (index, lane) = (mail.lane as usize, &part.page.lanes[mail.lane as usize]);
    let (handled, released) = (lane.handled.load(SeqCst), lane.released.load(SeqCst));
    let what = || format!("lane {index}, message {number} after {after}");
    if let Some(back) = seen.back[index].take()
        && back != number
    {
        part.complain(&format!("order: {} came, but {back} was put back", what()));
    }
    let last = seen.last[index];
    if last == 0 {
        if number <= released {
            part.complain(&format!("twice: {} came again, but {released} was released", what()));
        }
        if after > handled {
            part.complain(&format!("lost: {} came first, but only {handled} was handled", what()));
        }
    } else {
        if number <= last {
            part.complain(&format!("order: {} came behind {last}", what()));
        }
        if after > last {
            part.complain(&format!("lost: {} came behind {last}", what()));
        }
    }
    if number <= handled {
        count(&part.page.counts.again);
    }
    seen.last[index] = number;
    lane.handled.store(number.max(handled), SeqCst);
    count(&part.page.counts.received);
    Some(mail)
}

fn read(part: &Part, message: &Message<'_>) -> Option<Mail> {
    let bytes = message.to_vec();
    let mail = Mail::read(&bytes, part.max).filter(|mail| mail.lane == message.lane() && mail.epoch == part.epoch);
    if mail.is_none() {
        let head: Vec<u8> = bytes.iter().take(48).copied().collect();
        part.complain(&format!("torn: {} of {} bytes begins {head:02x?}", message.ticket(), bytes.len()));
    }
    mail
}

fn release(part: &Part, message: Message<'_>, mail: Mail) {
    part.phase(Phase::Release);
    drop(message);
    part.page.lanes[mail.lane as usize].released.store(mail.number, SeqCst);
}

fn put_back(part: &Part, message: Message<'_>, seen: &mut Seen) {
    if let Some(mail) = read(part, &message) {
        let back = &mut seen.back[mail.lane as usize];
        if back.is_some_and(|back| back != mail.number) {
            part.complain(&format!("order: {mail:?} came, but {back:?} was put back"));
        }
        *back = Some(mail.number);
        message.put_back();
    }
}

/// Holds some messages, and releases them in any order: none is released before those in front of it.
fn several(part: &mut Part, receiver: &Receiver, seen: &mut Seen) {
    let mut held = Vec::new();
    for _ in 0..part.rng.usize(2..7) {
        let Some(message) = one(part, receiver) else { break };
        let Some(mail) = look(part, &message, seen) else { break };
        held.push((message, mail));
    }
    let mails: Vec<Mail> = held.iter().map(|(_, mail)| *mail).collect();
    part.rng.shuffle(&mut held);
    part.phase(Phase::Release);
    drop(held);
    for mail in mails {
        part.page.lanes[mail.lane as usize].released.store(mail.number, SeqCst);
    }
}

fn drain(part: &mut Part, receiver: &Receiver, seen: &mut Seen) {
    part.phase(Phase::Drain);
    let drain = match receiver.drain() {
        Ok(drain) => drain,
        Err(error) => return part.complain(&format!("no drain: {error}")),
    };
    let mut last = [0; LANES];
    for message in drain {
        if let Some(mail) = look(part, &message, seen) {
            last[mail.lane as usize] = mail.number;
        }
    }
    // They are released together.
    for (lane, last) in part.page.lanes.iter().zip(last).filter(|(_, last)| *last > 0) {
        lane.released.store(last, SeqCst);
    }
}
