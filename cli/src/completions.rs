//! `laneway completions`.

use crate::args::{Cli, Completions};
use crate::output;
use anyhow::Result;
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: Completions) -> Result<ExitCode> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "laneway", &mut script);
    output::written(output::stdout()?.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}
