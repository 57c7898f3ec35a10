//! `laneway observatory`: the picture of all queues and mailboxes as a web page. `looker.rs` has the one thread that looks,
//! `scene.rs` says it in JSON, `server.rs` answers browsers, `gate.rs` decides which.

mod gate;
mod looker;
mod scene;
mod server;

use crate::{output, place};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use gate::Gate;
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// What `laneway observatory --help` says besides the options.
const HELP: &str = "\
Prints its address, and serves the page until Ctrl-C. The page is all in this program, and nothing can be changed by it.

On a loopback address every user of this host can see it, unless there is a --token. On any other address there is always a
token; what is sent is not encrypted, so prefer `ssh -L 7777:127.0.0.1:7777 HOST` to listening where others can reach it.

For scripts: /scene and /detail?kind=mailbox&name=NAME are JSON, /events is a stream of server-sent events; a token goes into the
header `Authorization: Bearer TOKEN`.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Observatory {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7777")]
    listen: SocketAddr,
    /// What a browser has to show once: 16 letters, digits, `-`, `_`, `.` or `~`, or more. Others see it in the list of processes;
    /// where one is needed and not given, it is made up and printed
    #[arg(long, value_parser = gate::parse_token)]
    token: Option<String>,
    /// How often to look, while somebody watches: 50ms to 1min
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = parse_every)]
    every: Duration,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(50)..=Duration::from_secs(60);
    if allowed.contains(&every) { Ok(every) } else { Err("between 50ms and 1min is possible".to_owned()) }
}

/// How long those who are being answered have when it ends.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: Observatory, json: bool) -> Result<ExitCode> {
    let (queues, post) = (place::root()?, place::post_root()?);
    // Each queue takes some files; where more are not allowed, the rows that are left out say so.
    let _ = crate::open_files::raise();
    // One thread has enough time for this; the other looks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot serve")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            anyhow!("cannot listen at {}: {error}; say where with --listen, whose port 0 is any free one", args.listen)
        })?;
        let address = listener.local_addr().context("cannot ask where it listens")?;
        let gate = Gate::new(address, args.token)?;
        let looker = looker::start(queues, post, args.every)?;
        let watched = looker.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let stop = move || {
            // The streams end with the looks.
            watched.stop();
            tell.take().map(|tell| tell.send(()));
        };
        ctrlc::set_handler(stop).context("cannot watch for Ctrl-C")?;
        let url = gate.url(address);
        if json {
            output::print_json(&json!({ "url": url }))?;
        } else {
            output::print(&format!("the observatory is at {url}\n"))?;
        }
        server::serve(listener, gate, looker, told, FAREWELL).await;
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(ExitCode::SUCCESS)
}
