//! Without `membarrier` and io_uring, by a filter of the kernel: for who creates a queue, and for who joins one later.
#![expect(unsafe_code, reason = "a system call without a wrapper")]

use super::Answer;
use super::parties::{Party, answer, ask, here, said, small, talk};
use super::spaces::queues;
use anyhow::{Context, Result, bail, ensure};
use laneway::{Queue, RecvError, Wait, layout};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const DENIED: [libc::c_long; 4] =
    [libc::SYS_membarrier, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
const SYMMETRIC: u32 = 1;
const ASYMMETRIC: u32 = 2;
/// How long somebody sleeps whom nobody wakes: some of the library's longest sleeps.
const IDLE: Duration = Duration::from_millis(400);

/// From here on this process and its children are refused these calls.
fn deny(errno: i32) -> Result<()> {
    let rules: BTreeMap<i64, _> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), architecture)?;
    apply_filter(&BpfProgram::try_from(filter)?).context("the kernel takes no filter")?;
    ensure!(refusal() == Some(errno), "membarrier is not refused: {:?}", refusal());
    Ok(())
}

/// What the kernel says to a membarrier that asks for nothing.
fn refusal() -> Option<i32> {
    // SAFETY: a query, which takes numbers.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0) };
    (answer < 0).then(|| std::io::Error::last_os_error().raw_os_error()).flatten()
}

/// What a queue's header says of its fences.
fn fence_mode(queue: &Path) -> Result<u32> {
    let mut word = [0; 4];
    let at = std::mem::offset_of!(layout::Header, fence_mode) as u64;
    File::open(queue.join("queue"))?.read_exact_at(&mut word, at)?;
    Ok(u32::from_ne_bytes(word))
}

fn may_filter(errno: i32) -> Result<Option<Answer>> {
    let tried = Party::start(|| deny(errno).map(|()| String::new()))?.end();
    Ok(tried.err().map(|error| Answer::Skipped(format!("{error:#}"))))
}

/// Sleeps of a receiver in [`IDLE`], to which nothing comes.
fn idle_sleeps(queue: &Path) -> Result<u64> {
    let receiver = Queue::open(queue)?.receiver()?;
    receiver.set_wait(Wait::Park);
    match receiver.recv_timeout(IDLE) {
        Err(RecvError::Timeout) => Ok(receiver.wait_stats().sleeps),
        other => bail!("{other:?} came to nobody"),
    }
}

/// The creator has none: the queue has symmetric fences, for those who could do better, too.
pub(super) fn created_without(at: &Path, errno: i32) -> Result<Answer> {
    if let Some(skipped) = may_filter(errno)? {
        return Ok(skipped);
    }
    let (there, back) = (at.join("there"), at.join("back"));
    Party::start(|| {
        deny(errno)?;
        for path in [&there, &back] {
            small().create(path)?;
        }
        Ok(String::new())
    })?
    .end()?;
    ensure!(fence_mode(&there)? == SYMMETRIC, "its fences are {}", fence_mode(&there)?);
    let denied: super::parties::Inside = if errno == libc::EPERM {
        |work| deny(libc::EPERM).and_then(|()| work())
    } else {
        |work| deny(libc::ENOSYS).and_then(|()| work())
    };
    let sleeps = Party::start(|| denied(&|| Ok(idle_sleeps(&there)?.to_string())))?.end()?;
    let mixed = talk((&there, &back), denied, (&there, &back), here)?;
    ensure!(sleeps.parse::<u64>()? < 20, "{sleeps} sleeps where fences are whole");
    Ok(Answer::Done(format!("symmetric; one with and one without: {mixed}; {sleeps} sleeps in {IDLE:?} idle")))
}

/// The creator has it, who joins has not: who sends uses whole fences, and who receives never sleeps for long.
pub(super) fn joined_without(at: &Path, errno: i32) -> Result<Answer> {
    if let Some(skipped) = may_filter(errno)? {
        return Ok(skipped);
    }
    let (there, _) = queues(at)?;
    if fence_mode(&there)? != ASYMMETRIC {
        return Ok(Answer::Skipped("this kernel has no membarrier to begin with".to_owned()));
    }
    let without = Party::start(|| {
        deny(errno)?;
        Ok(idle_sleeps(&there)?.to_string())
    })?
    .end()?;
    let with = Party::start(|| Ok(idle_sleeps(&there)?.to_string()))?.end()?;
    let (without, with) = (without.parse::<u64>()?, with.parse::<u64>()?);
    ensure!(without > 5 * with, "{without} sleeps without the call and {with} with it: as long, and so too long");
    // Each asks and each answers. Its brief sleeps end by themselves all the time; the others' must be ended.
    let talk = |asks: bool, at: &Path| -> Result<String> {
        let (there, back) = queues(at)?;
        let deny_if = |denied: bool| if denied { deny(errno) } else { Ok(()) };
        let answering = Party::start(|| deny_if(!asks).and_then(|()| Ok(said(answer(&there, &back)?))))?;
        let asking = Party::start(|| deny_if(asks).and_then(|()| Ok(said(ask(&there, &back)?))))?;
        let (asked, answered) = (asking.end(), answering.end());
        Ok(format!("asking {}; answering {}", asked?, answered?))
    };
    let (asks, answers) = (talk(true, &at.join("one"))?, talk(false, &at.join("other"))?);
    Ok(Answer::Done(format!(
        "{without} sleeps in {IDLE:?} idle without the call, {with} with it; one who asks without it: {asks}; one who answers without it: {answers}"
    )))
}
