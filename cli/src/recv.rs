//! `laneway recv`.

use crate::args::Recv;
use crate::deliver::{Format, Outcome, Printer};
use crate::progress::Progress;
use crate::{output, place};
use anyhow::{Result, bail};
use laneway::{Queue, RecvError};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(args: Recv, json: bool) -> Result<ExitCode> {
    let queue = Queue::open(place::queue(&args.queue)?)?;
    let receiver = queue.receiver()?;
    let mut printer = Printer::new(Format::new(json, args.null))?;
    let progress = Progress::endless("messages received");
    let patience = args.timeout.unwrap_or(Duration::MAX);
    let mut damaged = false;
    while args.count.is_none_or(|count| printer.delivered < count) {
        let keep_waiting = args.follow || args.count.is_some() || printer.delivered == 0;
        match receiver.recv_timeout(if keep_waiting { patience } else { Duration::ZERO }) {
            Ok(message) => match printer.deliver(message)? {
                Outcome::Delivered => progress.at(printer.delivered),
                Outcome::NobodyReads => break,
            },
            Err(RecvError::Timeout | RecvError::Closed) => break,
            Err(RecvError::Corrupt(damage)) => {
                damaged = true;
                output::warn(format_args!("{:?}: {damage}; the other lanes go on", queue.path()));
            }
            Err(error) => bail!("cannot receive from {:?}: {error}", queue.path()),
        }
    }
    Ok(match (damaged, printer.delivered) {
        (true, _) => output::ERROR.into(),
        (false, 0) => ExitCode::FAILURE,
        (false, _) => ExitCode::SUCCESS,
    })
}
