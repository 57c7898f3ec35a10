//! Serving a mailbox in a task.

use super::source::{Bell, Notify, Sleeps, Source};
use crate::mailbox::{Delivery, Inbox, RecvError};
use crate::queue::Lookout;
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

/// The serving end of a mailbox, for tasks that stay on one thread, of any runtime.
///
/// # Cancelling
/// [`recv`](Self::recv) may be dropped at any time: a message is handed out in the poll that returns it. Several tasks may wait in it. So may the task that works on
/// a [`Delivery`]: unless that was settled it is handed out again, with the attempt counted.
pub struct AsyncInbox {
    inbox: Inbox,
    source: Source,
    /// How many have waited, from 1.
    waits: Cell<u64>,
}

/// One who waits, among several.
struct Waiting<'a> {
    source: &'a Source,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.source.leave(self.number);
    }
}

impl Sleeps for Inbox {
    fn bell(&self) -> &dyn Bell {
        self.mail().sleeper()
    }

    fn lookout(&self, known: Option<usize>) -> Option<Lookout> {
        Sleeps::lookout(self.mail(), known)
    }
}

impl AsyncInbox {
    /// Has the mailbox watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one.
    pub fn new(inbox: Inbox) -> io::Result<AsyncInbox> {
        let source = Source::new(&inbox, Notify::Task)?;
        Ok(AsyncInbox { inbox, source, waits: Cell::new(1) })
    }

    /// The next message. Waits until there is one, or one that is kept for later is due. Never returns [`RecvError::Timeout`].
    pub async fn recv(&self) -> Result<Delivery<'_>, RecvError> {
        let mut inbox = &self.inbox;
        let waiting = Waiting { source: &self.source, number: self.waits.get() };
        self.waits.set(waiting.number + 1);
        poll_fn(move |task| {
            let answer = self.source.poll_as(waiting.number, task, &mut inbox, |inbox| {
                // For as long as we are borrowed.
                let inbox = *inbox;
                inbox.try_recv().transpose()
            });
            if answer.is_pending()
                && let Some(due) = inbox.due()
            {
                // Not at once: what is due was looked for just now, and the bridge counts in other units.
                self.source.tell_in(due.max(Duration::from_millis(1)));
            }
            answer
        })
        .await
    }

    /// The mailbox itself, for everything that does not wait; who waits in [`recv`](Self::recv) looks once more.
    pub fn get(&self) -> &Inbox {
        self.source.disarm_for_all(&self.inbox);
        &self.inbox
    }

    /// Gives the mailbox back.
    pub fn into_inner(self) -> Inbox {
        self.source.disarm(&self.inbox);
        self.inbox
    }
}

impl fmt::Debug for AsyncInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncInbox").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}
