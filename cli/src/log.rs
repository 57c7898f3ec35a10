//! `--log`: what the library tells, as lines on standard error.

use anyhow::{Context, Result};
use clap::ValueEnum;
use std::env::VarError;
use std::io;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An object with `timestamp`, `level`, `message` and what belongs to it: `queue`, `ticket`, `lane`, times in milliseconds
    Json,
    /// Words
    Text,
}

/// The environment variable that says how much.
const LEVEL: &str = "LANEWAY_LOG";

/// Has the library's events printed on standard error from here on.
pub(crate) fn start(format: Format) -> Result<()> {
    let level = match std::env::var(LEVEL) {
        Err(VarError::NotPresent) => LevelFilter::DEBUG,
        answer => {
            let level = answer.with_context(|| format!("cannot use {LEVEL}"))?;
            let wanted = || format!("cannot use {LEVEL}={level:?}: it must be error, warn, info, debug or off");
            level.parse().with_context(wanted)?
        }
    };
    let events = Targets::new().with_target("laneway", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let registry = tracing_subscriber::registry();
    match format {
        Format::Json => registry.with(lines.json().flatten_event(true).with_filter(events)).init(),
        Format::Text => registry.with(lines.with_ansi(false).with_filter(events)).init(),
    }
    Ok(())
}
