//! The words of the command line. Knows nothing of what they do.

use crate::mail::args as mail;
use crate::observatory::Observatory;
use crate::onlook::args as onlook;
use clap::{Args, Parser, Subcommand, ValueEnum};
use laneway::OnFull;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Queues between the processes of one host, and mailboxes on top of them.
///
/// QUEUE is a path if it contains a `/`; otherwise a name under $LANEWAY_DIR, else $XDG_RUNTIME_DIR/laneway, else
/// /dev/shm/laneway-UID. NAME, of a mailbox, is a path in the same way; otherwise a name under $LANEWAY_POST, else `post` in
/// the directory of the queues.
///
/// Exit codes: 0 done, 1 nothing came before the time ran out or was there (recv, wait, request, serve, tail, peek, record), it was too late (cancel), there is no
/// such message (status, dead), something was wrong (demo, doctor) or a ratio was missed (bench), 2 error.
#[derive(Debug, Parser)]
#[command(name = "laneway", version)]
pub(crate) struct Cli {
    /// Print JSON, one value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tell on standard error what becomes of messages and lanes; $LANEWAY_LOG says from which level on: error, warn, info, debug
    /// (the default) or off
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub(crate) log: Option<crate::log::Format>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a queue
    Create(Create),
    /// List the queues under the root directory
    Ls,
    /// Say what is wrong with queues and mailboxes, why it matters, and what helps
    Doctor(Doctor),
    /// Print what there is to be measured of all queues and mailboxes, for Prometheus; or answer it by HTTP
    Metrics(Metrics),
    /// Remove queues with everything in them, also damaged ones and those of another boot
    Rm(Rm),
    /// Show what can be seen of a queue and its lanes, changing nothing
    Stat(Stat),
    /// Watch all queues and mailboxes, or one, in a dashboard that costs them nothing
    Top(Top),
    /// Give back memory that lanes without a sender hold and do not need
    Trim(Trim),
    /// Print what goes through a queue or is sent to a mailbox, live, without taking it
    Tail(onlook::Tail),
    /// Print what a receiver would get next, without taking it
    Peek(onlook::Peek),
    /// Print everything that the files of a queue hold, also of one that is dead, damaged, or a copy
    Dump(onlook::Dump),
    /// Write down what goes through a queue or is sent to a mailbox, without taking it
    Record(onlook::Record),
    /// Send again what was recorded
    Replay(onlook::Replay),
    /// Send messages; creates the queue if it is missing
    Send(Send),
    /// Receive messages: wait for one, print it, and all that are there by then
    Recv(Recv),
    /// Print everything that was committed before the call, without waiting
    Drain(Drain),
    /// Leave a message in a mailbox, which is created if it is missing, and print its ticket
    Post(mail::Post),
    /// Say what became of a mailbox's message so far
    Status(mail::Ticket),
    /// Wait for what becomes of a mailbox's message
    Wait(mail::Wait),
    /// Take a message back that nobody has taken yet
    Cancel(mail::Ticket),
    /// Leave a message in a mailbox, wait for the answer, and print it
    Request(mail::Request),
    /// Serve a mailbox: run a command for each of its messages
    Serve(mail::Serve),
    /// Run a command that serves a mailbox when there is mail
    Wake(mail::Wake),
    /// See to messages that nobody could deal with
    #[command(subcommand)]
    Dead(mail::Dead),
    /// See to mailboxes: list, look, remove, watch
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Show senders, a receiver and an observer at work, and a sender being killed
    Demo(Demo),
    /// Show all queues and mailboxes at work, as a web page
    Observatory(Observatory),
    /// Measure what messages cost on this host, each figure beside the limit of the machine in the same run
    Bench(Bench),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write those of all commands
    Man(Man),
    /// One of the demo's processes
    #[command(hide = true, subcommand)]
    DemoProcess(DemoProcess),
    /// One of the bench's processes
    #[command(hide = true)]
    BenchProcess(BenchProcess),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
    /// Bytes of ring for each sender, a power of two from 4K to 1G
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes)]
    pub(crate) capacity: Option<u64>,
    /// The most senders at a time, 1 to 1024
    #[arg(long, value_name = "LANES")]
    pub(crate) max_lanes: Option<u32>,
    /// Bytes that each sender may take besides its ring while the receiver is behind: a multiple of 4K up to 1G, or 0.
    /// By default 16 times the capacity, at most 64M
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes)]
    pub(crate) overflow: Option<u64>,
    /// Bytes waiting in a lane above which its pressure is high; default three quarters of the capacity
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes, requires = "low_water")]
    pub(crate) high_water: Option<u64>,
    /// Bytes waiting in a lane at which its pressure is normal again; default one quarter of the capacity
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes, requires = "high_water")]
    pub(crate) low_water: Option<u64>,
    /// The longest message; at most, and by default, what fits in a ring or in all of the overflow
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes)]
    pub(crate) max_message: Option<u64>,
    /// The most messages a second that each sender may send; by default as many as it can
    #[arg(long, value_name = "N")]
    pub(crate) messages_per_second: Option<u32>,
    /// The most bytes of payload a second that each sender may send; by default as many as it can
    #[arg(long, value_name = "BYTES", value_parser = crate::units::parse_bytes)]
    pub(crate) bytes_per_second: Option<u64>,
    /// Share it with the users of this group, by number: they may send and observe, you receive
    #[arg(long, value_name = "GID")]
    pub(crate) group: Option<u32>,
}

/// Looking changes nothing. Exits with 0 when nothing is wrong, with 1 when something is (a warning or an error), and with 2 when it
/// could not look. `docs/doctor.md` lists what is looked for.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// A queue or a mailbox alone: a name, or a path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<OsString>,
    /// First do what is safe: clear away what killed processes left and what is left of another boot, and give back memory that
    /// nobody uses. Never touches what somebody holds
    #[arg(long)]
    pub(crate) fix: bool,
    /// Say also what is as it should be
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// What `laneway metrics --help` says besides the options.
const METRICS: &str = "\
At a loopback address --listen answers requests for `localhost` or a loopback address, at another one also for any address, and at
both for names that --host gives. Others are refused, by their header `Host`: a name that somebody else rules over can be made to
lead here, and his web page could then read the answers in a browser of this host. Nothing is encrypted, and there is no token.";

/// Without --listen, prints them once, in the text format of Prometheus: for scripts, and for the textfile collector. Nothing is
/// registered where queues are used; the counters lie in their files, and survive restarts of everybody.
#[derive(Debug, Args)]
#[command(after_help = METRICS)]
pub(crate) struct Metrics {
    /// Answer `GET /metrics` at this address until interrupted: a port, of 127.0.0.1, or `ADDRESS:PORT`; port 0 is any. By the
    /// `Accept` header in the text format of Prometheus or of OpenMetrics
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// With --listen: a name by which this host is asked too, besides `localhost` and addresses; may be given more than once
    #[arg(long, value_name = "NAME", requires = "listen", value_parser = crate::web::parse_name)]
    pub(crate) host: Vec<String>,
    /// Print the text format of OpenMetrics, which knows units
    #[arg(long, conflicts_with = "listen")]
    pub(crate) openmetrics: bool,
    /// A series for each lane too
    #[arg(long)]
    pub(crate) lanes: bool,
}

/// A port alone is of this host, and nobody else's.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    port.or_else(|_| text.parse())
        .map_err(|_| "a port such as 9464, or an address such as 127.0.0.1:9464, is needed".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names, or paths with a `/`
    #[arg(required = true, value_name = "QUEUE")]
    pub(crate) queues: Vec<OsString>,
    /// Remove a queue also while somebody is attached to it
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
}

/// Rates are means over the last four looks. `?` lists the keys. Without a terminal, --once.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// One mailbox or queue, opened: a name, or a path with a `/`; without it, all under the root directories
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<OsString>,
    /// From one look to the next
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = parse_every)]
    pub(crate) every: Duration,
    /// Print one frame as text, after two looks, and end; with --json a line for each row
    #[arg(long)]
    pub(crate) once: bool,
    /// How many columns that frame has; by default as many as the terminal or $COLUMNS, otherwise 120
    #[arg(long, value_name = "COLUMNS", requires = "once", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) width: Option<u16>,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(20)..=Duration::from_secs(3600);
    range.contains(&every).then_some(every).ok_or_else(|| "it is 20ms at least and an hour at most".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Trim {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
    /// Each is one message; without any, each line of standard input is one
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<OsString>,
    /// Split standard input at NUL instead of at line ends
    #[arg(short = '0', long, conflicts_with_all = ["texts", "whole"])]
    pub(crate) null: bool,
    /// Send all of standard input as one message
    #[arg(long, conflicts_with = "texts")]
    pub(crate) whole: bool,
    /// What to do when the ring is full: fail, block, drop-newest, grow-then-fail, grow-then-block or grow-then-drop.
    /// By default grow-then-block with --wait or --timeout, otherwise grow-then-fail
    #[arg(long, value_name = "STRATEGY")]
    pub(crate) on_full: Option<OnFull>,
    /// When there is no room, wait for it this long (for each message) instead of failing
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// When there is no room, wait for it for ever
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) wait: bool,
    /// How urgent the messages are: urgent ones overtake those of other senders
    #[arg(long, value_enum, default_value_t)]
    pub(crate) priority: Priority,
}

/// The library's, as words.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Priority {
    Urgent,
    #[default]
    Normal,
    Low,
}

impl From<Priority> for laneway::Priority {
    fn from(priority: Priority) -> laneway::Priority {
        match priority {
            Priority::Urgent => laneway::Priority::Urgent,
            Priority::Normal => laneway::Priority::Normal,
            Priority::Low => laneway::Priority::Low,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Recv {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
    /// Stop after this many messages, and wait until there were so many
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Stop when nothing came for this long; without it, wait for ever
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Go on waiting until every sender has closed
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// End each message with NUL instead of a line end
    #[arg(short = '0', long, conflicts_with = "json")]
    pub(crate) null: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// A name, or a path with a `/`
    pub(crate) queue: OsString,
    /// End each message with NUL instead of a line end
    #[arg(short = '0', long, conflicts_with = "json")]
    pub(crate) null: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// A text file whose lines are the messages; default: laneway's README.md
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Messages to exchange in total, at least 10 for each sender
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000_000))]
    pub(crate) messages: u64,
    /// Sender processes, of which one is killed and started again
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub(crate) senders: u32,
}

/// Each process is pinned to a processor of its own where there are enough. Ratios are of times, to the limit that was
/// measured beside the figure: 1 is the limit.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) measure: Measure,
    /// Bytes of a message, from 8; several with commas, each of which is measured
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = crate::units::parse_bytes)]
    pub(crate) payload: Vec<u64>,
    /// Sender processes of fan-in; default 4
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) senders: Option<u32>,
    /// Messages a second, of each sender; default 1000 for wake and 20000 for fan-in
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// How long to measure each figure; default 3s, 5s for an idle receiver, 20s for watched
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// What a process does that has to wait; default spin for rtt and throughput, park for wake (and adaptive, in all),
    /// adaptive for fan-in
    #[arg(long, value_enum)]
    pub(crate) wait: Option<Wait>,
    /// Write every distribution to FILE, as lines of `figure,upper_ns,count`
    #[arg(long, value_name = "FILE")]
    pub(crate) histogram: Option<PathBuf>,
    /// Exit with 1 when a ratio is not what FILE asks; its lines are like `"rtt/8/p50" = { at_most = 1.2 }`
    #[arg(long, value_name = "FILE")]
    pub(crate) check: Option<PathBuf>,
}

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// What the machine allows: cache lines and futexes from processor to processor, memcpy
    Limits,
    /// Round trips, message by message
    Rtt,
    /// One message after the other, as fast as they go
    Throughput,
    /// One way to a receiver that sleeps, at a rate
    Wake,
    /// Several senders into one receiver
    FanIn,
    /// A receiver that has nothing to do, and a busy lane among 1,023 idle ones
    Idle,
    /// A receiver that falls behind
    Overflow,
    /// All of these
    All,
    /// Streaming while `laneway top` watches, and while it does not: 20s, and not among all
    Watched,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// The library's, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wait {
    /// Look again and again, and never sleep
    Spin,
    /// Look for as long as a sleep costs, then sleep
    Adaptive,
    /// Sleep at once
    Park,
}

impl Wait {
    /// What somebody does who waits like this.
    pub(crate) fn as_verb(self) -> &'static str {
        match self {
            Wait::Spin => "spinning",
            Wait::Adaptive => "adaptive",
            Wait::Park => "parked",
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl From<Wait> for laneway::Wait {
    fn from(wait: Wait) -> laneway::Wait {
        match wait {
            Wait::Spin => laneway::Wait::Spin,
            Wait::Adaptive => laneway::Wait::Adaptive,
            Wait::Park => laneway::Wait::Park,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchProcess {
    /// The bench's directory
    pub(crate) directory: PathBuf,
    /// Which part it plays
    #[arg(long)]
    pub(crate) part: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to write for
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write laneway.1 and a page for each command into this directory, which is made if it is missing
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) into: Option<PathBuf>,
}

/// What a process of the demo is. Its launcher speaks to it through its standard input.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoProcess {
    /// Receives and checks
    Receiver {
        /// The queue's directory
        queue: PathBuf,
        /// How many senders there are
        #[arg(long)]
        senders: u32,
        /// Messages between two reports of progress
        #[arg(long)]
        every: u64,
    },
    /// Sends its share
    Sender(DemoSender),
    /// Watches
    Observer {
        /// The queue's directory
        queue: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoSender {
    /// The queue's directory
    pub(crate) queue: PathBuf,
    /// Which sender this is
    #[arg(long)]
    pub(crate) number: u32,
    /// How many senders there are
    #[arg(long)]
    pub(crate) senders: u32,
    /// The first sequence to send
    #[arg(long)]
    pub(crate) first: u64,
    /// The sequence to stop before
    #[arg(long)]
    pub(crate) end: u64,
    /// The sequence from which on to send without a pause
    #[arg(long)]
    pub(crate) paced_until: u64,
    /// The sequence before which to stand still for good
    #[arg(long)]
    pub(crate) hold_at: Option<u64>,
    /// The text file; default: laneway's README.md
    #[arg(long)]
    pub(crate) input: Option<PathBuf>,
}
