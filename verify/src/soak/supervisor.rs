//! Who starts the others, kills, stops and continues them at random moments, and in the end asks whether the books agree.
#![expect(unsafe_code, reason = "signals that are waited for")]

use super::others;
use super::page::{Page, SLOTS};
use super::part::{Part, Phase};
use super::{receiver, sender};
use crate::namespace::forked;
use anyhow::{Context, Result, bail, ensure};
use laneway::{Queue, TryRecvError};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Nothing takes that long without any progress; what does has hung.
const HUNG: Duration = Duration::from_secs(30);
/// Who plays something else than a sender.
const RECEIVER: usize = 5;
const OBSERVER: usize = 6;
const BUILDER: usize = 7;

/// What was done to the processes.
#[derive(Default)]
pub(crate) struct Deeds {
    pub(crate) kills: u64,
    pub(crate) while_stopped: u64,
    pub(crate) stops: u64,
    pub(crate) epochs: u64,
    /// Kills by what the process was at.
    pub(crate) hit: [u64; Phase::ALL.len()],
}

struct Slot {
    pid: Option<Pid>,
    incarnation: u32,
    /// When something is done to it next.
    due: Instant,
    stopped: bool,
    killed: bool,
}

pub(crate) struct Supervisor {
    page: &'static Page,
    rng: fastrand::Rng,
    seed: u64,
    root: PathBuf,
    /// Bytes of the file system.
    room: u64,
    queue: Queue,
    slots: [Slot; SLOTS],
    /// How long processes live on average, microseconds, in the present weather.
    lives: [f64; SLOTS],
    pub(crate) deeds: Deeds,
}

impl Supervisor {
    /// In a file system of its own at `root`, as the first process of its namespace.
    pub(crate) fn new(page: &'static Page, seed: u64, root: PathBuf, room: u64) -> Result<Supervisor> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        let mut rng = fastrand::Rng::with_seed(seed);
        let queue = create(&root, &mut rng)?;
        let slot = || Slot { pid: None, incarnation: 0, due: Instant::now(), stopped: false, killed: false };
        let slots = std::array::from_fn(|_| slot());
        let deeds = Deeds::default();
        let mut it = Supervisor { page, rng, seed, root, room, queue, slots, lives: [1000.0; SLOTS], deeds };
        fs::create_dir(it.root.join("births"))?;
        it.page.begin(1);
        it.deeds.epochs = 1;
        Ok(it)
    }

    /// Kills that many, then lets everybody come to an end and looks at what is there.
    pub(crate) fn epoch(&mut self, kills: u64) -> Result<()> {
        let until = self.deeds.kills + kills;
        let mut weather = self.deeds.kills;
        while self.deeds.kills < until && !self.page.has_complaints() {
            if self.deeds.kills >= weather {
                weather = self.deeds.kills + self.rng.u64(20..300);
                self.change_weather()?;
            }
            for slot in 0..SLOTS {
                self.attend(slot)?;
            }
            self.reap()?;
            let next = self.slots.iter().map(|slot| slot.due).min().expect("there are slots");
            wait_for_child(next.saturating_duration_since(Instant::now()));
        }
        self.end()
    }

    /// Other lengths of life, and more or less room: sometimes nobody receives for long, sometimes nobody sends.
    fn change_weather(&mut self) -> Result<()> {
        for life in &mut self.lives {
            *life = 150.0 * 2f64.powf(self.rng.f64() * 6.5);
        }
        // The others are there for what they see, and cost time.
        self.lives[OBSERVER] *= 4.0;
        self.lives[BUILDER] *= 2.0;
        let spare = [0, 4096, 20 << 10, 100 << 10, self.room][self.rng.usize(0..5)];
        self.ballast(spare)
    }

    /// Takes all the room that is left but `spare` bytes.
    fn ballast(&self, spare: u64) -> Result<()> {
        let file =
            File::options().create(true).append(false).write(true).truncate(true).open(self.root.join("ballast"))?;
        let page = [1; 4096];
        let mut len = 0;
        while spare < self.room && file.write_all_at(&page, len).is_ok() {
            len += 4096;
        }
        file.set_len(len.saturating_sub(spare))?;
        Ok(())
    }

    /// Does to a process what is due: starts it, continues it, stops it or kills it.
    fn attend(&mut self, index: usize) -> Result<()> {
        let now = Instant::now();
        let Some(pid) = self.slots[index].pid else { return self.start(index) };
        if self.slots[index].due > now {
            return Ok(());
        }
        let again = self.lives[index];
        let pause = self.draw(again);
        let slot = &mut self.slots[index];
        if slot.killed {
            bail!("process {pid} did not die of its kill within {} s", HUNG.as_secs());
        } else if !slot.stopped && self.rng.u32(0..8) == 0 {
            kill(pid, Signal::SIGSTOP)?;
            self.deeds.stops += 1;
            (slot.stopped, slot.due) = (true, now + pause);
        } else if slot.stopped && self.rng.u32(0..3) > 0 {
            kill(pid, Signal::SIGCONT)?;
            (slot.stopped, slot.due) = (false, now + pause);
        } else {
            self.page.slots[index].doomed.store(slot.incarnation, SeqCst);
            kill(pid, Signal::SIGKILL)?;
            self.deeds.while_stopped += u64::from(slot.stopped);
            (slot.killed, slot.due) = (true, now + HUNG);
        }
        Ok(())
    }

    /// An exponential length of time.
    fn draw(&mut self, mean_us: f64) -> Duration {
        let us = -mean_us * (1.0 - self.rng.f64()).ln();
        Duration::from_nanos((us * 1000.0) as u64)
    }

    fn start(&mut self, index: usize) -> Result<()> {
        let slot = &mut self.slots[index];
        slot.incarnation += 1;
        let incarnation = slot.incarnation;
        let page = self.page;
        let choices = self.seed ^ (index as u64) << 56 ^ u64::from(incarnation) << 16;
        let mut part = Part {
            page: self.page,
            slot: index,
            incarnation,
            epoch: self.deeds.epochs,
            rng: fastrand::Rng::with_seed(choices),
            max: self.queue.max_message() as usize,
            inherited: self.queue.clone(),
            root: self.root.clone(),
        };
        let pid = forked(move || {
            let _ = SigSet::all().thread_unblock();
            std::panic::set_hook(Box::new(move |panic| {
                part_of(page, index, incarnation, &format!("panicked: {panic}"));
            }));
            part.phase(Phase::Start);
            match index {
                RECEIVER => receiver::play(&mut part),
                OBSERVER => others::observe(&mut part),
                BUILDER => others::build(&mut part),
                _ => sender::play(&mut part),
            }
            0
        })
        .context("no process")?;
        let pause = self.draw(self.lives[index]);
        let slot = &mut self.slots[index];
        *slot = Slot { pid: Some(pid), incarnation, due: Instant::now() + pause, stopped: false, killed: false };
        Ok(())
    }

    /// Takes note of who has ended; false when there is nobody left at all.
    fn reap(&mut self) -> Result<bool> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return Ok(true),
                Err(nix::Error::ECHILD) => return Ok(false),
                other => other?,
            };
            let Some(pid) = status.pid() else { continue };
            // What is not ours was started by one of them, and came to us when that one died.
            let Some(index) = self.slots.iter().position(|slot| slot.pid == Some(pid)) else { continue };
            self.ended(index, status);
        }
    }

    fn ended(&mut self, index: usize, status: WaitStatus) {
        let slot = &mut self.slots[index];
        slot.pid = None;
        slot.due = Instant::now();
        let doomed = self.page.slots[index].doomed.load(SeqCst) >= slot.incarnation;
        match status {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) if doomed => {
                self.deeds.kills += 1;
                let phase = self.page.slots[index].phase.load(SeqCst) as usize;
                self.deeds.hit[phase.min(Phase::ALL.len() - 1)] += 1;
            }
            WaitStatus::Exited(_, 0) => {}
            other => part_of(self.page, index, slot.incarnation, &format!("ended by {other:?}")),
        }
    }

    /// No more kills: everybody sends what is to be sent, receives what was promised, and goes.
    fn end(&mut self) -> Result<()> {
        self.ballast(self.room)?;
        self.page.finish.store(true, SeqCst);
        let mut done = [false; SLOTS];
        let (mut moved, mut progress) = (Instant::now(), 0);
        while !self.page.has_complaints() {
            for (index, done) in done.iter().enumerate() {
                let slot = &mut self.slots[index];
                match slot.pid {
                    Some(pid) if slot.stopped => {
                        kill(pid, Signal::SIGCONT)?;
                        slot.stopped = false;
                    }
                    // Whoever was killed a moment ago is started again, and ends by itself.
                    None if !done => self.start(index)?,
                    _ => {}
                }
            }
            wait_for_child(Duration::from_millis(2));
            let before: Vec<bool> = self.slots.iter().map(|slot| slot.pid.is_some()).collect();
            let dead_before = self.deeds.kills;
            self.reap()?;
            for (index, done) in done.iter_mut().enumerate() {
                // One of the last to be killed may only now be dead.
                let killed = self.page.slots[index].doomed.load(SeqCst) >= self.slots[index].incarnation;
                *done |= before[index] && self.slots[index].pid.is_none() && !killed;
            }
            let others = (0..SLOTS).all(|index| index == RECEIVER || done[index]);
            if others && self.page.owing().is_empty() {
                self.page.leave.store(true, SeqCst);
            }
            if done == [true; SLOTS] {
                break;
            }
            let now =
                self.page.progress() + self.deeds.kills - dead_before + done.iter().filter(|it| **it).count() as u64;
            if now != progress {
                (moved, progress) = (Instant::now(), now);
            }
            if moved.elapsed() > HUNG {
                self.hung(&done);
            }
        }
        if self.page.has_complaints() {
            return Ok(());
        }
        self.audit()?;
        self.page.begin(self.deeds.epochs + 1);
        self.deeds.epochs += 1;
        self.queue = create(&self.root, &mut self.rng)?;
        Ok(())
    }

    fn hung(&self, done: &[bool; SLOTS]) {
        let phase = |index: usize| Phase::ALL[self.page.slots[index].phase.load(SeqCst) as usize];
        let left: Vec<_> =
            (0..SLOTS).filter(|it| !done[*it]).map(|it| format!("slot {it} in {:?}", phase(it))).collect();
        let owing = self.page.owing().join("; ");
        self.page.complain(&format!("hung: {} after {} s without progress; {owing}", left.join(", "), HUNG.as_secs()));
    }

    /// Nothing is left behind: no message, no damage, no byte, no file.
    fn audit(&mut self) -> Result<()> {
        let number = getpid();
        // What follows kills every process that this one may kill: outside of its namespace that would be the host's.
        ensure!(
            number.as_raw() == 1,
            "the supervisor is process {number}, and not the first of a namespace of its own"
        );
        // What the victims started is theirs no more; it holds their locks.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while self.reap()? {
            wait_for_child(Duration::from_millis(1));
        }
        let (queue, page) = (self.queue.clone(), self.page);
        let births = self.root.join("births");
        let auditor = forked(move || {
            if let Err(error) = left_behind(queue, &births) {
                page.complain(&format!("left behind: {error:#}"));
            }
            0
        })?;
        match waitpid(auditor, None)? {
            WaitStatus::Exited(_, 0) => {}
            other => self.page.complain(&format!("the auditor ended by {other:?}")),
        }
        Ok(())
    }
}

fn part_of(page: &Page, slot: usize, incarnation: u32, what: &str) {
    page.complain(&format!("slot {slot}, incarnation {incarnation}: {what}"));
}

fn left_behind(queue: Queue, births: &std::path::Path) -> Result<()> {
    let receiver = queue.receiver()?;
    match receiver.try_recv() {
        Err(TryRecvError::Closed | TryRecvError::Empty) => {}
        other => bail!("{other:?} where everything promised was handled"),
    }
    ensure!(receiver.damage().is_empty(), "{:?}", receiver.damage());
    let mut sender = queue.sender()?;
    let hello = [7; 100];
    sender.send_timeout(&hello, HUNG)?;
    ensure!(receiver.recv_timeout(HUNG)?.to_vec() == hello, "something else came than was sent");
    drop((sender, receiver));
    queue.trim()?;
    let stat = queue.observe()?.stat()?;
    let (lanes, most) = (stat.lanes as u64, 4096 * 2 + 4096 + u64::from(queue.max_lanes()) * 256);
    // A lane's header, its ring, its lock's byte, and one unit where it was left in a segment.
    let base = most.next_multiple_of(4096) + lanes * (4096 + queue.capacity() + 4096 + 4096);
    ensure!(stat.reserved_bytes <= base, "{} bytes are held, of at most {base}", stat.reserved_bytes);
    ensure!(stat.depth_messages == 0, "{} messages are left", stat.depth_messages);
    let root = queue.path().parent().context("it lies somewhere")?.to_owned();
    queue.destroy()?;
    let left = |dir: &std::path::Path| -> Result<Vec<String>> {
        let names: std::io::Result<Vec<_>> = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect();
        Ok(names?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
    };
    let mut rest = left(&root)?;
    rest.retain(|name| !["births", "ballast"].contains(&name.as_str()));
    ensure!(rest.is_empty(), "{rest:?}");
    if births.join("queue").exists() {
        Queue::open(births.join("queue"))?.destroy()?;
    }
    Queue::sweep(births)?;
    ensure!(left(births)?.is_empty(), "{:?} of the dead", left(births)?);
    Ok(())
}

/// A queue, small in every way that it can be.
fn create(root: &std::path::Path, rng: &mut fastrand::Rng) -> Result<Queue> {
    let options = Queue::options()
        .capacity(4096 << rng.u32(0..3))
        .overflow_limit([0, 16 << 10, 64 << 10, 64 << 10][rng.usize(0..4)])
        .max_lanes(rng.u32(8..=16))
        .sigbus_guard(rng.bool());
    Ok(options.create(root.join("queue"))?)
}

/// Waits until a child has ended, or for so long.
fn wait_for_child(most: Duration) {
    let limit = libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(most.subsec_nanos() as i32),
    };
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    // SAFETY: the set and the limit live; nobody asks for the details of the signal.
    unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const limit) };
}
