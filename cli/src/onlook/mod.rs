//! The commands of those who look and take nothing. Each is a module; here is what they have in common.

pub(crate) mod args;
mod dump;
mod peek;
mod record;
mod replay;
mod show;
mod tail;

pub(crate) use dump::run as dump;
pub(crate) use peek::run as peek;
pub(crate) use record::run as record;
pub(crate) use replay::run as replay;
pub(crate) use tail::run as tail;

use crate::place;
use anyhow::{Result, bail};
use laneway::mailbox::{self, Mailbox};
use laneway::{Queue, Since, Traffic};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// What the user means by a name: a queue if there is one, else a mailbox.
enum Place {
    Queue(Queue),
    Mailbox(Box<Mailbox>),
}

impl Place {
    fn find(named: &OsStr) -> Result<Place> {
        let path = place::queue(named)?;
        if Queue::exists(&path) {
            return Ok(Place::Queue(Queue::open(path)?));
        }
        let (post, name) = place::mailbox(named)?;
        if !post.exists(&name) {
            bail!("there is no queue at {path:?}, and no mailbox at {:?}", post.root().join(&name));
        }
        Ok(Place::Mailbox(Box::new(post.find(&name)?)))
    }

    fn path(&self) -> &Path {
        match self {
            Place::Queue(queue) => queue.path(),
            Place::Mailbox(mailbox) => mailbox.path(),
        }
    }

    fn tail(&self, since: Since) -> Result<Tail> {
        Ok(match self {
            Place::Queue(queue) => Tail::Queue(queue.observe()?.tail(since)),
            Place::Mailbox(mailbox) => Tail::Mailbox(mailbox.tail(since)?),
        })
    }
}

/// Live traffic of either.
enum Tail {
    Queue(laneway::Tail),
    Mailbox(mailbox::Tail),
}

impl Tail {
    /// The next thing there is to see, as it is shown; none when nothing came for so long.
    fn next(&mut self, timeout: Option<Duration>) -> Result<Option<show::Shown>> {
        Ok(match self {
            Tail::Queue(tail) => tail.next(timeout)?.map(|traffic| shown(traffic, |seen| show::peeked(&seen))),
            Tail::Mailbox(tail) => tail.next(timeout)?.map(|traffic| shown(traffic, |seen| show::mail(&seen))),
        })
    }
}

fn shown<M>(traffic: Traffic<M>, message: impl FnOnce(M) -> show::Shown) -> show::Shown {
    match traffic {
        Traffic::Message(seen) => message(seen),
        other => show::event(&other),
    }
}
