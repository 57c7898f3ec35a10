//! A lane each way between two processes: round trips and streams whose messages are copied in, copied out and checked.

use super::job::Job;
use super::scene::Scene;
use anyhow::{Result, bail};
use laneway::{Options, Receiver, Sender};
use laneway_measure::limit::FutexWake;
use std::path::Path;
use std::time::Instant;

/// One end of both lanes.
pub(super) struct Pair {
    sender: Sender,
    receiver: Receiver,
    leads: bool,
    payload: Vec<u8>,
    back: Vec<u8>,
    /// Of the last message, on both sides.
    number: u64,
}

/// A message carries its number, at both ends where there is room for two.
const MARK: usize = 8;

impl Pair {
    /// Makes the two queues; `there` has these limits.
    pub(super) fn prepare(job: &Job, at: &Path, name: &str, there: &Options) -> Result<()> {
        there.create(at.join(there_of(name)))?;
        job.options().create(at.join(back_of(name)))?;
        Ok(())
    }

    /// Attaches to them: the leading part sends there.
    pub(super) fn open(scene: &Scene<'_>, name: &str) -> Result<Pair> {
        let (there, back) = (there_of(name), back_of(name));
        let (to, from) = if scene.leads() { (&there, &back) } else { (&back, &there) };
        Pair::new(scene, scene.sender(to)?, scene.receiver(from)?)
    }

    /// Of a sender and a receiver that are attached already.
    pub(super) fn new(scene: &Scene<'_>, sender: Sender, receiver: Receiver) -> Result<Pair> {
        let payload = vec![0x5a; scene.job.payload];
        if payload.len() < MARK {
            bail!("a message of {} bytes has no room for its number of {MARK}", payload.len());
        }
        Ok(Pair { sender, receiver, leads: scene.leads(), back: payload.clone(), payload, number: 0 })
    }

    /// So many round trips. `done` is called after each on the leading side.
    pub(super) fn trips(&mut self, trips: usize, mut done: impl FnMut()) -> Result<()> {
        for _ in 0..trips {
            self.number += 1;
            if self.leads {
                mark(&mut self.payload, self.number);
                self.sender.send(&self.payload)?;
                self.take()?;
                done();
            } else {
                self.take()?;
                self.sender.send(&self.back)?;
            }
        }
        Ok(())
    }

    /// So many messages from the leading side to the other. Nanoseconds a message, until the last was read, on the leading
    /// side.
    pub(super) fn stream(&mut self, messages: usize) -> Result<f64> {
        self.stream_by(messages, send, || ())
    }

    /// The same, but the other side reads when all are sent.
    pub(super) fn burst(&mut self, messages: usize, all_sent: &mut FutexWake<'_>) -> Result<f64> {
        let leads = self.leads;
        let sent = || match leads {
            true => all_sent.wake(0),
            false => _ = all_sent.sleep(),
        };
        self.stream_by(messages, send, sent)
    }

    /// The same, sent in another way; `sent` comes when all are on their way, and on the other side before any is read.
    pub(super) fn stream_by(
        &mut self,
        messages: usize,
        mut send: impl FnMut(&mut Sender, &[u8]) -> Result<()>,
        sent: impl FnOnce(),
    ) -> Result<f64> {
        let start = Instant::now();
        if self.leads {
            for _ in 0..messages {
                self.number += 1;
                mark(&mut self.payload, self.number);
                send(&mut self.sender, &self.payload)?;
            }
            sent();
            self.receiver.recv()?.release();
        } else {
            sent();
            for _ in 0..messages {
                self.number += 1;
                self.take()?;
            }
            self.sender.send(&[])?;
        }
        Ok(start.elapsed().as_nanos() as f64 / messages as f64)
    }

    /// Copies the next message out and checks it.
    fn take(&mut self) -> Result<()> {
        let message = self.receiver.recv()?;
        if message.len() != self.back.len() {
            bail!("a message of {} bytes came in place of one of {}", message.len(), self.back.len());
        }
        message.copy_to(&mut self.back);
        message.release();
        if !is_marked(&self.back, self.number) {
            bail!("message {} came torn or out of order", self.number);
        }
        Ok(())
    }
}

fn send(sender: &mut Sender, payload: &[u8]) -> Result<()> {
    sender.send(payload)?;
    Ok(())
}

fn there_of(name: &str) -> String {
    format!("{name}-there")
}

fn back_of(name: &str) -> String {
    format!("{name}-back")
}

/// Puts a number into a message.
pub(super) fn mark(payload: &mut [u8], number: u64) {
    let (number, len) = (number.to_le_bytes(), payload.len());
    payload[..MARK].copy_from_slice(&number);
    if len >= 2 * MARK {
        payload[len - MARK..].copy_from_slice(&number);
    }
}

/// Whether it is still there.
pub(super) fn is_marked(payload: &[u8], number: u64) -> bool {
    let (number, len) = (number.to_le_bytes(), payload.len());
    payload[..MARK] == number && (len < 2 * MARK || payload[len - MARK..] == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_which_either_end_is_another_ones_is_found() {
        for len in [8, 9, 16, 48] {
            let mut message = vec![0; len];
            mark(&mut message, 7);
            assert!(is_marked(&message, 7) && !is_marked(&message, 8), "{len}");
            if len >= 16 {
                *message.last_mut().expect("it has bytes") ^= 1;
                assert!(!is_marked(&message, 7), "{len}");
            }
        }
    }
}
