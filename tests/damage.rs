//! Bad input, and what it gets: a sentence that names the path, the file and the field, and nothing lost, damaged or
//! brought down. Headers with each field changed, files that are short, replaced, of another version or boot; options
//! and names outside their limits; rights that are missing or too wide; a file system with no room. What lies while
//! others work is in `lies.rs`.
#![expect(unsafe_code, reason = "mount, umask and special files")]

mod support;

use laneway::layout::{self, HEADER_LEN, Header};
use laneway::{Cause, Error, Queue, SendError, Sender, TryRecvError, TrySendError};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use support::{LONG, Part, Role, check, payload, poke, scratch, small_queue};
use tempfile::TempDir;

#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Some(part) = support::role() else { return };
    match part.name.as_str() {
        "open" => match Queue::open(&part.queue) {
            Ok(_) => part.say("opened"),
            Err(error) => part.say(&error.to_string()),
        },
        "open and drop" => open_and_drop(&part),
        "small file system" => small_file_system(&part),
        other => panic!("{other}"),
    }
}

/// A queue with one message in lane 0, which is still there at the end of every story.
fn queue_with_mail(dir: &TempDir) -> Queue {
    let queue = small_queue(dir, 4);
    queue.sender().unwrap().send(b"kept").unwrap();
    queue
}

#[track_caller]
fn has_its_mail(path: &Path) {
    let queue = Queue::open(path).unwrap();
    let receiver = queue.receiver().unwrap();
    let message = receiver.try_recv().unwrap();
    assert_eq!(message.to_vec(), b"kept");
    message.put_back();
}

#[track_caller]
fn says(error: &Error, path: &Path, words: &[&str]) {
    let sentence = error.to_string();
    assert!(sentence.contains(&format!("{path:?}")), "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "`{word}` is not in: {sentence}");
    }
}

const FIELDS: [(&str, usize, usize); 17] = [
    ("magic", offset_of!(Header, magic), 8),
    ("version", offset_of!(Header, version), 4),
    ("kind", offset_of!(Header, kind), 4),
    ("queue_id", offset_of!(Header, queue_id), 16),
    ("boot_id", offset_of!(Header, boot_id), 16),
    ("ring_capacity", offset_of!(Header, ring_capacity), 8),
    ("overflow_limit", offset_of!(Header, overflow_limit), 8),
    ("max_message", offset_of!(Header, max_message), 4),
    ("max_lanes", offset_of!(Header, max_lanes), 4),
    ("fence_mode", offset_of!(Header, fence_mode), 4),
    ("trust", offset_of!(Header, trust), 4),
    ("lane", offset_of!(Header, lane), 4),
    ("priority", offset_of!(Header, priority), 4),
    ("ledger_entries", offset_of!(Header, ledger_entries), 4),
    ("segment_slots", offset_of!(Header, segment_slots), 4),
    ("created_ns", offset_of!(Header, created_ns), 8),
    ("features", offset_of!(Header, features), 8),
];

const FILES: [&str; 4] = ["queue", "bell", "receiver", "lane-000"];

fn header(file: &Path) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    File::open(file).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn sealed(bytes: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    let header: Header = bytemuck::pod_read_unaligned(&bytes);
    let mut sealed = [0; HEADER_LEN];
    sealed.copy_from_slice(bytemuck::bytes_of(&header.sealed()));
    sealed
}

/// What is said of a queue in which one file is damaged: by `open`, or of a lane by an observer.
fn complaint(path: &Path) -> Option<String> {
    match Queue::open(path) {
        Err(error) => {
            assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
            Some(error.to_string())
        }
        Ok(queue) => queue.observe().unwrap().unreadable().next().map(|(lane, sentence)| {
            assert_eq!(lane, 0);
            sentence
        }),
    }
}

#[test]
fn the_fields_here_are_all_the_header_has() {
    let reserved = size_of::<u64>() * 2;
    assert_eq!(FIELDS.iter().map(|(_, _, len)| len).sum::<usize>() + reserved, HEADER_LEN);
}

#[test]
fn every_byte_of_every_header_is_guarded() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    for name in FILES {
        let file = queue.path().join(name);
        let whole = header(&file);
        for byte in 0..HEADER_LEN {
            let mut bytes = whole;
            bytes[byte] ^= 1 << (byte % 8);
            poke(&file, 0, &bytes);
            let said = complaint(queue.path()).unwrap_or_else(|| panic!("byte {byte} of {name} is not guarded"));
            let version = (8..12).contains(&byte);
            let field = if byte < 8 { "magic" } else { "checksum" };
            assert!(if version { said.contains("version") } else { said.contains(field) }, "{byte} of {name}: {said}");
            assert!(version || said.contains(&format!("`{name}`")), "{byte} of {name}: {said}");
        }
        poke(&file, 0, &whole);
        has_its_mail(queue.path());
    }
}

#[test]
fn every_field_that_is_wrong_under_a_right_checksum_is_named() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    for name in FILES {
        let file = queue.path().join(name);
        let whole = header(&file);
        for (field, offset, len) in FIELDS.into_iter().chain([("reserved", offset_of!(Header, reserved), 8)]) {
            for byte in [0, len - 1] {
                let mut bytes = whole;
                bytes[offset + byte] ^= 0x21;
                poke(&file, 0, &sealed(bytes));
                let said = complaint(queue.path()).unwrap_or_else(|| panic!("{field} of {name} is not guarded"));
                let expected = match (name, field) {
                    ("queue", "boot_id") => "before the last boot",
                    (_, "version") => "format version",
                    _ => field,
                };
                assert!(said.contains(expected), "{field} of {name}: {said}");
                // A field that is free to choose shows in the first file that disagrees.
                let free = name == "queue"
                    && ["queue_id", "created_ns", "fence_mode", "max_message", "max_lanes"].contains(&field)
                    || field == "version"
                    || expected != field;
                assert!(free || said.contains(&format!("`{name}`")), "{field} of {name}: {said}");
            }
        }
        poke(&file, 0, &whole);
        has_its_mail(queue.path());
    }
}

#[test]
fn limits_that_are_legal_but_not_those_of_the_queue_are_refused() {
    // Larger ones would be the way to read beyond what was reserved.
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    let file = queue.path().join("queue");
    let whole: Header = bytemuck::pod_read_unaligned(&header(&file));
    for (field, changed) in [
        ("ring_capacity", Header { ring_capacity: 1 << 20, ..whole }),
        ("max_lanes", Header { max_lanes: 1024, ..whole }),
        ("max_message", Header { max_message: 100, ..whole }),
    ] {
        poke(&file, 0, bytemuck::bytes_of(&changed.sealed()));
        says(&Queue::open(queue.path()).unwrap_err(), queue.path(), &[field, "`bell`"]);
    }
    // All files agree, and the one that has grown in their words is too short.
    let changed = Header { max_lanes: 1024, ..whole };
    for (name, kind) in [("queue", layout::FileKind::Queue), ("bell", layout::FileKind::Bell)] {
        poke(queue.path().join(name), 0, bytemuck::bytes_of(&changed.of(kind, 0)));
    }
    poke(queue.path().join("receiver"), 0, bytemuck::bytes_of(&changed.of(layout::FileKind::Receiver, 0)));
    says(&Queue::open(queue.path()).unwrap_err(), queue.path(), &["`receiver`", "size", "266240"]);
}

#[test]
fn another_version_and_another_boot_are_refused_and_can_be_removed() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    let path = queue.path();
    let whole: Header = bytemuck::pod_read_unaligned(&header(&path.join("queue")));
    poke(path.join("queue"), 0, bytemuck::bytes_of(&Header { version: 2, ..whole }.sealed()));
    assert!(Queue::exists(path), "whatever its version, it is one");
    let error = Queue::open(path).unwrap_err();
    assert!(matches!(error.cause(), Cause::Version { found: 2, supported: 1, .. }), "{error}");
    says(&error, path, &["version 2", "version 1"]);
    let error = Queue::open_or_create(path).unwrap_err();
    assert!(matches!(error.cause(), Cause::Version { .. }), "what is there is not replaced: {error}");
    let mut boot_id = whole.boot_id;
    boot_id[3] ^= 0x40;
    poke(path.join("queue"), 0, bytemuck::bytes_of(&Header { boot_id, ..whole }.sealed()));
    let error = Queue::open(path).unwrap_err();
    assert!(matches!(error.cause(), Cause::OtherBoot), "{error}");
    says(&error, path, &["before the last boot", "remove it"]);
    Queue::remove(path).unwrap();
    assert!(!path.exists());
    assert!(matches!(Queue::remove(path).unwrap_err().cause(), Cause::NotFound));
}

#[test]
fn a_truncated_file_is_refused_before_anything_is_mapped() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    for name in FILES {
        let file = queue.path().join(name);
        let whole = fs::read(&file).unwrap();
        for len in [0, 100, HEADER_LEN, whole.len() - 1] {
            OpenOptions::new().write(true).open(&file).unwrap().set_len(len as u64).unwrap();
            let said = complaint(queue.path()).unwrap_or_else(|| panic!("{name} of {len} bytes is accepted"));
            for word in [&format!("`{name}`"), "size", &len.to_string()] {
                assert!(said.contains(word), "{name} of {len} bytes: {said}");
            }
            poke(&file, 0, &whole);
        }
        has_its_mail(queue.path());
    }
    for name in ["bell", "receiver"] {
        fs::rename(queue.path().join(name), queue.path().join("lane-900")).unwrap();
        says(&Queue::open(queue.path()).unwrap_err(), queue.path(), &[&format!("`{name}`")]);
        fs::rename(queue.path().join("lane-900"), queue.path().join(name)).unwrap();
    }
    fs::rename(queue.path().join("queue"), queue.path().join("lane-900")).unwrap();
    assert!(matches!(Queue::open(queue.path()).unwrap_err().cause(), Cause::NotFound));
    fs::rename(queue.path().join("lane-900"), queue.path().join("queue")).unwrap();
    has_its_mail(queue.path());
}

/// Puts something else in a file's place.
fn replace(file: &Path, aside: &Path, with: &str) {
    fs::rename(file, aside).unwrap();
    match with {
        "symbolic link" => symlink(aside, file).unwrap(),
        "link that leads nowhere" => symlink("nowhere", file).unwrap(),
        "directory" => fs::create_dir(file).unwrap(),
        "FIFO" => {
            let name = CString::new(file.as_os_str().as_bytes()).unwrap();
            // SAFETY: mkfifo reads a string that ends in 0.
            assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        }
        "second name" => fs::hard_link(aside, file).unwrap(),
        "copy that others may write" => {
            fs::copy(aside, file).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_not_a_file_of_ours_is_not_used_in_its_place() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    let aside = dir.path().join("aside");
    let kinds =
        ["symbolic link", "link that leads nowhere", "directory", "FIFO", "second name", "copy that others may write"];
    for name in FILES {
        let file = queue.path().join(name);
        for kind in kinds {
            replace(&file, &aside, kind);
            let said = complaint(queue.path()).unwrap_or_else(|| panic!("a {kind} in place of {name} is accepted"));
            assert!(said.contains(&format!("`{name}`")) && said.contains("not to be trusted"), "{kind}: {said}");
            if fs::symlink_metadata(&file).unwrap().is_dir() {
                fs::remove_dir(&file).unwrap();
            }
            fs::rename(&aside, &file).unwrap();
            // Renaming one name of a file onto another one does nothing.
            let _ = fs::remove_file(&aside);
        }
        has_its_mail(queue.path());
    }
    // The queue itself, through a link: its name is not what it says it is.
    symlink(queue.path(), dir.path().join("link")).unwrap();
    let error = Queue::open(dir.path().join("link")).unwrap_err();
    assert!(matches!(error.cause(), Cause::Untrusted { .. }), "{error}");
    fs::write(dir.path().join("file"), b"not a directory").unwrap();
    let error = Queue::open(dir.path().join("file")).unwrap_err();
    says(&error, &dir.path().join("file"), &["not a directory"]);
    let error = Queue::create(dir.path().join("file")).unwrap_err();
    assert!(matches!(error.cause(), Cause::AlreadyExists), "{error}");
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"not a directory");
}

#[test]
fn a_directory_that_others_may_write_or_own_is_not_trusted() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(queue.path(), fs::Permissions::from_mode(mode)).unwrap();
        says(&Queue::open(queue.path()).unwrap_err(), queue.path(), &[&format!("0{mode:o}"), "not to be trusted"]);
    }
    fs::set_permissions(queue.path(), fs::Permissions::from_mode(0o700)).unwrap();
    has_its_mail(queue.path());
    // Somebody else's process: as another user if we can be one, else against a directory that is closed to us too.
    // SAFETY: geteuid touches nothing.
    let root = unsafe { libc::geteuid() } == 0;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (mode, words) in [(0o700, "denied"), (0o755, "belongs to user")] {
        if !root && mode != 0o700 {
            continue;
        }
        fs::set_permissions(queue.path(), fs::Permissions::from_mode(if root { mode } else { 0 })).unwrap();
        let mut role = Role::new("open", queue.path());
        if root {
            role.command().uid(65_534).gid(65_534);
        }
        match role.try_start() {
            Err(error) => eprintln!("skipped: another user cannot run this program: {error}"),
            Ok(mut child) => {
                let said = child.hear().unwrap();
                assert!(said.contains(words) && said.contains(&format!("{:?}", queue.path())), "{said}");
            }
        }
    }
    fs::set_permissions(queue.path(), fs::Permissions::from_mode(0o700)).unwrap();
    has_its_mail(queue.path());
}

#[test]
fn options_outside_their_limits_are_named_with_their_numbers() {
    let dir = scratch();
    let path = dir.path().join("queue");
    let capacities = [0, 1, 100, 2048, 4095, 4097, 6000, (1 << 30) + 1, 1 << 31, 1 << 63, u64::MAX];
    for capacity in capacities {
        let error = Queue::options().capacity(capacity).create(&path).unwrap_err();
        assert!(matches!(error.cause(), Cause::Option { option: "capacity", .. }), "{error}");
        says(&error, &path, &[&capacity.to_string(), "power of two"]);
    }
    for lanes in [0, 1025, u32::MAX] {
        let error = Queue::options().max_lanes(lanes).create(&path).unwrap_err();
        says(&error, &path, &["max_lanes", &lanes.to_string(), "1024"]);
    }
    for max in [0, 4081, 4096, u64::MAX] {
        let options = Queue::options().capacity(4096).overflow_limit(0).max_message(max);
        let error = options.create(&path).unwrap_err();
        says(&error, &path, &["max_message", &max.to_string()]);
    }
    for (limit, max) in [(4096, 4081), (8192, 4081), (65536, 65536 - 4111), (1 << 30, u64::from(u32::MAX))] {
        let options = Queue::options().capacity(4096).overflow_limit(limit).max_message(max);
        says(&options.create(&path).unwrap_err(), &path, &["max_message", &max.to_string()]);
    }
    for limit in [1, 4095, 5000, (1 << 30) + 4096, u64::MAX] {
        let error = Queue::options().overflow_limit(limit).create(&path).unwrap_err();
        says(&error, &path, &["overflow_limit", &limit.to_string(), "4096"]);
    }
    for (low, high) in [(0, 0), (2, 1), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        let error = Queue::options().water_marks(low, high).create(&path).unwrap_err();
        says(&error, &path, &["high_water", &high.to_string()]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of what was refused");
    for (capacity, lanes, max) in [(4096, 1, 1), (4096, 1024, 4080), (1 << 20, 2, (1 << 20) - 16)] {
        let queue = Queue::options().capacity(capacity).max_lanes(lanes).max_message(max).create(&path).unwrap();
        let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
        sender.send(&vec![7; max as usize]).unwrap();
        assert_eq!(receiver.recv().unwrap().len() as u64, max);
        drop((sender, receiver));
        queue.destroy().unwrap();
    }
    for capacity in [1 << 40, u64::MAX] {
        assert!(laneway::pair(capacity).unwrap_err().to_string().contains("capacity"));
    }
}

#[test]
fn a_name_that_could_mean_another_place_or_cannot_be_printed_is_refused() {
    let dir = scratch();
    let long = "x".repeat(201);
    for name in ["", ".", "..", ".hidden", "a/b", "/", "../up", "a\nb", "a\0b", "\x1b[31m", "a\u{85}b", "tab\t", &long]
    {
        let error = laneway::check_name(name).unwrap_err();
        assert!(matches!(error.cause(), Cause::Name { .. }), "{error}");
        assert!(!error.to_string().contains('\n') && !error.to_string().contains('\x1b'), "{error}");
    }
    for name in ["a", "backend", "a b", "ünïcödé", "-", "a..b", &"x".repeat(200)] {
        laneway::check_name(name).unwrap();
    }
    for name in ["..", ".hidden", "a\nb", "sub/..", &long] {
        let path = dir.path().join(name);
        for answer in [Queue::create(&path), Queue::open(&path), Queue::open_or_create(&path)] {
            let error = answer.unwrap_err();
            assert!(matches!(error.cause(), Cause::Name { .. }), "{error}");
        }
        assert!(matches!(Queue::remove(&path).unwrap_err().cause(), Cause::Name { .. }));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(matches!(Queue::open(dir.path().join("none")).unwrap_err().cause(), Cause::NotFound));
    assert!(matches!(Queue::open(dir.path().join("none/none")).unwrap_err().cause(), Cause::NotFound));
}

#[test]
fn a_queue_is_never_made_over_something_nor_removed_with_something_else_in_it() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    let error = Queue::create(queue.path()).unwrap_err();
    assert!(matches!(error.cause(), Cause::AlreadyExists), "{error}");
    has_its_mail(queue.path());
    fs::write(queue.path().join("notes.txt"), b"mine").unwrap();
    says(&Queue::remove(queue.path()).unwrap_err(), queue.path(), &["notes.txt"]);
    says(&queue.clone().destroy().unwrap_err(), queue.path(), &["notes.txt"]);
    has_its_mail(queue.path());
    fs::remove_file(queue.path().join("notes.txt")).unwrap();
    queue.destroy().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_message_that_is_too_long_is_refused_in_every_way_of_sending_and_an_empty_one_is_not() {
    let dir = scratch();
    let queue = Queue::options().capacity(4096).max_message(100).create(dir.path().join("queue")).unwrap();
    let (mut sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let long = [1; 101];
    let (tried, sent) = (TrySendError::TooLarge { len: 101, max: 100 }, SendError::TooLarge { len: 101, max: 100 });
    assert_eq!(sender.try_send(&long), Err(tried));
    assert_eq!(sender.try_send_quietly(&long), Err(tried));
    assert_eq!(sender.try_claim(101).unwrap_err(), tried);
    assert_eq!(sender.send(&long), Err(sent));
    assert_eq!(sender.send_timeout(&long, LONG), Err(sent));
    assert_eq!(sender.claim(101).unwrap_err(), sent);
    assert_eq!(sender.claim(usize::MAX).unwrap_err(), SendError::TooLarge { len: usize::MAX, max: 100 });
    assert_eq!(sender.send_pod(&long), Err(sent));
    let batch = sender.send_batch([&long[..1], &long[..], &long[..2]]).unwrap_err();
    assert_eq!((batch.sent, batch.error), (1, sent));
    assert_eq!(receiver.recv().unwrap().to_vec(), [1]);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(sent.to_string().contains("101") && sent.to_string().contains("100"));
    for _ in 0..2_000 {
        sender.send(b"").unwrap();
        sender.send_pod(&[0u8; 0]).unwrap();
        sender.claim(0).unwrap().commit().unwrap();
        for _ in 0..3 {
            let message = receiver.recv().unwrap();
            assert!(message.is_empty() && message.to_vec().is_empty() && message.read_pod::<[u8; 0]>().is_ok());
            assert!(message.read_pod::<u8>().is_err());
        }
    }
}

#[test]
fn opening_and_dropping_leaks_no_file() {
    let dir = scratch();
    let queue = queue_with_mail(&dir);
    let mut child = Role::new("open and drop", queue.path()).start();
    child.expect("no leak");
    assert!(child.succeeded());
}

fn open_and_drop(part: &Part) {
    let files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = || fs::read_to_string("/proc/self/maps").unwrap().matches(part.queue.to_str().unwrap()).count();
    let before = files();
    for round in 0..2_000 {
        let queue = Queue::open(&part.queue).unwrap();
        if round % 20 == 0 {
            let (sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
            if round == 0 {
                assert!(matches!(queue.receiver().unwrap_err().cause(), Cause::AlreadyReceiving));
            }
            let _ = queue.observe().unwrap().stat().unwrap();
            drop((sender, receiver));
        } else if round % 20 == 10 {
            assert!(Queue::open(part.queue.join("bell")).is_err());
            assert!(Queue::create(&part.queue).is_err());
        }
    }
    assert_eq!((files(), maps()), (before, 0));
    part.say("no leak");
}

#[test]
fn thousands_of_queues_live_under_one_root() {
    let dir = scratch();
    let options = Queue::options().capacity(4096).max_lanes(1);
    for number in 0..1_000 {
        let queue = options.create(dir.path().join(format!("queue-{number:04}"))).unwrap();
        if number % 100 == 0 {
            queue.sender().unwrap().send(&payload(0, number, 16)).unwrap();
        }
    }
    assert!(Queue::exists(dir.path().join("queue-0999")) && !Queue::exists(dir.path().join("queue-1000")));
    let names = Queue::list(dir.path()).unwrap();
    assert_eq!((names.len(), names.first().unwrap().as_str()), (1_000, "queue-0000"));
    assert!(names.is_sorted());
    for number in (0..1_000).step_by(100) {
        let queue = Queue::open(dir.path().join(format!("queue-{number:04}"))).unwrap();
        assert_eq!(check(&queue.receiver().unwrap().recv().unwrap().to_vec()), (0, number));
    }
    for name in names {
        Queue::open(dir.path().join(name)).unwrap().destroy().unwrap();
    }
    assert!(Queue::list(dir.path()).unwrap().is_empty());
    assert!(Queue::list(dir.path().join("nowhere")).unwrap().is_empty());
}

#[test]
fn a_file_system_that_is_full_or_read_only_is_an_error_before_anything_is_lost() {
    let dir = scratch();
    let mut child = Role::new("small file system", dir.path()).start();
    match child.hear().unwrap().as_str() {
        "done" => assert!(child.succeeded()),
        why => eprintln!("skipped: this process may not mount a file system of its own: {why}"),
    }
}

fn small_file_system(part: &Part) {
    let target = CString::new(part.queue.as_os_str().as_bytes()).unwrap();
    let mount = |flags, options: &std::ffi::CStr| {
        let name = c"tmpfs";
        // SAFETY: mount reads strings that end in 0.
        let answer =
            unsafe { libc::mount(name.as_ptr(), target.as_ptr(), name.as_ptr(), flags, options.as_ptr().cast()) };
        if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: from here on, what this thread mounts is its own, and goes with it.
    let alone = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
    };
    if !alone {
        return part.say(&std::io::Error::last_os_error().to_string());
    }
    if let Err(error) = mount(0, c"size=1m,mode=0700") {
        return part.say(&error.to_string());
    }
    let path = part.queue.join("queue");
    // Not even one lane of it has room: said at birth, and nothing is left behind.
    let error = Queue::options().capacity(1 << 20).create(&path).unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSpace { bytes: 1_052_672, .. }), "{error}");
    says(&error, &path, &["lane-000", "1052672", "no room"]);
    assert_eq!(fs::read_dir(&part.queue).unwrap().count(), 0);
    // The lanes come with their senders, and the one that has no room is refused whole.
    let queue = Queue::options().capacity(1 << 18).create(&path).unwrap();
    let mut senders: Vec<Sender> = Vec::new();
    let error = loop {
        match queue.sender() {
            Ok(sender) => senders.push(sender),
            Err(error) => break error,
        }
        assert!(senders.len() < 5, "there is room for only three");
    };
    assert!(matches!(error.cause(), Cause::NoSpace { .. }), "{error}");
    says(&error, &path, &[&format!("lane-{:03}", senders.len()), "266240"]);
    let receiver = queue.receiver().unwrap();
    for sender in &mut senders {
        // To the last byte: what was reserved is there.
        for number in 0..300 {
            sender.send(&payload(0, number, 3000)).unwrap();
            assert_eq!(check(&receiver.recv().unwrap().to_vec()), (0, number));
        }
    }
    senders[0].send(b"kept").unwrap();
    drop((senders, receiver));
    drop(queue);
    mount(libc::MS_REMOUNT | libc::MS_RDONLY, c"size=1m,mode=0700").unwrap();
    let queue = Queue::open(&path).unwrap();
    for error in [queue.sender().unwrap_err(), queue.receiver().unwrap_err()] {
        says(&error, &path, &["Read-only file system"]);
    }
    says(&Queue::create(part.queue.join("new")).unwrap_err(), &part.queue.join("new"), &["Read-only file system"]);
    assert!(
        queue.observe().unwrap().peek(9).unwrap().iter().any(|seen| seen.payload == b"kept"),
        "it can be looked at"
    );
    mount(libc::MS_REMOUNT, c"size=1m,mode=0700").unwrap();
    has_its_mail(&path);
    part.say("done");
}
