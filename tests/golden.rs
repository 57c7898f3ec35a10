//! A queue that version 1 wrote opens, and its messages are there. Its boot was another one, which is the first thing
//! that is seen; for the rest the copy is given the current boot. Cannot see words that version 1 reserves.

use bytemuck::Zeroable;
use laneway::layout::{HEADER_LEN, Header};
use laneway::{Cause, Queue};
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

const MESSAGES: [&[u8]; 4] = [b"written by version 1", b"", &[7; 48], &[9; 300]];

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A copy of the golden queue with a queue's permissions.
fn copy(to: &Path) {
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(golden()).unwrap() {
        let from = entry.unwrap().path();
        let copy = to.join(from.file_name().unwrap());
        fs::copy(from, &copy).unwrap();
        fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn current_boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    u128::from_str_radix(text.replace('-', "").trim(), 16).unwrap().to_be_bytes()
}

fn give_boot(directory: &Path, boot_id: [u8; 16]) {
    for name in ["queue", "bell", "receiver", "lane-000"] {
        let file = File::options().read(true).write(true).open(directory.join(name)).unwrap();
        let mut header = Header::zeroed();
        file.read_exact_at(bytemuck::bytes_of_mut(&mut header), 0).unwrap();
        let header = Header { boot_id, ..header }.sealed();
        assert_eq!(bytemuck::bytes_of(&header).len(), HEADER_LEN);
        file.write_all_at(bytemuck::bytes_of(&header), 0).unwrap();
    }
}

#[test]
fn a_queue_that_version_1_wrote_opens_once_its_boot_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden");
    copy(&path);
    assert!(matches!(Queue::open(&path).unwrap_err().cause(), Cause::OtherBoot));

    give_boot(&path, current_boot());
    let queue = Queue::open(&path).unwrap();
    assert_eq!((queue.capacity(), queue.max_lanes(), queue.max_message()), (4096, 2, 1000));
    let receiver = queue.receiver().unwrap();
    // The first one had been released.
    let rest: Vec<Vec<u8>> = receiver.try_iter().map(|message| message.to_vec()).collect();
    assert_eq!(rest, MESSAGES[1..]);
    let mut sender = queue.sender().unwrap();
    assert_eq!(sender.lane(), 0);
    sender.send(b"and by this one").unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"and by this one");
}

/// Writes `tests/golden` anew; only for a new version of the format: `cargo test --test golden -- --ignored`.
#[test]
#[ignore = "writes the golden queue instead of reading it"]
fn write_the_golden_queue() {
    let _ = fs::remove_dir_all(golden());
    let queue = Queue::options().capacity(4096).max_lanes(2).max_message(1000).create(golden()).unwrap();
    let mut sender = queue.sender().unwrap();
    for message in MESSAGES {
        sender.send(message).unwrap();
    }
    queue.receiver().unwrap().recv().unwrap().release();
    give_boot(&golden(), [0; 16]);
}
