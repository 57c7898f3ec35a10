//! The one thread that looks. It sleeps while nobody watches; what it has seen it gives to all who do, and who is slow gets
//! the latest and no more.

use super::scene::{self, Changes, Scene};
use crate::pace::next_look;
use anyhow::{Context, Result};
use laneway_observe::{Key, Picture};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// What it is asked for.
enum Wish {
    /// Everything, seen after the wish.
    Everything(oneshot::Sender<(u64, Arc<str>)>),
    /// A closer look at one row.
    Detail(Key, oneshot::Sender<Option<Value>>),
    Stop,
}

/// The way to the one who looks.
#[derive(Clone)]
pub(super) struct Looker {
    wishes: Sender<Wish>,
    /// Behind a lock only for the moment in which somebody subscribes; None when it has ended.
    looks: Arc<Mutex<Option<watch::Receiver<Arc<Changes>>>>>,
}

impl Looker {
    /// What it sees from now on, look by look; none when it has ended.
    pub(super) fn watch(&self) -> Option<watch::Receiver<Arc<Changes>>> {
        let looks = self.looks.lock().ok()?;
        looks.as_ref().cloned()
    }

    /// Everything, as JSON, with the number of the look.
    pub(super) async fn everything(&self) -> Option<(u64, Arc<str>)> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Everything(answer)).ok()?;
        answered.await.ok()
    }

    /// A closer look at a row; none when there is no such row.
    pub(super) async fn detail(&self, key: Key) -> Option<Value> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Detail(key, answer)).ok()?;
        answered.await.ok()?
    }

    /// Ends it, and with it every stream.
    pub(super) fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.wishes.send(Wish::Stop);
        if let Ok(mut looks) = self.looks.lock() {
            *looks = None;
        }
    }
}

pub(super) fn start(queues: PathBuf, post: PathBuf, every: Duration) -> Result<Looker> {
    let (wishes, wished) = channel();
    let (show, looks) = watch::channel(Arc::new(Changes::default()));
    let thread = thread::Builder::new().name("looker".to_owned());
    let work = move || {
        Work { picture: Picture::new(queues, post), scene: Scene::new(every), show, every, due: None }.run(&wished)
    };
    thread.spawn(work).context("cannot start the thread that looks")?;
    Ok(Looker { wishes, looks: Arc::new(Mutex::new(Some(looks))) })
}

struct Work {
    picture: Picture,
    scene: Scene,
    show: watch::Sender<Arc<Changes>>,
    every: Duration,
    /// When to look next; none before the first look.
    due: Option<Instant>,
}

impl Work {
    fn run(mut self, wishes: &Receiver<Wish>) {
        loop {
            // One of the receivers is kept for those who come.
            let is_watched = self.show.receiver_count() > 1;
            let wish = match (is_watched, self.due) {
                (true, Some(due)) => wishes.recv_timeout(due.saturating_duration_since(Instant::now())),
                _ => wishes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wish {
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) | Ok(Wish::Stop) => return,
                // Whoever asked may be gone by the time it is answered.
                Ok(Wish::Everything(answer)) => {
                    self.look_unless_fresh();
                    let _ = answer.send(self.scene.everything(&self.picture));
                }
                Ok(Wish::Detail(key, answer)) => {
                    if self.picture.row(&key).is_none() {
                        self.look_unless_fresh();
                    }
                    let _ = answer.send(scene::detail(&mut self.picture, &key));
                }
            }
        }
    }

    /// However many come and go, they cost no more looks than one who stays.
    fn look_unless_fresh(&mut self) {
        if self.due.is_none_or(|due| due <= Instant::now()) {
            self.look();
        }
    }

    fn look(&mut self) {
        let began = Instant::now();
        self.picture.look();
        let changes = self.scene.take_in(&self.picture);
        self.show.send_replace(Arc::new(changes));
        self.due = Some(next_look(began, self.every));
    }
}
