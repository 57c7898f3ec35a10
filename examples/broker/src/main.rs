//! Mailboxes over HTTP, for agents that have no library: curl is enough. The broker knows nothing of its agents but their names.
//! Sending is one message into shared memory, and is answered before anybody has looked at the receiver; agents that
//! have the library read and write the same mailboxes beside it, and it may be killed and started again at any time.
//!
//! `cargo run --release -p laneway-broker -- --root /dev/shm/post`, then
//! `curl -d 'run the tests' 127.0.0.1:5050/agents/backend/send`

mod events;
mod http;
mod inbox;
mod office;
mod outbox;
mod refusal;
mod workers;

use anyhow::{Context, Result, ensure};
use axum::serve::ListenerExt;
use clap::Parser;
use office::Office;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The directory of the mailboxes; made when it is missing.
    #[arg(long)]
    root: PathBuf,
    /// Where to listen. Port 0 takes a free one; the address is printed.
    #[arg(long, default_value = "127.0.0.1:5050")]
    listen: SocketAddr,
    /// Listen where others than this host reach it. There is no authentication.
    #[arg(long)]
    public: bool,
    /// The longest body, bytes.
    #[arg(long, default_value_t = 512 << 10)]
    max_body: usize,
    /// The most mailboxes that there may be for new ones to be made.
    #[arg(long, default_value_t = 256)]
    max_agents: usize,
    /// The most messages that wait in a mailbox made here; 0 for any number.
    #[arg(long, default_value_t = 0)]
    max_pending: u32,
    /// The most streams of events at a time.
    #[arg(long, default_value_t = 64)]
    max_streams: usize,
    /// For how long nobody asks for a mailbox until it is let go, milliseconds.
    #[arg(long, default_value_t = 30_000)]
    idle_ms: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let address = arguments.listen;
    ensure!(
        arguments.public || address.ip().is_loopback(),
        "{address} is reachable from other hosts, and there is no authentication: say --public if that is meant"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let limits = office::Limits {
            body: arguments.max_body,
            agents: arguments.max_agents,
            pending: arguments.max_pending,
            streams: arguments.max_streams,
            idle: Duration::from_millis(arguments.idle_ms),
        };
        let office = Office::open(&arguments.root, limits);
        let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
        println!("listening at http://{}", listener.local_addr()?);
        // An answer is one small packet, and is not kept back for the next.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let routes = http::routes(office, arguments.public);
        tokio::select! {
            served = async { axum::serve(listener, routes).await } => served.context("serve"),
            // What was answered is in the mailboxes; what was taken and not settled is handed out again.
            signal = tokio::signal::ctrl_c() => signal.context("wait for a signal"),
        }
    })?;
    // The threads of the mailboxes may be in the middle of a wait; nothing of theirs needs to end well.
    std::process::exit(0)
}
