//! The same work for laneway and for its peers, side by side in one run.
//!
//! `cargo run --release` here; at real-time priority (`chrt -f 40`) where the machine has other work. Each piece runs in a
//! process of its own, the pieces of all peers take turns, and every piece stands between probes of the raw cache-line round trip.

mod bars;
mod outcome;
mod peer;
mod peers;
mod piece;
mod plots;
mod results;
mod rows;
mod stage;
mod table;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use laneway_measure::{Clock, Machine};
use outcome::Outcome;
use rows::{Entry, Run};
use std::path::{Path, PathBuf};

/// Compares laneway with its peers.
#[derive(Debug, Parser)]
struct Options {
    /// How many pieces each peer gets of each row
    #[arg(long, default_value_t = 11)]
    pieces: usize,
    /// Only rows whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Only peers whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where the table, the plots and the figures go
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let wanted =
        |names: &[String], name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    let mut entries = peers::entries();
    entries.retain(|entry| wanted(&options.rows, &entry.row) && wanted(&options.only, entry.peer));
    ensure!(!entries.is_empty(), "no row and no peer has such a name");
    let out = &options.out;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the directory {}", out.display()))?;
    let outcomes = run(&entries, options.pieces)?;
    let rows = results::rows(&entries, &outcomes);
    let (verdicts, machine) = (bars::verdicts(&rows), Machine::this());
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let page = table::page(&rows, &verdicts, &machine, &command, options.pieces);
    let report = serde_json::json!({ "machine": machine, "command": command, "bars": verdicts, "rows": rows });
    for (name, text) in [("compare.md", page), ("compare.json", report.to_string())] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    plots::draw(&rows, out)?;
    let mut summary = String::new();
    table::bars(&mut summary, &verdicts);
    println!("{summary}\nThe tables, the plots and the figures are in {}.", out.display());
    Ok(())
}

/// Every piece of everybody, in turns: the outcomes of each entry.
fn run(entries: &[Entry], pieces: usize) -> Result<Vec<Vec<Outcome>>> {
    let root = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" })
        .context("cannot make a directory for the pieces")?;
    let clock = Clock::new();
    let can: Vec<usize> = (0..entries.len()).filter(|at| matches!(entries[*at].run, Run::Piece(_))).collect();
    let bar = ProgressBar::new((can.len() * pieces) as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {eta}  {msg}")?);
    let mut outcomes = vec![Vec::new(); entries.len()];
    for round in 0..pieces {
        // Somebody else begins each time: nobody always comes after the same one.
        for turn in 0..can.len() {
            let at = can[(turn + round * 7) % can.len()];
            let Run::Piece(piece) = entries[at].run else { continue };
            bar.set_message(format!("{}: {}", entries[at].row, entries[at].peer));
            outcomes[at].push(piece::run(piece, root.path(), &clock)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(outcomes)
}
