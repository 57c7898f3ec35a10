//! A process of the bench: plays its part of one job after the other.

use super::ledger::Measured;
use super::protocol::{Said, Told};
use super::scene::Scene;
use crate::team::{listen, say};
use anyhow::{Result, anyhow, bail};
use laneway_measure::{Clock, processors};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one that has lost its launcher tries to take its files away.
const CLEARING: Duration = Duration::from_secs(5);

pub(super) fn run(directory: PathBuf, part: u32) -> Result<()> {
    let to_clear = directory.clone();
    // Without a launcher nobody else would take the files away. One does it, or they would be in each other's way.
    let told = Mutex::new(listen(move || {
        if part == 0 {
            // The others end now too, but may still make a file meanwhile.
            let began = Instant::now();
            while to_clear.exists() && began.elapsed() < CLEARING {
                super::launcher::clear(&to_clear);
                std::thread::yield_now();
            }
        }
    }));
    let (clock, processors) = (Clock::new(), processors());
    loop {
        let order = told.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // The end of what the launcher says is the end of this process, wherever it is: see `listen`.
        let Ok(Told::Play { job, directory: name }) = order else { bail!("the launcher makes no sense") };
        let at = directory.join(name);
        let scene = Scene { job: &job, at: &at, part, clock: &clock, processors: &processors, told: &told };
        let played = play(&scene);
        say(&played.map_or_else(|error| Said::Failed(format!("{error:#}")), Said::Done))?;
    }
}

/// On a thread of its own, which may be pinned without pinning those that come after it.
fn play(scene: &Scene<'_>) -> Result<Vec<Measured>> {
    std::thread::scope(|scope| scope.spawn(|| scene.job.player().play(scene)).join())
        .unwrap_or_else(|_| Err(anyhow!("it panicked")))
        .map(|measured| if scene.leads() { measured } else { Vec::new() })
}
