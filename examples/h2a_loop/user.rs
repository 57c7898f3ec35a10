//! The user: asks, listens to what comes, steers, cancels, and checks that the agent minded it.

use crate::words::{Order, Partial, Prompt, from_json, to_json};
use crate::{AGENT, STEERING, USER, start_agent};
use laneway::Priority;
use laneway::mailbox::{Backoff, Cancelled, Inbox, Mailbox, Post, Settings, State, Ticket};
use laneway_measure::Clock;
use std::error::Error;
use std::time::Duration;

/// Nothing here takes this long; what does has hung.
const LONG: Duration = Duration::from_secs(60);

struct User {
    agent: Mailbox,
    steering: Mailbox,
    inbox: Inbox,
}

impl User {
    fn ask(&mut self, prompt: Prompt) -> Result<Ticket, Box<dyn Error>> {
        Ok(self.agent.send(&to_json(&Order::Prompt(prompt)))?)
    }

    /// Returns the moment from which on the agent has it.
    fn steer(&mut self, order: &Order) -> Result<u64, Box<dyn Error>> {
        self.steering.compose().priority(Priority::Urgent).send(&to_json(order))?;
        Ok(Clock::monotonic_ns())
    }

    fn next(&mut self) -> Result<Partial, Box<dyn Error>> {
        let delivery = self.inbox.recv_timeout(LONG)?;
        let partial = from_json(&delivery.body());
        delivery.ack();
        partial
    }
}

fn prompt(text: &str, steps: u32) -> Prompt {
    Prompt { text: text.to_owned(), steps, needs: 0, fails_in: None }
}

pub(crate) fn tell_the_story(post: &Post) -> Result<(), Box<dyn Error>> {
    let backoff = Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(1) };
    let post = post.clone().settings(Settings { backoff, ..Settings::default() });
    let mut user = User { agent: post.mailbox(AGENT)?, steering: post.mailbox(STEERING)?, inbox: post.serve(USER)? };
    let steer = |text: &str| Order::Steer { text: text.to_owned() };

    // Nobody is there yet, and nobody need be.
    user.steer(&steer("metric units"))?;
    let report = user.ask(Prompt { needs: 2, ..prompt("report", 12) })?;
    println!("user: sent a prompt and steered it, as {report}, before there is an agent");
    let mut agent = start_agent(&post)?;

    // Steered in mid-stream: every step begun afterwards minds it.
    let mut steered_at = u64::MAX;
    let (mut before, mut after) = (0, 0);
    loop {
        match user.next()? {
            Partial::Step { step, begun_ns, steered, .. } => {
                assert_eq!(steered[0], "metric units", "what came before the turn counts from its first step on");
                let minds = steered.iter().any(|text| text == "no tables");
                assert!(
                    minds || begun_ns < steered_at,
                    "step {step} was begun after the steering, and did not mind it"
                );
                if minds {
                    after += 1
                } else {
                    before += 1
                }
                if step == 3 {
                    steered_at = user.steer(&steer("no tables"))?;
                }
            }
            Partial::End { cancelled, .. } => break assert!(!cancelled),
            other => panic!("{other:?}"),
        }
    }
    assert!(after > 0, "the turn ended without minding what came in the middle of it");
    assert_eq!(user.agent.wait(&report, LONG)?.state, State::Acked);
    println!("agent: streamed {before} steps, was steered, and streamed {after} that mind it");

    // Cancelled in mid-stream; and a prompt that waits behind it is taken back.
    let endless = user.ask(prompt("endless", u32::MAX))?;
    let unwanted = user.ask(prompt("unwanted", 1))?;
    let mut cancelled_at = u64::MAX;
    let mut seen = 0;
    loop {
        match user.next()? {
            Partial::Step { prompt, step, begun_ns, .. } => {
                assert_eq!(prompt, "endless");
                assert!(begun_ns < cancelled_at, "step {step} was begun after the turn was cancelled");
                seen = step;
                if step == 5 {
                    assert_eq!(user.agent.status(&endless)?.state, State::Taken);
                    assert_eq!(user.agent.cancel(&unwanted)?, Cancelled::Yes);
                    cancelled_at = user.steer(&Order::Cancel)?;
                }
            }
            Partial::End { cancelled, .. } => break assert!(cancelled),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(user.agent.wait(&endless, LONG)?.state, State::Acked);
    println!("agent: stopped after {seen} steps of an endless turn, before the next one");

    // A step that fails: the prompt comes again.
    let flaky = user.ask(Prompt { fails_in: Some(2), ..prompt("flaky", 3) })?;
    loop {
        match user.next()? {
            Partial::Step { prompt, .. } => assert_eq!(prompt, "flaky"),
            Partial::End { attempt, cancelled, .. } => break assert_eq!((attempt, cancelled), (2, false)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(user.agent.wait(&flaky, LONG)?.state, State::Acked);
    assert_eq!(user.agent.status(&unwanted)?.state, State::Cancelled);
    println!("agent: failed in a step, was given the prompt again, and did it");

    user.agent.send(&to_json(&Order::Close))?;
    assert!(agent.wait()?.success());
    assert!(user.inbox.try_recv()?.is_none(), "it said more than it was asked for");
    println!("agent: closed");
    Ok(())
}
