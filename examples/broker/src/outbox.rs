//! The sending ends: a thread for each mailbox, which owns a [`Mailbox`] and does what it is asked with it.

use crate::office::Limits;
use crate::refusal::Refusal;
use crate::workers::Jobs;
use axum::http::StatusCode;
use laneway::mailbox::{Mailbox, Post};

/// Something to be done with a mailbox.
pub(crate) struct Job {
    /// Whether the mailbox is made if there is none.
    pub(crate) creates: bool,
    pub(crate) act: Act,
}

/// Tells whoever asked, and returns whether the mailbox is still there.
pub(crate) type Act = Box<dyn FnOnce(Result<&mut Mailbox, Refusal>) -> bool + Send>;

/// A thread's life: until nobody has asked for a while.
pub(crate) fn work(post: &Post, limits: &Limits, name: &str, mut jobs: Jobs<Job>) {
    let mut mailbox: Option<Mailbox> = None;
    loop {
        // A name without a mailbox is worth no thread.
        let job = if mailbox.is_some() { jobs.wait(limits.idle) } else { jobs.next() };
        let Some(Job { creates, act }) = job else {
            if jobs.retire() {
                return;
            }
            continue;
        };
        let opened = match mailbox.take() {
            Some(opened) => Ok(opened),
            None => open(post, limits, name, creates),
        };
        match opened {
            Ok(mut opened) => mailbox = act(Ok(&mut opened)).then_some(opened),
            Err(refusal) => {
                act(Err(refusal));
            }
        }
    }
}

fn open(post: &Post, limits: &Limits, name: &str, creates: bool) -> Result<Mailbox, Refusal> {
    admit(post, limits, name, creates)?;
    Ok(post.mailbox(name)?)
}

/// Whether this mailbox may be opened: it exists, or may be made.
pub(crate) fn admit(post: &Post, limits: &Limits, name: &str, creates: bool) -> Result<(), Refusal> {
    if post.exists(name) {
        return Ok(());
    }
    if !creates {
        return Err(Refusal::no_agent(name));
    }
    match post.list()?.len() {
        there if there < limits.agents => Ok(()),
        there => {
            let sentence =
                format!("there are {there} mailboxes, and there may be {}: {name:?} is not made", limits.agents);
            Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, sentence))
        }
    }
}
