//! Ordering mutation: every ordering and every fence weakened, one at a time; somebody must notice.
//!
//! The sources are copied, a switch is put at every site, and with one of them weakened the models run until the first
//! fails: all mutants are one program, which a variable of the environment chooses from. What loom does not compile
//! (`src/queue/`, real memory, a signal's handler) is judged by those unit tests under Miri that are about orderings, and
//! what the kernel does by the test that asks the processor.

mod sites;
mod survivors;
mod swaps;

use crate::check::{Check, Verdict};
use crate::miri;
use crate::models::{self, Fate, Model};
use crate::workspace::{Workspace, run, tail};
use anyhow::{Context, Result, ensure};
use sites::{Judge, Site, VARIABLE};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use survivors::SURVIVORS;

pub(crate) struct Mutants;

/// A model may take this many times what it takes with nothing weakened, and half a minute more.
const SLACK: u32 = 4;

/// What became of a mutant.
enum Judged {
    Killed {
        by: String,
        how: String,
    },
    Survived,
    /// A judge took too long, and nobody else noticed: nobody knows.
    Unknown(String),
}

impl Check for Mutants {
    fn name(&self) -> &'static str {
        "mutants"
    }

    fn about(&self) -> &'static str {
        "every ordering weakened and every fence removed, one at a time: a model must notice"
    }

    fn longer(&self) -> &'static str {
        "without --quick: also what Miri and the processor judge; in parts with --only TEXT, such as `--only src/bell.rs`"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let (all, armed) = sites::arm(&workspace.root)?;
        let root = workspace.copy_of_sources("mutants", &armed)?;
        let mut complaints = Vec::new();
        for expected in SURVIVORS.iter().filter(|expected| !all.iter().any(|site| expected.is(site))) {
            complaints.push(format!("survivors.rs: there is no `{}` in {}", expected.code, expected.file));
        }
        let named = |site: &&Site| site.place().contains(&workspace.only);
        let mut sites: Vec<&Site> = all.iter().filter(named).collect();
        if quick {
            let mut edges = BTreeSet::new();
            sites.retain(|site| site.judge() == Judge::Loom && edges.insert(&site.edge));
        }
        ensure!(!sites.is_empty(), "no site contains `{}`", workspace.only);
        let (sites, skipped) = without_missing(sites, miri::missing);
        if let Some(why) = skipped.as_ref().filter(|_| sites.is_empty()) {
            return Ok(Verdict::Skipped(why.clone()));
        }

        let (slow, fast): (Vec<Model>, Vec<Model>) = models::build(&root)?.into_iter().partition(Model::is_slow);
        let mut models = vec![baseline(&fast)?];
        println!("   {} sites in src/; {} models hold with nothing weakened", all.len(), fast.len());

        let mut by_edge: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for site in &sites {
            let mut judged = match site.judge() {
                Judge::Miri(tests) => judge_by_miri(&root, site, tests),
                Judge::Processor => judge_by_processor(&root, site),
                Judge::Loom => judge(site, &models[0]),
            };
            if !quick && site.judge() == Judge::Loom && matches!(judged, Ok(Judged::Survived)) {
                // Those that take minutes are for what nobody else noticed.
                if models.len() == 1 {
                    models.push(baseline(&slow)?);
                }
                judged = judge(site, &models[1]);
            }
            let judged = judged.with_context(|| site.place())?;
            let (killed, total) = by_edge.entry(&site.edge).or_default();
            *total += 1;
            let expected = SURVIVORS.iter().find(|expected| expected.is(site));
            let place = site.place();
            match judged {
                Judged::Killed { by, how } => {
                    *killed += 1;
                    println!("   killed   {place}\n            by {by}: {how}");
                    if expected.is_some() {
                        complaints.push(format!("{place} is killed now: take it out of survivors.rs"));
                    }
                }
                Judged::Survived => {
                    println!("   SURVIVED {place}");
                    match expected {
                        Some(expected) => println!("            as expected: {}", expected.reason),
                        None => complaints.push(format!("{place} survived, and survivors.rs does not say why")),
                    }
                }
                Judged::Unknown(why) => {
                    println!("   UNKNOWN  {place}: {why}");
                    complaints.push(format!("{place}: {why}"));
                }
            }
        }
        let killed: usize = by_edge.values().map(|(killed, _)| killed).sum();
        for (edge, (killed, total)) in &by_edge {
            println!("   {edge:<20} {killed}/{total}");
        }
        let known = sites.iter().filter(|site| SURVIVORS.iter().any(|expected| expected.is(site))).count();
        let of = if quick { format!(" (of {} in all)", all.len()) } else { String::new() };
        let figure = format!("{killed} of {} mutants killed{of}, {known} survive for a listed reason", sites.len());
        let figure = skipped.map_or(figure.clone(), |why| format!("{figure}; {why}"));
        Ok(Verdict::of(figure, &complaints))
    }
}

/// The sites that can be judged, and why the others cannot: those that are Miri's, when it is missing.
fn without_missing(sites: Vec<&Site>, missing: impl FnOnce() -> Option<String>) -> (Vec<&Site>, Option<String>) {
    let (miris, others): (Vec<&Site>, Vec<&Site>) =
        sites.iter().copied().partition(|site| matches!(site.judge(), Judge::Miri(_)));
    if miris.is_empty() {
        return (sites, None);
    }
    let Some(why) = missing() else { return (sites, None) };
    for site in &miris {
        println!("   skipped  {}: {why}", site.place());
    }
    (others, Some(format!("{} skipped: {why}", miris.len())))
}

/// The models with the time that each takes with nothing weakened, shortest first. All must hold: a model that fails
/// anyway kills everything.
fn baseline(models: &[Model]) -> Result<Vec<(Model, Duration)>> {
    let mut timed = Vec::new();
    for (model, fate) in models::run_all(models, Duration::from_secs(600), &[], |_, _| false)? {
        match fate {
            Fate::Held(time) => timed.push((model, time)),
            other => anyhow::bail!("{} does not hold with nothing weakened: {other:?}", model.name),
        }
    }
    timed.sort_by_key(|(_, time)| *time);
    Ok(timed)
}

fn judge(site: &Site, models: &[(Model, Duration)]) -> Result<Judged> {
    ensure!(!models.is_empty(), "there are no models");
    let limit = Duration::from_secs(30) + SLACK * models.iter().map(|(_, time)| *time).max().unwrap_or_default();
    let order: Vec<Model> = models.iter().map(|(model, _)| model.clone()).collect();
    let weak = [(VARIABLE, site.number.to_string())];
    let fates = models::run_all(&order, limit, &weak, |_, fate| matches!(fate, Fate::Fell(_)))?;
    for (model, fate) in &fates {
        if let Fate::Fell(how) = fate {
            return Ok(Judged::Killed { by: model.name.clone(), how: how.clone() });
        }
    }
    let slow: Vec<&str> =
        fates.iter().filter(|(_, fate)| matches!(fate, Fate::Expired)).map(|(model, _)| model.name.as_str()).collect();
    Ok(if slow.is_empty() { Judged::Survived } else { Judged::Unknown(format!("{} took too long", slow.join(", "))) })
}

fn judge_by_miri(root: &Path, site: &Site, tests: &str) -> Result<Judged> {
    let weak = site.number.to_string();
    let ended = miri::test(root, tests, Some(miri::SEEDS_OF_ORDERINGS), &[(VARIABLE, &weak)])?;
    Ok(match ended.success {
        Some(true) => {
            ensure!(!ended.text.contains("running 0 tests"), "no unit test is about orderings");
            Judged::Survived
        }
        Some(false) => {
            ensure!(ended.text.contains("panicked at") || ended.text.contains("Data race"), tail(&ended.text, 20));
            let how = ended.text.lines().find(|line| line.contains("panicked at") || line.contains("Data race"));
            Judged::Killed { by: "Miri".to_owned(), how: how.unwrap_or_default().trim().to_owned() }
        }
        None => Judged::Unknown("Miri took too long".to_owned()),
    })
}

/// How often the processor is asked: it does not see every time that a fence is missing. Optimised, or what stands between
/// a store and a load takes so long that it never does.
const ASKED: usize = 20;

fn judge_by_processor(root: &Path, site: &Site) -> Result<Judged> {
    for _ in 0..ASKED {
        let mut command = Workspace::cargo(root, &["test", "--release", "-p", "laneway", "--lib", "sys::fence::tests"]);
        command.env(VARIABLE, site.number.to_string());
        let ended = run(&mut command, Duration::from_secs(600), &AtomicBool::new(false))?;
        match ended.success {
            Some(true) => ensure!(ended.text.contains(" 2 passed"), "the tests of the fences did not run"),
            Some(false) => {
                let how = ended.text.lines().find(|line| line.contains("panicked at"));
                let how = how.with_context(|| tail(&ended.text, 20))?.trim().to_owned();
                return Ok(Judged::Killed { by: "this processor".to_owned(), how });
            }
            None => return Ok(Judged::Unknown("the tests of the fences took too long".to_owned())),
        }
    }
    Ok(Judged::Survived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_miri_judges_is_skipped_without_it_and_nothing_else() {
        let site = |file: &str| Site { file: file.into(), line: 1, edge: "e".into(), code: "c".into(), number: 0 };
        let (queue, bell) = (site("src/queue/x.rs"), site("src/bell.rs"));
        let (left, why) = without_missing(vec![&queue, &bell], || Some("no Miri".to_owned()));
        assert_eq!((left.len(), left[0].file.as_str(), why.as_deref()), (1, "src/bell.rs", Some("1 skipped: no Miri")));
        let (left, why) = without_missing(vec![&queue, &bell], || None);
        assert_eq!((left.len(), why), (2, None));
        let (left, why) = without_missing(vec![&bell], || Some("no Miri".to_owned()));
        assert_eq!((left.len(), why), (1, None));
    }
}
