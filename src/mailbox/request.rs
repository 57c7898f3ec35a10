//! Requests and their answers. Who asks has a queue of its own for answers, made with the first request; the envelope names
//! it, and the answer names the request.

use super::envelope::{self, Content, Envelope, Kind};
use super::handle::{Mailbox, SendError};
use super::inbox::Inbox;
use super::ticket::Ticket;
use crate::error::{Cause, Error, RecvError};
use crate::queue::{OnFull, Options, Queue, Receiver, Sender};
use crate::wait::Wait;
use bytemuck::Zeroable;
use std::collections::HashMap;
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
    fn open(mailbox: &Path) -> Result<Replies, Error> {
        sweep(&replies_dir(mailbox));
        let random = |source| Error::new("ask", mailbox, Cause::Io { file: String::new(), source });
        let id = crate::sys::host::random_id().map_err(random)?;
        let number = u64::from_ne_bytes(id[..8].try_into().expect("8 of 16 bytes")).max(1);
        let queue = Options::default().capacity(64 << 10).create(queue_path(mailbox, number))?;
        Ok(Replies { number, receiver: queue.receiver()?, queue: Some(queue), correlation: 0, late: 0 })
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            // What cannot be removed is swept by somebody who asks later.
            let _ = queue.destroy();
        }
    }
}

/// Removes queues for answers whose owners are gone.
fn sweep(dir: &Path) {
    for name in Queue::list(dir).unwrap_or_default() {
        let Ok(queue) = Queue::open(dir.join(name)) else { continue };
        // Its owner takes the lock just after it was born; before that it has had no time to get old.
        if let Ok(receiver) = queue.receiver()
            && receiver.lane_count() > 0
        {
            drop(receiver);
            let _ = queue.destroy();
        }
    }
}

impl Mailbox {
    /// Sends a request and waits for the answer, at most for `timeout`. Answers to earlier requests that come meanwhile are
    /// discarded and counted.
    pub fn request(&mut self, body: &[u8], timeout: Duration) -> Result<Answer, RequestError> {
        let deadline = Instant::now().checked_add(timeout);
        let attach = |error| RequestError::Send(SendError::Attach(error));
        let mut replies = match self.replies.take() {
            Some(replies) => replies,
            None => Replies::open(self.path()).map_err(attach)?,
        };
        replies.correlation += 1;
        let wanted = replies.correlation;
        let sent = self.compose().answer_to(replies.number, wanted).send(body);
        let answer = sent.map_err(RequestError::Send).and_then(|ticket| await_answer(&mut replies, ticket, deadline));
        self.replies = Some(replies);
        answer
    }

    /// What to do while waiting for an answer. Default: [`Wait::Adaptive`]. Attaches, if there was no request yet.
    pub fn set_wait(&mut self, wait: Wait) -> Result<(), Error> {
        if self.replies.is_none() {
            self.replies = Some(Replies::open(self.path())?);
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

fn await_answer(replies: &mut Replies, ticket: Ticket, deadline: Option<Instant>) -> Result<Answer, RequestError> {
    loop {
        let message = match deadline {
            Some(deadline) => replies.receiver.recv_deadline(deadline),
            None => replies.receiver.recv(),
        };
        let message = match message {
            Ok(message) => message,
            Err(RecvError::Timeout) => return Err(RequestError::Timeout { ticket }),
            // One who answered is not the other.
            Err(RecvError::Corrupt(_)) => continue,
            Err(error) => return Err(RequestError::Receive(error)),
        };
        match Envelope::of(&message) {
            Ok(opened) if opened.envelope.correlation == replies.correlation => {
                let mut body = vec![0; message.len() - opened.body];
                message.copy_part_to(opened.body, &mut body);
                let content = Content::from_byte(opened.envelope.content).unwrap_or_default();
                return Ok(Answer { body, content, ticket });
            }
            _ => replies.late += 1,
        }
    }
}

/// Those to whom a receiver has answered lately.
pub(super) struct Answers {
    mailbox: PathBuf,
    senders: HashMap<u64, Sender>,
}

/// How many of them are remembered.
const REMEMBERED: usize = 64;

impl Answers {
    pub(super) fn new(mailbox: &Path) -> Answers {
        Answers { mailbox: mailbox.to_owned(), senders: HashMap::new() }
    }

    /// A sender to the one whose queue has this number; none if it is gone.
    fn sender(&mut self, number: u64) -> Result<Option<&mut Sender>, Error> {
        if !self.senders.contains_key(&number) {
            let queue = match Queue::open(queue_path(&self.mailbox, number)) {
                Err(error) if matches!(error.cause(), Cause::NotFound | Cause::Detached) => return Ok(None),
                answer => answer?,
            };
            let sender = queue.sender_options().on_full(OnFull::GrowThenFail).attach()?;
            if self.senders.len() >= REMEMBERED {
                // Any: they are found again.
                let other = self.senders.keys().next().copied();
                other.and_then(|other| self.senders.remove(&other));
            }
            self.senders.insert(number, sender);
        }
        Ok(self.senders.get_mut(&number))
    }
}

/// Answers a request. False if there is nobody to answer to.
pub(super) fn reply(inbox: &Inbox, request: &Envelope, body: &[u8]) -> Result<bool, SendError> {
    if request.reply_to == 0 {
        return Ok(false);
    }
    let mut answers = inbox.answers.borrow_mut();
    let Some(sender) = answers.sender(request.reply_to)? else { return Ok(false) };
    let envelope = Envelope {
        version: envelope::VERSION,
        kind: Kind::Reply as u8,
        sent_at: inbox.clock.now(),
        correlation: request.correlation,
        ..Envelope::zeroed()
    };
    match sender.send_gathered([bytemuck::bytes_of(&envelope), body]) {
        Ok(_) => Ok(true),
        Err(crate::error::SendError::Detached) => {
            answers.senders.remove(&request.reply_to);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
