//! What is not a queue, or not a sound one, or not ours.

use crate::support::Root;
use laneway::Queue;
use laneway::layout::{self, HEADER_LEN, Header};
use nix::unistd::geteuid;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Where a lane's file says of what kind its first record is.
const KIND: u64 = layout::RING as u64 + 4;

/// Changes one byte.
fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x55], at).expect("written");
}

#[test]
fn names_that_could_be_something_else_are_refused() {
    let root = Root::new();
    let long = "x".repeat(201);
    for (name, why) in [
        ("", "empty"),
        (".", "dot"),
        ("..", "dot"),
        (".hidden", "dot"),
        ("a\nb", "control"),
        ("a\u{1b}[31mb", "control"),
        (&long, "200"),
    ] {
        for command in ["create", "send", "recv", "drain", "stat", "rm"] {
            let done = root.run_with([command, name], b"");
            assert!(!done.stderr.contains('\u{1b}'), "a name is not written to the terminal as it is");
            done.refused(&["name", why]);
        }
    }
    root.run([OsStr::new("create"), OsStr::from_bytes(b"\xff")]).refused(&["name", "UTF-8"]);
    root.run(["create", "a/.."]).refused(&["a/.."]);
    assert_eq!(root.path().read_dir().expect("the root").count(), 0, "nothing was made");
}

#[test]
fn limits_out_of_range_are_named() {
    let root = Root::new();
    for (option, value, rule) in [
        ("--capacity", "0", "power of two"),
        ("--capacity", "5000", "power of two"),
        ("--capacity", "2K", "4096"),
        ("--capacity", "2G", "1073741824"),
        ("--max-lanes", "0", "1024"),
        ("--max-lanes", "1025", "1024"),
        ("--max-message", "0", "at least 1"),
        ("--max-message", "1G", "16 less"),
    ] {
        root.run(["create", "q", option, value]).refused(&["/q", &option[2..].replace('-', "_"), rule]);
    }
    assert_eq!(root.path().read_dir().expect("the root").count(), 0, "nothing was made");
}

#[test]
fn what_is_no_queue_is_left_alone() {
    let root = Root::new();
    fs::write(root.queue("file"), "text").expect("written");
    fs::create_dir(root.queue("directory")).expect("made");
    fs::write(root.queue("directory").join("letter"), "dear").expect("written");
    for (name, why) in [("file", "directory"), ("directory", "queue")] {
        for command in [&["send", name, "x"][..], &["recv", name], &["drain", name], &["stat", name], &["rm", name]] {
            root.run(command).refused(&[&format!("/{name}"), why]);
        }
    }
    assert_eq!(fs::read_to_string(root.queue("file")).expect("still there"), "text");
    assert_eq!(fs::read_to_string(root.queue("directory").join("letter")).expect("still there"), "dear");
}

#[test]
fn every_scribbled_byte_of_a_header_is_found() {
    let root = Root::new();
    root.run(["send", "q", "kept"]).ok();
    for file in ["queue", "bell", "receiver"] {
        let path = root.queue("q").join(file);
        for at in (0..HEADER_LEN as u64).step_by(4) {
            flip(&path, at);
            // A file of another version is not wrong, and which one it is does not matter.
            root.run(["stat", "q"]).refused(&["/q", if at == 8 { "version" } else { file }]);
            flip(&path, at);
        }
    }
    assert_eq!(root.run(["drain", "q"]).ok(), "kept\n");
}

#[test]
fn truncated_files_are_refused_with_the_numbers() {
    let root = Root::new();
    for (file, len) in [("queue", 0), ("queue", 100), ("bell", 0), ("bell", 200), ("receiver", 1000)] {
        let name = format!("{file}-{len}");
        root.run(["send", &name, "x"]).ok();
        let path = root.queue(&name).join(file);
        OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("truncated");
        root.run(["recv", &name]).refused(&[&name, file, "size", &format!("{len} bytes")]);
    }
}

#[test]
fn a_damaged_lane_does_not_keep_the_others() {
    for command in [&["recv", "q"][..], &["drain", "q"]] {
        for (at, what) in [(40, "header"), (KIND, "lane 0 is damaged at position 0")] {
            let root = Root::new();
            let queue = Queue::create(root.queue("q")).expect("a queue");
            let (mut bad, mut good) = (queue.sender().expect("attached"), queue.sender().expect("attached"));
            bad.send(b"out of reach").expect("sent");
            good.send(b"sound").expect("sent");
            flip(&root.queue("q").join("lane-000"), at);
            let done = root.run(command);
            assert!(done.code == Some(2) && done.stdout == b"sound\n", "{done:?}");
            assert!(["/q", "lane 0", what].iter().all(|part| done.stderr.contains(part)), "{what}: {done:?}");
            // It was said once; what comes through the other lane is not held against it.
            good.send(b"later").expect("sent");
            if at != 40 {
                assert_eq!(root.run(command).ok(), "later\n");
                assert!(root.run(["stat", "q"]).ok().contains("retired"));
            }
        }
    }
}

#[test]
fn another_boot_and_another_version_are_refused_and_can_be_removed() {
    let root = Root::new();
    for (name, change, why) in [
        ("boot", (|header: &mut Header| header.boot_id[0] ^= 1) as fn(&mut Header), "boot"),
        ("version", |header| header.version = 99, "99"),
    ] {
        root.run(["create", name]).ok();
        let path = root.queue(name).join("queue");
        let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
        let mut bytes = [0; HEADER_LEN];
        file.read_exact_at(&mut bytes, 0).expect("a header");
        let mut header: Header = bytemuck::pod_read_unaligned(&bytes);
        change(&mut header);
        file.write_all_at(bytemuck::bytes_of(&header.sealed()), 0).expect("written");
        root.run(["recv", name]).refused(&[name, why]);
        root.run(["send", name, "x"]).refused(&[name, why]);
        root.run(["rm", name]).ok();
        assert!(!root.queue(name).exists());
    }
}

#[test]
fn a_second_receiver_and_one_sender_too_many_are_refused() {
    let root = Root::new();
    let queue = Queue::options().max_lanes(1).create(root.queue("q")).expect("a queue");
    let (_receiver, _sender) = (queue.receiver().expect("attached"), queue.sender().expect("attached"));
    root.run(["recv", "q"]).refused(&["/q", "already receives"]);
    root.run(["drain", "q"]).refused(&["/q", "already receives"]);
    root.run(["send", "q", "x"]).refused(&["/q", "1 lanes"]);
}

#[test]
fn links_and_open_doors_are_not_trusted() {
    let root = Root::new();
    root.run(["create", "q"]).ok();
    symlink(root.queue("q"), root.queue("link")).expect("linked");
    root.run(["recv", "link"]).refused(&["/link", "symbolic link"]);
    let bell = root.queue("q").join("bell");
    fs::rename(&bell, root.queue("elsewhere")).expect("renamed");
    symlink(root.queue("elsewhere"), &bell).expect("linked");
    root.run(["recv", "q"]).refused(&["/q", "bell", "symbolic link"]);

    root.run(["create", "open"]).ok();
    fs::set_permissions(root.queue("open"), Permissions::from_mode(0o777)).expect("changed");
    root.run(["recv", "open"]).refused(&["/open", "0777"]);
}

#[test]
fn without_permission_there_is_a_reason() {
    let root = Root::new();
    root.run(["create", "q"]).ok();
    let path = root.queue("q").to_str().expect("text").to_owned();
    if !geteuid().is_root() {
        fs::set_permissions(root.path(), Permissions::from_mode(0o000)).expect("changed");
        root.run(["stat", &path]).refused(&["/q", "ermission denied"]);
        fs::set_permissions(root.path(), Permissions::from_mode(0o700)).expect("changed");
        return;
    }
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("changed");
    let nobody = 65_534;
    // Nobody may not even be allowed to start the binary where it was built.
    let Ok(output) = root.command(["stat", &path]).uid(nobody).gid(nobody).output() else { return };
    crate::support::Done::from(output).refused(&["/q", "ermission denied"]);
}

#[test]
fn a_file_system_that_cannot_be_written_or_carry_a_queue_is_named() {
    let root = Root::new();
    // Nothing can be made in either, by anybody.
    root.run(["create", "/proc/q"]).refused(&["/proc/q"]);
    root.run(["send", "/sys/q/q", "x"]).refused(&["/sys/q/q"]);
}

#[test]
fn a_queue_that_is_removed_while_somebody_waits_ends_the_wait() {
    let root = Root::new();
    root.run(["send", "q", "x"]).ok();
    let mut receiver = root.spawn(["recv", "q", "--follow"]);
    let mut byte = [0];
    std::io::Read::read_exact(receiver.stdout.as_mut().expect("a pipe"), &mut byte).expect("it has attached");
    root.run(["rm", "--force", "q"]).ok();
    let done: crate::support::Done = receiver.wait_with_output().expect("it ends").into();
    done.refused(&["/q", "removed"]);
}
