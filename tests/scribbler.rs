//! A sender that scribbles over its own lane, truncates it and lies about every word of it, for as long as the receiver
//! works: a process of its own, and a thread that shares the receiver's address space. Only its lanes are lost, each is
//! reported once, and nobody else loses a message. `verify hostile` runs this under AddressSanitizer and for longer
//! (`LANEWAY_SCRIBBLE_MS`). What one store changes between two loads is left to chance, and chance is given time.
#![expect(unsafe_code, reason = "stores into a mapping that others read")]

mod support;

use laneway::layout::{self, GRANULE, Kind, Place, SEGMENT_SLOTS, segment};
use laneway::{Queue, Receiver, RecvError, Sender};
use memmap2::{MmapOptions, MmapRaw};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{LONG, Rng, Role, check, length, payload, scratch};

const CAPACITY: u64 = 4096;
const LIMIT: u64 = 64 << 10;
/// Those of the honest senders come first.
const HONEST: u32 = 2;
const LANES: u32 = 64;
/// The longest message of an honest sender; the others take segments now and then.
const LONGEST: u64 = 700;

/// How long each test lasts.
fn how_long() -> Duration {
    let asked = std::env::var("LANEWAY_SCRIBBLE_MS").ok().and_then(|ms| ms.parse().ok());
    Duration::from_millis(asked.unwrap_or(1_500))
}

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    let queue = part.open();
    let stop = AtomicBool::new(false);
    scribble(&queue, part.number("SEED"), &stop);
    part.say("no lanes left");
}

#[test]
fn a_process_that_scribbles_over_its_lanes_loses_those_and_nothing_else() {
    let mut seed = 0;
    let told = until_time_is_up(|queue, honest, end| {
        seed += 1;
        let mut peer = Role::new("scribble", queue.path()).with("SEED", seed).start();
        let scene = scene(queue, honest, end, || peer.has_ended());
        // Killed in the middle of whatever it does.
        peer.kill();
        scene
    });
    eprintln!("{told:?}");
}

#[test]
fn a_thread_that_scribbles_over_its_lanes_loses_those_and_nothing_else() {
    let mut seed = 1_000;
    let told = until_time_is_up(|queue, honest, end| {
        seed += 1;
        let (stop, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                scribble(queue, seed, &stop);
                ended.store(true, Ordering::Relaxed);
            });
            let _stop = StopOnDrop(&stop);
            scene(queue, honest, end, || ended.load(Ordering::Relaxed))
        })
    });
    eprintln!("{told:?}");
}

/// Also when an assertion fails, so that the test ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Told {
    scenes: u64,
    /// Messages of the honest senders.
    honest: u64,
    /// Of the others.
    foreign: u64,
    /// Lanes that were retired.
    retired: u64,
}

/// One queue after the other: a lane that is retired stays so, and there are but so many.
fn until_time_is_up(mut scene: impl FnMut(&Queue, Vec<Sender>, Instant) -> Told) -> Told {
    let (end, mut sum) = (Instant::now() + how_long(), Told::default());
    while sum.scenes == 0 || Instant::now() < end {
        let dir = scratch();
        let options = Queue::options().capacity(CAPACITY).overflow_limit(LIMIT).max_lanes(LANES);
        let queue = options.create(dir.path().join("queue")).unwrap();
        // Before anybody scribbles: the first lanes are theirs, and kept to the end, for one that is free would go to the next that comes.
        let honest = Vec::from_iter((0..HONEST).map(|_| queue.sender().unwrap()));
        let told = scene(&queue, honest, end);
        sum.scenes += 1;
        (sum.honest, sum.foreign, sum.retired) =
            (sum.honest + told.honest, sum.foreign + told.foreign, sum.retired + told.retired);
    }
    assert!(sum.retired > 0, "nothing was ever found: {sum:?}");
    assert!(sum.honest > 100 && sum.foreign > 0, "{sum:?}");
    sum
}

/// Two honest senders and a receiver, until `ended` or the time is up.
fn scene(queue: &Queue, mut honest: Vec<Sender>, end: Instant, ended: impl FnMut() -> bool) -> Told {
    let receiver = queue.receiver().unwrap();
    let stop = AtomicBool::new(false);
    let sent: Vec<AtomicU64> = Vec::from_iter(honest.iter().map(|_| AtomicU64::new(0)));
    thread::scope(|scope| {
        for (sender, sent) in honest.iter_mut().zip(&sent) {
            let stop = &stop;
            scope.spawn(move || {
                let id = sender.lane().into();
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    let message = payload(id, number, length(id, number, LONGEST));
                    sender.send_timeout(&message, LONG).unwrap();
                    sent.store(number + 1, Ordering::Release);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        let mut seen = Seen::default();
        seen.receive(&receiver, end, ended);
        stop.store(true, Ordering::Relaxed);
        seen.finish(queue, receiver, &sent)
    })
}

/// What the receiver has seen.
#[derive(Default)]
struct Seen {
    next: [u64; HONEST as usize],
    foreign: u64,
    retired: BTreeSet<u32>,
}

impl Seen {
    fn receive(&mut self, receiver: &Receiver, end: Instant, mut ended: impl FnMut() -> bool) {
        // The end of time is looked for now and then; a scene lasts for a moment in any case.
        for round in 1u64.. {
            self.once(receiver, Duration::from_millis(20));
            if round % 512 == 0 && (Instant::now() > end || ended()) {
                return;
            }
        }
    }

    /// Whether there was anything.
    fn once(&mut self, receiver: &Receiver, patience: Duration) -> bool {
        match receiver.recv_timeout(patience) {
            Ok(message) if message.lane() >= HONEST => {
                assert_eq!(message.to_vec().len(), message.len());
                self.foreign += 1;
            }
            Ok(message) => {
                let (id, number) = check(&message.to_vec());
                assert_eq!(id, u64::from(message.lane()));
                let next = &mut self.next[id as usize];
                assert_eq!(number, *next, "of sender {id}");
                *next += 1;
            }
            Err(RecvError::Corrupt(damage)) => {
                assert!(damage.lane >= HONEST, "{damage}");
                assert!(self.retired.insert(damage.lane), "{damage}, once more");
            }
            Err(RecvError::Timeout) => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }

    /// Whoever scribbles may go on; the others have stopped, and what they sent arrives.
    fn finish(mut self, queue: &Queue, receiver: Receiver, sent: &[AtomicU64]) -> Told {
        let end = Instant::now() + LONG;
        let all = |seen: &Seen| sent.iter().zip(seen.next).all(|(sent, next)| sent.load(Ordering::Acquire) == next);
        // A sender may be in the middle of its last message, whose number it has not stored.
        let mut quiet = 0;
        while quiet < 3 {
            assert!(Instant::now() < end, "{:?} of {sent:?} have come", self.next);
            let came = self.once(&receiver, Duration::from_millis(50));
            quiet = if all(&self) { quiet + u32::from(!came || self.foreign % 64 == 63) } else { 0 };
        }
        assert!(receiver.damage().iter().all(|damage| damage.lane >= HONEST));
        // Observers, the next receiver, and whoever comes after them.
        let mut observer = queue.observe().unwrap();
        let _ = (observer.stat().unwrap(), observer.peek(100).unwrap());
        drop(receiver);
        let receiver = queue.receiver().unwrap();
        assert!(receiver.damage().len() >= self.retired.len(), "what was retired stays so");
        Told { scenes: 1, honest: self.next.iter().sum(), foreign: self.foreign, retired: self.retired.len() as u64 }
    }
}

/// Takes lane after lane and does what it likes with it, until there is none left.
fn scribble(queue: &Queue, seed: u64, stop: &AtomicBool) {
    let mut rng = Rng(seed);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut sender) = queue.sender() else { return };
        let path = queue.path().join(format!("lane-{:03}", sender.lane()));
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut vandal = Vandal::new(file, rng.next());
        for _ in 0..1 + rng.below(4) {
            for _ in 0..rng.below(30) {
                if sender.try_send(&payload(9, 9, rng.below(900) as usize)).is_err() {
                    break;
                }
            }
            vandal.act();
        }
    }
}

/// The owner of a lane's file, who uses it as he pleases.
struct Vandal {
    file: File,
    /// While it has all its bytes: then stores into it are safe for the one who stores.
    map: Option<MmapRaw>,
    rng: Rng,
}

impl Vandal {
    fn new(file: File, seed: u64) -> Vandal {
        let len = layout::RING + CAPACITY as usize;
        let map = MmapOptions::new().len(len).map_raw(&file).unwrap();
        Vandal { file, map: Some(map), rng: Rng(seed) }
    }

    fn act(&mut self) {
        match self.rng.below(12) {
            0 => self.truncate(),
            1..=3 => self.flicker(),
            4..=5 => self.change_table(),
            6..=7 => self.change_words(),
            8 => self.store_anywhere(400),
            _ => self.change_records(),
        }
    }

    fn store(&self, offset: usize, word: u64) {
        match &self.map {
            Some(map) if offset + 8 <= map.len() => {
                // SAFETY: aligned, inside the mapping, and the file has all those bytes.
                unsafe { AtomicU64::from_ptr(map.as_mut_ptr().add(offset).cast()) }.store(word, Ordering::Relaxed);
            }
            // Behind the ring, or in a file that may be short: a write makes it longer.
            _ => self.file.write_all_at(&word.to_ne_bytes(), offset as u64).unwrap(),
        }
    }

    fn load(&self, offset: usize) -> u64 {
        let mut word = [0; 8];
        let _ = self.file.read_exact_at(&mut word, offset as u64);
        u64::from_ne_bytes(word)
    }

    fn truncate(&mut self) {
        self.map = None;
        let len = [0, 100, 4096, 5000, 8000][self.rng.below(5) as usize];
        self.file.set_len(len).unwrap();
        if self.rng.below(2) == 0 {
            self.file.set_len(layout::RING as u64 + CAPACITY).unwrap();
        }
    }

    /// The word of the next record, again and again: what it was, and something else.
    fn flicker(&mut self) {
        let hint = self.load(layout::lane::WRITE_HINT) & !7;
        let back = self.rng.below(40) * 8;
        let position = hint.saturating_sub(back);
        let place = Place::ring(CAPACITY);
        let offset = layout::RING + (position % CAPACITY) as usize;
        let honest = self.load(offset);
        for _ in 0..self.rng.below(20_000) {
            let kind = [Kind::Data, Kind::Pad, Kind::Jump, Kind::Gap][self.rng.below(4) as usize];
            let len = [0, 8, 60, 4000, 4096, u32::MAX][self.rng.below(6) as usize];
            self.store(offset, place.lap(position.min(layout::POSITION_LIMIT - 1)).word(kind, len).0);
            self.store(offset, honest);
        }
    }

    /// Commit words where there are some, and where there are none.
    fn change_records(&mut self) {
        for _ in 0..1 + self.rng.below(8) {
            let hint = self.load(layout::lane::WRITE_HINT) & !7;
            let position = hint.saturating_sub(self.rng.below(64) * 8).min(layout::POSITION_LIMIT - 1);
            let kind = [Kind::Data, Kind::Pad, Kind::Jump, Kind::Gap][self.rng.below(4) as usize];
            let len = self.rng.next() as u32 >> self.rng.below(32);
            let word = Place::ring(CAPACITY).lap(position).word(kind, len).0 ^ u64::from(self.rng.below(8) == 0) << 41;
            self.store(layout::RING + (position % CAPACITY) as usize, word);
        }
    }

    fn change_table(&mut self) {
        for _ in 0..1 + self.rng.below(40) {
            let slot = self.rng.below(if self.rng.0.is_multiple_of(4) { SEGMENT_SLOTS.into() } else { 3 }) as usize;
            let word = [segment::START, segment::END, segment::FILE, segment::FROM][self.rng.below(4) as usize];
            let offset = layout::lane::SEGMENTS + slot * segment::LEN + word;
            let there = self.load(offset);
            let changed = match self.rng.below(6) {
                0 => 0,
                1 => self.rng.next(),
                2 => there.wrapping_add(GRANULE),
                3 => there.wrapping_sub(8),
                4 => there ^ 1 << self.rng.below(64),
                _ => self.rng.below(1 << 17) & !7,
            };
            self.store(offset, changed);
            if self.rng.below(2) == 0 {
                self.store(offset, there);
            }
        }
    }

    fn change_words(&mut self) {
        for _ in 0..1 + self.rng.below(40) {
            let offset = layout::HEADER_LEN + self.rng.below(112) as usize * 8;
            let lie = [0, 1, 7, 4096, !7, u64::MAX, 1 << 63, self.rng.0][self.rng.below(8) as usize];
            self.store(offset, lie);
        }
    }

    fn store_anywhere(&mut self, most: u64) {
        let words = (layout::RING as u64 + CAPACITY + 4 * LIMIT - layout::HEADER_LEN as u64) / 8;
        for _ in 0..self.rng.below(most) {
            let offset = layout::HEADER_LEN + 8 * self.rng.below(words) as usize;
            let word = self.rng.next() >> self.rng.below(64);
            self.store(offset, word);
        }
    }
}
