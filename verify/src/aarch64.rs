//! The other processor: its tests and benches in an emulator, and what the compiler makes of a send and a receive on both.

use crate::assembly::{Function, Target, is_acquire, is_commit, is_full_barrier, is_release};
use crate::check::{Check, Verdict};
use crate::workspace::{Ended, Workspace, has, must, run, tail};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

pub(crate) struct Aarch64;

const TRIPLE: &str = "aarch64-unknown-linux-gnu";
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// Of one test program.
const RUN_LIMIT: Duration = Duration::from_secs(600);

/// Test programs that the emulator cannot run, and why.
const BEYOND: &[(&str, &str)] = &[
    ("crash", "steps through a process by ptrace"),
    ("crash_overflow", "steps through a process by ptrace"),
    ("syscalls", "watches a process by ptrace"),
];

/// A test that compares what it does with real time, and an emulator on a busy machine is slower than that.
const TOO_SLOW: &str = "an_adaptive_sender_goes_on_as_soon_as_the_receiver_has_released_as_much";

/// What `--quick` runs.
const QUICK: &[&str] = &["src/lib.rs", "golden", "smoke"];

/// Those of Criterion. `--quick` only compiles the first.
const BENCHES: &[&str] = &["throughput", "latency", "wake", "fan_in", "overflow", "attach"];

impl Check for Aarch64 {
    fn name(&self) -> &'static str {
        "aarch64"
    }

    fn about(&self) -> &'static str {
        "the tests and benches under qemu-user, and the barriers in the generated code of both processors"
    }

    fn longer(&self) -> &'static str {
        "without --quick: every test program that does without ptrace, and the benches once"
    }

    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict> {
        let mut complaints = Vec::new();
        let mut read = Vec::new();
        for (target, triple) in [(Target::X86, "x86_64-unknown-linux-gnu"), (Target::Arm, TRIPLE)] {
            if !has_target(triple) {
                return Ok(Verdict::Skipped(format!("no standard library: rustup target add {triple}")));
            }
            read.push(read_code(workspace, target, triple, &mut complaints)?);
        }
        let figure = read.join("; ");
        let tools =
            [("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"), (EMULATOR, "qemu-user-static")];
        if let Some((_, package)) = tools.iter().find(|(tool, _)| !has(tool, &["--version"])) {
            // What could be read was read; the rest would be a claim.
            return Ok(match complaints.is_empty() {
                true => Verdict::Skipped(format!("{figure}; the tests need apt-get install {package}")),
                false => Verdict::of(figure, &complaints),
            });
        }
        let began = Instant::now();
        let (programs, tests) = run_tests(workspace, quick, &mut complaints)?;
        let benches = try_benches(workspace, quick, &mut complaints)?;
        let seconds = began.elapsed().as_secs();
        Ok(Verdict::of(
            format!("{tests} tests of {programs} programs under qemu, and {benches}, in {seconds} s; {figure}"),
            &complaints,
        ))
    }
}

const EMULATOR: &str = "qemu-aarch64-static";
/// Where Debian puts the other processor's.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

fn has_target(triple: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", triple]).output();
    output.is_ok_and(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

/// Compiles the probe, and reads what became of a send and of a receive. Says how long they are.
fn read_code(workspace: &Workspace, target: Target, triple: &str, complaints: &mut Vec<String>) -> Result<String> {
    let directory = workspace.scratch.join("code");
    let mut command = Workspace::cargo(&workspace.root, &["rustc", "-p", "verify-probe", "--lib", "--release"]);
    let assembly = directory.join(format!("{triple}.s"));
    command.args(["--target", triple, "--target-dir"]).arg(&directory);
    command.args(["--config", "profile.release.codegen-units=1", "--", "-C", "debuginfo=0"]);
    command.arg(format!("--emit=asm={}", assembly.display()));
    // Cargo does not know of that file, and would not make it twice.
    if assembly.exists() {
        fs::remove_file(&assembly)?;
        let probe = workspace.root.join("verify/probe/src/lib.rs");
        fs::File::open(probe)?.set_modified(std::time::SystemTime::now())?;
    }
    must(&mut command, BUILD_LIMIT)?;
    let text = fs::read_to_string(&assembly).with_context(|| assembly.display().to_string())?;
    let send = Function::find(target, &text, "probe_send")?;
    let receive = Function::find(target, &text, "probe_receive")?;
    let mut must_hold = |holds: bool, what: &str| {
        if !holds {
            complaints.push(format!("{triple}: {what}; see {}", assembly.display()));
        }
    };
    // The one is for queues whose fences are symmetric, and a branch goes around it. (A send that went the long way has its own.)
    must_hold(send.count_within(is_full_barrier) <= 1, "a send has more than one full barrier");
    must_hold(send.has_short_way(&[is_commit]), "a send has a full barrier on its short way, or no short way");
    must_hold(receive.has_short_way(&[]), "a receive has a full barrier on its short way");
    if target == Target::Arm {
        must_hold(send.has_short_way(&[is_release, is_commit]), "a send commits without a store-release");
        must_hold(receive.has_short_way(&[is_acquire]), "a receive loads without acquire");
        must_hold(
            receive.has_short_way(&[is_acquire, is_release]),
            "a receive gives back without a store-release after its load-acquire",
        );
    }
    Ok(format!("{triple}: {} instructions to send, {} to receive", send.len(), receive.len()))
}

/// Builds programs of the library for the other processor. What cargo calls each, and where it lies.
fn build(workspace: &Workspace, which: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = Workspace::cargo(&workspace.root, &["test", "-p", "laneway", "--no-run", "--target", TRIPLE]);
    command.args(which).arg("--target-dir").arg(workspace.scratch.join("aarch64"));
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let text = must(&mut command, BUILD_LIMIT)?;
    let built = text.lines().filter_map(|line| line.trim().strip_prefix("Executable "));
    built
        .map(|line| {
            let (name, path) = line.rsplit_once(" (").context("cargo's words changed")?;
            let path = path.strip_suffix(')').context("cargo's words changed")?;
            Ok((name.to_owned(), workspace.root.join(path)))
        })
        .collect()
}

/// Runs one of them in the emulator.
fn emulate(workspace: &Workspace, program: &Path, args: &[&str]) -> Result<Ended> {
    let mut command = Command::new(EMULATOR);
    command.args(["-L", LIBRARIES]).arg(program).args(args).current_dir(&workspace.root);
    command.env("LANEWAY_TEST_EMULATOR", format!("{EMULATOR} -L {LIBRARIES}"));
    run(&mut command, RUN_LIMIT, &AtomicBool::new(false))
}

/// Builds the tests and runs them. How many programs, and how many tests.
fn run_tests(workspace: &Workspace, quick: bool, complaints: &mut Vec<String>) -> Result<(usize, usize)> {
    let mut which = vec!["--lib"];
    match quick {
        true => QUICK.iter().filter(|name| !name.contains('/')).for_each(|name| which.extend(["--test", name])),
        false => which.push("--tests"),
    }
    let (mut programs, mut tests) = (0, 0);
    for (name, path) in build(workspace, &which)?.iter().filter(|(name, _)| !name.contains("benches/")) {
        let is = |test: &str| [format!("tests/{test}.rs"), format!("tests/{test}/main.rs")].contains(name);
        if let Some((test, why)) = BEYOND.iter().find(|(test, _)| is(test)) {
            println!("   not run: {test}, which {why}");
            continue;
        }
        let ended = emulate(workspace, path, &["--skip", TOO_SLOW])?;
        let result = ended.text.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no result");
        println!("   {name}: {result}");
        programs += 1;
        tests += result.split_whitespace().nth(3).and_then(|count| count.parse().ok()).unwrap_or(0);
        if ended.success != Some(true) {
            complaints.push(format!("{name}:\n{}", tail(&ended.text, 30)));
        }
    }
    ensure!(programs > 0 && tests > 0, "no test ran");
    Ok((programs, tests))
}

/// Builds the benches, and runs each of their arrangements once. What was done, in words.
fn try_benches(workspace: &Workspace, quick: bool, complaints: &mut Vec<String>) -> Result<String> {
    let names = if quick { &BENCHES[..1] } else { BENCHES };
    let which: Vec<&str> = names.iter().flat_map(|name| ["--bench", name]).collect();
    let built = build(workspace, &which)?;
    ensure!(built.len() == names.len(), "{} of {} benches were built", built.len(), names.len());
    if quick {
        return Ok(format!("{} bench built", names[0]));
    }
    let mut arrangements = 0;
    for (name, path) in &built {
        let ended = emulate(workspace, path, &["--test"])?;
        let once = ended.text.lines().filter(|line| *line == "Success").count();
        println!("   {name}: {once} arrangements");
        arrangements += once;
        if ended.success != Some(true) || once == 0 {
            complaints.push(format!("{name}:\n{}", tail(&ended.text, 30)));
        }
    }
    Ok(format!("{arrangements} arrangements of {} benches", built.len()))
}
