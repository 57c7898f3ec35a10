//! Segment tables that lie, at rest and while others read them: the lane of whoever lies is lost, and nothing else. In
//! debug builds every sum is checked for overflow and every window for its bounds, so an entry that is believed where it
//! should not be ends the test. Cannot see what a lie does to a build without those checks.

mod support;

use laneway::layout::{self, GRANULE, SEGMENT_SLOTS, segment};
use laneway::{Fault, Queue, Receiver, Sender, TryRecvError};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Rng, check, payload, peek, poke, scratch, slot};
use tempfile::TempDir;

const RING: u64 = 4096;
const LIMIT: u64 = 64 << 10;
/// Messages of the victim: the ring, and segments.
const GROWN: u64 = 40;

/// An entry's words, and where they lie in a lane's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    start: u64,
    end: u64,
    file: u64,
    from: u64,
}

fn at(slot: u32, word: usize) -> usize {
    layout::lane::SEGMENTS + slot as usize * segment::LEN + word
}

fn entry(lane: &Path, slot: u32) -> Entry {
    let word = |offset| peek(lane, at(slot, offset));
    Entry { start: word(segment::START), end: word(segment::END), file: word(segment::FILE), from: word(segment::FROM) }
}

fn set(lane: &Path, slot: u32, entry: Entry) {
    let words = [
        (segment::START, entry.start),
        (segment::END, entry.end),
        (segment::FILE, entry.file),
        (segment::FROM, entry.from),
    ];
    for (offset, word) in words {
        poke(lane, at(slot, offset), &word.to_ne_bytes());
    }
}

/// A queue whose lane 1 has grown, between two others.
struct Scene {
    queue: Queue,
    others: [Sender; 2],
    victim: Option<Sender>,
    lane: PathBuf,
    next: [u64; 2],
    _dir: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let dir = scratch();
        let options = Queue::options().capacity(RING).overflow_limit(LIMIT).max_lanes(6);
        let queue = options.create(dir.path().join("queue")).unwrap();
        let before = queue.sender().unwrap();
        let mut victim = queue.sender().unwrap();
        let others = [before, queue.sender().unwrap()];
        for number in 0..GROWN {
            victim.send(&payload(1, number, 500)).unwrap();
        }
        let lane = queue.path().join("lane-001");
        assert!(entry(&lane, 0).end > 0 && entry(&lane, 1).end > 0, "it has grown twice");
        Scene { queue, others, victim: Some(victim), lane, next: [0; 2], _dir: dir }
    }

    /// Receives so many messages of the victim.
    fn receive(&self, receiver: &Receiver, count: u64) {
        for number in 0..count {
            assert_eq!(check(&receiver.try_recv().unwrap().to_vec()), (1, number));
        }
    }

    /// The other lanes send and are read, also beyond their rings.
    fn others_go_on(&mut self, receiver: &Receiver, damage: &mut Vec<laneway::Damage>) {
        for (sender, (number, next)) in self.others.iter_mut().zip((0..).zip(&mut self.next)) {
            for i in 0..12 {
                sender.try_send(&payload(number + 10, *next + i, 600)).unwrap();
            }
        }
        let mut expected = self.next;
        for _ in 0..10_000 {
            match receiver.try_recv() {
                Ok(message) if message.lane() == 1 || message.lane() > 2 => {}
                Ok(message) => {
                    let (id, number) = check(&message.to_vec());
                    let expected = &mut expected[id as usize - 10];
                    assert_eq!(number, *expected);
                    *expected += 1;
                }
                Err(TryRecvError::Corrupt(found)) => damage.push(found),
                Err(TryRecvError::Empty) => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.next = self.next.map(|next| next + 12);
        assert_eq!(expected, self.next, "the others lost something");
    }

    /// All that there is to be done with a queue, after the lie: nothing but lane 1 is lost, and it is said once.
    fn survive(mut self, receiver: Option<Receiver>) -> Vec<laneway::Damage> {
        let mut damage = Vec::new();
        let mut observer = self.queue.observe().unwrap();
        let stat = observer.stat().unwrap();
        assert!(stat.segment_bytes <= stat.depth_bytes && stat.depth_bytes <= 3 * (RING + LIMIT));
        observer.peek(1000).unwrap();
        let receiver = receiver.unwrap_or_else(|| self.queue.receiver().unwrap());
        self.others_go_on(&receiver, &mut damage);
        // Its sender neither panics nor hangs; nor does whoever tries to take the lane over, trims it or drains.
        let mut victim = self.victim.take().unwrap();
        for number in 0..30 {
            let _ = victim.send_timeout(&payload(1, GROWN + number, 700), Duration::ZERO);
        }
        self.others_go_on(&receiver, &mut damage);
        victim.trim();
        let _ = victim.pressure();
        drop(victim);
        self.queue.trim().unwrap();
        let mut next = self.queue.sender().unwrap();
        for _ in 0..30 {
            let _ = next.send_timeout(&[7; 700], Duration::ZERO);
        }
        let _ = receiver.drain().unwrap().count();
        let _ = (receiver.pressure(), receiver.finish_turn().unwrap());
        self.others_go_on(&receiver, &mut damage);
        drop(receiver);
        let receiver = self.queue.receiver().unwrap();
        self.others_go_on(&receiver, &mut damage);
        assert!(damage.len() <= 1 && damage.iter().all(|found| found.lane == 1), "{damage:?}");
        damage
    }
}

/// Tells a lie to a receiver that has read `before` messages, and to one that comes after it; gives what each said.
fn lie(before: u64, tell: impl Fn(&Path)) -> [Vec<laneway::Damage>; 2] {
    [true, false].map(|stays| {
        let scene = Scene::new();
        let receiver = scene.queue.receiver().unwrap();
        scene.receive(&receiver, before);
        let stayed = stays.then_some(receiver);
        tell(&scene.lane);
        scene.survive(stayed)
    })
}

#[test]
fn an_entry_that_could_not_have_been_made_retires_the_lane_at_the_jump_to_it() {
    // The ring holds eight of the messages; then reading goes on in slot 0.
    let honest = entry(&Scene::new().lane, 0);
    let window = honest.file & 63;
    let area = layout::RING as u64 + RING;
    let lies = [
        ("before the ring", Entry { file: window, ..honest }),
        ("in the ring", Entry { file: layout::RING as u64 | window, ..honest }),
        ("behind the area", Entry { file: (area + 4 * LIMIT) | window, ..honest }),
        (
            "across the area's end",
            Entry { file: (area + 4 * LIMIT - GRANULE) | 13, start: 8192, end: 16384, from: honest.from },
        ),
        ("far away", Entry { file: !63 | window, ..honest }),
        ("a window of one", Entry { file: honest.file & !63, ..honest }),
        ("a window of 2^63", Entry { file: honest.file | 63, ..honest }),
        ("a window of 2^62", Entry { file: honest.file & !63 | 62, ..honest }),
        ("end before start", Entry { end: honest.start - 8, ..honest }),
        ("end at start", Entry { end: honest.start, ..honest }),
        ("an end that is not aligned", Entry { end: honest.end + 4, ..honest }),
        ("a huge end", Entry { end: u64::MAX - 7, ..honest }),
        ("an end at the limit", Entry { end: layout::POSITION_LIMIT, ..honest }),
        ("longer than its window", Entry { end: honest.start + 2 * (1 << window), ..honest }),
        ("longer than the limit", Entry { start: 1 << 20, end: (1 << 20) + LIMIT + 8, file: area | 20, ..honest }),
        ("a start that is not aligned", Entry { start: honest.start + 8, ..honest }),
        ("a start elsewhere", Entry { start: honest.start + (1 << window), end: honest.end + (1 << window), ..honest }),
        ("from elsewhere", Entry { from: honest.from + 8, ..honest }),
        ("from nowhere", Entry { from: u64::MAX, ..honest }),
        ("not in use", Entry { end: 0, ..honest }),
    ];
    for (name, lie_told) in lies {
        for found in lie(3, |lane| set(lane, 0, lie_told)) {
            let [damage] = found[..] else { panic!("{name}: {found:?}") };
            assert_eq!((damage.lane, damage.fault, damage.position), (1, Fault::Segment, honest.from), "{name}");
        }
    }
}

#[test]
fn a_jump_to_a_slot_that_is_not_its_own_retires_the_lane() {
    let honest = entry(&Scene::new().lane, 0);
    let offset = layout::RING + (honest.from % RING) as usize;
    // From the ring to the ring, to what is not in use, to what was not meant, to what there cannot be.
    for target in [0, 2, 5, SEGMENT_SLOTS, SEGMENT_SLOTS + 1, u32::MAX] {
        for found in lie(3, |lane| poke(lane, offset, &target.to_ne_bytes())) {
            let [damage] = found[..] else { panic!("to {target}: {found:?}") };
            assert!([Fault::Segment, Fault::Kind].contains(&damage.fault), "to {target}: {damage:?}");
        }
    }
}

#[test]
fn entries_that_overlap_or_lead_in_a_circle_retire_the_lane() {
    let scene = Scene::new();
    let (first, second) = (entry(&scene.lane, 0), entry(&scene.lane, 1));
    drop(scene);
    let over = |other: Entry, start: u64| Entry { file: other.file & !63 | first.file & 63, start, ..first };
    let lies = [
        // The same bytes for two runs of positions that are both to be read.
        ("the same bytes", 1, Entry { file: first.file & !63 | second.file & 63, ..second }),
        ("bytes of a third", 9, over(first, first.start + (8 << (first.file & 63)))),
        // A jump in the second segment that leads back to the first would need `from` to be two positions.
        ("back", 0, Entry { from: second.from, ..first }),
        ("to itself", 1, Entry { start: first.start, end: first.end, from: second.from, ..second }),
    ];
    for (name, slot, lie_told) in lies {
        let lie_told = match name {
            "bytes of a third" => Entry { end: lie_told.start + 4096, ..lie_told },
            _ => lie_told,
        };
        for found in lie(3, |lane| set(lane, slot, lie_told)) {
            let [damage] = found[..] else { panic!("{name}: {found:?}") };
            assert_eq!((damage.lane, damage.fault), (1, Fault::Segment), "{name}");
        }
    }
}

#[test]
fn an_entry_that_claims_where_a_receiver_begins_to_read_retires_the_lane_at_most() {
    let area = layout::RING as u64 + RING;
    for file in [12, area | 12, area | 63, (area + LIMIT) | 12, area | 20, u64::MAX] {
        for start in [0, 4096, 1 << 20] {
            for end in [4096, 8192, u64::MAX - 7, layout::POSITION_LIMIT - 8] {
                let told = Entry { file, start, end, from: 0 };
                for before in [0, 3, 10, 20] {
                    let _ = lie_once(before, |lane| set(lane, 63, told));
                }
            }
        }
    }
}

/// As [`lie`], to a receiver that comes after it.
fn lie_once(before: u64, tell: impl Fn(&Path)) -> Vec<laneway::Damage> {
    let scene = Scene::new();
    scene.receive(&scene.queue.receiver().unwrap(), before);
    tell(&scene.lane);
    scene.survive(None)
}

/// A word for an entry: nonsense, or what could nearly be one.
fn nonsense(rng: &mut Rng, honest: &[u64]) -> u64 {
    let near = honest[rng.below(honest.len() as u64) as usize];
    match rng.below(8) {
        0 => rng.next(),
        1 => near.wrapping_add(8 * rng.below(600)).wrapping_sub(8 * rng.below(600)),
        2 => near,
        3 => 1 << rng.below(64),
        4 => (layout::RING as u64 + RING + GRANULE * rng.below(70)) | rng.below(20),
        5 => u64::MAX - rng.below(4096),
        6 => 4096 * rng.below(64),
        _ => 0,
    }
}

fn scribble(rng: &mut Rng, honest: &[u64], mut store: impl FnMut(usize, u64)) {
    for slot in 0..if rng.below(2) == 0 { SEGMENT_SLOTS } else { 4 } {
        for offset in [segment::START, segment::END, segment::FILE, segment::FROM] {
            if rng.below(3) > 0 {
                store(at(slot, offset), nonsense(rng, honest));
            }
        }
    }
}

fn honest_words(lane: &Path) -> Vec<u64> {
    (0..4)
        .flat_map(|slot| {
            let Entry { start, end, file, from } = entry(lane, slot);
            [start, end, file, from]
        })
        .collect()
}

#[test]
fn a_scribbled_table_costs_its_lane_whatever_stands_in_it() {
    let seeds = 1200;
    let mut retired = 0;
    for seed in 0..seeds {
        let mut rng = Rng(seed);
        let scene = Scene::new();
        let honest = honest_words(&scene.lane);
        let receiver = scene.queue.receiver().unwrap();
        scene.receive(&receiver, rng.below(GROWN));
        let stays = (rng.below(2) == 0).then_some(receiver);
        scribble(&mut rng, &honest, |at, word| poke(&scene.lane, at, &word.to_ne_bytes()));
        retired += scene.survive(stays).len();
    }
    assert!(retired as u64 > seeds / 4, "only {retired} of {seeds} were found out");
}

#[test]
fn a_table_that_is_scribbled_on_all_the_time_costs_its_lane_and_no_more() {
    for seed in 0..12 {
        let scene = Scene::new();
        let stop = AtomicBool::new(false);
        let honest = honest_words(&scene.lane);
        let file = OpenOptions::new().write(true).open(&scene.lane).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Rng(seed);
                while !stop.load(Ordering::Relaxed) {
                    scribble(&mut rng, &honest, |at, word| file.write_all_at(&word.to_ne_bytes(), at as u64).unwrap());
                    // Now and then what is true, so that some of it is believed.
                    for (i, word) in honest.iter().enumerate() {
                        let offset = [segment::START, segment::END, segment::FILE, segment::FROM][i % 4];
                        file.write_all_at(&word.to_ne_bytes(), at(i as u32 / 4, offset) as u64).unwrap();
                    }
                }
            });
            let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let receiver = (seed % 2 == 0).then(|| scene.queue.receiver().unwrap());
                scene.survive(receiver);
            }));
            stop.store(true, Ordering::Relaxed);
            answer.unwrap();
        });
    }
}

#[test]
fn a_file_that_is_truncated_within_a_segment_is_damage_and_no_signal() {
    let honest = Scene::new();
    let (first, last) = (entry(&honest.lane, 0), entry(&honest.lane, 1));
    drop(honest);
    let begin = |entry: Entry| entry.file & !(GRANULE - 1);
    for len in [begin(first), begin(first) + GRANULE, begin(last), begin(last) + GRANULE, layout::RING as u64 + RING] {
        for found in lie(3, |lane| OpenOptions::new().write(true).open(lane).unwrap().set_len(len).unwrap()) {
            // Who asks for more makes the file longer again, and what it had is gone: that is found as what it is.
            let [damage] = found[..] else { panic!("cut to {len}: {found:?}") };
            assert_eq!(damage.lane, 1);
        }
    }
}

#[test]
fn the_sender_of_a_lane_whose_receiver_lies_about_segments_is_told() {
    for ahead in [8u64, 4096, 1 << 30, u64::MAX >> 1] {
        let mut scene = Scene::new();
        let written = peek(&scene.lane, layout::lane::WRITE_HINT);
        let lie = written.wrapping_add(ahead) & !7;
        poke(scene.queue.path().join("receiver"), slot(1) + layout::slot::READ_POS, &lie.to_ne_bytes());
        let mut victim = scene.victim.take().unwrap();
        let refused = (0..200).find_map(|_| victim.send_timeout(&[1; 700], Duration::ZERO).err()).unwrap();
        let laneway::SendError::Corrupt(damage) = refused else { panic!("{refused}") };
        assert_eq!((damage.fault, damage.lane), (Fault::ReadPosition, 1));
        victim.trim();
    }
}

#[test]
fn what_is_delivered_again_is_copied_from_where_it_was_found() {
    let dir = scratch();
    let options = Queue::options().capacity(4 << 20).overflow_limit(GRANULE).max_lanes(1);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let mut sender = queue.sender().unwrap();
    let long = payload(1, 1, 2 << 20);
    sender.send(&long).unwrap();
    drop(sender);
    let receiver = queue.receiver().unwrap();
    receiver.recv().unwrap().put_back();
    // By now the table says that it lies in a segment, at the very end of the file.
    let lane = queue.path().join("lane-000");
    let area = layout::RING as u64 + (4 << 20);
    let end = area + layout::overflow_span(GRANULE);
    OpenOptions::new().write(true).open(&lane).unwrap().set_len(end).unwrap();
    set(&lane, 0, Entry { start: 0, end: 8, file: (end - GRANULE) | 3, from: 0 });
    for message in receiver.drain().unwrap() {
        assert_eq!(message.to_vec(), long);
    }
    drop(receiver);
    // Whoever comes then finds the lie, or what was committed.
    let again = queue.receiver().unwrap();
    if let Ok(message) = again.try_recv() {
        assert_eq!(message.to_vec(), long);
    }
}

/// A sender that commits jumps there and back for ever, each of them as it should be, and no message.
#[test]
fn a_sender_that_jumps_for_ever_does_not_keep_the_receiver_from_the_other_lanes() {
    let dir = scratch();
    let options = Queue::options().capacity(4096).overflow_limit(64 * GRANULE).max_lanes(2);
    let queue = options.create(dir.path().join("queue")).unwrap();
    let (jumper, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
    let lane = queue.path().join("lane-000");
    let file = OpenOptions::new().read(true).write(true).open(&lane).unwrap();
    let area = layout::RING as u64 + 4096;
    file.set_len(area + 64 * GRANULE).unwrap();
    // 64 segments of a word each, and a jump home in each: as many cycles as the table has slots.
    let ring = layout::Place::ring(4096);
    let mut position = 0u64;
    for slot in 0..SEGMENT_SLOTS {
        let start = (position + 8).next_multiple_of(8);
        let offset = area + u64::from(slot) * GRANULE;
        set(&lane, slot, Entry { start, end: start + 8, file: offset | 3, from: position });
        let place = layout::Place { offset, window: 8, start, end: start + 8 };
        let home = place.lap(start).word(layout::Kind::Jump, 0).0;
        file.write_all_at(&home.to_ne_bytes(), offset + start % 8).unwrap();
        let out = ring.lap(position).word(layout::Kind::Jump, slot + 1).0;
        file.write_all_at(&out.to_ne_bytes(), layout::RING as u64 + position % 4096).unwrap();
        position = start + 8;
    }
    poke(&lane, layout::RING + (position % 4096) as usize, &0u64.to_ne_bytes());
    let receiver = queue.receiver().unwrap();
    other.send(&payload(2, 0, 100)).unwrap();
    assert_eq!(check(&receiver.recv_timeout(Duration::from_secs(30)).unwrap().to_vec()), (2, 0));
    drop(jumper);
}
