//! The checks of laneway that are more than tests: `cargo run --release -p verify -- CHECK [--quick]`.
//!
//! Each prints what it did, a figure, and how to run it longer. What each can see and what it cannot stands in
//! `docs/verification.md`. A further check is a file of its own and a line of [`CHECKS`].

mod aarch64;
mod assembly;
mod check;
mod faults;
mod hostile;
mod hosts;
mod instructions;
mod kill;
mod loom;
mod mail;
mod miri;
mod models;
mod mutants;
mod namespace;
mod planted;
mod role;
mod soak;
mod workspace;

use check::{Check, Verdict};
use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;
use workspace::Workspace;

/// Every check, in the order of `all`.
const CHECKS: &[&dyn Check] = &[
    &loom::Loom,
    &mutants::Mutants,
    &planted::Planted,
    &miri::Miri,
    &aarch64::Aarch64,
    &instructions::Instructions,
    &hostile::Hostile,
    &kill::Kill { pairs_alone: false },
    &kill::Kill { pairs_alone: true },
    &kill::mailbox::Mailbox,
    &soak::Soak,
    &faults::Faults,
    &hosts::Hosts,
];

#[derive(Parser)]
#[command(about = "Checks laneway by more than tests", after_help = summary())]
struct Args {
    /// The check to run, or `all`
    #[arg(value_parser = names())]
    check: String,
    /// A sample that takes a minute or two
    #[arg(long)]
    quick: bool,
    /// Of `mutants`: only the sites whose `file:line edge code` contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn names() -> Vec<&'static str> {
    CHECKS.iter().map(|check| check.name()).chain(["all"]).collect()
}

fn summary() -> String {
    CHECKS.iter().map(|check| format!("  {:<12} {}\n", check.name(), check.about())).collect()
}

fn main() -> ExitCode {
    if let Some(code) = role::play() {
        return code;
    }
    let args = Args::parse();
    let workspace = Workspace { only: args.only.clone().unwrap_or_default(), ..Workspace::here() };
    let (mut passed, mut failed) = (0, 0);
    for check in CHECKS.iter().filter(|check| args.check == "all" || args.check == check.name()) {
        println!("== {}: {}", check.name(), check.about());
        let began = Instant::now();
        let verdict = check.run(&workspace, args.quick).unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        let seconds = began.elapsed().as_secs();
        match verdict {
            Verdict::Passed(figure) => {
                passed += 1;
                println!("-- {} passed in {seconds} s: {figure}", check.name());
            }
            Verdict::Failed(reason) => {
                failed += 1;
                println!("-- {} FAILED after {seconds} s: {reason}", check.name());
            }
            Verdict::Skipped(reason) => println!("-- {} skipped: {reason}", check.name()),
        }
        println!("   longer: {}\n", check.longer());
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}
