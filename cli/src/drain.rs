//! `laneway drain`.

use crate::args::Drain;
use crate::deliver::{Format, Outcome, Printer};
use crate::progress::Progress;
use crate::{output, place};
use anyhow::Result;
use laneway::Queue;
use std::collections::BTreeSet;
use std::process::ExitCode;

pub(crate) fn run(args: Drain, json: bool) -> Result<ExitCode> {
    let queue = Queue::open(place::queue(&args.queue)?)?;
    // Lanes that were retired earlier were reported then.
    let retired: BTreeSet<u32> =
        queue.observe()?.lanes()?.into_iter().filter(|lane| lane.damage.is_some()).map(|lane| lane.lane).collect();
    let receiver = queue.receiver()?;
    let mut printer = Printer::new(Format::new(json, args.null))?;
    let progress = Progress::endless("messages received");
    for message in receiver.drain()? {
        match printer.deliver(message)? {
            Outcome::Delivered => progress.at(printer.delivered),
            Outcome::NobodyReads => break,
        }
    }
    let mut code = ExitCode::SUCCESS;
    for damage in receiver.damage().into_iter().filter(|damage| !retired.contains(&damage.lane)) {
        code = output::ERROR.into();
        output::warn(format_args!("{:?}: {damage}; the other lanes were drained", queue.path()));
    }
    Ok(code)
}
