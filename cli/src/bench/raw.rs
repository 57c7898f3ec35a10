//! The limits of the machine, as two processes measure them beside a figure.

use super::scene::Scene;
use crate::args::Wait;
use anyhow::{Context, Result};
use laneway_measure::limit::{CopyStream, FutexWake};
use laneway_measure::{Between, Clock, Distribution, Lines, PROBE_TRIPS, Pace, Shared};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Makes a raw file of zeros.
pub(super) fn create(at: &Path, name: &str, len: u64) -> Result<()> {
    let path = at.join(name);
    Shared::create(&path, len).with_context(|| format!("cannot create {path:?}"))?;
    Ok(())
}

/// Round trips with no queue: of cache lines for those who spin, of futexes for those who sleep.
pub(super) enum Trips<'a> {
    Lines(Lines<'a>),
    Futexes { out: FutexWake<'a>, back: FutexWake<'a> },
}

/// The raw files of [`Trips`], mapped.
pub(super) struct TripsMemory([Shared; 3]);

const TRIP_FILES: [(&str, u64); 3] =
    [("lines", Lines::LEN as u64), ("futex-there", FutexWake::LEN as u64), ("futex-back", FutexWake::LEN as u64)];

/// Round trips of futexes around a piece.
const FUTEX_TRIPS: u64 = 100;

impl TripsMemory {
    pub(super) fn prepare(at: &Path) -> Result<()> {
        TRIP_FILES.iter().try_for_each(|(name, len)| create(at, name, *len))
    }

    pub(super) fn open(scene: &Scene<'_>) -> Result<TripsMemory> {
        let [lines, there, back] = TRIP_FILES.map(|(name, _)| scene.shared(name));
        Ok(TripsMemory([lines?, there?, back?]))
    }
}

impl<'a> Trips<'a> {
    pub(super) fn new(scene: &Scene<'_>, memory: &'a TripsMemory) -> Trips<'a> {
        let TripsMemory([_, there, back]) = memory;
        let leads = scene.leads();
        match scene.job.wait {
            Wait::Spin => Trips::lines(scene, memory),
            Wait::Adaptive | Wait::Park => {
                let (there, back) = (FutexWake::new(there), FutexWake::new(back));
                let (out, back) = if leads { (there, back) } else { (back, there) };
                Trips::Futexes { out, back }
            }
        }
    }

    /// Of cache lines, however the job waits: they say in which regime the machine is.
    pub(super) fn lines(scene: &Scene<'_>, memory: &'a TripsMemory) -> Trips<'a> {
        Trips::Lines(Lines::new(&memory.0[0], scene.leads()).with(scene.between()))
    }

    /// What the limit is called.
    pub(super) fn name(wait: Wait) -> &'static str {
        match wait {
            Wait::Spin => "raw round trip of two cache lines",
            Wait::Adaptive | Wait::Park => "raw round trip of two futexes",
        }
    }

    /// A probe, which both sides make; on the leading one what each trip took is entered. Gives their median there,
    /// nanoseconds.
    pub(super) fn probe(&mut self, scene: &Scene<'_>, into: &mut Distribution) -> f64 {
        if !scene.leads() {
            self.answer();
            return 0.0;
        }
        let (mut own, clock) = (Distribution::new(), scene.clock);
        match self {
            Trips::Lines(lines) => lines.timed_trips(PROBE_TRIPS, clock, |ns| own.record(ns)),
            Trips::Futexes { out, back } => {
                for _ in 0..FUTEX_TRIPS {
                    let start = clock.stamp();
                    out.wake(1);
                    back.sleep();
                    own.record(clock.between(start, clock.stamp()));
                }
            }
        }
        into.add(&own);
        own.estimate(50.0)
    }

    /// The other side, where nothing is timed.
    fn answer(&mut self) {
        match self {
            Trips::Lines(lines) => drop(lines.probe()),
            Trips::Futexes { out, back } => (0..FUTEX_TRIPS).for_each(|_| {
                back.sleep();
                out.wake(1);
            }),
        }
    }
}

/// A stamp that goes from one process to another with no queue: what no message can beat one way.
pub(super) struct Signal<'a> {
    memory: &'a Shared,
    between: Between,
    way: Way<'a>,
}

enum Way<'a> {
    /// To somebody who sleeps.
    Futex(FutexWake<'a>),
    /// To somebody who spins: the last stamp that was seen.
    Line(u64),
}

/// No stamp: nothing more comes.
const END: u64 = 1;
/// The stamp for those who spin, and the last one that came, for the sender.
const LINE: usize = 1024;
const CAME: usize = 2048;

impl<'a> Signal<'a> {
    /// Bytes of the raw file, all zero.
    pub(super) const LEN: u64 = FutexWake::LEN as u64;
    /// Its name.
    pub(super) const FILE: &'static str = "signal";

    pub(super) fn new(scene: &Scene<'_>, memory: &'a Shared, wait: Wait) -> Signal<'a> {
        let way = match wait {
            Wait::Spin => Way::Line(0),
            Wait::Adaptive | Wait::Park => Way::Futex(FutexWake::new(memory)),
        };
        Signal { memory, between: scene.between(), way }
    }

    /// What the limit is called.
    pub(super) fn name(wait: Wait) -> &'static str {
        match wait {
            Wait::Spin => "raw cache line, one way",
            Wait::Adaptive | Wait::Park => "raw futex wake, one way",
        }
    }

    /// Sends so many stamps at this pace, and that they were all.
    pub(super) fn send_all(&mut self, stamps: usize, pace: &mut Pace) {
        let mut last = 0;
        for _ in 0..stamps {
            last = pace.wait();
            self.send(last);
        }
        // The end does not overtake the last one.
        while self.memory.word(CAME).load(Ordering::Acquire) != last {
            self.between.looks();
        }
        self.send(END);
    }

    /// Takes stamps until there are no more, and enters how long each took. One that the next overtook while the receiver
    /// was late is entered as what it is: late by more.
    pub(super) fn receive_all(&mut self, interval_ns: u64, into: &mut Distribution) {
        let mut last = None;
        loop {
            let stamp = self.receive();
            if stamp == END {
                return;
            }
            let took = Clock::monotonic_ns().saturating_sub(stamp);
            into.record(took);
            let steps = last.map_or(0, |last| (stamp.saturating_sub(last) + interval_ns / 2) / interval_ns);
            (1..steps).for_each(|earlier| into.record(took + earlier * interval_ns));
            last = Some(stamp);
            self.memory.word(CAME).store(stamp, Ordering::Release);
        }
    }

    fn send(&mut self, stamp: u64) {
        match &self.way {
            Way::Futex(futex) => futex.wake(stamp),
            Way::Line(_) => self.memory.word(LINE).store(stamp, Ordering::Release),
        }
    }

    fn receive(&mut self) -> u64 {
        let seen = match &mut self.way {
            Way::Futex(futex) => return futex.sleep(),
            Way::Line(seen) => seen,
        };
        loop {
            let stamp = self.memory.word(LINE).load(Ordering::Acquire);
            if stamp != *seen {
                *seen = stamp;
                return stamp;
            }
            self.between.looks();
        }
    }
}

/// Streaming with no queue: 64 KiB at a time, through as much memory as the usual ring has.
pub(super) struct Copies<'a> {
    stream: CopyStream<'a>,
    leads: bool,
    message: Vec<u8>,
}

const COPY_SLOTS: usize = 4;
/// Bytes of each copy.
pub(super) const COPY_LEN: usize = 64 << 10;
/// A piece: 16 MiB.
const COPIES: usize = 256;

impl<'a> Copies<'a> {
    /// Bytes of the raw file, all zero.
    pub(super) const LEN: u64 = CopyStream::memory_len(COPY_SLOTS, COPY_LEN) as u64;
    /// Its name.
    pub(super) const FILE: &'static str = "copies";
    /// What the limit is called.
    pub(super) const NAME: &'static str = "memcpy of as many bytes, 64 KiB at a time";

    pub(super) fn new(scene: &Scene<'_>, memory: &'a Shared) -> Copies<'a> {
        let stream = CopyStream::new(memory, COPY_SLOTS, COPY_LEN).with(scene.between());
        Copies { stream, leads: scene.leads(), message: vec![0x5a; COPY_LEN] }
    }

    /// A piece. Nanoseconds for each byte, on the leading side.
    pub(super) fn piece(&mut self) -> f64 {
        let start = Instant::now();
        for _ in 0..COPIES {
            if self.leads {
                self.stream.send(&self.message);
            } else {
                self.stream.receive(&mut self.message);
            }
        }
        start.elapsed().as_nanos() as f64 / (COPIES * COPY_LEN) as f64
    }
}
