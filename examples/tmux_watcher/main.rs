//! Types the messages of a mailbox into a pane of tmux, one after the other, each when the program in it is at its prompt and
//! each whole. One watcher for a mailbox: a second one is refused by the kernel's lock.
//!
//! `cargo run --release --example tmux_watcher -- --root /dev/shm/post --agent backend --pane %0`, or with `--self-test`
//! against a tmux of its own.

mod self_test;
mod tmux;
mod watcher;

use laneway::mailbox::Post;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tmux::Tmux;
use watcher::{Ended, Settings};

const USAGE: &str = "tmux_watcher --self-test
tmux_watcher --root DIR --agent NAME --pane TARGET [--socket NAME] [--prompt REGEX] [--cooldown-ms N] [--poll-ms N] [--polls N]";

/// What is a prompt, on the last line of a pane that is not empty.
const PROMPT: &str = r"^>\s*|[$%#>]\s*$";

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut root, mut agent, mut pane, mut socket) = (None, None, None, None);
    let mut settings = Settings {
        prompt: regex::Regex::new(PROMPT)?,
        cooldown: Duration::from_secs(2),
        poll: Duration::from_millis(100),
        polls: 600,
    };
    while let Some(argument) = arguments.next() {
        if argument == "--self-test" {
            return self_test::run();
        }
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--root" => root = Some(PathBuf::from(value)),
            "--agent" => agent = Some(value),
            "--pane" => pane = Some(value),
            "--socket" => socket = Some(value),
            "--prompt" => settings.prompt = regex::Regex::new(&value)?,
            "--cooldown-ms" => settings.cooldown = Duration::from_millis(value.parse()?),
            "--poll-ms" => settings.poll = Duration::from_millis(value.parse()?),
            "--polls" => settings.polls = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let (Some(root), Some(agent), Some(pane)) = (root, agent, pane) else { return Err(USAGE.into()) };
    let inbox = Post::open(root).serve(&agent)?;
    // By its number from here on: names and places of windows change.
    let pane = Tmux::new(socket).pane(&pane)?;
    println!("watching {agent} for {pane}");
    match watcher::watch(&inbox, &pane, &settings)? {
        Ended::PaneGone => {
            eprintln!("{pane} is gone; what was not typed there waits for the next watcher of {agent}");
            Ok(ExitCode::from(3))
        }
    }
}
