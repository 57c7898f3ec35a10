//! What a victim does with a mailbox, drawn by a seed, and what it writes down about that: before a call what it is about to do,
//! behind it what came of it. That is not stepped.

use laneway::mailbox::{Backoff, Cancelled, Delivery, Inbox, Mailbox, Post, Settings, Ticket};
use laneway::{Priority, Queue};
use std::path::Path;
use std::time::Duration;

/// Later than any of this takes.
pub(super) const FAR: Duration = Duration::from_secs(24 * 3600);
/// How often most messages may be handed out.
pub(super) const ATTEMPTS: u16 = 3;
/// How many outcomes the ledger remembers.
const OUTCOMES: u32 = 512;
/// More messages than that.
pub(super) const MANY: usize = 600;

/// How often a message that is sent with nothing special may be handed out: of some the first is the last, so that many die.
pub(super) fn attempts_of(number: usize) -> u16 {
    if number.is_multiple_of(3) { 1 } else { ATTEMPTS }
}

/// The post office of victims and judges.
pub(super) fn post(root: &Path) -> Post {
    let backoff = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
    let options = Queue::options().capacity(4096).max_lanes(16);
    Post::open(root)
        .settings(Settings { backoff, max_attempts: ATTEMPTS, outcomes: OUTCOMES, ..Settings::default() })
        .queue_options(options)
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Send(usize),
    Later(usize),
    Stale(usize),
    /// With one of these keys.
    Newer(usize, u8),
    Once(usize, u8),
    Ask(usize),
    Cancel(Ticket),
    Serve,
    Leave,
    Take,
    /// One of those that are held.
    Ack(usize),
    GiveBack(usize),
    GiveBackForLater(usize),
    Reject(usize),
    Replay(Ticket),
    DropDead(Ticket),
}

/// The names of calls, in the log and for the tally.
pub(super) const NAMES: [&str; 16] = [
    "send",
    "later",
    "stale",
    "newer",
    "once",
    "ask",
    "cancel",
    "serve",
    "leave",
    "take",
    "ack",
    "give-back",
    "put-off",
    "reject",
    "replay",
    "drop",
];

/// The end of the world for a victim: both of its handles, and what it holds.
pub(super) struct Stage {
    post: Post,
    mailbox: Mailbox,
    inbox: Option<&'static Inbox>,
    held: Vec<Delivery<'static>>,
    tickets: Vec<Ticket>,
    next: usize,
}

impl Stage {
    pub(super) fn new(root: &Path) -> Stage {
        let post = post(root);
        let mailbox = post.mailbox("box").unwrap();
        Stage { post, mailbox, inbox: None, held: Vec::new(), tickets: Vec::new(), next: 0 }
    }

    /// Serves so many others, of which nobody asks any more, that in the ledger entries change hands from here on; and keeps some of them
    /// for a while, so that the log of those is soon to be tidied, if there is one in it that stays.
    pub(super) fn wear(&mut self, kept: usize) {
        let inbox = self.post.serve("box").unwrap();
        for number in 0..MANY {
            self.mailbox.send(&body(number)).unwrap();
            let mut taken = inbox.try_recv().unwrap().unwrap();
            if number < kept {
                taken.nack_after(Duration::ZERO).unwrap();
                taken = inbox.try_recv().unwrap().unwrap();
            }
            taken.ack();
        }
    }

    /// A call that can be made now.
    pub(super) fn draw(&mut self, rng: &mut fastrand::Rng) -> Call {
        let number = self.next;
        let held = self.held.len();
        let dead: Vec<Ticket> = self.mailbox.dead_letters().unwrap().iter().map(|letter| letter.ticket).collect();
        loop {
            let call = match rng.u32(0..44) {
                0..6 => Call::Send(number),
                6 => Call::Later(number),
                7 => Call::Stale(number),
                8..10 => Call::Newer(number, rng.u8(0..2)),
                10..12 => Call::Once(number, rng.u8(0..2)),
                12 => Call::Ask(number),
                13..16 => match rng.choice(&self.tickets) {
                    Some(ticket) => Call::Cancel(*ticket),
                    None => continue,
                },
                16..18 if self.inbox.is_none() => Call::Serve,
                18 if self.inbox.is_some() && held == 0 => Call::Leave,
                18..26 if self.inbox.is_some() && held < 5 => Call::Take,
                26..31 if held > 0 => Call::Ack(rng.usize(0..held)),
                31..35 if held > 0 => Call::GiveBack(rng.usize(0..held)),
                35..37 if held > 0 => Call::GiveBackForLater(rng.usize(0..held)),
                37..39 if held > 0 => Call::Reject(rng.usize(0..held)),
                39..42 if !dead.is_empty() => Call::Replay(*rng.choice(&dead).expect("there is one")),
                42..44 if !dead.is_empty() => Call::DropDead(*rng.choice(&dead).expect("there is one")),
                _ => continue,
            };
            return call;
        }
    }

    /// What the log says before a call: its name, and which message it is about.
    pub(super) fn begins(&self, call: &Call) -> String {
        let held = |at: usize| self.held[at].ticket();
        match *call {
            Call::Send(number) => format!("send {number}"),
            Call::Later(number) => format!("later {number}"),
            Call::Stale(number) => format!("stale {number}"),
            Call::Newer(number, key) => format!("newer {number} {key}"),
            Call::Once(number, key) => format!("once {number} {key}"),
            Call::Ask(number) => format!("ask {number}"),
            Call::Cancel(ticket) => format!("cancel {ticket}"),
            Call::Serve => "serve".to_owned(),
            Call::Leave => "leave".to_owned(),
            Call::Take => "take".to_owned(),
            Call::Ack(at) => format!("ack {}", held(at)),
            Call::GiveBack(at) => format!("give-back {}", held(at)),
            Call::GiveBackForLater(at) => format!("put-off {}", held(at)),
            Call::Reject(at) => format!("reject {}", held(at)),
            Call::Replay(ticket) => format!("replay {ticket}"),
            Call::DropDead(ticket) => format!("drop {ticket}"),
        }
    }

    /// Makes the call. What came of it: a ticket, an answer, or that it returned.
    pub(super) fn play(&mut self, call: Call) -> Returned {
        let Stage { mailbox, held, .. } = self;
        let sent = match call {
            Call::Send(number) => match attempts_of(number) {
                ATTEMPTS => mailbox.send(&body(number)).unwrap(),
                few => mailbox.compose().max_attempts(few).send(&body(number)).unwrap(),
            },
            Call::Later(number) => mailbox.compose().delay(FAR).send(&body(number)).unwrap(),
            Call::Stale(number) => mailbox.compose().ttl(Duration::ZERO).send(&body(number)).unwrap(),
            Call::Newer(number, key) => mailbox.compose().supersede(&[key]).send(&body(number)).unwrap(),
            Call::Once(number, key) => {
                let draft = mailbox.compose().idempotency(&[key]).priority(Priority::Urgent);
                draft.send(&body(number)).unwrap()
            }
            Call::Ask(number) => match mailbox.request(&body(number), Duration::ZERO).unwrap_err() {
                laneway::mailbox::RequestError::Timeout { ticket } => ticket,
                error => panic!("{error}"),
            },
            Call::Cancel(ticket) => return Returned::Cancelled(mailbox.cancel(&ticket).unwrap()),
            Call::Serve => {
                // For as long as the victim lives, or until it leaves.
                self.inbox = Some(Box::leak(Box::new(self.post.serve("box").unwrap())));
                return Returned::Done;
            }
            Call::Leave => {
                let inbox = std::ptr::from_ref(self.inbox.take().expect("it serves")).cast_mut();
                // SAFETY: it was leaked by `Serve`, and nothing is held of it.
                #[expect(unsafe_code, reason = "what was leaked is taken back")]
                drop(unsafe { Box::from_raw(inbox) });
                return Returned::Done;
            }
            Call::Take => {
                let taken = self.inbox.expect("it serves").try_recv().unwrap();
                let answer =
                    taken.as_ref().map_or(Returned::Done, |taken| Returned::Taken(taken.ticket(), taken.attempt()));
                held.extend(taken);
                return answer;
            }
            Call::Ack(at) => {
                let delivery = held.remove(at);
                if delivery.wants_reply() {
                    delivery.reply(b"answer").unwrap();
                }
                delivery.ack();
                return Returned::Done;
            }
            Call::GiveBack(at) => {
                held.remove(at).nack_after(Duration::ZERO).unwrap();
                return Returned::Done;
            }
            Call::GiveBackForLater(at) => {
                held.remove(at).nack_after(FAR).unwrap();
                return Returned::Done;
            }
            Call::Reject(at) => {
                held.remove(at).reject().unwrap();
                return Returned::Done;
            }
            Call::Replay(ticket) => {
                let replayed = mailbox.replay_dead(|letter| letter.ticket == ticket).unwrap();
                self.tickets.extend(replayed.iter().map(|(_, new)| *new));
                return replayed.first().map_or(Returned::Done, |(_, new)| Returned::Sent(*new));
            }
            Call::DropDead(ticket) => {
                mailbox.drop_dead(|letter| letter.ticket == ticket).unwrap();
                return Returned::Done;
            }
        };
        self.next += 1;
        self.tickets.push(sent);
        Returned::Sent(sent)
    }
}

/// A message's body: its number, and enough that it has some length.
fn body(number: usize) -> [u8; 24] {
    let mut body = [number as u8; 24];
    body[..8].copy_from_slice(&(number as u64).to_le_bytes());
    body
}

/// What came of a call, as the log says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    Done,
    Sent(Ticket),
    Taken(Ticket, u32),
    Cancelled(Cancelled),
}

impl std::fmt::Display for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Returned::Done => write!(f, "= done"),
            Returned::Sent(ticket) => write!(f, "= sent {ticket}"),
            Returned::Taken(ticket, attempt) => write!(f, "= taken {ticket} {attempt}"),
            Returned::Cancelled(Cancelled::Yes) => write!(f, "= yes"),
            Returned::Cancelled(_) => write!(f, "= no"),
        }
    }
}
