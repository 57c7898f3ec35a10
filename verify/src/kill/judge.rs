//! Real recovery on an image, through the public API, and every rule that must hold then.

use super::page::Page;
use super::payload::{self, BYSTANDER, NEW, OLD};
use super::scratch::held;
use super::step::Snapshot;
use anyhow::{Result, bail, ensure};
use laneway::{Message, Priority, Queue, Receiver, Sender, Ticket, TryRecvError, layout};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What an image delivers, whatever was promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Outcome {
    /// The victim's messages: the first, and behind the last. None: no message.
    pub(super) range: Option<(u32, u32)>,
    /// Those that are missing in between: the first, behind the last, and how many of them the receiver was told of.
    pub(super) holes: Vec<(u32, u32, u32)>,
    /// How many of the bystander's are left, which are its last.
    pub(super) bystanders: u32,
    /// Whether a receiver that has read all that sees that every lane has closed.
    pub(super) closed: bool,
}

/// What is known of a queue besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) priority: Priority,
    /// The victim's lane, which the next sender of that priority must get.
    pub(super) lane: u32,
    /// How many messages the bystander sent.
    pub(super) bystanders: u32,
}

/// Reads what lies in a queue.
#[derive(Default)]
struct Reading {
    outcome: Outcome,
    /// New messages so far.
    news: u32,
    /// The bystander's next message, once one has come.
    bystander: Option<u32>,
    bytes: Vec<u8>,
    room: Vec<u8>,
}

impl Reading {
    fn take(&mut self, message: &Message<'_>, known: &Known) -> Result<()> {
        self.bytes.clear();
        message.append_to(&mut self.bytes);
        let (sender, number) = payload::check(&self.bytes, &mut self.room)?;
        let dropped = message.dropped_before() as u32;
        match sender {
            OLD => {
                ensure!(message.lane() == known.lane && self.news == 0, "message {number} came where it should not");
                ensure!(dropped <= number, "{dropped} are said to be missing before message {number}");
                let outcome = &mut self.outcome;
                outcome.range = Some(match outcome.range {
                    None => (number, number + 1),
                    Some((from, to)) => {
                        ensure!(number >= to, "message {number} came behind message {}", to - 1);
                        if number > to || dropped > 0 {
                            outcome.holes.push((to, number, dropped));
                        }
                        (from, number + 1)
                    }
                });
            }
            BYSTANDER => {
                let all = known.bystanders;
                ensure!(message.lane() != known.lane && number < all && dropped == 0, "bystander's message {number}");
                let next = self.bystander.get_or_insert(number);
                ensure!(number == *next, "the bystander's message {next} is missing");
                *next += 1;
                self.outcome.bystanders = self.outcome.bystanders.max(all - number);
            }
            NEW => {
                ensure!(number == self.news, "new message {number} came instead of {}", self.news);
                self.news += 1;
            }
            other => bail!("a message of sender {other}"),
        }
        Ok(())
    }
}

/// The ways in which recovery is tried.
pub(super) const WAYS: u64 = 4;

/// Both sides attach, in one of the [`WAYS`], read what is there, pass new messages in the ring and beyond, and give
/// everything back.
pub(super) fn recover(queue: &Queue, known: &Known, way: u64) -> Result<Outcome> {
    let mut reading = Reading::default();
    let (sender, receiver, sent) = match way {
        0 => {
            let receiver = queue.receiver()?;
            for message in receiver.drain()? {
                reading.take(&message, known)?;
            }
            ensure!(receiver.damage().is_empty(), "{:?}", receiver.damage());
            (attach(queue, known)?, receiver, 0)
        }
        1 => {
            let asleep = word(queue, "receiver", layout::receiver::SLEEPS)? & 1 == 1;
            let mut sender = attach(queue, known)?;
            let sent = u32::from(send_new(&mut sender, 0, 40)?);
            ensure!(!asleep || sender.wait_stats().rings > 0, "a receiver sleeps, and the next send does not wake it");
            let receiver = queue.receiver()?;
            read_all(&receiver, known, &mut reading)?;
            (sender, receiver, sent)
        }
        2 => {
            let seen = queue.observe()?.peek(usize::MAX)?;
            let receiver = queue.receiver()?;
            let mut back: Option<Ticket> = None;
            while let Some(message) = next(&receiver)? {
                let ticket = message.ticket();
                ensure!(seen.iter().any(|peeked| peeked.ticket == ticket), "an observer did not see {ticket}");
                match back {
                    Some(again) if again.lane == ticket.lane => {
                        ensure!(again == ticket, "{again} was put back, and {ticket} came");
                        back = None;
                    }
                    None if ticket.position / 8 % 3 == 0 => {
                        back = Some(ticket);
                        message.put_back();
                        continue;
                    }
                    _ => {}
                }
                reading.take(&message, known)?;
            }
            ensure!(back.is_none(), "what was put back does not come again");
            (attach(queue, known)?, receiver, 0)
        }
        _ => {
            queue.trim()?;
            let receiver = queue.receiver()?;
            read_all(&receiver, known, &mut reading)?;
            reading.outcome.closed = receiver.try_recv().is_err_and(|error| error == TryRecvError::Closed);
            drop(receiver);
            queue.trim()?;
            if queue.path().join(format!("lane-{:03}", known.lane)).exists() {
                let (held, base) = (held(queue, known.lane)?, layout::RING as u64 + queue.capacity());
                ensure!(held <= base + layout::GRANULE, "{held} bytes are held for nothing");
            }
            (attach(queue, known)?, queue.receiver()?, 0)
        }
    };
    ensure!(reading.news == sent, "a new message is missing behind the old ones");
    ensure!(reading.bystander.is_none_or(|next| next == known.bystanders), "the bystander's last message is missing");
    goes_on(queue, known, sender, receiver, &mut reading)?;
    Ok(reading.outcome)
}

fn attach(queue: &Queue, known: &Known) -> Result<Sender> {
    let sender = queue.sender_options().priority(known.priority).attach()?;
    ensure!(sender.lane() == known.lane, "the next sender got lane {} instead of {}", sender.lane(), known.lane);
    held(queue, known.lane)?;
    Ok(sender)
}

/// Sends a new message, if there is room.
fn send_new(sender: &mut Sender, number: u32, len: usize) -> Result<bool> {
    let mut bytes = Vec::with_capacity(len);
    payload::write(NEW, number, len, &mut bytes);
    match sender.try_send(&bytes) {
        Ok(_) => Ok(true),
        Err(laneway::TrySendError::Full) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn next(receiver: &Receiver) -> Result<Option<Message<'_>>> {
    match receiver.try_recv() {
        Ok(message) => Ok(Some(message)),
        Err(TryRecvError::Empty | TryRecvError::Closed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_all(receiver: &Receiver, known: &Known, reading: &mut Reading) -> Result<()> {
    while let Some(message) = next(receiver)? {
        reading.take(&message, known)?;
    }
    ensure!(receiver.damage().is_empty(), "{:?}", receiver.damage());
    Ok(())
}

/// New messages pass, more than a lap of the ring, and a burst through segments; when all is over nothing is held.
fn goes_on(queue: &Queue, known: &Known, mut sender: Sender, receiver: Receiver, reading: &mut Reading) -> Result<()> {
    let mut number = reading.news;
    let mut observer = queue.observe()?;
    let burst = if queue.overflow_limit() > 0 { 8 } else { 5 };
    for count in [1, 1, 1, 1, 1, 1, 1, burst, 1] {
        for _ in 0..count {
            ensure!(send_new(&mut sender, number, 600 + number as usize % 9)?, "no room for new message {number}");
            number += 1;
        }
        // Who looks where they lie, by the table, sees also an entry that was not cleared.
        let seen = observer.peek(usize::MAX)?.len();
        ensure!(seen == count, "an observer sees {seen} of {count} new messages");
        read_all(&receiver, known, reading)?;
        ensure!(reading.news == number, "new messages are missing: {} of {number}", reading.news);
    }
    held(queue, known.lane)?;
    sender.close();
    ensure!(receiver.try_recv().unwrap_err() == TryRecvError::Closed, "the receiver does not see that all have closed");
    drop(receiver);
    queue.trim()?;
    let (held, base) = (held(queue, known.lane)?, layout::RING as u64 + queue.capacity());
    ensure!(held == base, "{held} bytes are held when all is over, and {base} should be");
    Ok(())
}

fn word(queue: &Queue, file: &str, offset: usize) -> Result<u32> {
    let mut word = [0; 4];
    File::open(queue.path().join(file))?.read_exact_at(&mut word, offset as u64)?;
    Ok(u32::from_le_bytes(word))
}

/// What images can have that makes recovery more than reading on, for the tally.
pub(super) const FEATURES: [&str; 4] =
    ["a sleeping receiver", "a sleeping sender", "an entry of the segment table", "bytes reserved behind the ring"];

/// Which of the [`FEATURES`] an image has.
pub(super) fn features(image: &Snapshot, known: &Known) -> impl Iterator<Item = &'static str> {
    let word = |file: &str, offset: usize| {
        let bytes = &image.get(file)?.runs().first()?.1;
        Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().expect("four bytes")))
    };
    let lane = format!("lane-{:03}", known.lane);
    let ends = (0..layout::SEGMENT_SLOTS as usize).map(|slot| {
        let end = layout::lane::SEGMENTS + slot * layout::segment::LEN + layout::segment::END;
        word(&lane, end)
    });
    let has = [
        word("receiver", layout::receiver::SLEEPS).is_some_and(|sleeps| sleeps & 1 == 1),
        word(&lane, layout::lane::SLEEPS).is_some_and(|sleeps| sleeps & 1 == 1),
        ends.flatten().any(|end| end != 0),
        image.get(&lane).is_some_and(|copied| copied.runs().len() > 1),
    ];
    FEATURES.into_iter().zip(has).filter_map(|(name, has)| has.then_some(name))
}

/// What the images of one queue have shown so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct History {
    /// Below it nothing is delivered any more.
    from: u32,
    /// Behind the last that was seen.
    to: u32,
    bystanders_gone: u32,
}

impl History {
    /// Whether this may come of what was promised by now and shown before.
    pub(super) fn accept(&mut self, outcome: &Outcome, page: &Page, known: &Known) -> Result<()> {
        let (handled, started) = (page.handled.get() as u32, page.started.get() as u32);
        match outcome.range {
            Some((from, to)) => {
                if let Some(lost) = missing(page, handled.max(self.from), from) {
                    bail!("message {lost} is gone, and only {handled} were seen");
                }
                ensure!(from >= self.from, "{from} came back, and {} was the first before", self.from);
                ensure!(u64::from(to) >= page.promised_end(), "{} is promised, {to} are there", page.promised_end());
                ensure!(to >= self.to, "a committed message is gone again: {to} are there, {} were", self.to);
                ensure!(to <= started, "{to} are there, and only {started} were sent");
                (self.from, self.to) = (from, to);
            }
            None => {
                let all = self.to.max(page.promised_end() as u32);
                ensure!(all <= handled, "all are gone, up to {all}, and only {handled} were seen");
                self.from = self.from.max(self.to);
            }
        }
        for (from, to, told) in &outcome.holes {
            if let Some(lost) = missing(page, *from, *to) {
                bail!("message {lost} is gone from between others");
            }
            let dropped = (*from..*to).filter(|number| page.was_dropped((*number).into())).count() as u32;
            // Of a message in flight, and of a batch, nobody knows.
            let exact = page.inexact.get() == 0 && u64::from(*to) < page.next.get();
            let right = if exact { *told == dropped } else { *told <= to - from };
            ensure!(right, "{told} are said to be dropped from {from} to {to}, and {dropped} were");
        }
        ensure!(outcome.closed || page.closed.get() == 0, "the lane was closed, and its receiver does not see it");
        let gone = known.bystanders - outcome.bystanders;
        ensure!(u64::from(gone) <= page.bystander.get(), "{gone} messages of the bystander are gone");
        ensure!(gone >= self.bystanders_gone, "a message of the bystander came back");
        self.bystanders_gone = gone;
        Ok(())
    }
}

/// The first of these that is promised and should have been there.
fn missing(page: &Page, from: u32, to: u32) -> Option<u32> {
    (from..to).find(|number| page.is_promised((*number).into()))
}
