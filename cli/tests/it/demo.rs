//! The demo: it proves what it shows, and leaves nothing behind however it ends.

use crate::support::{Done, Root, assert_nothing_is_left, children, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::process::Child;

/// More than can be sent before the test has done what it wants to do.
const ENDLESS: &str = "500000000";

fn assert_sound(report: &Value, messages: u64) {
    for (field, value) in [("sent", messages), ("received", messages), ("lost", 0), ("duplicated", 0)] {
        assert_eq!(report[field], json!(value), "{field}: {report}");
    }
    for field in ["torn", "out_of_order"] {
        assert_eq!(report[field], json!(0), "{field}: {report}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn everything_arrives_although_a_sender_is_killed() {
    let root = Root::new();
    let reports = root.run(["demo", "--messages", "3000", "--json"]).json();
    let report = &reports[0];
    assert_sound(report, 3000);
    let kill = &report["kill"];
    let (of, resumed_from, counted) = (number(&kill["of"]), number(&kill["resumed_from"]), number(&kill["counted"]));
    assert_eq!(of, 1000);
    assert!((1..of).contains(&resumed_from), "killed in the middle: {kill}");
    assert!(counted == resumed_from || counted + 1 == resumed_from, "two witnesses of the same thing: {kill}");
    assert_eq!(number(&report["latency"]["all"]["count"]), 3000);
    assert!(number(&report["latency"]["all"]["p50_ns"]) <= number(&report["latency"]["all"]["max_ns"]));
    assert!(number(&report["send"]["all"]["count"]) > 0 && report["receiver"]["sleeps"].is_u64());
    // Three senders and the one that was started again; the observer saw the death, which the script waits for.
    let observer = &report["observer"];
    assert!(number(&observer["samples"]) > 0 && number(&observer["went"]) >= 1, "{observer}");
    assert_eq!(root.path().read_dir().expect("the root").count(), 0);
}

#[test]
fn the_table_has_every_column() {
    let root = Root::new();
    let input = root.queue("input");
    std::fs::write(&input, "a line\n\nbytes \u{1b} and ü, and no line end").expect("written");
    let table =
        root.run(["demo", "--messages", "200", "--senders", "2", "--input", input.to_str().expect("text")]).ok();
    for word in [
        "SENT",
        "RECEIVED",
        "LOST",
        "DUPLICATED",
        "TORN",
        "OUT OF ORDER",
        "P50",
        "P99",
        "MAX",
        "SLEEPS",
        "cost of a send",
        "send to receive",
        "killed",
        "observer",
        "each came once, whole and in order",
    ] {
        assert!(table.contains(word), "{word:?} is not in:\n{table}");
    }
}

#[test]
fn one_sender_and_strange_inputs_do() {
    let root = Root::new();
    for (name, text) in [("empty", Vec::new()), ("long", vec![b'x'; 400_000]), ("bytes", (0..=255).collect())] {
        let input = root.queue(name);
        std::fs::write(&input, text).expect("written");
        let input = input.to_str().expect("text");
        let reports = root.run(["demo", "--messages", "50", "--senders", "1", "--input", input, "--json"]).json();
        assert_sound(&reports[0], 50);
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let root = Root::new();
    root.run(["demo", "--input", "/nowhere/text"]).refused(&["/nowhere/text", "No such file"]);
    root.run(["demo", "--messages", "29"]).refused(&["29", "30"]);
    assert_eq!(root.run(["demo", "--senders", "0"]).code, Some(2));
    assert_eq!(root.path().read_dir().expect("the root").count(), 0);
}

/// The demo's processes, by what they are.
fn processes(launcher: &Child) -> Vec<(Pid, String)> {
    let role = |words: Vec<String>| words.into_iter().skip_while(|word| *word != "demo-process").nth(1);
    children(launcher).into_iter().filter_map(|(id, words)| Some((id, role(words)?))).collect()
}

/// Starts a demo that does not end by itself, and waits until all of it runs.
fn endless(root: &Root) -> (Child, Vec<(Pid, String)>) {
    let launcher = root.spawn(["demo", "--messages", ENDLESS]);
    let mut found = Vec::new();
    eventually("five processes", || {
        found = processes(&launcher);
        found.len() == 5
    });
    (launcher, found)
}

#[test]
fn it_ends_when_one_of_its_processes_dies() {
    for role in ["receiver", "observer", "sender"] {
        let root = Root::new();
        let (launcher, found) = endless(&root);
        // The last one: a sender that is not the one to be killed anyway.
        let (id, _) = found.iter().rfind(|(_, what)| what == role).expect("it runs");
        kill(*id, Signal::SIGKILL).expect("killed");
        let done: Done = launcher.wait_with_output().expect("it ends").into();
        done.refused(&[role, "SIGKILL"]);
        assert_nothing_is_left(&root, found.iter().map(|(id, _)| *id));
    }
}

#[test]
fn it_clears_up_when_it_is_interrupted() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let root = Root::new();
        let (launcher, found) = endless(&root);
        kill(Pid::from_raw(launcher.id() as i32), signal).expect("interrupted");
        let done: Done = launcher.wait_with_output().expect("it ends").into();
        done.refused(&["interrupted"]);
        assert_nothing_is_left(&root, found.iter().map(|(id, _)| *id));
    }
}

#[test]
fn its_processes_clear_up_when_it_is_killed() {
    let root = Root::new();
    let (mut launcher, found) = endless(&root);
    launcher.kill().expect("killed");
    launcher.wait().expect("it ended");
    assert_nothing_is_left(&root, found.iter().map(|(id, _)| *id));
}
