//! `laneway post`.

use super::args::Post;
use super::{body, guess};
use crate::output;
use anyhow::{Result, anyhow};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

pub(crate) fn run(args: Post, json: bool) -> Result<ExitCode> {
    let (post, name) = args.making.place(&args.name)?;
    let body = body(args.body)?;
    let mut mailbox = post.from(args.from).mailbox(&name)?;
    args.making.compare(&name, mailbox.settings());
    let path = mailbox.path().to_owned();
    let content = args.content.map_or_else(|| guess(&body), Into::into);
    let mut draft = mailbox.compose().priority(args.priority.into()).content(content);
    if let Some(delay) = args.delay {
        draft = draft.delay(delay);
    }
    if let Some(ttl) = args.ttl {
        draft = draft.ttl(ttl);
    }
    if let Some(key) = &args.supersede {
        draft = draft.supersede(key.as_bytes());
    }
    if let Some(key) = &args.idempotency {
        draft = draft.idempotency(key.as_bytes());
    }
    if let Some(attempts) = args.max_attempts {
        draft = draft.max_attempts(attempts);
    }
    let ticket = draft.send(&body).map_err(|error| anyhow!("cannot post {} bytes to {path:?}: {error}", body.len()))?;
    if json {
        output::print_json(&json!({ "ticket": ticket.to_string() }))?;
    } else {
        output::print(&format!("{ticket}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
