//! `laneway peek`.

use super::args::Peek;
use super::{Place, show};
use crate::output;
use anyhow::Result;
use std::process::ExitCode;

pub(crate) fn run(args: Peek, json: bool) -> Result<ExitCode> {
    let max = usize::try_from(args.count).unwrap_or(usize::MAX);
    let found: Vec<show::Shown> = match Place::find(&args.name)? {
        Place::Queue(queue) => queue.observe()?.upcoming(max)?.iter().map(show::peeked).collect(),
        Place::Mailbox(mut mailbox) => mailbox.waiting(max)?.iter().map(show::waiting).collect(),
    };
    let code = if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    output::print(&found.into_iter().map(|shown| shown.line(json)).collect::<String>())?;
    Ok(code)
}
