//! What the doctor says from look to look, and that what it looks for is written down. Processes that are stopped and killed are
//! among the tests of the command line.

use laneway::Queue;
use laneway::mailbox::Post;
use laneway_observe::{Check, Doctor, Finding, Key, Kind, Severity};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

struct Scene {
    dir: tempfile::TempDir,
    queues: PathBuf,
    post: Post,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (queues, post) = (dir.path().join("queues"), Post::open(dir.path().join("post")));
    Scene { dir, queues, post }
}

impl Scene {
    fn doctor(&self) -> Doctor {
        Doctor::new(&self.queues, self.post.root())
    }
}

fn find(findings: &[Finding], check: Check) -> Option<&Finding> {
    findings.iter().find(|finding| finding.check == check)
}

#[test]
fn a_receiver_that_takes_nothing_is_stuck_only_when_something_waits_for_longer_than_it_may() {
    let scene = scene();
    let mut backend = scene.post.mailbox("backend").unwrap();
    let inbox = scene.post.serve("backend").unwrap();
    let mut strict = scene.doctor().patience(Duration::ZERO);
    assert_eq!(find(&strict.examine(), Check::ReceiverStuck), None, "nothing waits");
    backend.send(b"run the tests").unwrap();
    backend.send(b"and the lints").unwrap();
    let delivery = inbox.recv().unwrap();
    let findings = strict.examine();
    let stuck = find(&findings, Check::ReceiverStuck).unwrap();
    let pid = std::process::id().to_string();
    assert!(stuck.severity == Severity::Warning && stuck.remedy == format!("kill {pid}"), "{stuck:?}");
    assert!(stuck.what.contains("2 messages wait (of these it has taken 1)") && stuck.what.contains(&pid), "{stuck:?}");
    assert_eq!(find(&scene.doctor().examine(), Check::ReceiverStuck), None, "it may take a minute");
    delivery.ack();
    inbox.recv().unwrap().ack();
    assert_eq!(find(&strict.examine(), Check::ReceiverStuck), None);
}

#[test]
fn how_long_a_queues_messages_wait_is_known_from_the_second_look_on() {
    let scene = scene();
    let queue = Queue::create(scene.queues.join("steps")).unwrap();
    let (_receiver, mut sender) = (queue.receiver().unwrap(), queue.sender().unwrap());
    sender.send(b"one").unwrap();
    let mut doctor = scene.doctor().patience(Duration::from_nanos(1));
    assert_eq!(find(&doctor.examine(), Check::ReceiverStuck), None);
    assert!(find(&doctor.examine(), Check::ReceiverStuck).is_some());
}

#[test]
fn one_of_them_is_looked_at_alone_and_the_worst_comes_first() {
    let scene = scene();
    for name in ["steps", "other"] {
        Queue::create(scene.queues.join(name)).unwrap().sender().unwrap().send(b"x").unwrap();
    }
    fs::write(scene.queues.join("other/queue"), [0xa5; 4096]).unwrap();
    let all = scene.doctor().examine();
    assert!(all.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)), "{all:?}");
    assert_eq!(all[0].check, Check::Damaged);
    let key = Key { kind: Kind::Queue, name: "steps".to_owned() };
    let alone = Doctor::of_one(&scene.queues, scene.post.root(), key).examine();
    assert_eq!(find(&alone, Check::Damaged), None);
    assert_eq!(find(&alone, Check::NobodyReceives).unwrap().about, scene.queues.join("steps"));
}

#[test]
fn what_is_found_is_not_fixed_when_it_is_no_more_what_it_was() {
    let scene = scene();
    let path = scene.queues.join("steps");
    let header = |change: bool| {
        let mut bytes = fs::read(path.join("queue")).unwrap();
        bytes[32] ^= u8::from(change);
        bytes
    };
    Queue::create(&path).unwrap();
    // Of another boot, with the checksum that belongs to it: a header is sealed by whoever writes it.
    let mut bytes = header(true);
    let sealed: laneway::layout::Header = bytemuck::pod_read_unaligned(&bytes[..laneway::layout::HEADER_LEN]);
    bytes[..laneway::layout::HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&sealed.sealed()));
    fs::write(path.join("queue"), bytes).unwrap();
    let mut doctor = scene.doctor();
    let findings = doctor.examine();
    assert!(find(&findings, Check::OtherBoot).unwrap().is_fixable());
    Queue::remove(&path).unwrap();
    Queue::create(&path).unwrap();
    let mended = doctor.fix(&findings);
    assert_eq!(mended.len(), 1);
    assert!(mended[0].what.as_ref().unwrap().contains("nothing"), "{mended:?}");
    assert!(Queue::open(&path).is_ok());
}

#[test]
fn what_lies_elsewhere_or_nowhere_is_no_failure() {
    let scene = scene();
    let findings = scene.doctor().examine();
    assert!(findings.iter().all(|finding| finding.check != Check::Unlisted), "{findings:?}");
    fs::write(scene.dir.path().join("post"), "a file").unwrap();
    let findings = scene.doctor().examine();
    assert_eq!(find(&findings, Check::Unlisted).unwrap().severity, Severity::Error);
}

#[test]
fn every_check_is_written_down_with_its_name_and_why_it_matters() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
    let page = fs::read_to_string(page).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), Check::ALL.len());
    for check in Check::ALL {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{check}` |")));
        assert!(row.is_some_and(|row| row.contains(check.why())), "{check}: {row:?}");
    }
}

/// Makes a queue one of another boot, or again of this one, with the checksum that belongs to it.
fn change_boot(queue: &std::path::Path) {
    let mut bytes = fs::read(queue.join("queue")).unwrap();
    bytes[32] ^= 1;
    let header: laneway::layout::Header = bytemuck::pod_read_unaligned(&bytes[..laneway::layout::HEADER_LEN]);
    bytes[..laneway::layout::HEADER_LEN].copy_from_slice(bytemuck::bytes_of(&header.sealed()));
    fs::write(queue.join("queue"), bytes).unwrap();
}

#[test]
fn one_of_another_boot_stays_when_a_lock_of_it_is_held_by_one_who_was_not_seen() {
    let scene = scene();
    let path = scene.queues.join("steps");
    Queue::create(&path).unwrap();
    change_boot(&path);
    let mut doctor = scene.doctor();
    let findings = doctor.examine();
    assert!(find(&findings, Check::OtherBoot).unwrap().is_fixable());
    change_boot(&path);
    let sender = Queue::open(&path).unwrap().sender().unwrap();
    change_boot(&path);
    let mended = doctor.fix(&findings);
    assert!(mended[0].what.as_ref().unwrap().contains("holds it"), "{mended:?}");
    assert!(path.exists());
    drop(sender);
    assert_eq!(doctor.fix(&findings).len(), 1);
    assert!(!path.exists());
}
