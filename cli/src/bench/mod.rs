//! `laneway bench`: what messages cost on this host, each figure beside the limit of the machine that was measured next
//! to it.
//!
//! The launcher (this process) starts the others as `laneway bench-process`, gives them one job after the other through
//! their standard input, and hears from them through their standard output. It measures nothing itself, and so can end
//! what hangs. `laneway_measure` is how they measure; one module here for each figure is what.

mod check;
mod crowd;
mod fan_in;
mod figure;
mod histogram;
mod idle;
mod job;
mod launcher;
mod ledger;
mod limits;
mod overflow;
mod pair;
mod plan;
mod protocol;
mod raw;
mod report;
mod rtt;
mod scene;
mod throughput;
mod wake;
mod watched;
mod worker;

use crate::args::{Bench, BenchProcess};
use crate::output;
use anyhow::Result;
use check::Bars;
use histogram::Histograms;
use std::process::ExitCode;

pub(crate) fn run(args: Bench, json: bool) -> Result<ExitCode> {
    let jobs = plan::jobs(&args)?;
    let headings: Vec<_> = jobs.iter().flat_map(|job| job.headings()).collect();
    let bars = args.check.as_deref().map(|path| Bars::read(path, &headings)).transpose()?;
    let histograms = args.histogram.as_deref().map(Histograms::create).transpose()?;
    let mut report = launcher::launch(&jobs)?;
    if let Some(bars) = bars {
        report.checks = bars.judge(&report)?;
    }
    if let Some(histograms) = histograms {
        histograms.write(&report)?;
    }
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&report::to_text(&report))?;
    }
    let mut missed = report.checks.iter().filter(|verdict| !verdict.is_met()).peekable();
    let code = if missed.peek().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    missed.for_each(|verdict| output::warn(verdict.sentence()));
    Ok(code)
}

pub(crate) fn run_process(args: BenchProcess) -> Result<ExitCode> {
    worker::run(args.directory, args.part)?;
    Ok(ExitCode::SUCCESS)
}
