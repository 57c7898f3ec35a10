//! `laneway create`.

use crate::args::Create;
use crate::{output, place};
use anyhow::Result;
use laneway::{Queue, RateLimit};
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: Create, json: bool) -> Result<ExitCode> {
    let path = place::queue(&args.queue)?;
    let mut options = Queue::options();
    if let Some(bytes) = args.capacity {
        options = options.capacity(bytes);
    }
    if let Some(lanes) = args.max_lanes {
        options = options.max_lanes(lanes);
    }
    if let Some(bytes) = args.overflow {
        options = options.overflow_limit(bytes);
    }
    if let (Some(low), Some(high)) = (args.low_water, args.high_water) {
        options = options.water_marks(low, high);
    }
    let rate = match (args.messages_per_second, args.bytes_per_second) {
        (None, None) => None,
        (Some(messages), None) => Some(RateLimit::messages(messages)),
        (None, Some(bytes)) => Some(RateLimit::bytes(bytes)),
        (Some(messages), Some(bytes)) => Some(RateLimit::messages(messages).and_bytes(bytes)),
    };
    if let Some(rate) = rate {
        options = options.rate_limit(rate);
    }
    if let Some(bytes) = args.max_message {
        options = options.max_message(bytes);
    }
    if let Some(gid) = args.group {
        options = options.shared_with_group(gid);
    }
    let queue = options.create(&path)?;
    if json {
        output::print_json(&json!({
            "path": queue.path().to_string_lossy(),
            "capacity": queue.capacity(),
            "overflow_limit": queue.overflow_limit(),
            "max_lanes": queue.max_lanes(),
            "max_message": queue.max_message(),
        }))?;
    } else {
        output::print(&format!("{}\n", queue.path().display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
