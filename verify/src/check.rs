//! What a check is.

use crate::workspace::Workspace;
use anyhow::Result;

/// How a check ended; each with one line on why.
pub(crate) enum Verdict {
    Passed(String),
    Failed(String),
    /// Something that it needs is missing. Counts as neither.
    Skipped(String),
}

impl Verdict {
    /// Passed with `figure`, unless there is something to complain about.
    pub(crate) fn of(figure: String, complaints: &[String]) -> Verdict {
        match complaints {
            [] => Verdict::Passed(figure),
            _ => Verdict::Failed(format!("{figure}\n     {}", complaints.join("\n     "))),
        }
    }
}

/// A check. What went wrong with the tools rather than with what is checked is an error, which counts as failed.
pub(crate) trait Check: Sync {
    fn name(&self) -> &'static str;
    /// What it does, in half a line.
    fn about(&self) -> &'static str;
    /// How to run it longer.
    fn longer(&self) -> &'static str;
    /// Whether it keeps one processor busy for minutes, and minds no company: with others it runs beside them.
    fn runs_aside(&self) -> bool {
        false
    }
    fn run(&self, workspace: &Workspace, quick: bool) -> Result<Verdict>;
}
