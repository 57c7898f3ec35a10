//! `laneway trim`.

use crate::args::Trim;
use crate::{output, place, units};
use anyhow::Result;
use laneway::Queue;
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: Trim, json: bool) -> Result<ExitCode> {
    let queue = Queue::open(place::queue(&args.queue)?)?;
    let bytes = queue.trim()?;
    if json {
        output::print_json(&json!({ "path": queue.path().to_string_lossy(), "freed_bytes": bytes }))?;
    } else {
        output::print(&format!("{} given back\n", units::bytes(bytes)))?;
    }
    Ok(ExitCode::SUCCESS)
}
