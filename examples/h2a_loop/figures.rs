//! What the queue costs, each figure beside that of the system that this rebuilds.

use crate::words::{Order, Partial, from_json, to_json};
use crate::{AGENT, USER, start_agent};
use laneway::mailbox::{Inbox, Mailbox, Post, SendError, Settings};
use laneway::{SendError as QueueError, Wait};
use laneway_measure::{Clock, Distribution, Pace, Rest, no_slack};
use nix::sys::resource::{UsageWho, getrusage};
use std::error::Error;
use std::time::Duration;

/// The mailbox that is measured.
const FIGURES: &str = "figures";

/// How messages are sent.
struct Way {
    name: &'static str,
    senders: usize,
    /// For each sender.
    messages: u64,
    /// So many at once.
    burst: u64,
    /// Every so many nanoseconds; 0 for as fast as it goes.
    interval_ns: u64,
    /// Whether the agent sleeps as soon as there is nothing, or looks for a while.
    park: bool,
    /// The most messages that may wait; 0 for any number.
    max_pending: u32,
    /// What the document says: messages a second, and how long each takes at most.
    promised: &'static str,
}

/// Nothing but a message now and then, to a reader that waits.
const PACED: Way = Way {
    name: "waiting, asleep",
    senders: 1,
    messages: 10_000,
    burst: 1,
    interval_ns: 90_000,
    park: true,
    max_pending: 0,
    promised: ">10,000/s, <1 ms",
};

const WAYS: [Way; 6] = [
    PACED,
    Way { name: "waiting, looking", park: false, ..PACED },
    Way { name: "buffered", burst: 100, interval_ns: 10_000_000, promised: ">5,000/s, <5 ms", ..PACED },
    Way { name: "high load", senders: 4, interval_ns: 400_000, promised: ">2,000/s, <20 ms", ..PACED },
    Way { name: "backpressure", messages: 100_000, interval_ns: 0, max_pending: 100, promised: "<50 ms", ..PACED },
    Way { name: "flat out", messages: 100_000, interval_ns: 0, promised: "-", ..PACED },
];

/// Measures, with an agent of its own.
pub(crate) fn measure(post: &Post) -> Result<(), Box<dyn Error>> {
    let inbox = post.serve(USER)?;
    let mut agent = start_agent(post)?;
    println!(
        "\n{:17}{:>12}{:>10}{:>10}{:>10}{:>11}   the document",
        "", "messages/s", "p50 µs", "p99 µs", "max µs", "agent's CPU"
    );
    for way in &WAYS {
        let messages = way.senders as u64 * way.messages;
        let settings = Settings { max_pending: way.max_pending, ..Settings::default() };
        let way_post = post.clone().settings(settings);
        way_post.mailbox(FIGURES)?;
        let order = Order::Measure { mailbox: FIGURES.to_owned(), messages, park: way.park };
        post.mailbox(AGENT)?.send(&to_json(&order))?;
        let refused: u64 = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..way.senders).map(|_| scope.spawn(|| send(&way_post, way))).collect();
            senders.into_iter().map(|sender| sender.join().expect("it sends")).sum()
        });
        let delivery = inbox.recv_timeout(Duration::from_secs(60))?;
        let Partial::Measured { took, span_ns, cpu_ns } = from_json(&delivery.body())? else {
            panic!("it was to measure")
        };
        delivery.ack();
        post.remove(FIGURES)?;
        assert_eq!(took.count(), messages, "every message came, once");
        let rate = messages as f64 / (span_ns as f64 / 1e9);
        let [p50, p99, max] = [took.at(50.0), took.at(99.0), took.at(100.0)].map(|ns| ns as f64 / 1e3);
        let cpu = 100.0 * cpu_ns as f64 / span_ns as f64;
        println!("{:17}{rate:12.0}{p50:10.1}{p99:10.1}{max:10.1}{cpu:10.0}%   {}", way.name, way.promised);
        if refused > 0 {
            println!("{:17}{refused} times there was no room, and the sender waited and tried again", "");
        }
    }
    post.mailbox(AGENT)?.send(&to_json(&Order::Close))?;
    assert!(agent.wait()?.success());
    Ok(())
}

/// Returns how often there was no room.
fn send(post: &Post, way: &Way) -> u64 {
    let mut agent = post.mailbox(FIGURES).expect("it is there");
    no_slack();
    let mut pace = Pace::new(Clock::monotonic_ns() + 5_000_000, way.interval_ns.max(1), Rest::Sleep);
    let mut refused = 0;
    for number in 0..way.messages {
        if way.interval_ns > 0 && number % way.burst == 0 {
            pace.wait();
        }
        loop {
            match agent.send(&Clock::monotonic_ns().to_le_bytes()) {
                Ok(_) => break,
                Err(SendError::Full { .. } | SendError::Queue(QueueError::Full)) => {
                    refused += 1;
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    refused
}

fn cpu_ns() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("who asks exists");
    let nanos = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1000;
    nanos(usage.user_time()) + nanos(usage.system_time())
}

/// The agent's part: receives so many messages, and says how long each took.
pub(crate) fn receive(inbox: &Inbox, messages: u64, park: bool, user: &mut Mailbox) -> Result<(), Box<dyn Error>> {
    inbox.set_wait(if park { Wait::Park } else { Wait::Adaptive });
    let mut took = Distribution::new();
    let (mut first, mut last, mut cpu) = (0, 0, 0);
    for number in 0..messages {
        let delivery = inbox.recv()?;
        last = Clock::monotonic_ns();
        let sent = u64::from_le_bytes(delivery.read_pod()?);
        delivery.ack();
        took.record(last.saturating_sub(sent));
        if number == 0 {
            (first, cpu) = (last, cpu_ns());
        }
    }
    let measured = Partial::Measured { took, span_ns: (last - first).max(1), cpu_ns: cpu_ns() - cpu };
    user.send(&to_json(&measured))?;
    Ok(())
}
