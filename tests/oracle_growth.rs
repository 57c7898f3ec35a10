//! Random histories of lanes that grow, against an oracle: a deque for each lane. Every strategy, messages longer than the
//! ring, trimming by the sender and by the queue, takeovers in segments, messages held and released in any order or
//! put back, drains, receivers that leave and die. After every step an observer and the handles agree with the oracle on
//! every message, gap and count, and what is reserved stays within its limits. Where a record lies is not predicted, as
//! it is for rings in `tests/oracle.rs`; instead, what must find room does. One thread does it all: it cannot see a race.

mod support;

use laneway::{
    Message, Observer, OnFull, Pressure, Queue, Receiver, SendError, Sender, TryRecvError, TrySendError, layout,
};
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use support::{poke, scratch, slot};

const RING: u64 = 4096;
const LANES: usize = 2;
/// None, the least, and several segments.
const LIMITS: [u64; 4] = [0, layout::GRANULE, 16 << 10, 64 << 10];
const STRATEGIES: [OnFull; 6] = [
    OnFull::Fail,
    OnFull::Block,
    OnFull::DropNewest,
    OnFull::GrowThenFail,
    OnFull::GrowThenBlock,
    OnFull::GrowThenDrop,
];

#[derive(Debug, Clone)]
enum Op {
    Attach,
    Detach(usize),
    Close(usize),
    OnFull(usize, usize),
    Try(usize, usize),
    Wait(usize, usize),
    Claim(usize, usize, bool),
    Burst(usize, usize, usize),
    TooLarge(usize),
    Trim(usize),
    Ask(usize),
    TrimQueue,
    Receive(usize),
    Hold,
    Release(usize),
    PutBack(usize),
    Drain(usize),
    Leave,
    Die,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    position: u64,
    bytes: Vec<u8>,
    /// Messages that are missing before it.
    gap: u64,
    /// Those among them that were told before it, and not with it.
    alone: u64,
    /// Further ones of which it may tell: told by an owner of the lane that went, if there was room for that, or told alone
    /// to a receiver that may have seen that and gone.
    farewell: u64,
    taken: bool,
    released: bool,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    entries: VecDeque<Entry>,
    put_back: BTreeSet<u64>,
    on_full: OnFull,
    closed: bool,
    /// Dropped by this sender since its last message.
    untold: u64,
    farewell: u64,
    /// Told in a claim that was given up: said before the next message, whoever sends it.
    told: u64,
    /// Whether a refusal or a claim that was given up may have left a pad that the receiver has not come by.
    padded: bool,
    dropped: u64,
    sent: u64,
}

impl Lane {
    fn grows(&self) -> bool {
        matches!(self.on_full, OnFull::GrowThenFail | OnFull::GrowThenBlock | OnFull::GrowThenDrop)
    }

    fn drops(&self) -> bool {
        matches!(self.on_full, OnFull::DropNewest | OnFull::GrowThenDrop)
    }

    fn available(&mut self) -> Option<&mut Entry> {
        let again = self.put_back.first().copied();
        match again {
            Some(position) => self.entries.iter_mut().find(|entry| entry.position == position),
            None => self.entries.iter_mut().find(|entry| !entry.taken),
        }
    }

    fn is_read(&self) -> bool {
        self.put_back.is_empty() && self.entries.iter().all(|entry| entry.taken)
    }

    fn release(&mut self, position: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.position == position) {
            entry.released = true;
        }
        while self.entries.front().is_some_and(|entry| entry.released) {
            self.entries.pop_front();
        }
    }

    /// The least that the messages take.
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| layout::record_len(entry.bytes.len())).sum()
    }
}

struct World {
    queue: Queue,
    limit: u64,
    senders: [Option<Sender>; LANES],
    lanes: Vec<Lane>,
    observer: Observer,
    made: usize,
}

impl World {
    fn payload(&mut self, len: usize) -> Vec<u8> {
        self.made += 1;
        (0..len).map(|i| (self.made * 41 + i * 13) as u8).collect()
    }

    fn attach(&mut self) {
        let Some(free) = self.senders.iter().position(Option::is_none) else { return };
        let sender = self.queue.sender().unwrap();
        assert_eq!(sender.lane() as usize, free);
        if free == self.lanes.len() {
            self.lanes.push(Lane::default());
        }
        let lane = &mut self.lanes[free];
        lane.farewell += std::mem::take(&mut lane.untold);
        (lane.closed, lane.on_full) = (false, OnFull::default());
        self.senders[free] = Some(sender);
    }

    /// The longest message that a lane may carry now.
    fn longest(&self, lane: &Lane) -> usize {
        let ring = layout::max_payload(RING);
        let most = if lane.grows() { ring.max(layout::max_payload_of_segment(self.limit)) } else { ring };
        most as usize
    }

    /// Sends a message, by whichever call.
    fn send(
        &mut self,
        i: usize,
        len: usize,
        how: impl FnOnce(&mut Sender, &[u8]) -> Result<laneway::Sent, TrySendError>,
    ) {
        if self.senders[i].is_none() {
            return;
        }
        let len = len % (self.longest(&self.lanes[i]) + 1);
        let bytes = self.payload(len);
        let (Some(sender), lane) = (self.senders[i].as_mut(), &mut self.lanes[i]) else { return };
        let refusal = if lane.drops() { TrySendError::Dropped } else { TrySendError::Full };
        match how(sender, &bytes) {
            Ok(sent) => {
                let position = sent.ticket().position;
                assert!(lane.entries.back().is_none_or(|last| last.position < position));
                let alone = std::mem::take(&mut lane.told);
                // A message that leaves no room for a gap in the ring goes without; a shorter one will tell.
                let alone_in_ring = layout::record_len(0) + layout::record_len(len) + 8 > RING;
                let goes_without = alone_in_ring && !(lane.grows() && self.limit > 0);
                let gap = alone + if goes_without { 0 } else { std::mem::take(&mut lane.untold) };
                let farewell = std::mem::take(&mut lane.farewell);
                lane.entries.push_back(Entry { position, bytes, gap, alone, farewell, taken: false, released: false });
                lane.sent += 1;
            }
            Err(error) => {
                assert_eq!(error, refusal, "{}", lane.on_full);
                // With nothing in the lane there is room: for all that may be sent if it may grow.
                let must = match lane.grows() && self.limit > layout::GRANULE {
                    true => usize::MAX,
                    false if lane.padded => 0,
                    false => RING as usize / 2 - 24,
                };
                assert!(
                    !lane.entries.is_empty() || len > must || must == 0,
                    "{len} bytes find no room in an empty lane"
                );
                lane.padded = true;
                // Half of what it may hold can always be had, but for a record that meets the end of what is left.
                let room = if lane.grows() { self.limit / 2 } else { 0 };
                assert!(lane.bytes() * 2 + 2 * len as u64 + 2 * RING > room, "{} of {room}", lane.bytes());
                if lane.drops() {
                    lane.untold += 1;
                    lane.dropped += 1;
                }
            }
        }
    }

    fn try_send(&mut self, i: usize, len: usize) {
        self.send(i, len, |sender, bytes| sender.try_send(bytes));
    }

    fn taken(&mut self, message: &Message<'_>) {
        let lane = &mut self.lanes[message.lane() as usize];
        let expected = lane.available().expect("nothing was to be delivered");
        assert_eq!(message.position(), expected.position);
        let gaps = expected.gap..=expected.gap + expected.farewell;
        assert!(gaps.contains(&message.dropped_before()), "{} is none of {gaps:?}", message.dropped_before());
        assert_eq!(message.to_vec(), expected.bytes);
        expected.taken = true;
        let position = expected.position;
        lane.put_back.remove(&position);
    }

    fn receive<'a>(&mut self, receiver: &'a Receiver) -> Option<Message<'a>> {
        match receiver.try_recv() {
            Ok(message) => {
                self.taken(&message);
                return Some(message);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Closed) => assert!(self.lanes.iter().all(|lane| lane.closed)),
            Err(other) => panic!("{other}"),
        }
        assert!(self.lanes.iter().all(Lane::is_read), "there was something to receive");
        self.lanes.iter_mut().for_each(|lane| lane.padded = false);
        None
    }

    fn released(&mut self, message: Message<'_>) {
        let (lane, position) = (message.lane() as usize, message.position());
        drop(message);
        self.lanes[lane].release(position);
    }

    fn forget_receiver(&mut self) {
        for lane in &mut self.lanes {
            lane.put_back.clear();
            lane.farewell += std::mem::take(&mut lane.told);
            for entry in &mut lane.entries {
                (entry.taken, entry.released) = (false, false);
                entry.gap -= entry.alone;
                entry.farewell += std::mem::take(&mut entry.alone);
            }
        }
    }

    fn compare(&mut self, receiver: &Receiver) {
        let stat = self.observer.stat().unwrap();
        let stats = self.observer.lanes().unwrap();
        assert_eq!(stats.len(), self.lanes.len());
        assert!(stat.reserved_bytes <= stat.limit_bytes, "{stat:?}");
        assert_eq!(stat.depth_messages, self.lanes.iter().map(|lane| lane.entries.len() as u64).sum::<u64>());
        let dropped: u64 = self.lanes.iter().map(|lane| lane.dropped).sum();
        assert_eq!((stat.dropped, receiver.dropped()), (dropped, dropped));
        assert_eq!(receiver.pressure(), stat.pressure);
        for (stat, lane) in stats.iter().zip(&self.lanes) {
            assert_eq!((stat.closed, stat.damage, stat.sent), (lane.closed, None, lane.sent));
            assert_eq!((stat.depth_messages, stat.dropped), (lane.entries.len() as u64, lane.dropped));
            assert!(stat.depth_bytes >= lane.bytes() && stat.depth_bytes <= RING + self.limit, "{stat:?}");
            assert!(stat.segment_bytes <= stat.depth_bytes.min(self.limit), "{stat:?}");
            assert!(stat.depth_bytes - stat.segment_bytes <= RING, "{stat:?}");
            let base = layout::RING as u64 + RING;
            let reserved = stat.reserved_bytes - base;
            assert!(reserved <= self.limit && stat.segment_bytes <= reserved, "{stat:?}");
            assert!(stat.high_water_bytes >= stat.depth_bytes && stat.high_water_bytes <= RING + self.limit);
            assert!(stat.segment_bytes == 0 || stat.pressure == Pressure::High);
        }
        let seen = self.observer.peek(usize::MAX).unwrap();
        let expected = self.lanes.iter().zip(0..).flat_map(|(lane, i)| {
            lane.entries.iter().map(move |entry| (laneway::Ticket { lane: i, position: entry.position }, &entry.bytes))
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
            Op::Attach => world.attach(),
            Op::Detach(i) => world.senders[i] = None,
            Op::Close(i) => {
                if let Some(sender) = world.senders[i].take() {
                    sender.close();
                    world.lanes[i].closed = true;
                }
            }
            Op::OnFull(i, which) => {
                if let Some(sender) = &mut world.senders[i] {
                    sender.set_on_full(STRATEGIES[which]);
                    world.lanes[i].on_full = STRATEGIES[which];
                }
            }
            Op::Try(i, len) => world.try_send(i, len),
            Op::Wait(i, len) => world.send(i, len, |sender, bytes| {
                sender.send_timeout(bytes, Duration::ZERO).map_err(|error| match error {
                    SendError::Timeout | SendError::Full => TrySendError::Full,
                    SendError::Dropped => TrySendError::Dropped,
                    other => panic!("{other}"),
                })
            }),
            Op::Claim(i, len, commits) => {
                if commits {
                    world.send(i, len, |sender, bytes| {
                        let mut claim = sender.try_claim(bytes.len())?;
                        claim.write_all(bytes).unwrap();
                        Ok(claim.commit().unwrap())
                    });
                } else if let Some(sender) = &mut world.senders[i] {
                    let lane = &mut world.lanes[i];
                    lane.padded = true;
                    match sender.try_claim(len % 4000) {
                        Ok(claim) => {
                            claim.abort();
                            lane.told += std::mem::take(&mut lane.untold);
                        }
                        Err(TrySendError::Dropped) => {
                            lane.untold += 1;
                            lane.dropped += 1;
                        }
                        Err(error) => assert_eq!(error, TrySendError::Full),
                    }
                }
            }
            Op::Burst(i, count, len) => (0..count).for_each(|_| world.try_send(i, len)),
            Op::TooLarge(i) => {
                if world.senders[i].is_some() {
                    let max = world.longest(&world.lanes[i]);
                    let answer = world.senders[i].as_mut().unwrap().try_send(&vec![0; max + 1]);
                    assert_eq!(answer, Err(TrySendError::TooLarge { len: max + 1, max: max as u32 }));
                }
            }
            Op::Trim(i) => world.senders[i].iter_mut().for_each(Sender::trim),
            Op::Ask(i) => world.senders[i].iter_mut().for_each(|sender| assert!(sender.pressure().is_ok())),
            Op::TrimQueue => drop(world.queue.trim().unwrap()),
            Op::Receive(count) => {
                for _ in 0..count {
                    let Some(message) = world.receive(&receiver) else { break };
                    world.released(message);
                }
            }
            Op::Hold => held.extend(world.receive(&receiver)),
            Op::Release(i) if !held.is_empty() => world.released(held.swap_remove(i % held.len())),
            Op::PutBack(i) if !held.is_empty() => {
                let message = held.swap_remove(i % held.len());
                world.lanes[message.lane() as usize].put_back.insert(message.position());
                message.put_back();
            }
            Op::Release(_) | Op::PutBack(_) => {}
            Op::Drain(take) => {
                let mut drain = receiver.drain().unwrap();
                for message in drain.by_ref().take(take) {
                    world.taken(&message);
                    world.released(message);
                }
                if take == usize::MAX {
                    assert!(world.lanes.iter().all(Lane::is_read), "a drain left something");
                }
            }
            Op::Leave => {
                held.drain(..).for_each(|message| world.released(message));
                world.forget_receiver();
                return false;
            }
            Op::Die => {
                held.drain(..).for_each(std::mem::forget);
                world.forget_receiver();
                return false;
            }
        }
        world.compare(&receiver);
    }
    held.into_iter().for_each(|message| world.released(message));
    world.forget_receiver();
    true
}

/// Runs a history; then a last receiver has what is left, and nothing is held for it any more.
fn run(ops: Vec<Op>, start: u64, limit: u64) {
    let dir = scratch();
    let options = Queue::options().capacity(RING).overflow_limit(limit).max_lanes(LANES as u32);
    let queue = options.create(dir.path().join("queue")).unwrap();
    for lane in 0..LANES as u32 {
        poke(queue.path().join("receiver"), slot(lane) + layout::slot::READ_POS, &start.to_ne_bytes());
    }
    let observer = queue.observe().unwrap();
    let (senders, lanes) = ([const { None }; LANES], Vec::new());
    let mut world = World { queue, limit, senders, lanes, observer, made: 0 };
    let mut ops = ops.into_iter();
    while !live(&mut world, &mut ops) {}
    let receiver = world.queue.receiver().unwrap();
    for message in receiver.drain().unwrap() {
        world.taken(&message);
        world.released(message);
    }
    assert!(world.lanes.iter().all(Lane::is_read), "something was lost");
    world.compare(&receiver);
    world.senders = [const { None }; LANES];
    world.queue.trim().unwrap();
    for stat in world.observer.lanes().unwrap() {
        // Where the last record ended there is one unit, and where a gap stands that no message follows.
        let most = layout::RING as u64 + RING + 2 * layout::GRANULE;
        assert!(stat.reserved_bytes <= most, "{stat:?}");
    }
}

fn lens() -> impl Strategy<Value = usize> {
    prop_oneof![5 => 0..80usize, 4 => 80..1200usize, 1 => 1200..4081usize, 1 => 4081..60_000usize, 1 => Just(usize::MAX - 1)]
}

fn ops() -> impl Strategy<Value = Op> {
    let i = 0..LANES;
    prop_oneof![
        4 => Just(Op::Attach),
        1 => i.clone().prop_map(Op::Detach),
        1 => i.clone().prop_map(Op::Close),
        3 => (i.clone(), 0..STRATEGIES.len()).prop_map(|(i, which)| Op::OnFull(i, which)),
        8 => (i.clone(), lens()).prop_map(|(i, len)| Op::Try(i, len)),
        4 => (i.clone(), lens()).prop_map(|(i, len)| Op::Wait(i, len)),
        4 => (i.clone(), lens(), any::<bool>()).prop_map(|(i, len, commits)| Op::Claim(i, len, commits)),
        8 => (i.clone(), 1..30usize, 0..900usize).prop_map(|(i, count, len)| Op::Burst(i, count, len)),
        1 => i.clone().prop_map(Op::TooLarge),
        2 => i.clone().prop_map(Op::Trim),
        2 => i.prop_map(Op::Ask),
        1 => Just(Op::TrimQueue),
        12 => (1..25usize).prop_map(Op::Receive),
        4 => Just(Op::Hold),
        4 => (0..64usize).prop_map(Op::Release),
        2 => (0..64usize).prop_map(Op::PutBack),
        2 => prop_oneof![Just(usize::MAX), 0..20usize].prop_map(Op::Drain),
        1 => Just(Op::Leave),
        1 => Just(Op::Die),
    ]
}

fn histories() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(ops(), 1..140)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_lane_that_grows_and_its_oracle_agree(ops in histories(), limit in 0..LIMITS.len()) {
        run(ops, 0, LIMITS[limit]);
    }

    #[test]
    fn they_agree_when_positions_pass_two_to_the_32(ops in histories(), limit in 0..LIMITS.len(), back in 0..2048u64) {
        run(ops, (1 << 32) - 8 * back, LIMITS[limit]);
    }

    #[test]
    fn they_agree_when_positions_pass_two_to_the_63(ops in histories(), limit in 0..LIMITS.len(), back in 0..2048u64) {
        run(ops, (1 << 63) - 8 * back, LIMITS[limit]);
    }
}

#[test]
fn a_message_that_leaves_no_room_to_tell_of_a_dropped_one_goes_without() {
    use Op::{Attach, Claim, Close, OnFull, Receive, Wait};
    let dropped = [Wait(1, 4081), OnFull(1, 2), Receive(1), Wait(1, 457), Claim(1, 1614, false)];
    let ops = [Attach, Close(1), Attach].into_iter().chain(dropped).chain([
        Receive(2),
        Wait(1, 4073),
        Receive(1),
        Wait(1, 9),
    ]);
    run(ops.collect(), (1 << 32) - 480, 0);
}
