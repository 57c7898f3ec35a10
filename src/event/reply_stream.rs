//! Answering in chunks, in a task.

use super::source::{Bell, Notify, Sleeps, Source};
use crate::mailbox::{ReplyError, ReplyStream};
use crate::queue::Lookout;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

/// An answer that is sent in chunks, for tasks, of any runtime. `Send`. Where a [`ReplyStream`] blocks until its reader has made room, it waits.
///
/// # Cancelling
/// A chunk is sent in the poll that returns `Ok` and in no other. Dropping this breaks the answer off.
pub struct AsyncReplyStream {
    answer: ReplyStream,
    source: Source,
}

impl Sleeps for ReplyStream {
    fn bell(&self) -> &dyn Bell {
        self.sender().sleeper()
    }

    fn lookout(&self, _known: Option<usize>) -> Option<Lookout> {
        None
    }
}

impl AsyncReplyStream {
    /// Has the answer's room watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one. The answer is broken off then.
    pub fn new(answer: ReplyStream) -> io::Result<AsyncReplyStream> {
        let source = Source::new(&answer, Notify::Task)?;
        Ok(AsyncReplyStream { answer, source })
    }

    /// Sends a chunk. Waits for room, for as long as the reader lives. Never returns [`ReplyError::Timeout`].
    pub async fn send(&mut self, chunk: &[u8]) -> Result<(), ReplyError> {
        poll_fn(|task| {
            self.source.poll(task, &mut self.answer, |answer| match answer.send_timeout(chunk, Duration::ZERO) {
                Err(ReplyError::Timeout) => None,
                said => Some(said),
            })
        })
        .await
    }

    /// The answer itself, for everything that does not wait; to say what is in the chunks, say.
    pub fn get_mut(&mut self) -> &mut ReplyStream {
        self.source.disarm(&self.answer);
        &mut self.answer
    }

    /// Gives the answer back; to finish it, say.
    pub fn into_inner(self) -> ReplyStream {
        self.source.disarm(&self.answer);
        self.answer
    }
}

impl fmt::Debug for AsyncReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncReplyStream").field("answer", &self.answer).finish_non_exhaustive()
    }
}
