//! How many instructions a message takes, counted and held against a budget.

mod callgrind;

use crate::check::{Check, Verdict};
use crate::workspace::{Workspace, has, must, room_in_memory};
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;
use std::time::Duration;

pub(crate) struct Instructions;

/// What each operation of each case of `verify/probe/src/bin/exchange.rs` takes, with its copy, the call and the release.
/// The check prints its counts as such lines.
const BUDGET: &[Line] = &[
    ("8 B", "send", 110.0),
    ("8 B", "receive", 134.0),
    ("48 B", "send", 142.0),
    ("48 B", "receive", 146.0),
    ("56 B", "send", 155.0),
    ("56 B", "receive", 158.0),
    ("64 B", "send", 152.0),
    ("64 B", "receive", 153.0),
    // From here on the processor copies, byte by byte as callgrind counts it.
    ("1024 B", "send", 1220.0),
    ("1024 B", "receive", 1198.0),
    ("56 B, may not grow", "send", 155.0),
    ("56 B, may not grow", "receive", 158.0),
    ("56 B, if there is room", "try_send", 154.0),
    ("56 B, if there is room", "try_send_quietly", 148.0),
    ("56 B, if there is room", "receive", 158.0),
    ("56 B, in place", "claim_and_commit", 235.0),
    ("56 B, in place", "receive", 158.0),
    ("64 of 56 B", "send_batch", 7060.0),
    ("64 of 56 B", "receive", 159.0),
];

/// A case, an operation, and its instructions.
type Line = (&'static str, &'static str, f64);

/// How far a count may be from the budget, to either side: another compiler chooses other instructions.
const TOLERANCE: f64 = 0.04;
const TOLERANCE_INSTRUCTIONS: f64 = 1.0;

/// The most that looking whether somebody sleeps may add to a send. To the nearest: a few of a thousand sends take the long way, where
/// there is more to it.
const MOST_FOR_THE_BELL: f64 = 6.0;
/// How much more a message may take where the lane may grow than where it may not.
const MOST_FOR_GROWTH: f64 = 0.01;

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const RUN_LIMIT: Duration = Duration::from_secs(300);

impl Check for Instructions {
    fn name(&self) -> &'static str {
        "instructions"
    }

    fn about(&self) -> &'static str {
        "how many instructions a message takes to send and to receive, against a budget"
    }

    fn longer(&self) -> &'static str {
        "it is whole with --quick; more cases in verify/probe/src/bin/exchange.rs"
    }

    fn run(&self, workspace: &Workspace, _quick: bool) -> Result<Verdict> {
        if !cfg!(target_arch = "x86_64") {
            return Ok(Verdict::Skipped("the budget is of x86_64".to_owned()));
        }
        if !has("valgrind", &["--version"]) {
            return Ok(Verdict::Skipped("no valgrind: apt-get install valgrind".to_owned()));
        }
        let counts = count(workspace)?;
        for (case, operation, instructions) in &counts {
            println!("    (\"{case}\", \"{operation}\", {instructions:.1}),");
        }
        let of = |case: &str, operation: &str| find(&counts, case, operation);
        let bell = of("56 B, if there is room", "try_send")? - of("56 B, if there is room", "try_send_quietly")?;
        let both = |case| Ok::<f64, anyhow::Error>(of(case, "send")? + of(case, "receive")?);
        let growth = both("56 B")? / both("56 B, may not grow")? - 1.0;
        let mut complaints = against(BUDGET, &counts);
        if bell.round() > MOST_FOR_THE_BELL {
            complaints.push(format!(
                "looking whether somebody sleeps takes {bell:.1} instructions of a send, and may take {MOST_FOR_THE_BELL}"
            ));
        }
        if growth > MOST_FOR_GROWTH {
            complaints.push(format!(
                "a message takes {:.1} % more instructions where the lane may grow, and may take {:.1} % more",
                growth * 100.0,
                MOST_FOR_GROWTH * 100.0
            ));
        }
        Ok(Verdict::of(
            format!(
                "{} + {} instructions for 8 B, {} + {} for 56 B; {bell:.1} of them for the bell; {:+.1} % where the lane may grow",
                of("8 B", "send")?.round(),
                of("8 B", "receive")?.round(),
                of("56 B", "send")?.round(),
                of("56 B", "receive")?.round(),
                growth * 100.0
            ),
            &complaints,
        ))
    }
}

/// Counts as a line of the budget each.
type Counts = Vec<(String, String, f64)>;

fn find(counts: &Counts, case: &str, operation: &str) -> Result<f64> {
    let found = counts.iter().find(|count| count.0 == case && count.1 == operation);
    Ok(found.with_context(|| format!("`{operation}` of `{case}` was not counted"))?.2)
}

/// What is further from the budget than it may be, or only on one side.
fn against(budget: &[Line], counts: &Counts) -> Vec<String> {
    let mut complaints = Vec::new();
    for (case, operation, counted) in counts {
        let Some((.., due)) = budget.iter().find(|line| line.0 == case && line.1 == operation) else {
            complaints.push(format!("{case}: there is no budget for `{operation}`"));
            continue;
        };
        let slack = due * TOLERANCE + TOLERANCE_INSTRUCTIONS;
        if (counted - due).abs() > slack {
            let advice = if counted < due { "; lower the budget" } else { "" };
            complaints.push(format!(
                "{case}: `{operation}` takes {counted:.1} instructions, and its budget is {due:.1}{advice}"
            ));
        }
    }
    for (case, operation, _) in budget.iter().filter(|line| find(counts, line.0, line.1).is_err()) {
        complaints.push(format!("{case}: `{operation}` has a budget and was not counted"));
    }
    complaints
}

/// Builds the program, runs it, and takes the difference of the two parts of each case: what happens but once cancels.
fn count(workspace: &Workspace) -> Result<Counts> {
    let directory = workspace.scratch.join("instructions");
    // As benches are built: one unit, so that no change elsewhere decides what is inlined.
    let build = ["build", "-p", "verify-probe", "--bin", "exchange", "--profile", "bench", "--target-dir"];
    must(Workspace::cargo(&workspace.root, &build).arg(&directory), BUILD_LIMIT)?;
    let (queues, profile) = (room_in_memory()?, directory.join("callgrind.out"));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--combine-dumps=yes", "--compress-strings=no", "--compress-pos=no"]);
    command.arg("--dump-after=exchange::part_ends").arg(format!("--callgrind-out-file={}", profile.display()));
    command.arg(directory.join("release/exchange")).arg(queues.path());
    let said = must(&mut command, RUN_LIMIT)?;
    let played: Vec<(u64, &str)> = said
        .lines()
        .filter_map(|line| line.strip_prefix("played: ")?.split_once(' '))
        .map(|(times, case)| Ok((times.parse()?, case)))
        .collect::<Result<_>>()?;
    let text = std::fs::read_to_string(&profile).with_context(|| profile.display().to_string())?;
    let parts = callgrind::parts(&text, "exchange::operation::")?;
    ensure!(!played.is_empty() && parts.len() >= played.len(), "{} parts of {}", parts.len(), played.len());
    let mut counts = Counts::new();
    for (said, part) in played.chunks(2).zip(parts.chunks(2)) {
        let ([(once, case), (twice, _)], [first, second]) = (said, part) else {
            bail!("a case was not played twice: {said:?}")
        };
        ensure!(!first.is_empty(), "{case}: nothing was counted");
        for (operation, few) in first {
            let many = second.get(operation).with_context(|| format!("{case}: no `{operation}` in the second part"))?;
            // What was inlined after all, or merged with another, would count as nothing.
            let per_time = few.calls / once;
            ensure!(per_time > 0 && few.calls == per_time * once && many.calls == per_time * twice, "{case}: {few:?}");
            let instructions = (many.instructions - few.instructions) as f64 / (many.calls - few.calls) as f64;
            counts.push(((*case).to_owned(), operation.clone(), instructions));
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(send: f64) -> Counts {
        vec![("8 B".to_owned(), "send".to_owned(), send)]
    }

    #[test]
    fn a_count_near_its_budget_passes_and_others_do_not() {
        let budget: &[Line] = &[("8 B", "send", 100.0)];
        for near in [95.1, 100.0, 104.9] {
            assert!(against(budget, &counted(near)).is_empty(), "{near}");
        }
        let complaint = |send| against(budget, &counted(send)).join("");
        assert!(complaint(105.1).contains("takes 105.1 instructions, and its budget is 100.0"));
        assert!(!complaint(105.1).contains("lower"));
        assert!(complaint(94.9).contains("lower the budget"));
    }

    #[test]
    fn what_has_no_budget_or_no_count_is_a_complaint() {
        assert!(against(&[], &counted(1.0)).join("").contains("no budget for `send`"));
        assert!(against(&[("8 B", "send", 1.0)], &Counts::new()).join("").contains("was not counted"));
    }
}
