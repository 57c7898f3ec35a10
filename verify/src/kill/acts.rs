//! What victims do: programs of acts, drawn by a seed, and the stage on which one is played.
#![expect(unsafe_code, reason = "the head of a message is read where it lies, in few instructions")]

use super::page::Page;
use super::payload;
use laneway::{OnFull, Priority, Queue, Receiver, SendError, Sender, TryRecvError, TrySendError, Wait};
use std::time::Duration;

/// What a victim does. What it has no handle for, or no room, it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Attach,
    Send(usize),
    TrySend(usize),
    Quiet(usize),
    /// So many messages of a length at once.
    Batch(usize, usize),
    /// A message that is claimed, written in two pieces, and committed.
    Pieces(usize),
    /// One that is claimed, half written, and not sent.
    Abort(usize),
    Pressure,
    Trim,
    Close,
    Detach,
    Listen,
    Receive(usize),
    /// Takes as many and releases them in the reverse order.
    Hold(usize),
    /// Takes two and puts the second back.
    PutBack,
    Drain(usize),
    FinishTurn,
    /// Waits for a message, if there is none.
    Wait,
    Leave,
    TrimQueue,
    /// Takes so many at most, and releases them together.
    ReceiveBatch(usize),
}

/// The names of acts, for the tally of steps.
pub(super) const NAMES: [&str; 21] = [
    "attach",
    "send",
    "try_send",
    "quiet",
    "batch",
    "claim",
    "abort",
    "pressure",
    "trim",
    "close",
    "detach",
    "listen",
    "receive",
    "hold",
    "put_back",
    "drain",
    "finish_turn",
    "wait",
    "leave",
    "trim_queue",
    "receive_batch",
];

impl Act {
    pub(super) fn index(self) -> usize {
        match self {
            Act::Attach => 0,
            Act::Send(_) => 1,
            Act::TrySend(_) => 2,
            Act::Quiet(_) => 3,
            Act::Batch(..) => 4,
            Act::Pieces(_) => 5,
            Act::Abort(_) => 6,
            Act::Pressure => 7,
            Act::Trim => 8,
            Act::Close => 9,
            Act::Detach => 10,
            Act::Listen => 11,
            Act::Receive(_) => 12,
            Act::Hold(_) => 13,
            Act::PutBack => 14,
            Act::Drain(_) => 15,
            Act::FinishTurn => 16,
            Act::Wait => 17,
            Act::Leave => 18,
            Act::TrimQueue => 19,
            Act::ReceiveBatch(_) => 20,
        }
    }
}

/// What a stretch of a program is mostly about.
#[derive(Debug, Clone, Copy)]
enum Mood {
    /// Sends more than is received: the ring fills, the lane grows.
    Flood,
    /// Receives more than is sent: the way home, segments used again.
    Eat,
    Mix,
    /// Handles come and go, lanes close, segments are given back.
    ComeAndGo,
}

/// Which end a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Both,
    Sender,
    Receiver,
}

/// Draws `count` acts.
pub(super) fn draw(rng: &mut fastrand::Rng, end: End, count: usize) -> Vec<Act> {
    let mut acts = Vec::with_capacity(count);
    while acts.len() < count {
        let mood = match rng.usize(0..9) {
            0 => Mood::ComeAndGo,
            1 | 2 => Mood::Flood,
            3 | 4 => Mood::Eat,
            _ => Mood::Mix,
        };
        // Long and short ones come in runs, as they do in life.
        let longest = [24, 60, 200, 200, 500, 1400][rng.usize(0..6)];
        for _ in 0..rng.usize(3..24) {
            let sends = match (end, mood) {
                (End::Sender, _) => true,
                (End::Receiver, _) => false,
                (End::Both, Mood::Flood) => rng.usize(0..8) > 0,
                (End::Both, Mood::Eat) => rng.usize(0..5) == 0,
                (End::Both, _) => rng.bool(),
            };
            acts.push(if sends { draw_send(rng, mood, longest) } else { draw_receive(rng, mood) });
        }
    }
    acts
}

fn draw_send(rng: &mut fastrand::Rng, mood: Mood, longest: usize) -> Act {
    let len = if rng.usize(0..60) == 0 { rng.usize(1500..6000) } else { rng.usize(4..=longest) };
    if rng.usize(0..if matches!(mood, Mood::ComeAndGo) { 3 } else { 40 }) == 0 {
        return [Act::Trim, Act::Close, Act::Close, Act::Detach, Act::Attach, Act::Attach, Act::TrimQueue]
            [rng.usize(0..7)];
    }
    match rng.usize(0..14) {
        0 => Act::Batch(rng.usize(2..6), len.min(700)),
        1 | 2 => Act::Pieces(len),
        3 => Act::Abort(len),
        4 => Act::Quiet(len),
        5..9 => Act::TrySend(len),
        9 if rng.usize(0..4) == 0 => Act::Pressure,
        _ => Act::Send(len),
    }
}

fn draw_receive(rng: &mut fastrand::Rng, mood: Mood) -> Act {
    if rng.usize(0..if matches!(mood, Mood::ComeAndGo) { 5 } else { 90 }) == 0 {
        return [Act::Leave, Act::Listen, Act::FinishTurn, Act::Wait][rng.usize(0..4)];
    }
    match rng.usize(0..12) {
        0 => Act::Hold(rng.usize(2..6)),
        1 => Act::PutBack,
        2 => Act::Drain(rng.usize(1..12)),
        3 => Act::Wait,
        4 if rng.usize(0..3) == 0 => Act::FinishTurn,
        5..8 => Act::ReceiveBatch(rng.usize(1..9)),
        _ => Act::Receive(rng.usize(1..8)),
    }
}

/// How a victim's sender is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) priority: Priority,
    pub(super) on_full: OnFull,
    pub(super) wait: Wait,
}

/// How long a victim waits at full speed.
const BRIEFLY: Duration = Duration::from_millis(1);
/// How long while it is stepped: its tracer knows when it waits for nothing.
const PATIENTLY: Duration = Duration::from_secs(60);

/// A victim in the middle of a program.
pub(super) struct Stage<'a> {
    queue: Queue,
    terms: Terms,
    page: &'a Page,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// What all its acts send, in order, made before the steps begin; and the number of the first.
    messages: Vec<Vec<u8>>,
    first: u64,
    bytes: Vec<u8>,
    patience: Duration,
}

impl<'a> Stage<'a> {
    /// For these acts, which are played in this order.
    pub(super) fn new(queue: Queue, terms: Terms, page: &'a Page, acts: &[&[Act]]) -> Stage<'a> {
        let first = page.next.get();
        let lens = acts.iter().copied().flatten().flat_map(|act| match *act {
            Act::Batch(count, len) => vec![len; count],
            Act::Send(len) | Act::TrySend(len) | Act::Quiet(len) | Act::Pieces(len) | Act::Abort(len) => vec![len],
            _ => Vec::new(),
        });
        let message = |(number, len): (u64, usize)| {
            let mut bytes = Vec::with_capacity(len);
            payload::write(payload::OLD, number as u32, len, &mut bytes);
            bytes
        };
        let messages: Vec<_> = (first..).zip(lens).map(message).collect();
        assert!(first + (messages.len() as u64) < Page::MOST, "a program of {} messages", messages.len());
        let bytes = Vec::with_capacity(8192);
        Stage { queue, terms, page, sender: None, receiver: None, messages, first, bytes, patience: BRIEFLY }
    }

    pub(super) fn sender(&mut self) -> Option<&mut Sender> {
        self.sender.as_mut()
    }

    pub(super) fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    /// What comes is stepped.
    pub(super) fn begin(&mut self) {
        self.patience = PATIENTLY;
    }

    pub(super) fn play(&mut self, acts: &[Act]) {
        for act in acts {
            if self.page.hurry.get() != 0 {
                return;
            }
            self.page.act.set(act.index() as u64);
            self.play_one(*act);
        }
    }

    fn play_one(&mut self, act: Act) {
        let patience = self.patience;
        let blocks = matches!(self.terms.on_full, OnFull::Block | OnFull::GrowThenBlock);
        match act {
            Act::Attach if self.sender.is_none() => {
                self.page.closed.set(0);
                let options = self.queue.sender_options().priority(self.terms.priority).on_full(self.terms.on_full);
                let sender = options.attach().expect("a lane is free");
                sender.set_wait(self.terms.wait);
                self.sender = Some(sender);
            }
            Act::Send(_) if blocks => self.send(|sender, bytes| sender.send_timeout(bytes, patience).map(drop)),
            Act::Send(_) => self.send(|sender, bytes| sender.send(bytes).map(drop)),
            Act::TrySend(_) => self.send(|sender, bytes| sender.try_send(bytes).map(drop).map_err(wider)),
            Act::Quiet(_) => {
                self.send(|sender, bytes| sender.try_send_quietly(bytes).map(drop).map_err(wider));
                self.sender.iter_mut().for_each(Sender::ring);
            }
            Act::Batch(count, _) if !blocks => self.send_batch(count),
            Act::Batch(count, len) => (0..count).for_each(|_| self.play_one(Act::Send(len))),
            Act::Pieces(_) => self.send(|sender, bytes| {
                let mut claim = sender.try_claim(bytes.len()).map_err(wider)?;
                let (one, other) = bytes.split_at(bytes.len() / 3);
                claim.write_all(one).expect("it was claimed");
                claim.write_all(other).expect("it was claimed");
                claim.commit().expect("all of it was written");
                Ok(())
            }),
            Act::Abort(_) => self.abort(),
            Act::Pressure => self.sender.iter_mut().for_each(|sender| _ = sender.pressure().expect("it is sound")),
            Act::Trim => self.sender.iter_mut().for_each(Sender::trim),
            Act::Close => {
                if let Some(sender) = self.sender.take() {
                    self.page.inexact.set(1);
                    sender.close();
                    self.page.closed.set(1);
                }
            }
            Act::Detach => {
                self.page.inexact.set(1);
                self.sender = None;
            }
            Act::Listen if self.receiver.is_none() => {
                let receiver = self.queue.receiver().expect("nobody else listens");
                receiver.set_wait(self.terms.wait);
                self.receiver = Some(receiver);
            }
            Act::Receive(count) => self.receive(count),
            Act::ReceiveBatch(count) => self.receive_batch(count),
            Act::Hold(count) => self.hold(count),
            Act::PutBack => {
                let Some(receiver) = &self.receiver else { return };
                let (first, second) = (receiver.try_recv(), receiver.try_recv());
                if let Ok(second) = second {
                    second.put_back();
                }
                if let Ok(first) = first {
                    mark(self.page, &first);
                }
            }
            Act::Drain(count) => {
                let Some(receiver) = &self.receiver else { return };
                receiver.drain().expect("the queue is there").take(count).for_each(|message| mark(self.page, &message));
            }
            Act::FinishTurn => {
                let Some(receiver) = &self.receiver else { return };
                if let laneway::TurnEnd::Late(mail) = receiver.finish_turn().expect("the queue is there") {
                    mail.take(2).for_each(|message| mark(self.page, &message));
                }
            }
            Act::Wait => {
                let Some(receiver) = &self.receiver else { return };
                if let Ok(message) = receiver.recv_timeout(patience) {
                    mark(self.page, &message);
                }
            }
            Act::Leave => self.receiver = None,
            Act::TrimQueue => drop(self.queue.trim().expect("the queue is there")),
            Act::Attach | Act::Listen => {}
        }
    }

    fn send(&mut self, send: impl FnOnce(&mut Sender, &[u8]) -> Result<(), SendError>) {
        let number = self.page.next.get();
        let Some(sender) = &mut self.sender else { return self.page.excuse(number..number + 1) };
        self.page.started.set(number + 1);
        match send(sender, &self.messages[(number - self.first) as usize]) {
            Ok(()) => self.page.promise(number..number + 1),
            Err(SendError::Dropped) => self.page.drop(number),
            Err(SendError::Full | SendError::Timeout | SendError::TooLarge { .. }) => {
                self.page.excuse(number..number + 1);
            }
            Err(error) => panic!("message {number}: {error}"),
        }
    }

    /// Its number is used up: who drops counts it.
    fn abort(&mut self) {
        let number = self.page.next.get();
        let Some(sender) = &mut self.sender else { return self.page.excuse(number..number + 1) };
        self.page.started.set(number + 1);
        let bytes = &self.messages[(number - self.first) as usize];
        match sender.try_claim(bytes.len()) {
            Ok(mut claim) => {
                claim.write_all(&bytes[..bytes.len() / 2]).expect("it was claimed");
                claim.abort();
                self.page.excuse(number..number + 1);
            }
            Err(TrySendError::Dropped) => self.page.drop(number),
            Err(_) => self.page.excuse(number..number + 1),
        }
    }

    fn send_batch(&mut self, count: usize) {
        let (number, end) = (self.page.next.get(), self.page.next.get() + count as u64);
        let Some(sender) = &mut self.sender else { return self.page.excuse(number..end) };
        self.page.started.set(end);
        let at = (number - self.first) as usize;
        match sender.send_batch(&self.messages[at..at + count]) {
            Ok(sent) if sent == count => self.page.promise(number..end),
            // Which of them were dropped it does not say.
            Ok(_) => {
                self.page.inexact.set(1);
                self.page.excuse(number..end);
            }
            Err(error) => {
                let sent = number + error.sent as u64;
                self.page.promise(number..sent);
                self.page.excuse(sent..end);
            }
        }
    }

    fn receive(&mut self, count: usize) {
        let Some(receiver) = &self.receiver else { return };
        for at in 0..count {
            match receiver.try_recv() {
                Ok(message) => {
                    if at == 0 {
                        self.bytes.clear();
                        message.append_to(&mut self.bytes);
                    }
                    mark(self.page, &message);
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn receive_batch(&mut self, count: usize) {
        let Some(receiver) = &mut self.receiver else { return };
        match receiver.try_recv_batch(count) {
            Ok(mut batch) => {
                while let Some(message) = batch.next() {
                    mark(self.page, &message);
                }
            }
            Err(TryRecvError::Empty | TryRecvError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn hold(&mut self, count: usize) {
        let Some(receiver) = &self.receiver else { return };
        let mut held: Vec<_> = receiver.try_iter().take(count).collect();
        held.iter().for_each(|message| mark(self.page, message));
        while let Some(message) = held.pop() {
            drop(message);
        }
    }
}

/// Says that a message is about to be released.
pub(super) fn mark(page: &Page, message: &laneway::MessageRef<'_>) {
    // SAFETY: who sent it is stopped, dead, or of this library: nobody writes to a record that was not released.
    let head = unsafe { &message.as_slice()[..4] };
    let (sender, number) = payload::head(head);
    let handled = match sender {
        payload::OLD => &page.handled,
        payload::NEW => &page.news,
        _ => &page.bystander,
    };
    handled.set(handled.get().max(u64::from(number) + 1));
}

fn wider(error: TrySendError) -> SendError {
    match error {
        TrySendError::Full => SendError::Full,
        TrySendError::Dropped => SendError::Dropped,
        TrySendError::TooLarge { len, max } => SendError::TooLarge { len, max },
        other => panic!("{other}"),
    }
}
