//! `laneway wake`: holds the mailbox while it sleeps, and hands it over to a command when there is mail.

use super::args::Wake;
use super::command::{Output, Running};
use crate::{output, units};
use anyhow::{Context, Result, bail};
use laneway::Cause;
use laneway::mailbox::{Inbox, Interrupter, Post, RecvError, Watch};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// What the one thread is told.
enum Event {
    Ended,
    /// The user wants to stop.
    Stop,
}

/// Where the locks of those who wake are, beside the mailboxes; hidden from whoever lists these.
const LOCKS: &str = ".laneway-wake";

/// Takes the lock of the one who wakes somebody for this mailbox. The command inherits it: when we are killed it is held for as long as
/// what we have started runs.
fn lock(post: &Post, name: &str) -> Result<Flock<File>> {
    let directory = post.root().join(LOCKS);
    let path = directory.join(name);
    let failed = || format!("cannot lock {path:?}");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).with_context(failed)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(failed)?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).with_context(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::Error::EAGAIN)) => {
            bail!(
                "cannot watch {:?}: another `laneway wake` does, or what one has started still runs",
                post.root().join(name)
            )
        }
        Err((_, errno)) => Err(errno).with_context(failed),
    }
}

/// What ends the wait for mail that goes on now, if one does.
type Current = Arc<Mutex<Option<Interrupter>>>;

pub(crate) fn run(args: Wake, json: bool) -> Result<ExitCode> {
    let (post, name) = args.making.place(&args.name)?;
    args.making.compare(&name, post.mailbox(&name)?.settings());
    let _lock = lock(&post, &name)?;
    let (tell, events) = mpsc::channel();
    let current = Current::default();
    let (stop, interrupter) = (tell.clone(), Arc::clone(&current));
    let stop = move || {
        let _ = stop.send(Event::Stop);
        if let Some(interrupter) = &*interrupter.lock().unwrap_or_else(PoisonError::into_inner) {
            interrupter.interrupt();
        }
    };
    ctrlc::set_handler(stop).context("cannot watch for Ctrl-C")?;
    Waker { args: &args, json, post, name, tell, events, current, watch: None }.work()
}

struct Waker<'a> {
    args: &'a Wake,
    json: bool,
    post: Post,
    name: String,
    tell: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    current: Current,
    /// Made when somebody else is found to serve the mailbox.
    watch: Option<Watch>,
}

/// How long to wait for the other who serves the mailbox, before trying again.
const TRY_EVERY: Duration = Duration::from_millis(250);

impl Waker<'_> {
    fn work(&mut self) -> Result<ExitCode> {
        let mut fruitless = 0;
        loop {
            let Some(inbox) = self.take_over()? else { return Ok(ExitCode::SUCCESS) };
            if !self.sleep(inbox)? {
                return Ok(ExitCode::SUCCESS);
            }
            let before = self.handed_out()?;
            let (ended_well, stopped) = self.run_command()?;
            let taken = self.handed_out()?.saturating_sub(before);
            if self.json {
                self.report("ended", json!({ "success": ended_well, "taken": taken }))?;
            }
            if self.args.once || stopped {
                return Ok(if ended_well || stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            fruitless = if taken > 0 { 0 } else { fruitless + 1 };
            if fruitless > 0 && self.pause(fruitless, ended_well)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    fn report(&self, event: &str, more: serde_json::Value) -> Result<()> {
        output::print_json(&json!({ "event": event, "mailbox": self.name, "is": more }))
    }

    fn handed_out(&self) -> Result<u64> {
        Ok(self.post.mailbox(&self.name)?.stats()?.handed_out)
    }

    fn wants_to_stop(&self) -> bool {
        matches!(self.events.try_recv(), Ok(Event::Stop))
    }

    /// Serves the mailbox as soon as nobody else does. None when we are to stop.
    fn take_over(&mut self) -> Result<Option<Inbox>> {
        loop {
            if self.wants_to_stop() {
                return Ok(None);
            }
            match self.post.serve(&self.name) {
                Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => {
                    let watch = match &mut self.watch {
                        Some(watch) => watch,
                        none => none.insert(self.post.watch()?),
                    };
                    // Whatever it tells: the lock is what counts.
                    watch.next(Some(TRY_EVERY))?;
                }
                answer => return Ok(Some(answer?)),
            }
        }
    }

    /// Waits for mail. False when we are to stop. Whoever comes next may serve the mailbox when this returns.
    fn sleep(&self, inbox: Inbox) -> Result<bool> {
        let set = |interrupter| *self.current.lock().unwrap_or_else(PoisonError::into_inner) = interrupter;
        set(Some(inbox.interrupter()));
        let found = loop {
            // One who wanted to stop before there was anything to interrupt.
            if self.wants_to_stop() {
                break Ok(false);
            }
            match inbox.wait_for_mail(None) {
                Ok(found) => break Ok(found),
                Err(RecvError::Interrupted) => {}
                Err(RecvError::Corrupt(damage)) => {
                    output::warn(format_args!("{:?}: {damage}; the other lanes go on", inbox.path()));
                }
                // It will be settled by whoever serves.
                Err(RecvError::Busy { .. }) => break Ok(true),
                Err(error) => bail!("cannot wait for mail of {:?}: {error}", inbox.path()),
            }
        };
        set(None);
        found
    }

    /// Whether the command ended well, and whether we are to stop.
    fn run_command(&self) -> Result<(bool, bool)> {
        let variables = [("LANEWAY_MAILBOX", self.name.clone()), ("LANEWAY_POST", super::absolute(self.post.root()))];
        let output = if self.json { Output::Aside } else { Output::Shown };
        let running = Running::start(&self.args.exec, b"", &variables, output)?;
        if self.json {
            self.report("started", json!({ "pid": running.id() }))?;
        }
        let tell = self.tell.clone();
        running.when_ended(move || drop(tell.send(Event::Ended)))?;
        let mut stops = 0;
        loop {
            match self.events.recv().context("a thread that waits for a command is gone")? {
                Event::Ended => break,
                Event::Stop => {
                    stops += 1;
                    running.signal(if stops == 1 { Signal::SIGTERM } else { Signal::SIGKILL });
                }
            }
        }
        Ok((running.finish()?.0.success(), stops > 0))
    }

    /// Waits before the command is run again that has taken nothing. True when we are to stop.
    fn pause(&self, fruitless: u32, ended_well: bool) -> Result<bool> {
        let doubled = self.args.pause.first.saturating_mul(1_u32.checked_shl(fruitless - 1).unwrap_or(u32::MAX));
        let pause = doubled.min(self.args.pause.cap);
        if self.json {
            self.report("pause", json!({ "ms": units::millis(pause) }))?;
        } else {
            let how = if ended_well { "ended" } else { "failed" };
            output::warn(format_args!(
                "{:?}: the command {how} and has taken nothing; again in {}",
                self.post.root().join(&self.name),
                humantime::format_duration(pause),
            ));
        }
        Ok(matches!(self.events.recv_timeout(pause), Ok(Event::Stop)))
    }
}
