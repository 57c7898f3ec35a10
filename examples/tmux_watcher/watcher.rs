//! The watcher: takes a message, waits for the prompt, types it in, and says that it is done.

use crate::tmux::{Look, Pane, TmuxError};
use laneway::mailbox::{Inbox, RecvError};
use regex::Regex;
use std::error::Error;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) struct Settings {
    /// What the last line that is not empty looks like when the program waits for input.
    pub(crate) prompt: Regex,
    /// After typing, for how long at most the program may take to read it until the next message is looked for.
    pub(crate) cooldown: Duration,
    /// How often the pane is looked at, and for how many times until a message is given back for another attempt.
    pub(crate) poll: Duration,
    pub(crate) polls: u32,
}

/// Why the watcher has ended.
pub(crate) enum Ended {
    PaneGone,
}

/// What may not be typed: whoever sends it may mean keys, not text. Escape would end a bracketed paste.
fn is_text(body: &str) -> bool {
    !body.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t')
}

/// Types what comes. Acked is what was typed in: a watcher that is killed between the two types it once more when it comes back.
pub(crate) fn watch(inbox: &Inbox, pane: &Pane, settings: &Settings) -> Result<Ended, Box<dyn Error>> {
    loop {
        let delivery = match inbox.recv() {
            // One sender's damage is his own.
            Err(RecvError::Corrupt(damage)) => {
                eprintln!("{damage}");
                continue;
            }
            delivery => delivery?,
        };
        let ticket = delivery.ticket();
        let body = match String::from_utf8(delivery.body()) {
            Ok(body) if is_text(&body) => body,
            _ => {
                eprintln!("{ticket} is no text that can be typed, and is refused");
                delivery.reject()?;
                continue;
            }
        };
        let typed = wait_for_prompt(pane, settings).and_then(|before| match before {
            Some(before) => pane.type_in(&body, &format!("laneway-{ticket}")).map(|()| Some(before)),
            None => Ok(None),
        });
        match typed {
            Ok(Some(before)) => {
                delivery.ack();
                println!("{ticket} typed into {pane}");
                cool_down(pane, settings, &before);
            }
            Ok(None) => {
                eprintln!("{ticket}: {pane} was not at its prompt for {:?}", settings.poll * settings.polls);
                delivery.nack()?;
            }
            Err(TmuxError::Gone(_)) => {
                // It was not this message's fault.
                delivery.nack_after(Duration::ZERO)?;
                return Ok(Ended::PaneGone);
            }
            Err(error) => {
                eprintln!("{ticket}: {error}");
                delivery.nack()?;
            }
        }
    }
}

/// The pane at its prompt, if that came while it was looked for.
fn wait_for_prompt(pane: &Pane, settings: &Settings) -> Result<Option<Look>, TmuxError> {
    for _ in 0..settings.polls {
        let look = pane.look()?;
        if settings.prompt.is_match(&look.last_line) {
            return Ok(Some(look));
        }
        sleep(settings.poll);
    }
    Ok(None)
}

/// The prompt that stands there may still be the old one, when the program has not read anything yet: gives it the time to.
fn cool_down(pane: &Pane, settings: &Settings, before: &Look) {
    let until = Instant::now() + settings.cooldown;
    // A pane that is gone is found out with the next message.
    while Instant::now() < until && pane.look().is_ok_and(|look| look.place == before.place) {
        sleep(settings.poll.min(settings.cooldown));
    }
}
