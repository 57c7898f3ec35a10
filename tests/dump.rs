//! The post-mortem: what a dump finds in sound files, in damaged ones, in some that are missing, cut off or of somebody else; and that
//! it always ends, whatever the bytes are. Cannot see whether what it says of damage is what a person would say.

mod support;

use laneway::dump::{self, Item, Options};
use laneway::mailbox::{Post, State};
use laneway::{OnFull, Queue, layout};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::convert::Infallible;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use support::{payload, poke, scratch};

fn items(path: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let Ok(()) = dump::read(path, &Options { payload: usize::MAX }, |item| {
        items.push(item);
        Ok::<(), Infallible>(())
    });
    items
}

fn problems(items: &[Item]) -> Vec<&str> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Problem { text } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn complains(items: &[Item], parts: &[&str]) {
    let found = problems(items);
    for part in parts {
        assert!(found.iter().any(|text| text.contains(part)), "nothing says {part:?}: {found:?}");
    }
}

fn payloads(items: &[Item]) -> Vec<(bool, Vec<u8>)> {
    let records = items.iter().filter_map(|item| match item {
        Item::Record { kind: "data", released, payload, .. } => Some((*released, payload.clone())),
        _ => None,
    });
    records.collect()
}

fn ends(items: &[Item]) -> Vec<(u64, bool, &str)> {
    let ends = items.iter().filter_map(|item| match item {
        Item::End { position, sound, why } => Some((*position, *sound, why.as_str())),
        _ => None,
    });
    ends.collect()
}

fn word(items: &[Item], slot: Option<u32>, name: &str) -> u64 {
    let found = items.iter().find_map(|item| match item {
        Item::Word { slot: of, name: is, value, .. } if *of == slot && is == name => Some(*value),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("there is no word {name} of {slot:?}"))
}

/// A queue with two lanes, pads, a gap and segments, of which some was received. Its senders are gone.
fn rich(root: &Path) -> PathBuf {
    let path = root.join("rich");
    let queue = Queue::options().capacity(4096).overflow_limit(64 << 10).max_lanes(4).create(&path).unwrap();
    let mut one = queue.sender_options().on_full(OnFull::GrowThenDrop).attach().unwrap();
    let mut two = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    for number in 0..200 {
        two.send(&payload(2, number, 50)).unwrap();
        receiver.recv().unwrap().release();
    }
    for number in 0..400 {
        let _ = one.send(&payload(1, number, 300));
        if number == 390 {
            (0..100).for_each(|_| receiver.recv().unwrap().release());
        }
    }
    path
}

#[test]
fn everything_that_is_in_a_sound_queue_is_told() {
    let dir = scratch();
    let path = rich(dir.path());
    let before: Vec<_> = files(&path);
    let found = items(&path);
    assert_eq!(problems(&found), [] as [&str; 0]);
    assert!(matches!(&found[0], Item::Directory { path } if path.ends_with("rich")));
    let names: Vec<&str> = found
        .iter()
        .filter_map(|item| match item {
            Item::File { name, .. } | Item::Lock { name, held: false, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let all = ["queue", "bell", "receiver", "lane-000", "lane-001", "lane-000.lock", "lane-001.lock", "receiver.lock"];
    assert_eq!(names, all);
    // As the observer has it.
    let queue = Queue::open(&path).unwrap();
    let mut observer = queue.observe().unwrap();
    for lane in observer.lanes().unwrap() {
        assert_eq!(word(&found, Some(lane.lane), "read_pos"), lane.read_pos);
        assert_eq!(word(&found, Some(lane.lane), "received"), lane.received);
    }
    let pending: Vec<Vec<u8>> =
        payloads(&found).into_iter().filter(|(released, _)| !released).map(|(_, payload)| payload).collect();
    let peeked: Vec<Vec<u8>> = observer.peek(usize::MAX).unwrap().into_iter().map(|peeked| peeked.payload).collect();
    assert_eq!(pending, peeked);
    assert!(peeked.len() > 100);
    assert!(payloads(&found).iter().any(|(released, _)| *released), "what was released is there still");
    let kinds =
        |wanted| found.iter().filter(|item| matches!(item, Item::Record { kind, .. } if *kind == wanted)).count();
    assert!(kinds("jump") > 0 && kinds("gap") > 0 && kinds("pad") > 0);
    assert!(found.iter().any(|item| matches!(item, Item::Segment { possible: true, .. })));
    assert_eq!(ends(&found).iter().filter(|(_, sound, _)| *sound).count(), 2);
    assert!(before == files(&path), "it changed a file");
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (path, bytes) in files(from) {
        fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
    }
}

#[test]
fn a_copy_and_each_file_alone_say_the_same() {
    let dir = scratch();
    let path = rich(dir.path());
    let held = Queue::open(&path).unwrap();
    let _receiver = held.receiver().unwrap();
    let locks = |items: &[Item]| items.iter().filter(|item| matches!(item, Item::Lock { held: true, .. })).count();
    let whole = items(&path);
    assert_eq!(locks(&whole), 1, "somebody receives");
    let copied = dir.path().join("copy");
    copy(&path, &copied);
    let found = items(&copied);
    assert_eq!((problems(&found), locks(&found)), (vec![], 0));
    assert_eq!(payloads(&found), payloads(&whole));
    let alone = items(&copied.join("lane-000"));
    complains(&alone, &["the receiver's position is not known"]);
    let mut sent: Vec<Vec<u8>> = payloads(&alone).into_iter().map(|(_, payload)| payload).collect();
    let lane = |records: Vec<(bool, Vec<u8>)>| {
        records.into_iter().map(|(_, payload)| payload).filter(|payload| payload[0] == 1)
    };
    assert_eq!(sent, lane(payloads(&whole)).collect::<Vec<_>>());
    // Whatever it is called, and when a link leads there.
    let other = dir.path().join(std::ffi::OsString::from_vec(b"no \xff text".to_vec()));
    fs::copy(copied.join("lane-000"), &other).unwrap();
    let link = dir.path().join("link");
    symlink(&other, &link).unwrap();
    sent.truncate(5);
    assert_eq!(payloads(&items(&link)).into_iter().map(|(_, payload)| payload).take(5).collect::<Vec<_>>(), sent);
}

#[test]
fn damage_is_told_where_it_is_and_the_dump_goes_on() {
    let dir = scratch();
    let path = rich(dir.path());
    let whole = payloads(&items(&path)).len();
    let spoil = |name: &str, spoil: &dyn Fn(&Path)| {
        let copied = dir.path().join(name);
        copy(&path, &copied);
        spoil(&copied);
        items(&copied)
    };
    // Another version, another boot, a byte of the header: all records are there.
    let version = spoil("version", &|path| poke(path.join("lane-000"), 8, &[2]));
    complains(&version, &["format version 2", "checksum"]);
    let boot = spoil("boot", &|path| {
        for (name, kind, lane) in [("queue", layout::FileKind::Queue, 0), ("lane-000", layout::FileKind::Lane, 0)] {
            let bytes = fs::read(path.join(name)).unwrap();
            let header: layout::Header = bytemuck::pod_read_unaligned(&bytes[..layout::HEADER_LEN]);
            let header = layout::Header { boot_id: [7; 16], ..header.of(kind, lane) }.sealed();
            poke(path.join(name), 0, bytemuck::bytes_of(&header));
        }
    });
    complains(&boot, &["another boot", "its boot_id is"]);
    let limits = spoil("limits", &|path| poke(path.join("lane-001"), 48, &[0xff; 8]));
    complains(&limits, &["checksum", "its limits are", "its ring_capacity is"]);
    for found in [version, boot, limits] {
        assert_eq!(payloads(&found).len(), whole);
    }
    // Files that are gone, or are something else.
    let gone = spoil("gone", &|path| {
        fs::remove_file(path.join("receiver")).unwrap();
        fs::remove_file(path.join("queue")).unwrap();
        fs::write(path.join("bell"), "garbage").unwrap();
        fs::write(path.join(std::ffi::OsString::from_vec(b"\xff".to_vec())), "").unwrap();
        fs::remove_file(path.join("lane-001")).unwrap();
        fs::create_dir(path.join("lane-001")).unwrap();
    });
    complains(
        &gone,
        &[
            "no file `receiver`",
            "no file `queue`",
            "less than a header",
            "\\xFF",
            "`lane-001` cannot be read",
            "position is not known",
        ],
    );
    assert!(!payloads(&gone).is_empty(), "lane 0 can be read");
    let nothing = items(&dir.path().join("nowhere"));
    complains(&nothing, &["cannot be read"]);
    // A lane that is cut off.
    let cut = spoil("cut", &|path| {
        fs::File::options().write(true).open(path.join("lane-000")).unwrap().set_len(4096 + 1000).unwrap();
    });
    complains(&cut, &["and should have"]);
    assert!(ends(&cut).iter().any(|(_, sound, why)| !sound && why.contains("the file ends at byte 5096")));
    // A record that is none: what stands before it is told.
    let record = items(&path)
        .into_iter()
        .filter_map(|item| match item {
            Item::Record { position, offset, released: false, kind: "data", .. } => Some((position, offset)),
            _ => None,
        })
        .nth(20)
        .unwrap();
    let spoilt = spoil("record", &|path| poke(path.join("lane-000"), record.1 as usize + 4, &[9]));
    assert!(
        ends(&spoilt)
            .iter()
            .any(|(at, sound, why)| *at == record.0 && !sound && why.contains("no record is of this kind"))
    );
}

#[test]
fn a_mailbox_is_told_with_its_ledger() {
    let dir = scratch();
    let post = Post::open(dir.path());
    let mut mailbox = post.mailbox("box").unwrap();
    let ticket = mailbox.send(b"one").unwrap();
    mailbox.send(b"two").unwrap();
    let inbox = post.serve("box").unwrap();
    inbox.recv().unwrap().ack();
    assert_eq!(mailbox.status(&ticket).unwrap().state, State::Acked);
    inbox.recv().unwrap().nack().unwrap();
    let found = items(&dir.path().join("box"));
    assert_eq!(problems(&found), [] as [&str; 0]);
    let directories: Vec<&Path> = found
        .iter()
        .filter_map(|item| match item {
            Item::Directory { path } => Some(path.as_path()),
            _ => None,
        })
        .collect();
    assert!(directories.iter().any(|path| path.ends_with("box/mail")));
    assert!(directories.iter().any(|path| path.ends_with("box/retry")));
    let states: Vec<State> = found
        .iter()
        .filter_map(|item| match item {
            Item::Entry { state, message: Some(_), .. } => Some(*state),
            _ => None,
        })
        .collect();
    assert!(states.contains(&State::Acked) && states.contains(&State::Pending), "{states:?}");
}

#[test]
fn whatever_the_bytes_are_a_dump_ends_and_says_no_more_than_there_is_room_for() {
    let dir = scratch();
    let sound = rich(dir.path());
    let sound = files(&sound);
    let path = dir.path().join("spoilt");
    fs::create_dir(&path).unwrap();
    // Where words stand that a dump believes, and anywhere.
    let place = prop_oneof![
        3 => 0..128_usize,
        2 => (256..448_usize).prop_map(|at| at & !7),
        3 => (1024..1400_usize).prop_map(|at| at & !7),
        2 => (4096..4096 + 1024_usize).prop_map(|at| at & !7),
        3 => 0..100_000_usize,
    ];
    let value = prop_oneof![
        Just(0_u64),
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(layout::POSITION_LIMIT - 8),
        any::<u64>(),
        0_u64..1 << 20,
    ];
    let change = (any::<prop::sample::Index>(), place, value, 1..9_usize);
    let changes = prop::collection::vec(change, 0..6);
    let cut = prop::option::of((any::<prop::sample::Index>(), 0..100_000_usize));
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) });
    let run = runner.run(&(changes, cut, any::<bool>()), |(changes, cut, reseal)| {
        let mut files = sound.clone();
        for (which, at, value, len) in changes {
            let bytes = &mut which.get_mut(&mut files[..]).1;
            for (at, byte) in (at..).zip(&value.to_le_bytes()[..len.min(8)]) {
                if let Some(to) = bytes.get_mut(at) {
                    *to = *byte;
                }
            }
            // A header that lies and whose checksum is right.
            if reseal && bytes.len() >= layout::HEADER_LEN {
                let header: layout::Header = bytemuck::pod_read_unaligned(&bytes[..layout::HEADER_LEN]);
                bytes[..layout::HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header.sealed()));
            }
        }
        if let Some((which, len)) = cut {
            which.get_mut(&mut files[..]).1.truncate(len);
        }
        for (name, bytes) in &files {
            fs::write(path.join(name.file_name().unwrap()), bytes).unwrap();
        }
        let found = items(&path);
        let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
        // Each lane is walked twice at most, and a record takes 8 bytes at least; a receiver has up to 1,024 slots.
        prop_assert!(found.len() < bytes / 4 + 20_000, "{} items of {bytes} bytes", found.len());
        Ok(())
    });
    run.unwrap();
    // And each file by itself, of bytes that are nothing.
    let file = dir.path().join("file");
    let noise = prop::collection::vec(any::<u8>(), 0..9000);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) });
    let run = runner.run(&(noise, any::<bool>()), |(mut noise, begins_well)| {
        if begins_well && noise.len() > 16 {
            noise[..8].copy_from_slice(b"LANEWAY1");
            let kind = noise[12] % 8;
            noise[8..16].copy_from_slice(&[1, 0, 0, 0, kind, 0, 0, 0]);
        }
        fs::write(&file, &noise).unwrap();
        prop_assert!(!items(&file).is_empty());
        Ok(())
    });
    run.unwrap();
}
