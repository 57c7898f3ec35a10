//! Each party in namespaces of its own.

use super::Answer;
use super::parties::{LONG, Party, here, small, talk};
use crate::namespace::{exit_code, forked};
use crate::role;
use anyhow::{Context, Result, bail, ensure};
use laneway::Queue;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn queues(at: &Path) -> Result<(PathBuf, PathBuf)> {
    let (there, back) = (at.join("there"), at.join("back"));
    small().create(&there)?;
    small().create(&back)?;
    Ok((there, back))
}

/// Whether a child of this process can get there.
fn may(there: impl FnOnce() -> Result<()>) -> Result<bool> {
    Ok(exit_code(forked(|| i32::from(there().is_err()))?)? == 0)
}

/// In a pid namespace, of which the worker is the first process.
fn in_pid_namespace(work: &dyn Fn() -> Result<String>) -> Result<String> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    Party::start(work)?.end()
}

pub(super) fn pids(at: &Path) -> Result<Answer> {
    if !may(|| Ok(unshare(CloneFlags::CLONE_NEWPID)?))? {
        return Ok(Answer::Skipped("this process may have no pid namespace".to_owned()));
    }
    let (there, back) = queues(at)?;
    let text = talk((&there, &back), in_pid_namespace, (&there, &back), in_pid_namespace)?;
    // Who lives and who is dead is known across them, too.
    let third = at.join("third");
    let queue = small().create(&third)?;
    let receiver = queue.receiver()?;
    let fed = |count: u8| -> Result<u32> {
        let path = third.clone();
        let party = Party::start(move || {
            in_pid_namespace(&|| {
                let mut sender = Queue::open(&path)?.sender()?;
                for number in 0..count {
                    sender.send_timeout(&[number], LONG)?;
                }
                loop {
                    nix::unistd::pause();
                }
            })
        })?;
        for number in 0..count {
            ensure!(receiver.recv_timeout(LONG)?.to_vec() == [number], "another message");
        }
        let lanes = queue.observe()?.lanes()?;
        let alive: Vec<u32> = lanes.iter().filter(|lane| lane.sender_alive).map(|lane| lane.lane).collect();
        let [lane] = alive[..] else { bail!("lanes {alive:?} are said to be alive, and one is") };
        drop(party);
        Ok(lane)
    };
    let (first, second) = (fed(5)?, fed(7)?);
    ensure!(first == second, "lane {first} of a dead sender was not taken over: the next one got {second}");
    Ok(Answer::Done(format!("{text}; a lane was taken over from a sender killed in another namespace")))
}

/// Becomes user `inside` of a user namespace, being who it is outside.
fn become_user(inside: u32) -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{inside} {group} 1"))?;
    ensure!(geteuid().as_raw() == inside, "it did not become user {inside}");
    Ok(())
}

pub(super) fn users(at: &Path) -> Result<Answer> {
    if !may(|| become_user(1234))? {
        return Ok(Answer::Skipped("this process may have no user namespace".to_owned()));
    }
    let (there, back) = queues(at)?;
    let stranger = |work: &dyn Fn() -> Result<String>| become_user(1234).and_then(|()| work());
    let root = |work: &dyn Fn() -> Result<String>| become_user(0).and_then(|()| work());
    let text = talk((&there, &back), stranger, (&there, &back), root)?;
    Ok(Answer::Done(format!("user 1234 of one and user 0 of another, one user outside; {text}")))
}

/// In a mount namespace in which the directory beside `elsewhere` is seen there, too.
fn bind(at: &Path, flags: MsFlags) -> Result<PathBuf> {
    let (from, to, none) = (at.join("real"), at.join("elsewhere"), None::<&str>);
    crate::namespace::enter(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some(&from), &to, none, MsFlags::MS_BIND, none)?;
    if !flags.is_empty() {
        mount(none, &to, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, none)?;
    }
    Ok(to)
}

pub(super) fn mounts(at: &Path) -> Result<Answer> {
    let (real, elsewhere) = (at.join("real"), at.join("elsewhere"));
    fs::create_dir(&real)?;
    fs::create_dir(&elsewhere)?;
    if !may(|| bind(at, MsFlags::empty()).map(drop))? {
        return Ok(Answer::Skipped("this process may have no mount namespace".to_owned()));
    }
    let (there, back) = queues(&real)?;
    let bound = |work: &dyn Fn() -> Result<String>| {
        let at = role::directory().context("a directory")?;
        bind(&at, MsFlags::empty()).and_then(|_| work())
    };
    let other = (elsewhere.join("there"), elsewhere.join("back"));
    let text = talk((&there, &back), here, (&other.0, &other.1), bound)?;
    Queue::open(&there)?.sender()?.send(b"left")?;
    let read_only = Party::start(|| {
        let seen = bind(at, MsFlags::MS_RDONLY)?.join("there");
        let queue = Queue::open(&seen)?;
        let peeked = queue.observe()?.peek(5)?.len();
        ensure!(peeked == 1, "{peeked} messages are seen, and there is one");
        match (queue.sender(), queue.receiver()) {
            (Err(no_sender), Err(no_receiver)) => Ok(format!("refused there: {no_sender}; {no_receiver}")),
            _ => bail!("something was attached through a mount that is read-only"),
        }
    })?
    .end()?;
    Ok(Answer::Done(format!("{text}; through a read-only mount an observer sees; {read_only}")))
}

/// In a time namespace whose clock is `seconds` ahead.
fn ahead(seconds: u64, work: &dyn Fn() -> Result<String>) -> Result<String> {
    unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))?;
    fs::write("/proc/self/timens_offsets", format!("monotonic {seconds} 0\nboottime {seconds} 0\n"))?;
    Party::start(work)?.end()
}

pub(super) fn times(at: &Path) -> Result<Answer> {
    if !may(|| ahead(1000, &|| Ok(String::new())).map(drop))? {
        return Ok(Answer::Skipped("this process may have no time namespace".to_owned()));
    }
    let (there, back) = queues(at)?;
    let text = talk((&there, &back), here, (&there, &back), |work| ahead(1_000_000, work))?;
    let (there, back) = queues(&at.join("again"))?;
    let again = talk((&there, &back), |work| ahead(1_000_000_000, work), (&there, &back), |work| ahead(1, work))?;
    Ok(Answer::Done(format!("12 days ahead: {text}; 31 years ahead: {again}")))
}
