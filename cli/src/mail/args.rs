//! The words of the commands of mailboxes. Knows nothing of what they do.

use crate::args::Priority;
use clap::{Args, Subcommand, ValueEnum};
use laneway::mailbox::Backoff;
use std::ffi::OsString;
use std::time::Duration;

/// What `laneway post --help` says besides the options.
const POST: &str = "\
The message's ticket is printed at once, whether anybody serves the mailbox or not. `laneway status`, `wait` and `cancel`
take it, also after restarts of everybody.";

#[derive(Debug, Args)]
#[command(after_help = POST)]
pub(crate) struct Post {
    /// A mailbox's name, or its directory's path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// The message; without it, or for `-`, all of standard input
    pub(crate) body: Option<OsString>,
    /// How urgent it is: urgent messages are handed out before others
    #[arg(long, value_enum, default_value_t)]
    pub(crate) priority: Priority,
    /// Hand it out that much later at the earliest
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) delay: Option<Duration>,
    /// Let it expire when nobody has taken it for so long, from the end of its delay on
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// It takes the place of older messages with this key that nobody has taken yet
    #[arg(long, value_name = "KEY")]
    pub(crate) supersede: Option<OsString>,
    /// It is to be done but once: a second message with this key is not handed out
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency: Option<OsString>,
    /// How often it may be handed out, in place of what the mailbox says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_attempts: Option<u16>,
    /// What is in it, for whoever reads it; by default text when it is UTF-8, otherwise bytes
    #[arg(long, value_enum)]
    pub(crate) content: Option<Content>,
    /// Who sends it: a name of up to 200 bytes, which nobody checks
    #[arg(long, value_name = "SENDER", default_value = "")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// What the creator of a mailbox fixes; a mailbox that exists keeps what it has.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "When the mailbox is created")]
pub(crate) struct Making {
    /// The most messages that wait or are taken; 0 for any number, which is the default
    #[arg(long, value_name = "N")]
    pub(crate) max_pending: Option<u32>,
    /// What becomes of messages beyond that: refuse them (default), or roll away the oldest
    #[arg(long, value_enum, requires = "max_pending")]
    pub(crate) when_full: Option<WhenFull>,
    /// How often a message is handed out before it is a dead letter; default 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) attempts: Option<u16>,
    /// How long a message may wait; by default for ever
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// How long a message that failed waits: the first time, and at most; doubled each time. Default 1s..60s
    #[arg(long, value_name = "FIRST..CAP", value_parser = parse_backoff)]
    pub(crate) backoff: Option<Backoff>,
}

/// The library's, as words.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WhenFull {
    Refuse,
    Roll,
}

/// The library's, as words.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Content {
    Bytes,
    Text,
    Json,
    Msgpack,
    Cbor,
    Pod,
}

/// A mailbox that is there.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// A mailbox's name, or its directory's path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
}

/// A message of a mailbox.
#[derive(Debug, Args)]
pub(crate) struct Ticket {
    /// A mailbox's name, or its directory's path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// What `laneway post` printed
    pub(crate) ticket: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) ticket: Ticket,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value_t = Goal::Final, value_name = "STATE")]
    pub(crate) goal: Goal,
    /// How long to wait; by default for ever
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// It is done; 1 when it never will be
    Acked,
    /// Nothing more will become of it, be it good or bad
    Final,
    /// It was handed out; 1 when it never will be
    Taken,
}

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// A mailbox's name, or its directory's path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// The question; without it, or for `-`, all of standard input
    pub(crate) body: Option<OsString>,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Who asks: a name of up to 200 bytes, which nobody checks
    #[arg(long, value_name = "SENDER", default_value = "")]
    pub(crate) from: String,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// What `laneway serve --help` says besides the options.
const SERVE: &str = "\
Runs `sh -c CMD` for each message: its body is on standard input, its envelope in the environment.

The command's exit status decides what becomes of the message:
  0          it is done (acked); when an answer is wanted, what the command printed is the answer
  65         it will never succeed (rejected): it becomes a dead letter now
  any other  it failed this time (nacked), as does one that is killed or runs out of time; 75 is the customary one:
             it is handed out again later, or becomes a dead letter after its last attempt

In the environment:
  LANEWAY_TICKET, LANEWAY_FROM, LANEWAY_UID  which message; who sent it, as it says, and by the kernel's word
  LANEWAY_ATTEMPT, LANEWAY_MAX_ATTEMPTS      from 1, and how often it may be handed out
  LANEWAY_AGE_MS, LANEWAY_PRIORITY, LANEWAY_CONTENT
  LANEWAY_WANTS_REPLY                        1 when an answer is wanted, otherwise 0
  LANEWAY_MAILBOX, LANEWAY_POST              the mailbox's name, and the directory of mailboxes

Ctrl-C or SIGTERM: takes no more, and waits for the commands that run; a second one kills them, and their messages are
handed out again. When it is killed itself, its commands run on, and their messages are handed out again all the same.

Exit codes: 0 it has served, 1 nothing came (--idle-exit), 2 error, also when somebody else serves the mailbox.";

#[derive(Debug, Args)]
#[command(after_help = SERVE)]
pub(crate) struct Serve {
    /// A mailbox's name, or its directory's path with a `/`; created if it is missing
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// The command for each message
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: OsString,
    /// How many commands run at a time; their messages are settled in the order in which they end
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) concurrency: u32,
    /// Kill a command, with its process group, when it has run for so long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Try a message again at most so often, and reject it then, also when its mailbox would go on
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// End after one message
    #[arg(long)]
    pub(crate) once: bool,
    /// End when there was nothing to do for so long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) idle_exit: Option<Duration>,
    #[command(flatten)]
    pub(crate) making: Making,
}

/// What `laneway wake --help` says besides the options.
const WAKE: &str = "\
Sleeps until there is mail and nobody serves the mailbox; then runs `sh -c CMD`, which serves it itself, waits for its
end, and begins again. Never runs two at once. LANEWAY_MAILBOX and LANEWAY_POST are in its environment. When it ends
without having taken anything there is a pause, which doubles each time.

Ctrl-C or SIGTERM: sends SIGTERM to the command's process group and waits for its end; a second one kills it.";

#[derive(Debug, Args)]
#[command(after_help = WAKE)]
pub(crate) struct Wake {
    /// A mailbox's name, or its directory's path with a `/`; created if it is missing
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// The command that serves the mailbox
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: OsString,
    /// How long the first pause is, and the longest
    #[arg(long, value_name = "FIRST..CAP", default_value = "1s..60s", value_parser = parse_backoff)]
    pub(crate) pause: Backoff,
    /// End after the command has ended once: with 0 when it did, otherwise with 1
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) making: Making,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// Show them, the oldest first
    List(Named),
    /// Send them again, as new messages, and print their old and new tickets
    Replay(Chosen),
    /// Clear them away
    Drop(Chosen),
}

#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// A mailbox's name, or its directory's path with a `/`
    #[arg(value_name = "NAME")]
    pub(crate) name: OsString,
    /// Which of them
    #[arg(value_name = "TICKET", required_unless_present = "all")]
    pub(crate) tickets: Vec<OsString>,
    /// All of them
    #[arg(long, conflicts_with = "tickets")]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mail {
    /// List the mailboxes
    Ls,
    /// Show everything that is counted of a mailbox, changing nothing
    Stat(Named),
    /// Remove mailboxes with everything in them
    Rm(Rm),
    /// Print what there is, and what comes and goes: mailboxes, and those who serve them; until it is stopped
    Watch,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names, or paths with a `/`
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<OsString>,
    /// Remove a mailbox also while somebody serves it
    #[arg(short, long)]
    pub(crate) force: bool,
}

fn parse_backoff(text: &str) -> Result<Backoff, String> {
    let (first, cap) = text.split_once("..").ok_or("two durations are needed, such as 1s..60s")?;
    let span = |text: &str| humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"));
    let (first, cap) = (span(first)?, span(cap)?);
    if first > cap {
        return Err("the first must not be longer than the cap".to_owned());
    }
    Ok(Backoff { first, cap })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_durations_make_a_backoff() {
        let read = Backoff { first: Duration::from_millis(200), cap: Duration::from_secs(60) };
        assert_eq!(parse_backoff("200ms..1m"), Ok(read));
        for wrong in ["", "1s", "..", "1s..", "..1s", "2s..1s", "1s..x", "1s..2s..3s", "-1s..2s"] {
            assert!(parse_backoff(wrong).is_err(), "{wrong:?}");
        }
    }
}
