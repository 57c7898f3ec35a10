//! The queue: a mailbox for each team, and a thread that wakes those who sleep.

use crate::log;
use crate::task::Task;
use laneway::mailbox::{Content, Draft, Mailbox, Post, SendError, Ticket};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// What becomes of a task for a team that is asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// It is refused.
    Refuse,
    /// It waits until somebody wakes the team.
    Wait,
    /// The team is woken.
    Wake,
}

/// Why a task was not enqueued.
#[derive(Debug)]
pub(crate) enum NotEnqueued {
    Asleep,
    Full { team: String, max: u32 },
    Post(laneway::Error),
    Send(SendError),
}

impl fmt::Display for NotEnqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotEnqueued::Asleep => write!(f, "Team is asleep. Use 'wake' action first."),
            NotEnqueued::Full { team, max } => write!(f, "Queue for team {team:?} is full: it holds {max} tasks"),
            NotEnqueued::Post(error) => error.fmt(f),
            NotEnqueued::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotEnqueued {}

impl From<laneway::Error> for NotEnqueued {
    fn from(error: laneway::Error) -> NotEnqueued {
        NotEnqueued::Post(error)
    }
}

/// The statistics of a team's queue, named as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueStats {
    pub(crate) team_name: String,
    pub(crate) pending: u64,
    pub(crate) processed: u64,
    pub(crate) failed: u64,
    pub(crate) max_queue_size: u32,
}

pub(crate) struct AsyncQueue {
    post: Post,
    teams: HashMap<String, Mailbox>,
    to_wake: Sender<String>,
    waker: JoinHandle<()>,
}

impl AsyncQueue {
    pub(crate) fn new(post: &Post) -> AsyncQueue {
        let (to_wake, names) = channel();
        let of_waker = post.clone();
        let waker = std::thread::spawn(move || wake_all(&of_waker, &names));
        AsyncQueue { post: post.clone(), teams: HashMap::new(), to_wake, waker }
    }

    /// Makes a team's mailbox, with these limits.
    pub(crate) fn found(&mut self, name: &str, limits: &Post) -> Result<(), NotEnqueued> {
        self.teams.insert(name.to_owned(), limits.mailbox(name)?);
        Ok(())
    }

    /// The mailbox of a team.
    pub(crate) fn team(&mut self, name: &str) -> Result<&mut Mailbox, NotEnqueued> {
        if !self.teams.contains_key(name) {
            self.teams.insert(name.to_owned(), self.post.mailbox(name)?);
        }
        Ok(self.teams.get_mut(name).expect("just opened"))
    }

    /// Wakes a team that sleeps, some time soon.
    pub(crate) fn wake(&self, team: &str) {
        self.to_wake.send(team.to_owned()).expect("the waker lives as long as we do");
    }

    pub(crate) fn is_awake(&self, team: &str) -> Result<bool, NotEnqueued> {
        Ok(self.post.is_awake(team)?)
    }

    /// Enqueues a task, and returns its id at once.
    pub(crate) fn enqueue(&mut self, task: &Task, asleep: Asleep) -> Result<Ticket, NotEnqueued> {
        self.enqueue_with(task, asleep, |draft| draft)
    }

    /// As [`enqueue`](Self::enqueue), with more to it: a time after which it is worth nothing, a priority, and so on.
    pub(crate) fn enqueue_with(
        &mut self,
        task: &Task,
        asleep: Asleep,
        more: impl FnOnce(Draft<'_>) -> Draft<'_>,
    ) -> Result<Ticket, NotEnqueued> {
        let team = &task.to_team;
        if asleep == Asleep::Refuse && !self.is_awake(team)? {
            return Err(NotEnqueued::Asleep);
        }
        let body = serde_json::to_vec(task).expect("it has a form in JSON");
        let mailbox = self.team(team)?;
        let max = mailbox.settings().max_pending;
        let sent = more(mailbox.compose().content(Content::Json)).send(&body);
        let id = sent.map_err(|error| match error {
            SendError::Full { .. } => NotEnqueued::Full { team: team.clone(), max },
            error => NotEnqueued::Send(error),
        })?;
        let particulars = json!({ "taskId": id.to_string(), "type": task.kind, "toTeam": team });
        log::line("info", "Task enqueued", particulars);
        if asleep == Asleep::Wake {
            // Only now: whoever goes to sleep looks for tasks afterwards.
            self.wake(team);
        }
        Ok(id)
    }

    pub(crate) fn stats(&mut self, team: &str) -> Result<QueueStats, NotEnqueued> {
        let mailbox = self.team(team)?;
        let stats = mailbox.stats()?;
        Ok(QueueStats {
            team_name: team.to_owned(),
            pending: stats.pending,
            processed: stats.processed,
            failed: stats.failed,
            max_queue_size: mailbox.settings().max_pending,
        })
    }

    /// Waits for all teams to be asleep.
    pub(crate) fn close(self) {
        drop(self.to_wake);
        self.waker.join().expect("it wakes teams");
    }
}

/// Wakes whoever sleeps, one name after the other: each is looked at after its task was sent, and when nobody else of that name
/// is just being woken. Ends when nobody enqueues any more and all whom it woke are gone.
fn wake_all(post: &Post, names: &Receiver<String>) {
    let mut woken: Vec<Child> = Vec::new();
    for name in names {
        let waits = post.mailbox(&name).and_then(|mut mailbox| mailbox.pending()).unwrap_or(0) > 0;
        if !waits || post.is_awake(&name).unwrap_or(false) {
            continue;
        }
        log::line("info", "Waking team", json!({ "team": name }));
        let program = std::env::current_exe().expect("we are running");
        let team = Command::new(program).arg(post.root()).arg(&name).stdout(Stdio::piped()).spawn();
        let mut team = team.expect("this program can be started again");
        // It says that it is awake, or ends because another one is.
        let said = team.stdout.take().map(|output| BufReader::new(output).read_line(&mut String::new()));
        drop(said);
        woken.push(team);
        // Those who went to sleep meanwhile.
        woken.retain_mut(|team| !matches!(team.try_wait(), Ok(Some(_))));
    }
    for team in &mut woken {
        // How it ended, its mailbox tells.
        let _ = team.wait();
    }
}
