//! What goes to standard output and standard error.

use crate::plain;
use anyhow::{Context, Error, Result};
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

/// The exit code of every error.
pub(crate) const ERROR: u8 = 2;

/// Standard output without a buffer: what `write` accepted has left this process, and nothing is written later that
/// was reported as not written.
pub(crate) fn stdout() -> Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?.into())
}

/// Prints text that ends its own lines.
pub(crate) fn print(text: &str) -> Result<()> {
    written(stdout()?.write_all(text.as_bytes()))
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    written(stdout()?.write_all(&line))
}

/// Gives a failure to write its sentence.
pub(crate) fn written<T>(answer: io::Result<T>) -> Result<T> {
    answer.context("cannot write to standard output")
}

/// Says something on standard error; when nobody can hear it, that is no reason to stop. What others wrote may be quoted in it.
pub(crate) fn warn(sentence: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "laneway: {}", plain::escaped(sentence.to_string().as_bytes()));
}

/// Reports what ended a command. A reader that has seen enough is no error, and needs no telling.
pub(crate) fn failed(error: Error) -> ExitCode {
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    warn(format_args!("{error:#}"));
    ExitCode::from(ERROR)
}

/// Whether whoever read our output has gone away.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// A table without lines, its numbers to the right: each column's heading says which they are by starting with `>`.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a table.
pub(crate) fn print_table(table: &Table) -> Result<()> {
    print(&(table.trim_fmt() + "\n"))
}

/// A row's cells.
pub(crate) fn row<const N: usize>(cells: [&dyn ToString; N]) -> Vec<Cell> {
    cells.into_iter().map(|cell| Cell::new(cell.to_string())).collect()
}
