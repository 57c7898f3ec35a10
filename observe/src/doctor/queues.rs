//! Queues and mailboxes: what waits, who should see to it, and what is broken.

use super::finding::{Check, Finding, Fix, Severity, bytes, word};
use super::host;
use super::place::Growth;
use super::processes::{Holders, Process, State};
use crate::figures::Figures;
use crate::picture::{Kind, Row};
use laneway::layout::FenceMode;
use laneway::mailbox::Post;
use laneway::{Cause, Error, LaneStat, Pressure, Queue};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use std::path::Path;
use std::time::Duration;

/// What one look at all of them needs, and what comes of it.
pub(super) struct Round<'a> {
    pub(super) holders: &'a Holders,
    /// How long a receiver may take over what it has.
    pub(super) patience: Duration,
    /// Whether a queue that is born here would do with lighter fences.
    pub(super) best: FenceMode,
    pub(super) growth: Growth,
    pub(super) found: Vec<Finding>,
}

/// The queues that a mailbox has besides that of its mail.
const SIDES: [&str; 3] = ["control", "retry", "dead"];

/// What a lane takes in its file besides its ring.
const BEFORE_RING: u64 = laneway::layout::RING as u64;

impl Round<'_> {
    /// One that can be looked at, or cannot.
    pub(super) fn row(&mut self, row: &Row, post: &Post) {
        let (main, sides) = match row.kind {
            Kind::Queue => (row.path.clone(), &[][..]),
            Kind::Mailbox => (row.path.join("mail"), &SIDES[..]),
        };
        let before = self.found.len();
        self.queue(&main, &row.path, row.kind);
        for side in sides.iter().map(|side| row.path.join(side)).filter(|side| Queue::exists(side)) {
            self.queue(&side, &row.path, row.kind);
        }
        if let Some(figures) = row.figures.as_ref().filter(|_| row.is_here()) {
            self.receiver(row, &main, figures);
            self.losses(row, figures);
            if row.kind == Kind::Mailbox {
                self.dead_letters(row, post);
            }
        }
        if self.found.len() == before {
            self.found.push(Finding::new(Check::Sound, Severity::Ok, &row.path, "all is well"));
        }
    }

    /// A queue, as it lies there; `whole` is what a user calls it by.
    fn queue(&mut self, path: &Path, whole: &Path, kind: Kind) {
        let looked = Queue::open(path).and_then(|queue| {
            let mut observer = queue.observe()?;
            let (stat, lanes) = observer.look()?;
            Ok((queue, stat, lanes, observer.unreadable().collect::<Vec<_>>()))
        });
        let (queue, stat, lanes, unreadable) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.cannot_open(path, whole, kind, &error),
        };
        self.growth.possible += stat.limit_bytes.saturating_sub(stat.reserved_bytes);
        if queue.fence_mode() == FenceMode::Symmetric && self.best == FenceMode::Asymmetric {
            let what = "it was created where membarrier was not to be had, and does with full fences for good";
            self.add(Check::FenceMode, Severity::Notice, path, what.to_owned(), remove(whole, kind));
        }
        let mut idle = 0;
        for lane in &lanes {
            if lane.sender_alive {
                let most = BEFORE_RING + queue.capacity() + queue.overflow_limit();
                self.growth.held += most.saturating_sub(lane.reserved_bytes);
                self.sender(path, lane);
            } else if lane.segment_bytes == 0 && lane.damage.is_none() {
                idle += lane.reserved_bytes.saturating_sub(BEFORE_RING + queue.capacity());
            }
            if let Some(damage) = lane.damage {
                self.add(Check::PoisonedLane, Severity::Error, path, damage.to_string(), remove(whole, kind));
            }
        }
        for (lane, why) in unreadable {
            let what = format!("lane {lane} cannot be used: {why}");
            self.add(Check::PoisonedLane, Severity::Error, path, what, remove(whole, kind));
        }
        if idle > 0 {
            let what = format!("lanes that no sender holds keep {} that nothing lies in", bytes(idle));
            let finding = Finding::new(Check::IdleMemory, Severity::Notice, path, what);
            self.found.push(finding.remedy(format!("laneway trim {}", word(path))).fix(Fix::Trim));
        }
    }

    fn add(&mut self, check: Check, severity: Severity, about: &Path, what: String, remedy: String) {
        self.found.push(Finding::new(check, severity, about, what).remedy(remedy));
    }

    fn cannot_open(&mut self, path: &Path, whole: &Path, kind: Kind, error: &Error) {
        let (check, severity) = match error.cause() {
            // It went away since it was listed.
            Cause::NotFound | Cause::Detached => return,
            Cause::OtherBoot => (Check::OtherBoot, Severity::Warning),
            Cause::Damaged { .. } => (Check::Damaged, Severity::Error),
            Cause::Version { .. } => (Check::OtherVersion, Severity::Error),
            Cause::Untrusted { .. } => (Check::Untrusted, Severity::Error),
            Cause::Filesystem { .. } => (Check::FileSystem, Severity::Error),
            _ => (Check::CannotOpen, Severity::Error),
        };
        let mut what = error.cause().to_string();
        let remedy = match (check, no_descriptors(error.cause())) {
            (_, Some((soft, hard))) => {
                what = format!("{what}: whoever looked may open {soft} files, and raise that to {hard} (`ulimit -n`)");
                host::more_files(soft, hard)
            }
            (Check::Untrusted | Check::CannotOpen, None) => format!("ls -la {}", word(path)),
            _ => remove(whole, kind),
        };
        let finding = Finding::new(check, severity, path, what).remedy(remedy);
        let is_whole = kind == Kind::Queue || path.ends_with("mail");
        let fix = match (check, kind) {
            // Whoever held it ended with that boot; should somebody hold it all the same, it stays.
            (Check::OtherBoot, _) if !is_whole || self.holders.any_in(path) => None,
            (Check::OtherBoot, Kind::Queue) => Some(Fix::RemoveQueue),
            (Check::OtherBoot, Kind::Mailbox) => Some(Fix::RemoveMailbox),
            _ => None,
        };
        let about = if fix == Some(Fix::RemoveMailbox) { whole } else { path };
        self.found.push(Finding { fix, about: about.to_owned(), ..finding });
    }

    /// The processes that hold a lock, if there is one that is held up.
    fn held_up(&self, lock: &Path) -> Option<(Process, Severity, &'static str)> {
        let holders = self.holders.of(lock);
        // A child that was forked holds what its parent holds: one that runs is enough to go on.
        if holders.iter().any(|process| process.state == State::Well) {
            return None;
        }
        let process = holders.first()?.clone();
        let (severity, how) = match process.state {
            State::Stopped => (Severity::Error, "is stopped"),
            State::Frozen => (Severity::Error, "is frozen with its control group"),
            State::Uninterruptible => (Severity::Notice, "waits in the kernel, and cannot be interrupted"),
            State::Well => return None,
        };
        Some((process, severity, how))
    }

    /// Says that somebody holds a lock who cannot be seen.
    fn unseen(&mut self, lock: &Path, about: &Path, who: &str) {
        if self.holders.of(lock).is_empty() && lock.exists() {
            let unseen = self.holders.unseen;
            let what =
                format!("{who} is held by a process that cannot be seen from here ({unseen} may not be looked into)");
            self.add(Check::HolderUnseen, Severity::Notice, about, what, String::new());
        }
    }

    fn sender(&mut self, path: &Path, lane: &LaneStat) {
        let number = lane.lane;
        let lock = path.join(format!("lane-{number:03}.lock"));
        self.unseen(&lock, path, &format!("lane {number}"));
        if let Some((process, severity, how)) = self.held_up(&lock) {
            let what =
                format!("{process}, which holds lane {number}, {how}; {} messages of it wait", lane.depth_messages);
            let remedy = wake(&process);
            // Others go on: it holds nobody up but itself.
            self.add(Check::SenderStopped, severity.min(Severity::Warning), path, what, remedy);
        } else if lane.sender_sleeps {
            let what = format!(
                "the sender of lane {number} waits for room: {} messages of it wait, {}",
                lane.depth_messages,
                bytes(lane.depth_bytes)
            );
            self.add(Check::SenderBlocked, Severity::Warning, path, what, format!("laneway stat {}", word(path)));
        }
    }

    fn receiver(&mut self, row: &Row, main: &Path, figures: &Figures) {
        let waiting = figures.waiting;
        // What is kept for later waits for nobody yet.
        let due = waiting.saturating_sub(figures.mail.as_ref().map_or(0, |mail| mail.kept));
        // Of a queue the first look does not tell.
        let known = figures.oldest.filter(|age| age.as_secs() > 0);
        let age = known.map(|age| format!(", the oldest for {}", time(age))).unwrap_or_default();
        if !figures.queue.receiver_alive {
            if due > 0 {
                let last = match figures.queue.receiver_attaches {
                    0 => "nobody has ever received".to_owned(),
                    n => format!("nobody receives any more (of {n} that came)"),
                };
                let remedy = match row.kind {
                    Kind::Queue => format!("laneway recv {}", word(&row.path)),
                    Kind::Mailbox => format!("laneway serve {} --exec COMMAND", word(&row.path)),
                };
                let what = format!("{} wait{age}, and {last}", messages(due));
                self.add(Check::NobodyReceives, Severity::Warning, &row.path, what, remedy);
            }
            return;
        }
        let lock = main.join("receiver.lock");
        self.unseen(&lock, &row.path, "the receiver's lock");
        if let Some((process, severity, how)) = self.held_up(&lock) {
            let what = format!("{process}, which receives, {how}; {} wait{age}", messages(waiting));
            let remedy = wake(&process);
            self.add(Check::ReceiverStopped, severity, &row.path, what, remedy);
            return;
        }
        // Neither did it take anything for so long, nor was there nothing to take.
        let oldest = figures.oldest.filter(|oldest| due > 0 && *oldest >= self.patience);
        let idle = match &figures.mail {
            Some(mail) => mail.idle.or(oldest),
            None => oldest,
        };
        if let (Some(oldest), Some(idle)) = (oldest, idle.filter(|idle| *idle >= self.patience)) {
            let taken = figures.mail.as_ref().map_or(0, |mail| mail.taken);
            let taken = if taken > 0 { format!(" (of these it has taken {taken})") } else { String::new() };
            let holder = self.holders.of(&lock).first().map_or("the receiver".to_owned(), Process::to_string);
            let what = format!(
                "{} wait{taken}, the oldest for {}, and {holder} has taken none for {}",
                messages(due),
                time(oldest),
                time(idle)
            );
            let pid = self.holders.of(&lock).first().map(|process| process.pid);
            let remedy = pid.map_or(String::new(), |pid| format!("kill {pid}"));
            self.add(Check::ReceiverStuck, Severity::Warning, &row.path, what, remedy);
        }
    }

    fn losses(&mut self, row: &Row, figures: &Figures) {
        let stat = match row.kind {
            Kind::Queue => format!("laneway stat {}", word(&row.path)),
            Kind::Mailbox => format!("laneway mail stat {}", word(&row.path)),
        };
        let (dropped, refused) = (figures.queue.dropped, figures.mail.as_ref().map_or(0, |mail| mail.refused));
        if dropped > 0 || refused > 0 {
            let what = format!("{dropped} messages were dropped and {refused} refused since it was created");
            self.add(Check::MessagesDropped, Severity::Notice, &row.path, what, stat.clone());
        }
        if figures.pressure() == Pressure::High {
            let what = format!("{} wait, {}", messages(figures.waiting), bytes(figures.queue.depth_bytes));
            self.add(Check::HighPressure, Severity::Notice, &row.path, what, stat);
        }
    }

    fn dead_letters(&mut self, row: &Row, post: &Post) {
        // Asking would make the place for them.
        if !row.path.join("dead/queue").exists() {
            return;
        }
        let letters = post.find(&row.name).and_then(|mailbox| mailbox.dead_letters());
        if let Some(letters) = letters.ok().filter(|letters| !letters.is_empty()) {
            let what = format!("{} became dead letters, and lie there", messages(letters.len() as u64));
            let remedy = format!("laneway dead list {}", word(&row.path));
            self.add(Check::DeadLetters, Severity::Warning, &row.path, what, remedy);
        }
    }
}

/// What the limit of open files is, and may be raised to, if this is what was in the way.
fn no_descriptors(cause: &Cause) -> Option<(u64, u64)> {
    let Cause::Io { source, .. } = cause else { return None };
    let is_it = source.raw_os_error() == Some(Errno::EMFILE as i32);
    getrlimit(Resource::RLIMIT_NOFILE).ok().filter(|_| is_it)
}

/// How it is removed.
fn remove(whole: &Path, kind: Kind) -> String {
    match kind {
        Kind::Queue => format!("laneway rm {}", word(whole)),
        Kind::Mailbox => format!("laneway mail rm {}", word(whole)),
    }
}

/// How a process is let go on.
fn wake(process: &Process) -> String {
    match process.state {
        State::Stopped => format!("kill -CONT {}", process.pid),
        _ => format!("cat /proc/{}/cgroup", process.pid),
    }
}

fn messages(number: u64) -> String {
    if number == 1 { "1 message".to_owned() } else { format!("{number} messages") }
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
