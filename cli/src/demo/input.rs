//! The lines that the demo's senders send.

use anyhow::{Context, Result};
use std::borrow::Cow;
use std::path::Path;

/// In the binary, so that an installed one needs no file.
const README: &[u8] = include_bytes!("../../../README.md");

/// A text in memory.
pub(super) struct Input {
    text: Cow<'static, [u8]>,
}

/// Reads the file, or takes the README.
pub(super) fn load(path: Option<&Path>) -> Result<Input> {
    let text = match path {
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read the input {path:?}"))?.into(),
        None => README.into(),
    };
    Ok(Input { text })
}

impl Input {
    /// The lines, at least one: a text without any is one empty line.
    pub(super) fn lines(&self) -> Vec<&[u8]> {
        self.text.strip_suffix(b"\n").unwrap_or(&self.text).split(|byte| *byte == b'\n').collect()
    }

    /// The longest line's length, bytes.
    pub(super) fn longest(&self) -> u64 {
        self.lines().into_iter().map(|line| line.len() as u64).max().unwrap_or(0)
    }
}
