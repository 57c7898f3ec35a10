//! Sending in a task.

use super::source::{Notify, Source};
use crate::error::{SendError, TrySendError};
use crate::queue::{Claim, Sender, Sent};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

/// A sender for tasks, of any runtime: it needs none of its own. `Send`. Where a [`Sender`] blocks, it waits: for room, and for its rate
/// limit. What its [`OnFull`](crate::OnFull) says otherwise holds here too.
///
/// # Cancelling
/// A message is committed in the poll that returns `Ok` and in no other: a future that is dropped before has sent nothing, and nothing is
/// sent twice. Who may not lose its payload with the future takes [`reserve`](Self::reserve), and makes it when there is room.
pub struct AsyncSender {
    sender: Sender,
    source: Source,
}

impl AsyncSender {
    /// Has the sender watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one.
    pub fn new(sender: Sender) -> io::Result<AsyncSender> {
        let source = Source::new(&sender, Notify::Task)?;
        Ok(AsyncSender { sender, source })
    }

    /// Sends a message. Waits for room. Never returns [`SendError::Timeout`].
    pub async fn send(&mut self, payload: &[u8]) -> Result<Sent, SendError> {
        poll_fn(|task| self.poll_send(task, payload)).await
    }

    /// As [`send`](Self::send), for whoever polls by hand.
    pub fn poll_send(&mut self, task: &mut Context<'_>, payload: &[u8]) -> Poll<Result<Sent, SendError>> {
        self.poll(task, |sender| sender.try_send(payload))
    }

    /// Room for a message of `len` bytes. Waits until there is some. Nothing is sent before [`Claim::commit`]; a claim that is dropped
    /// never happened.
    pub async fn reserve(&mut self, len: usize) -> Result<Claim<'_>, SendError> {
        // The room stays: nobody else sends through this lane. A claim of its own would be charged to the sender's rate.
        poll_fn(|task| self.poll(task, |sender| sender.has_room(len))).await?;
        Ok(self.sender.try_claim(len)?)
    }

    /// The sender itself, for everything that does not wait.
    pub fn get_mut(&mut self) -> &mut Sender {
        self.source.disarm(&self.sender);
        &mut self.sender
    }

    /// Gives the sender back; to close it, say.
    pub fn into_inner(self) -> Sender {
        self.source.disarm(&self.sender);
        self.sender
    }

    fn poll<T>(
        &mut self,
        task: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Sender) -> Result<T, TrySendError>,
    ) -> Poll<Result<T, SendError>> {
        let mut due = None;
        let answer = self.source.poll(task, &mut self.sender, |sender| match attempt(sender) {
            Err(TrySendError::Full | TrySendError::NoSpace) if sender.waits_for_room() => None,
            Err(TrySendError::RateLimited { wait_ms }) if sender.waits_for_room() => {
                due = Some(Duration::from_millis(wait_ms.into()));
                None
            }
            Err(error) => Some(Err(error.into())),
            Ok(done) => Some(Ok(done)),
        });
        if let (Poll::Pending, Some(due)) = (&answer, due) {
            self.source.tell_in(due);
        }
        answer
    }
}

impl fmt::Debug for AsyncSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSender").field("sender", &self.sender).finish_non_exhaustive()
    }
}
