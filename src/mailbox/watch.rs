//! Mailboxes that come and go, and those who serve them.

use super::post::Post;
use crate::error::Error;
use crate::queue::{Observer, check_name};
use crate::sys::notices::Notices;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// Something that has happened to the mailbox of this name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// It is there.
    Appeared(String),
    /// It is there no more, with everything in it.
    Removed(String),
    /// Somebody serves it.
    Awake(String),
    /// Nobody serves it any more.
    Asleep(String),
}

/// Tells of a post's mailboxes; made by [`Post::watch`].
///
/// What there is when it begins is told first, as if it had just come. That a mailbox comes or goes the kernel tells at once.
/// That somebody begins to serve it, or stops, is seen by looking every 250 ms, because the kernel tells nobody of a lock that a
/// death sets free: whoever comes and goes between two looks is not seen.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use laneway::mailbox::{Event, Post};
///
/// let post = Post::open(dir.path().join("post"));
/// let mut watch = post.watch()?;
/// let inbox = post.serve("backend")?;
/// assert_eq!(watch.next(None)?, Some(Event::Appeared("backend".to_owned())));
/// assert_eq!(watch.next(None)?, Some(Event::Awake("backend".to_owned())));
/// drop(inbox);
/// assert_eq!(watch.next(None)?, Some(Event::Asleep("backend".to_owned())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Watch {
    post: Post,
    notices: Notices,
    known: BTreeMap<String, Known>,
    events: VecDeque<Event>,
    /// When to look at the receivers again; none before the first look.
    next_look: Option<Instant>,
    /// There was something that the kernel could not be asked to tell of: the next look lists too.
    unsure: bool,
}

/// A mailbox, as it was when it was last looked at.
struct Known {
    id: [u8; 16],
    observer: Observer,
    awake: bool,
}

/// From one look at the receivers to the next.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Watch {
    pub(super) fn new(post: Post) -> io::Result<Watch> {
        Ok(Watch {
            post,
            notices: Notices::new()?,
            known: BTreeMap::new(),
            events: VecDeque::new(),
            next_look: None,
            unsure: true,
        })
    }

    /// The next thing that happens. Blocks until then; none when nothing has happened for `timeout`.
    ///
    /// # Errors
    /// When the directory cannot be listed or watched. A mailbox that cannot be opened is passed over until it can be.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Event>, Error> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let now = Instant::now();
            let next_look = self.next_look.unwrap_or(now);
            if now < next_look && deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            let until = deadline.map_or(next_look, |deadline| deadline.min(next_look));
            let told = self.notices.wait(until.saturating_duration_since(now));
            let told = told.map_err(|error| self.post.failed("watch", error))?;
            let is_time = next_look <= Instant::now();
            if told || is_time && self.unsure {
                self.list()?;
            }
            if told || is_time {
                self.look();
                self.next_look = Instant::now().checked_add(LOOK_EVERY);
            }
        }
    }

    /// Finds out which mailboxes there are.
    fn list(&mut self) -> Result<(), Error> {
        let root = self.post.root().to_owned();
        let failed = |error| self.post.failed("watch", error);
        // Before the listing: what comes after it is told. Again each time, because there may be another directory of this name.
        self.unsure = !self.notices.watch(&root).map_err(failed)?;
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            answer => Some(answer.map_err(failed)?),
        };
        let mut there = BTreeMap::new();
        for entry in entries.into_iter().flatten() {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().filter(|name| check_name(name).is_ok()) else { continue };
            if !self.post.exists(name) {
                // It may be half made, in which case its own directory tells of the rest.
                let is_directory = self.notices.watch(&root.join(name)).map_err(failed)?;
                if !is_directory || !self.post.exists(name) {
                    continue;
                }
            }
            match self.post.open_mail(name).and_then(|queue| Ok((queue.id(), queue.observe()?))) {
                Ok((id, observer)) => {
                    there.insert(name.to_owned(), Known { id, observer, awake: false });
                }
                Err(_) => self.unsure = true,
            }
        }
        let is_other = |name: &String, known: &Known| there.get(name).is_none_or(|now: &Known| now.id != known.id);
        let gone: Vec<String> =
            self.known.iter().filter(|(name, known)| is_other(name, known)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.known.remove(&name);
            self.events.push_back(Event::Removed(name));
        }
        for (name, known) in there {
            if !self.known.contains_key(&name) {
                self.events.push_back(Event::Appeared(name.clone()));
                self.known.insert(name, known);
            }
        }
        Ok(())
    }

    /// Finds out who is served.
    fn look(&mut self) {
        for (name, known) in &mut self.known {
            match known.observer.receiver_alive() {
                Ok(awake) if awake != known.awake => {
                    known.awake = awake;
                    let event = if awake { Event::Awake } else { Event::Asleep };
                    self.events.push_back(event(name.clone()));
                }
                Ok(_) => {}
                // It is being removed, or was damaged.
                Err(_) => self.unsure = true,
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("root", &self.post.root()).finish_non_exhaustive()
    }
}
