//! Sending a message and knowing that it is kept, and taking it and saying that it is done: laneway's mailboxes, Redis Streams
//! and NATS JetStream on this host, all in memory, one message at a time, in turns.
//!
//! `cargo run --release` here, with `redis-server` and `nats-server` installed. What is not equal: the brokers are processes of
//! their own, reached by a socket of the loopback, and could be reached from other hosts; laneway is this process and files.

mod mailbox;
mod nats;
mod redis_streams;
mod server;

use anyhow::Result;
use clap::Parser;
use laneway_measure::Machine;
use std::time::Duration;

/// Measures laneway's mailboxes beside two brokers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds; in each everybody gets a turn
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Messages in a turn of a broker; laneway gets a hundred times as many
    #[arg(long, default_value_t = 1000)]
    messages: u32,
}

/// Bytes of a message's body.
const BODY: [u8; 64] = [b'x'; 64];

/// How long a turn took.
#[derive(Debug, Clone, Copy)]
struct Turn {
    messages: u32,
    /// Until the last message was known to be kept.
    publishing: Duration,
    /// Until the last message was taken and known to be done.
    consuming: Duration,
}

/// One who carries messages.
trait Broker {
    fn name(&self) -> &'static str;
    /// Sends so many messages, each when the one before is known to be kept; then takes them, each when the one before is done.
    fn turn(&mut self, messages: u32) -> Result<Turn>;
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut brokers: Vec<(Box<dyn Broker>, u32)> = vec![
        (Box::new(mailbox::Laneway::new()?), options.messages * 100),
        (Box::new(redis_streams::Redis::start()?), options.messages),
        (Box::new(nats::Nats::start()?), options.messages),
    ];
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); brokers.len()];
    for _ in 0..options.rounds {
        for ((broker, messages), turns) in brokers.iter_mut().zip(&mut turns) {
            turns.push(broker.turn(*messages)?);
        }
    }
    println!("{:?}", Machine::this());
    println!("{} rounds, {} B a message; messages a second, medians and in brackets quartiles\n", options.rounds, BODY.len());
    println!("| | published | taken and done | both |");
    println!("|---|---|---|---|");
    let mut both_of_laneway = None;
    for ((broker, _), turns) in brokers.iter().zip(&turns) {
        let rate = |time: fn(&Turn) -> Duration| quartiles(turns, |turn| f64::from(turn.messages) / time(turn).as_secs_f64());
        let both = rate(|turn| turn.publishing + turn.consuming);
        let published = rate(|turn| turn.publishing);
        let first = both_of_laneway.get_or_insert((published[1], both[1]));
        println!("| {} | {} | {} | {} |", broker.name(), say(published), say(rate(|turn| turn.consuming)), say(both));
        if first.1 != both[1] {
            println!("| laneway is | {:.0} times | | {:.0} times |", first.0 / published[1], first.1 / both[1]);
        }
    }
    Ok(())
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(turns: &[Turn], rate: impl Fn(&Turn) -> f64) -> [f64; 3] {
    let mut rates: Vec<f64> = turns.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| rates[(rates.len() - 1) * quarter / 4])
}

fn say([low, median, high]: [f64; 3]) -> String {
    format!("{median:.0} ({low:.0}–{high:.0})")
}
