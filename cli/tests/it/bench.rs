//! The bench: every figure stands beside its limit, and however it ends nothing is left. What the figures are says nothing
//! here: the machine has other work.

use crate::support::{Done, Root, assert_nothing_is_left, children, eventually};
use laneway_measure::{pin, processors};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Benches take turns: each has processes on the first two processors that give them to nobody.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // What a test that failed left does not matter to the next.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shortest run that has everything.
const SHORT: [&str; 6] = ["bench", "rtt", "--payload", "8", "--duration", "10ms"];

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn figures(report: &Value) -> BTreeMap<&str, &Value> {
    report["figures"].as_array().expect("figures").iter().map(|figure| (text(&figure["key"]), figure)).collect()
}

/// A distribution or a median that makes sense.
#[track_caller]
fn assert_shown(shown: &Value) {
    if let Some(percentiles) = shown.get("percentiles") {
        let names = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"];
        let values: Vec<f64> = names.iter().map(|name| number(&percentiles[*name])).collect();
        assert!(values[0] > 0.0 && values.is_sorted() && number(&percentiles["count"]) > 0.0, "{shown}");
    } else {
        let summary = &shown["summary"];
        assert!(number(&summary["low"]) <= number(&summary["median"]) && number(&summary["median"]) > 0.0, "{shown}");
    }
}

#[test]
fn every_figure_stands_beside_its_limit_and_the_example_of_ratios_is_about_them() {
    let _turn = turn();
    let root = Root::new();
    let ratios = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/ratios.toml");
    let mut words = vec!["bench", "all", "--duration", "10ms", "--senders", "2", "--rate", "2000", "--json"];
    words.extend(["--check", ratios]);
    let done = root.run(&words);
    let report: Value = serde_json::from_slice(&done.stdout).expect("a report");
    let checks = report["checks"].as_array().expect("checks");
    let missed = checks.iter().filter(|check| check["is_met"] == false).count();
    assert!(checks.len() >= 5, "{report}");
    // Whether they are met says nothing about a build without optimisation.
    assert_eq!((done.code, done.stderr.lines().count()), (Some(i32::from(missed > 0)), missed), "{done:?}");
    assert_eq!(text(&report["command"]), format!("laneway {}", words.join(" ")));
    assert!(text(&report["machine"]["kernel"]).contains("Linux") && text(&report["date"]).ends_with('Z'), "{report}");
    let figures = figures(&report);
    let keys: Vec<&str> = figures.keys().copied().collect();
    assert_eq!(
        keys,
        [
            "fan-in/56",
            "fan-in/56/delay",
            "idle/receiver",
            "idle/rtt",
            "idle/stream",
            "limits/cache-lines",
            "limits/futex-wake",
            "limits/memcpy",
            "overflow/1024/burst",
            "overflow/1024/stream",
            "rtt/48",
            "rtt/8",
            "throughput/1024",
            "throughput/64",
            "throughput/65536",
            "throughput/8",
            "throughput/doorbell",
            "wake/8",
            "wake/8/adaptive",
        ]
    );
    for (key, figure) in figures {
        assert!(number(&figure["pieces"]) > 0.0, "{figure}");
        assert_shown(figure);
        if key.starts_with("limits/") {
            assert!(figure["limit"].is_null(), "{figure}");
            continue;
        }
        assert_shown(&figure["limit"]);
        assert_eq!(figure["limit"].get("percentiles").is_some(), figure.get("percentiles").is_some(), "{figure}");
        let ratios: Vec<&String> = figure["ratios"].as_object().expect("ratios").keys().collect();
        let expected: &[&str] = if figure.get("percentiles").is_some() { &["p50", "p99.9"] } else { &["median"] };
        assert_eq!(ratios, expected, "{figure}");
        assert!(figure["ratios"].as_object().expect("ratios").values().all(|ratio| number(&ratio["median"]) > 0.0));
        assert!(text(&figure["wait"]).len() > 3, "{figure}");
    }
    assert_eq!(root.path().read_dir().expect("the root").count(), 0);
}

#[test]
fn the_table_has_the_figure_its_limit_and_the_machine() {
    let _turn = turn();
    let root = Root::new();
    for wait in ["spin", "adaptive", "park"] {
        let table = root.run(SHORT.into_iter().chain(["--wait", wait])).ok();
        for word in ["Linux", "P50", "P99.99", "MAX", "RATIO P50", "round trip, 8 B", "limit: raw round trip of two"] {
            assert!(table.contains(word), "{word:?} is not in:\n{table}");
        }
    }
}

#[test]
fn a_missed_ratio_is_said_and_exits_with_1() {
    let _turn = turn();
    let root = Root::new();
    let file = root.queue("ratios.toml");
    let run = |ratios: &str| {
        fs::write(&file, ratios).expect("written");
        root.run(SHORT.into_iter().chain(["--json", "--check", file.to_str().expect("text")]))
    };
    let met = run("\"rtt/8/p50\" = { at_most = 1e9 }\n\"rtt/8/p99.9\" = { at_least = 1e-9, at_most = 1e9 }\n").json();
    assert!(met[0]["checks"].as_array().expect("checks").iter().all(|check| check["is_met"] == true), "{}", met[0]);
    let missed = run("\"rtt/8/p50\" = { at_most = 1e-9 }\n\"rtt/8/p99.9\" = { at_most = 1e9 }\n");
    assert_eq!((missed.code, missed.stderr.lines().count()), (Some(1), 1), "{missed:?}");
    assert!(missed.stderr.contains("rtt/8/p50") && missed.stderr.contains("0.000000001"), "{missed:?}");

    let path = file.to_str().expect("text").to_owned();
    for (wrong, why) in [
        ("\"rtt/48/p50\" = { at_most = 1.0 }", "rtt/48/p50"),
        ("\"rtt/8/p51\" = { at_most = 1.0 }", "rtt/8/p51"),
        ("\"rtt/8/p50\" = { at_mots = 1.0 }", "at_mots"),
        ("\"rtt/8/p50\" = {}", "at_most"),
        ("\"rtt/8/p50\" = { at_most = nan }", "number"),
        ("\"rtt/8/p50\" = \"fast\"", "line 1"),
        ("# nothing\n\"rtt/8/p50 = 1", "line 2"),
        ("", "nothing"),
    ] {
        run(wrong).refused(&[&path, why]);
    }
    root.run(SHORT.into_iter().chain(["--check", "/nowhere/ratios"])).refused(&["/nowhere/ratios", "No such file"]);
}

#[test]
fn a_histogram_has_everything_that_was_counted() {
    let _turn = turn();
    let root = Root::new();
    let file = root.queue("histogram.csv");
    fs::write(&file, "older and longer than what will be there: ".repeat(10_000)).expect("written");
    let path = file.to_str().expect("text");
    let reports = root.run(SHORT.into_iter().chain(["--json", "--histogram", path])).json();
    let lines = fs::read_to_string(&file).expect("written");
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    let mut lines = lines.lines();
    assert_eq!(lines.next(), Some("figure,upper_ns,count"));
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [key, upper_ns, count] = fields[..] else { panic!("{line:?} has not three fields") };
        assert!(upper_ns.parse::<u64>().expect("a number") > 0);
        *counts.entry(key).or_default() += count.parse::<f64>().expect("a number");
    }
    let figure = &reports[0]["figures"][0];
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["rtt/8", "rtt/8/limit"]);
    assert_eq!(counts["rtt/8"], number(&figure["percentiles"]["count"]));
    assert_eq!(counts["rtt/8/limit"], number(&figure["limit"]["percentiles"]["count"]));

    // Before anything is measured: this would take an hour.
    let endless = ["bench", "rtt", "--duration", "1h", "--histogram", "/nowhere/histogram"];
    root.run(endless).refused(&["/nowhere/histogram", "No such file"]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let root = Root::new();
    for (words, parts) in [
        (&["rtt", "--duration", "0s"][..], &["--duration", "1ms"][..]),
        (&["rtt", "--payload", "7"], &["7 bytes", "8 bytes"]),
        (&["rtt", "--payload", "8,17M"], &["17825792 bytes", "16 MiB"]),
        (&["overflow", "--payload", "2M"], &["2097152 bytes", "1 MiB"]),
        (&["limits", "--payload", "8"], &["--payload", "bench limits"]),
        (&["idle", "--wait", "spin"], &["--wait", "bench idle"]),
        (&["rtt", "--rate", "5"], &["--rate", "bench rtt"]),
        (&["wake", "--senders", "5"], &["--senders", "bench wake"]),
    ] {
        root.run(["bench"].iter().chain(words)).refused(parts);
    }
    for words in [["fan-in", "--senders", "0"], ["wake", "--rate", "0"], ["rtt", "--wait", "never"]] {
        assert_eq!(root.run(["bench"].iter().chain(&words)).code, Some(2), "{words:?}");
    }
    assert_eq!(root.path().read_dir().expect("the root").count(), 0);
}

#[test]
fn long_messages_and_too_many_senders_are_measured_all_the_same() {
    let _turn = turn();
    let root = Root::new();
    let long = root.run(["bench", "rtt", "--payload", "1M,8", "--duration", "1ms", "--json"]).json();
    assert_eq!(figures(&long[0]).keys().copied().collect::<Vec<_>>(), ["rtt/1048576", "rtt/8"]);
    let senders = processors().len().min(64);
    let crowd = ["bench", "fan-in", "--senders", &senders.to_string(), "--duration", "5ms", "--json"];
    let crowd = root.run(crowd).json();
    let notes = crowd[0]["notes"].as_array().expect("notes");
    assert!(
        notes.iter().any(|note| text(note).contains("oversubscribed") || text(note).contains("one processor")),
        "{notes:?}"
    );
}

#[test]
fn one_processor_is_enough_and_the_report_says_so() {
    let _turn = turn();
    let root = Root::new();
    let run = || {
        // The bench inherits it.
        pin(*processors().first().expect("a processor")).expect("pinned");
        for measure in ["limits", "rtt", "throughput", "wake", "fan-in", "overflow"] {
            let reports = root.run(["bench", measure, "--duration", "2ms", "--json"]).json();
            let notes = reports[0]["notes"].as_array().expect("notes");
            assert!(notes.iter().any(|note| text(note).contains("one processor")), "{measure}: {notes:?}");
            figures(&reports[0]).values().for_each(|figure| assert_shown(figure));
        }
    };
    std::thread::scope(|scope| scope.spawn(run).join()).expect("it ran");
}

/// Starts a bench that does not end by itself, and waits until both of its processes play.
fn endless(root: &Root) -> (Child, Vec<Pid>) {
    let launcher = root.spawn(["bench", "rtt", "--duration", "1h"]);
    let mut found = Vec::new();
    eventually("two processes that play", || {
        found = children(&launcher)
            .into_iter()
            .filter(|(_, words)| words.iter().any(|word| word == "bench-process"))
            .map(|(id, _)| id)
            .collect();
        // One thread waits, one listens, and one plays.
        let threads = |id: &Pid| fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
        found.len() == 2 && found.iter().all(|id| threads(id) == 3)
    });
    (launcher, found)
}

#[test]
fn it_ends_when_one_of_its_processes_dies() {
    let _turn = turn();
    for victim in 0..2 {
        let root = Root::new();
        let (launcher, found) = endless(&root);
        kill(found[victim], Signal::SIGKILL).expect("killed");
        let done: Done = launcher.wait_with_output().expect("it ends").into();
        done.refused(&["the bench's process", "SIGKILL"]);
        assert_nothing_is_left(&root, found.into_iter());
    }
}

#[test]
fn it_clears_up_when_it_is_interrupted_or_killed() {
    let _turn = turn();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let root = Root::new();
        let (launcher, found) = endless(&root);
        kill(Pid::from_raw(launcher.id() as i32), signal).expect("it runs");
        let done: Done = launcher.wait_with_output().expect("it ends").into();
        if signal == Signal::SIGKILL {
            assert_eq!(done.code, None, "{done:?}");
        } else {
            done.refused(&["interrupted"]);
        }
        assert_nothing_is_left(&root, found.into_iter());
    }
}
