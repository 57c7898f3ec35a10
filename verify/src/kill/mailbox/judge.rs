//! What a kill left of a mailbox, and what a victim had written down by then.

use super::program::{ATTEMPTS, MANY, NAMES, attempts_of, post};
use anyhow::{Context, Result, bail, ensure};
use laneway::Priority;
use laneway::mailbox::{Delivery, Inbox, Mailbox, State, Ticket};
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
    /// How often it was handed out, and how often it may be.
    attempts: u32,
    limit: u32,
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
                let limit = if self.goes_on("send") { attempts_of(self.going_on[1].parse()?) } else { ATTEMPTS };
                let fact = Fact { call, key, order, limit: limit.into(), ..Fact::default() };
                self.messages.insert(came[1].parse()?, fact);
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

    /// Whether a message with this call and key, other than this one, was sent, or is just being sent and `came`; only later ones if so wanted.
    fn has_other(&self, this: &Fact, later: bool, came: bool) -> bool {
        let other = |fact: &Fact| fact.call == this.call && fact.key == this.key && fact.order != this.order;
        let known = self.messages.values().any(|fact| other(fact) && (!later || fact.order > this.order));
        known || came && self.goes_on(&this.call) && self.going_on.get(2) == this.key.as_ref()
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

/// What is said of the messages.
fn states(mailbox: &mut Mailbox, facts: &Facts) -> Result<BTreeMap<Ticket, State>> {
    facts.messages.keys().map(|ticket| Ok((*ticket, mailbox.status(ticket)?.state))).collect()
}

/// Has others serve what a kill left, and asks every rule. If so wanted, the first of them takes one message and does not live to settle it.
pub(super) fn judge(root: &Path, facts: &Facts, one_dies: bool) -> Result<()> {
    let post = post(root);
    let mut mailbox = post.mailbox("box")?;
    let before = states(&mut mailbox, facts)?;
    let unknown = before.iter().find(|(_, state)| **state == State::Unknown);
    ensure!(unknown.is_none(), "{unknown:?} before anybody serves");
    let inbox = post.serve("box")?;
    let held = if one_dies { inbox.try_recv()? } else { None };
    let mut seen = deal_with(&inbox)?;
    let mut after = states(&mut mailbox, facts)?;
    let left = held.map(|held| leave_behind(&mut mailbox, &inbox, held)).transpose()?;
    drop(inbox);
    if let Some((ticket, attempt, is_spent)) = left {
        ensure!(seen.insert(ticket, attempt).is_none(), "{ticket} was handed out while it was held");
        let next = deal_with(&post.serve("box")?)?;
        let (due, state) = match is_spent {
            true => (None, State::DeadLettered),
            false => (Some((ticket, attempt + 1)), State::Acked),
        };
        let came = mailbox.status(&ticket)?.state;
        ensure!(
            next == BTreeMap::from_iter(due) && came == state,
            "{ticket} was left behind, taken {attempt} times; then it is {came}, and this came: {next:?}"
        );
        after.insert(ticket, State::Acked);
    }
    let new = mailbox.send(b"afterwards")?;
    let again = deal_with(&post.serve("box")?)?;
    ensure!(again == BTreeMap::from([(new, 1)]), "a new message was sent, and this came: {again:?}");
    let letters = mailbox.dead_letters()?;
    let mut dead: BTreeSet<Ticket> = letters.iter().map(|letter| letter.ticket).collect();
    ensure!(dead.len() == letters.len(), "dead letters are doubled");
    if let Some((ticket, attempt, true)) = left {
        // Of that much is asked here; of the rest, as if it had been acked.
        ensure!(dead.remove(&ticket), "{ticket} was left behind, taken {attempt} times, and is no dead letter");
    }
    let strangers = seen.keys().filter(|ticket| !facts.messages.contains_key(ticket)).count();
    ensure!(strangers <= usize::from(facts.sends()), "{strangers} messages came that nobody sent");
    let (mut kept, came) = (0, strangers > 0);
    for (ticket, fact) in &facts.messages {
        let (said, state, is_dead) = (before[ticket], after[ticket], dead.contains(ticket));
        kept += u64::from(state == State::Pending);
        let seen = seen.get(ticket).copied();
        let told = || {
            format!(
                "{ticket} was {said} and is {state}, dead: {is_dead}, seen: {seen:?}, and {fact:?}; going on: {:?}",
                facts.going_on
            )
        };
        ensure!(!said.is_final() || seen.is_none() && state == said, "{}: it was said to be settled", told());
        hold(facts, fact, state, seen, is_dead, came).with_context(told)?;
    }
    let said = mailbox.stats()?.kept;
    ensure!(
        (kept..=kept + u64::from(facts.sends())).contains(&said),
        "{kept} messages are kept, and {said} are said to be"
    );
    Ok(())
}

/// Dies with a message in its hands, after much has come and gone: what was acked behind it must not be forgotten over that. Gives its attempt, and
/// whether it was the last.
fn leave_behind(mailbox: &mut Mailbox, inbox: &Inbox, held: Delivery<'_>) -> Result<(Ticket, u32, bool)> {
    let (ticket, attempt, most) = (held.ticket(), held.attempt(), held.max_attempts());
    let state = mailbox.status(&ticket)?.state;
    ensure!(state == State::Taken, "{ticket} was taken, and is {state}");
    for _ in 0..MANY {
        mailbox.compose().priority(Priority::Low).send(b"meanwhile")?;
        inbox.try_recv()?.context("what is sent meanwhile does not come")?.ack();
    }
    std::mem::forget(held);
    Ok((ticket, attempt, attempt >= most))
}

/// What holds of one message; `came` says that one came that was not known to be sent.
fn hold(facts: &Facts, fact: &Fact, state: State, seen: Option<u32>, is_dead: bool, came: bool) -> Result<()> {
    let (began, returned) = (|name: &str| fact.began.contains(name), |name: &str| fact.returned.contains(name));
    let taking = u32::from(facts.goes_on("take"));
    let most = fact.attempts + taking;
    let is_gone = began("replay") || began("drop");
    let settled = fact.taken_back || returned("ack") || returned("reject");
    if let Some(attempt) = seen {
        ensure!(!settled, "it was settled, and handed out again");
        ensure!(fact.call != "later" && fact.call != "stale", "it was not to be handed out");
        ensure!(!fact.put_off, "it was put off, and handed out");
        ensure!((fact.attempts + 1..=most + 1).contains(&attempt) && attempt <= fact.limit, "attempts were miscounted");
        ensure!(state == State::Acked, "it was acked");
    } else {
        let right = match state {
            State::Acked => began("ack"),
            State::Failed => began("reject"),
            State::Expired => fact.call == "stale",
            State::Cancelled => began("cancel"),
            State::DeadLettered => most >= fact.limit,
            State::Superseded => match fact.call.as_str() {
                "newer" => facts.has_other(fact, true, came),
                "once" => facts.has_other(fact, false, came),
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
    ensure!(!is_dead || dies || began("reject") || most >= fact.limit, "it is a dead letter");
    ensure!(is_dead || came || !began("replay") || returned("replay"), "it was to be sent again, and is gone");
    ensure!(!is_dead || !(returned("replay") || returned("drop")), "it is a dead letter again");
    Ok(())
}
