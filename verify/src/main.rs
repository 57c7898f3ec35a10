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
    let chosen: Vec<&dyn Check> =
        CHECKS.iter().copied().filter(|check| args.check == "all" || args.check == check.name()).collect();
    let (passed, failed) = run_all(&chosen, &workspace, args.quick);
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// How a check ended, and after how many seconds.
type Outcome = (Verdict, u64);

/// Runs them one after the other, but for those that need one processor for long and nobody's peace: they run beside the others, and are
/// reported of at the end. Returns how many passed and how many failed.
fn run_all(checks: &[&dyn Check], workspace: &Workspace, quick: bool) -> (u32, u32) {
    let run = |check: &dyn Check| -> Outcome {
        let began = Instant::now();
        let verdict = check.run(workspace, quick).unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        (verdict, began.elapsed().as_secs())
    };
    let (mut passed, mut failed) = (0, 0);
    let mut report = |check: &dyn Check, (verdict, seconds): Outcome| {
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
    };
    std::thread::scope(|scope| {
        let run = &run;
        let (aside, others): (Vec<&dyn Check>, Vec<&dyn Check>) =
            checks.iter().partition(|check| checks.len() > 1 && check.runs_aside());
        let aside: Vec<_> = aside.into_iter().map(|check| (check, scope.spawn(move || run(check)))).collect();
        for check in others {
            println!("== {}: {}", check.name(), check.about());
            report(check, run(check));
        }
        for (check, thread) in aside {
            println!("== {}, beside the others: {}", check.name(), check.about());
            let panicked = || (Verdict::Failed("it panicked".to_owned()), 0);
            report(check, thread.join().unwrap_or_else(|_| panicked()));
        }
    });
    (passed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Waits for the one beside it, and says that it was there.
    struct Partner {
        aside: bool,
        ends: Mutex<(Sender<()>, Receiver<()>)>,
        passes: bool,
    }

    impl Check for Partner {
        fn name(&self) -> &'static str {
            "partner"
        }

        fn about(&self) -> &'static str {
            "meets another"
        }

        fn longer(&self) -> &'static str {
            "-"
        }

        fn runs_aside(&self) -> bool {
            self.aside
        }

        fn run(&self, _: &Workspace, quick: bool) -> anyhow::Result<Verdict> {
            assert!(quick);
            let ends = self.ends.lock().expect("nobody panicked");
            ends.0.send(()).expect("the other one is there");
            ends.1.recv_timeout(std::time::Duration::from_secs(60))?;
            Ok(if self.passes { Verdict::Passed(String::new()) } else { Verdict::Failed(String::new()) })
        }
    }

    #[test]
    fn what_runs_aside_runs_beside_the_others_and_counts_as_they_do() {
        let ((to_one, at_one), (to_other, at_other)) = (channel(), channel());
        let aside = Partner { aside: true, ends: Mutex::new((to_one, at_other)), passes: false };
        let other = Partner { aside: false, ends: Mutex::new((to_other, at_one)), passes: true };
        assert_eq!(run_all(&[&aside, &other], &Workspace::here(), true), (1, 1));
    }
}
