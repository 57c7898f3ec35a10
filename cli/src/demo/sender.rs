//! The demo's sender processes.

use super::input;
use super::parcel::{Header, now_ns};
use super::protocol::{Said, SenderReport, Told};
use super::tally::{Tally, histogram};
use crate::args::DemoSender;
use crate::team::{listen, say};
use anyhow::{Context, Result, bail};
use laneway::{Queue, Sender, TrySendError};
use std::sync::mpsc;
use std::time::Duration;

/// After each paced message: long enough for the receiver to have fallen asleep.
const PAUSE: Duration = Duration::from_micros(100);

pub(super) fn run(args: DemoSender) -> Result<()> {
    let input = input::load(args.input.as_deref())?;
    let lines = input.lines();
    let mut sender = Queue::open(&args.queue)?.sender()?;
    let told = listen(|| {});
    say(&Said::Ready { lane: Some(sender.lane()) })?;
    wait_for(&told, Told::Go)?;
    let (mut paced, mut streaming, mut waited) = (histogram(), histogram(), histogram());
    let mut message = Vec::new();
    for sequence in args.first..args.end {
        if args.hold_at == Some(sequence) {
            // The one that is to be killed in the middle does not get to the end, however late the kill comes.
            wait_for(&told, Told::Finish)?;
        }
        let is_paced = sequence < args.paced_until;
        let line = lines[(sequence * u64::from(args.senders) + u64::from(args.number)) as usize % lines.len()];
        let sent_ns = now_ns();
        let header = Header { sequence, sent_ns, checksum: 0, sender: args.number, paced: is_paced.into() };
        message.clear();
        message.extend_from_slice(bytemuck::bytes_of(&header.sealed(line)));
        message.extend_from_slice(line);
        let start = now_ns();
        let had_room = send(&mut sender, &message)?;
        let cost = now_ns().saturating_sub(start);
        match (had_room, is_paced) {
            (false, _) => waited.saturating_record(cost),
            (true, true) => paced.saturating_record(cost),
            (true, false) => streaming.saturating_record(cost),
        }
        if is_paced {
            std::thread::sleep(PAUSE);
        }
    }
    say(&Said::Sent(SenderReport {
        sent: args.end - args.first,
        paced: Tally::from(&paced),
        streaming: Tally::from(&streaming),
        waited: Tally::from(&waited),
        waits: sender.wait_stats().into(),
    }))?;
    // Until then the lane stays ours: whoever comes in place of a dead sender gets that one's lane.
    wait_for(&told, Told::Finish)?;
    sender.close();
    Ok(())
}

/// Sends, and says whether there was room at once.
fn send(sender: &mut Sender, message: &[u8]) -> Result<bool> {
    match sender.try_send(message) {
        Ok(_) => Ok(true),
        Err(TrySendError::Full) => {
            sender.send(message).context("the demo's sender")?;
            Ok(false)
        }
        Err(error) => bail!("the demo's sender: {error}"),
    }
}

fn wait_for(told: &mpsc::Receiver<Told>, order: Told) -> Result<()> {
    match told.recv() {
        Ok(heard) if heard == order => Ok(()),
        heard => bail!("the demo's sender was told {heard:?} instead of {order:?}"),
    }
}
