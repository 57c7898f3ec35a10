//! The serving ends: a thread for each mailbox that somebody takes from, which owns its [`Inbox`] and the messages that were taken over
//! HTTP. The kernel does not say when an agent dies that is only a client, so what it took is lent for a time.

use crate::office::Limits;
use crate::outbox::admit;
use crate::refusal::Refusal;
use crate::workers::Jobs;
use axum::http::StatusCode;
use laneway::Wait;
use laneway::mailbox::{Content, Delivery, Inbox, Post, RecvError, Ticket};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Something to be done where a mailbox is served.
pub(crate) struct Job {
    /// Whether the mailbox is made if there is none.
    pub(crate) creates: bool,
    pub(crate) act: Act,
}

/// Tells whoever asked, or keeps them until there is something to tell.
pub(crate) type Act = Box<dyn for<'a> FnOnce(Result<&mut Serving<'a>, Refusal>) + Send>;

/// A message that goes out.
pub(crate) struct Mail {
    pub(crate) ticket: Ticket,
    pub(crate) body: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) from: String,
    pub(crate) attempt: u32,
    pub(crate) age: Duration,
}

/// One who waits for a message.
pub(crate) struct Taker {
    /// For how long.
    pub(crate) until: Instant,
    /// For how long the message is lent.
    pub(crate) lease: Duration,
    pub(crate) answer: oneshot::Sender<Result<Option<Mail>, Refusal>>,
}

/// What comes of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Ack,
    Nack,
    Reject,
    /// None yet: it is lent anew.
    Progress,
}

struct Lent<'a> {
    delivery: Delivery<'a>,
    lease: Duration,
    until: Instant,
}

/// A mailbox that is being served.
pub(crate) struct Serving<'a> {
    inbox: &'a Inbox,
    lent: HashMap<Ticket, Lent<'a>>,
    takers: VecDeque<Taker>,
}

/// While somebody waits for a message, others wait at most so long until they are heard.
const SLICE: Duration = Duration::from_millis(5);

/// A thread's life: until nobody has asked for a while, and nothing is lent.
pub(crate) fn work(post: &Post, limits: &Limits, name: &str, mut jobs: Jobs<Job>) {
    loop {
        match jobs.next() {
            Some(job) => {
                let served = admit(post, limits, name, job.creates).and_then(|()| Ok(post.serve(name)?));
                match served {
                    Ok(inbox) => {
                        inbox.set_wait(Wait::Park);
                        let mut serving = Serving { inbox: &inbox, lent: HashMap::new(), takers: VecDeque::new() };
                        (job.act)(Ok(&mut serving));
                        return serving.serve(limits.idle, &mut jobs);
                    }
                    Err(refusal) => (job.act)(Err(refusal)),
                }
            }
            None if jobs.retire() => return,
            None => {}
        }
    }
}

impl Serving<'_> {
    fn serve(&mut self, idle: Duration, jobs: &mut Jobs<Job>) {
        loop {
            self.reclaim();
            self.hand_out();
            let job = match (self.takers.is_empty(), self.next_reclaim()) {
                (false, _) => jobs.next(),
                (true, Some(due)) => jobs.wait(due.saturating_duration_since(Instant::now())),
                (true, None) => match jobs.wait(idle) {
                    None if jobs.retire() => return,
                    job => job,
                },
            };
            if let Some(job) = job {
                (job.act)(Ok(self));
            }
        }
    }

    /// Somebody wants a message.
    pub(crate) fn wait_for_mail(&mut self, taker: Taker) {
        self.takers.push_back(taker);
    }

    /// Says what comes of a message that was taken here.
    pub(crate) fn settle(&mut self, ticket: Ticket, outcome: Outcome) -> Result<(), Refusal> {
        if let (Outcome::Progress, Some(lent)) = (outcome, self.lent.get_mut(&ticket)) {
            lent.delivery.in_progress();
            lent.until = Instant::now() + lent.lease;
            return Ok(());
        }
        let Some(Lent { delivery, .. }) = self.lent.remove(&ticket) else {
            let sentence =
                format!("{ticket} is not in anybody's hands here: GET /tickets/{ticket} says what became of it");
            return Err(Refusal::new(StatusCode::CONFLICT, sentence));
        };
        match outcome {
            Outcome::Nack => delivery.nack()?,
            Outcome::Reject => delivery.reject()?,
            Outcome::Ack | Outcome::Progress => delivery.ack(),
        }
        Ok(())
    }

    /// Gives messages to those who wait; whoever has waited for long enough is told that there is none.
    fn hand_out(&mut self) {
        // Whoever hung up wants nothing any more.
        self.takers.retain(|taker| !taker.answer.is_closed());
        while let Some(first) = self.takers.front() {
            let left = first.until.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left.min(SLICE)) {
                Ok(delivery) => self.lend(delivery),
                Err(RecvError::Timeout) => {
                    let now = Instant::now();
                    while let Some(over) = self.takers.iter().position(|taker| taker.until <= now) {
                        self.answer(over, Ok(None));
                    }
                    return;
                }
                Err(error) => {
                    self.answer(0, Err(error.into()));
                }
            }
        }
    }

    fn answer(&mut self, taker: usize, answer: Result<Option<Mail>, Refusal>) {
        if let Some(taker) = self.takers.remove(taker) {
            // Nobody is left to be told.
            let _ = taker.answer.send(answer);
        }
    }
}

impl<'a> Serving<'a> {
    fn lend(&mut self, delivery: Delivery<'a>) {
        let Some(taker) = self.takers.pop_front() else { return };
        let mail = Mail {
            ticket: delivery.ticket(),
            body: delivery.body(),
            content: delivery.content(),
            from: delivery.from(),
            attempt: delivery.attempt(),
            age: delivery.age(),
        };
        let ticket = mail.ticket;
        if taker.answer.send(Ok(Some(mail))).is_ok() {
            let until = Instant::now() + taker.lease;
            self.lent.insert(ticket, Lent { delivery, lease: taker.lease, until });
        } else {
            // They hung up in the meantime. What cannot be kept for later comes again at once.
            let _ = delivery.nack_after(Duration::ZERO);
        }
    }

    fn next_reclaim(&self) -> Option<Instant> {
        self.lent.values().map(|lent| lent.until).min()
    }

    /// Takes back what was lent for too long.
    fn reclaim(&mut self) {
        let now = Instant::now();
        let over = |(ticket, lent): (&Ticket, &Lent<'_>)| (lent.until <= now).then_some(*ticket);
        let over: Vec<Ticket> = self.lent.iter().filter_map(over).collect();
        for lent in over.iter().filter_map(|ticket| self.lent.remove(ticket)) {
            // What cannot be kept for later comes again at once.
            let _ = lent.delivery.nack_after(Duration::ZERO);
        }
    }
}
