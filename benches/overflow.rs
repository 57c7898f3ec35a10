//! What it costs when the receiver falls behind: streaming through segments beside streaming in the ring, a burst beside a
//! ring that holds it whole, and a send that may grow beside one that may not. Two pinned threads, each with its own
//! mapping of the files; the pieces of all arrangements take turns.
//!
//! `cargo bench --bench overflow`, or `-- --pieces 101` for more of everything.
#![allow(missing_docs, reason = "a program")]

use laneway::{OnFull, Options, Queue, Receiver, Sender, Wait};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

const LEN: usize = 1024;
const STREAM: usize = 20_000;
const BURST: usize = 8_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let root =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).expect("a directory");
    measure(root.path(), after("--pieces").and_then(|pieces| pieces.parse().ok()).unwrap_or(31));
}

/// One way to stream.
struct Arrangement {
    name: &'static str,
    sender: Sender,
    receiver: Receiver,
    observed: Queue,
    /// Nanoseconds a message.
    pieces: Vec<f64>,
}

impl Arrangement {
    fn new(root: &Path, name: &'static str, options: &Options, on_full: OnFull) -> Arrangement {
        let queue = options.create(root.join(name)).expect("a queue");
        let (mut sender, receiver) = (queue.sender().expect("a lane"), queue.receiver().expect("a receiver"));
        sender.set_on_full(on_full);
        sender.set_wait(Wait::Spin);
        receiver.set_wait(Wait::Spin);
        Arrangement { name, sender, receiver, observed: queue, pieces: Vec::new() }
    }

    /// Both at once.
    fn stream(&mut self) {
        let Arrangement { sender, receiver, .. } = self;
        let (begin, payload) = (Barrier::new(2), [7; LEN]);
        let nanoseconds = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                pin(1);
                begin.wait();
                receive(receiver, STREAM);
            });
            pin(0);
            begin.wait();
            let started = Instant::now();
            for _ in 0..STREAM {
                sender.send(&payload).expect("it is sent");
            }
            reader.join().expect("it was received");
            started.elapsed().as_nanos()
        });
        self.pieces.push(nanoseconds as f64 / STREAM as f64);
    }

    /// One after the other.
    fn burst(&mut self) {
        pin(0);
        let payload = [7; LEN];
        let started = Instant::now();
        for _ in 0..BURST {
            self.sender.send(&payload).expect("it is sent");
        }
        receive(&mut self.receiver, BURST);
        self.pieces.push(started.elapsed().as_nanos() as f64 / BURST as f64);
    }

    fn print(&self, limit: &Arrangement) {
        let most = self.observed.observe().and_then(|mut observer| observer.lanes()).expect("it can be seen");
        // Piece by piece: neighbours in time share the host's mood.
        let ratios: Vec<f64> = limit.pieces.iter().zip(&self.pieces).map(|(theirs, ours)| theirs / ours).collect();
        println!(
            "{:<30} {:>5.0} ns a message ({:.0}-{:.0}); throughput {:.2} of the first's ({:.2}-{:.2}); {} KiB waited at most",
            self.name,
            quantile(&self.pieces, 0.5),
            quantile(&self.pieces, 0.25),
            quantile(&self.pieces, 0.75),
            quantile(&ratios, 0.5),
            quantile(&ratios, 0.25),
            quantile(&ratios, 0.75),
            most[0].high_water_bytes >> 10,
        );
    }
}

fn receive(receiver: &mut Receiver, count: usize) {
    let mut copy = [0; LEN];
    for _ in 0..count {
        receiver.recv().expect("it comes").copy_to(&mut copy);
        black_box(&copy);
    }
}

fn measure(root: &Path, pieces: usize) {
    let options = || Queue::options().max_lanes(1);
    let in_ring = options().capacity(256 << 10).overflow_limit(0);
    let defaults = options().capacity(256 << 10);
    let small = options().capacity(32 << 10).overflow_limit(4 << 20);
    let as_large = options().capacity(4 << 20).overflow_limit(0);
    let large = options().capacity(16 << 20).overflow_limit(0);
    let grown = options().capacity(256 << 10).overflow_limit(16 << 20);
    let mut streams = [
        Arrangement::new(root, "stream, ring of 256 KiB", &in_ring, OnFull::Block),
        Arrangement::new(root, "stream, ring of 4 MiB", &as_large, OnFull::Block),
        Arrangement::new(root, "stream, may grow", &defaults, OnFull::GrowThenBlock),
        Arrangement::new(root, "stream, ring of 32 KiB grows", &small, OnFull::GrowThenBlock),
    ];
    let mut bursts = [
        Arrangement::new(root, "burst of 8 MiB, ring of 16 MiB", &large, OnFull::Block),
        Arrangement::new(root, "burst of 8 MiB, 256 KiB grow", &grown, OnFull::GrowThenBlock),
    ];
    for _ in 0..pieces {
        streams.iter_mut().for_each(Arrangement::stream);
        bursts.iter_mut().for_each(Arrangement::burst);
    }
    streams.iter().for_each(|arrangement| arrangement.print(&streams[0]));
    bursts.iter().for_each(|arrangement| arrangement.print(&bursts[0]));
}

fn pin(processor: usize) {
    let mut set = CpuSet::new();
    // Where there is one processor only, both share it, and the figures say so.
    if set.set(processor).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).is_err() {
        eprintln!("processor {processor} is not to be had: not pinned");
    }
}

fn quantile(pieces: &[f64], at: f64) -> f64 {
    let mut sorted = pieces.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * at) as usize]
}
