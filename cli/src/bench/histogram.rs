//! Every distribution of a report, in a file: one line for each of its buckets.

use super::figure::Report;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is to have them.
pub(super) struct Histograms {
    path: PathBuf,
    file: File,
}

impl Histograms {
    /// Opened before anything is measured: nobody wants to wait a minute to learn that it cannot be written.
    pub(super) fn create(path: &Path) -> Result<Histograms> {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write the histograms to {path:?}"))?;
        Ok(Histograms { path: path.to_owned(), file })
    }

    /// Comma-separated values: the figure's key (with `/limit` for what it stands beside), the upper end of a bucket in
    /// nanoseconds, and how many were in it.
    pub(super) fn write(self, report: &Report) -> Result<()> {
        let Histograms { path, file } = self;
        let write = || {
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            let mut lines = BufWriter::new(&file);
            writeln!(lines, "figure,upper_ns,count")?;
            for (key, distribution) in report.figures.iter().flat_map(|figure| figure.distributions()) {
                for (upper_ns, count) in distribution.buckets() {
                    writeln!(lines, "{key},{upper_ns},{count}")?;
                }
            }
            lines.flush()
        };
        let written: std::io::Result<()> = write();
        written.with_context(|| format!("cannot write the histograms to {path:?}"))
    }
}
