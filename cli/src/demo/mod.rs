//! `laneway demo`: senders, a receiver and an observer, each a process of its own, and what becomes of their messages
//! when one sender is killed in the middle of its work.
//!
//! The launcher (this process) starts the others as `laneway demo-process`, speaks to them through their standard
//! input and hears from them through their standard output. It sends and receives no message itself.

mod check;
mod input;
mod launcher;
mod observer;
mod parcel;
mod protocol;
mod receiver;
mod report;
mod sender;
mod tally;
mod who;

use crate::args::{Demo, DemoProcess};
use crate::output;
use anyhow::{Result, bail};
use std::process::ExitCode;

pub(crate) fn run(args: Demo, json: bool) -> Result<ExitCode> {
    if args.messages < 10 * u64::from(args.senders) {
        bail!(
            "cannot run the demo: --messages {} are too few to kill one of {} senders in the middle; {} are needed",
            args.messages,
            args.senders,
            10 * args.senders
        );
    }
    let input = input::load(args.input.as_deref())?;
    let report = launcher::launch(&args, input.longest())?;
    if json {
        output::print_json(&report)?;
    } else {
        output::print(&report.to_text())?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn run_process(role: DemoProcess) -> Result<ExitCode> {
    match role {
        DemoProcess::Receiver { queue, senders, every } => receiver::run(queue, senders, every),
        DemoProcess::Sender(args) => sender::run(args),
        DemoProcess::Observer { queue } => observer::run(queue),
    }?;
    Ok(ExitCode::SUCCESS)
}
