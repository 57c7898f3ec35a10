//! All queues and mailboxes under two directories, from look to look.

use crate::figures::{Detail, Figures, Sender, Source};
use crate::history::{History, Rates, Sample};
use laneway::mailbox::Post;
use laneway::{Cause, Error, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A mailbox.
    Mailbox,
    /// A queue.
    Queue,
}

impl Kind {
    /// The word for it: `mailbox` or `queue`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Mailbox => "mailbox",
            Kind::Queue => "queue",
        }
    }
}

/// Names a row, for as long as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// A queue or a mailbox.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// Whether what a row is about is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It was there at the last look.
    Here,
    /// It is there, and cannot be looked at, as this sentence says.
    Unreadable(String),
    /// It is there no more; since then.
    Gone(Instant),
}

/// A queue or a mailbox. One that is created again under its name goes on in its row.
#[derive(Debug)]
#[non_exhaustive]
pub struct Row {
    /// A queue or a mailbox.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Whether it is there.
    pub presence: Presence,
    /// What was seen when it was last looked at with success.
    pub figures: Option<Figures>,
    /// From the look before to the last.
    pub rates: Rates,
    history: History,
}

impl Row {
    /// The looks so far, the latest last: 120 at most.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.history.samples()
    }

    /// What the row is named by.
    pub fn key(&self) -> Key {
        Key { kind: self.kind, name: self.name.clone() }
    }

    /// Whether it is there and can be looked at.
    pub fn is_here(&self) -> bool {
        self.presence == Presence::Here
    }
}

/// A row, and what it is looked at with.
struct Known {
    row: Row,
    source: Option<Source>,
    senders: BTreeMap<u32, Sender>,
    looked: Option<Instant>,
}

/// All queues and mailboxes under two directories, as they come, go and work.
///
/// A look costs a few system calls for each queue and for each of its lanes, and reads some words of them; mailboxes cost about
/// twice as much. What is looked at does not notice.
pub struct Picture {
    queues: PathBuf,
    post: Post,
    known: BTreeMap<Key, Known>,
    problems: Vec<String>,
    only: Option<Key>,
}

/// How long what is gone is still shown.
const REMEMBERED: Duration = Duration::from_secs(10);

impl Picture {
    /// Of the queues in one directory and the mailboxes in another. Neither need exist yet. Nothing is looked at before
    /// [`look`](Self::look).
    pub fn new(queues: impl Into<PathBuf>, post: impl AsRef<Path>) -> Picture {
        Picture {
            queues: queues.into(),
            post: Post::open(post),
            known: BTreeMap::new(),
            problems: Vec::new(),
            only: None,
        }
    }

    /// Of one queue or mailbox alone.
    pub fn of_one(queues: impl Into<PathBuf>, post: impl AsRef<Path>, key: Key) -> Picture {
        Picture { only: Some(key), ..Picture::new(queues, post) }
    }

    /// Looks at everything there is. What cannot be looked at is a row too, and says why.
    pub fn look(&mut self) {
        self.problems.clear();
        let there = self.list();
        let now = Instant::now();
        for (key, known) in &mut self.known {
            if !there.contains(key) {
                known.leave(now);
            }
        }
        let outlived = |presence: &Presence| matches!(presence, Presence::Gone(since) if now.saturating_duration_since(*since) > REMEMBERED);
        self.known.retain(|_, known| !outlived(&known.row.presence));
        for key in there {
            let (queues, post) = (&self.queues, &self.post);
            let known = self.known.entry(key).or_insert_with_key(|key| Known::new(queues, post, key));
            known.look(post);
        }
    }

    /// The rows, mailboxes first, sorted by their names.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.known.values().map(|known| &known.row)
    }

    /// A row.
    pub fn row(&self, key: &Key) -> Option<&Row> {
        self.known.get(key).map(|known| &known.row)
    }

    /// The directories that could not be listed at the last look, each with a sentence.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The directory of the queues.
    pub fn queues(&self) -> &Path {
        &self.queues
    }

    /// The directory of the mailboxes.
    pub fn post(&self) -> &Path {
        self.post.root()
    }

    /// A closer look at one of the rows: its lanes, up to `messages` of each that wait, and for a mailbox the last `outcomes` of its
    /// tickets. None when there is no such row, or it cannot be looked at.
    pub fn detail(&mut self, key: &Key, messages: usize, outcomes: usize) -> Option<Result<Detail, Error>> {
        Some(self.known.get_mut(key)?.source.as_mut()?.detail(messages, outcomes))
    }

    fn list(&mut self) -> BTreeSet<Key> {
        if let Some(only) = &self.only {
            let there = match only.kind {
                Kind::Mailbox => self.post.exists(&only.name),
                Kind::Queue => Queue::exists(self.queues.join(&only.name)),
            };
            return there.then(|| only.clone()).into_iter().collect();
        }
        let mut keys = BTreeSet::new();
        for (kind, names) in [(Kind::Mailbox, self.post.list()), (Kind::Queue, Queue::list(&self.queues))] {
            match names {
                Ok(names) => keys.extend(names.into_iter().map(|name| Key { kind, name })),
                Err(error) => self.problems.push(error.to_string()),
            }
        }
        keys
    }
}

impl Known {
    fn new(queues: &Path, post: &Post, key: &Key) -> Known {
        let root = match key.kind {
            Kind::Mailbox => post.root(),
            Kind::Queue => queues,
        };
        let row = Row {
            kind: key.kind,
            name: key.name.clone(),
            path: root.join(&key.name),
            presence: Presence::Here,
            figures: None,
            rates: Rates::default(),
            history: History::default(),
        };
        Known { row, source: None, senders: BTreeMap::new(), looked: None }
    }

    fn leave(&mut self, now: Instant) {
        self.source = None;
        self.row.rates = Rates::default();
        if !matches!(self.row.presence, Presence::Gone(_)) {
            self.row.presence = Presence::Gone(now);
        }
    }

    fn open(&self, post: &Post) -> Result<Source, Error> {
        match self.row.kind {
            Kind::Mailbox => Ok(Source::Mailbox(Box::new(post.find(&self.row.name)?))),
            Kind::Queue => Source::of_queue(&Queue::open(&self.row.path)?),
        }
    }

    fn look(&mut self, post: &Post) {
        // A second time when it is another one under the name by now.
        match self.look_once(post).or_else(|_| self.look_once(post)) {
            Ok(()) => self.row.presence = Presence::Here,
            Err(error) if matches!(error.cause(), Cause::NotFound | Cause::Detached) => self.leave(Instant::now()),
            Err(error) => {
                self.row.rates = Rates::default();
                self.row.presence = Presence::Unreadable(error.to_string());
            }
        }
    }

    fn look_once(&mut self, post: &Post) -> Result<(), Error> {
        // Taken out: what fails is opened again.
        let mut source = match self.source.take() {
            Some(source) => source,
            None => {
                self.senders.clear();
                self.open(post)?
            }
        };
        let now = Instant::now();
        let seconds = self.looked.map_or(0.0, |then| now.saturating_duration_since(then).as_secs_f64());
        let (mut figures, lanes) = source.look(seconds, &mut self.senders)?;
        self.looked = Some(now);
        let history = &mut self.row.history;
        self.row.rates = history.add(now, figures.sent, figures.received, figures.waiting);
        let oldest = history.oldest(now, &lanes);
        figures.oldest = figures.oldest.or(oldest);
        self.row.figures = Some(figures);
        self.source = Some(source);
        Ok(())
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture").field("queues", &self.queues).field("post", &self.post.root()).finish_non_exhaustive()
    }
}
