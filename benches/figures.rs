//! The figures of docs/performance.md: two pinned processes, each figure beside its limit, interleaved in one run.
//!
//! `cargo bench --bench figures`, or `cargo bench --bench figures -- --pieces 101` for more of everything.
//!
//! Every piece of a measurement stands between two short probes of the raw cache-line round trip. A virtual machine's
//! host moves its cores about, and the round trip jumps between regimes; a piece whose two probes disagree says nothing
//! and is thrown away, and what is left is compared with the probes beside it.
#![expect(unsafe_code, reason = "the raw limit is measured in a raw mapping")]
#![allow(missing_docs, reason = "a program")]

use laneway::{Queue, Receiver, Sender, Wait};
use memmap2::MmapRaw;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const PROBE: u64 = 6_400;
const TRIPS: u64 = 10_000;
const STREAM: u64 = 200_000;
/// The raw limit uses one pair of cache lines after the other: how far a line travels depends on where it happens to lie.
const RAW_PAIRS: u64 = 64;
const RAW_LEN: u64 = RAW_PAIRS * 1024;
/// Probes further apart than this are of two regimes.
const SAME_REGIME: f64 = 1.25;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--echo") {
        Some(at) => Side::open(Path::new(&arguments[at + 1]), false)?.play(arguments[at + 2].parse()?).map(drop),
        None => lead(option(&arguments, "--pieces").unwrap_or(41)),
    }
}

fn option(arguments: &[String], name: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

fn lead(pieces: usize) -> Outcome<()> {
    let root = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" })?;
    let directory = root.path();
    File::create(directory.join("raw"))?.set_len(RAW_LEN)?;
    for name in ["there", "back"] {
        Queue::options().capacity(1 << 18).create(directory.join(name))?;
    }
    let mut other =
        Command::new(std::env::current_exe()?).arg("--echo").arg(directory).arg(pieces.to_string()).spawn()?;
    let figures = Side::open(directory, true)?.play(pieces)?;
    assert!(other.wait()?.success());
    figures.print(pieces);
    Ok(())
}

/// One of the two processes. Both play the same pieces in the same order; the leading one keeps the time.
struct Side {
    leads: bool,
    raw: MmapRaw,
    sender: Sender,
    receiver: Receiver,
    turn: u64,
}

#[derive(Default)]
struct Figures {
    raw: Vec<f64>,
    kept: usize,
    trip_8: Vec<f64>,
    trip_48: Vec<f64>,
    stream_unchecked: Vec<f64>,
    stream_checked: Vec<f64>,
    stream_ratio: Vec<f64>,
}

impl Side {
    fn open(directory: &Path, leads: bool) -> Outcome<Side> {
        pin(usize::from(leads))?;
        let file = File::options().read(true).write(true).open(directory.join("raw"))?;
        let (there, back) = (Queue::open(directory.join("there"))?, Queue::open(directory.join("back"))?);
        let (to, from) = if leads { (there, back) } else { (back, there) };
        let (sender, receiver) = (to.sender()?, from.receiver()?);
        sender.set_wait(Wait::Spin);
        receiver.set_wait(Wait::Spin);
        Ok(Side { leads, raw: MmapRaw::map_raw(&file)?, sender, receiver, turn: 0 })
    }

    fn play(&mut self, pieces: usize) -> Outcome<Figures> {
        let mut figures = Figures::default();
        self.raw(PROBE);
        for piece in 0..pieces {
            let before = self.raw(PROBE);
            let trip_8 = self.trips::<1>(TRIPS)?;
            let middle = self.raw(PROBE);
            let trip_48 = self.trips::<6>(TRIPS)?;
            let after = self.raw(PROBE);
            // Alternately first: what comes second finds warmer caches.
            let (mut checked, mut unchecked) = (0.0, 0.0);
            for turn in 0..2 {
                if (piece + turn) % 2 == 0 {
                    checked = self.stream(true)?;
                } else {
                    unchecked = self.stream(false)?;
                }
            }
            let end = self.raw(PROBE);
            let all = [before, middle, after, end];
            let (low, high) = (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(0.0, f64::max));
            figures.raw.extend(all);
            if high / low <= SAME_REGIME {
                figures.kept += 1;
                figures.trip_8.push(trip_8 / ((before + middle) / 2.0));
                figures.trip_48.push(trip_48 / ((middle + after) / 2.0));
                figures.stream_checked.push(checked);
                figures.stream_unchecked.push(unchecked);
                figures.stream_ratio.push(checked / unchecked);
            }
        }
        Ok(figures)
    }

    /// The limit: a number goes over on one cache line and comes back on another. Nanoseconds for a round trip.
    fn raw(&mut self, trips: u64) -> f64 {
        let base = self.raw.as_mut_ptr();
        let start = Instant::now();
        for trip in 0..trips {
            let pair = trip * RAW_PAIRS / trips;
            // SAFETY: the file is that long; both words are aligned, and everybody uses them as atomics.
            let (there, back) = unsafe {
                let there = base.add(1024 * pair as usize).cast::<AtomicU64>();
                (&*there, &*there.add(16))
            };
            let (write, read) = if self.leads { (there, back) } else { (back, there) };
            self.turn += 1;
            if self.leads {
                write.store(self.turn, Ordering::Release);
            }
            while read.load(Ordering::Acquire) != self.turn {
                std::hint::spin_loop();
            }
            if !self.leads {
                write.store(self.turn, Ordering::Release);
            }
        }
        nanoseconds(start, trips)
    }

    /// Round trips of a message of `WORDS` words, copied in and out on both sides.
    fn trips<const WORDS: usize>(&mut self, trips: u64) -> Outcome<f64> {
        let mut words = [0u64; WORDS];
        let start = Instant::now();
        for trip in 0..trips {
            words[0] = trip;
            if self.leads {
                self.sender.send_pod(&words)?;
            }
            let answer: [u64; WORDS] = self.receiver.recv()?.read_pod()?;
            assert_eq!(answer[0], trip);
            if !self.leads {
                self.sender.send_pod(&answer)?;
            }
        }
        Ok(nanoseconds(start, trips))
    }

    /// Messages of 56 bytes from the leading side to the other, with the doorbell's check on each or with none at all.
    /// The time ends when the other has read them all.
    fn stream(&mut self, checked: bool) -> Outcome<f64> {
        let mut message = [0u64; 7];
        let start = Instant::now();
        if self.leads {
            for number in 0..STREAM {
                message[0] = number;
                let bytes = bytemuck::bytes_of(&message);
                if checked {
                    while self.sender.try_send(bytes).is_err() {
                        std::hint::spin_loop();
                    }
                } else {
                    while self.sender.try_send_quietly(bytes).is_err() {
                        std::hint::spin_loop();
                    }
                }
            }
            self.receiver.recv()?.release();
        } else {
            for number in 0..STREAM {
                let message: [u64; 7] = self.receiver.recv()?.read_pod()?;
                assert_eq!(message[0], number);
            }
            self.sender.send(&[])?;
        }
        Ok(nanoseconds(start, STREAM))
    }
}

impl Figures {
    fn print(mut self, pieces: usize) {
        println!("pieces of one regime: {} of {pieces}", self.kept);
        line("raw round trip of two cache lines, ns", &mut self.raw);
        line("round trip 8 B / raw", &mut self.trip_8);
        line("round trip 48 B / raw", &mut self.trip_48);
        line("streaming 56 B without the doorbell's check, ns", &mut self.stream_unchecked);
        line("streaming 56 B with it, ns", &mut self.stream_checked);
        line("with / without", &mut self.stream_ratio);
    }
}

fn line(name: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let at =
        |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN);
    println!("{name:<50} median {:8.2}   quartiles {:8.2} {:8.2}", at(0.5), at(0.25), at(0.75));
}

fn nanoseconds(start: Instant, times: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / times as f64
}

/// Pins this process to a processor, if there are two.
fn pin(processor: usize) -> Outcome<()> {
    if std::thread::available_parallelism()?.get() > 1 {
        let mut set = CpuSet::new();
        set.set(processor)?;
        sched_setaffinity(Pid::from_raw(0), &set)?;
    }
    Ok(())
}
