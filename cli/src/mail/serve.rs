//! `laneway serve`: one thread holds the messages and settles them; each command has a thread that waits for its end and says so.

use super::args::Serve;
use super::command::{Output, Running};
use super::content_word;
use crate::output;
use anyhow::{Context, Result, bail};
use laneway::Cause;
use laneway::mailbox::{Delivery, Inbox, Post, RecvError};
use nix::sys::signal::Signal;
use serde::Serialize;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A message that will never succeed: EX_DATAERR of sysexits.h.
const DATAERR: i32 = 65;

pub(crate) fn run(args: Serve, json: bool) -> Result<ExitCode> {
    let (post, name) = args.making.place(&args.name)?;
    let inbox = serve(&post, &name)?;
    args.making.compare(&name, inbox.settings());
    let (tell, events) = mpsc::channel();
    let (stop, interrupter) = (tell.clone(), inbox.interrupter());
    let stop = move || {
        // When nobody listens any more, we are going.
        let _ = stop.send(Event::Stop);
        interrupter.interrupt();
    };
    ctrlc::set_handler(stop).context("cannot watch for Ctrl-C")?;
    let mut server = Server {
        args: &args,
        json,
        mailbox: [("LANEWAY_MAILBOX", name), ("LANEWAY_POST", super::absolute(post.root()))],
        inbox: &inbox,
        tell,
        events,
        jobs: Vec::new(),
        taken: 0,
        idle_since: Instant::now(),
        stops: 0,
    };
    server.work()?;
    Ok(if server.taken > 0 || server.stops > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes the place of the one who serves the mailbox.
fn serve(post: &Post, name: &str) -> Result<Inbox> {
    match post.serve(name) {
        Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => {
            bail!("cannot serve {:?}: another process serves it already", post.root().join(name))
        }
        answer => Ok(answer?),
    }
}

/// What the one thread is told.
enum Event {
    /// This job's command has ended.
    Ended(u64),
    /// The user wants to stop.
    Stop,
}

/// A message, and the command that deals with it.
struct Job<'a> {
    number: u64,
    /// Before the message: when both are dropped, it is handed out again after its command is dead.
    running: Running,
    delivery: Delivery<'a>,
    deadline: Option<Instant>,
    timed_out: bool,
}

struct Server<'a> {
    args: &'a Serve,
    json: bool,
    /// What the environment says of the mailbox.
    mailbox: [(&'static str, String); 2],
    inbox: &'a Inbox,
    tell: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    jobs: Vec<Job<'a>>,
    taken: u64,
    idle_since: Instant,
    stops: u32,
}

impl<'a> Server<'a> {
    fn work(&mut self) -> Result<()> {
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.handle(event)?;
            }
            self.kill_overdue();
            let is_last = self.stops > 0 || self.args.once && self.taken > 0;
            if is_last && self.jobs.is_empty() {
                return Ok(());
            }
            if is_last || self.jobs.len() >= self.args.concurrency as usize {
                self.wait_for_event(self.time_left())?;
                continue;
            }
            // An event interrupts it.
            let taken = match self.time_left() {
                Some(left) => self.inbox.recv_timeout(left),
                None => self.inbox.recv(),
            };
            match taken {
                Ok(delivery) => self.start(delivery)?,
                // Only one who has looked knows that there is nothing.
                Err(RecvError::Timeout)
                    if self.jobs.is_empty() && self.idle_left().is_some_and(|left| left.is_zero()) =>
                {
                    return Ok(());
                }
                Err(RecvError::Timeout | RecvError::Interrupted) => {}
                // Room comes with a command's end, or when a message that waits for another attempt gets it.
                Err(RecvError::Busy { .. }) => self.wait_for_event(Some(BUSY))?,
                Err(RecvError::Corrupt(damage)) => {
                    output::warn(format_args!("{:?}: {damage}; the other lanes go on", self.inbox.path()));
                }
                Err(error) => bail!("cannot serve {:?}: {error}", self.inbox.path()),
            }
        }
    }

    fn wait_for_event(&mut self, limit: Option<Duration>) -> Result<()> {
        let event = match limit {
            Some(limit) => self.events.recv_timeout(limit).ok(),
            None => self.events.recv().ok(),
        };
        event.map_or(Ok(()), |event| self.handle(event))
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Ended(number) => match self.jobs.iter().position(|job| job.number == number) {
                Some(at) => {
                    let job = self.jobs.swap_remove(at);
                    self.idle_since = Instant::now();
                    self.settle(job)
                }
                None => Ok(()),
            },
            Event::Stop => {
                self.stops += 1;
                if self.stops > 1 {
                    self.jobs.iter().for_each(|job| job.running.signal(Signal::SIGKILL));
                } else if !self.jobs.is_empty() {
                    let count = self.jobs.len();
                    output::warn(format_args!("waiting for {count} commands to end; once more to kill them"));
                }
                Ok(())
            }
        }
    }

    /// How long until there is something to do besides what events and messages bring.
    fn time_left(&self) -> Option<Duration> {
        let deadlines = self.jobs.iter().filter(|job| !job.timed_out).filter_map(|job| job.deadline);
        let left = deadlines.min().map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if self.jobs.is_empty() { self.idle_left() } else { left }
    }

    fn idle_left(&self) -> Option<Duration> {
        self.args.idle_exit.map(|limit| limit.saturating_sub(self.idle_since.elapsed()))
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for job in self.jobs.iter_mut().filter(|job| !job.timed_out) {
            if job.deadline.is_some_and(|deadline| deadline <= now) {
                job.timed_out = true;
                job.running.signal(Signal::SIGKILL);
            }
        }
    }

    fn start(&mut self, delivery: Delivery<'a>) -> Result<()> {
        self.taken += 1;
        let output = match (delivery.wants_reply(), self.json) {
            (true, _) => Output::Kept,
            (_, true) => Output::Aside,
            (..) => Output::Shown,
        };
        let variables = [self.mailbox.to_vec(), envelope(&delivery)].concat();
        let running = Running::start(&self.args.exec, &delivery.body(), &variables, output)?;
        let (number, tell, interrupter) = (self.taken, self.tell.clone(), self.inbox.interrupter());
        running.when_ended(move || {
            let _ = tell.send(Event::Ended(number));
            interrupter.interrupt();
        })?;
        let deadline = self.args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.jobs.push(Job { number, running, delivery, deadline, timed_out: false });
        Ok(())
    }

    /// Does with a message what its command's status says.
    fn settle(&self, job: Job<'a>) -> Result<()> {
        let Job { delivery, running, timed_out, .. } = job;
        let (status, answer) = running.finish()?;
        // One that ended by itself just then has said what it has to say.
        let timed_out = timed_out && status.code().is_none();
        let (ticket, attempt, most) = (delivery.ticket(), delivery.attempt(), delivery.max_attempts());
        let spent = self.args.retry.is_some_and(|retry| attempt > retry);
        let (mut outcome, mut replied) = ("acked", None);
        let settled = match status.code() {
            Some(0) => {
                if let Some(answer) = answer {
                    // The work is done, whether or not its answer can be told.
                    replied = Some(delivery.reply(&answer).unwrap_or_else(|error| {
                        let len = answer.len();
                        output::warn(format_args!("{ticket}: the answer of {len} bytes was not sent: {error}"));
                        false
                    }));
                }
                delivery.ack();
                Ok(())
            }
            code if code == Some(DATAERR) || spent => {
                outcome = "rejected";
                delivery.reject()
            }
            _ => {
                outcome = "nacked";
                delivery.nack()
            }
        };
        if let Err(error) = settled {
            output::warn(error);
        }
        if self.json {
            let (exit, signal) = (status.code(), status.signal());
            return output::print_json(&Line {
                ticket: ticket.to_string(),
                attempt,
                outcome,
                exit,
                signal,
                timed_out,
                replied,
            });
        }
        if outcome != "acked" {
            let how = describe(status, timed_out);
            output::warn(format_args!("{ticket}: {how} in attempt {attempt} of {most}; {outcome}"));
        }
        Ok(())
    }
}

/// How long to wait for room in a ledger that is full of messages for later.
const BUSY: Duration = Duration::from_millis(100);

/// What became of a message, as JSON.
#[derive(Serialize)]
struct Line {
    ticket: String,
    attempt: u32,
    outcome: &'static str,
    exit: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    replied: Option<bool>,
}

fn describe(status: ExitStatus, timed_out: bool) -> String {
    match (timed_out, status.code()) {
        (true, _) => "the command ran out of time".to_owned(),
        (_, Some(code)) => format!("the command exited with {code}"),
        (_, None) => format!("the command was killed by signal {}", status.signal().unwrap_or_default()),
    }
}

/// What the environment says of a message.
fn envelope(delivery: &Delivery<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("LANEWAY_TICKET", delivery.ticket().to_string()),
        ("LANEWAY_FROM", delivery.from()),
        // Empty when the kernel cannot say, which is no reason not to do what was asked for.
        ("LANEWAY_UID", delivery.uid().map_or(String::new(), |uid| uid.to_string())),
        ("LANEWAY_ATTEMPT", delivery.attempt().to_string()),
        ("LANEWAY_MAX_ATTEMPTS", delivery.max_attempts().to_string()),
        ("LANEWAY_AGE_MS", delivery.age().as_millis().to_string()),
        ("LANEWAY_PRIORITY", delivery.priority().to_string()),
        ("LANEWAY_CONTENT", content_word(delivery.content()).to_owned()),
        ("LANEWAY_WANTS_REPLY", u8::from(delivery.wants_reply()).to_string()),
    ]
}
