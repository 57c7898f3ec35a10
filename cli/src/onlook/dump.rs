//! `laneway dump`.

use super::args::Dump;
use crate::deliver::Payload;
use crate::{output, place, plain};
use anyhow::{Context, Result};
use laneway::dump::{Item, Options, read};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) fn run(args: Dump, json: bool) -> Result<ExitCode> {
    let path = find(&args.path)?;
    // What is wrong with what is there is for the dump to say.
    path.symlink_metadata().with_context(|| format!("cannot dump {path:?}"))?;
    let options = if args.payloads { Options { payload: usize::MAX } } else { Options::default() };
    let mut out = BufWriter::new(output::stdout()?);
    read(&path, &options, |item| {
        let line = if json { as_json(&item).to_string() } else { as_text(&item) };
        output::written(writeln!(out, "{line}"))
    })?;
    output::written(out.flush())?;
    Ok(ExitCode::SUCCESS)
}

/// What the user means: a path if it has a slash or there is such a file, else a queue of this name, else a mailbox.
fn find(named: &OsStr) -> Result<PathBuf> {
    let here = PathBuf::from(named);
    if named.as_bytes().contains(&b'/') || here.symlink_metadata().is_ok() {
        return Ok(here);
    }
    let queue = place::queue(named)?;
    if queue.symlink_metadata().is_ok() {
        return Ok(queue);
    }
    let (post, name) = place::mailbox(named)?;
    let mailbox = post.root().join(name);
    Ok(if mailbox.symlink_metadata().is_ok() { mailbox } else { queue })
}

fn as_text(item: &Item) -> String {
    match item {
        Item::Directory { path } => plain::path(path),
        Item::File { name, bytes } => format!("\n{}, {bytes} bytes", plain::escaped(name.as_bytes())),
        Item::Field { name, value } => format!("  {name:<20} {value}"),
        Item::Word { slot, name, offset, value, means } => {
            let slot = slot.map_or(String::new(), |slot| format!("slot {slot} "));
            let means = means.as_ref().map_or(String::new(), |means| format!("  ({means})"));
            format!("  {:<20} {value}{means}  @{offset}", format!("{slot}{name}"))
        }
        Item::Segment { slot, start, end, offset, window, from, possible } => {
            let wrong = if *possible { "" } else { "  impossible" };
            format!("  segment {slot}: positions {start} to {end}, at {offset}, window {window}, from {from}{wrong}")
        }
        Item::Record { position, kind, len, next, released, payload, .. } => {
            let mark = if *released { "released" } else { "pending " };
            let cut = if *kind == "data" && (payload.len() as u64) < u64::from(*len) { "…" } else { "" };
            let text = plain::escaped(payload);
            format!("  {position:>12}  {mark}  {kind:<4}  {len:>8}  {next:>12}  {text}{cut}")
        }
        Item::End { position, sound, why } => {
            let mark = if *sound { "--" } else { "!!" };
            format!("{mark} {position}: {why}")
        }
        Item::Entry { at, message, key, state, reason, attempts, order, written_at, extra } => {
            let what = message.map_or(format!("key {key:#x}"), |ticket| ticket.to_string());
            let why = reason.sentence();
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            format!(
                "  entry {at}: {what} {state}{why}, attempts {attempts}, order {order}, at {written_at}, extra {extra}"
            )
        }
        Item::Lock { name, bytes, held } => {
            format!("\n{name}, {bytes} bytes, {}", if *held { "held" } else { "not held" })
        }
        Item::Problem { text } => format!("!! {}", plain::escaped(text.as_bytes())),
        _ => "!! something that this program does not know".to_owned(),
    }
}

fn as_json(item: &Item) -> Value {
    match item {
        Item::Directory { path } => json!({ "directory": path.to_string_lossy() }),
        Item::File { name, bytes } => json!({ "file": name, "bytes": bytes }),
        Item::Field { name, value } => json!({ "field": name, "value": value }),
        Item::Word { slot, name, offset, value, means } => {
            json!({ "word": name, "slot": slot, "offset": offset, "value": value, "means": means })
        }
        Item::Segment { slot, start, end, offset, window, from, possible } => json!({
            "segment": slot, "start": start, "end": end, "offset": offset, "window": window, "from": from,
            "possible": possible,
        }),
        Item::Record { position, offset, kind, len, next, released, payload } => {
            let mut line = json!({
                "record": kind, "position": position, "offset": offset, "len": len, "next": next, "released": released,
            });
            let payload = serde_json::to_value(Payload::of(plain::whole_letters(payload, *len as usize)));
            if let (Some(line), Ok(Value::Object(payload)), "data") = (line.as_object_mut(), payload, *kind) {
                line.extend(payload);
            }
            line
        }
        Item::End { position, sound, why } => json!({ "end": position, "sound": sound, "why": why }),
        Item::Entry { at, key, message, state, reason, attempts, order, written_at, extra } => json!({
            "entry": at, "key": key, "lane": message.map(|ticket| ticket.lane),
            "position": message.map(|ticket| ticket.position), "state": state.name(), "reason": reason.sentence(),
            "attempts": attempts, "order": order, "written_at_ns": written_at, "extra": extra,
        }),
        Item::Lock { name, bytes, held } => json!({ "lock": name, "bytes": bytes, "held": held }),
        Item::Problem { text } => json!({ "problem": text }),
        _ => json!({ "unknown": true }),
    }
}
