//! Health: what is wrong with queues and mailboxes, why that matters, and what helps.
//!
//! Looking changes nothing. [`Doctor::fix`] does what is safe: it clears away what killed processes left, what is left of another boot,
//! and memory that nobody uses; never anything that somebody holds.

mod finding;
mod host;
mod place;
mod processes;
mod queues;

pub use finding::{Check, Finding, Severity};

use crate::picture::{Key, Picture, Presence};
use finding::Fix;
use laneway::mailbox::Post;
use laneway::{Cause, Error, Host, Queue, dump};
use nix::sys::resource::{Resource, getrlimit};
use place::Growth;
use processes::Holders;
use queues::Round;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a receiver may take over what it has, unless somebody says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the health of the queues and mailboxes under two directories, and of the host as far as it concerns them.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use laneway_observe::{Check, Doctor, Severity};
///
/// let queues = dir.path().join("queues");
/// laneway::Queue::create(queues.join("steps"))?.sender()?.send(b"is anybody there?")?;
/// let mut doctor = Doctor::new(queues, dir.path().join("post"));
/// let finding = doctor.examine().into_iter().find(|finding| finding.check == Check::NobodyReceives).unwrap();
/// assert_eq!(finding.severity, Severity::Warning);
/// println!("{}: {} {} Try: {}", finding.about.display(), finding.what, finding.check.why(), finding.remedy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Doctor {
    picture: Picture,
    patience: Duration,
    alone: bool,
    /// How many files a process may have open, and may raise that to.
    files: Option<(u64, u64)>,
}

/// What was done about a finding.
#[derive(Debug)]
#[non_exhaustive]
pub struct Mended {
    /// What was looked for.
    pub check: Check,
    /// The queue, the mailbox or the directory.
    pub about: PathBuf,
    /// What was done, as a sentence; or why it could not be.
    pub what: Result<String, Error>,
}

impl Doctor {
    /// For the queues in one directory and the mailboxes in another. Neither need exist.
    pub fn new(queues: impl Into<PathBuf>, post: impl AsRef<Path>) -> Doctor {
        Doctor::of(Picture::new(queues, post), false)
    }

    /// For one queue or mailbox, the host, and the directory it lies in.
    pub fn of_one(queues: impl Into<PathBuf>, post: impl AsRef<Path>, key: Key) -> Doctor {
        Doctor::of(Picture::of_one(queues, post, key), true)
    }

    /// Asks for the limit of files now: whoever examines many queues raises its own afterwards.
    fn of(picture: Picture, alone: bool) -> Doctor {
        Doctor { picture, patience: PATIENCE, alone, files: getrlimit(Resource::RLIMIT_NOFILE).ok() }
    }

    /// How long a receiver that is there may take nothing while messages wait; default a minute. How long those of a queue have been
    /// waiting is known from the second look on, those of a mailbox from the first.
    pub fn patience(self, patience: Duration) -> Doctor {
        Doctor { patience, ..self }
    }

    /// Looks at everything: what is wrong comes first, the worst at the top, and what is as it should be last.
    pub fn examine(&mut self) -> Vec<Finding> {
        self.picture.look();
        let holders = Holders::scan();
        let best = Host::probe().fence_mode;
        let (patience, growth) = (self.patience, Growth::default());
        let mut round = Round { holders: &holders, patience, best, growth, found: Vec::new() };
        let post = Post::open(self.picture.post());
        for row in self.picture.rows().filter(|row| !matches!(row.presence, Presence::Gone(_))) {
            round.row(row, &post);
        }
        let Round { growth, mut found, .. } = round;
        for problem in self.picture.problems() {
            found.push(Finding::new(Check::Unlisted, Severity::Error, self.picture.queues(), problem));
        }
        self.places(growth, &holders, &mut found);
        host::kernel(self.files, &mut found);
        found.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.about.cmp(&other.about)));
        found
    }

    fn places(&self, growth: Growth, holders: &Holders, found: &mut Vec<Finding>) {
        let (queues, post) = (self.picture.queues(), self.picture.post());
        place::file_system(queues, growth, found);
        place::mode(queues, found);
        host::sessions(queues, found);
        // Mailboxes lie among the queues unless somebody keeps them elsewhere: then that is another place.
        if !post.starts_with(queues) {
            place::file_system(post, growth, found);
            host::sessions(post, found);
        }
        if post.exists() {
            place::mode(post, found);
        }
        if !self.alone {
            place::leftover_queues(queues, holders, found);
            place::leftover_mailboxes(post, found);
        }
        let mailboxes = self.picture.rows().filter(|row| row.kind == crate::picture::Kind::Mailbox);
        for row in mailboxes {
            place::leftover_queues(&row.path, holders, found);
        }
    }

    /// Does what is safe about these findings, and says what that was. What is held by somebody is left alone.
    pub fn fix(&self, findings: &[Finding]) -> Vec<Mended> {
        let fixable = findings.iter().filter_map(|finding| Some((finding, finding.fix.as_ref()?)));
        let mended = fixable.map(|(finding, fix)| {
            let what = self.mend(fix, &finding.about);
            Mended { check: finding.check, about: finding.about.clone(), what }
        });
        mended.collect()
    }

    fn mend(&self, fix: &Fix, about: &Path) -> Result<String, Error> {
        match fix {
            Fix::SweepQueues => Ok(format!("{} hidden directories removed", Queue::sweep(about)?)),
            Fix::SweepPost => Ok(format!("{} hidden directories removed", Post::open(about).sweep()?)),
            Fix::Trim => Ok(format!("{} given back", finding::bytes(Queue::open(about)?.trim()?))),
            Fix::RemoveQueue | Fix::RemoveMailbox => self.remove(fix, about),
        }
    }

    /// Removes what is left of another boot, if that is what it still is.
    fn remove(&self, fix: &Fix, about: &Path) -> Result<String, Error> {
        let name = about.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let queue = if *fix == Fix::RemoveQueue { about.to_owned() } else { about.join("mail") };
        match Queue::open(&queue) {
            Err(error) if matches!(error.cause(), Cause::OtherBoot) => {}
            Err(error) if !matches!(error.cause(), Cause::NotFound) => return Err(error),
            _ => return Ok("nothing: by now it is another one, or gone".to_owned()),
        }
        // One in another container shows in no list of processes.
        if is_held(&queue) {
            return Ok("nothing: a process that cannot be seen from here holds it".to_owned());
        }
        match fix {
            Fix::RemoveQueue => Queue::remove(about)?,
            _ => Post::open(self.picture.post()).remove(name)?,
        }
        Ok("removed, with everything in it".to_owned())
    }
}

/// Whether somebody holds one of a queue's locks, by the kernel's word. A dump asks also where nothing can be opened.
fn is_held(queue: &Path) -> bool {
    let asked = dump::read(queue, &dump::Options { payload: 0 }, |item| match item {
        dump::Item::Lock { held: true, .. } => Err(()),
        _ => Ok(()),
    });
    asked.is_err()
}
