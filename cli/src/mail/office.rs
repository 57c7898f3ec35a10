//! `laneway mail`: what there is in the post.

use super::args::{Mail, Named, Rm};
use super::existing;
use crate::output::{self, row};
use crate::units::nanos;
use crate::{place, plain, units};
use anyhow::{Result, bail};
use laneway::Error;
use laneway::mailbox::{Event, Post, Settings, Stats, WhenFull};
use serde::Serialize;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(command: Mail, json: bool) -> Result<ExitCode> {
    match command {
        Mail::Ls => list(json),
        Mail::Stat(args) => stat(&args, json),
        Mail::Rm(args) => remove(&args, json),
        Mail::Watch => watch(json),
    }
}

/// One mailbox, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Sound { name: &'a str, pending: u64, taken: u64, dead: usize, awake: bool },
    Broken { name: &'a str, error: String },
}

fn list(json: bool) -> Result<ExitCode> {
    let post = Post::open(place::post_root()?);
    // What a killed process left half removed has no name to show; that it could not be removed is no reason not to list the rest.
    let _ = post.sweep();
    let mut table = output::table(&["MAILBOX", ">PENDING", ">TAKEN", ">DEAD", "SERVED"]);
    for name in &post.list()? {
        // Removed since it was listed.
        if !post.exists(name) {
            continue;
        }
        let line = match look(&post, name) {
            Ok((stats, dead)) => {
                let Stats { pending, taken, awake, .. } = stats;
                Line::Sound { name, pending, taken, dead, awake }
            }
            Err(error) => Line::Broken { name, error: error.to_string() },
        };
        if json {
            output::print_json(&line)?;
            continue;
        }
        table.add_row(match &line {
            Line::Sound { name, pending, taken, dead, awake } => {
                let (pending, taken) = (units::count(*pending), units::count(*taken));
                row([name, &pending, &taken, dead, if *awake { &"yes" } else { &"-" }])
            }
            Line::Broken { name, error } => row([name, &"-", &"-", &"-", &format!("broken: {error}")]),
        });
    }
    if !json && !table.is_empty() {
        output::print_table(&table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn look(post: &Post, name: &str) -> Result<(Stats, usize), Error> {
    let mut mailbox = post.mailbox(name)?;
    Ok((mailbox.stats()?, mailbox.dead_letters()?.len()))
}

fn stat(args: &Named, json: bool) -> Result<ExitCode> {
    let mut mailbox = existing(&args.name)?;
    let (stats, dead) = (mailbox.stats()?, mailbox.dead_letters()?.len());
    let settings = *mailbox.settings();
    if json {
        output::print_json(&as_json(&mailbox.path().to_string_lossy(), &settings, &stats, dead))?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = |span: Option<Duration>| span.map_or("-".to_owned(), |span| units::nanoseconds(nanos(span)));
    let limit = match (settings.max_pending, settings.when_full) {
        (0, _) => "any number".to_owned(),
        (most, WhenFull::Refuse) => format!("at most {most}, then refused"),
        (most, WhenFull::Roll) => format!("at most {most}, the oldest rolled away"),
    };
    let age = if settings.max_age.is_zero() { "any age".to_owned() } else { time(Some(settings.max_age)) };
    let count = units::count;
    output::print(&format!(
        "{}\n  \
         served     {}\n  \
         limits     {limit}; {age}; {} attempts, {} to {} apart; {} outcomes remembered\n  \
         now        {} pending, of these {} kept for later; {} taken; {dead} dead letters\n  \
         outcomes   {} processed, {} failed, {} expired, {} cancelled, {} superseded, {} dead-lettered\n  \
         of these   {} duplicates, {} rolled away, {} malformed\n  \
         attempts   {} handed out, {} given back, {} after a death\n  \
         senders    {} refused, {} dropped, rings full {} times\n  \
         high water {} waiting\n  \
         delivery   p50 {}, p95 {}, p99 {}; {:.1} a second; the last {} ago\n",
        plain::path(mailbox.path()),
        if stats.awake { "yes" } else { "no" },
        settings.max_attempts,
        time(Some(settings.backoff.first)),
        time(Some(settings.backoff.cap)),
        count(settings.outcomes.into()),
        count(stats.pending),
        count(stats.kept),
        count(stats.taken),
        count(stats.processed),
        count(stats.failed),
        count(stats.expired),
        count(stats.cancelled),
        count(stats.superseded),
        count(stats.dead_lettered),
        count(stats.duplicates),
        count(stats.rolled),
        count(stats.malformed),
        count(stats.handed_out),
        count(stats.retried),
        count(stats.redelivered),
        count(stats.refused),
        count(stats.dropped),
        count(stats.full_events),
        count(stats.high_water),
        time(stats.delivery_p50),
        time(stats.delivery_p95),
        time(stats.delivery_p99),
        stats.rate,
        time(stats.idle),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(path: &str, settings: &Settings, stats: &Stats, dead: usize) -> Value {
    json!({
        "path": path,
        "awake": stats.awake,
        "settings": {
            "max_pending": settings.max_pending,
            "when_full": match settings.when_full { WhenFull::Refuse => "refuse", WhenFull::Roll => "roll" },
            "max_attempts": settings.max_attempts,
            "max_age_ns": nanos(settings.max_age),
            "backoff_first_ns": nanos(settings.backoff.first),
            "backoff_cap_ns": nanos(settings.backoff.cap),
            "outcomes": settings.outcomes,
        },
        "pending": stats.pending,
        "kept": stats.kept,
        "taken": stats.taken,
        "dead": dead,
        "handed_out": stats.handed_out,
        "processed": stats.processed,
        "failed": stats.failed,
        "expired": stats.expired,
        "cancelled": stats.cancelled,
        "superseded": stats.superseded,
        "duplicates": stats.duplicates,
        "rolled": stats.rolled,
        "dead_lettered": stats.dead_lettered,
        "retried": stats.retried,
        "redelivered": stats.redelivered,
        "malformed": stats.malformed,
        "dropped": stats.dropped,
        "refused": stats.refused,
        "full_events": stats.full_events,
        "high_water": stats.high_water,
        "delivery_p50_ns": stats.delivery_p50.map(nanos),
        "delivery_p95_ns": stats.delivery_p95.map(nanos),
        "delivery_p99_ns": stats.delivery_p99.map(nanos),
        "rate": stats.rate,
        "idle_ns": stats.idle.map(nanos),
    })
}

fn remove(args: &Rm, json: bool) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for named in &args.names {
        let removed = place::mailbox(named).and_then(|(post, name)| {
            let path = post.root().join(&name);
            // One that cannot be opened cannot be served either.
            if !args.force && post.is_awake(&name).unwrap_or(false) {
                bail!("cannot remove {path:?}: somebody serves it; --force removes it all the same");
            }
            post.remove(&name)?;
            if json { output::print_json(&json!({ "removed": path.to_string_lossy() })) } else { Ok(()) }
        });
        // One that cannot be removed does not keep the others.
        if let Err(error) = removed {
            code = output::failed(error);
        }
    }
    Ok(code)
}

fn watch(json: bool) -> Result<ExitCode> {
    let mut watch = Post::open(place::post_root()?).watch()?;
    while let Some(event) = watch.next(None)? {
        let (word, name) = match &event {
            Event::Appeared(name) => ("appeared", name),
            Event::Removed(name) => ("removed", name),
            Event::Awake(name) => ("awake", name),
            Event::Asleep(name) => ("asleep", name),
            // What a later version of the library tells.
            _ => continue,
        };
        if json {
            output::print_json(&json!({ "event": word, "mailbox": name }))?;
        } else {
            output::print(&format!("{word:<8} {name}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
