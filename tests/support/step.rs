//! Stepping: the files of a queue, watched while processes that use it are single-stepped. After each step that changed
//! something they are shown as a kill at that instruction would leave them: the same bytes, the same lengths, and the same
//! bytes of the lanes' files reserved. What is reserved cannot be asked of the kernel without touching it, so it is taken
//! from the system calls that the victim makes; a lane whose file takes more space by anything else was touched where
//! nothing was reserved, which fails the test.
//!
//! Single steps follow the order of the program, so this cannot see what a processor or compiler reorders. A system call
//! is one step.
//!
//! Knows nothing of how a victim comes to be: `tests/support/victim.rs` makes them of the test binary, and the check `kill`
//! of `verify`, which includes this file, forks them.

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

    /// Its length.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Its bytes, as far as they are reserved, and where they lie.
    pub(crate) fn runs(&self) -> &[(u64, Vec<u8>)] {
        &self.runs
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

    /// Whether a copy has the same bytes reserved.
    fn is_shaped_as(&self, copied: &Copied) -> bool {
        let same = |(run, (at, bytes)): (&Range<u64>, &(u64, Vec<u8>))| {
            run.start == *at && run.end - run.start == bytes.len() as u64
        };
        self.len == copied.len && self.runs.len() == copied.runs.len() && self.runs.iter().zip(&copied.runs).all(same)
    }

    fn copy_to(&self, copied: &mut Copied) {
        if !self.is_shaped_as(copied) {
            *copied = self.copied();
            return;
        }
        for (run, (_, bytes)) in self.runs.iter().zip(&mut copied.runs) {
            bytes.copy_from_slice(self.run(run));
        }
    }

    /// Whether the file differs from a copy, in a lane's records, or otherwise.
    fn differs(&self, last: &Copied) -> Change {
        if !self.is_shaped_as(last) {
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
    fn follow(&mut self, victim: Victim, name: &str) {
        let meta = self.file.metadata().unwrap();
        if meta.blocks() == self.blocks {
            return;
        }
        let call = victim.last_call().unwrap_or_else(|| panic!("{name} was touched where nothing was reserved"));
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
pub(crate) enum Change {
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

    /// The directory that is watched.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Looks which files there are.
    pub(crate) fn list(&mut self) {
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

    /// Takes over what the step that was just made did to what the lanes' files take.
    pub(crate) fn follow(&mut self, victim: &Victim) {
        for (name, mapped) in self.files.iter_mut().filter(|(_, mapped)| mapped.is_lane) {
            mapped.follow(*victim, name);
        }
    }

    /// Runs a victim, which has stopped itself once, up to where it stops itself again.
    pub(crate) fn run_up(&mut self, victim: &Victim) {
        loop {
            self.list();
            match victim.go_on(libc::PTRACE_SYSCALL) {
                Some(libc::SIGTRAP) => self.follow(victim),
                Some(libc::SIGSTOP) => break,
                other => panic!("the victim ended early: {other:?}"),
            }
        }
        self.list();
    }

    /// Looks at what a step has changed, and takes that over into what [`seen`](Self::seen) gives.
    pub(crate) fn look(&mut self) -> Change {
        if self.relist {
            self.list();
        }
        let change = self.change();
        if change != Change::None {
            self.take();
        }
        change
    }

    /// Takes the files as they are, without a copy of what has not changed its length.
    fn take(&mut self) {
        let Watch { files, locks, last, .. } = self;
        last.retain(|name, _| files.contains_key(name) || locks.contains_key(name));
        for (name, mapped) in files.iter() {
            match last.get_mut(name) {
                Some(copied) => mapped.copy_to(copied),
                None => drop(last.insert(name.clone(), mapped.copied())),
            }
        }
        for (name, copied) in locks.iter().filter(|(name, copied)| last.get(*name) != Some(copied)).collect::<Vec<_>>()
        {
            last.insert(name.clone(), copied.clone());
        }
    }

    /// The files as they were at the last look.
    pub(crate) fn seen(&self) -> &Snapshot {
        &self.last
    }

    /// Single-steps a victim until it stops itself, and shows what is there after each step that changed something, with
    /// what `progress` says then.
    pub(crate) fn steps(&mut self, victim: &Victim, progress: impl Fn() -> u64, mut visit: impl FnMut(&Snapshot, u64)) {
        let (mut steps, mut unseen, mut records) = (0u64, None, 0u32);
        let mut ended = false;
        loop {
            if self.relist {
                self.list();
            }
            let (progress, change) = (progress(), self.change());
            if change == Change::Words
                && let Some(progress) = unseen.take()
            {
                visit(&self.last, progress);
            }
            if change != Change::None {
                self.take();
                records = if change == Change::Records { records + 1 } else { 0 };
                if change == Change::Words || records % self.every == 0 {
                    unseen = None;
                    visit(&self.last, progress);
                } else {
                    unseen = Some(progress);
                }
            }
            if ended {
                return;
            }
            match victim.go_on(libc::PTRACE_SINGLESTEP) {
                Some(libc::SIGTRAP) => {}
                Some(libc::SIGSTOP) => ended = true,
                other => panic!("the victim ended early: {other:?}"),
            }
            self.follow(victim);
            steps += 1;
            assert!(steps < 20_000_000, "the victim does not come to an end");
        }
    }
}

/// A thread that this one traces: the only one of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Victim(pub(crate) i32);

impl Victim {
    /// Lets it go on to its next stop, and says which signal stopped it; none when it is gone.
    pub(crate) fn go_on(self, how: libc::c_uint) -> Option<i32> {
        // SAFETY: the victim is our traced child, and it is stopped.
        let answer = unsafe { libc::ptrace(how, self.0, 0, 0) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
        self.stopped_by()
    }

    /// Waits for it: the signal that stopped it, or none when it is gone.
    pub(crate) fn stopped_by(self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: waitpid writes to `status`.
        let found = unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) };
        (found == self.0 && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
    }

    /// The system call that it has just come back from; none if it has not.
    #[cfg(target_arch = "x86_64")]
    fn last_call(self) -> Option<Call> {
        // SAFETY: plain numbers, for which zero is valid; the victim is our traced child, and it is stopped.
        unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, self.0, 0, &raw mut registers);
            let code = libc::ptrace(libc::PTRACE_PEEKTEXT, self.0, registers.rip - 2, 0);
            // `syscall` keeps all registers but the answer's and two more.
            let number = if registers.orig_rax as i64 >= 0 { registers.orig_rax } else { libc::SYS_fallocate as u64 };
            let call = Call { number, mode: registers.rsi, offset: registers.rdx, len: registers.r10 };
            (code & 0xffff == 0x050f).then_some(call)
        }
    }

    /// Elsewhere the registers have other names; lanes that grow are not watched there.
    #[cfg(not(target_arch = "x86_64"))]
    fn last_call(self) -> Option<Call> {
        None
    }
}

/// Keeps this thread, and the children that it makes, to one processor: another one for each such thread.
pub(crate) fn stay_here() {
    thread_local!(static STAYS: () = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        stay_on(THREADS.fetch_add(1, Ordering::Relaxed));
    });
    STAYS.with(|()| ());
}

/// Keeps this thread, and the children that it makes, to one of the processors that it may use.
pub(crate) fn stay_on(number: usize) {
    let nobody_else = Pid::from_raw(0);
    let all = sched_getaffinity(nobody_else).unwrap();
    let usable: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap()).collect();
    let mut one = CpuSet::new();
    one.set(usable[number % usable.len()]).unwrap();
    sched_setaffinity(nobody_else, &one).unwrap();
}
