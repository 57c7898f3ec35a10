//! A lane between two threads, in no directory: the same code over anonymous memory.

use super::options::Options;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{Cause, Error};
use crate::lane::{Memory, Terms};
use crate::layout::{FileKind, Header};
use crate::region::Region;
use crate::sys::fence;
use std::path::Path;
use std::sync::Arc;

/// A sender and a receiver that share `capacity` bytes of ring (rounded up to a power of two, at least 4 KiB), for two
/// threads of one process.
///
/// Dropping the sender closes the lane. Dropping the receiver is noticed by the sender when there is no more room:
/// it gets `Closed`.
///
/// ```
/// let (mut sender, receiver) = laneway::pair(1 << 16)?;
/// let worker = std::thread::spawn(move || receiver.iter().map(|message| message.len()).sum::<usize>());
/// for word in ["to", "be", "or", "not"] {
///     sender.send(word.as_bytes())?;
/// }
/// drop(sender);
/// assert_eq!(worker.join().unwrap(), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair(capacity: u64) -> Result<(Sender, Receiver), Error> {
    let failed = |cause| Error::new("create", Path::new("pair"), cause);
    let capacity = capacity.max(4096).checked_next_power_of_two().unwrap_or(u64::MAX);
    let options = Options::default().capacity(capacity).overflow_limit(0).max_lanes(1);
    let fence_mode = fence::best_mode();
    let header = Header { fence_mode: fence_mode as u32, ..options.header().map_err(failed)? };
    let terms = Terms { header, limits: options.limits().map_err(failed)?, fence_mode };
    let memory = |kind| {
        Region::anonymous(header.map_len(kind) as usize)
            .map_err(|source| failed(Cause::Io { file: String::new(), source }))
    };
    let (lane, words, bell) = (memory(FileKind::Lane)?, memory(FileKind::Receiver)?, memory(FileKind::Bell)?);
    let ends = pair_over(&terms, lane, words, bell);
    ends.map_err(|damage| failed(Cause::Io { file: String::new(), source: std::io::Error::other(damage.to_string()) }))
}

fn pair_over(
    terms: &Terms,
    lane: Arc<Region>,
    words: Arc<Region>,
    bell: Arc<Region>,
) -> Result<(Sender, Receiver), crate::Damage> {
    let receiver = Receiver::new(Arc::clone(&words), Arc::clone(&bell), 1, terms.fence_mode, None);
    let memory = Memory::new(terms, &terms.header, lane, words, bell);
    let sender = Sender::new(memory.clone(), terms, None)?;
    receiver.add_lane(0, memory);
    Ok((sender, receiver))
}

#[cfg(test)]
mod tests {
    use super::pair;
    use crate::error::TryRecvError;
    use crate::sync::{AtomicU32, Ordering};
    use std::thread;

    /// In memory that the queue knows nothing of.
    #[test]
    fn the_orderings_of_the_end_show_what_the_sender_did_before() {
        for _ in 0..if cfg!(miri) { 10 } else { 200 } {
            let (sender, receiver) = pair(4096).unwrap();
            let done = AtomicU32::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    done.store(1, Ordering::Relaxed);
                    sender.close();
                });
                while !matches!(receiver.try_recv(), Err(TryRecvError::Closed)) {
                    thread::yield_now();
                }
                assert_eq!(done.load(Ordering::Relaxed), 1);
            });
        }
    }

    /// The word by which the receiver learns that `send` returned orders nothing. Miri knows no membarrier, so what it sees
    /// are the symmetric fences; the asymmetric ones are for the loom models.
    #[test]
    fn the_orderings_of_a_drain_show_it_what_was_sent_before_it() {
        for _ in 0..if cfg!(miri) { 10 } else { 200 } {
            let (mut sender, receiver) = pair(4096).unwrap();
            let returned = AtomicU32::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    sender.send(b"before").unwrap();
                    returned.store(1, Ordering::Relaxed);
                });
                while returned.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                assert_eq!(receiver.drain().unwrap().count(), 1);
            });
        }
    }
}
