//! Two processes that talk to each other by two queues, each sleeping until the other has answered.

use crate::namespace::{die_with, forked};
use anyhow::{Context, Result, bail, ensure};
use laneway::{Options, Queue, Receiver, RecvError, Sender, Wait, WaitStats};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Nothing that somebody is about to do takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// Messages that are each answered before the next one is sent.
pub(crate) const ROUNDS: u64 = 2_000;
/// Messages that are sent at once, more than a ring holds, and how often.
const BURST: u64 = 60;
const BURSTS: u64 = 20;

/// A forked process that says in the end how it went.
pub(crate) struct Party {
    /// None when it has ended.
    pid: Option<Pid>,
    said: PipeReader,
}

impl Party {
    /// Starts one. This process has one thread.
    pub(crate) fn start(work: impl FnOnce() -> Result<String>) -> Result<Party> {
        let (said, mut say) = std::io::pipe()?;
        let parent = getpid();
        let pid = forked(move || {
            die_with(parent);
            let (text, code) = match work() {
                Ok(text) => (text, 0),
                Err(error) => (format!("{error:#}"), 1),
            };
            let _ = say.write_all(text.as_bytes());
            code
        })?;
        Ok(Party { pid: Some(pid), said })
    }

    /// Waits for it; what it said.
    pub(crate) fn end(mut self) -> Result<String> {
        let mut text = String::new();
        self.said.read_to_string(&mut text)?;
        let pid = self.pid.take().context("it has ended before")?;
        match waitpid(pid, None)? {
            WaitStatus::Exited(_, 0) => Ok(text),
            other => bail!("{text} ({other:?})"),
        }
    }
}

/// Kills it, if it has not ended.
impl Drop for Party {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

pub(crate) fn small() -> Options {
    Queue::options().capacity(4096).overflow_limit(64 << 10).max_lanes(8)
}

/// Both ends: what it sends to `there` is answered in `back`.
fn ends(send: &Path, receive: &Path) -> Result<(Sender, Receiver)> {
    let (sender, receiver) = (Queue::open(send)?.sender()?, Queue::open(receive)?.receiver()?);
    sender.set_wait(Wait::Park);
    receiver.set_wait(Wait::Park);
    Ok((sender, receiver))
}

/// Sends, and waits for each answer; then bursts. What its waiting has cost comes back.
pub(crate) fn ask(there: &Path, back: &Path) -> Result<WaitStats> {
    let (mut sender, receiver) = ends(there, back)?;
    let expect = |receiver: &Receiver, number: u64| -> Result<()> {
        let answer = receiver.recv_timeout(LONG).with_context(|| format!("answer {number}"))?;
        let found: u64 =
            answer.to_vec().get(..8).map_or(0, |head| u64::from_ne_bytes(head.try_into().expect("8 bytes")));
        ensure!(found == number, "answer {found} came instead of {number}");
        Ok(())
    };
    let bytes = |number: u64| {
        let mut bytes = number.to_ne_bytes().to_vec();
        bytes.resize(8 + (number % 400) as usize, number as u8);
        bytes
    };
    for number in 1..=ROUNDS {
        sender.send_timeout(&bytes(number), LONG)?;
        expect(&receiver, number)?;
    }
    let stats = receiver.wait_stats();
    for burst in 0..BURSTS {
        let numbers = || (1..=BURST).map(|i| ROUNDS + burst * BURST + i);
        for number in numbers() {
            sender.send_timeout(&bytes(number), LONG)?;
        }
        for number in numbers() {
            expect(&receiver, number)?;
        }
    }
    sender.close();
    Ok(stats)
}

/// Sends everything back until the other one closes.
pub(crate) fn answer(there: &Path, back: &Path) -> Result<WaitStats> {
    let (mut sender, receiver) = ends(back, there)?;
    let mut stats = None;
    for number in 1.. {
        match receiver.recv_timeout(LONG) {
            Ok(message) => {
                let bytes = message.to_vec();
                drop(message);
                sender.send_timeout(&bytes, LONG)?;
            }
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error).with_context(|| format!("question {number}")),
        }
        if number == ROUNDS {
            stats = Some(receiver.wait_stats());
        }
    }
    stats.context("the other one closed early")
}

pub(crate) fn said(stats: WaitStats) -> String {
    format!("{} sleeps, {} woken, {} expired", stats.sleeps, stats.wakes, stats.expired)
}

/// Sleeps that nobody ended although there was an end to them: each is a wake-up that is lost, or that comes later than
/// the longest sleep, as it does now and then on a busy machine. So at most `most`.
fn woken(who: &str, stats: WaitStats, most: u64) -> Result<String> {
    ensure!(stats.sleeps > 0, "{who} never slept: nothing was tried");
    ensure!(
        stats.expired <= most,
        "{who} was not woken, and {most} times is what this machine explains: {}",
        said(stats)
    );
    Ok(said(stats))
}

/// More than that many times as often as without anything around them, and that many more, nobody is just late.
const LATER: u64 = 3;

/// How many sleeps may expire: by how many do when the same two talk here, in a queue beside `queue`, at the same load.
fn explained(queue: &Path) -> Result<u64> {
    let beside = queue.parent().context("it lies somewhere")?.join("here");
    let (there, back) = (beside.join("there"), beside.join("back"));
    small().create(&there)?;
    small().create(&back)?;
    let answering = Party::start(|| Ok(answer(&there, &back)?.expired.to_string()))?;
    let asking = Party::start(|| Ok(ask(&there, &back)?.expired.to_string()))?;
    let (asked, answered): (u64, u64) = (asking.end()?.parse()?, answering.end()?.parse()?);
    for path in [there, back] {
        Queue::open(path)?.destroy()?;
    }
    // Where none is ever woken, nothing is explained by that.
    Ok((LATER + LATER * asked.max(answered)).min(ROUNDS / 50))
}

/// Does its work somewhere else: in other namespaces, as another user.
pub(crate) type Inside = fn(&dyn Fn() -> Result<String>) -> Result<String>;

/// Does the work where it is.
pub(crate) fn here(work: &dyn Fn() -> Result<String>) -> Result<String> {
    work()
}

/// Two who talk: by which paths each knows the two queues, and where each is. What their waiting has cost.
pub(crate) fn talk(
    one: (&Path, &Path),
    inside_one: Inside,
    other: (&Path, &Path),
    inside_other: Inside,
) -> Result<String> {
    let most = explained(one.0)?;
    let answering = Party::start(|| inside_other(&|| woken("who answers", answer(other.0, other.1)?, most)))?;
    let asking = Party::start(|| inside_one(&|| woken("who asks", ask(one.0, one.1)?, most)))?;
    match (asking.end(), answering.end()) {
        (Ok(asked), Ok(answered)) => {
            Ok(format!("{ROUNDS} questions: asking {asked}; answering {answered}; {most} may expire"))
        }
        (asked, answered) => bail!("asking: {asked:?}; answering: {answered:?}"),
    }
}
