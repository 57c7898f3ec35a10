//! The words of the commands of onlookers. Knows nothing of what they do.

use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where to begin.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Since {
    /// With what comes from now on
    #[default]
    Now,
    /// With the oldest message that was not released
    Pending,
    /// With the oldest message that is still there, also of those that were released
    Oldest,
}

impl From<Since> for laneway::Since {
    fn from(since: Since) -> laneway::Since {
        match since {
            Since::Now => laneway::Since::Now,
            Since::Pending => laneway::Since::Pending,
            Since::Oldest => laneway::Since::Oldest,
        }
    }
}

/// What to watch, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Watched {
    /// A queue's name, or else a mailbox's; or the path of either with a `/`
    pub(crate) name: OsString,
    /// Where to begin
    #[arg(long, value_enum, default_value_t)]
    pub(crate) since: Since,
    /// Stop after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Stop when nothing came for this long; without it, go on until stopped
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

/// What `laneway tail --help` says besides the options.
const TAIL: &str = "\
Nobody is told of an onlooker and nobody waits for it: one that is slower than the sender and its receiver misses messages,
and prints by how many. Each lane's messages come in their order; there is no order between lanes.
Ends with an error when the queue is removed.";

#[derive(Debug, Args)]
#[command(after_help = TAIL)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) watched: Watched,
}

/// What `laneway peek --help` says besides the options.
const PEEK: &str = "\
The order is that in which a receiver would get them that attaches now: by priority, and within a priority lane by lane in turns.
One that is attached already may be in the middle of a turn, and then the order between lanes differs; within a lane it does
not. Of a mailbox it shows what waits or is in somebody's hands: what was kept and is due, then what was sent, then what is
kept for later.";

#[derive(Debug, Args)]
#[command(after_help = PEEK)]
pub(crate) struct Peek {
    /// A queue's name, or else a mailbox's; or the path of either with a `/`
    pub(crate) name: OsString,
    /// The most messages to print
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
}

/// What `laneway dump --help` says besides the options.
const DUMP: &str = "\
Reads the files as they are and maps nothing: whatever is wrong with them is printed where it is, and the dump goes on. Of each
lane it prints the records from the oldest that was not overwritten; it stops with the reason where there is no other. Of
a queue that is in use it shows something of each moment between its beginning and its end.";

#[derive(Debug, Args)]
#[command(after_help = DUMP)]
pub(crate) struct Dump {
    /// A file or a directory, or the name of a queue or a mailbox
    pub(crate) path: OsString,
    /// Print payloads whole, not only how they begin
    #[arg(long)]
    pub(crate) payloads: bool,
}

/// What `laneway record --help` says besides the options.
const RECORD: &str = "\
The file has a line of JSON for each message and each gap, see docs/recording.md; `laneway replay` sends it again. It ends in
order at Ctrl-C or SIGTERM. An onlooker that is too slow misses messages: how many is in the file, and printed at the end.
Into a named pipe it writes when somebody reads that: it waits until then, for --timeout at most, and ends when nobody does any more.";

#[derive(Debug, Args)]
#[command(after_help = RECORD)]
pub(crate) struct Record {
    #[command(flatten)]
    pub(crate) watched: Watched,
    /// The file, which must be new or empty, or a named pipe; `-` for standard output
    pub(crate) file: PathBuf,
}

/// What `laneway replay --help` says besides the options.
const REPLAY: &str = "\
Messages go through one lane for each priority, in the order in which they were seen; to a mailbox they are posted anew, by the
same senders' names, and nobody is answered. When there is no room it waits for it.";

#[derive(Debug, Args)]
#[command(after_help = REPLAY)]
pub(crate) struct Replay {
    /// What `laneway record` wrote; `-` for standard input
    pub(crate) file: PathBuf,
    /// A queue, or a mailbox for what was recorded of one; created if it is missing
    pub(crate) name: OsString,
    /// How many times as fast as it was recorded
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse_speed)]
    pub(crate) speed: f64,
    /// As fast as it goes
    #[arg(long, conflicts_with = "speed")]
    pub(crate) fast: bool,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number is needed, such as 2 or 0.5".to_owned())?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("it must be above 0".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_above_nothing() {
        assert_eq!((parse_speed("2"), parse_speed("0.5")), (Ok(2.0), Ok(0.5)));
        for wrong in ["", "0", "-1", "inf", "NaN", "fast"] {
            assert!(parse_speed(wrong).is_err(), "{wrong:?}");
        }
    }
}
