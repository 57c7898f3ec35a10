//! A mailbox of laneway's, both ends in this process.

use crate::{BODY, Broker, Turn};
use anyhow::{Result, ensure};
use laneway::mailbox::{Inbox, Mailbox, Post, State};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Laneway {
    mailbox: Mailbox,
    inbox: Inbox,
    _directory: TempDir,
}

/// Messages that are sent before they are taken.
const PART: u32 = 1000;

impl Laneway {
    pub(crate) fn new() -> Result<Laneway> {
        let directory = tempfile::tempdir_in("/dev/shm")?;
        let post = Post::open(directory.path());
        Ok(Laneway { inbox: post.serve("bench")?, mailbox: post.mailbox("bench")?, _directory: directory })
    }
}

impl Broker for Laneway {
    fn name(&self) -> &'static str {
        "laneway"
    }

    fn turn(&mut self, messages: u32) -> Result<Turn> {
        let mut turn = Turn { messages, publishing: Duration::ZERO, consuming: Duration::ZERO };
        for _ in 0..messages.div_ceil(PART) {
            let started = Instant::now();
            let mut last = None;
            for _ in 0..PART.min(messages) {
                last = Some(self.mailbox.send(&BODY)?);
            }
            turn.publishing += started.elapsed();
            let started = Instant::now();
            let mut body = [0; BODY.len()];
            for _ in 0..PART.min(messages) {
                let delivery = self.inbox.recv()?;
                delivery.copy_to(&mut body);
                delivery.ack();
            }
            turn.consuming += started.elapsed();
            let status = last.map(|ticket| self.mailbox.status(&ticket)).transpose()?;
            ensure!(status.is_some_and(|status| status.state == State::Acked) && body == BODY, "a message is missing");
        }
        turn.messages = messages.div_ceil(PART) * PART.min(messages);
        Ok(turn)
    }
}
