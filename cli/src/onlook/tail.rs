//! `laneway tail`.

use super::Place;
use super::args::{Tail, Watched};
use crate::output;
use anyhow::Result;
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: Tail, json: bool) -> Result<ExitCode> {
    let Watched { name, since, count, timeout } = args.watched;
    let mut tail = Place::find(&name)?.tail(since.into())?;
    let mut out = output::stdout()?;
    let mut seen = 0;
    while count.is_none_or(|count| seen < count) {
        let Some(shown) = tail.next(timeout)? else { break };
        seen += u64::from(shown.is_message);
        output::written(out.write_all(shown.line(json).as_bytes()))?;
    }
    Ok(if seen == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
