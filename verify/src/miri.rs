//! The library's unit tests under Miri: every access checked, every race reported, orders drawn at random.

use crate::check::{Check, Verdict};
use crate::workspace::{Ended, Workspace, has, run, tail};
use anyhow::Result;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) struct Miri;

const LIMIT: Duration = Duration::from_secs(3600);
/// Seeds for what has several threads.
const SEEDS: u32 = 64;
const QUICK_SEEDS: u32 = 4;
/// With `--quick`: both ends of a lane, and so the ring and the segments below it.
const QUICK_TESTS: &str = "lane::";
/// Seeds for the tests that are about orderings: what is weakened shows in some of them.
pub(crate) const SEEDS_OF_ORDERINGS: u32 = 16;

impl Check for Miri {
    fn name(&self) -> &'static str {
        "miri"
    }

    fn about(&self) -> &'static str {
        "the unit tests of the library over memory of the heap, in Miri"
    }

    fn longer(&self) -> &'static str {
        "MIRIFLAGS='-Zmiri-ignore-leaks -Zmiri-many-seeds=0..256' cargo +nightly miri test -p laneway --lib"
    }

    fn runs_aside(&self) -> bool {
        true
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        if let Some(missing) = missing() {
            return Ok(Verdict::Skipped(missing));
        }
        let mut complaints = Vec::new();
        let once = test(&workspace.root, if quick { QUICK_TESTS } else { "" }, None, &[])?;
        complaints.extend(complaint(&once));
        let tests = passed(&once.text);
        if tests == 0 {
            complaints.push("no test ran".to_owned());
        }
        let mut figure = format!("{tests} unit tests in {:.0} s", once.took.as_secs_f64());
        // One thread needs one seed; what has several gets more.
        let seeds = if quick { QUICK_SEEDS } else { SEEDS };
        let many = test(&workspace.root, "orderings", Some(seeds), &[])?;
        complaints.extend(complaint(&many));
        figure += &format!("; those with threads with {seeds} seeds in {:.0} s", many.took.as_secs_f64());
        Ok(Verdict::of(figure, &complaints))
    }
}

/// Why Miri cannot be run, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let there = has("cargo", &["+nightly", "miri", "--version"]);
    (!there).then(|| "no Miri: rustup component add --toolchain nightly miri rust-src".to_owned())
}

/// Runs the unit tests whose names contain `filter`, with these variables of the environment.
pub(crate) fn test(root: &Path, filter: &str, seeds: Option<u32>, environment: &[(&str, &str)]) -> Result<Ended> {
    let many = seeds.map_or_else(String::new, |seeds| format!(" -Zmiri-many-seeds=0..{seeds}"));
    let mut command = Workspace::cargo(root, &["+nightly", "miri", "test", "-p", "laneway", "--lib"]);
    command.args(["--target-dir", "target/miri", "--", filter]);
    // By a flag: what Miri passes on of its own environment is what was set when the tests were built.
    let set: String = environment.iter().map(|(name, value)| format!(" -Zmiri-env-set={name}={value}")).collect();
    command.env("MIRIFLAGS", format!("-Zmiri-ignore-leaks{many}{set}"));
    run(&mut command, LIMIT, &AtomicBool::new(false))
}

fn complaint(ended: &Ended) -> Option<String> {
    match ended.success {
        Some(true) => None,
        Some(false) => Some(tail(&ended.text, 40)),
        None => Some("Miri takes too long".to_owned()),
    }
}

/// How many tests the last line on them says passed.
fn passed(text: &str) -> usize {
    let line = text.lines().rfind(|line| line.starts_with("test result:"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
}
