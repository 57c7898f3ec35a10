//! `laneway status`, `wait` and `cancel`, which ask what becomes of a message; and `request`, which asks by one.

use super::args::{self, Goal, Request, Wait};
use super::{body, content_word, existing_ticket};
use crate::deliver::Payload;
use crate::output;
use crate::units::millis;
use anyhow::{Result, anyhow};
use laneway::mailbox::{Cancelled, RequestError, State, Status, Ticket};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn status(args: args::Ticket, json: bool) -> Result<ExitCode> {
    let (mut mailbox, ticket) = existing_ticket(&args)?;
    let status = mailbox.status(&ticket)?;
    print(ticket, &status, json)?;
    Ok(if status.state == State::Unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn wait(args: Wait, json: bool) -> Result<ExitCode> {
    let (mut mailbox, ticket) = existing_ticket(&args.ticket)?;
    let timeout = args.timeout.unwrap_or(Duration::MAX);
    let is_over = |state: State| state.is_final() || state == State::Unknown;
    let status = mailbox.wait_until(&ticket, timeout, |state| match args.goal {
        Goal::Final | Goal::Acked => is_over(state),
        Goal::Taken => state == State::Taken || is_over(state),
    })?;
    print(ticket, &status, json)?;
    let reached = match args.goal {
        Goal::Final => status.state.is_final(),
        Goal::Acked => status.state == State::Acked,
        // One that was superseded, say, may have failed once before.
        Goal::Taken => status.attempts > 0 && status.state != State::Pending,
    };
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn cancel(args: args::Ticket, json: bool) -> Result<ExitCode> {
    let (mut mailbox, ticket) = existing_ticket(&args)?;
    let path = mailbox.path().to_owned();
    let cancelled = mailbox.cancel(&ticket);
    let cancelled = cancelled.map_err(|error| anyhow!("cannot take {ticket} back from {path:?}: {error}"))?;
    let (word, state) = match cancelled {
        Cancelled::Yes => ("yes", None),
        Cancelled::TooLate(state) => ("too late", Some(state)),
        Cancelled::Unsure => ("unsure", None),
    };
    if json {
        let state = state.map(State::name);
        output::print_json(&json!({ "ticket": ticket.to_string(), "cancelled": word, "state": state }))?;
    } else {
        output::print(&match state {
            None if cancelled == Cancelled::Yes => "cancelled\n".to_owned(),
            None => "unsure: its status will say what came of it\n".to_owned(),
            Some(state) => format!("too late: {state}\n"),
        })?;
    }
    Ok(if cancelled == Cancelled::Yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(ticket: Ticket, status: &Status, json: bool) -> Result<()> {
    if json {
        return output::print_json(&status_json(ticket, status));
    }
    let Status { attempts, since, .. } = status;
    let times = match attempts {
        0 => String::new(),
        1 => "; handed out once".to_owned(),
        times => format!("; handed out {times} times"),
    };
    let seconds = since.map_or(String::new(), |since| format!("; for {}", humantime::format_duration(whole(since))));
    output::print(&format!("{status}{times}{seconds}\n"))
}

/// What became of a message, as JSON.
pub(crate) fn status_json(ticket: Ticket, status: &Status) -> Value {
    let Status { state, attempts, since, .. } = status;
    json!({
        "ticket": ticket.to_string(),
        "state": state.name(),
        "final": state.is_final(),
        "reason": Some(status.reason.sentence()).filter(|reason| !reason.is_empty()),
        "attempts": attempts,
        "since_ms": since.map(millis),
    })
}

/// Without what nobody reads.
fn whole(span: Duration) -> Duration {
    let least = if span < Duration::from_secs(10) { 1_000_000 } else { 1_000_000_000 };
    Duration::new(span.as_secs(), span.subsec_nanos() / least * least)
}

/// An answer as JSON.
#[derive(Serialize)]
struct Line<'a> {
    ticket: String,
    content: &'static str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

pub(crate) fn request(args: Request, json: bool) -> Result<ExitCode> {
    let (post, name) = args.making.place(&args.name)?;
    let body = body(args.body)?;
    let mut mailbox = post.from(args.from).mailbox(&name)?;
    args.making.compare(&name, mailbox.settings());
    let answer = match mailbox.request(&body, args.timeout) {
        Ok(answer) => answer,
        Err(RequestError::Timeout { ticket }) => {
            let (state, waited) = (mailbox.status(&ticket)?.state, humantime::format_duration(args.timeout));
            output::warn(format_args!("no answer came in {waited}; the request {ticket} is {state}"));
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(anyhow!("cannot ask {:?}: {error}", mailbox.path())),
    };
    if json {
        let payload = Payload::of(&answer.body);
        let (ticket, content) = (answer.ticket.to_string(), content_word(answer.content));
        output::print_json(&Line { ticket, content, payload })?;
    } else {
        output::written(output::stdout()?.write_all(&answer.body))?;
    }
    Ok(ExitCode::SUCCESS)
}
