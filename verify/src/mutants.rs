//! Ordering mutation: every ordering and every fence weakened, one at a time; somebody must notice.
//!
//! The sources are copied, one site is changed, and the models run until the first fails. What loom does not compile
//! (`src/queue/`, `src/sys/`) is judged by those unit tests under Miri that are about orderings.

mod sites;
mod survivors;

use crate::check::{Check, Verdict};
use crate::miri;
use crate::models::{self, Fate, Model};
use crate::workspace::{Workspace, tail};
use anyhow::{Context, Result, ensure};
use sites::Site;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use survivors::SURVIVORS;

pub(crate) struct Mutants;

/// A model may take this many times what it takes with nothing weakened, and half a minute more.
const SLACK: u32 = 4;

/// The sample of `--quick`: a line of the sources, and the model that notices when it is weakened.
const QUICK: &[(&str, &str, &str)] = &[
    ("src/ring/writer.rs", "self.window.word(claim.position).store(", "who_finds_a_message_finds_its_bytes"),
    ("src/ring/reader.rs", "self.read_pos.store(next,", "what_was_not_given_back_is_not_overwritten"),
    ("src/bell.rs", "self.fences.light();", "a_message_wakes_the_receiver"),
    ("src/lane/view.rs", "fence(", "an_observer_never_takes_the_bytes_of_a_later_lap_for_a_message"),
];

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
        "without --quick: all of them, half an hour and more"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let sources = Sources::new(workspace)?;
        let all = sites::find(&sources.root)?;
        let mut complaints = Vec::new();
        for expected in SURVIVORS.iter().filter(|expected| !all.iter().any(|site| expected.is(site))) {
            complaints.push(format!("survivors.rs: there is no `{}` in {}", expected.code, expected.file));
        }
        let sample = if quick { sample(&all)? } else { all.iter().map(|site| (site, None)).collect() };

        let models = models::build(&sources.root)?;
        let models: Vec<Model> = match quick {
            false => models,
            true => models.into_iter().filter(|model| QUICK.iter().any(|(.., name)| *name == model.name)).collect(),
        };
        let models = baseline(&models)?;
        println!("   {} sites in src/; {} models hold with nothing weakened", all.len(), models.len());

        let mut by_edge: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (site, model) in &sample {
            let judged = sources.with(site, || match model {
                _ if site.is_beyond_loom() => judge_by_miri(&sources.root),
                Some(name) => judge(&sources.root, models.iter().filter(|(model, _)| model.name == *name)),
                None => judge(&sources.root, models.iter()),
            })?;
            let (killed, total) = by_edge.entry(&site.edge).or_default();
            *total += 1;
            let expected = SURVIVORS.iter().find(|expected| expected.is(site));
            let place = format!("{}:{} {} `{}`", site.file, site.line, site.edge, site.code);
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
        let known = sample.iter().filter(|(site, _)| SURVIVORS.iter().any(|expected| expected.is(site))).count();
        let figure = format!("{killed} of {} mutants killed, {known} survive for a listed reason", sample.len());
        Ok(Verdict::of(figure, &complaints))
    }
}

fn sample(all: &[Site]) -> Result<Vec<(&Site, Option<&'static str>)>> {
    let find = |(file, code, model): &(&str, &str, &'static str)| {
        let mut fit = all.iter().filter(|site| site.file == *file && site.code.contains(code));
        fit.next().map(|site| (site, Some(*model))).with_context(|| format!("the sample names `{code}` in {file}"))
    };
    QUICK.iter().map(find).collect()
}

/// The models with the time that each takes with nothing weakened, shortest first. All must hold: a model that fails
/// anyway kills everything.
fn baseline(models: &[Model]) -> Result<Vec<(Model, Duration)>> {
    let mut timed = Vec::new();
    for (model, fate) in models::run_all(models, Duration::from_secs(600), |_, _| false)? {
        match fate {
            Fate::Held(time) => timed.push((model, time)),
            other => anyhow::bail!("{} does not hold with nothing weakened: {other:?}", model.name),
        }
    }
    timed.sort_by_key(|(_, time)| *time);
    Ok(timed)
}

fn judge<'a>(root: &Path, models: impl Iterator<Item = &'a (Model, Duration)>) -> Result<Judged> {
    let models: Vec<_> = models.collect();
    ensure!(!models.is_empty(), "there is no such model");
    let built = models::build(root)?;
    let limit = Duration::from_secs(30) + SLACK * models.iter().map(|(_, time)| *time).max().unwrap_or_default();
    let order: Vec<Model> =
        models.iter().filter_map(|(model, _)| built.iter().find(|now| now.name == model.name).cloned()).collect();
    ensure!(order.len() == models.len(), "the mutant has other models");
    let fates = models::run_all(&order, limit, |_, fate| matches!(fate, Fate::Fell(_)))?;
    for (model, fate) in &fates {
        if let Fate::Fell(how) = fate {
            return Ok(Judged::Killed { by: model.name.clone(), how: how.clone() });
        }
    }
    let slow: Vec<&str> =
        fates.iter().filter(|(_, fate)| matches!(fate, Fate::Expired)).map(|(model, _)| model.name.as_str()).collect();
    Ok(if slow.is_empty() { Judged::Survived } else { Judged::Unknown(format!("{} took too long", slow.join(", "))) })
}

fn judge_by_miri(root: &Path) -> Result<Judged> {
    if let Some(missing) = miri::missing() {
        return Ok(Judged::Unknown(missing));
    }
    let ended = miri::test(root, "orderings", Some(miri::SEEDS_OF_ORDERINGS))?;
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

/// A copy of the workspace that may be changed. Kept from run to run, so that little must be built again.
struct Sources {
    root: PathBuf,
}

impl Sources {
    fn new(workspace: &Workspace) -> Result<Sources> {
        let root = workspace.scratch.join("mutants");
        copy_changed(&workspace.root, &root)?;
        Ok(Sources { root })
    }

    /// Does something with one site weakened.
    fn with<T>(&self, site: &Site, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.root.join(&site.file);
        let sound = fs::read_to_string(&path)?;
        fs::write(&path, &site.mutant)?;
        let done = act().with_context(|| format!("{}:{} weakened", site.file, site.line));
        fs::write(&path, sound)?;
        done
    }
}

/// Copies a directory, but what cargo and git keep there; a file only if it differs, so that cargo sees what is new.
pub(crate) fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let aside = ["target", ".git"].iter().any(|aside| name == *aside);
        if aside || path.is_symlink() {
            continue;
        }
        let copy = to.join(&name);
        if path.is_dir() {
            copy_changed(&path, &copy)?;
            continue;
        }
        let bytes = fs::read(&path)?;
        if fs::read(&copy).ok().as_ref() != Some(&bytes) {
            fs::write(copy, bytes)?;
        }
    }
    // A source that is gone here must not be built there.
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if entry.path().is_file() && !from.join(entry.file_name()).exists() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
