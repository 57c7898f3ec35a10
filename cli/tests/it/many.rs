//! Ten thousand queues under one root.

use crate::support::{Done, Root};
use laneway::{Error, Queue};
use std::process::Command;

const QUEUES: usize = 10_000;

fn create_all(root: &Root) -> Result<(), Error> {
    let options = Queue::options().capacity(4096).max_lanes(1);
    (0..QUEUES).try_for_each(|number| options.create(root.queue(&format!("q{number:05}"))).map(drop))
}

#[test]
fn ls_goes_through_ten_thousand_queues_and_past_a_broken_one() {
    let root = Root::new();
    create_all(&root).expect("room for ten thousand small queues");
    std::fs::write(root.queue("q00007").join("receiver"), "").expect("written");
    let lines = root.run(["ls", "--json"]).json();
    assert_eq!(lines.len(), QUEUES);
    assert!(lines.iter().enumerate().all(|(number, line)| line["name"] == format!("q{number:05}")));
    let broken: Vec<_> = lines.iter().filter(|line| line.get("error").is_some()).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(root.run(["ls"]).ok().lines().count(), QUEUES + 1);
    root.run(["rm"].into_iter().map(str::to_owned).chain((0..QUEUES).map(|number| format!("q{number:05}")))).ok();
    assert_eq!(root.run(["ls"]).ok(), "");
}

/// What a shell starts with often allows fewer files than there are queues, and more to who asks.
#[test]
fn who_looks_at_more_queues_than_files_may_be_open_asks_for_more() {
    let root = Root::new();
    let options = Queue::options().capacity(4096).max_lanes(1);
    (0..100).for_each(|number| drop(options.create(root.queue(&format!("q{number}"))).expect("room for small queues")));
    let limited = |command: &str| {
        let binary = root.command([command]).get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -Sn 64; exec \"$0\" \"$1\""]).arg(binary).arg(command);
        Done::from(shell.env("LANEWAY_DIR", root.path()).env_remove("LANEWAY_POST").output().expect("it runs"))
    };
    let metrics = limited("metrics").ok();
    let readable = metrics.lines().filter(|line| line.starts_with("laneway_readable") && line.ends_with(" 1")).count();
    assert_eq!(readable, 100);
    let doctor = limited("doctor");
    assert!(!String::from_utf8_lossy(&doctor.stdout).contains("cannot-open"), "{doctor:?}");
}
