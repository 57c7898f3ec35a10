//! Receiving in a task.

use super::source::{Notify, Source};
use crate::error::RecvError;
use crate::queue::{Message, MessageRef, Receiver};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::task::{Context, Poll};

/// A receiver for tasks, of any runtime: it needs none of its own. `Send`; a task that waits costs nothing until a sender wakes it.
/// Before that it looks a few times more, with a turn for the others in between, for as long as the receiver's [`Wait`](crate::Wait) says
/// ([`Receiver::set_wait`]): `Adaptive`, the default, for about as long as a wake-up takes; `Park` once; `Spin` for ever.
/// With the feature `stream` it is a `futures_core::Stream` of payloads.
///
/// # Cancelling
/// Every future here may be dropped at any time, by `select!` say. A message leaves the queue in the poll that returns it and in no other, so a
/// future that is dropped has taken none.
///
/// [`recv`](Self::recv) and the stream give **payloads of their own**, because those can be sent to other threads and held over an
/// `await`; with it the message is released: what becomes of it afterwards, a task that is cancelled while it works on it, say, is not for the queue to mend. Who
/// needs that takes [`hold`](Self::hold): a guard that **puts the message back** unless it is told that the work is done. Plain
/// [`Message`]s are neither: one that is dropped by a cancelled task is released, and so lost to whoever had not worked on it yet.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("backend"))?;
/// # queue.sender()?.send(b"hello")?;
/// use laneway::event::AsyncReceiver;
/// let mut mail = AsyncReceiver::new(queue.receiver()?)?;
/// # let mut task = std::task::Context::from_waker(std::task::Waker::noop());
/// # let future = async {
/// let payload = mail.recv().await?;
/// assert_eq!(payload, b"hello");
/// # Ok::<(), laneway::RecvError>(())
/// # };
/// # assert_eq!(std::pin::pin!(future).poll(&mut task), std::task::Poll::Ready(Ok(())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncReceiver {
    receiver: Receiver,
    source: Source,
}

impl AsyncReceiver {
    /// Has the receiver watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one.
    pub fn new(receiver: Receiver) -> io::Result<AsyncReceiver> {
        let source = Source::new(&receiver, Notify::Task)?;
        Ok(AsyncReceiver { receiver, source })
    }

    /// The next payload. Waits until there is one. Never returns [`RecvError::Timeout`].
    pub async fn recv(&mut self) -> Result<Vec<u8>, RecvError> {
        poll_fn(|task| self.poll_recv(task)).await
    }

    /// As [`recv`](Self::recv), for whoever polls by hand.
    pub fn poll_recv(&mut self, task: &mut Context<'_>) -> Poll<Result<Vec<u8>, RecvError>> {
        self.source.poll(task, &mut self.receiver, |receiver| match receiver.try_recv() {
            Ok(message) => Some(Ok(message.to_vec())),
            Err(error) => error.lasting().map(Err),
        })
    }

    /// Appends payloads to `to`: waits until there is one, then takes what is there, at most `max` (0 counts as 1). Returns how many.
    pub async fn recv_many(&mut self, to: &mut Vec<Vec<u8>>, max: usize) -> Result<usize, RecvError> {
        poll_fn(|task| self.poll_recv_many(task, to, max)).await
    }

    /// As [`recv_many`](Self::recv_many), for whoever polls by hand.
    pub fn poll_recv_many(
        &mut self,
        task: &mut Context<'_>,
        to: &mut Vec<Vec<u8>>,
        max: usize,
    ) -> Poll<Result<usize, RecvError>> {
        self.source.poll(task, &mut self.receiver, |receiver| {
            let mut batch = match receiver.try_recv_batch(max) {
                Ok(batch) => batch,
                Err(error) => return error.lasting().map(Err),
            };
            let before = to.len();
            while let Some(message) = batch.next() {
                to.push(message.to_vec());
            }
            Some(Ok(to.len() - before))
        })
    }

    /// The next message, which goes back to the front of its sender's when it is dropped before [`Held::done`] is called. Waits until there is one.
    ///
    /// Neither it nor a future that holds it is `Send`: for tasks that stay on one thread.
    pub async fn hold(&mut self) -> Result<Held<'_>, RecvError> {
        let (mut receiver, source) = (&self.receiver, &self.source);
        poll_fn(move |task| {
            source.poll(task, &mut receiver, |receiver| {
                // For as long as we are borrowed.
                let receiver = *receiver;
                match receiver.try_recv() {
                    Ok(message) => Some(Ok(Held { message: Some(message) })),
                    Err(error) => error.lasting().map(Err),
                }
            })
        })
        .await
    }

    /// Waits until there is a message, an end, or damage to report, and leaves it there: for `try_recv`, `drain` and the like of
    /// [`mail`](Self::mail).
    pub async fn ready(&mut self) {
        poll_fn(|task| self.poll_ready(task)).await;
    }

    /// As [`ready`](Self::ready), for whoever polls by hand.
    pub fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.source.poll(task, &mut self.receiver, |receiver| receiver.has_event().then_some(()))
    }

    /// The receiver itself, awake, for everything that does not wait: `drain`, `finish_turn`, `damage`, `pressure`.
    ///
    /// # Blocking
    /// Its `recv` blocks the thread, and with it the runtime's other tasks there.
    pub fn mail(&mut self) -> &Receiver {
        self.source.disarm(&self.receiver);
        &self.receiver
    }

    /// Gives the receiver back.
    pub fn into_inner(self) -> Receiver {
        self.source.disarm(&self.receiver);
        self.receiver
    }
}

/// Payloads until every lane has closed or the queue was removed. Damage is skipped: [`Receiver::damage`] lists it.
#[cfg(feature = "stream")]
impl futures_core::Stream for AsyncReceiver {
    type Item = Vec<u8>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        loop {
            return match std::task::ready!(self.poll_recv(task)) {
                Ok(payload) => Poll::Ready(Some(payload)),
                Err(RecvError::Corrupt(_)) => continue,
                Err(_) => Poll::Ready(None),
            };
        }
    }
}

impl fmt::Debug for AsyncReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncReceiver").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// A message that is put back unless it is [`done`](Self::done) with; made by [`AsyncReceiver::hold`].
#[derive(Debug)]
#[must_use = "a message that is dropped is delivered again"]
pub struct Held<'a> {
    /// None once it is done with.
    message: Option<Message<'a>>,
}

impl Held<'_> {
    /// Releases the message: it is not delivered again.
    pub fn done(mut self) {
        if let Some(message) = self.message.take() {
            message.release();
        }
    }
}

impl<'a> Deref for Held<'a> {
    type Target = MessageRef<'a>;

    fn deref(&self) -> &MessageRef<'a> {
        self.message.as_ref().expect("it is given up only by `done`")
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            message.put_back();
        }
    }
}
