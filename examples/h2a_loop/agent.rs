//! The agent: takes a prompt, does a step, tells what it has, looks whether anybody steers it, does the next step.

use crate::words::{Order, Partial, Prompt, from_json, to_json};
use crate::{AGENT, STEERING, USER, figures};
use laneway::mailbox::{Delivery, Inbox, Mailbox, Post};
use laneway_measure::Clock;
use std::error::Error;

struct Agent {
    steering: Inbox,
    user: Mailbox,
    /// What is to be minded in this turn.
    steered: Vec<String>,
    is_cancelled: bool,
}

pub(crate) fn work(post: &Post) -> Result<(), Box<dyn Error>> {
    let prompts = post.serve(AGENT)?;
    let steering = post.serve(STEERING)?;
    let mut agent = Agent { steering, user: post.mailbox(USER)?, steered: Vec::new(), is_cancelled: false };
    loop {
        let delivery = prompts.recv()?;
        match from_json(&delivery.body()) {
            Ok(Order::Prompt(prompt)) => agent.take_turn(delivery, &prompt)?,
            Ok(Order::Measure { mailbox, messages, park }) => {
                delivery.ack();
                figures::receive(&post.serve(&mailbox)?, messages, park, &mut agent.user)?;
            }
            Ok(Order::Close) => {
                delivery.ack();
                return Ok(());
            }
            // It will be no better the next time.
            Ok(Order::Steer { .. } | Order::Cancel) | Err(_) => delivery.reject()?,
        }
    }
}

impl Agent {
    /// Follows a prompt. It is acked when it is done or cancelled; a step that fails gives it back for another attempt.
    fn take_turn(&mut self, delivery: Delivery<'_>, prompt: &Prompt) -> Result<(), Box<dyn Error>> {
        self.is_cancelled = false;
        let mut is_late = false;
        for step in 1.. {
            // Also when something came during the last step: the turn goes on, and does not leave it to some other turn.
            let goes_on = step <= prompt.steps || self.steered.len() < prompt.needs || is_late;
            if !goes_on {
                break;
            }
            // What was sent before this moment counts from this step on; so does what came while no turn was running.
            let begun_ns = Clock::monotonic_ns();
            self.look_for_steering()?;
            if self.is_cancelled {
                break;
            }
            if prompt.fails_in == Some(step) && delivery.attempt() == 1 {
                return Ok(delivery.nack()?);
            }
            // A step of real work stands here: a call of the model, a tool.
            std::hint::black_box((0..200_000u64).fold(step.into(), |sum: u64, number| sum.rotate_left(3) ^ number));
            let (prompt_text, steered) = (prompt.text.clone(), self.steered.clone());
            self.user.send(&to_json(&Partial::Step { prompt: prompt_text, step, begun_ns, steered }))?;
            is_late = step >= prompt.steps && self.look_for_steering()?;
        }
        let (prompt, cancelled) = (prompt.text.clone(), self.is_cancelled);
        let end = Partial::End { prompt, cancelled, attempt: delivery.attempt() };
        self.user.send(&to_json(&end))?;
        self.steered.clear();
        delivery.ack();
        Ok(())
    }

    /// Whether anything came.
    fn look_for_steering(&mut self) -> Result<bool, Box<dyn Error>> {
        let mut came = false;
        while let Some(delivery) = self.steering.try_recv()? {
            came = true;
            match from_json(&delivery.body()) {
                Ok(Order::Steer { text }) => self.steered.push(text),
                Ok(Order::Cancel) => self.is_cancelled = true,
                Ok(_) | Err(_) => {
                    delivery.reject()?;
                    continue;
                }
            }
            delivery.ack();
        }
        Ok(came)
    }
}
