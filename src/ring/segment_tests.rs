//! Jumps and the way home, over memory of this process: where records lie, what may be used again, and what a gap says.
//! One thread, as in `tests.rs`; Miri sees every access to a segment here.

use super::*;
use crate::layout::{GRANULE, Kind};
use crate::record::Record;
use crate::ring::tests::{CAPACITY, Lane, payload, receive, release, send};
use crate::segments::{self, Entry};

/// The entry of a segment of one granule in this slot, entered from where the writer is.
fn entry(writer: &Writer, slot: u32) -> Entry {
    let from = writer.write_pos();
    let start = segments::start_after(from, GRANULE).unwrap();
    let offset = (layout::RING as u64 + CAPACITY).next_multiple_of(GRANULE) + u64::from(slot) * GRANULE;
    Entry { slot, start, end: start + GRANULE, offset, window: GRANULE, from }
}

/// Goes to a segment, or home, as a lane does: the entry of a segment that is left ends there.
fn jump(lane: &Lane, writer: &mut Writer, to: Option<&Entry>) {
    if let Some(slot) = writer.segment() {
        lane.table().trim(slot, writer.write_pos() + 8);
    }
    match to {
        Some(entry) => writer.jump_to(entry),
        None => writer.go_home(),
    }
}

/// Sends messages of this many bytes until there is no room where they go. How many went.
fn fill(writer: &mut Writer, len: usize, seed: usize) -> usize {
    (0..).take_while(|i| send(writer, &payload(len, seed + i)).is_ok()).count()
}

/// Receives and releases so many messages, which were sent with the seeds from `seed` on.
fn expect(reader: &Reader, len: usize, seed: usize, count: usize) {
    for i in 0..count {
        let (record, bytes) = receive(reader).unwrap_or_else(|| panic!("no message {i} of {count}"));
        assert_eq!(bytes, payload(len, seed + i));
        release(reader, &record);
    }
}

const LAPS: [u64; 4] = [0, 64, (1 << 32) - 64, (1 << 48) - 8];

#[test]
fn a_jump_leads_to_a_segment_from_there_to_the_next_and_home_again() {
    for start in LAPS.into_iter().take(if cfg!(miri) { 1 } else { LAPS.len() }) {
        let lane = Lane::starting_at(start);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        let len = 56;
        let mut sent = fill(&mut writer, len, 0);
        for slot in [0, 1] {
            let to = entry(&writer, slot);
            jump(&lane, &mut writer, Some(&to));
            assert_eq!((writer.is_home(), writer.write_pos()), (false, to.start));
            let more = fill(&mut writer, len, sent);
            assert_eq!(more as u64, GRANULE / 64 - 1, "there is a word left for a jump");
            sent += more;
        }
        assert!(!writer.may_go_home(), "the reader is not beyond the jump that left the ring");
        expect(&reader, len, 0, sent);
        assert_eq!(receive(&reader), None);
        writer.refresh().unwrap();
        assert!(writer.may_go_home());
        jump(&lane, &mut writer, None);
        assert!(writer.is_home());
        let home = fill(&mut writer, 24, 7);
        assert!(home > 0);
        expect(&reader, 24, 7, home);
        assert_eq!((receive(&reader), reader.next()), (None, writer.write_pos()));
    }
}

#[test]
fn the_way_home_is_open_only_when_the_reader_is_beyond_the_jump_that_left() {
    let lane = Lane::starting_at(0);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    send(&mut writer, &payload(8, 0)).unwrap();
    let to = entry(&writer, 0);
    jump(&lane, &mut writer, Some(&to));
    send(&mut writer, &payload(8, 1)).unwrap();
    let (first, _) = receive(&reader).unwrap();
    release(&reader, &first);
    writer.refresh().unwrap();
    assert!(!writer.may_go_home(), "the jump itself is still to be read");
    let (second, _) = receive(&reader).unwrap();
    writer.refresh().unwrap();
    assert!(writer.may_go_home(), "a jump that was passed is given back at once");
    release(&reader, &second);
}

#[test]
fn a_segment_that_was_passed_is_used_again_and_shows_nothing_of_what_it_held() {
    let lane = Lane::starting_at(8);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    let mut sent = 0;
    for round in 0..if cfg!(miri) { 3 } else { 50 } {
        let to = entry(&writer, 0);
        jump(&lane, &mut writer, Some(&to));
        // All bits set, so that a word of the last round would be damage.
        let claim = writer.claim(200, 0).unwrap();
        writer.fill(&claim, 0, &[0xff; 200]);
        writer.commit(claim);
        let more = if round % 2 == 0 { fill(&mut writer, 40, 0) } else { 0 };
        sent += 1 + more as u64;
        let (record, bytes) = receive(&reader).unwrap();
        assert_eq!((record.position, bytes), (to.start, vec![0xff; 200]));
        release(&reader, &record);
        expect(&reader, 40, 0, more);
        assert_eq!(receive(&reader), None, "round {round}");
        writer.refresh().unwrap();
        jump(&lane, &mut writer, None);
        assert_eq!(receive(&reader), None, "the way home is no message");
        writer.refresh().unwrap();
    }
    assert_eq!(reader.messages(), sent);
}

#[test]
fn a_gap_says_what_is_missing_with_the_message_that_follows_wherever_they_lie() {
    for in_segment in [false, true] {
        let lane = Lane::starting_at(0);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        send(&mut writer, &payload(8, 0)).unwrap();
        if in_segment {
            let to = entry(&writer, 1);
            jump(&lane, &mut writer, Some(&to));
        }
        let gap_at = writer.write_pos();
        let claim = writer.claim(30, 5).unwrap();
        writer.fill(&claim, 0, &payload(30, 1));
        writer.commit(claim);
        let (first, _) = receive(&reader).unwrap();
        assert_eq!(reader.dropped_before(first.position), 0);
        release(&reader, &first);
        let (second, bytes) = receive(&reader).unwrap();
        assert_eq!((second.position, bytes), (gap_at + 8, payload(30, 1)));
        assert_eq!(reader.dropped_before(second.position), 5);
        // Not given back without the message: who comes next is told again.
        let next = lane.reader();
        let (again, _) = receive(&next).unwrap();
        assert_eq!((again.position, next.dropped_before(again.position)), (second.position, 5));
        release(&reader, &second);
        assert_eq!(lane.reader().next(), second.next);
    }
}

#[test]
fn whoever_takes_over_finds_the_place_by_the_table_alone() {
    let lane = Lane::starting_at(0);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    let sent = fill(&mut writer, 56, 0);
    let to = entry(&writer, 0);
    jump(&lane, &mut writer, Some(&to));
    let more = fill(&mut writer, 100, sent);
    let write_pos = writer.write_pos();
    drop(writer);
    let heir = lane.writer();
    assert_eq!((heir.write_pos(), heir.segment(), heir.is_home()), (write_pos, Some(0), false));
    expect(&reader, 56, 0, sent);
    let (held, _): (Record, _) = receive(&reader).unwrap();
    assert_eq!(held.kind, Kind::Data);
    // The reader dies with a message of the segment in its hands.
    let next = lane.reader();
    expect(&next, 100, sent, more);
    assert_eq!(receive(&next), None);
}
