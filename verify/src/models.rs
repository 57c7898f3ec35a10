//! The loom models, one by one: each a program of its own, so that it can be timed, and stopped.

use crate::workspace::{Workspace, must, run};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Building them, with what they need, from nothing.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// One model.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) program: PathBuf,
    pub(crate) name: String,
}

/// Left out by `--quick`: most of the time of all goes to these.
pub(crate) const SLOW: &[&str] = &[
    "two_senders_wake_one_receiver",
    "a_message_that_fits_only_behind_a_pad_gets_there",
    "a_segment_is_used_again_only_when_all_of_it_was_given_back",
    "no_segment_is_given_back_that_the_reader_has_not_passed",
];

impl Model {
    pub(crate) fn is_slow(&self) -> bool {
        SLOW.contains(&self.name.as_str())
    }
}

/// What became of a model.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    Held(Duration),
    /// Loom found a fault, or a test's own assertion did; in the words of the panic.
    Fell(String),
    /// It took too long: nobody knows.
    Expired,
    /// Nobody wanted to know any more.
    Dropped,
}

/// Builds the models of the workspace in `directory` and lists them.
pub(crate) fn build(directory: &Path) -> Result<Vec<Model>> {
    let text = must(&mut Workspace::cargo(directory, &["models", "--tests", "--no-run"]), BUILD_LIMIT)?;
    let mut models = Vec::new();
    for line in text.lines().filter(|line| line.trim_start().starts_with("Executable tests/")) {
        let path = line.rsplit('(').next().and_then(|path| path.strip_suffix(')')).context("cargo's words changed")?;
        let program = directory.join(path);
        let listed = must(Command::new(&program).args(["--list", "--format", "terse"]), Duration::from_secs(10))?;
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        models.extend(names.map(|name| Model { program: program.clone(), name: name.to_owned() }));
    }
    ensure!(!models.is_empty(), "there are no models: is laneway_loom set? see .cargo/config.toml");
    Ok(models)
}

/// Runs models in their order, two at a time, with these variables of the environment, and tells `seen` of each as it ends; until `seen` says that it is enough.
pub(crate) fn run_all(
    models: &[Model],
    limit: Duration,
    environment: &[(&str, String)],
    seen: impl Fn(&Model, &Fate) -> bool + Sync,
) -> Result<Vec<(Model, Fate)>> {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(2);
    let (next, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let fates = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
            if enough.load(Ordering::Relaxed) {
                break;
            }
            let fate = run_one(model, limit, environment, &enough)?;
            if seen(model, &fate) {
                enough.store(true, Ordering::Relaxed);
            }
            fates.lock().unwrap().push((model.clone(), fate));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(fates.into_inner().unwrap())
}

fn run_one(model: &Model, limit: Duration, environment: &[(&str, String)], enough: &AtomicBool) -> Result<Fate> {
    let mut command = Command::new(&model.program);
    command
        .args(["--exact", &model.name])
        .env_remove("RUST_BACKTRACE")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let ended = run(&mut command, limit, enough)?;
    Ok(match ended.success {
        Some(true) => {
            ensure!(ended.text.contains("test result: ok. 1 passed"), "{} did not run", model.name);
            Fate::Held(ended.took)
        }
        Some(false) => Fate::Fell(reason(&ended.text)),
        None if enough.load(Ordering::Relaxed) => Fate::Dropped,
        None => Fate::Expired,
    })
}

/// What the first panic says, or the signal.
pub(crate) fn reason(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let signal = || text.lines().find(|line| line.contains("signal:"));
    let first = lines.find(|line| !line.trim().is_empty()).or_else(signal).unwrap_or("it ended without a word");
    first.trim().chars().take(100).collect()
}
