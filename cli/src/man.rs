//! `laneway man`.

use crate::args::{Cli, Man};
use crate::output;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: Man) -> Result<ExitCode> {
    let command = Cli::command();
    match args.into {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output::written(output::stdout()?.write_all(&page))?;
        }
        Some(directory) => {
            let failed = || format!("cannot write manual pages into {directory:?}");
            std::fs::create_dir_all(&directory).with_context(failed)?;
            clap_mangen::generate_to(command, &directory).with_context(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
