//! Victims that are traced: single-stepped through an operation, and after each step that changed something the queue's
//! files are shown as a kill at that instruction would leave them: the same bytes, the same lengths, and the same
//! bytes of the lanes' files reserved. What is reserved cannot be asked of the kernel without touching it, so it is taken
//! from the system calls that the victim makes; a lane whose file takes more space by anything else was touched where
//! nothing was reserved, which fails the test.
//!
//! Single steps follow the order of the program, so this cannot see what a processor or compiler reorders. A system call
//! is one step.

use super::{Part, Peer, Role};
use laneway::layout;
use memmap2::{Mmap, MmapOptions};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a victim says how far it got.
pub(crate) fn progress_file(queue: &Path) -> PathBuf {
    queue.with_extension("progress")
}

/// A victim's side of it.
pub(crate) struct Traced {
    progress: File,
}

/// Lets the parent trace this process: it sees the system calls from here on.
pub(crate) fn traced(part: &Part) -> Traced {
    let progress = File::options().write(true).open(progress_file(&part.queue)).unwrap();
    // SAFETY: TRACEME takes no arguments.
    unsafe {
        if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == -1 {
            part.say(&std::io::Error::last_os_error().to_string());
            libc::_exit(0);
        }
        part.say(&libc::gettid().to_string());
    }
    stop();
    Traced { progress }
}

/// As [`traced`], and stepped from here on.
pub(crate) fn stepped(part: &Part) -> Traced {
    let traced = traced(part);
    traced.begin();
    traced
}

impl Traced {
    /// Steps begin here.
    pub(crate) fn begin(&self) {
        stop();
    }

    /// What the victim has been promised: messages whose send has returned, or which it is about to release.
    pub(crate) fn progress(&self, count: u64) {
        self.progress.write_all_at(&count.to_ne_bytes(), 0).unwrap();
    }

    /// Steps end here.
    pub(crate) fn reached(self) {
        stop();
    }
}

fn stop() {
    // SAFETY: raise sends a signal to this thread, which its tracer sees first.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// The files of a queue as a killed process would leave them.
pub(crate) type Snapshot = BTreeMap<String, Copied>;

/// A file: its length, and the bytes that are reserved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    len: u64,
    runs: Vec<(u64, Vec<u8>)>,
}

impl Copied {
    /// Where the bytes are that are reserved.
    pub(crate) fn reserved(&self) -> Vec<Range<u64>> {
        self.runs.iter().map(|(at, bytes)| *at..*at + bytes.len() as u64).collect()
    }

    fn whole(bytes: Vec<u8>) -> Copied {
        Copied { len: bytes.len() as u64, runs: vec![(0, bytes)] }
    }
}

/// Makes a queue of a copy.
pub(crate) fn restore(snapshot: &Snapshot, path: &Path) {
    DirBuilder::new().mode(0o700).create(path).unwrap();
    for (name, copied) in snapshot {
        let file = File::create_new(path.join(name)).unwrap();
        for (at, bytes) in &copied.runs {
            file.write_all_at(bytes, *at).unwrap();
        }
        file.set_len(copied.len).unwrap();
    }
}

/// A file that is compared after every step, without a system call but one for lanes.
struct Mapped {
    file: File,
    map: Mmap,
    /// Not more than this is touched: reading a hole would fill it.
    runs: Vec<Range<u64>>,
    len: u64,
    /// What it takes, in units of 512 bytes; asked of lanes only.
    blocks: u64,
    is_lane: bool,
}

/// More than any lane of these tests is long.
const MAPPED: usize = 4 << 20;

impl Mapped {
    /// With `runs` if they are known; otherwise the file must be reserved as a whole.
    fn new(file: File, name: &str, runs: Option<Vec<Range<u64>>>) -> Mapped {
        let meta = file.metadata().unwrap();
        let (len, blocks) = (meta.len(), meta.blocks());
        let is_lane = name.starts_with("lane-");
        if is_lane && runs.is_none() {
            assert_eq!(blocks * 512, len, "{name} has holes from birth, or has grown before it was watched");
        }
        let room = if is_lane { MAPPED } else { len as usize };
        // SAFETY: the bytes are only read while the process that writes them is stopped, and only within the file.
        let map = unsafe { MmapOptions::new().len(room).map(&file) }.unwrap();
        let runs = runs.unwrap_or_else(|| std::iter::once(0..len).collect());
        Mapped { file, map, runs, len, blocks, is_lane }
    }

    fn run(&self, run: &Range<u64>) -> &[u8] {
        &self.map[run.start as usize..run.end as usize]
    }

    fn copied(&self) -> Copied {
        Copied { len: self.len, runs: self.runs.iter().map(|run| (run.start, self.run(run).to_vec())).collect() }
    }

    /// Whether the file differs from a copy, in a lane's records, or otherwise.
    fn differs(&self, last: &Copied) -> Change {
        let shape = |(run, (at, bytes)): (&Range<u64>, &(u64, Vec<u8>))| {
            run.start == *at && run.end - run.start == bytes.len() as u64
        };
        if self.len != last.len || self.runs.len() != last.runs.len() || !self.runs.iter().zip(&last.runs).all(shape) {
            return Change::Words;
        }
        let mut change = Change::None;
        for (run, (at, bytes)) in self.runs.iter().zip(&last.runs) {
            let now = self.run(run);
            if now == &bytes[..] {
                continue;
            }
            let words = (layout::RING as u64).saturating_sub(*at).min(bytes.len() as u64) as usize;
            if !self.is_lane || now[..words] != bytes[..words] {
                return Change::Words;
            }
            change = Change::Records;
        }
        change
    }

    /// Takes over what the system call did that the victim just made, if it changed what the file takes.
    fn follow(&mut self, thread: i32, name: &str) {
        let meta = self.file.metadata().unwrap();
        if meta.blocks() == self.blocks {
            return;
        }
        let call = last_call(thread).unwrap_or_else(|| panic!("{name} was touched where nothing was reserved"));
        assert_eq!(call.number, libc::SYS_fallocate as u64, "{name} changed its size by another call");
        let bytes = call.offset..call.offset + call.len;
        match call.mode as i32 {
            0 => self.add(bytes),
            mode if mode == libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE => self.remove(&bytes),
            mode => panic!("fallocate with mode {mode}"),
        }
        (self.len, self.blocks) = (meta.len(), meta.blocks());
        let total: u64 = self.runs.iter().map(|run| run.end - run.start).sum();
        assert_eq!(total, self.blocks * 512, "{name} takes more or less than what was asked for");
    }

    fn remove(&mut self, bytes: &Range<u64>) {
        let rest = |run: Range<u64>| [run.start..run.end.min(bytes.start), run.start.max(bytes.end)..run.end];
        self.runs = self.runs.drain(..).flat_map(rest).filter(|run| !run.is_empty()).collect();
    }

    fn add(&mut self, bytes: Range<u64>) {
        self.remove(&bytes);
        self.runs.push(bytes);
        self.runs.sort_by_key(|run| run.start);
    }
}

/// What a step changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    None,
    /// Bytes in which records lie, and nothing else.
    Records,
    Words,
}

struct Call {
    number: u64,
    mode: u64,
    offset: u64,
    len: u64,
}

/// The system call that a stopped victim has just come back from; none if it has not.
#[cfg(target_arch = "x86_64")]
fn last_call(thread: i32) -> Option<Call> {
    // SAFETY: plain numbers, for which zero is valid; the victim is our traced child, and it is stopped.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        libc::ptrace(libc::PTRACE_GETREGS, thread, 0, &raw mut registers);
        let code = libc::ptrace(libc::PTRACE_PEEKTEXT, thread, registers.rip - 2, 0);
        // `syscall` keeps all registers but the answer's and two more.
        let number = if registers.orig_rax as i64 >= 0 { registers.orig_rax } else { libc::SYS_fallocate as u64 };
        let call = Call { number, mode: registers.rsi, offset: registers.rdx, len: registers.r10 };
        (code & 0xffff == 0x050f).then_some(call)
    }
}

/// Elsewhere the registers have other names; lanes that grow are not watched there.
#[cfg(not(target_arch = "x86_64"))]
fn last_call(_: i32) -> Option<Call> {
    None
}

/// The files of a queue, watched over the lives of several victims.
pub(crate) struct Watch {
    dir: PathBuf,
    files: BTreeMap<String, Mapped>,
    /// The lock files, which hold a byte at most; read when the directory is listed.
    locks: Snapshot,
    last: Snapshot,
    /// Whether files may come and go.
    relist: bool,
    /// Of so many changes in a row to nothing but records, one is shown, and the last.
    every: u32,
}

impl Watch {
    pub(crate) fn new(dir: &Path) -> Watch {
        let (files, locks, last) = (BTreeMap::new(), Snapshot::new(), Snapshot::new());
        let mut watch = Watch { dir: dir.to_owned(), files, locks, last, relist: false, every: 1 };
        watch.list();
        watch
    }

    /// Watches a queue that was made of a copy.
    pub(crate) fn restored(dir: &Path, snapshot: &Snapshot) -> Watch {
        let mut watch = Watch { dir: dir.to_owned(), files: BTreeMap::new(), ..Watch::new(Path::new("/nonexistent")) };
        for (name, copied) in snapshot.iter().filter(|(name, _)| name.starts_with("lane-") && !name.contains('.')) {
            let file = File::open(dir.join(name)).unwrap();
            watch.files.insert(name.clone(), Mapped::new(file, name, Some(copied.reserved())));
        }
        watch.list();
        watch
    }

    pub(crate) fn relisting(mut self, relist: bool) -> Watch {
        self.relist = relist;
        self
    }

    pub(crate) fn showing_one_in(mut self, every: u32) -> Watch {
        self.every = every;
        self
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn list(&mut self) {
        let (locks, names): (Vec<String>, Vec<String>) =
            self.names().into_iter().partition(|name| name.ends_with(".lock"));
        let read = |name: String| Some((name.clone(), Copied::whole(std::fs::read(self.dir.join(name)).ok()?)));
        self.locks = locks.into_iter().filter_map(read).collect();
        self.files.retain(|name, _| names.contains(name));
        // A file has its length before it has its name, or within one system call.
        for name in names.into_iter().filter(|name| !self.files.contains_key(name)).collect::<Vec<_>>() {
            let Ok(file) = File::open(self.dir.join(&name)) else { continue };
            if file.metadata().unwrap().len() > 0 {
                let mapped = Mapped::new(file, &name, None);
                self.files.insert(name, mapped);
            }
        }
    }

    fn change(&self) -> Change {
        if self.files.len() + self.locks.len() != self.last.len() {
            return Change::Words;
        }
        let locks = self.locks.iter().all(|(name, copied)| self.last.get(name) == Some(copied));
        let differs = |(name, mapped): (&String, &Mapped)| self.last.get(name).map(|last| mapped.differs(last));
        let files = self.files.iter().map(|file| differs(file).unwrap_or(Change::Words)).max();
        if locks { files.unwrap_or(Change::None) } else { Change::Words }
    }

    /// The files as they are.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let copied = |(name, mapped): (&String, &Mapped)| (name.clone(), mapped.copied());
        self.files.iter().map(copied).chain(self.locks.clone()).collect()
    }

    fn follow(&mut self, thread: i32) {
        for (name, mapped) in self.files.iter_mut().filter(|(_, mapped)| mapped.is_lane) {
            mapped.follow(thread, name);
        }
    }

    /// Runs a victim up to where its steps begin, on the processor that this thread runs on from then on: a step is two
    /// changes of process, which cost several times as much from one processor to another. None, with a reason, when the kernel does not let us.
    pub(crate) fn start(&mut self, role: Role) -> Option<Victim> {
        let progress = progress_file(&self.dir);
        std::fs::write(&progress, [0; 8]).unwrap();
        // SAFETY: as in `Mapped`.
        let progress = unsafe { Mmap::map(&File::open(&progress).unwrap()) }.unwrap();
        stay_here();
        let mut peer = role.start();
        let said = peer.hear().unwrap();
        let Ok(thread) = said.parse() else {
            eprintln!("skipped: this host does not let a parent trace its child: {said}");
            return None;
        };
        let victim = Victim { peer, thread, progress };
        assert_eq!(stopped_by(thread), Some(libc::SIGSTOP));
        loop {
            self.list();
            match victim.go_on(libc::PTRACE_SYSCALL) {
                Some(libc::SIGTRAP) => self.follow(thread),
                Some(libc::SIGSTOP) => break,
                other => panic!("the victim ended early: {other:?}"),
            }
        }
        self.list();
        Some(victim)
    }

    /// Single-steps a victim through its part, and shows what is there after each step that changed something, with the
    /// victim's progress. False when the kernel does not let us.
    pub(crate) fn step(&mut self, role: Role, mut visit: impl FnMut(&Snapshot, u64)) -> bool {
        let Some(victim) = self.start(role) else { return false };
        let (mut steps, mut unseen, mut records) = (0u64, None, 0u32);
        let mut ended = false;
        loop {
            if self.relist {
                self.list();
            }
            let progress = u64::from_ne_bytes(victim.progress[..8].try_into().unwrap());
            let change = self.change();
            if change == Change::Words
                && let Some(progress) = unseen.take()
            {
                visit(&self.last, progress);
            }
            if change != Change::None {
                self.last = self.snapshot();
                records = if change == Change::Records { records + 1 } else { 0 };
                if change == Change::Words || records % self.every == 0 {
                    unseen = None;
                    visit(&self.last, progress);
                } else {
                    unseen = Some(progress);
                }
            }
            if ended {
                return true;
            }
            match victim.go_on(libc::PTRACE_SINGLESTEP) {
                Some(libc::SIGTRAP) => {}
                Some(libc::SIGSTOP) => ended = true,
                other => panic!("the victim ended early: {other:?}"),
            }
            self.follow(victim.thread);
            steps += 1;
            assert!(steps < 20_000_000, "the victim does not come to an end");
        }
    }
}

/// A victim whose end its tracer must see before its parent can.
pub(crate) struct Victim {
    peer: Peer,
    thread: i32,
    progress: Mmap,
}

impl Victim {
    /// Lets it go on to its next stop, and says which signal stopped it.
    fn go_on(&self, how: libc::c_uint) -> Option<i32> {
        // SAFETY: the victim is our traced child, and it is stopped.
        let answer = unsafe { libc::ptrace(how, self.thread, 0, 0) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        stopped_by(self.thread)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.peer.signal(libc::SIGKILL);
        while stopped_by(self.thread).is_some() {}
    }
}

/// Keeps this thread, and the children that it makes, to one processor: another one for each such thread.
fn stay_here() {
    thread_local!(static STAYS: () = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let nobody_else = Pid::from_raw(0);
        let all = sched_getaffinity(nobody_else).unwrap();
        let usable: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap()).collect();
        let mut one = CpuSet::new();
        one.set(usable[THREADS.fetch_add(1, Ordering::Relaxed) % usable.len()]).unwrap();
        sched_setaffinity(nobody_else, &one).unwrap();
    });
    STAYS.with(|()| ());
}

/// Waits for a traced thread: the signal that stopped it, or none when it is gone.
fn stopped_by(thread: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: waitpid writes to `status`.
    let found = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    (found == thread && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
}
