//! A team: a process that works on one task after the other until it is told to sleep, or nothing has come for a while.

use crate::log;
use crate::task::{Kind, Report, Task};
use laneway::Cause;
use laneway::mailbox::{Delivery, Inbox, Mailbox, Post, RecvError};
use laneway_measure::Clock;
use nix::sys::signal::{Signal, raise};
use serde_json::json;
use std::error::Error;
use std::time::Duration;

/// The mailbox to which teams report.
pub(crate) const IRIS: &str = "iris";

/// For how long nothing comes until a team sleeps.
const IDLE: Duration = Duration::from_secs(30);

pub(crate) fn work(post: &Post, name: &str) -> Result<(), Box<dyn Error>> {
    let mut iris = post.mailbox(IRIS)?;
    let mut said_so = false;
    loop {
        let inbox = match post.serve(name) {
            // Somebody else was woken, too, and was first.
            Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => return Ok(()),
            inbox => inbox?,
        };
        if !std::mem::replace(&mut said_so, true) {
            println!("awake");
        }
        serve(post, &inbox, name, &mut iris)?;
        drop(inbox);
        // From here on the team is asleep for whoever enqueues, and he looks after he has sent. What was sent before is
        // seen here: one of the two sees the other, and no task waits for an unrelated one.
        if post.mailbox(name)?.pending()? == 0 {
            log::line("info", "Team sleeps", json!({ "team": name }));
            return Ok(());
        }
    }
}

/// Works until the team is to sleep.
fn serve(post: &Post, inbox: &Inbox, name: &str, iris: &mut Mailbox) -> Result<(), Box<dyn Error>> {
    loop {
        let delivery = match inbox.recv_timeout(IDLE) {
            Err(RecvError::Timeout) => return Ok(()),
            delivery => delivery?,
        };
        let Ok(task) = serde_json::from_slice::<Task>(&delivery.body()) else {
            delivery.reject()?;
            continue;
        };
        let (id, attempt, begun_ns) = (delivery.ticket().to_string(), delivery.attempt(), Clock::monotonic_ns());
        log::line("info", "Processing task", json!({ "taskId": id, "type": task.kind, "toTeam": name }));
        let done = process(post, &task, &delivery);
        let ended_ns = Clock::monotonic_ns();
        let duration = (ended_ns - begun_ns) / 1_000_000;
        match &done {
            Ok(response) => {
                let particulars = json!({ "taskId": id, "duration": duration, "responseLength": response.len() });
                log::line("info", "Task completed successfully", particulars);
            }
            Err(failure) => log::line("error", "Task failed", json!({ "taskId": id, "error": failure.sentence() })),
        }
        let success = done.is_ok();
        let report = Report { team: name.to_owned(), content: task.content, attempt, success, begun_ns, ended_ns };
        iris.send(&serde_json::to_vec(&report)?)?;
        match done {
            Ok(_) => delivery.ack(),
            Err(Failure::Now(_)) => delivery.nack()?,
            Err(Failure::Forever(_)) => delivery.reject()?,
        }
        if success && task.kind == Kind::Sleep {
            return Ok(());
        }
    }
}

/// Why a task was not done.
enum Failure {
    /// It is worth another attempt.
    Now(String),
    Forever(String),
}

impl Failure {
    fn sentence(&self) -> &str {
        match self {
            Failure::Now(sentence) | Failure::Forever(sentence) => sentence,
        }
    }
}

/// The work itself, in place of an agent's.
fn process(post: &Post, task: &Task, delivery: &Delivery<'_>) -> Result<String, Failure> {
    let first = delivery.attempt() == 1;
    match (task.kind, task.content.as_str()) {
        (Kind::Command, "fail") => Err(Failure::Forever("there is no such command".to_owned())),
        (Kind::Command, "flaky") if first => Err(Failure::Now("it works the second time".to_owned())),
        (Kind::Command, "crash") if first => {
            // Nothing of this process remains but what it has said.
            let _ = raise(Signal::SIGKILL);
            Err(Failure::Now("it cannot die".to_owned()))
        }
        (Kind::Command, "meet") => meet(post, task),
        (Kind::Tell | Kind::Command | Kind::Sleep, content) => Ok(format!("{content}, done")),
    }
}

/// Waits for the other team, which waits for this one: never, if the teams worked one after the other.
fn meet(post: &Post, task: &Task) -> Result<String, Failure> {
    let other = task.args.as_deref().unwrap_or_default();
    let met = (|| {
        let place = |team: &str| format!("{team}.meets");
        post.mailbox(&place(other))?.send(b"here")?;
        post.serve(&place(&task.to_team))?.recv_timeout(Duration::from_secs(60))?.ack();
        Ok(format!("met {other}"))
    })();
    met.map_err(|error: Box<dyn Error>| Failure::Forever(error.to_string()))
}
