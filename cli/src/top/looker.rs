//! The thread that looks, so that keys are heard however long a look takes.

use super::Event;
use super::entry::{Entry, Shot};
use crate::pace::next_look;
use laneway_observe::{Detail, Figures, Key, Picture};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// What the thread is to do; held by both.
#[derive(Debug, Default)]
struct Wishes {
    /// The one to look at closely.
    open: Option<Key>,
    paused: bool,
    /// Not when it is time, but now.
    at_once: bool,
    over: bool,
    /// The last look, until somebody takes it: who is slow to draw gets the latest and none of those before it.
    shot: Option<Shot>,
}

#[derive(Debug, Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

/// The thread's other end. It ends with it, after the look that it is at.
pub(super) struct Looker(Arc<Shared>);

impl Looker {
    /// Looks every so often, and tells when there is something new.
    pub(super) fn start(picture: Picture, every: Duration, open: Option<Key>, tell: mpsc::Sender<Event>) -> Looker {
        let shared = Arc::new(Shared::default());
        shared.lock().open = open;
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            let last_words = LastWords(tell.clone());
            work(picture, every, &theirs, &tell);
            drop(last_words);
        });
        Looker(shared)
    }

    /// What there is that nobody has taken yet.
    pub(super) fn take(&self) -> Option<Shot> {
        self.0.lock().shot.take()
    }

    /// Says what is open and whether to go on.
    pub(super) fn wish(&self, open: Option<&Key>, paused: bool) {
        let mut wishes = self.0.lock();
        if wishes.open.as_ref() != open {
            wishes.open = open.cloned();
            wishes.at_once = open.is_some();
        }
        wishes.paused = paused;
        self.0.changed.notify_one();
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

/// Tells when the thread has ended otherwise than it should: the panic's hook has given the terminal back by then.
struct LastWords(mpsc::Sender<Event>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Event::Failed("the thread that looks has failed".to_owned()));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(mut picture: Picture, every: Duration, shared: &Shared, tell: &mpsc::Sender<Event>) {
    // Someone who opens a row among thousands does not wait for a look at all of them.
    let mut only_closer = false;
    let mut next = Instant::now();
    loop {
        let open = shared.lock().open.clone();
        if !only_closer {
            let began = Instant::now();
            picture.look();
            next = next_look(began, every);
        }
        let shot = shoot(&mut picture, open.as_ref());
        let mut wishes = shared.lock();
        if wishes.shot.replace(shot).is_none() && tell.send(Event::Looked).is_err() {
            return;
        }
        loop {
            if wishes.over {
                return;
            }
            only_closer = std::mem::take(&mut wishes.at_once);
            let left = next.saturating_duration_since(Instant::now());
            if only_closer || left.is_zero() && !wishes.paused {
                break;
            }
            // Paused, it waits to be told.
            let left = if wishes.paused { Duration::from_secs(3600) } else { left };
            wishes = shared.changed.wait_timeout(wishes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What the picture shows now.
pub(super) fn shoot(picture: &mut Picture, open: Option<&Key>) -> Shot {
    let detail = open.and_then(|key| {
        let figures = picture.row(key)?.figures.clone()?;
        let detail = picture.detail(key, messages(&figures), TICKETS)?;
        let mut detail = detail.map_err(|error| error.to_string());
        if let Ok(detail) = &mut detail {
            shorten(detail);
        }
        Some((key.clone(), detail))
    });
    Shot {
        at: Instant::now(),
        entries: picture.rows().map(Entry::of).collect(),
        problems: picture.problems().to_vec(),
        detail,
        places: [picture.queues().to_owned(), picture.post().to_owned()],
    }
}

const TICKETS: usize = 30;
const MESSAGES: u64 = 20;
/// Bytes of messages that are copied for one look.
const COPIED: u64 = 16 << 20;

/// How many messages of each lane to look at: fewer where they are long.
fn messages(figures: &Figures) -> usize {
    let mean = figures.queue.depth_bytes / figures.queue.depth_messages.max(1);
    let lanes = figures.queue.lanes.max(1) as u64;
    (COPIED / (mean.max(1) * lanes)).clamp(1, MESSAGES) as usize
}

/// A screen has no room for more.
fn shorten(detail: &mut Detail) {
    detail.messages.iter_mut().for_each(|message| message.body.truncate(4096));
}
