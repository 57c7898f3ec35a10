//! Random histories of one mailbox against a plain model of it: messages of every kind, deliveries that are held and settled in
//! any order, messages taken back, receivers that leave, and die with all they hold. After every step each ticket's state is what the
//! model says. One thread does it all: it cannot see a race; and nobody dies within a call: `tests/mailbox_kill.rs` is for that.

mod support;

use laneway::Priority;
use laneway::mailbox::{Backoff, Cancelled, Delivery, Inbox, Mailbox, Post, RecvError, Settings, State, Ticket};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use support::scratch;

const FAR: Duration = Duration::from_secs(24 * 3600);
const ATTEMPTS: u32 = 3;
const SENDERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    /// One of three idempotency keys.
    Keyed(u8),
    /// Worth nothing from the first.
    Stale,
    /// For tomorrow.
    Later,
}

#[derive(Debug, Clone)]
enum Op {
    Send(usize, Kind, usize),
    Take,
    Ack(usize),
    NackNow(usize),
    NackLater(usize),
    Reject(usize),
    Drop(usize),
    Cancel(usize),
    /// So many urgent messages that are dealt with at once: for these the ledger forgets others.
    Traffic(usize),
    NewSender(usize),
    Restart,
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nobody has handed it out.
    Lane,
    /// Given back, or for later; and whether that is tomorrow.
    Kept {
        far: bool,
    },
    Held,
    /// Whoever held it died; and whether it had been kept.
    Lost {
        kept: bool,
    },
    /// Taken back, and nobody has read that.
    Cancelled,
    Done(State),
}

#[derive(Debug)]
struct Message {
    ticket: Ticket,
    kind: Kind,
    /// Messages with the same one come in order, the first time.
    lane: (usize, usize),
    attempts: u32,
    at: At,
}

struct World {
    post: Post,
    senders: Vec<Mailbox>,
    generation: usize,
    generations: Vec<usize>,
    messages: Vec<Message>,
    by_ticket: HashMap<Ticket, usize>,
    /// By key, the one that was handed out.
    first: [Option<usize>; 3],
    handed_out: u64,
    retried: u64,
    redelivered: u64,
}

type Held<'a> = Vec<(usize, bool, Delivery<'a>)>;

impl World {
    fn new(post: Post) -> World {
        let senders = (0..SENDERS).map(|_| post.mailbox("box").unwrap()).collect();
        World {
            post,
            senders,
            generation: SENDERS,
            generations: (0..SENDERS).collect(),
            messages: Vec::new(),
            by_ticket: HashMap::new(),
            first: [None; 3],
            handed_out: 0,
            retried: 0,
            redelivered: 0,
        }
    }

    fn send(&mut self, sender: usize, kind: Kind, priority: usize) -> usize {
        let number = self.messages.len();
        let urgency = [Priority::Urgent, Priority::Normal, Priority::Low][priority];
        let draft = self.senders[sender].compose().priority(urgency);
        let draft = match kind {
            Kind::Plain => draft,
            Kind::Keyed(key) => draft.idempotency(&[key]),
            Kind::Stale => draft.ttl(Duration::ZERO),
            Kind::Later => draft.delay(FAR),
        };
        let ticket = draft.send(&number.to_le_bytes()).unwrap();
        let lane = (self.generations[sender], priority);
        self.messages.push(Message { ticket, kind, lane, attempts: 0, at: At::Lane });
        assert_eq!(self.by_ticket.insert(ticket, number), None);
        number
    }

    /// Whether another message with its key was handed out.
    fn is_second(&self, number: usize) -> bool {
        match self.messages[number].kind {
            Kind::Keyed(key) => self.first[usize::from(key)].is_some_and(|first| first != number),
            _ => false,
        }
    }

    /// Whether it is to be handed out, sooner or later, without anybody doing anything else.
    fn is_due(&self, number: usize) -> bool {
        let message = &self.messages[number];
        match message.at {
            At::Lane => !matches!(message.kind, Kind::Stale | Kind::Later) && !self.is_second(number),
            At::Kept { far } => !far,
            At::Lost { .. } => message.attempts < ATTEMPTS,
            At::Held | At::Cancelled | At::Done(_) => false,
        }
    }

    fn take<'a>(&mut self, inbox: &'a Inbox, held: &mut Held<'a>) -> Option<usize> {
        match inbox.try_recv() {
            Ok(Some(delivery)) => {
                let number = self.by_ticket[&delivery.ticket()];
                assert_eq!(delivery.body(), number.to_le_bytes());
                assert!(self.is_due(number), "{number} was handed out: {:?}", self.messages[number]);
                let message = &self.messages[number];
                let is_kept =
                    |message: &Message| matches!(message.at, At::Kept { far: false } | At::Lost { kept: true });
                let kept = is_kept(message);
                let due = |other: &usize| is_kept(&self.messages[*other]) && self.is_due(*other);
                assert!(kept || !(0..self.messages.len()).any(|other| due(&other)), "what was kept comes first");
                if message.attempts == 0 {
                    let earlier = (0..number).filter(|other| self.messages[*other].lane == message.lane);
                    let passed = |other: &usize| self.messages[*other].attempts == 0 && self.is_due(*other);
                    let passed: Vec<usize> = earlier.filter(passed).collect();
                    assert!(passed.is_empty(), "{number} was handed out before {passed:?}");
                }
                if let Kind::Keyed(key) = message.kind {
                    self.first[usize::from(key)] = Some(number);
                }
                self.redelivered += u64::from(message.at == At::Lost { kept: false });
                let message = &mut self.messages[number];
                message.attempts += 1;
                message.at = At::Held;
                assert_eq!(delivery.attempt(), message.attempts, "{message:?}");
                self.handed_out += 1;
                held.push((number, kept, delivery));
                Some(number)
            }
            Ok(None) => {
                self.nothing_is_due(held);
                None
            }
            Err(RecvError::Busy { .. }) => {
                assert!(!held.is_empty(), "it is busy with nothing in hand");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The receiver has looked at everything.
    fn nothing_is_due(&mut self, held: &Held<'_>) {
        for number in 0..self.messages.len() {
            assert!(!self.is_due(number), "{number} was not handed out: {:?}", self.messages[number]);
            let second = self.is_second(number);
            let message = &mut self.messages[number];
            message.at = match (message.at, message.kind) {
                (At::Lane, Kind::Stale) => At::Done(State::Expired),
                (At::Lane, Kind::Later) => At::Kept { far: true },
                (At::Lane, _) if second => At::Done(State::Superseded),
                (At::Lost { .. }, _) => At::Done(State::DeadLettered),
                (At::Cancelled, _) => At::Done(State::Cancelled),
                (at, _) => at,
            };
        }
        let count = |wanted: fn(&At) -> bool| self.messages.iter().filter(|message| wanted(&message.at)).count() as u64;
        let done = |state| self.messages.iter().filter(|message| message.at == At::Done(state)).count() as u64;
        let kept = count(|at| matches!(at, At::Kept { .. })) + held.iter().filter(|(_, kept, _)| *kept).count() as u64;
        let stats = self.senders[0].stats().unwrap();
        assert_eq!(
            (stats.handed_out, stats.processed, stats.retried, stats.redelivered, stats.dead_lettered),
            (self.handed_out, done(State::Acked), self.retried, self.redelivered, done(State::DeadLettered)),
        );
        assert_eq!(
            (stats.expired, stats.cancelled, stats.superseded, stats.failed, stats.kept),
            (done(State::Expired), done(State::Cancelled), done(State::Superseded), done(State::Failed), kept),
        );
        assert_eq!(stats.taken, held.len() as u64);
        if held.is_empty() {
            assert_eq!(stats.pending, kept);
        }
    }

    fn gave_back(&mut self, number: usize, far: bool) {
        self.retried += 1;
        let message = &mut self.messages[number];
        let is_spent = message.attempts >= ATTEMPTS;
        message.at = if is_spent { At::Done(State::DeadLettered) } else { At::Kept { far } };
    }

    fn cancel(&mut self, number: usize) {
        let answer = self.senders[0].cancel(&self.messages[number].ticket).unwrap();
        let message = &mut self.messages[number];
        let waits = matches!(message.at, At::Lane | At::Kept { .. } | At::Cancelled);
        match (message.at, answer) {
            (At::Done(State::Cancelled), Cancelled::Yes | Cancelled::TooLate(State::Unknown)) => {}
            (At::Done(state), Cancelled::TooLate(found)) => assert!(found == state || found == State::Unknown),
            (At::Held | At::Lost { .. }, Cancelled::TooLate(State::Taken)) => {}
            (_, Cancelled::Yes) if waits => message.at = At::Cancelled,
            (at, answer) => panic!("{answer:?} of {number}: {at:?}"),
        }
    }

    /// Every ticket tells what the model says; what the receiver did on its way is noted.
    fn compare(&mut self) {
        for number in 0..self.messages.len() {
            let second = self.is_second(number);
            let status = self.senders[0].status(&self.messages[number].ticket).unwrap();
            let message = &mut self.messages[number];
            let state = status.state;
            let right = match (message.at, message.kind, state) {
                (At::Lane | At::Kept { .. } | At::Cancelled, _, State::Pending) => true,
                (At::Lane, Kind::Stale, State::Expired) | (At::Cancelled, _, State::Cancelled) => true,
                (At::Lane, Kind::Keyed(_), State::Superseded) => second,
                (At::Held | At::Lost { .. }, _, State::Taken) => status.attempts == message.attempts,
                (At::Lost { .. }, _, State::DeadLettered) => message.attempts == ATTEMPTS,
                // Forgotten.
                (At::Lost { .. }, _, State::Unknown) => message.attempts == ATTEMPTS,
                (At::Cancelled | At::Done(_), _, State::Unknown) | (At::Lane, Kind::Stale, State::Unknown) => true,
                (At::Done(done), _, state) => done == state,
                _ => false,
            };
            assert!(right, "{number} is {status:?}, and should be {message:?}");
            match message.at {
                At::Cancelled if state == State::Unknown => message.at = At::Done(State::Cancelled),
                At::Lane if state == State::Unknown => message.at = At::Done(State::Expired),
                At::Lost { .. } if state == State::Unknown => message.at = At::Done(State::DeadLettered),
                _ if state.is_final() => message.at = At::Done(state),
                _ => {}
            }
        }
    }

    fn dead_letters(&self) {
        let wanted: BTreeSet<Ticket> = self
            .messages
            .iter()
            .filter(|message| matches!(message.at, At::Done(State::DeadLettered | State::Failed)))
            .map(|message| message.ticket)
            .collect();
        let dead = self.senders[0].dead_letters().unwrap();
        let found: BTreeSet<Ticket> = dead.iter().map(|letter| letter.ticket).collect();
        assert_eq!((found.len(), &found), (dead.len(), &wanted));
    }

    /// Serves until the receiver leaves or dies, or nothing more happens.
    fn live(&mut self, ops: &mut std::vec::IntoIter<Op>) -> bool {
        let inbox = self.post.serve("box").unwrap();
        let mut held: Held<'_> = Vec::new();
        for op in ops.by_ref() {
            match op {
                Op::Send(sender, kind, priority) => {
                    self.send(sender, kind, priority);
                }
                Op::Take => {
                    self.take(&inbox, &mut held);
                }
                Op::Traffic(count) => {
                    let sent: BTreeSet<usize> = (0..count).map(|_| self.send(SENDERS - 1, Kind::Plain, 0)).collect();
                    for _ in 0..count {
                        let Some(number) = self.take(&inbox, &mut held) else { break };
                        if sent.contains(&number) {
                            held.pop().unwrap().2.ack();
                            self.messages[number].at = At::Done(State::Acked);
                        }
                    }
                }
                Op::Ack(_) | Op::NackNow(_) | Op::NackLater(_) | Op::Reject(_) | Op::Drop(_) if held.is_empty() => {}
                Op::Ack(which) => {
                    let (number, _, delivery) = held.remove(which % held.len());
                    delivery.ack();
                    self.messages[number].at = At::Done(State::Acked);
                }
                Op::NackNow(which) => {
                    let (number, _, delivery) = held.remove(which % held.len());
                    delivery.nack_after(Duration::ZERO).unwrap();
                    self.gave_back(number, false);
                }
                Op::NackLater(which) => {
                    let (number, _, delivery) = held.remove(which % held.len());
                    delivery.nack_after(FAR).unwrap();
                    self.gave_back(number, true);
                }
                Op::Reject(which) => {
                    let (number, _, delivery) = held.remove(which % held.len());
                    delivery.reject().unwrap();
                    self.messages[number].at = At::Done(State::Failed);
                }
                Op::Drop(which) => {
                    let (number, ..) = held.remove(which % held.len());
                    self.gave_back(number, false);
                }
                Op::Cancel(which) if !self.messages.is_empty() => self.cancel(which % self.messages.len()),
                Op::Cancel(_) => {}
                Op::NewSender(which) => {
                    self.senders[which] = self.post.mailbox("box").unwrap();
                    self.generations[which] = self.generation;
                    self.generation += 1;
                }
                Op::Restart => {
                    for (number, ..) in held.drain(..) {
                        self.gave_back(number, false);
                    }
                    drop(held);
                    drop(inbox);
                    self.compare();
                    return true;
                }
                Op::Crash => {
                    for (number, kept, delivery) in held.drain(..) {
                        std::mem::forget(delivery);
                        self.messages[number].at = At::Lost { kept };
                    }
                    drop(held);
                    drop(inbox);
                    self.compare();
                    return true;
                }
            }
            self.compare();
        }
        // All that is left is dealt with.
        while self.take(&inbox, &mut held).is_some() || !held.is_empty() {
            while let Some((number, _, delivery)) = held.pop() {
                delivery.ack();
                self.messages[number].at = At::Done(State::Acked);
            }
        }
        self.compare();
        self.dead_letters();
        false
    }
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        6 => Just(Kind::Plain),
        2 => (0..3u8).prop_map(Kind::Keyed),
        1 => Just(Kind::Stale),
        1 => Just(Kind::Later),
    ];
    prop_oneof![
        8 => (0..SENDERS - 1, kind, 0..3usize).prop_map(|(sender, kind, priority)| Op::Send(sender, kind, priority)),
        8 => Just(Op::Take),
        3 => any::<usize>().prop_map(Op::Ack),
        3 => any::<usize>().prop_map(Op::NackNow),
        1 => any::<usize>().prop_map(Op::NackLater),
        1 => any::<usize>().prop_map(Op::Reject),
        1 => any::<usize>().prop_map(Op::Drop),
        3 => any::<usize>().prop_map(Op::Cancel),
        1 => (1..100usize).prop_map(Op::Traffic),
        1 => (0..SENDERS - 1).prop_map(Op::NewSender),
        1 => Just(Op::Restart),
        2 => Just(Op::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn a_mailbox_does_what_its_model_does(ops in prop::collection::vec(op(), 1..80), forgets in any::<bool>()) {
        let dir = scratch();
        let backoff = Backoff { first: Duration::ZERO, cap: Duration::ZERO };
        let settings = Settings { backoff, max_attempts: ATTEMPTS as u16, outcomes: if forgets { 64 } else { 8192 }, ..Settings::default() };
        let mut world = World::new(Post::open(dir.path()).settings(settings));
        // A key that is forgotten is new.
        let plain = |op| if let Op::Send(sender, Kind::Keyed(_), priority) = op { Op::Send(sender, Kind::Plain, priority) } else { op };
        let ops: Vec<Op> = ops.into_iter().map(|op| if forgets { plain(op) } else { op }).collect();
        let mut ops = ops.into_iter();
        while world.live(&mut ops) {}
    }
}
