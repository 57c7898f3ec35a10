//! Planted bugs: the mistakes that a queue like this is known for, each put into a copy of the sources, and the one test
//! that must fail with it and passes without. Tests of the tests, and of the checks.

mod bugs;

use crate::check::{Check, Verdict};
use crate::kill::CHOICES;
use crate::models::{self, Fate};
use crate::workspace::{Workspace, run, tail};
use anyhow::{Context, Result, bail, ensure};
use bugs::{BUGS, Bug};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) struct Planted;

/// For building and running one judge, on a machine that has other things to do.
const LIMIT: Duration = Duration::from_secs(900);

/// Those of `--quick`: what builds fastest.
const QUICK: [&str; 3] = ["A6", "F5", "ALG0"];

/// The test that must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// Of the library, with its module.
    Unit(&'static str),
    /// A file of `tests/`, and one of its tests.
    Test(&'static str, &'static str),
    /// Of `loom-tests/`.
    Model(&'static str),
    /// Of this program, as `--quick` as it can be.
    Check(&'static str),
}

/// What a judge said.
enum Said {
    Passed,
    /// In the words of the panic.
    Failed(String),
}

impl Check for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }

    fn about(&self) -> &'static str {
        "known mistakes, one at a time: the test, model or check that is named for it must fail"
    }

    fn longer(&self) -> &'static str {
        "without --quick: all of them, half an hour; more of them in verify/src/planted/bugs.rs"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let root = workspace.copy_of_sources("planted", &BTreeMap::new())?;
        let bugs: Vec<&Bug> = BUGS.iter().filter(|bug| !quick || QUICK.contains(&bug.name)).collect();
        let mut complaints = Vec::new();
        let mut judges: Vec<Judge> = Vec::new();
        bugs.iter().for_each(|bug| {
            if !judges.contains(&bug.judge) {
                judges.push(bug.judge)
            }
        });
        for judge in judges {
            if let Said::Failed(how) = ask(&root, judge)? {
                complaints.push(format!("{judge:?} fails with nothing planted: {how}"));
            }
        }
        let mut caught = 0;
        for bug in &bugs {
            match plant(&root, bug, || ask(&root, bug.judge)).with_context(|| format!("{} planted", bug.name))? {
                Said::Failed(how) => {
                    caught += 1;
                    println!("   caught {:<4} {}\n          by {:?}: {how}", bug.name, bug.what, bug.judge);
                }
                Said::Passed => {
                    println!("   MISSED {:<4} {}", bug.name, bug.what);
                    complaints.push(format!("{}: {:?} passes with it: {}", bug.name, bug.judge, bug.what));
                }
            }
        }
        Ok(Verdict::of(format!("{caught} of {} planted bugs caught", bugs.len()), &complaints))
    }
}

/// Does something with a bug in the sources. It must be there to be planted: one whose place has changed is none.
fn plant<T>(root: &Path, bug: &Bug, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let path = root.join(bug.file);
    let sound = fs::read_to_string(&path).with_context(|| bug.file.to_owned())?;
    let found = sound.matches(bug.from).count();
    ensure!(found == 1, "{}: `{}` is there {found} times, and should be once", bug.file, bug.from);
    fs::write(&path, sound.replace(bug.from, bug.to))?;
    let done = act();
    fs::write(&path, sound)?;
    done
}

fn ask(root: &Path, judge: Judge) -> Result<Said> {
    let (target, name) = match judge {
        Judge::Model(name) => return ask_model(root, name),
        Judge::Check(name) => return ask_check(root, name),
        Judge::Unit(name) => (vec!["--lib"], name),
        Judge::Test(file, name) => (vec!["--test", file], name),
    };
    let mut command = Workspace::cargo(root, &["test", "-p", "laneway"]);
    command.args(target).args(["--", "--exact", name]);
    let ended = run(&mut command, LIMIT, &AtomicBool::new(false))?;
    match ended.success {
        Some(true) => ensure!(ended.text.contains("1 passed"), "there is no test {name}"),
        Some(false) => {
            // Not if it does not compile.
            ensure!(ended.text.contains("running 1 test"), "{}", tail(&ended.text, 30));
            return Ok(Said::Failed(models::reason(&ended.text)));
        }
        None => bail!("{name} does not end"),
    }
    Ok(Said::Passed)
}

fn ask_model(root: &Path, name: &str) -> Result<Said> {
    let mut built = models::build(root)?;
    built.retain(|model| model.name == name);
    ensure!(!built.is_empty(), "there is no model {name}");
    match models::run_all(&built, LIMIT, &[], |_, _| false)?.remove(0).1 {
        Fate::Held(_) => Ok(Said::Passed),
        Fate::Fell(how) => Ok(Said::Failed(how)),
        Fate::Expired | Fate::Dropped => bail!("{name} does not end"),
    }
}

fn ask_check(root: &Path, name: &str) -> Result<Said> {
    let mut command = Workspace::cargo(root, &["run", "--release", "-p", "verify", "--", name, "--quick"]);
    // What was set for this run is not meant for that one.
    for choice in CHOICES {
        command.env_remove(choice);
    }
    // Little has changed since the last bug, and steps need not be fast.
    command.envs([
        ("CARGO_INCREMENTAL", "1"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
        ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ]);
    let ended = run(&mut command, LIMIT, &AtomicBool::new(false))?;
    match ended.success {
        Some(true) => ensure!(ended.text.contains("1 passed"), "{}", tail(&ended.text, 30)),
        // Not if it does not compile.
        Some(false) => return violation(&ended.text).with_context(|| tail(&ended.text, 30)).map(Said::Failed),
        None => bail!("{name} does not end"),
    }
    Ok(Said::Passed)
}

/// Where the first kill was that a check complains of, and what it says in the end.
fn violation(text: &str) -> Option<String> {
    let (_, told) = text.lines().find_map(|line| line.split_once("VIOLATION, "))?;
    let mut parts = told.split(": ").skip(1);
    let place = parts.next()?.to_owned();
    let said = parts.last().map_or(place.clone(), |said| format!("{place}: {said}"));
    Some(said.chars().take(150).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_violation_the_place_and_the_end_are_told() {
        let text =
            "== mailbox: it kills\n   VIOLATION, seed 7: killed in step 3 of ack: 1/8 is taken: it is lost\nmore";
        assert_eq!(violation(text).unwrap(), "killed in step 3 of ack: it is lost");
        assert_eq!(violation("error: could not compile `laneway`: 1 error"), None);
    }

    /// So that a bug whose place has changed is noticed before the check is run.
    #[test]
    fn every_bug_can_still_be_planted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for bug in BUGS {
            let text = fs::read_to_string(root.join(bug.file)).unwrap();
            assert_eq!(text.matches(bug.from).count(), 1, "{}: `{}` in {}", bug.name, bug.from, bug.file);
        }
        assert!(QUICK.iter().all(|name| BUGS.iter().any(|bug| bug.name == *name)));
    }
}
