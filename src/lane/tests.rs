//! Both ends of a lane over memory of the heap, between two threads: for Miri, which sees every access and draws orders.
//! No files, so nobody dies here but by being dropped.

use super::{Marks, Memory, Pending, Reader, View, Writer};
use crate::bell::Sleeper;
use crate::error::Fault;
use crate::layout::{self, FenceMode, Limits};
use crate::record::Record;
use crate::region::{Own, Region};
use crate::ring::Refusal;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::fence::Fences;
use bytemuck::Zeroable;
use std::thread;
use std::time::Duration;

/// The smallest ring of a lane that may grow: segments begin at multiples of a granule.
const GROWING: u64 = layout::GRANULE;

fn memory(capacity: u64, overflow_limit: u64) -> Memory {
    let lane = layout::RING as u64 + capacity + layout::overflow_span(overflow_limit);
    let longest = layout::max_payload(capacity).max(layout::max_payload_of_segment(overflow_limit));
    Memory {
        lane: Region::heap(lane as usize),
        receiver: Region::heap(layout::slot_offset(1)),
        bell: Region::heap(4096),
        number: 0,
        priority: 0,
        capacity,
        overflow_limit,
        marks: Marks::new(&Limits::zeroed(), capacity),
        max_message: longest as u32,
        fences: Fences::new(FenceMode::Symmetric),
        #[cfg(feature = "tracing")]
        name: Default::default(),
    }
}

/// The receiver's half of the bell.
fn sleeper(memory: &Memory) -> Sleeper {
    Sleeper::new(
        memory.receiver.own(layout::receiver::SLEEPS),
        memory.bell.peer(layout::bell::SEQ),
        memory.bell.peer(layout::bell::RUNG_AT),
        memory.fences,
    )
}

/// Message `i`: of a length of its own, which is no multiple of 8, and of bytes of its own.
fn payload(i: usize) -> Vec<u8> {
    let len = [0, 1, 13, 40, 100, 1003][i % if i < LONG { 5 } else { 6 }];
    (0..len).map(|at| (i * 7 + at) as u8).collect()
}

/// From this message on some are longer than the smallest rings.
const LONG: usize = 1 << 20;

/// Sends if there is room.
fn try_send(lane: &mut Writer, payload: &[u8]) -> bool {
    let claim = match lane.claim_known(payload.len()).map_or_else(|| lane.claim(payload.len(), true), Ok) {
        Ok(claim) => claim,
        Err(Refusal::Full) => return false,
        Err(refusal) => panic!("{refusal:?}"),
    };
    lane.fill(&claim, 0, payload);
    lane.commit(claim);
    lane.ring();
    true
}

/// Sends, sleeping while there is no room.
fn send(lane: &mut Writer, room: &Sleeper, payload: &[u8]) {
    let mut sent = try_send(lane, payload);
    while !sent {
        room.sleep(Duration::MAX, || {
            sent = try_send(lane, payload);
            sent
        });
    }
}

fn copy(lane: &Reader, record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; record.len as usize];
    let from = lane.payload(record);
    // SAFETY: the vector has `len` bytes, and the record was found to be as long.
    #[expect(unsafe_code, reason = "as a message does")]
    unsafe {
        from.copy_out(0, bytes.as_mut_ptr(), bytes.len());
    }
    bytes
}

fn try_recv(lane: &Reader) -> Option<Vec<u8>> {
    let record = lane.message().or_else(|| lane.look().unwrap())?;
    let bytes = copy(lane, &record);
    lane.take(record.position, record.next);
    lane.release(record.position, record.next, 1);
    Some(bytes)
}

/// Receives, sleeping while there is nothing; none when the lane has ended.
fn recv(lane: &Reader, sleeper: &Sleeper) -> Option<Vec<u8>> {
    loop {
        let mut found = try_recv(lane);
        if found.is_none() && !lane.is_finished() {
            sleeper.sleep(Duration::MAX, || {
                found = try_recv(lane);
                found.is_some() || lane.is_finished()
            });
        }
        if found.is_some() || lane.is_finished() {
            // What ended it may have come after the last look.
            return found.or_else(|| try_recv(lane));
        }
    }
}

const MESSAGES: usize = if cfg!(miri) { 30 } else { 3000 };

/// Everything that goes through a lane arrives whole and in order, and nobody sleeps for ever.
fn deliver(memory: Memory, first: usize) {
    let (reader, sleeper) = (Reader::attach(memory.clone()), sleeper(&memory));
    let sending = thread::spawn(move || {
        let (mut lane, room) = Writer::attach(memory).unwrap();
        (first..first + MESSAGES).for_each(|i| send(&mut lane, &room, &payload(i)));
        lane.close();
    });
    for i in first..first + MESSAGES {
        assert!(recv(&reader, &sleeper) == Some(payload(i)), "message {i} is not what was sent");
    }
    assert_eq!(recv(&reader, &sleeper), None);
    sending.join().unwrap();
}

#[test]
fn the_orderings_of_a_lane_bring_whole_messages_through_its_ring() {
    deliver(memory(256, 0), 0);
}

#[test]
fn the_orderings_of_a_lane_bring_whole_messages_through_its_segments() {
    deliver(memory(GROWING, 2 * layout::GRANULE), LONG);
}

/// What is longer than the ring, and as much as the lane can hold: then home, and given back.
#[test]
fn a_lane_grows_to_its_limit_and_goes_home() {
    let memory = memory(GROWING, 4 * layout::GRANULE);
    let (mut writer, _room) = Writer::attach(memory.clone()).unwrap();
    let reader = Reader::attach(memory);
    let long = |seed: usize| -> Vec<u8> { (0..5000).map(|at| (at + seed) as u8).collect() };
    for round in 0..3 {
        let sent = (0..).take_while(|i| try_send(&mut writer, &long(round + i))).count();
        assert!(sent >= 2, "{sent}");
        for i in 0..sent {
            assert_eq!(try_recv(&reader), Some(long(round + i)));
        }
        assert_eq!(try_recv(&reader), None);
        writer.trim();
        assert!(try_send(&mut writer, b"home"));
        assert_eq!(try_recv(&reader).as_deref(), Some(&b"home"[..]));
    }
}

/// The next owners of both ends go on where the last ones stopped.
#[test]
fn a_lane_is_taken_over_at_both_ends() {
    let memory = memory(GROWING, 2 * layout::GRANULE);
    let (mut sent, mut received) = (LONG, LONG);
    for owner in 0..6 {
        let (mut writer, _room) = Writer::attach(memory.clone()).unwrap();
        let reader = Reader::attach(memory.clone());
        for _ in 0..7 + owner {
            assert!(try_send(&mut writer, &payload(sent)));
            sent += 1;
        }
        for _ in 0..5 {
            assert_eq!(try_recv(&reader), Some(payload(received)));
            received += 1;
        }
        // Taken, and not released: it comes again.
        let record = reader.look().unwrap().unwrap();
        assert_eq!(copy(&reader, &record), payload(received));
        reader.take(record.position, record.next);
    }
    let reader = Reader::attach(memory);
    while let Some(bytes) = try_recv(&reader) {
        assert_eq!(bytes, payload(received));
        received += 1;
    }
    assert_eq!(received, sent);
}

/// A lane that is retired is so for its sender, who learns why, and for an observer.
#[test]
fn the_orderings_of_a_retired_lane_say_why() {
    for _ in 0..if cfg!(miri) { 5 } else { 200 } {
        let memory = memory(256, 0);
        let (writer, _room) = Writer::attach(memory.clone()).unwrap();
        let reader = Reader::attach(memory.clone());
        let retiring = thread::spawn(move || reader.condemn(Fault::Header));
        let damage = loop {
            match writer.poisoned() {
                Some(damage) => break damage,
                None => thread::yield_now(),
            }
        };
        assert_eq!(retiring.join().unwrap(), damage);
        assert_eq!(View::new(memory).glance().damage, Some(damage));
    }
}

/// What a look sees of a lane to which, for each message that it sees, another one comes and `meanwhile` is done.
fn look(memory: &Memory, mut meanwhile: impl FnMut()) -> usize {
    let (mut writer, _room) = Writer::attach(memory.clone()).unwrap();
    let reader = Reader::attach(memory.clone());
    (0..10).for_each(|i| assert!(try_send(&mut writer, &payload(i))));
    meanwhile();
    let view = View::new(memory.clone());
    let mut pending = Pending::new(&view);
    let mut seen = 0;
    while let Some((_, bytes)) = pending.next(&mut |_, _| false) {
        assert_eq!(bytes, payload(seen));
        assert!(try_send(&mut writer, &payload(10 + seen)));
        assert_eq!(try_recv(&reader), Some(payload(seen)));
        meanwhile();
        seen += 1;
    }
    seen
}

#[test]
fn a_look_at_what_waits_ends_where_the_sender_was_when_it_began() {
    assert_eq!(look(&memory(4096, 0), || ()), 10);
}

/// The hint is the sender's own word.
#[test]
fn a_look_ends_also_when_the_sender_never_says_how_far_it_is() {
    let memory = memory(4096, 0);
    let hint: Own<AtomicU64> = memory.lane.own(layout::lane::WRITE_HINT);
    // ORDERING(hint): one thread.
    let seen = look(&memory, || hint.store(0, Ordering::Relaxed));
    assert!((11..=4096 / 8).contains(&seen), "{seen} messages, of which 10 were there");
}

/// One that died between a message and the word that says how far it is.
#[test]
fn a_look_sees_what_a_dead_sender_has_not_told_of() {
    let memory = memory(4096, 0);
    let (mut writer, _room) = Writer::attach(memory.clone()).unwrap();
    (0..3).for_each(|i| assert!(try_send(&mut writer, &payload(i))));
    let hint: Own<AtomicU64> = memory.lane.own(layout::lane::WRITE_HINT);
    // ORDERING(hint): one thread.
    hint.store(8, Ordering::Relaxed);
    let view = View::new(memory);
    let mut pending = Pending::new(&view);
    assert_eq!(std::iter::from_fn(|| pending.next(&mut |_, _| false)).count(), 3);
}
