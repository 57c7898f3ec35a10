//! `laneway doctor`.

use crate::args::Doctor as Args;
use crate::{open_files, output, place, plain};
use anyhow::Result;
use laneway_observe::{Doctor, Finding, Mended, Severity};
use serde_json::json;
use std::process::ExitCode;

/// The exit code when something is wrong.
const WRONG: u8 = 1;

pub(crate) fn run(args: Args, json: bool) -> Result<ExitCode> {
    let mut doctor = match &args.name {
        Some(name) => {
            let (queues, post, key) = place::either(name)?;
            Doctor::of_one(queues, post.root(), key)
        }
        None => Doctor::new(place::root()?, place::post_root()?),
    };
    // Each queue that is looked at is a directory held open; what else is started from here may have as many as before.
    let _ = open_files::raise();
    let mut findings = doctor.examine();
    if args.fix {
        for mended in doctor.fix(&findings) {
            report_mended(&mended, json)?;
        }
        findings = doctor.examine();
    }
    let shown = findings.iter().filter(|finding| args.all || finding.severity > Severity::Ok);
    shown.into_iter().try_for_each(|finding| report(finding, json))?;
    if !json {
        output::print(&summary(&findings))?;
    }
    let is_wrong = findings.iter().any(Finding::is_wrong);
    Ok(if is_wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}

fn report(finding: &Finding, json: bool) -> Result<()> {
    let Finding { check, severity, about, what, remedy, .. } = finding;
    if json {
        return output::print_json(&json!({
            "id": check.id(),
            "severity": severity.to_string(),
            "about": about.to_string_lossy(),
            "what": what,
            "why": check.why(),
            "remedy": remedy,
            "fixable": finding.is_fixable(),
        }));
    }
    let mut text = format!("{severity:<8} {check}  {}\n         {what}\n", plain::path(about));
    if *severity > Severity::Ok {
        text += &format!("         {}\n", check.why());
    }
    if !remedy.is_empty() {
        text += &format!("         $ {remedy}\n");
    }
    output::print(&text)
}

fn report_mended(mended: &Mended, json: bool) -> Result<()> {
    let Mended { check, about, what, .. } = mended;
    let (what, error) = match what {
        Ok(what) => (what.clone(), None),
        Err(error) => (format!("left as it is: {error}"), Some(error.to_string())),
    };
    if json {
        return output::print_json(
            &json!({ "mended": check.id(), "about": about.to_string_lossy(), "what": what, "error": error }),
        );
    }
    output::print(&format!("{:<8} {check}  {}\n         {what}\n", "mended", plain::path(about)))
}

fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let of = |severity, word: &str| match count(severity) {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let fixable = findings.iter().filter(|finding| finding.is_fixable()).count();
    let fixable = if fixable > 0 { format!("; --fix sees to {fixable}") } else { String::new() };
    format!(
        "{}, {}, {}; {} as it should be{fixable}\n",
        of(Severity::Error, "error"),
        of(Severity::Warning, "warning"),
        of(Severity::Notice, "notice"),
        count(Severity::Ok)
    )
}
