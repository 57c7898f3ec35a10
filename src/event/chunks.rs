//! An answer in chunks, in a task.

use super::source::{Bell, Notify, Sleeps, Source};
use crate::mailbox::{Chunk, Chunks, StreamError};
use crate::queue::Lookout;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// An answer that comes in chunks, for tasks, of any runtime. `Send`. With the feature `stream` it is a `futures_core::Stream`.
///
/// # Cancelling
/// [`next`](Self::next) may be dropped at any time: a chunk is taken in the poll that returns it. Dropping this cancels the answer
/// itself, as dropping [`Chunks`] does.
pub struct AsyncChunks {
    chunks: Chunks,
    source: Source,
}

impl Sleeps for Chunks {
    fn bell(&self) -> &dyn Bell {
        self.receiver().sleeper()
    }

    fn lookout(&self, known: Option<usize>) -> Option<Lookout> {
        Sleeps::lookout(self.receiver(), known)
    }
}

impl AsyncChunks {
    /// Has the answer watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one. The answer is cancelled then.
    pub fn new(chunks: Chunks) -> io::Result<AsyncChunks> {
        let source = Source::new(&chunks, Notify::Task)?;
        Ok(AsyncChunks { chunks, source })
    }

    /// The next chunk; none at the end. Never returns [`StreamError::Timeout`].
    pub async fn next(&mut self) -> Result<Option<Chunk>, StreamError> {
        poll_fn(|task| self.poll_chunk(task)).await
    }

    /// As [`next`](Self::next), for whoever polls by hand.
    pub fn poll_chunk(&mut self, task: &mut Context<'_>) -> Poll<Result<Option<Chunk>, StreamError>> {
        self.source.poll(task, &mut self.chunks, Chunks::try_next)
    }

    /// The answer itself: its ticket, and how much was discarded.
    pub fn get(&self) -> &Chunks {
        &self.chunks
    }

    /// Gives the answer back.
    pub fn into_inner(self) -> Chunks {
        self.source.disarm(&self.chunks);
        self.chunks
    }
}

/// Chunks until the end. An error does not end it, unless nothing comes after it: see [`StreamError`].
#[cfg(feature = "stream")]
impl futures_core::Stream for AsyncChunks {
    type Item = Result<Chunk, StreamError>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(task).map(Result::transpose)
    }
}

impl fmt::Debug for AsyncChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncChunks").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}
