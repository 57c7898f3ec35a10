//! A thread for each name, which owns what belongs to that name. The ends of a mailbox are `Send` and not `Sync`, and some of what
//! they do blocks: jobs go to their threads through channels, and a task of the server waits for nothing but an answer.

use crate::refusal::Refusal;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::SendError};

struct Worker<Job> {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

type ByName<Job> = Arc<Mutex<HashMap<String, Worker<Job>>>>;

fn lock<Job>(by_name: &ByName<Job>) -> MutexGuard<'_, HashMap<String, Worker<Job>>> {
    by_name.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread of a name does.
type Work<Job> = dyn Fn(&str, Jobs<Job>) + Send + Sync;

/// The threads of all names.
pub(crate) struct Workers<Job> {
    by_name: ByName<Job>,
    most: usize,
    work: Arc<Work<Job>>,
}

/// Jobs that wait for a thread until those who bring more have to wait.
const BACKLOG: usize = 1024;

impl<Job: Send + 'static> Workers<Job> {
    /// At most so many threads, each of which does `work`.
    pub(crate) fn new(most: usize, work: impl Fn(&str, Jobs<Job>) + Send + Sync + 'static) -> Workers<Job> {
        Workers { by_name: Arc::default(), most, work: Arc::new(work) }
    }

    /// Brings a job to the thread of this name, which is started if need be.
    pub(crate) async fn submit(&self, name: &str, mut job: Job) -> Result<(), Refusal> {
        loop {
            let jobs = self.jobs_of(name)?;
            match jobs.send(job).await {
                Ok(()) => return Ok(()),
                // The thread has panicked; the next one takes it.
                Err(SendError(back)) => job = back,
            }
        }
    }

    fn jobs_of(&self, name: &str) -> Result<Sender<Job>, Refusal> {
        let mut by_name = lock(&self.by_name);
        if let Some(worker) = by_name.get(name).filter(|worker| !worker.jobs.is_closed()) {
            return Ok(worker.jobs.clone());
        }
        let last = by_name.remove(name);
        by_name.retain(|_, worker| !worker.thread.is_finished());
        let busy = |why: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why);
        if by_name.len() >= self.most {
            return Err(busy(format!("{} mailboxes are in use, and no more can be at a time", self.most)));
        }
        let (jobs, receiver) = channel(BACKLOG);
        let queue = Jobs { receiver, by_name: Arc::clone(&self.by_name), runtime: Handle::current() };
        let (work, of) = (Arc::clone(&self.work), name.to_owned());
        let thread = std::thread::Builder::new().spawn(move || {
            // What the last one owned is free only when it is gone.
            let _ = last.map(|last| last.thread.join());
            work(&of, queue);
        });
        let thread = thread.map_err(|error| busy(format!("no thread can be started for {name:?}: {error}")))?;
        by_name.insert(name.to_owned(), Worker { jobs: jobs.clone(), thread });
        Ok(jobs)
    }
}

/// The jobs of a thread.
pub(crate) struct Jobs<Job> {
    receiver: Receiver<Job>,
    by_name: ByName<Job>,
    runtime: Handle,
}

impl<Job> Jobs<Job> {
    /// The next one, if it comes within that time.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Option<Job> {
        // The timer is set where the runtime is, not where this was called.
        self.runtime.block_on(async { tokio::time::timeout(at_most, self.receiver.recv()).await }).ok().flatten()
    }

    /// The next one if it is there.
    pub(crate) fn next(&mut self) -> Option<Job> {
        self.receiver.try_recv().ok()
    }

    /// Ends the thread's work, unless there is more of it: nobody brings a job to one that has ended.
    pub(crate) fn retire(&mut self) -> bool {
        let _locked = lock(&self.by_name);
        // One is in the map itself; who holds another is about to bring something.
        let done = self.receiver.is_empty() && self.receiver.sender_strong_count() <= 1;
        if done {
            self.receiver.close();
        }
        done
    }
}
