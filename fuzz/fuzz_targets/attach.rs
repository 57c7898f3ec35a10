//! Arbitrary bytes, sizes and headers in the files of a real queue, at rest; then everybody attaches. What is damaged in
//! `queue`, `bell` or `receiver` may cost the queue; what is damaged in a lane costs that lane.
#![no_main]

use laneway::layout::{HEADER_LEN, Header};
use laneway::{OnFull, Queue, Receiver, TryRecvError};
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The files, and how many of them are everybody's.
const FILES: [&str; 5] = ["queue", "bell", "receiver", "lane-000", "lane-001"];
const COMMON: u8 = 3;

#[derive(Debug, Arbitrary)]
struct Harm {
    file: u8,
    what: What,
}

#[derive(Debug, Arbitrary)]
enum What {
    Bytes(u16, Vec<u8>),
    Word(u16, u64),
    Length(u16),
    /// A field of the header, under a checksum that is right.
    Field(u8, u32),
}

/// A queue with a message in each of two lanes, and what its files hold.
struct Template {
    queue: PathBuf,
    files: Vec<(File, Vec<u8>)>,
}

impl Template {
    fn new() -> Template {
        let shm = PathBuf::from("/dev/shm");
        let root = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let path = root.join(format!("laneway-fuzz-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let options = Queue::options().capacity(4096).overflow_limit(8192).max_message(4080).max_lanes(3);
        let queue = options.create(&path).expect("there is room for a queue");
        // Both lanes, whole: a number is given to the first that comes.
        let mut senders = [queue.sender().unwrap(), queue.sender().unwrap()];
        for sender in &mut senders {
            sender.send(b"kept").unwrap();
        }
        drop(senders);
        let open = |name: &str| File::options().read(true).write(true).open(path.join(name)).unwrap();
        let files = FILES.map(|name| (open(name), fs::read(path.join(name)).unwrap()));
        Template { queue: path, files: files.into() }
    }

    /// All files as they were, and none besides.
    fn restore(&self) {
        for (file, bytes) in &self.files {
            file.set_len(bytes.len() as u64).unwrap();
            file.write_all_at(bytes, 0).unwrap();
        }
        for extra in ["lane-002", "lane-002.lock"] {
            let _ = fs::remove_file(self.queue.join(extra));
        }
    }

    fn harm(&self, Harm { file, what }: &Harm) {
        let (file, bytes) = &self.files[usize::from(*file) % FILES.len()];
        match what {
            What::Bytes(at, bytes) => file.write_all_at(bytes, (at % 12288).into()).unwrap(),
            What::Word(at, word) => file.write_all_at(&word.to_le_bytes(), u64::from(at % 2048) * 8).unwrap(),
            What::Length(len) => file.set_len((len % 12288).into()).unwrap(),
            What::Field(at, value) => {
                let mut header = [0; HEADER_LEN];
                header.copy_from_slice(&bytes[..HEADER_LEN]);
                let at = usize::from(*at) % (HEADER_LEN / 4) * 4;
                header[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let header: Header = bytemuck::pod_read_unaligned(&header);
                file.write_all_at(bytemuck::bytes_of(&header.sealed()), 0).unwrap();
            }
        }
    }
}

thread_local!(static TEMPLATE: RefCell<Option<Template>> = const { RefCell::new(None) });

fuzz_target!(|harms: Vec<Harm>| {
    TEMPLATE.with_borrow_mut(|template| {
        let template = template.get_or_insert_with(Template::new);
        template.restore();
        harms.iter().take(8).for_each(|harm| template.harm(harm));
        let harmed = |file: u8| harms.iter().take(8).any(|harm| harm.file % FILES.len() as u8 == file);
        let common = (0..COMMON).any(harmed);
        match Queue::open(&template.queue) {
            Err(error) => assert!(common, "{error}"),
            Ok(queue) => use_it(&queue, [3, 4].map(|lane| !common && !harmed(lane))),
        }
    });
});

/// Reads what is there; of a lane that is `sound` the message that was kept.
fn use_it(queue: &Queue, sound: [bool; 2]) {
    if let Ok(mut observer) = queue.observe() {
        let _ = (
            observer.stat(),
            observer.lanes(),
            observer.depth_bytes(),
            observer.peek(8),
            observer.unreadable().count(),
        );
    }
    let Ok(receiver) = queue.receiver() else {
        return assert_eq!(sound, [false; 2], "one lane must not keep the receiver out");
    };
    let mut kept = [0; 2];
    receive(&receiver, &mut kept);
    for (lane, kept) in kept.into_iter().enumerate() {
        assert!(!sound[lane] || kept == 1, "lane {lane} is sound and its message came {kept} times");
    }
    // One lane has never been made, so there is always one for whoever comes.
    if let Ok(mut sender) = queue.sender() {
        sender.set_on_full(OnFull::GrowThenFail);
        for len in [5, 4080, 300, 4000] {
            let _ = sender.try_send(&[9; 4080][..len]);
        }
        sender.trim();
    }
    let _ = queue.trim();
    let drained = receiver.drain().map(|drain| drain.take(1 << 14).count());
    assert!(drained.is_err() || drained.is_ok_and(|count| count < 1 << 14), "a drain does not end");
    receive(&receiver, &mut kept);
    let _ = (receiver.damage(), receiver.pressure(), receiver.dropped());
}

fn receive(receiver: &Receiver, kept: &mut [usize; 2]) {
    for _ in 0..1 << 14 {
        match receiver.try_recv() {
            Ok(message) => {
                let is_kept = message.to_vec() == b"kept";
                let lane = message.lane() as usize;
                kept.iter_mut().skip(lane).take(1).for_each(|kept| *kept += usize::from(is_kept));
            }
            Err(TryRecvError::Corrupt(_)) => {}
            Err(_) => return,
        }
    }
    panic!("receiving does not end");
}
