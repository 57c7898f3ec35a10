//! What a kill left of a mailbox, and what a victim had written down by then.

use super::program::{ATTEMPTS, NAMES, post};
use anyhow::{Context, Result, bail, ensure};
use laneway::mailbox::{Inbox, State, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is known of a message whose send has returned.
#[derive(Debug, Clone, Default)]
struct Fact {
    /// The name of the call that sent it, and its key.
    call: String,
    key: Option<String>,
    /// Its place in the order of sends.
    order: usize,
    /// How often it was handed out.
    attempts: u32,
    /// Calls about it that began, and those among them that returned.
    began: BTreeSet<String>,
    returned: BTreeSet<String>,
    /// The last that it was given back for later, and was not taken since.
    put_off: bool,
    /// Somebody was told that it is not handed out.
    taken_back: bool,
}

/// What a victim has written down.
#[derive(Debug, Default)]
pub(super) struct Facts {
    messages: BTreeMap<Ticket, Fact>,
    /// The call that has begun and not returned, and what it is about.
    going_on: Vec<String>,
}

impl Facts {
    pub(super) fn read(log: &str) -> Result<Facts> {
        let mut facts = Facts::default();
        for (order, line) in log.lines().enumerate() {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            if words[0] == "=" {
                facts.note(order, &words[1..]).context("a line of the log")?;
                facts.going_on.clear();
            } else {
                if let Some(fact) = words
                    .get(1)
                    .and_then(|word| word.parse().ok())
                    .and_then(|ticket: Ticket| facts.messages.get_mut(&ticket))
                {
                    fact.began.insert(words[0].clone());
                }
                facts.going_on = words;
            }
        }
        Ok(facts)
    }

    /// Takes down what came of the call that goes on.
    fn note(&mut self, order: usize, came: &[String]) -> Result<()> {
        let call = self.call().to_owned();
        let about: Option<Ticket> = self.going_on.get(1).and_then(|word| word.parse().ok());
        if let Some(fact) = about.and_then(|about| self.messages.get_mut(&about)) {
            fact.returned.insert(call.clone());
            fact.put_off |= call == "put-off";
            fact.taken_back |= came[0] == "yes";
        }
        match came[0].as_str() {
            "sent" => {
                // What is sent again is plain mail.
                let (call, key) =
                    if call == "replay" { ("send".to_owned(), None) } else { (call, self.going_on.get(2).cloned()) };
                self.messages.insert(came[1].parse()?, Fact { call, key, order, ..Fact::default() });
            }
            "taken" => {
                let fact =
                    self.messages.get_mut(&came[1].parse()?).context("a message that nobody sent was handed out")?;
                fact.attempts += 1;
                ensure!(
                    came[2].parse::<u32>()? == fact.attempts,
                    "attempt {} of a message taken {} times",
                    came[2],
                    fact.attempts
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// The name of the call that goes on.
    pub(super) fn call(&self) -> &'static str {
        let name = self.going_on.first().map_or("", String::as_str);
        NAMES.into_iter().find(|known| *known == name).unwrap_or("send")
    }

    fn goes_on(&self, name: &str) -> bool {
        self.going_on.first().is_some_and(|call| call == name)
    }

    /// Whether a message may have been sent that has no ticket yet.
    fn sends(&self) -> bool {
        ["send", "later", "stale", "newer", "once", "ask", "replay"].iter().any(|name| self.goes_on(name))
    }

    /// Whether a message with this call and key, other than this one, was sent or is just being sent; only later ones if so wanted.
    fn has_other(&self, this: &Fact, later: bool) -> bool {
        let other = |fact: &Fact| fact.call == this.call && fact.key == this.key && fact.order != this.order;
        let known = self.messages.values().any(|fact| other(fact) && (!later || fact.order > this.order));
        known || self.goes_on(&this.call) && self.going_on.get(2) == this.key.as_ref()
    }
}

/// Serves, and acks all there is: the attempt of each.
fn deal_with(inbox: &Inbox) -> Result<BTreeMap<Ticket, u32>> {
    let mut seen = BTreeMap::new();
    while let Some(delivery) = inbox.try_recv()? {
        let ticket = delivery.ticket();
        ensure!(seen.insert(ticket, delivery.attempt()).is_none(), "{ticket} was handed out twice");
        if delivery.wants_reply() {
            delivery.reply(b"answer")?;
        }
        delivery.ack();
    }
    Ok(seen)
}

/// Has others serve what a kill left, and asks every rule.
pub(super) fn judge(root: &Path, facts: &Facts) -> Result<()> {
    let post = post(root);
    let mut mailbox = post.mailbox("box")?;
    for ticket in facts.messages.keys() {
        ensure!(mailbox.status(ticket)?.state != State::Unknown, "{ticket} is unknown before anybody serves");
    }
    let seen = deal_with(&post.serve("box")?)?;
    let new = mailbox.send(b"afterwards")?;
    let again = deal_with(&post.serve("box")?)?;
    ensure!(again == BTreeMap::from([(new, 1)]), "a new message was sent, and this came: {again:?}");
    let letters = mailbox.dead_letters()?;
    let dead: BTreeSet<Ticket> = letters.iter().map(|letter| letter.ticket).collect();
    ensure!(dead.len() == letters.len(), "dead letters are doubled");
    let strangers = seen.keys().filter(|ticket| !facts.messages.contains_key(ticket)).count();
    ensure!(strangers <= usize::from(facts.sends()), "{strangers} messages came that nobody sent");
    let mut kept = 0;
    for (ticket, fact) in &facts.messages {
        let state = mailbox.status(ticket)?.state;
        kept += u64::from(state == State::Pending);
        let (seen, is_dead) = (seen.get(ticket).copied(), dead.contains(ticket));
        let told = || {
            format!(
                "{ticket} is {state}, dead: {is_dead}, seen: {seen:?}, and {fact:?}; going on: {:?}",
                facts.going_on
            )
        };
        hold(facts, fact, state, seen, is_dead).with_context(told)?;
    }
    let said = mailbox.stats()?.kept;
    ensure!(
        (kept..=kept + u64::from(facts.sends())).contains(&said),
        "{kept} messages are kept, and {said} are said to be"
    );
    Ok(())
}

/// What holds of one message.
fn hold(facts: &Facts, fact: &Fact, state: State, seen: Option<u32>, is_dead: bool) -> Result<()> {
    let (began, returned) = (|name: &str| fact.began.contains(name), |name: &str| fact.returned.contains(name));
    let taking = u32::from(facts.goes_on("take"));
    let most = fact.attempts + taking;
    let is_gone = began("replay") || began("drop");
    let settled = fact.taken_back || returned("ack") || returned("reject");
    if let Some(attempt) = seen {
        ensure!(!settled, "it was settled, and handed out again");
        ensure!(fact.call != "later" && fact.call != "stale", "it was not to be handed out");
        ensure!(!fact.put_off, "it was put off, and handed out");
        ensure!(
            (fact.attempts + 1..=most + 1).contains(&attempt) && attempt <= ATTEMPTS.into(),
            "attempts were miscounted"
        );
        ensure!(state == State::Acked, "it was acked");
    } else {
        let right = match state {
            State::Acked => began("ack"),
            State::Failed => began("reject"),
            State::Expired => fact.call == "stale",
            State::Cancelled => began("cancel"),
            State::DeadLettered => most >= ATTEMPTS.into(),
            State::Superseded => match fact.call.as_str() {
                "newer" => facts.has_other(fact, true),
                "once" => facts.has_other(fact, false),
                _ => false,
            },
            State::Pending => fact.call == "later" || began("put-off"),
            State::Taken | State::Unknown => false,
            other => bail!("a state that nobody knows: {other}"),
        };
        ensure!(right, "it is lost");
    }
    ensure!(!fact.taken_back || state == State::Cancelled, "it was taken back");
    ensure!(!returned("ack") || state == State::Acked, "it was acked");
    ensure!(!returned("reject") || state == State::Failed, "it was refused");
    let dies = matches!(state, State::DeadLettered | State::Failed);
    ensure!(!dies || is_dead || is_gone, "it is no dead letter");
    ensure!(!is_dead || dies || began("reject") || most >= ATTEMPTS.into(), "it is a dead letter");
    ensure!(!is_dead || !(returned("replay") || returned("drop")), "it is a dead letter again");
    Ok(())
}
