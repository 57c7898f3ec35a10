//! The loom models: every order that the memory model allows, of small programs.

use crate::check::{Check, Verdict};
use crate::models::{self, Fate, SLOW};
use crate::workspace::Workspace;
use anyhow::Result;
use std::time::{Duration, Instant};

pub(crate) struct Loom;

/// "Each model ends in minutes."
const LIMIT: Duration = Duration::from_secs(600);

impl Check for Loom {
    fn name(&self) -> &'static str {
        "loom"
    }

    fn about(&self) -> &'static str {
        "every model of loom-tests/, each in every order that C11 allows, as far as loom knows it"
    }

    fn longer(&self) -> &'static str {
        "raise PREEMPTIONS in loom-tests/tests/sleep.rs and overflow.rs"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let mut models = models::build(&workspace.root)?;
        let all = models.len();
        let unknown = SLOW.iter().filter(|slow| !models.iter().any(|model| model.name == **slow));
        let mut complaints: Vec<String> = unknown.map(|slow| format!("there is no model {slow}")).collect();
        if quick {
            models.retain(|model| !model.is_slow());
        }
        let began = Instant::now();
        let fates = models::run_all(&models, LIMIT, &[], |_, _| false)?;
        let took = began.elapsed();
        let mut longest = (Duration::ZERO, "");
        for (model, fate) in &fates {
            match fate {
                Fate::Held(time) => longest = longest.max((*time, &model.name)),
                Fate::Fell(reason) => complaints.push(format!("{}: {reason}", model.name)),
                Fate::Expired | Fate::Dropped => complaints.push(format!("{} takes too long", model.name)),
            }
        }
        let figure = format!(
            "{} of {all} models in {:.0} s; longest {:.1} s, {}",
            fates.len(),
            took.as_secs_f64(),
            longest.0.as_secs_f64(),
            longest.1
        );
        Ok(Verdict::of(figure, &complaints))
    }
}
