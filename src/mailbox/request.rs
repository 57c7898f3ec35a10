//! Requests and their answers. Who asks has a queue of its own for answers, made with the first request; the envelope names
//! it, and the answer names the request.

use super::chunks;
use super::envelope::{self, Content, Envelope, Kind, Opened};
use super::handle::{Mailbox, SendError};
use super::inbox::Inbox;
use super::ticket::Ticket;
use crate::error::{Cause, Error, RecvError, TryRecvError};
use crate::queue::{MessageRef, OnFull, Options, Queue, Receiver, Sender};
use crate::wait::Wait;
use bytemuck::Zeroable;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the queues for answers are, beside the mailboxes; hidden from whoever lists those.
const REPLIES: &str = ".laneway-replies";

fn replies_dir(mailbox: &Path) -> PathBuf {
    mailbox.parent().unwrap_or(Path::new(".")).join(REPLIES)
}

fn queue_path(mailbox: &Path, number: u64) -> PathBuf {
    replies_dir(mailbox).join(format!("{number:016x}"))
}

/// The queue for answers of one who asks.
pub(super) struct Replies {
    number: u64,
    queue: Option<Queue>,
    receiver: Receiver,
    correlation: u64,
    late: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was answered.
    pub body: Vec<u8>,
    /// What is in it, as whoever answered says.
    pub content: Content,
    /// The ticket of the request.
    pub ticket: Ticket,
}

/// Why there was no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not sent.
    Send(SendError),
    /// No answer came in time. The request may still be answered; that answer is discarded.
    Timeout {
        /// The ticket of the request, for asking what became of it or taking it back.
        ticket: Ticket,
    },
    /// The queue for answers is gone or damaged.
    Receive(RecvError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Send(error) => error.fmt(f),
            RequestError::Timeout { ticket } => write!(f, "no answer to {ticket} came in time"),
            RequestError::Receive(error) => write!(f, "waiting for the answer: {error}"),
        }
    }
}

impl std::error::Error for RequestError {}

impl Replies {
    fn open(mailbox: &mut Mailbox) -> Result<Replies, Error> {
        let (number, queue, receiver) = create(mailbox, Options::default())?;
        Ok(Replies { number, receiver, queue: Some(queue), correlation: 0, late: 0 })
    }
}

/// A new queue for answers to one who asks, and its number.
pub(super) fn create(mailbox: &mut Mailbox, options: Options) -> Result<(u64, Queue, Receiver), Error> {
    if !std::mem::replace(&mut mailbox.swept, true) {
        sweep(&replies_dir(mailbox.path()));
    }
    let random = |source| Error::new("ask", mailbox.path(), Cause::Io { file: String::new(), source });
    let id = crate::sys::host::random_id().map_err(random)?;
    let number = u64::from_ne_bytes(id[..8].try_into().expect("8 of 16 bytes")).max(1);
    let queue = options.capacity(64 << 10).create(queue_path(mailbox.path(), number))?;
    let receiver = queue.receiver()?;
    Ok((number, queue, receiver))
}

impl Drop for Replies {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            // What cannot be removed is swept by somebody who asks later.
            let _ = queue.destroy();
        }
    }
}

/// Removes queues for answers whose owners are gone, and what is left of those that were being made or removed.
fn sweep(dir: &Path) {
    let _ = Queue::sweep(dir);
    for name in Queue::list(dir).unwrap_or_default() {
        let Ok(queue) = Queue::open(dir.join(name)) else { continue };
        // Its owner takes the lock just after it was born: one that never had an owner is waiting for it. One that lives is
        // only looked at: to try the lock of each takes as long as somebody waits who wants it.
        let stat = queue.observe().and_then(|mut observer| observer.stat());
        if stat.is_ok_and(|stat| stat.receiver_attaches > 0 && !stat.receiver_alive) {
            bury(queue);
        }
    }
}

/// Removes a queue for answers, if its owner is gone.
pub(super) fn bury(queue: Queue) {
    if queue.receiver().is_ok() {
        let _ = queue.destroy();
    }
}

impl Mailbox {
    /// Sends a request and waits for the answer, at most for `timeout`. Answers to earlier requests that come meanwhile are
    /// discarded and counted.
    pub fn request(&mut self, body: &[u8], timeout: Duration) -> Result<Answer, RequestError> {
        let ticket = self.ask(body).map_err(RequestError::Send)?;
        // Only now: whoever answers works while we look at the clock.
        let deadline = Instant::now().checked_add(timeout);
        let replies = self.replies.as_mut().expect("they came with the request");
        loop {
            let message = match deadline {
                Some(deadline) => replies.receiver.recv_deadline(deadline),
                None => replies.receiver.recv(),
            };
            let found = match message {
                Ok(message) => answer_of(&message, replies.correlation, ticket),
                Err(RecvError::Timeout) => return Err(RequestError::Timeout { ticket }),
                // One who answered is not the other.
                Err(RecvError::Corrupt(_)) => continue,
                Err(error) => return Err(RequestError::Receive(error)),
            };
            match found {
                Some(answer) => return Ok(answer),
                None => replies.late += 1,
            }
            // Others may come faster than they are discarded.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(RequestError::Timeout { ticket });
            }
        }
    }

    /// Sends a request, and leaves it to [`try_answer`](Self::try_answer) to find its answer.
    pub(crate) fn ask(&mut self, body: &[u8]) -> Result<Ticket, SendError> {
        if self.replies.is_none() {
            self.replies = Some(Replies::open(self)?);
        }
        let replies = self.replies.as_mut().expect("just opened");
        replies.correlation += 1;
        let (number, wanted) = (replies.number, replies.correlation);
        self.compose().answer_to(number, wanted).send(body)
    }

    /// The answer to the last request, if it is there.
    pub(crate) fn try_answer(&mut self, ticket: Ticket) -> Option<Result<Answer, RequestError>> {
        let replies = self.replies.as_mut()?;
        loop {
            let found = match replies.receiver.try_recv() {
                Ok(message) => answer_of(&message, replies.correlation, ticket),
                Err(TryRecvError::Corrupt(_)) => continue,
                Err(error) => return Some(Err(RequestError::Receive(error.lasting()?))),
            };
            match found {
                Some(answer) => return Some(Ok(answer)),
                None => replies.late += 1,
            }
        }
    }

    /// By which whoever answers rings, once there was a request, and its number.
    pub(crate) fn answers(&self) -> Option<(u64, &Receiver)> {
        self.replies.as_ref().map(|replies| (replies.number, &replies.receiver))
    }

    /// What to do while waiting for an answer. Default: [`Wait::Adaptive`]. Attaches, if there was no request yet.
    pub fn set_wait(&mut self, wait: Wait) -> Result<(), Error> {
        if self.replies.is_none() {
            self.replies = Some(Replies::open(self)?);
        }
        if let Some(replies) = &self.replies {
            replies.receiver.set_wait(wait);
        }
        Ok(())
    }

    /// How many answers came too late and were discarded.
    pub fn late_answers(&self) -> u64 {
        self.replies.as_ref().map_or(0, |replies| replies.late)
    }
}

/// The answer in a message, if it is to this request.
fn answer_of(message: &MessageRef<'_>, correlation: u64, ticket: Ticket) -> Option<Answer> {
    let opened = Envelope::of(message).ok().filter(|opened| opened.envelope.correlation == correlation)?;
    let content = Content::from_byte(opened.envelope.content).unwrap_or_default();
    Some(Answer { body: body_of(message, &opened), content, ticket })
}

/// What stands behind a message's envelope.
pub(super) fn body_of(message: &MessageRef<'_>, opened: &Opened) -> Vec<u8> {
    let mut body = vec![0; message.len() - opened.body];
    message.copy_part_to(opened.body, &mut body);
    body
}

/// Those to whom a receiver has answered lately.
pub(super) struct Answers {
    mailbox: PathBuf,
    senders: BTreeMap<u64, Known>,
}

struct Known {
    sender: Sender,
    /// Its queue takes this answer and no other.
    once: bool,
}

/// The queue for answers with this number, for one who answers, and whether it takes chunks; none if whoever asked is gone.
pub(super) fn open(mailbox: &Path, number: u64) -> Result<Option<(Queue, bool)>, Error> {
    let queue = Queue::open(queue_path(mailbox, number));
    unless_gone(queue.and_then(|queue| chunks::are_wanted(&queue).map(|wanted| (queue, wanted))))
}

/// None if whoever asked has removed the queue, at whatever moment.
pub(super) fn unless_gone<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if matches!(error.cause(), Cause::NotFound | Cause::Detached) => Ok(None),
        answer => answer.map(Some),
    }
}

/// How many of them are remembered.
const REMEMBERED: usize = 64;

impl Answers {
    pub(super) fn new(mailbox: &Path) -> Answers {
        Answers { mailbox: mailbox.to_owned(), senders: BTreeMap::new() }
    }

    /// A sender to the one whose queue has this number; none if it is gone.
    fn sender(&mut self, number: u64) -> Result<Option<&mut Known>, Error> {
        if !self.senders.contains_key(&number) {
            let Some((queue, once)) = open(&self.mailbox, number)? else { return Ok(None) };
            let sender = unless_gone(queue.sender_options().on_full(OnFull::GrowThenFail).attach())?;
            let Some(sender) = sender else { return Ok(None) };
            if self.senders.len() >= REMEMBERED {
                // Any: they are found again.
                let other = self.senders.keys().next().copied();
                other.and_then(|other| self.senders.remove(&other));
            }
            self.senders.insert(number, Known { sender, once });
        }
        Ok(self.senders.get_mut(&number))
    }
}

/// Answers a request. False if there is nobody to answer to.
pub(super) fn reply(inbox: &Inbox, request: &Envelope, attempt: u32, body: &[u8]) -> Result<bool, SendError> {
    if request.reply_to == 0 {
        return Ok(false);
    }
    let mut answers = inbox.answers.borrow_mut();
    let Some(Known { sender, once }) = answers.sender(request.reply_to)? else { return Ok(false) };
    let once = *once;
    let envelope = Envelope {
        version: envelope::VERSION,
        kind: Kind::Reply as u8,
        max_attempts: u16::try_from(attempt).unwrap_or(u16::MAX),
        sent_at: inbox.clock.now(),
        correlation: request.correlation,
        ..Envelope::zeroed()
    }
    .pack();
    let sent = sender.send_gathered([envelope.bytes(), body]);
    let is_gone = sent == Err(crate::error::SendError::Detached);
    if once || is_gone {
        answers.senders.remove(&request.reply_to);
    }
    if is_gone { Ok(false) } else { sent.map(|_| true).map_err(SendError::from) }
}
