//! Answers in chunks, for whoever asks.
//!
//! Each has a queue of its own among those for answers, for as long as it lasts. So the flow control is that of a ring: whoever
//! answers gets as far ahead as the ring is long, and then waits until something is read; nobody else's answer lies behind chunks
//! that nobody reads; and to cancel is to remove the queue, which gives back its space and is seen by whoever answers in a word
//! that it looks at anyway. It costs a millisecond to begin with. A stream that shared a queue with others would need credits for each, a
//! word for cancelling that somebody has to read, and a place for chunks that nobody has asked for yet.

use super::envelope::{Content, Envelope, Kind};
use super::handle::{Mailbox, SendError};
use super::request::{self, body_of};
use super::ticket::Ticket;
use crate::error::{Error, RecvError};
use crate::queue::{Message, Options, Queue, Receiver};
use crate::wait::Wait;
use std::fmt;
use std::time::{Duration, Instant};

/// What a queue's note says if it takes chunks.
const NOTE: [u64; 15] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Senders to a queue at a time: one, and some whose lanes were damaged or are about to be let go.
const LANES: u32 = 8;

/// What the answer is to, in a queue that takes but one.
pub(super) const CORRELATION: u64 = 1;

/// Messages that are released, at most, for a sender that sleeps until there is room.
const MOST_DISCARDED: usize = 1024;

/// Whether who made this queue for answers takes chunks.
pub(super) fn are_wanted(queue: &Queue) -> Result<bool, Error> {
    Ok(queue.note()? == NOTE)
}

/// An answer that comes in chunks; made by [`Mailbox::request_stream`]. `Send`, not `Sync`.
///
/// Whoever answers gets no further ahead than 64 KiB of chunks that were not read. Dropping it, at whatever point, cancels the
/// stream.
pub struct Chunks {
    ticket: Ticket,
    receiver: Receiver,
    /// None once nothing more is to come.
    queue: Option<Queue>,
    /// At which the chunks were sent that are being read.
    attempt: u16,
    /// The number of the next one. 0: it must be the first of an attempt.
    next: u64,
    /// Something has come.
    begun: bool,
    /// The first of another attempt, after that was said.
    beginning: Option<(Kind, Chunk)>,
    discarded: u64,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What was sent.
    pub body: Vec<u8>,
    /// What is in it, as whoever answered says.
    pub content: Content,
}

/// Why there is no chunk. After [`Failed`](Self::Failed) and [`Receive`](Self::Receive) of a queue that is gone nothing more comes; after all others it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// None came in time. The ticket says what became of the request: nobody may have taken it yet.
    Timeout {
        /// The ticket of the request.
        ticket: Ticket,
    },
    /// What came before is void: whoever sent it has died or given up, the request was handed out again, and the answer begins anew
    /// with the next chunk.
    Restarted {
        /// How often the request was handed out.
        attempt: u32,
    },
    /// Whoever answered has stopped in the middle. The request may be handed out again; then it is [`Restarted`](Self::Restarted).
    BrokenOff,
    /// Whoever answered says that there is no answer, or no more of it.
    Failed {
        /// Why.
        reason: String,
    },
    /// A chunk is missing. Nothing more is given of this attempt.
    Incomplete {
        /// The number of the chunk that was to come, from 1.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// The queue for answers is gone or damaged.
    Receive(RecvError),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Timeout { ticket } => write!(f, "no chunk of the answer to {ticket} came in time"),
            StreamError::Restarted { attempt } => {
                write!(f, "the request was handed out for the {attempt}. time, and its answer begins anew")
            }
            StreamError::BrokenOff => write!(f, "whoever answered has stopped in the middle"),
            StreamError::Failed { reason } => write!(f, "the request failed: {reason}"),
            StreamError::Incomplete { expected, found } => {
                write!(f, "chunk {expected} of the answer is missing: {found} came in its place")
            }
            StreamError::Receive(error) => write!(f, "waiting for a chunk: {error}"),
        }
    }
}

impl std::error::Error for StreamError {}

impl Mailbox {
    /// Sends a request whose answer may come in chunks, and returns at once. Whoever serves the mailbox answers by
    /// [`Delivery::reply_stream`](super::Delivery::reply_stream); by [`reply`](super::Delivery::reply) it is one chunk.
    ///
    /// Several may be under way at a time, through one mailbox or many. Each has a queue of its own, which takes about a millisecond, and
    /// 80 KiB while it lasts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let post = laneway::mailbox::Post::open(dir.path().join("post"));
    /// # let serving = { let post = post.clone(); std::thread::spawn(move || {
    /// #     let inbox = post.serve("backend").unwrap();
    /// #     let delivery = inbox.recv().unwrap();
    /// #     let mut answer = delivery.reply_stream().unwrap().unwrap();
    /// #     for part in [b"parsed", b"tested"] { answer.send(part).unwrap(); }
    /// #     answer.finish().unwrap();
    /// #     delivery.ack();
    /// # }) };
    /// use std::time::Duration;
    /// let mut backend = post.mailbox("backend")?;
    /// let mut chunks = backend.request_stream(b"build it")?;
    /// while let Some(chunk) = chunks.next(Duration::from_secs(10))? {
    ///     println!("{}", String::from_utf8_lossy(&chunk.body));
    /// }
    /// # serving.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_stream(&mut self, body: &[u8]) -> Result<Chunks, SendError> {
        let options = Options::default().max_lanes(LANES).ledger(0, NOTE);
        let (number, queue, receiver) = request::create(self, options)?;
        match self.compose().answer_to(number, CORRELATION).send(body) {
            Ok(ticket) => Ok(Chunks {
                ticket,
                receiver,
                queue: Some(queue),
                attempt: 0,
                next: 0,
                begun: false,
                beginning: None,
                discarded: 0,
            }),
            Err(error) => {
                let _ = queue.destroy();
                Err(error)
            }
        }
    }
}

impl Chunks {
    /// The ticket of the request: for asking what became of it, or for taking it back.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The next chunk; none at the end. Blocks at most for `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Chunk>, StreamError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(answer) = self.before_receiving() {
                return answer;
            }
            let answer = match deadline {
                Some(deadline) => self.receiver.recv_deadline(deadline),
                None => self.receiver.recv(),
            };
            let found = match answer.map(read) {
                Ok(found) => found,
                Err(RecvError::Timeout) => return Err(StreamError::Timeout { ticket: self.ticket }),
                Err(error) => return Err(StreamError::Receive(error)),
            };
            if let Some(answer) = self.admit(found) {
                return answer;
            }
            // Void ones may come faster than they are discarded.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(StreamError::Timeout { ticket: self.ticket });
            }
        }
    }

    /// As [`next`](Self::next), if there is something to say at once.
    pub(crate) fn try_next(&mut self) -> Option<Result<Option<Chunk>, StreamError>> {
        loop {
            if let Some(answer) = self.before_receiving() {
                return Some(answer);
            }
            let found = match self.receiver.try_recv().map(read) {
                Ok(found) => found,
                Err(error) => return Some(Err(StreamError::Receive(error.lasting()?))),
            };
            if let Some(answer) = self.admit(found) {
                return Some(answer);
            }
        }
    }

    /// What there is to say of what was received. What is void is counted.
    fn admit(&mut self, found: Option<(Envelope, Chunk)>) -> Option<Result<Option<Chunk>, StreamError>> {
        let answer = found.and_then(|(envelope, chunk)| self.judge(envelope, chunk));
        if answer.is_none() {
            self.discarded += 1;
        }
        answer
    }

    /// What is to be said before anything is received.
    fn before_receiving(&mut self) -> Option<Result<Option<Chunk>, StreamError>> {
        if let Some((kind, chunk)) = self.beginning.take() {
            return Some(self.hand_out(kind, chunk));
        }
        self.queue.is_none().then_some(Ok(None))
    }

    /// What a chunk means, by its attempt and its number; none if it is of an earlier attempt, or of one of which a chunk is
    /// missing.
    fn judge(&mut self, envelope: Envelope, chunk: Chunk) -> Option<Result<Option<Chunk>, StreamError>> {
        let kind = Kind::from_byte(envelope.kind).filter(|kind| !matches!(kind, Kind::Mail | Kind::Request))?;
        // An answer in one piece begins an answer.
        let number = if kind == Kind::Reply { 1 } else { envelope.sequence };
        let (attempt, expected) = (envelope.max_attempts, self.next);
        if envelope.correlation != CORRELATION || attempt < self.attempt {
            return None;
        }
        let is_new = attempt > self.attempt;
        self.attempt = attempt;
        if number == 1 {
            self.next = 2;
            if std::mem::replace(&mut self.begun, true) {
                self.beginning = Some((kind, chunk));
                return Some(Err(StreamError::Restarted { attempt: attempt.into() }));
            }
            return Some(self.hand_out(kind, chunk));
        }
        if expected == 0 && !is_new {
            return None;
        }
        if is_new || number != expected {
            self.next = 0;
            let expected = if is_new { 1 } else { expected };
            return Some(Err(StreamError::Incomplete { expected, found: number }));
        }
        self.next += 1;
        Some(self.hand_out(kind, chunk))
    }

    fn hand_out(&mut self, kind: Kind, chunk: Chunk) -> Result<Option<Chunk>, StreamError> {
        match kind {
            Kind::Chunk => Ok(Some(chunk)),
            Kind::BrokenOff => {
                self.next = 0;
                Err(StreamError::BrokenOff)
            }
            Kind::Failed => {
                self.close();
                Err(StreamError::Failed { reason: String::from_utf8_lossy(&chunk.body).into_owned() })
            }
            Kind::Reply => {
                self.close();
                Ok(Some(chunk))
            }
            _ => {
                self.close();
                Ok(None)
            }
        }
    }

    /// How many chunks came that were void: of an earlier attempt, after a later one had begun.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// What to do while waiting for a chunk. Default: [`Wait::Adaptive`].
    pub fn set_wait(&self, wait: Wait) {
        self.receiver.set_wait(wait);
    }

    /// Says that no more is wanted, as dropping it does. Whoever answers learns of it with the next chunk that it sends, or when
    /// it asks. The request itself stays: [`Mailbox::cancel`] takes it back, if nobody has taken it yet.
    pub fn cancel(self) {}

    /// Removes the queue: nothing more comes.
    fn close(&mut self) {
        let Some(queue) = self.queue.take() else { return };
        // What cannot be removed is swept by somebody who asks later.
        let _ = queue.destroy();
        // Only now: a sender that waits for room wakes, and finds no queue.
        self.receiver.try_iter().take(MOST_DISCARDED).for_each(Message::release);
    }
}

impl Chunks {
    /// By which whoever answers rings.
    pub(crate) fn receiver(&self) -> &Receiver {
        &self.receiver
    }
}

/// A chunk, copied and released; none of what is no answer.
fn read(message: Message<'_>) -> Option<(Envelope, Chunk)> {
    let opened = Envelope::of(&message).ok()?;
    let content = Content::from_byte(opened.envelope.content).unwrap_or_default();
    Some((opened.envelope, Chunk { body: body_of(&message, &opened), content }))
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("ticket", &self.ticket).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
