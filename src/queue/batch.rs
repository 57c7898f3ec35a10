//! Several messages that are sent together, and several of one lane that are released together.

use super::message::MessageRef;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::SendError;
use crate::lane::Reader;
use std::fmt;

impl Sender {
    /// Sends several messages in order, waking the receiver once. Blocks while there is no room.
    ///
    /// They are committed in runs, of about 8 KiB or as far as there is room: the messages of a run are there all at once, or not
    /// at all if this process dies before. After an error the first ones are sent. Who drops what finds no room goes on
    /// after each; the answer is how many were sent. A message of a run waits for the last one, so what takes long to
    /// make is better sent by itself, and `payloads` must not wait for an answer to what it has handed over.
    pub fn send_batch<P: AsRef<[u8]>>(&mut self, payloads: impl IntoIterator<Item = P>) -> Result<usize, BatchError> {
        let Ringing(sender) = &mut Ringing(self);
        let mut payloads = payloads.into_iter();
        let mut sent = 0;
        loop {
            let mut run = sender.lane.run();
            let next = payloads.find(|payload| {
                let pushed = run.push(payload.as_ref());
                sent += usize::from(pushed);
                !pushed
            });
            drop(run);
            let Some(payload) = next else { break };
            // What is full makes room only if the receiver is awake; `send` sees to that.
            match sender.send(payload.as_ref()) {
                Ok(_) => sent += 1,
                Err(SendError::Dropped) => {}
                Err(error) => return Err(BatchError { sent, error }),
            }
        }
        Ok(sent)
    }
}

/// Wakes the receiver in the end, whatever that end is: also when the iterator panics.
struct Ringing<'a>(&'a mut Sender);

impl Drop for Ringing<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// Why [`Sender::send_batch`] stopped, and after how many messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchError {
    /// Messages that were sent.
    pub sent: usize,
    /// What became of the next one.
    pub error: SendError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} messages: {}", self.sent, self.error)
    }
}

impl std::error::Error for BatchError {}

/// Messages of one sender that were there when they were asked for, one behind the other; made by
/// [`Receiver::recv_batch`]. Dropping it releases those that were handed out, all at once: one store and one look at a waiting
/// sender for all of them. The others stay where they are.
///
/// When the thread panics while it handles one, that one is delivered again, and so is what came after it. All of a batch that
/// is leaked is delivered again.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// # queue.sender()?.send_batch(["one", "two", "three"])?;
/// # let mut receiver = queue.receiver()?;
/// let mut batch = receiver.recv_batch(64)?;
/// while let Some(message) = batch.next() {
///     println!("{}", String::from_utf8_lossy(&message.to_vec()));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "messages that are not asked for are not received"]
pub struct Batch<'a> {
    receiver: &'a Receiver,
    lane: &'a Reader,
    /// Where the first message is.
    from: u64,
    /// Where the one is that was handed out last.
    last: u64,
    /// Where the next one is looked for.
    next: u64,
    handed_out: u64,
    /// How many more may be handed out.
    left: usize,
    /// Where the lane's turn is over.
    end: u64,
    /// The thread was panicking already: what is handled then is handled.
    born_in_panic: bool,
}

impl<'a> Batch<'a> {
    #[inline(always)]
    pub(super) fn new(receiver: &'a Receiver, lane: &'a Reader, max: usize, turn: u64) -> Batch<'a> {
        let (from, most) = lane.run();
        let end = from.saturating_add(turn);
        let born_in_panic = std::thread::panicking();
        let left = max.clamp(1, most);
        Batch { receiver, lane, from, last: from, next: from, handed_out: 0, left, end, born_in_panic }
    }

    /// The next message, if there is one; where there was none there may be one later, but keep no batch for that: its sender may wait
    /// for the room. (No `Iterator`: a message must not outlive its batch.)
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "it lends what it hands out")]
    pub fn next(&mut self) -> Option<MessageRef<'_>> {
        if self.left == 0 || self.next >= self.end {
            return None;
        }
        let record = self.lane.message_at(self.next)?;
        let payload = self.lane.payload(&record);
        (self.last, self.next) = (record.position, record.next);
        (self.handed_out, self.left) = (self.handed_out + 1, self.left - 1);
        Some(MessageRef::new(self.lane, record, payload))
    }

    /// What was looked at and not taken: it is looked at anew, and whoever leaves messages for ever must not hold up the others.
    #[cold]
    fn give_up(&self, to: u64) {
        self.lane.forget_looks();
        self.receiver.spend_turn((self.next - to).max(8));
    }

    /// How many messages it has handed out.
    pub fn handed_out(&self) -> u64 {
        self.handed_out
    }
}

impl Drop for Batch<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let unhandled = std::thread::panicking() && !self.born_in_panic;
        let (to, messages) = match unhandled {
            true => (self.last, self.handed_out.saturating_sub(1)),
            false => (self.next, self.handed_out),
        };
        if messages > 0 {
            self.receiver.take_run(self.lane, self.from, to, messages);
        }
        if to != self.next || messages == 0 {
            self.give_up(to);
        }
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("lane", &self.lane.number()).field("handed_out", &self.handed_out).finish()
    }
}
