//! Processes that a check starts: this program again, told by its environment what it is to be.

use crate::{faults, hosts, kill};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const ROLE: &str = "LANEWAY_VERIFY_ROLE";
const DIRECTORY: &str = "LANEWAY_VERIFY_DIRECTORY";

/// What to run so that this program plays `role`, in front of which something else may be put.
pub(crate) fn program() -> Result<PathBuf> {
    std::env::current_exe().context("this program does not know its own file")
}

/// Tells a process its role, and the directory in which it is to play it.
pub(crate) fn tell<'a>(command: &'a mut Command, role: &str, directory: &std::path::Path) -> &'a mut Command {
    command.env(ROLE, role).env(DIRECTORY, directory)
}

/// The directory in which this process is to play its role.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Plays the role that the environment asks for; none if this is nobody's child.
pub(crate) fn play() -> Option<ExitCode> {
    let role = std::env::var(ROLE).ok()?;
    let directory = directory()?;
    let code = match role.as_str() {
        "life" => faults::life::live(&directory),
        kill::WORKER => kill::work(&directory),
        kill::mailbox::WORKER => kill::mailbox::work(&directory),
        part => hosts::play(part, &directory),
    };
    Some(ExitCode::from(code))
}
