//! Random histories of one queue against an oracle: a deque for each lane, kept by arithmetic written down again from
//! docs/format.md. Sends of every form, claims that are committed, shortened, aborted or dropped, closes, receives,
//! messages held and released in any order or put back, drains, ends of turns, senders and receivers that leave, die
//! and come. After every step the oracle, the handles and an observer agree, to the byte. The rings are small, so that
//! they wrap often, and positions start at 0, below 2^32 and below 2^63. One thread does it all: it cannot see a race.

mod support;

use laneway::{Message, Observer, Queue, Receiver, SendError, Sender, TryRecvError, TrySendError, TurnEnd, layout};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use support::{poke, scratch, slot, small_queue};

const CAPACITY: u64 = 4096;
const MAX: usize = CAPACITY as usize - 16;
const LANES: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    AttachSender,
    DetachSender(usize),
    CloseSender(usize),
    TrySend(usize, usize),
    SendTimeout(usize, usize),
    SendQuietly(usize, usize),
    Batch(usize, Vec<usize>),
    Claim(usize, usize, Vec<usize>, ClaimEnd),
    TooLarge(usize, usize),
    Receive,
    Hold,
    Release(usize),
    PutBack(usize),
    Drain { take: usize, hold: bool },
    FinishTurn,
    DetachReceiver,
    ReceiverDies,
}

#[derive(Debug, Clone, Copy)]
enum ClaimEnd {
    Commit,
    CommitTooEarly,
    Abort,
    Drop,
}

/// A record as the oracle sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    position: u64,
    next: u64,
    /// None for a pad.
    bytes: Option<Vec<u8>>,
    released: bool,
}

/// A lane as the oracle sees it: what has been committed and not left behind by the receiver's position.
#[derive(Debug, Clone)]
struct Lane {
    entries: VecDeque<Entry>,
    write_pos: u64,
    /// What the sender last said of `write_pos`: after a message, not after a pad.
    hint: u64,
    read_pos: u64,
    cursor: u64,
    /// Taken and put back: delivered again before anything newer.
    put_back: BTreeSet<u64>,
    closed: bool,
}

impl Lane {
    fn starting_at(position: u64) -> Lane {
        let (write_pos, hint, read_pos, cursor) = (position, position, position, position);
        Lane { entries: VecDeque::new(), write_pos, hint, read_pos, cursor, put_back: BTreeSet::new(), closed: false }
    }

    fn push(&mut self, next: u64, bytes: Option<Vec<u8>>) {
        self.entries.push_back(Entry { position: self.write_pos, next, bytes, released: false });
        self.write_pos = next;
    }

    fn fits(&self, next: u64) -> bool {
        next + 8 <= self.read_pos + CAPACITY
    }

    /// Where a message of `len` bytes goes and where the one after it will; commits the pad before it.
    fn claim(&mut self, len: usize) -> Option<(u64, u64)> {
        let record = 8 + len.next_multiple_of(8) as u64;
        let left = CAPACITY - self.write_pos % CAPACITY;
        if record > left {
            let end = self.write_pos + left;
            if !self.fits(end) {
                return None;
            }
            self.push(end, None);
        }
        let end = self.write_pos + record;
        let line = end.next_multiple_of(64) - end;
        let next = if record <= 64 && line < record { end + line } else { end };
        self.fits(next).then_some((self.write_pos, next))
    }

    fn commit(&mut self, next: u64, bytes: Vec<u8>) {
        self.push(next, Some(bytes));
        self.hint = next;
    }

    /// Where the receiver will look after passing what it need not deliver.
    fn available(&self) -> Option<&Entry> {
        let again = |entry: &&Entry| self.put_back.contains(&entry.position);
        let new = |entry: &&Entry| entry.position >= self.cursor && entry.bytes.is_some() && !entry.released;
        self.entries.iter().find(again).or_else(|| self.entries.iter().find(new))
    }

    fn release(&mut self, position: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.position == position) {
            entry.released = true;
        }
        self.settle();
    }

    /// Takes over what the receiver may have done to pads, which happens when it looks: its position tells.
    fn observe(&mut self, read_pos: u64) {
        self.settle();
        while self.read_pos < read_pos
            && let Some(pad) = self.entries.front_mut().filter(|entry| entry.bytes.is_none())
        {
            pad.released = true;
            self.settle();
        }
        assert_eq!(self.read_pos, read_pos, "the receiver's position");
    }

    fn settle(&mut self) {
        // A pad between released messages was passed on the way to the later one.
        let passed = self.entries.iter().rposition(|entry| entry.released && entry.bytes.is_some()).unwrap_or(0);
        self.entries.iter_mut().take(passed).filter(|entry| entry.bytes.is_none()).for_each(|pad| pad.released = true);
        while self.entries.front().is_some_and(|entry| entry.released) {
            self.read_pos = self.entries.pop_front().expect("it was there").next;
        }
        self.cursor = self.cursor.max(self.read_pos);
    }

    fn messages(&self) -> impl Iterator<Item = (u64, &Vec<u8>)> {
        self.entries.iter().filter_map(|entry| entry.bytes.as_ref().map(|bytes| (entry.position, bytes)))
    }
}

/// The whole system: the queue, its handles, and what they should show.
struct World {
    queue: Queue,
    senders: [Option<Sender>; LANES],
    observer: Observer,
    lanes: Vec<Lane>,
    start: u64,
    sent: u64,
}

impl World {
    fn starting_at(dir: &tempfile::TempDir, start: u64) -> World {
        let queue = small_queue(dir, LANES as u32);
        for lane in 0..LANES as u32 {
            poke(queue.path().join("receiver"), slot(lane) + layout::slot::READ_POS, &start.to_ne_bytes());
        }
        let observer = queue.observe().unwrap();
        World { queue, senders: [const { None }; LANES], observer, lanes: Vec::new(), start, sent: 0 }
    }

    fn next_payload(&mut self, len: usize) -> Vec<u8> {
        self.sent += 1;
        (0..len).map(|i| (self.sent as usize * 41 + i * 13) as u8).collect()
    }

    /// The handle of lane `i`, and the oracle's lane.
    fn sender(&mut self, i: usize) -> Option<(&mut Sender, &mut Lane)> {
        let sender = self.senders[i % LANES].as_mut()?;
        Some((sender, &mut self.lanes[i % LANES]))
    }

    fn attach(&mut self) {
        let Some(free) = self.senders.iter().position(Option::is_none) else { return };
        let sender = self.queue.sender().unwrap();
        assert_eq!(sender.lane() as usize, free, "the first lane that nobody holds");
        if free == self.lanes.len() {
            self.lanes.push(Lane::starting_at(self.start));
        }
        let lane = &mut self.lanes[free];
        lane.closed = false;
        lane.hint = lane.write_pos;
        self.senders[free] = Some(sender);
    }

    fn send(&mut self, i: usize, len: usize, how: &Op) {
        let bytes = self.next_payload(len);
        let Some((sender, lane)) = self.sender(i) else { return };
        let expected = lane.claim(len);
        let answer = match how {
            Op::TrySend(..) => sender.try_send(&bytes),
            Op::SendQuietly(..) => sender.try_send_quietly(&bytes),
            _ => sender.send_timeout(&bytes, Duration::ZERO).map_err(|error| match error {
                SendError::Timeout => TrySendError::Full,
                other => panic!("{other}"),
            }),
        };
        match expected {
            None => assert_eq!(answer, Err(TrySendError::Full), "{len} bytes do not fit"),
            Some((position, next)) => {
                let ticket = answer.unwrap().ticket();
                assert_eq!((ticket.lane as usize, ticket.position), (i % LANES, position));
                lane.commit(next, bytes);
            }
        }
    }

    fn batch(&mut self, i: usize, lens: &[usize]) {
        let payloads: Vec<Vec<u8>> = lens.iter().map(|len| self.next_payload(*len)).collect();
        let Some((sender, lane)) = self.sender(i) else { return };
        // A batch waits for room; so it gets only what fits.
        let mut after = lane.clone();
        let fitting: Vec<_> = payloads
            .into_iter()
            .map_while(|bytes| {
                let mut next = after.clone();
                let (_, end) = next.claim(bytes.len())?;
                next.commit(end, bytes.clone());
                after = next;
                Some(bytes)
            })
            .collect();
        assert_eq!(sender.send_batch(&fitting), Ok(fitting.len()));
        *lane = after;
    }

    fn claim(&mut self, i: usize, len: usize, pieces: &[usize], end: ClaimEnd) {
        let bytes = self.next_payload(len);
        let Some((sender, lane)) = self.sender(i) else { return };
        let expected = lane.claim(len);
        let mut claim = match sender.try_claim(len) {
            Ok(claim) => claim,
            Err(refusal) => {
                assert_eq!((refusal, expected), (TrySendError::Full, None));
                return;
            }
        };
        let mut rest = &bytes[..];
        for piece in pieces {
            let (head, tail) = rest.split_at((*piece).min(rest.len()));
            claim.write_all(head).unwrap();
            rest = tail;
        }
        assert_eq!(claim.written(), len - rest.len());
        assert!(claim.write_all(&vec![0; rest.len() + 1]).is_err(), "more than was claimed");
        let whole = rest.is_empty();
        match end {
            ClaimEnd::Commit => {
                claim.write_all(rest).unwrap();
                let (position, next) = expected.expect("it did not fit");
                assert_eq!(claim.commit().unwrap().ticket().position, position);
                lane.commit(next, bytes);
            }
            ClaimEnd::CommitTooEarly if whole => {}
            ClaimEnd::CommitTooEarly => assert!(claim.commit().is_err()),
            ClaimEnd::Abort => claim.abort(),
            ClaimEnd::Drop => drop(claim),
        }
    }

    /// Compares a message with what its lane should deliver next.
    fn taken(&mut self, message: &Message<'_>) {
        let lane = &mut self.lanes[message.lane() as usize];
        let expected = lane.available().expect("nothing was to be delivered").clone();
        assert_eq!(message.position(), expected.position, "the order of lane {}", message.lane());
        assert_eq!(Some(message.to_vec()), expected.bytes);
        if !lane.put_back.remove(&expected.position) {
            lane.cursor = expected.next;
        }
    }

    fn receive<'a>(&mut self, receiver: &'a Receiver) -> Option<Message<'a>> {
        match receiver.try_recv() {
            Ok(message) => {
                self.taken(&message);
                return Some(message);
            }
            Err(TryRecvError::Empty) => assert!(!self.all_closed(), "every lane is closed and read"),
            Err(TryRecvError::Closed) => assert!(self.all_closed(), "not every lane is closed and read"),
            Err(other) => panic!("{other}"),
        }
        assert!(self.lanes.iter().all(|lane| lane.available().is_none()), "there was something to receive");
        None
    }

    fn all_closed(&self) -> bool {
        !self.lanes.is_empty() && self.lanes.iter().all(|lane| lane.closed && lane.available().is_none())
    }

    fn released(&mut self, message: Message<'_>) {
        let (lane, position) = (message.lane() as usize, message.position());
        drop(message);
        self.lanes[lane].release(position);
    }

    /// The receiver is gone, and with it what was released before something that was not.
    fn forget_receiver(&mut self) {
        self.compare();
        for lane in &mut self.lanes {
            lane.cursor = lane.read_pos;
            lane.put_back.clear();
            lane.entries.iter_mut().for_each(|entry| entry.released = false);
        }
    }

    /// What anyone can see agrees with the oracle.
    fn compare(&mut self) {
        let stats = self.observer.lanes().unwrap();
        assert_eq!(stats.len(), self.lanes.len());
        for (stat, lane) in stats.iter().zip(&mut self.lanes) {
            lane.observe(stat.read_pos);
            let held = self.senders[stat.lane as usize].is_some();
            assert_eq!((stat.sender_alive, stat.closed, stat.damage), (held, lane.closed, None));
            assert_eq!(stat.depth_bytes, lane.hint.max(lane.read_pos) - lane.read_pos);
            assert_eq!(stat.depth_messages, lane.messages().count() as u64, "messages in lane {}", stat.lane);
        }
        let seen = self.observer.peek(usize::MAX).unwrap();
        let expected = self.lanes.iter().zip(0u32..).flat_map(|(lane, i)| {
            lane.messages().map(move |(position, bytes)| (laneway::Ticket { lane: i, position }, bytes))
        });
        assert!(seen.iter().map(|peeked| (peeked.ticket, &peeked.payload)).eq(expected), "what an observer sees");
    }
}

/// One life of a receiver: until the history ends, or an operation ends it.
fn live(world: &mut World, ops: &mut std::vec::IntoIter<Op>) -> bool {
    let receiver = world.queue.receiver().unwrap();
    let mut held: Vec<Message<'_>> = Vec::new();
    for op in ops {
        match op {
            Op::AttachSender => world.attach(),
            Op::DetachSender(i) => world.senders[i % LANES] = None,
            Op::CloseSender(i) => {
                if let Some(sender) = world.senders[i % LANES].take() {
                    sender.close();
                    world.lanes[i % LANES].closed = true;
                }
            }
            Op::TrySend(i, len) | Op::SendTimeout(i, len) | Op::SendQuietly(i, len) => world.send(i, len, &op),
            Op::Batch(i, lens) => world.batch(i, &lens),
            Op::Claim(i, len, pieces, end) => world.claim(i, len, &pieces, end),
            Op::TooLarge(i, len) => {
                if let Some((sender, _)) = world.sender(i) {
                    let refusal = TrySendError::TooLarge { len: MAX + len, max: MAX as u32 };
                    assert_eq!(sender.try_send(&vec![0; MAX + len]), Err(refusal));
                    assert_eq!(sender.try_claim(MAX + len).unwrap_err(), refusal);
                }
            }
            Op::Receive => {
                if let Some(message) = world.receive(&receiver) {
                    world.released(message);
                }
            }
            Op::Hold => held.extend(world.receive(&receiver)),
            Op::Release(i) => {
                if !held.is_empty() {
                    world.released(held.swap_remove(i % held.len()));
                }
            }
            Op::PutBack(i) => {
                if !held.is_empty() {
                    let message = held.swap_remove(i % held.len());
                    world.lanes[message.lane() as usize].put_back.insert(message.position());
                    message.put_back();
                }
            }
            Op::Drain { take, hold } => {
                let mut drain = receiver.drain().unwrap();
                let mut all = true;
                for i in 0.. {
                    if i == take {
                        all = false;
                        break;
                    }
                    let Some(message) = drain.next() else { break };
                    world.taken(&message);
                    if hold && i % 2 == 0 {
                        held.push(message);
                    } else {
                        world.released(message);
                    }
                }
                if all {
                    assert!(world.lanes.iter().all(|lane| lane.available().is_none()), "a drain left something");
                    assert_eq!(drain.arrived_since(), 0);
                }
            }
            Op::FinishTurn => match receiver.finish_turn().unwrap() {
                TurnEnd::Quiet => assert!(world.lanes.iter().all(|lane| lane.available().is_none())),
                TurnEnd::Late(drain) => {
                    assert!(world.lanes.iter().any(|lane| lane.available().is_some()), "nothing was late");
                    for message in drain {
                        world.taken(&message);
                        world.released(message);
                    }
                    assert!(world.lanes.iter().all(|lane| lane.available().is_none()));
                }
            },
            Op::DetachReceiver => {
                held.drain(..).for_each(|message| world.released(message));
                world.forget_receiver();
                return false;
            }
            Op::ReceiverDies => {
                // What it held is not released, and is delivered again.
                held.drain(..).for_each(std::mem::forget);
                world.forget_receiver();
                return false;
            }
        }
        world.compare();
    }
    held.into_iter().for_each(|message| world.released(message));
    world.forget_receiver();
    true
}

/// Runs a history, then lets a last receiver have what is left.
fn run(ops: Vec<Op>, start: u64) {
    let dir = scratch();
    let mut world = World::starting_at(&dir, start);
    let mut ops = ops.into_iter();
    while !live(&mut world, &mut ops) {}
    let receiver = world.queue.receiver().unwrap();
    for message in receiver.drain().unwrap() {
        world.taken(&message);
        world.released(message);
    }
    assert!(world.lanes.iter().all(|lane| lane.available().is_none()), "something was lost");
    world.compare();
}

fn lens() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..80usize,
        3 => 80..1200usize,
        1 => 1200..=MAX,
        1 => Just(MAX),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let ends = prop_oneof![
        3 => Just(ClaimEnd::Commit),
        1 => Just(ClaimEnd::CommitTooEarly),
        1 => Just(ClaimEnd::Abort),
        1 => Just(ClaimEnd::Drop),
    ];
    let i = 0..LANES;
    prop_oneof![
        4 => Just(Op::AttachSender),
        1 => i.clone().prop_map(Op::DetachSender),
        1 => i.clone().prop_map(Op::CloseSender),
        10 => (i.clone(), lens()).prop_map(|(i, len)| Op::TrySend(i, len)),
        4 => (i.clone(), lens()).prop_map(|(i, len)| Op::SendTimeout(i, len)),
        2 => (i.clone(), lens()).prop_map(|(i, len)| Op::SendQuietly(i, len)),
        3 => (i.clone(), prop::collection::vec(lens(), 0..6)).prop_map(|(i, lens)| Op::Batch(i, lens)),
        5 => (i.clone(), lens(), prop::collection::vec(0..30usize, 0..5), ends)
            .prop_map(|(i, len, pieces, end)| Op::Claim(i, len, pieces, end)),
        1 => (i, 1..100usize).prop_map(|(i, len)| Op::TooLarge(i, len)),
        10 => Just(Op::Receive),
        5 => Just(Op::Hold),
        5 => (0..64usize).prop_map(Op::Release),
        2 => (0..64usize).prop_map(Op::PutBack),
        2 => (prop_oneof![Just(usize::MAX), 0..6usize], any::<bool>()).prop_map(|(take, hold)| Op::Drain { take, hold }),
        1 => Just(Op::FinishTurn),
        1 => Just(Op::DetachReceiver),
        1 => Just(Op::ReceiverDies),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_queue_and_its_oracle_agree_whatever_happens(ops in prop::collection::vec(ops(), 1..160)) {
        run(ops, 0);
    }

    #[test]
    fn they_agree_when_positions_pass_two_to_the_32(ops in prop::collection::vec(ops(), 1..160), back in 0..1024u64) {
        run(ops, (1 << 32) - 8 * back);
    }

    #[test]
    fn they_agree_when_positions_pass_two_to_the_63(ops in prop::collection::vec(ops(), 1..160), back in 0..1024u64) {
        run(ops, (1 << 63) - 8 * back);
    }
}
