//! The ring over memory of this process: every kind of record, every offset of the end of the ring, every word that
//! breaks a rule, every order of release. One thread, so it cannot see what a wrong ordering would do, and it does not
//! stop between the stores of one function: the loom models and the crash tests do.

use super::*;
use crate::error::Fault;
use crate::layout::{CommitWord, Kind, Place};
use crate::record::Record;
use crate::region::{Own, Region, Window};
use crate::segments::Table;
use crate::sync::{AtomicU64, Ordering};
use std::sync::Arc;

pub(super) const CAPACITY: u64 = 256;
const MAX: u32 = layout::max_payload(CAPACITY) as u32;
/// Bytes of segments that a lane may have.
const LIMIT: u64 = 2 * layout::GRANULE;

/// The memory of one lane: a table, a ring, room for segments; and two words.
pub(super) struct Lane {
    ring: Arc<Region>,
    words: Arc<Region>,
}

/// The commit word of a record at `position` in the ring.
fn commit_word(kind: Kind, len: u32, position: u64) -> u64 {
    Place::ring(CAPACITY).lap(position).word(kind, len).0
}

impl Lane {
    /// A ring full of bytes that look like nothing, with 0 where the first record will start.
    pub(super) fn starting_at(position: u64) -> Lane {
        let bytes = layout::RING as u64 + CAPACITY + layout::overflow_span(LIMIT);
        let lane = Lane { ring: Region::heap(bytes as usize), words: Region::heap(128) };
        (0..CAPACITY).step_by(8).for_each(|at| lane.set(at, 0x5555_5555_5555_5555));
        lane.set(position, CommitWord::NOTHING);
        lane.read_pos().store(position, Ordering::Relaxed);
        lane
    }

    fn window(&self) -> Window {
        self.ring.window(&Place::ring(CAPACITY))
    }

    pub(super) fn table(&self) -> Table {
        Table::new(&self.ring, CAPACITY, LIMIT)
    }

    fn set(&self, position: u64, word: u64) {
        self.window().word(position).store(word, Ordering::Relaxed);
    }

    fn get(&self, position: u64) -> u64 {
        self.window().word(position).load(Ordering::Relaxed)
    }

    fn read_pos(&self) -> Own<AtomicU64> {
        self.words.own(0)
    }

    fn try_writer(&self, start: u64) -> Result<Writer, Broken> {
        Ok(Writer::resume(self.window(), self.table(), MAX, start, self.words.peer(0), self.words.own(64))?.0)
    }

    pub(super) fn writer(&self) -> Writer {
        self.try_writer(self.read_pos().load(Ordering::Relaxed)).unwrap()
    }

    pub(super) fn reader(&self) -> Reader {
        Reader::resume(self.window(), self.table(), MAX, self.read_pos())
    }
}

pub(super) fn payload(len: usize, seed: usize) -> Vec<u8> {
    // Never 0 and never alike: a byte of another message, or of none, shows.
    (0..len).map(|i| ((i * 7 + seed * 31) % 251 + 1) as u8).collect()
}

pub(super) fn send(writer: &mut Writer, bytes: &[u8]) -> Result<u64, Refusal> {
    let claim = writer.claim(bytes.len(), 0)?;
    writer.fill(&claim, 0, bytes);
    writer.commit(claim);
    Ok(claim.position)
}

/// The next message, after any pads, which are passed as a lane passes them.
pub(super) fn receive(reader: &Reader) -> Option<(Record, Vec<u8>)> {
    loop {
        let record = reader.look_from(0).unwrap()?;
        if record.kind == Kind::Data {
            let mut bytes = vec![0; record.len as usize];
            // SAFETY: the vector is as long as the record.
            #[expect(unsafe_code, reason = "the copy takes a pointer")]
            unsafe {
                reader.payload_looked_at(&record).copy_out(0, bytes.as_mut_ptr(), bytes.len());
            }
            reader.take(record.position, record.next);
            return Some((record, bytes));
        }
        reader.pass(&record);
        reader.publish();
    }
}

/// Gives a record back, as a lane does for a message.
pub(super) fn release(reader: &Reader, record: &Record) {
    reader.release(record.position, record.next, 1);
    reader.publish();
}

/// What a writer may have to commit for a message of `len` bytes at `position`: where it starts, and where the next
/// one does. Written down again, from docs/format.md, so that the ring is not compared with itself.
fn place(position: u64, len: usize) -> (u64, u64) {
    let record = 8 + len.next_multiple_of(8) as u64;
    let left = CAPACITY - position % CAPACITY;
    let start = if record > left { position + left } else { position };
    let end = start + record;
    let line = end.next_multiple_of(64) - end;
    (start, if record <= 64 && line < record { end + line } else { end })
}

const STARTS: [u64; 5] = [0, 8 * CAPACITY, (1 << 32) - CAPACITY, (1 << 48) - CAPACITY, (1 << 63) - CAPACITY];

#[test]
fn what_goes_in_comes_out_at_every_offset_and_length_and_a_pad_leads_around_the_end() {
    let lens: Vec<usize> = if cfg!(miri) { vec![0, 1, 40, 120, 240] } else { (0..=MAX as usize).collect() };
    let step = if cfg!(miri) { 56 } else { 8 };
    for start in STARTS {
        for offset in (0..CAPACITY).step_by(step) {
            for &len in &lens {
                let first = start + offset;
                let lane = Lane::starting_at(first);
                let (mut writer, reader) = (lane.writer(), lane.reader());
                let bytes = payload(len, offset as usize);
                let (position, next) = place(first, len);
                let sent = send(&mut writer, &bytes).or_else(|refusal| {
                    // The pad alone; the room behind it comes when the reader has passed it.
                    assert_eq!((refusal, writer.write_pos()), (Refusal::Full, position), "{len} bytes at {first}");
                    assert_eq!(receive(&reader), None);
                    send(&mut writer, &bytes)
                });
                assert_eq!(sent, Ok(position), "{len} bytes at {first}");
                assert_eq!(writer.write_pos(), next);
                assert_eq!(lane.get(next), CommitWord::NOTHING, "the word behind the record");
                let (record, received) = receive(&reader).unwrap();
                assert_eq!((record.position, record.next, record.len as usize), (position, next, len));
                assert_eq!(received, bytes);
                assert_eq!(receive(&reader), None);
                release(&reader, &record);
                assert_eq!(lane.read_pos().load(Ordering::Relaxed), next);
            }
        }
    }
}

#[test]
fn many_laps_in_step_lose_nothing_and_never_show_a_word_of_the_last_lap() {
    for start in STARTS {
        let lane = Lane::starting_at(start);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        let mut seed = 1;
        for i in 0..if cfg!(miri) { 15 } else { 2_000 } {
            seed = (seed * 48_271) % 0x7fff_ffff;
            // All bits set: a word of payload read as a commit word would be damage, and is not.
            let bytes = vec![0xff; seed % (MAX as usize + 1)];
            while send(&mut writer, &bytes).is_err() {
                assert_eq!(receive(&reader), None, "{i}");
            }
            let (record, received) = receive(&reader).unwrap();
            assert_eq!(received, bytes);
            assert_eq!(receive(&reader), None);
            release(&reader, &record);
        }
    }
}

#[test]
fn it_is_full_exactly_when_the_record_and_the_free_word_behind_it_do_not_fit() {
    for start in [0, 64, 200, (1 << 32) - 8] {
        for len in [0, 1, 8, 24, 40, 56, 57, 100, 120] {
            let lane = Lane::starting_at(start);
            let mut writer = lane.writer();
            let (mut at, mut sent) = (start, 0);
            loop {
                let (position, next) = place(at, len);
                let fits = next + 8 <= start + CAPACITY;
                let answer = send(&mut writer, &payload(len, sent));
                assert_eq!(answer, if fits { Ok(position) } else { Err(Refusal::Full) }, "{len} bytes at {at}");
                if !fits {
                    break;
                }
                (at, sent) = (next, sent + 1);
            }
            let reader = lane.reader();
            for i in 0..sent {
                let (record, bytes) = receive(&reader).unwrap();
                assert_eq!(bytes, payload(len, i));
                release(&reader, &record);
            }
            assert_eq!(receive(&reader), None);
            send(&mut writer, &payload(len, 99)).unwrap();
            assert_eq!(receive(&reader).unwrap().1, payload(len, 99));
        }
    }
}

#[test]
fn a_claim_that_is_forgotten_never_happened_and_one_that_is_too_long_is_refused() {
    let lane = Lane::starting_at(0);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    assert_eq!(writer.claim(MAX as usize + 1, 0).unwrap_err(), Refusal::TooLarge);
    let claim = writer.claim(100, 0).unwrap();
    writer.fill(&claim, 0, &payload(100, 1));
    assert_eq!(receive(&reader), None);
    send(&mut writer, b"after").unwrap();
    assert_eq!(receive(&reader).unwrap().1, b"after");
    assert_eq!(receive(&reader), None);
}

#[test]
fn a_claim_is_filled_in_pieces() {
    let lane = Lane::starting_at(8);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    let bytes = payload(77, 3);
    let claim = writer.claim(77, 0).unwrap();
    writer.fill(&claim, 64, &bytes[64..]);
    writer.fill(&claim, 0, &bytes[..8]);
    writer.fill(&claim, 8, &bytes[8..64]);
    writer.commit(claim);
    assert_eq!(receive(&reader).unwrap().1, bytes);
}

#[test]
fn every_word_that_breaks_a_rule_is_named_by_its_fault() {
    let position = 3 * CAPACITY + 128;
    let good = commit_word(Kind::Data, 16, position);
    let pad = commit_word(Kind::Pad, 0, position);
    let cases = [
        (good ^ 1 << 48, Fault::Check),
        (good ^ 1 << 63, Fault::Check),
        (commit_word(Kind::Data, 16, position - CAPACITY), Fault::Check),
        (u64::MAX, Fault::Check),
        (1, Fault::Check),
        (good | 1 << 40, Fault::Flags),
        (commit_word(Kind::Gap, 0, position), Fault::Length),
        (commit_word(Kind::Gap, 1, position) + (1 << 32), Fault::Kind),
        (pad | 1 << 47, Fault::Flags),
        (good & !(0xff << 32), Fault::Kind),
        (good & !(0xff << 32) | (Kind::Jump as u64) << 32, Fault::Segment),
        (commit_word(Kind::Jump, 0, position), Fault::Kind),
        (commit_word(Kind::Jump, 1, position), Fault::Segment),
        (commit_word(Kind::Jump, 65, position), Fault::Segment),
        (good | 0xff << 32, Fault::Kind),
        (commit_word(Kind::Data, MAX + 1, position), Fault::Length),
        (commit_word(Kind::Data, 121, position), Fault::Length),
        (commit_word(Kind::Data, u32::MAX, position), Fault::Length),
        (pad | 8, Fault::Length),
    ];
    for (word, fault) in cases {
        let lane = Lane::starting_at(position);
        lane.set(position, word);
        let broken = Broken { fault, position, found: word };
        assert_eq!(lane.reader().look_from(0), Err(broken), "{word:#x}");
        assert_eq!(lane.reader().count_ahead(), 0);
        assert_eq!(lane.try_writer(position).err(), Some(broken), "nobody takes over behind {word:#x}");
    }
    let lane = Lane::starting_at(position);
    lane.set(position, commit_word(Kind::Data, 120, position));
    assert_eq!(lane.reader().look_from(0).unwrap().unwrap().next, 4 * CAPACITY, "to the very end of the ring is legal");
}

#[test]
fn no_word_whatever_makes_the_reader_leave_the_ring() {
    let mut word = 1u64;
    for _ in 0..if cfg!(miri) { 20 } else { 50_000 } {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let position = (word >> 20) & !7;
        // Half of them with a check that is right, so that the other rules are reached.
        let check = (position / CAPACITY) << 48;
        let word = if word & 8 == 0 { word } else { word & !(0xffff << 48) & !(0xfe << 32) & !0xffff_fe00 | check };
        let lane = Lane::starting_at(position);
        lane.set(position, word);
        match lane.reader().look_from(0) {
            Ok(None) => assert_eq!(word, 0),
            Ok(Some(record)) => {
                assert!(record.len <= MAX && record.next > position);
                assert!(position % CAPACITY + 8 + u64::from(record.len) <= CAPACITY);
                assert!(record.next <= position - position % CAPACITY + CAPACITY);
            }
            Err(broken) => assert_eq!((broken.position, broken.found), (position, word)),
        }
    }
}

#[test]
fn a_reader_position_that_lies_is_a_fault_and_is_never_used() {
    for (lie, name) in [(192, "backwards"), (452, "off a word"), (512, "past the writer"), (u64::MAX, "absurd")] {
        let lane = Lane::starting_at(0);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        // One lap, so that there is an honest position to go back behind.
        let mut taken = Vec::new();
        for seed in 0..4 {
            while send(&mut writer, &payload(56, seed)).is_err() {
                taken.drain(..).for_each(|record: Record| release(&reader, &record));
            }
            taken.push(receive(&reader).unwrap().0);
        }
        assert_eq!(writer.write_pos(), 256);
        taken.drain(..).for_each(|record| release(&reader, &record));
        for seed in 0..3 {
            send(&mut writer, &payload(56, seed)).unwrap();
        }
        assert_eq!((writer.write_pos(), lane.read_pos().load(Ordering::Relaxed)), (448, 256));
        lane.read_pos().store(lie, Ordering::Relaxed);
        let broken = Broken { fault: Fault::ReadPosition, position: 448, found: lie };
        assert_eq!(writer.claim(56, 0).unwrap_err(), Refusal::Broken(broken), "{name}");
        assert_eq!(writer.write_pos(), 448);
        lane.read_pos().store(256, Ordering::Relaxed);
        assert_eq!(writer.claim(56, 0).unwrap_err(), Refusal::Full, "the honest position is as good as before");
    }
}

#[test]
fn who_takes_over_goes_on_behind_the_last_committed_record_whatever_hint_was_left() {
    for start in STARTS {
        let lane = Lane::starting_at(start);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        let mut boundaries = vec![start];
        for seed in 0..3 {
            send(&mut writer, &payload(50, seed)).unwrap();
            boundaries.push(writer.write_pos());
        }
        // Half a message: filled, not committed.
        let claim = writer.claim(20, 0).unwrap();
        writer.fill(&claim, 0, &payload(20, 9));
        for hint in boundaries {
            let next = lane.try_writer(hint).unwrap();
            assert_eq!(next.write_pos(), writer.write_pos(), "from {hint}");
        }
        let mut next = lane.try_writer(start).unwrap();
        send(&mut next, b"mine").unwrap();
        for seed in 0..3 {
            assert_eq!(receive(&reader).unwrap().1, payload(50, seed));
        }
        assert_eq!(receive(&reader).unwrap().1, b"mine");
        assert_eq!(receive(&reader), None);
    }
}

#[test]
fn nobody_takes_over_from_a_hint_that_cannot_be() {
    for hint in [4, CAPACITY + 8, 1 << 40, !7, u64::MAX] {
        let lane = Lane::starting_at(0);
        assert_eq!(lane.try_writer(hint).err().map(|broken| broken.fault), Some(Fault::WritePosition), "{hint}");
    }
    // A ring that is committed all around has no free word: no writer of ours leaves it so.
    let lane = Lane::starting_at(0);
    for at in (0..CAPACITY).step_by(64) {
        lane.set(at, commit_word(Kind::Data, 56, at));
    }
    lane.set(0, commit_word(Kind::Data, 56, 0));
    let fault = lane.try_writer(0).err().map(|broken| broken.fault);
    assert!(matches!(fault, Some(Fault::Length | Fault::Check)), "{fault:?}");
}

#[test]
fn the_position_that_the_writer_sees_moves_over_whole_runs_in_whatever_order_messages_are_released() {
    let orders = permutations(4);
    assert_eq!(orders.len(), 24);
    for order in orders {
        let lane = Lane::starting_at(128);
        let (mut writer, reader) = (lane.writer(), lane.reader());
        let lens = [10, 40, 0, 24];
        for (seed, len) in lens.into_iter().enumerate() {
            send(&mut writer, &payload(len, seed)).unwrap();
        }
        let records: Vec<Record> = lens.iter().map(|_| receive(&reader).unwrap().0).collect();
        let mut released = [false; 4];
        for &i in &order {
            release(&reader, &records[i]);
            released[i] = true;
            let run = released.iter().take_while(|done| **done).count();
            let expected = if run == 0 { records[0].position } else { records[run - 1].next };
            assert_eq!(lane.read_pos().load(Ordering::Relaxed), expected, "{order:?} at {i}");
            // What is put back is looked at again, once, oldest first, whatever order it was put back in.
            let held: Vec<u64> =
                records.iter().zip(released).filter(|(_, done)| !done).map(|(record, _)| record.position).collect();
            held.iter().rev().for_each(|position| reader.put_back(*position));
            assert_eq!(reader.count_ahead(), held.len());
            let again: Vec<u64> = std::iter::from_fn(|| receive(&reader)).map(|(record, _)| record.position).collect();
            assert_eq!(again, held, "{order:?} at {i}");
        }
        assert_eq!(lane.read_pos().load(Ordering::Relaxed), writer.write_pos());
    }
}

#[test]
fn what_is_put_back_comes_again_before_anything_newer_and_what_is_held_does_not() {
    let lane = Lane::starting_at(0);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    for seed in 0..4 {
        send(&mut writer, &payload(8, seed)).unwrap();
    }
    let records: Vec<Record> = (0..3).map(|_| receive(&reader).unwrap().0).collect();
    reader.put_back(records[1].position);
    // Held by somebody: its bytes are not given back by whoever reads on.
    release(&reader, &records[0]);
    for seed in [1, 3] {
        let (record, bytes) = receive(&reader).unwrap();
        assert_eq!(bytes, payload(8, seed));
        release(&reader, &record);
    }
    assert_eq!(receive(&reader), None);
    assert_eq!(lane.read_pos().load(Ordering::Relaxed), records[2].position);
    release(&reader, &records[2]);
    assert_eq!(lane.read_pos().load(Ordering::Relaxed), writer.write_pos());
}

#[test]
fn nothing_is_read_from_where_a_rule_was_broken_even_if_the_word_is_put_right() {
    let lane = Lane::starting_at(0);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    for seed in 0..2 {
        send(&mut writer, &payload(8, seed)).unwrap();
    }
    let first = receive(&reader).unwrap().0;
    let second = first.next;
    let sound = lane.get(second);
    lane.set(second, !0);
    let broken = reader.look_from(0).unwrap_err();
    reader.stop(broken);
    lane.set(second, sound);
    assert_eq!(reader.look_from(0), Err(broken));
    assert_eq!(reader.message_at(reader.at(), || true), None);
    // What was taken before is not concerned.
    reader.put_back(first.position);
    assert_eq!(reader.message_at(reader.at(), || true).map(|record| record.position), Some(first.position));
}

#[test]
fn each_message_below_the_position_counts_once_and_pads_do_not() {
    let lane = Lane::starting_at(CAPACITY - 72);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    send(&mut writer, &payload(56, 0)).unwrap();
    send(&mut writer, &payload(56, 1)).unwrap();
    send(&mut writer, &payload(56, 2)).unwrap();
    let records: Vec<Record> = (0..3).map(|_| receive(&reader).unwrap().0).collect();
    assert_eq!(records[1].position, CAPACITY, "behind a pad");
    let counts = [records[2], records[0], records[0], records[1]].map(|record| {
        release(&reader, &record);
        reader.messages()
    });
    assert_eq!(counts, [0, 1, 1, 3]);
}

#[test]
fn a_reader_that_comes_later_begins_with_what_was_not_released() {
    let lane = Lane::starting_at(64);
    let (mut writer, reader) = (lane.writer(), lane.reader());
    for seed in 0..5 {
        send(&mut writer, &payload(16, seed)).unwrap();
    }
    let records: Vec<Record> = (0..4).map(|_| receive(&reader).unwrap().0).collect();
    release(&reader, &records[0]);
    // Released out of order: who comes later does not know, and sees it again.
    release(&reader, &records[2]);
    let next = lane.reader();
    assert_eq!(next.count_ahead(), 4);
    for seed in 1..5 {
        assert_eq!(receive(&next).unwrap().1, payload(16, seed));
    }
    assert_eq!((receive(&next), next.count_ahead()), (None, 0));
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: Vec<usize>| {
        (0..n).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, n - 1);
            longer
        })
    };
    permutations(n - 1).into_iter().flat_map(insert).collect()
}

#[test]
fn a_run_is_there_all_at_once_or_not_at_all() {
    let memory = Lane::starting_at(0);
    let (mut writer, reader) = (memory.writer(), memory.reader());
    let mut forgotten = writer.begin_run();
    assert!(writer.push(&mut forgotten, &payload(8, 7)) && writer.push(&mut forgotten, &payload(24, 8)));
    assert_eq!(receive(&reader), None);

    let mut run = writer.begin_run();
    for (number, len) in [0, 8, 24, 40].into_iter().enumerate() {
        assert!(writer.push(&mut run, &payload(len, number)));
        assert_eq!(receive(&reader), None, "a part of a run was there");
    }
    assert_eq!(writer.commit_run(run), 4);
    for (number, len) in [0, 8, 24, 40].into_iter().enumerate() {
        assert_eq!(receive(&reader).unwrap().1, payload(len, number));
    }
    assert_eq!(receive(&reader), None, "what was forgotten behind the run was found");
    send(&mut writer, &payload(16, 9)).unwrap();
    assert_eq!(receive(&reader).unwrap().1, payload(16, 9));
}

#[test]
fn a_run_ends_where_the_known_room_does_and_is_a_run_at_every_offset() {
    for offset in (0..CAPACITY).step_by(8) {
        let memory = Lane::starting_at(offset);
        let (mut writer, reader) = (memory.writer(), memory.reader());
        let mut sent = 0;
        for _ in 0..4 {
            let mut run = writer.begin_run();
            let mut pushed = 0;
            while writer.push(&mut run, &payload(8, sent)) {
                (sent, pushed) = (sent + 1, pushed + 1);
            }
            assert_eq!(writer.commit_run(run), pushed);
            // The pad that a run cannot write.
            if send(&mut writer, &payload(8, sent)).is_ok() {
                sent += 1;
            }
        }
        for number in 0..sent {
            let (record, bytes) = receive(&reader).unwrap();
            assert_eq!(bytes, payload(8, number), "offset {offset}");
            release(&reader, &record);
        }
        assert_eq!(receive(&reader), None);
        assert!(sent > 4, "{sent} messages at offset {offset}");
    }
}
