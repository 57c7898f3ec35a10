//! The sending end of a mailbox: sending, and asking what became of it.

use super::clock::{self, Clock};
use super::control::Word;
use super::envelope::{self, Content, Envelope, Kind};
use super::post::{CONTROL, side_queue};
use super::request::Replies;
use super::settings::{Settings, WhenFull};
use super::stats::{self, Stats};
use super::ticket::{State, Status, Ticket};
use crate::error::{Cause, Error, SendError as QueueError};
use crate::layout;
use crate::ledger::{Key, LedgerView};
use crate::queue::{self, Observer, OnFull, Options, Priority, Queue, Sender};
use crate::region::Region;
use bytemuck::Zeroable;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A mailbox, for sending to it and asking about it; made by [`Post::mailbox`](super::Post::mailbox).
///
/// `Send`, not `Sync`; make one for each thread. It attaches to the mailbox's queue with its first message of each priority,
/// and what was sent stays when it is dropped.
pub struct Mailbox {
    name: String,
    path: PathBuf,
    pub(super) queue: Queue,
    pub(super) id: u32,
    settings: Settings,
    /// By priority.
    senders: [Option<Sender>; 3],
    control: Option<Sender>,
    pub(super) ledger: LedgerView,
    pub(super) memory: Arc<Region>,
    pub(super) observer: Observer,
    /// The sender's name, padded to 8.
    from: Vec<u8>,
    from_len: u16,
    /// Messages sent through this handle.
    sequence: u64,
    /// How many more may be sent before the mailbox's limit is looked at again.
    allowance: u32,
    pub(super) clock: Clock,
    pub(super) replies: Option<Replies>,
    /// Queues for answers were looked for whose owners are gone.
    pub(super) swept: bool,
}

/// Why a message was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The mailbox's queue could not be attached to.
    Attach(Error),
    /// As many messages are waiting as the mailbox holds.
    Full {
        /// How many are waiting or taken, as far as this sender sees.
        pending: u64,
        /// How many there may be.
        max: u32,
    },
    /// The queue did not take it.
    Queue(QueueError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Attach(error) => error.fmt(f),
            SendError::Full { pending, max } => {
                write!(f, "the mailbox holds {max} messages, and {pending} are waiting or taken")
            }
            SendError::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

impl From<Error> for SendError {
    fn from(error: Error) -> SendError {
        SendError::Attach(error)
    }
}

impl From<QueueError> for SendError {
    fn from(error: QueueError) -> SendError {
        SendError::Queue(error)
    }
}

/// What came of taking a message back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It will not be handed out.
    Yes,
    /// It is too late: this became of it.
    TooLate(State),
    /// The kernel makes no fences here between processes: its state will say what came of it.
    Unsure,
}

/// How many messages a sender sends at most before it looks at the mailbox's limit again.
const LONGEST_ALLOWANCE: u64 = 64;

impl Mailbox {
    pub(super) fn new(name: &str, path: PathBuf, queue: Queue, from: &str) -> Result<Mailbox, Error> {
        let settings = settings(&queue)?;
        let from_len = u16::try_from(from.len()).ok().filter(|len| usize::from(*len) <= envelope::LONGEST_NAME);
        let too_long = Cause::Option {
            option: "the length of the sender's name",
            value: from.len() as u64,
            rule: "it must be at most 200 bytes",
        };
        let from_len = from_len.ok_or_else(|| queue.error("send to", too_long))?;
        let mut padded = from.as_bytes().to_vec();
        padded.resize(from.len().next_multiple_of(8), 0);
        let (memory, desk) = queue.ledger(false)?;
        Ok(Mailbox {
            name: name.to_owned(),
            path,
            id: id(&queue),
            settings,
            senders: [None, None, None],
            control: None,
            ledger: LedgerView::new(&memory, &desk, queue.ledger_entries(), queue.fences()),
            memory,
            observer: queue.observe()?,
            from: padded,
            from_len,
            sequence: 0,
            allowance: 0,
            clock: Clock::new(),
            replies: None,
            swept: false,
            queue,
        })
    }

    /// The mailbox's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mailbox's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its creator fixed.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a message, and returns its ticket at once, whether anybody serves the mailbox or not. What it waits for, at most, is
    /// room in the file system; when this sender's lane cannot grow any more it fails.
    ///
    /// `Ok` means that the message is there, whatever becomes of this process. Costs what
    /// [`Sender::send`](crate::Sender::send) costs, a look at the clock and 24 bytes.
    pub fn send(&mut self, body: &[u8]) -> Result<Ticket, SendError> {
        let envelope = self.envelope(Kind::Mail);
        let message = self.send_in(&envelope, Priority::Normal, body)?;
        Ok(Ticket { mailbox: self.id, message })
    }

    /// The envelope of the next message.
    #[inline(always)]
    fn envelope(&mut self, kind: Kind) -> Envelope {
        self.sequence += 1;
        Envelope {
            version: envelope::VERSION,
            kind: kind as u8,
            name_len: self.from_len,
            sequence: self.sequence,
            sent_at: self.clock.now(),
            ..Envelope::zeroed()
        }
    }

    /// A message with more to it than its body: see [`Draft`].
    pub fn compose(&mut self) -> Draft<'_> {
        Draft { mailbox: self, envelope: Envelope::zeroed(), priority: Priority::Normal, delay: None, ttl: None }
    }

    /// What became of a message. Never blocks; no system call for a lane that was seen before.
    ///
    /// Read from what the mailbox's receiver wrote, which is there when it is gone. A ticket of another mailbox is `Unknown`.
    pub fn status(&mut self, ticket: &Ticket) -> Result<Status, Error> {
        let message = ticket.message;
        let Some(key) = Key::message(message.lane, message.position).filter(|_| ticket.mailbox == self.id) else {
            return Ok(Status::bare(State::Unknown));
        };
        if let Some(entry) = self.ledger.find(key) {
            return Ok(Status::of(&entry, self.clock.now()));
        }
        let cursor = self.observer.cursor(message.lane)?;
        let waits = cursor.is_some_and(|at| (at.read_pos..at.write_pos).contains(&message.position));
        // It may have been taken, written down and released between our two looks.
        let bare = Status::bare(if waits { State::Pending } else { State::Unknown });
        Ok(self.ledger.find(key).map_or(bare, |entry| Status::of(&entry, self.clock.now())))
    }

    /// Waits until `wanted` says that it has waited for that state, at most for `timeout`; gives the last one seen. Sleeps, and is
    /// woken by the receiver as soon as something becomes of any message.
    pub fn wait_until(
        &mut self,
        ticket: &Ticket,
        timeout: Duration,
        wanted: impl Fn(State) -> bool,
    ) -> Result<Status, Error> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let status = self.status(ticket)?;
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if wanted(status.state) || left.is_zero() {
                return Ok(status);
            }
            let key = Key::message(ticket.message.lane, ticket.message.position);
            // Whatever is written of it from here on wakes us.
            self.ledger.sleep(left, || {
                let now = key.and_then(|key| self.ledger.find(key));
                now.is_some_and(|entry| State::from_code(entry.state) != status.state)
            });
        }
    }

    /// Waits until nothing more will become of the message, at most for `timeout`.
    pub fn wait(&mut self, ticket: &Ticket, timeout: Duration) -> Result<Status, Error> {
        self.wait_until(ticket, timeout, |state| state.is_final() || state == State::Unknown)
    }

    /// Takes a message back, whoever sent it. What this returns is so from then on, whether the mailbox's receiver is working, asleep
    /// or gone: a message that was `Yes` is never handed out. Its state becomes `Cancelled` when the receiver gets to it.
    ///
    /// A message that waits for another attempt can be cancelled too. One that is being handed out at this instant may be
    /// `TooLate(Taken)` and be caught nevertheless: then its state becomes `Cancelled`. Takes some system calls.
    pub fn cancel(&mut self, ticket: &Ticket) -> Result<Cancelled, SendError> {
        let before = self.status(ticket)?.state;
        if before == State::Cancelled {
            return Ok(Cancelled::Yes);
        }
        if before != State::Pending {
            return Ok(Cancelled::TooLate(before));
        }
        let sure = self.leave_word(&Word::cancel(ticket.message, self.clock.now()))?;
        match self.status(ticket)?.state {
            State::Pending | State::Cancelled if sure => Ok(Cancelled::Yes),
            State::Pending => Ok(Cancelled::Unsure),
            State::Cancelled => Ok(Cancelled::Yes),
            after => Ok(Cancelled::TooLate(after)),
        }
    }

    /// How many messages are waiting or taken. Approximate while others send and receive.
    pub fn pending(&mut self) -> Result<u64, Error> {
        self.observer.refresh()?;
        Ok(self.observer.depth_messages().saturating_add(stats::kept(&self.memory)))
    }

    /// What was counted since the mailbox was created, and what waits now. Disturbs nobody.
    pub fn stats(&mut self) -> Result<Stats, Error> {
        stats::read(self)
    }

    /// Whether somebody serves the mailbox now, by the kernel's word.
    pub fn is_awake(&self) -> Result<bool, Error> {
        self.observer.receiver_alive()
    }

    /// Leaves word about a message that was sent before. Whether what the ledger says from then on is final.
    fn leave_word(&mut self, word: &Word) -> Result<bool, SendError> {
        if self.control.is_none() {
            let queue = control_queue(&self.path, &self.queue)?;
            self.control = Some(queue.sender_options().on_full(OnFull::GrowThenFail).attach()?);
        }
        let control = self.control.as_mut().expect("just attached");
        control.send_pod(word)?;
        Ok(self.ledger.leave_word())
    }

    /// Sees to the limit of messages that wait.
    #[cold]
    fn ask_for_room(&mut self) -> Result<(), SendError> {
        let (pending, max) = (self.pending()?, u64::from(self.settings.max_pending));
        if pending >= max && self.settings.when_full == WhenFull::Refuse {
            self.ledger.count_refused();
            #[cfg(feature = "tracing")]
            crate::log::refused(&self.path, pending, self.settings.max_pending);
            return Err(SendError::Full { pending, max: self.settings.max_pending });
        }
        // Others count too: the nearer the limit, the more often each looks.
        self.allowance = (max.saturating_sub(pending) / 4).clamp(1, LONGEST_ALLOWANCE) as u32;
        Ok(())
    }

    /// Sends a message in its envelope.
    #[inline(always)]
    pub(super) fn send_in(
        &mut self,
        envelope: &Envelope,
        priority: Priority,
        body: &[u8],
    ) -> Result<queue::Ticket, SendError> {
        if self.settings.max_pending > 0 {
            if self.allowance == 0 {
                self.ask_for_room()?;
            }
            self.allowance -= 1;
        }
        let Mailbox { senders, queue, from, .. } = self;
        let sender = &mut senders[priority as usize];
        if sender.is_none() {
            *sender = Some(attach(queue, priority)?);
        }
        let sender = sender.as_mut().expect("just attached");
        let packed = envelope.pack();
        let envelope = packed.bytes();
        let sent = if from.is_empty() {
            sender.send_gathered([envelope, body])?
        } else {
            sender.send_gathered([envelope, from, body])?
        };
        #[cfg(feature = "tracing")]
        crate::log::enqueued(&self.path, Ticket { mailbox: self.id, message: sent.ticket() }, body.len());
        Ok(sent.ticket())
    }
}

/// A message before it is sent; made by [`Mailbox::compose`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let post = laneway::mailbox::Post::open(dir.path());
/// # let mut backend = post.mailbox("backend")?;
/// use laneway::Priority;
/// use std::time::Duration;
/// let ticket = backend.compose().priority(Priority::Urgent).ttl(Duration::from_secs(5)).send(b"stop what you are doing")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a draft that is not sent is nothing"]
pub struct Draft<'a> {
    mailbox: &'a mut Mailbox,
    envelope: Envelope,
    priority: Priority,
    delay: Option<Duration>,
    ttl: Option<Duration>,
}

impl Draft<'_> {
    /// How urgent it is. Messages of one priority come in the order in which they were sent.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// It is handed out that much later at the earliest.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// How long it is worth anything, from the end of its delay on: when it is not taken by then it expires.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// It takes the place of older messages with the same key that nobody has taken yet, whoever sent them. Costs a second
    /// message and a system call or two. When there is no room for that one, the older messages stay.
    pub fn supersede(mut self, key: &[u8]) -> Self {
        self.envelope.supersede = envelope::hash(key);
        self
    }

    /// It is to be done but once: when the receiver finds a second message with this key, and still remembers the first, the
    /// second is superseded. The mailbox remembers as many outcomes and keys as its [`Settings::outcomes`] says.
    pub fn idempotency(mut self, key: &[u8]) -> Self {
        self.envelope.idempotency = envelope::hash(key);
        self
    }

    /// How often it may be handed out, from 1, in place of what the mailbox says.
    pub fn max_attempts(mut self, attempts: u16) -> Self {
        self.envelope.max_attempts = attempts.max(1);
        self
    }

    /// What is in its body.
    pub fn content(mut self, content: Content) -> Self {
        self.envelope.content = content as u8;
        self
    }

    /// An answer is wanted there.
    pub(super) fn answer_to(mut self, reply_to: u64, correlation: u64) -> Self {
        (self.envelope.reply_to, self.envelope.correlation) = (reply_to, correlation);
        self
    }

    /// Sends a value as it lies in memory.
    pub fn send_pod<T: bytemuck::NoUninit>(self, value: &T) -> Result<Ticket, SendError> {
        self.content(Content::Pod).send(bytemuck::bytes_of(value))
    }

    /// Sends it. See [`Mailbox::send`].
    #[inline]
    pub fn send(self, body: &[u8]) -> Result<Ticket, SendError> {
        let Draft { mailbox, envelope: said, priority, delay, ttl } = self;
        let new = mailbox.envelope(if said.reply_to == 0 { Kind::Mail } else { Kind::Request });
        let Envelope { version, kind, name_len, sequence, sent_at, .. } = new;
        let mut envelope = Envelope { version, kind, name_len, sequence, sent_at, ..said };
        if let Some(delay) = delay {
            envelope.not_before = clock::after(envelope.sent_at, delay);
        }
        if let Some(ttl) = ttl {
            envelope.deadline = clock::after(envelope.not_before.max(envelope.sent_at), ttl);
        }
        let message = mailbox.send_in(&envelope, priority, body)?;
        if envelope.supersede != 0 {
            // Only now: whatever happens, the newest is there. It is sent, so what fails from here on is no reason to send it again.
            let _ = mailbox.leave_word(&Word::supersede(message, envelope.supersede, envelope.sent_at));
        }
        Ok(Ticket { mailbox: mailbox.id, message })
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("envelope", &self.envelope).finish_non_exhaustive()
    }
}

#[cold]
fn attach(queue: &Queue, priority: Priority) -> Result<Sender, Error> {
    queue.sender_options().priority(priority).on_full(OnFull::GrowThenFail).attach()
}

/// The number by which tickets of a mailbox are known.
pub(super) fn id(mail: &Queue) -> u32 {
    let id = mail.id();
    u32::from_le_bytes([id[0], id[1], id[2], id[3]])
}

/// What the mailbox's creator fixed.
pub(super) fn settings(mail: &Queue) -> Result<Settings, Error> {
    let words = mail.note()?;
    Settings::read(&words).map_err(|cause: Cause| mail.error("open", cause))
}

/// The queue of words about messages that were sent before.
pub(super) fn control_queue(mailbox: &Path, mail: &Queue) -> Result<Queue, Error> {
    // As many words as there can be messages that they are about.
    let limit = mail.overflow_limit().max(1 << 20);
    let options = Options::default().capacity(layout::GRANULE).overflow_limit(limit);
    side_queue(mailbox, CONTROL, mail, options)
}
