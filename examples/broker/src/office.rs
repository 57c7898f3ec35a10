//! Everything that the routes need: the mailboxes' threads, and which mailbox a ticket belongs to.

use crate::inbox::{self, Mail, Outcome, Serving, Taker};
use crate::outbox;
use crate::refusal::Refusal;
use crate::workers::Workers;
use axum::http::StatusCode;
use laneway::check_name;
use laneway::mailbox::{Mailbox, Post, Settings, State, Ticket};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};

/// What the broker admits.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) body: usize,
    pub(crate) agents: usize,
    pub(crate) pending: u32,
    pub(crate) streams: usize,
    pub(crate) idle: Duration,
}

/// The broker behind its routes.
pub(crate) struct Office {
    pub(crate) post: Post,
    pub(crate) limits: Limits,
    pub(crate) streams: Arc<Semaphore>,
    outboxes: Workers<outbox::Job>,
    inboxes: Workers<inbox::Job>,
    /// Mailboxes by what their tickets begin with.
    names: Mutex<HashMap<String, String>>,
}

impl Office {
    pub(crate) fn open(root: &Path, limits: Limits) -> Arc<Office> {
        let settings = Settings { max_pending: limits.pending, ..Settings::default() };
        // Each body that is admitted has room, in its sender's lane and behind it.
        let room = (limits.body as u64 * 2).next_multiple_of(4096).clamp(1 << 20, 1 << 30);
        let options = laneway::Queue::options().capacity(64 << 10).overflow_limit(room);
        let post = Post::open(root).settings(settings).queue_options(options).from("http");
        Arc::new(Office {
            streams: Arc::new(Semaphore::new(limits.streams)),
            outboxes: Workers::new(limits.agents, {
                let (post, limits) = (post.clone(), limits.clone());
                move |name, jobs| outbox::work(&post, &limits, name, jobs)
            }),
            inboxes: Workers::new(limits.agents, {
                let (post, limits) = (post.clone(), limits.clone());
                move |name, jobs| inbox::work(&post, &limits, name, jobs)
            }),
            names: Mutex::default(),
            limits,
            post,
        })
    }

    /// Does something with a mailbox, in its thread.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        name: &str,
        creates: bool,
        question: impl FnOnce(&mut Mailbox) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        check_name(name)?;
        let (answer, waiting) = oneshot::channel();
        let act = Box::new(move |mailbox: Result<&mut Mailbox, Refusal>| {
            let found = mailbox.and_then(question);
            let is_there = !found.as_ref().is_err_and(Refusal::is_gone);
            // Whoever asked may have hung up.
            let _ = answer.send(found);
            is_there
        });
        self.outboxes.submit(name, outbox::Job { creates, act }).await?;
        waiting.await.unwrap_or_else(|_| Err(Refusal::broken(name)))
    }

    /// The next message of a mailbox, if one comes in time.
    pub(crate) async fn take(&self, name: &str, wait: Duration, lease: Duration) -> Result<Option<Mail>, Refusal> {
        check_name(name)?;
        let (answer, waiting) = oneshot::channel();
        let taker = Taker { until: Instant::now() + wait, lease, answer };
        let act = Box::new(move |serving: Result<&mut Serving<'_>, Refusal>| match serving {
            Ok(serving) => serving.wait_for_mail(taker),
            // Whoever asked may have hung up.
            Err(refusal) => drop(taker.answer.send(Err(refusal))),
        });
        self.inboxes.submit(name, inbox::Job { creates: true, act }).await?;
        let taken = waiting.await.unwrap_or_else(|_| Err(Refusal::broken(name)))?;
        if let Some(mail) = &taken {
            self.note(&mail.ticket, name);
        }
        Ok(taken)
    }

    /// Says what comes of a message that was taken.
    pub(crate) async fn settle(&self, name: &str, ticket: Ticket, outcome: Outcome) -> Result<(), Refusal> {
        check_name(name)?;
        let (answer, waiting) = oneshot::channel();
        let act = Box::new(move |serving: Result<&mut Serving<'_>, Refusal>| {
            // Whoever asked may have hung up.
            let _ = answer.send(serving.and_then(|serving| serving.settle(ticket, outcome)));
        });
        self.inboxes.submit(name, inbox::Job { creates: false, act }).await?;
        waiting.await.unwrap_or_else(|_| Err(Refusal::broken(name)))
    }

    /// Remembers whose ticket this is.
    pub(crate) fn note(&self, ticket: &Ticket, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.get(&mailbox_of(ticket)).is_none_or(|known| known != name) {
            // Mailboxes that are gone are found out anew.
            if names.len() >= 4 * self.limits.agents {
                names.clear();
            }
            names.insert(mailbox_of(ticket), name.to_owned());
        }
    }

    /// The name of the mailbox that a ticket belongs to. One that this broker has not seen yet is looked for in all.
    pub(crate) async fn whose(&self, ticket: Ticket) -> Result<String, Refusal> {
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&mailbox_of(&ticket)).cloned();
        if let Some(name) = known {
            return Ok(name);
        }
        for name in self.agents().await? {
            let state = self.ask(&name, false, move |mailbox| Ok(mailbox.status(&ticket)?.state)).await;
            if state.is_ok_and(|state| state != State::Unknown) {
                self.note(&ticket, &name);
                return Ok(name);
            }
        }
        let sentence =
            format!("no mailbox here knows {ticket}: it is long done with, or there never was such a message");
        Err(Refusal::new(StatusCode::NOT_FOUND, sentence))
    }

    /// The names of all mailboxes.
    pub(crate) async fn agents(&self) -> Result<Vec<String>, Refusal> {
        let post = self.post.clone();
        blocking(move || Ok(post.list()?)).await
    }
}

/// Does something that blocks for a moment, where nobody waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::broken("it")))
}

/// The part of a ticket that names its mailbox.
fn mailbox_of(ticket: &Ticket) -> String {
    ticket.to_string().split('-').next().unwrap_or_default().to_owned()
}
