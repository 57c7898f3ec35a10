//! The sending end of a mailbox: answers and outcomes, in a task and as a descriptor.

use super::alarm::{Alarm, Rearmed};
use super::source::{Bell, Notify, Sleeps, Source};
use crate::error::{Cause, Error};
use crate::mailbox::{Answer, Mailbox, RequestError, SendError, State, Status, Ticket};
use crate::queue::Lookout;
use std::borrow::BorrowMut;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The sending end of a mailbox, for tasks, of any runtime. `Send`.
///
/// # Cancelling
/// Every future here may be dropped at any time. That of a [`request`](Self::request) sends it when it is polled first; what is answered after it was
/// dropped is discarded, and counted by [`Mailbox::late_answers`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let post = laneway::mailbox::Post::open(dir.path().join("post"));
/// # let inbox = post.serve("backend")?;
/// use laneway::event::AsyncMailbox;
/// let mut backend = AsyncMailbox::new(post.mailbox("backend")?)?;
/// let ticket = backend.get_mut().send(b"run the tests")?;
/// # inbox.recv()?.ack();
/// # let mut task = std::task::Context::from_waker(std::task::Waker::noop());
/// # let future = async {
/// let status = backend.wait(&ticket).await?;
/// println!("{status}");
/// # Ok::<(), laneway::Error>(())
/// # };
/// # assert!(matches!(std::pin::pin!(future).poll(&mut task), std::task::Poll::Ready(Ok(()))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncMailbox {
    mailbox: Mailbox,
    outcomes: Source,
    /// From the first request on; of the queue for answers with this number.
    answers: Option<(u64, Source)>,
}

/// A mailbox, as one who waits for an outcome.
struct ForOutcome<'a>(&'a mut Mailbox);

/// A mailbox, as one who waits for an answer.
struct ForAnswer<'a>(&'a mut Mailbox);

impl Sleeps for ForOutcome<'_> {
    fn bell(&self) -> &dyn Bell {
        self.0.ledger_view()
    }

    fn lookout(&self, _known: Option<usize>) -> Option<Lookout> {
        None
    }
}

impl Sleeps for ForAnswer<'_> {
    fn bell(&self) -> &dyn Bell {
        self.0.answers().expect("there was a request").1.sleeper()
    }

    fn lookout(&self, known: Option<usize>) -> Option<Lookout> {
        self.0.answers().and_then(|(_, answers)| Sleeps::lookout(answers, known))
    }
}

impl AsyncMailbox {
    /// Has the mailbox watched for.
    ///
    /// # Errors
    /// When there are no threads left: the first of a process starts one.
    pub fn new(mut mailbox: Mailbox) -> io::Result<AsyncMailbox> {
        let outcomes = Source::new(&ForOutcome(&mut mailbox), Notify::Task)?;
        Ok(AsyncMailbox { mailbox, outcomes, answers: None })
    }

    /// Sends a request and waits for its answer. Never returns [`RequestError::Timeout`].
    pub async fn request(&mut self, body: &[u8]) -> Result<Answer, RequestError> {
        let ticket = self.mailbox.ask(body).map_err(RequestError::Send)?;
        let mut of = ForAnswer(&mut self.mailbox);
        let number = of.0.answers().map_or(0, |(number, _)| number);
        // Who has the mailbox may have put another in its place.
        if self.answers.as_ref().is_none_or(|(known, _)| *known != number) {
            let source = Source::new(&of, Notify::Task).map_err(|error| no_threads(of.0, error))?;
            self.answers = Some((number, source));
        }
        let source = self.answers.as_mut().map(|(_, source)| source).expect("it is there now");
        poll_fn(move |task| source.poll(task, &mut of, |of| of.0.try_answer(ticket))).await
    }

    /// Waits until nothing more will become of the message.
    pub async fn wait(&mut self, ticket: &Ticket) -> Result<Status, Error> {
        self.wait_until(ticket, |state| state.is_final() || state == State::Unknown).await
    }

    /// Waits until `wanted` says that it has waited for that state.
    pub async fn wait_until(&mut self, ticket: &Ticket, wanted: impl Fn(State) -> bool) -> Result<Status, Error> {
        let status = move |mailbox: &mut Mailbox| match mailbox.status(ticket) {
            Ok(status) if !wanted(status.state) => None,
            answer => Some(answer),
        };
        self.until(status).await
    }

    /// Waits until `look` finds something. It is called again when something has become of any message of this mailbox: for one who waits for
    /// several.
    pub async fn until<T>(&mut self, mut look: impl FnMut(&mut Mailbox) -> Option<T>) -> T {
        let (mut of, source) = (ForOutcome(&mut self.mailbox), &mut self.outcomes);
        poll_fn(move |task| source.poll(task, &mut of, |of| look(of.0))).await
    }

    /// The mailbox itself, for everything that does not wait.
    pub fn get_mut(&mut self) -> &mut Mailbox {
        if let Some((_, source)) = &self.answers {
            source.disarm(&ForAnswer(&mut self.mailbox));
        }
        &mut self.mailbox
    }

    /// Gives the mailbox back.
    pub fn into_inner(mut self) -> Mailbox {
        self.get_mut();
        self.mailbox
    }
}

fn no_threads(mailbox: &Mailbox, source: io::Error) -> RequestError {
    let cause = Cause::Io { file: String::new(), source };
    RequestError::Send(SendError::Attach(Error::new("wait for an answer from", mailbox.path(), cause)))
}

impl fmt::Debug for AsyncMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMailbox").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

/// A mailbox with a descriptor that is readable when something may have become of its messages: as [`Events`](super::Events), for one who waits for
/// outcomes. Made from a mailbox, or from a `&mut` to one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let post = laneway::mailbox::Post::open(dir.path().join("post"));
/// use laneway::event::{OutcomeEvents, Rearmed};
/// use laneway::mailbox::State;
/// let mut backend = OutcomeEvents::new(post.mailbox("backend")?)?;
/// let ticket = backend.mailbox().send(b"run the tests")?;
/// // ... register `backend.as_fd()` for reading, and whenever it is readable:
/// let seen = backend.mailbox().status(&ticket)?.state;
/// assert_eq!(backend.rearm(&[(ticket, seen)]), Rearmed::Quiet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OutcomeEvents<M: BorrowMut<Mailbox> = Mailbox> {
    mailbox: M,
    alarm: Alarm,
}

impl<M: BorrowMut<Mailbox>> OutcomeEvents<M> {
    /// Has the mailbox watched for. Readable from the start, so that the first turn looks.
    ///
    /// # Errors
    /// When there are no descriptors left, or no threads: the first of a process starts one.
    pub fn new(mut mailbox: M) -> io::Result<OutcomeEvents<M>> {
        let alarm = Alarm::new(&ForOutcome(mailbox.borrow_mut()))?;
        Ok(OutcomeEvents { mailbox, alarm })
    }

    /// The mailbox.
    pub fn mailbox(&mut self) -> &mut Mailbox {
        self.mailbox.borrow_mut()
    }

    /// From here on the descriptor becomes readable when something becomes of any message; says whether one of these is not in the state any
    /// more in which it was seen, or cannot be asked about.
    pub fn rearm(&mut self, seen: &[(Ticket, State)]) -> Rearmed {
        let has_changed = |of: &mut ForOutcome<'_>| {
            seen.iter().any(|(ticket, state)| of.0.status(ticket).map_or(true, |status| status.state != *state))
        };
        self.alarm.rearm(&mut ForOutcome(self.mailbox.borrow_mut()), has_changed)
    }

    /// Gives the mailbox back.
    pub fn into_inner(self) -> M {
        self.mailbox
    }
}

impl<M: BorrowMut<Mailbox>> AsFd for OutcomeEvents<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

impl<M: BorrowMut<Mailbox>> AsRawFd for OutcomeEvents<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<M: BorrowMut<Mailbox>> fmt::Debug for OutcomeEvents<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutcomeEvents").field("mailbox", self.mailbox.borrow()).finish_non_exhaustive()
    }
}
