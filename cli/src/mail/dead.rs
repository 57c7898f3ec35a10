//! `laneway dead`.

use super::args::{Chosen, Dead, Named};
use super::{existing, ticket};
use crate::deliver::Payload;
use crate::output::{self, row};
use crate::units;
use anyhow::{Result, anyhow};
use laneway::mailbox::{DeadLetter, Ticket};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

pub(crate) fn run(command: Dead, json: bool) -> Result<ExitCode> {
    match command {
        Dead::List(args) => list(&args, json),
        Dead::Replay(args) => replay(&args, json),
        Dead::Drop(args) => clear(&args, json),
    }
}

/// A dead letter as JSON.
#[derive(Serialize)]
struct Line<'a> {
    ticket: String,
    reason: &'static str,
    attempts: u32,
    died_at_unix_ms: u64,
    uid: u32,
    from: &'a str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

fn list(args: &Named, json: bool) -> Result<ExitCode> {
    let letters = existing(&args.name)?.dead_letters()?;
    let mut table = output::table(&["TICKET", ">ATTEMPTS", ">UID", "FROM", "SINCE", "REASON", ">BYTES", "BODY"]);
    for letter in &letters {
        let DeadLetter { ticket, reason, attempts, died_at, uid, from, body } = letter;
        if json {
            output::print_json(&Line {
                ticket: ticket.to_string(),
                reason: reason.sentence(),
                attempts: *attempts,
                died_at_unix_ms: units::millis(*died_at),
                uid: *uid,
                from,
                payload: Payload::of(body),
            })?;
            continue;
        }
        let since = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + whole_seconds(*died_at));
        let cells = [&since as &dyn ToString, &reason.sentence(), &body.len(), &beginning(body)];
        table.add_row(row([
            ticket,
            attempts,
            uid,
            &beginning(from.as_bytes()),
            cells[0],
            cells[1],
            cells[2],
            cells[3],
        ]));
    }
    if !letters.is_empty() && !json {
        output::print_table(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A time that can be written: the year 9999 is far enough away for a clock that is wrong.
fn whole_seconds(since_1970: Duration) -> Duration {
    Duration::from_secs(since_1970.as_secs().min(253_402_300_799))
}

/// As much of it as fits in a table, with nothing that a terminal would take for an order.
fn beginning(bytes: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MOST)]);
    let mut shown: String =
        text.chars().take(MOST).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().count() > MOST || bytes.len() > 4 * MOST {
        shown.push('…');
    }
    shown
}

/// Which letters are meant, and which of these were found.
struct Choice {
    all: bool,
    wanted: BTreeSet<Ticket>,
    found: BTreeSet<Ticket>,
}

impl Choice {
    fn new(args: &Chosen) -> Result<Choice> {
        let wanted = args.tickets.iter().map(|text| ticket(text)).collect::<Result<_>>()?;
        Ok(Choice { all: args.all, wanted, found: BTreeSet::new() })
    }

    fn is_meant(&mut self, letter: &DeadLetter) -> bool {
        let meant = self.all || self.wanted.contains(&letter.ticket);
        if meant {
            self.found.insert(letter.ticket);
        }
        meant
    }

    /// Says which were not found; that is the code's 1.
    fn code(&self) -> ExitCode {
        let missing = self.wanted.difference(&self.found);
        missing.clone().for_each(|ticket| output::warn(format_args!("{ticket} is not among the dead letters")));
        if missing.count() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn replay(args: &Chosen, json: bool) -> Result<ExitCode> {
    let mut choice = Choice::new(args)?;
    let mut mailbox = existing(&args.name)?;
    let sent = mailbox.replay_dead(|letter| choice.is_meant(letter));
    let sent = sent.map_err(|error| anyhow!("cannot replay dead letters of {:?}: {error}", mailbox.path()))?;
    for (old, new) in sent {
        if json {
            output::print_json(&json!({ "old": old.to_string(), "ticket": new.to_string() }))?;
        } else {
            output::print(&format!("{old} {new}\n"))?;
        }
    }
    Ok(choice.code())
}

fn clear(args: &Chosen, json: bool) -> Result<ExitCode> {
    let mut choice = Choice::new(args)?;
    let mut mailbox = existing(&args.name)?;
    let dropped = mailbox.drop_dead(|letter| choice.is_meant(letter));
    let dropped = dropped.map_err(|error| anyhow!("cannot drop dead letters of {:?}: {error}", mailbox.path()))?;
    if json {
        output::print_json(&json!({ "dropped": dropped }))?;
    }
    Ok(choice.code())
}
