//! A process that may have few files open.

use super::Answer;
use super::parties::{LONG, small};
use anyhow::{Context, Result, ensure};
use laneway::{Queue, Receiver, Sender};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::Path;

/// Lanes that there are: more than there may be files open in most of the tries.
const LANES: u32 = 24;

pub(super) fn few_descriptors(at: &Path) -> Result<Answer> {
    let path = at.join("queue");
    let queue = small().max_lanes(2 * LANES).create(&path)?;
    let mut senders: Vec<Sender> = (0..LANES).map(|_| queue.sender()).collect::<Result<_, _>>()?;
    for sender in &mut senders {
        sender.send(b"kept")?;
    }
    drop(senders);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let open = std::fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
    let (mut refused, mut first, mut whole) = (0, String::new(), 0);
    for spare in 0..20 {
        setrlimit(Resource::RLIMIT_NOFILE, open + spare, hard)?;
        let answer = take_part(&path);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        match answer {
            Ok(()) => whole += 1,
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains("Too many open files"), "with {spare} descriptors: {text}");
                ensure!(text.contains(&*at.to_string_lossy()), "with {spare} descriptors: {text}");
                ensure!(whole == 0, "refused with {spare} descriptors, and not with fewer: {text}");
                refused += 1;
                if first.is_empty() {
                    first = text;
                }
            }
        }
    }
    ensure!(refused > 0 && whole > 0, "refused {refused} times, whole {whole} times");
    // Nothing was lost, and nothing was kept open.
    ensure!(std::fs::read_dir("/proc/self/fd")?.count() as u64 - 1 == open, "descriptors were left open");
    let receiver = queue.receiver()?;
    let kept = receiver.drain()?.filter(|message| message.to_vec() == b"kept").count();
    ensure!(kept == LANES as usize, "{kept} messages were kept, of {LANES}");
    Ok(Answer::Done(format!(
        "refused with up to {refused} spare descriptors ({first}), whole with more, {LANES} lanes"
    )))
}

/// Opens, observes, receives, sends and goes; what is received is put back.
fn take_part(path: &Path) -> Result<()> {
    let root = path.parent().context("it lies somewhere")?;
    let listed = Queue::list(root)?;
    // A list that is short for want of descriptors would say that there is no queue.
    ensure!(listed == ["queue"], "{path:?} is not listed");
    let queue = Queue::open(path)?;
    let mut observer = queue.observe()?;
    ensure!(observer.lanes()?.len() as u32 >= LANES, "lanes are not seen");
    let receiver: Receiver = queue.receiver()?;
    let mut sender = queue.sender()?;
    sender.send_timeout(b"through", LONG)?;
    for message in receiver.drain()? {
        if message.to_vec() == b"through" {
            message.release();
        } else {
            message.put_back();
        }
    }
    Ok(())
}
