//! `laneway ls`.

use crate::output::{self, row};
use crate::progress::Progress;
use crate::{place, units};
use anyhow::Result;
use laneway::{Cause, Error, Queue, QueueStat};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

/// One queue, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Sound {
        name: &'a str,
        lanes: usize,
        depth_messages: u64,
        depth_bytes: u64,
        receiver_alive: bool,
        reserved_bytes: u64,
    },
    Broken {
        name: &'a str,
        error: String,
    },
}

pub(crate) fn run(json: bool) -> Result<ExitCode> {
    let root = place::root()?;
    // What a killed process left half made or half removed has no name to show. That it could not be removed either is
    // no reason not to list the rest.
    let _ = Queue::sweep(&root);
    let names = Queue::list(&root)?;
    let progress = Progress::of(names.len() as u64, "looking");
    let mut table = output::table(&["QUEUE", ">LANES", ">MESSAGES", ">DEPTH", ">FILES", "RECEIVER"]);
    for (done, name) in names.iter().enumerate() {
        progress.at(done as u64);
        let line = match look(&root.join(name)) {
            Ok(stat) => Line::Sound {
                name,
                lanes: stat.lanes,
                depth_messages: stat.depth_messages,
                depth_bytes: stat.depth_bytes,
                receiver_alive: stat.receiver_alive,
                reserved_bytes: stat.reserved_bytes,
            },
            // Removed since it was listed: it is not there to be shown.
            Err(error) if matches!(error.cause(), Cause::NotFound | Cause::Detached) => continue,
            Err(error) => Line::Broken { name, error: error.to_string() },
        };
        if json {
            output::print_json(&line)?;
        } else {
            table.add_row(cells(&line));
        }
    }
    drop(progress);
    if !json && !table.is_empty() {
        output::print_table(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn look(path: &Path) -> Result<QueueStat, Error> {
    Queue::open(path)?.observe()?.stat()
}

fn cells(line: &Line<'_>) -> Vec<comfy_table::Cell> {
    match line {
        Line::Sound { name, lanes, depth_messages, depth_bytes, receiver_alive, reserved_bytes } => row([
            name,
            lanes,
            &units::count(*depth_messages),
            &units::bytes(*depth_bytes),
            &units::bytes(*reserved_bytes),
            if *receiver_alive { &"attached" } else { &"-" },
        ]),
        Line::Broken { name, error } => row([name, &"-", &"-", &"-", &"-", &format!("broken: {error}")]),
    }
}
