//! Bytes that nobody would have written, everywhere: the targets of `fuzz/` under AddressSanitizer, and a sender that
//! scribbles over its own lane while the receiver works, under the same.

use crate::check::{Check, Verdict};
use crate::workspace::{Ended, Workspace, has, must, number, run, tail};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub(crate) struct Hostile;

/// The targets, and how many of every thousand executions each gets: the plain ones are a hundred times as fast as the one
/// with files.
const TARGETS: [(&str, u64); 5] = [("ring", 924), ("writer", 40), ("reader", 20), ("image", 14), ("attach", 2)];
/// Executions without `--quick`.
const EXECUTIONS: u64 = 100_000_000;
/// Seconds for each target with `--quick`, after its corpus.
const QUICK_SECONDS: u64 = 6;
/// How many executions, instead.
const VARIABLE: &str = "LANEWAY_FUZZ_EXECUTIONS";
/// How long whoever scribbles does so, milliseconds: that of `tests/scribbler.rs`.
const SCRIBBLE: &str = "LANEWAY_SCRIBBLE_MS";
/// The tests that are run under the sanitizer besides, without `--quick`.
const TESTS: [&str; 4] = ["lies", "hostile_segments", "truncation", "damage"];

const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// Of one run.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// The stack of each allocation takes longer than what is fuzzed, and so does keeping what was freed for long.
const ASAN: &str = "detect_odr_violation=0:detect_leaks=0:quarantine_size_mb=1:malloc_context_size=0\
    :detect_stack_use_after_return=0";

impl Check for Hostile {
    fn name(&self) -> &'static str {
        "hostile"
    }

    fn about(&self) -> &'static str {
        "arbitrary bytes in every file, and a sender that scribbles while others work, under AddressSanitizer"
    }

    fn longer(&self) -> &'static str {
        "LANEWAY_FUZZ_EXECUTIONS=1000000000 LANEWAY_SCRIBBLE_MS=3600000, without --quick"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        if !has("cargo", &["+nightly", "--version"]) {
            return Ok(Verdict::Skipped("no nightly: rustup toolchain install nightly".to_owned()));
        }
        let tools = match fuzzer(workspace) {
            Ok(tools) => tools,
            Err(error) => return Ok(Verdict::Skipped(format!("no cargo-fuzz: {error:#}"))),
        };
        let programs = build(workspace, &tools)?;
        let executions = number(VARIABLE)?;
        let mut complaints = Vec::new();
        let (mut figures, mut sum) = (Vec::new(), 0);
        for (target, share) in TARGETS {
            let bound = match (quick, executions) {
                (true, None) => format!("-max_total_time={QUICK_SECONDS}"),
                (_, asked) => format!("-runs={}", asked.unwrap_or(EXECUTIONS) * share / 1000),
            };
            let ended = fuzz(workspace, &programs, target, &bound)?;
            let count = executed(&ended);
            println!("   {target:<7} {count:>11} executions in {:.0} s", ended.took.as_secs_f64());
            if ended.success != Some(true) || count == 0 {
                complaints.push(format!("{target}: {}\n{}", reason(&ended.text), tail(&ended.text, 6)));
            }
            figures.push(format!("{target} {count}"));
            sum += count;
        }
        let told = scribble(workspace, quick, &mut complaints)?;
        let figure = format!("{sum} executions ({}); {told}", figures.join(", "));
        Ok(Verdict::of(figure, &complaints))
    }
}

/// Where cargo-fuzz is, if not in the path: installed by us.
fn fuzzer(workspace: &Workspace) -> Result<PathBuf> {
    let tools = workspace.scratch.join("tools");
    let ours = tools.join("bin/cargo-fuzz");
    if !has("cargo-fuzz", &["--version"]) && !ours.exists() {
        println!("   installing cargo-fuzz");
        let mut install = Workspace::cargo(&workspace.root, &["install", "cargo-fuzz", "--locked", "--root"]);
        must(install.arg(&tools).env("CARGO_TARGET_DIR", workspace.scratch.join("tools-build")), BUILD_LIMIT)?;
    }
    Ok(tools.join("bin"))
}

/// Builds the targets, and says where they are.
fn build(workspace: &Workspace, tools: &Path) -> Result<PathBuf> {
    let target = workspace.scratch.join("fuzz");
    let fuzz = workspace.root.join("fuzz");
    // Comparisons are not traced: what is worth guessing is given by the targets, and tracing takes half of the time.
    let mut command = Workspace::cargo(&fuzz, &["+nightly", "fuzz", "build", "--no-trace-compares", "--fuzz-dir", "."]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.arg("--target-dir").arg(&target).env("PATH", format!("{}:{path}", tools.display()));
    must(&mut command, BUILD_LIMIT)?;
    Ok(target.join(host()?).join("release"))
}

/// The triple of this machine.
fn host() -> Result<String> {
    let text = must(Command::new("rustc").arg("-vV"), Duration::from_secs(60))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc does not say what its host is")
}

/// What was found before is tried first, then what is checked in, then what comes of both. New finds are kept.
fn fuzz(workspace: &Workspace, programs: &Path, target: &str, bound: &str) -> Result<Ended> {
    let found = workspace.scratch.join("corpus").join(target);
    let bad = workspace.scratch.join("crashes");
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&bad)?;
    let mut command = Command::new(programs.join(target));
    command.arg(&found).arg(workspace.root.join("fuzz/corpus").join(target)).arg(bound);
    command.args([
        "-max_len=256",
        "-timeout=10",
        "-entropic=0",
        "-reduce_inputs=0",
        "-reload=0",
        "-print_final_stats=1",
    ]);
    command.arg(format!("-artifact_prefix={}/{target}-", bad.display())).env("ASAN_OPTIONS", ASAN);
    run(&mut command, LIMIT, &AtomicBool::new(false))
}

/// How many inputs were tried.
fn executed(ended: &Ended) -> u64 {
    let stat = ended.text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    stat.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// What the sanitizer, the library or a rule says.
fn reason(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: "));
    let (first, second) = (lines.next().unwrap_or("it ended without a word"), lines.next().unwrap_or_default());
    format!("{first} {second}")
}

/// The tests of those who scribble, under the sanitizer. What they told.
fn scribble(workspace: &Workspace, quick: bool, complaints: &mut Vec<String>) -> Result<String> {
    let host = host()?;
    let mut command = Workspace::cargo(&workspace.root, &["+nightly", "test", "-p", "laneway", "--target", &host]);
    command.arg("--target-dir").arg(workspace.scratch.join("asan")).args(["--test", "scribbler"]);
    if !quick {
        command.args(TESTS.iter().flat_map(|test| ["--test", test]));
    }
    // As the fuzz targets are built: the copies are words, which the sanitizer can look into.
    command.args(["--", "--nocapture"]).env("RUSTFLAGS", "-Zsanitizer=address --cfg fuzzing");
    let ms = number(SCRIBBLE)?.unwrap_or(if quick { 5_000 } else { 120_000 });
    command.env(SCRIBBLE, ms.to_string()).env("ASAN_OPTIONS", "detect_leaks=0");
    let ended = run(&mut command, LIMIT, &AtomicBool::new(false))?;
    match ended.success {
        Some(true) => {}
        Some(false) => complaints.push(format!("{}\n{}", reason(&ended.text), tail(&ended.text, 20))),
        None => bail!("whoever scribbles does not end"),
    }
    let (mut honest, mut foreign, mut retired) = (0, 0, 0);
    for told in ended.text.lines().filter(|line| line.starts_with("Told {")) {
        let field = |name: &str| -> u64 {
            let rest = told.split(&format!("{name}: ")).nth(1).unwrap_or_default();
            rest.split([',', ' ']).next().unwrap_or_default().parse().unwrap_or(0)
        };
        (honest, foreign, retired) = (honest + field("honest"), foreign + field("foreign"), retired + field("retired"));
    }
    if retired == 0 && complaints.is_empty() {
        complaints.push("whoever scribbled was never found out".to_owned());
    }
    Ok(format!("{retired} scribbled lanes retired among {honest} messages of others and {foreign} of theirs"))
}
