//! Whatever became of somebody: who comes after finds everything that was promised, and can go on.

use super::ledger::{LANES, Ledger};
use super::life::{MAX, RING};
use crate::mail::Mail;
use anyhow::{Context, Result, bail, ensure};
use laneway::{Cause, Queue, Receiver, RecvError, Sender, TryRecvError, Wait, layout};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(15);

/// Somebody who sleeps until something comes, and sends it back.
pub(crate) struct Echo {
    receiver: Receiver,
    sender: Sender,
}

impl Echo {
    pub(crate) fn new(directory: &Path) -> Result<Echo> {
        let create = |name: &str| Queue::options().capacity(RING).max_lanes(2).create(directory.join(name));
        let (receiver, sender) = (create("there")?.receiver()?, create("back")?.sender()?);
        receiver.set_wait(Wait::Park);
        Ok(Echo { receiver, sender })
    }

    pub(crate) fn play(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            match self.receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(message) => {
                    let bytes = message.to_vec();
                    drop(message);
                    let _ = self.sender.send_timeout(&bytes, LONG);
                }
                // All have closed: somebody else may come.
                Err(RecvError::Timeout | RecvError::Closed) => {}
                Err(_) => return,
            }
        }
    }
}

/// Takes over what is left in `directory`, and compares it with the ledger.
pub(crate) fn recover(directory: &Path) -> Result<()> {
    let ledger = Ledger::open(&directory.join("ledger"))?;
    let answer = compare(directory, ledger);
    ledger.close();
    answer
}

fn compare(directory: &Path, ledger: &Ledger) -> Result<()> {
    let path = directory.join("queue");
    match Queue::open(&path) {
        Ok(queue) => take_over(queue, ledger)?,
        Err(error) if matches!(error.cause(), Cause::NotFound) => {
            let promised: u64 = ledger.lanes.iter().map(|lane| lane.promised.load(SeqCst)).sum();
            ensure!(promised == 0, "{error}, and {promised} messages were promised in it");
        }
        Err(error) => return Err(error.into()),
    }
    for name in ["there", "back", "other"] {
        match Queue::open(directory.join(name)) {
            Ok(queue) => queue.destroy()?,
            Err(error) if name == "other" && matches!(error.cause(), Cause::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Queue::sweep(directory)?;
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<std::io::Result<_>>()?;
    ensure!(names == ["ledger"], "left behind: {names:?}");
    Ok(())
}

fn take_over(queue: Queue, ledger: &Ledger) -> Result<()> {
    let receiver = queue.receiver().context("a receiver after it")?;
    let mut seen = [0; LANES];
    for message in receiver.drain()? {
        let mail = Mail::read(&message.to_vec(), MAX).context("torn")?;
        let lane = &ledger.lanes[mail.lane as usize];
        let (handled, last) = (lane.handled.load(SeqCst), seen[mail.lane as usize]);
        let before = if last == 0 { handled } else { last };
        ensure!(mail.after <= before, "lost: {mail:?} behind {before}");
        // The one that was being handled may come again, and it alone.
        ensure!(mail.number > last && mail.number >= handled, "twice: {mail:?} behind {handled} and {last}");
        seen[mail.lane as usize] = mail.number;
    }
    for (number, (lane, seen)) in ledger.lanes.iter().zip(seen).enumerate() {
        let (promised, handled) = (lane.promised.load(SeqCst), lane.handled.load(SeqCst));
        ensure!(
            handled.max(seen) >= promised,
            "lost: lane {number}: {promised} promised, {handled} handled, {seen} left"
        );
    }
    ensure!(receiver.damage().is_empty(), "{:?}", receiver.damage());
    let mut sender = queue.sender().context("a sender after it")?;
    for number in 1..=30 {
        let mail = Mail { epoch: 9, lane: sender.lane(), number, after: number - 1 };
        sender.send_timeout(&mail.write(MAX), LONG)?;
    }
    for number in 1..=30 {
        let mail = Mail::read(&receiver.recv_timeout(LONG)?.to_vec(), MAX).context("torn after it")?;
        ensure!((mail.epoch, mail.number) == (9, number), "{mail:?} instead of message {number} after it");
    }
    drop(sender);
    match receiver.try_recv() {
        Err(TryRecvError::Empty | TryRecvError::Closed) => {}
        other => bail!("{other:?} when everything was received"),
    }
    drop(receiver);
    queue.trim()?;
    for lane in queue.observe()?.lanes()? {
        let most = layout::RING as u64 + RING + layout::GRANULE;
        ensure!(
            lane.reserved_bytes <= most,
            "lane {} holds {} bytes, of at most {most}",
            lane.lane,
            lane.reserved_bytes
        );
    }
    Ok(queue.destroy()?)
}
