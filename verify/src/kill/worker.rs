//! A worker: one process with one thread on one processor, which plays episodes and judges every point of them.

use super::acts::NAMES;
use super::judge::{self, History, Known, Outcome};
use super::page::{self, Page};
use super::scratch::Scratch;
use super::step::{self, Change, Snapshot, Watch};
use super::tally::{self, Tally};
use anyhow::{Context, Result, ensure};
use laneway::{Priority, Queue};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// An image that was judged, to be recovered from step by step.
pub(super) struct Sample {
    pub(super) snapshot: Snapshot,
    pub(super) words: Vec<u64>,
    pub(super) history: History,
    pub(super) known: Known,
    pub(super) grows: bool,
    pub(super) outcome: Outcome,
}

pub(super) struct Worker {
    /// The queue that victims use.
    pub(super) watched: PathBuf,
    /// What it is made of: without and with segments.
    pub(super) templates: [Snapshot; 2],
    pub(super) page: &'static Page,
    pub(super) rng: fastrand::Rng,
    pub(super) tally: Tally,
    pub(super) samples: Vec<Sample>,
    scratch: [Scratch; 2],
    /// The number of an outcome, by the hash of the image.
    judged: HashMap<u128, u32>,
    outcomes: Vec<Outcome>,
    numbers: HashMap<Outcome, u32>,
    pairs: HashSet<u64>,
    pub(super) points: u64,
    /// By act.
    steps: [u64; NAMES.len()],
}

/// The queue of an episode, and what is known of it.
pub(super) struct Case {
    pub(super) watch: Watch,
    pub(super) known: Known,
    pub(super) grows: bool,
    pub(super) history: History,
    /// The hash of the image as it is, and what it delivers.
    now: Option<(u128, u32)>,
}

impl Case {
    pub(super) fn new(watch: Watch, known: Known, grows: bool, history: History) -> Case {
        Case { watch, known, grows, history, now: None }
    }
}

impl Worker {
    pub(super) fn new(dir: &Path, seed: u64) -> Result<Worker> {
        let template = |limit: u64| -> Result<Snapshot> {
            let path = dir.join(format!("template-{limit}"));
            Queue::options().capacity(4096).overflow_limit(limit).max_lanes(2).create(&path)?;
            let mut watch = Watch::new(&path);
            watch.look();
            Ok(watch.seen().clone())
        };
        Ok(Worker {
            watched: dir.join("watched"),
            templates: [template(0)?, template(32 << 10)?],
            page: page::shared()?,
            rng: fastrand::Rng::with_seed(seed),
            tally: Tally::default(),
            samples: Vec::new(),
            scratch: [Scratch::new(dir.join("scratch-0"))?, Scratch::new(dir.join("scratch-1"))?],
            judged: HashMap::new(),
            outcomes: Vec::new(),
            numbers: HashMap::new(),
            pairs: HashSet::new(),
            points: 0,
            steps: [0; NAMES.len()],
        })
    }

    /// Makes the watched queue of an image.
    pub(super) fn restore(&self, snapshot: &Snapshot) -> Result<Queue> {
        if self.watched.exists() {
            std::fs::remove_dir_all(&self.watched)?;
        }
        step::restore(snapshot, &self.watched);
        Ok(Queue::open(&self.watched)?)
    }

    /// Counts a point and judges it: a kill of everybody here, with the victim at the instruction `at` and, if there is
    /// another, that one at `other`.
    pub(super) fn point(&mut self, case: &mut Case, at: u64, other: u64) -> Result<()> {
        self.points += 1;
        self.steps[self.page.act.get() as usize] += 1;
        if case.watch.look() != Change::None || case.now.is_none() {
            let hash = hash(case.watch.seen(), &case.known);
            let number = match self.judged.get(&hash) {
                Some(number) => *number,
                None => self.judge(case, hash)?,
            };
            case.now = Some((hash, number));
        }
        let (hash, number) = case.now.expect("just found");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&at.to_le_bytes());
        key[8..16].copy_from_slice(&other.to_le_bytes());
        key[16..].copy_from_slice(&hash.to_le_bytes());
        self.pairs.insert(xxh3_64(&key));
        let outcome = &self.outcomes[number as usize];
        case.history.accept(outcome, self.page, &case.known)?;
        if self.rng.u32(0..2000) == 0 && self.page.started.get() < 3000 {
            let (snapshot, words, outcome) = (case.watch.seen().clone(), self.page.copy(), outcome.clone());
            let sample =
                Sample { snapshot, words, history: case.history, known: case.known, grows: case.grows, outcome };
            if self.samples.len() < 64 {
                self.samples.push(sample);
            } else {
                let at = self.rng.usize(0..64);
                self.samples[at] = sample;
            }
        }
        Ok(())
    }

    fn judge(&mut self, case: &Case, hash: u128) -> Result<u32> {
        let image = case.watch.seen();
        let mut outcomes = (0..judge::WAYS).rev().map(|way| {
            let queue = self.scratch[usize::from(case.grows)].become_image(image)?;
            judge::recover(&queue, &case.known, way).with_context(|| format!("recovery in way {way}"))
        });
        // The last way alone asks whether all have closed.
        let outcome = outcomes.next().expect("there is a way")?;
        for other in outcomes {
            let other = Outcome { closed: outcome.closed, ..other? };
            ensure!(other == outcome, "what is delivered depends on who comes first: {outcome:?}, or {other:?}");
        }
        judge::features(image, &case.known).for_each(|name| self.tally.add(name, 1));
        let number = match self.numbers.get(&outcome) {
            Some(number) => *number,
            None => {
                let number = self.outcomes.len() as u32;
                self.numbers.insert(outcome.clone(), number);
                self.outcomes.push(outcome);
                number
            }
        };
        self.judged.insert(hash, number);
        Ok(number)
    }

    /// Everybody was really killed: the directory is what the last image was, no lock is held, and recovery works there.
    pub(super) fn confirm(&mut self, case: &mut Case) -> Result<()> {
        case.watch.list();
        ensure!(case.watch.look() == Change::None, "a real SIGKILL left something else than the image");
        let way = self.rng.u64(0..judge::WAYS);
        let found = judge::recover(&Queue::open(&self.watched)?, &case.known, way).context("after a real SIGKILL")?;
        let outcome = Outcome { closed: true, ..found };
        case.history.accept(&outcome, self.page, &case.known)?;
        self.tally.add("real kills", 1);
        Ok(())
    }

    /// How many different pairs of an instruction and an image there were.
    pub(super) fn distinct(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// Leaves the figures for the parent.
    pub(super) fn leave(&self, out: &Path) -> Result<()> {
        let mut tally = self.tally.clone();
        NAMES.iter().zip(self.steps).for_each(|(name, steps)| tally.add(&tally::act(name), steps));
        tally.add("points", self.points);
        tally.add("judged", self.judged.len() as u64);
        tally.write(&out.join("tally"))?;
        tally::write_set(self.pairs.iter().copied(), &out.join("pairs"))?;
        tally::write_set(self.judged.keys().map(|hash| *hash as u64), &out.join("images"))
    }

    /// Counts a point that was judged elsewhere.
    pub(super) fn count(&mut self, at: u64, hash: u128) {
        self.points += 1;
        let mut key = [0; 32];
        key[..8].copy_from_slice(&at.to_le_bytes());
        key[16..].copy_from_slice(&hash.to_le_bytes());
        self.pairs.insert(xxh3_64(&key));
    }

    /// Whether an image is new, that is judged elsewhere.
    pub(super) fn is_new(&mut self, hash: u128) -> bool {
        self.judged.insert(hash, u32::MAX).is_none()
    }
}

/// What differs between two queues that are the same, or from run to run: who they are, and clocks.
fn masked(name: &str) -> &'static [Range<usize>] {
    match name {
        _ if name.ends_with(".lock") => &[],
        "bell" => &[16..48, 96..104, 120..128, 264..272],
        // The times of both slots.
        "receiver" => &[16..48, 96..104, 120..128, 4232..4240, 4488..4496],
        _ => &[16..48, 96..104, 120..128],
    }
}

fn hash(snapshot: &Snapshot, known: &Known) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&[known.priority as u8, known.lane as u8, known.bystanders as u8]);
    for (name, copied) in snapshot.iter() {
        hash.update(name.as_bytes());
        hash.update(&copied.len().to_le_bytes());
        for (at, bytes) in copied.runs() {
            hash.update(&at.to_le_bytes());
            hash_bytes(&mut hash, if *at == 0 { masked(name) } else { &[] }, bytes);
        }
    }
    hash.digest128()
}

fn hash_bytes(hash: &mut Xxh3, masked: &[Range<usize>], bytes: &[u8]) {
    let mut from = 0;
    for range in masked.iter().filter(|range| range.end <= bytes.len()) {
        hash.update(&bytes[from..range.start]);
        from = range.end;
    }
    hash.update(&bytes[from..]);
}

/// The hash of a file's bytes, whoever it belongs to.
pub(super) fn hash_file(hash: &mut Xxh3, name: &str, bytes: &[u8]) {
    hash.update(name.as_bytes());
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash_bytes(hash, masked(name), bytes);
}

/// How urgent the victim's mail is, and the bystander's, who has another lane for that.
pub(super) fn priorities(rng: &mut fastrand::Rng) -> (Priority, Priority) {
    let all = [Priority::Urgent, Priority::Normal, Priority::Low];
    let one = rng.usize(0..3);
    (all[one], all[(one + rng.usize(1..3)) % 3])
}
