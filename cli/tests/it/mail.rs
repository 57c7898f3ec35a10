//! Mailboxes: posting, asking, taking back, dead letters, looking around.

use crate::support::{Done, Root};
use laneway::mailbox::Post;
use serde_json::json;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitStatus;

#[test]
fn a_message_is_left_and_its_ticket_says_what_becomes_of_it() {
    let root = Root::new();
    let ticket = root.post("backend", &["run the tests", "--from", "planner"]);
    assert_eq!(root.run(["status", "backend", &ticket]).ok(), "pending\n");
    assert_eq!(
        root.run(["serve", "backend", "--once", "--exec", "cat; echo \" for $LANEWAY_FROM\""]).ok(),
        "run the tests for planner\n"
    );
    let status = root.run(["status", "backend", &ticket, "--json"]).json();
    assert_eq!(
        (&status[0]["state"], &status[0]["final"], &status[0]["attempts"]),
        (&json!("acked"), &json!(true), &json!(1))
    );
    for goal in ["acked", "final", "taken"] {
        let waited = root.run(["wait", "backend", &ticket, "--for", goal]).ok();
        assert!(waited.starts_with("acked; handed out once; for "), "{waited}");
    }
}

#[test]
fn waiting_ends_with_its_time_or_when_there_is_nothing_more_to_wait_for() {
    let root = Root::new();
    let ticket = root.post("backend", &["x"]);
    let late = root.run(["wait", "backend", &ticket, "--timeout", "10ms"]);
    assert_eq!((late.code, &late.stdout[..]), (Some(1), &b"pending\n"[..]));
    let waiting = root.spawn(["wait", "backend", &ticket, "--for", "acked"]);
    root.run(["cancel", "backend", &ticket]).ok();
    // It becomes so when the receiver gets to it.
    assert_eq!(root.run(["serve", "backend", "--exec", "cat", "--idle-exit", "0s"]).code, Some(1));
    let never: Done = waiting.wait_with_output().expect("it ends").into();
    assert_eq!(never.code, Some(1));
    assert!(never.stdout.starts_with(b"cancelled"), "{never:?}");
    assert_eq!(root.run(["wait", "backend", &ticket]).code, Some(0), "that is final");
    assert_eq!(root.run(["wait", "backend", &ticket, "--for", "taken"]).code, Some(1), "it never was");
}

#[test]
fn a_message_is_taken_back_unless_it_is_too_late() {
    let root = Root::new();
    let (first, second) = (root.post("backend", &["first"]), root.post("backend", &["second"]));
    assert_eq!(root.run(["cancel", "backend", &first]).ok(), "cancelled\n");
    assert_eq!(root.run(["serve", "backend", "--once", "--exec", "cat"]).ok(), "second");
    let late = root.run(["cancel", "backend", &second]);
    assert_eq!((late.code, &late.stdout[..]), (Some(1), &b"too late: acked\n"[..]));
    let unknown = root.run(["status", "backend", "00000001-0-0"]);
    assert_eq!((unknown.code, &unknown.stdout[..]), (Some(1), &b"unknown\n"[..]));
}

#[test]
fn standard_input_is_one_message_of_any_bytes() {
    let root = Root::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (words, content) in
        [(&["post", "backend"][..], "bytes"), (&["post", "backend", "-", "--content", "cbor"], "cbor")]
    {
        root.run_with(words, &bytes).ok();
        let served = root.run(["serve", "backend", "--once", "--exec", "printf '%s ' $LANEWAY_CONTENT; cat"]);
        assert!(served.stdout == [content.as_bytes(), b" ", &bytes].concat(), "{content}");
    }
    root.run([OsStr::new("post"), OsStr::new("backend"), OsStr::from_bytes(b"\xff\xfe")]).ok();
    root.run_with(["post", "backend"], b"").ok();
    assert_eq!(root.run(["serve", "backend", "--once", "--exec", "cat"]).stdout, b"\xff\xfe");
    assert_eq!(root.run(["serve", "backend", "--once", "--exec", "cat; echo none"]).ok(), "none\n");
}

#[test]
fn keys_priorities_and_times_are_kept_to() {
    let root = Root::new();
    let old = root.post("backend", &["old", "--supersede", "deploy"]);
    let stale = root.post("backend", &["stale", "--ttl", "0s"]);
    root.post("backend", &["new", "--supersede", "deploy"]);
    root.post("backend", &["pay", "--idempotency", "order 7"]);
    let twice = root.post("backend", &["pay", "--idempotency", "order 7"]);
    let later = root.post("backend", &["later", "--delay", "1h"]);
    root.post("backend", &["stop", "--priority", "urgent"]);
    let served = root.run(["serve", "backend", "--exec", "cat; echo", "--idle-exit", "0s"]).ok();
    assert_eq!(served, "stop\nnew\npay\n");
    let states = [&old, &stale, &twice, &later].map(|ticket| root.state("backend", ticket));
    assert_eq!(states, ["superseded", "expired", "superseded", "pending"]);
}

#[test]
fn who_makes_a_mailbox_sets_its_limits_and_who_comes_later_is_told() {
    let root = Root::new();
    let limits = ["--max-pending", "2", "--attempts", "3", "--max-age", "1h", "--backoff", "10ms..1s"];
    root.post("backend", &[&["one"][..], &limits].concat());
    let other = root.run(["post", "backend", "two", "--attempts", "9"]);
    assert_eq!(other.code, Some(0));
    assert!(other.stderr.contains("backend exists") && other.stderr.contains("3 attempts"), "{other:?}");
    root.run(["post", "backend", "three"]).refused(&["cannot post 5 bytes", "post/backend", "2 messages", "2 are"]);
    let stat = root.run(["mail", "stat", "backend", "--json"]).json();
    let wanted = json!({ "max_pending": 2, "when_full": "refuse", "max_attempts": 3, "max_age_ns": 3_600_000_000_000_u64,
        "backoff_first_ns": 10_000_000, "backoff_cap_ns": 1_000_000_000, "outcomes": 8192 });
    assert_eq!((&stat[0]["settings"], &stat[0]["pending"], &stat[0]["refused"]), (&wanted, &json!(2), &json!(1)));
    for number in 0..3 {
        root.post("rolling", &[&number.to_string(), "--max-pending", "1", "--when-full", "roll"]);
    }
    assert_eq!(root.run(["serve", "rolling", "--exec", "cat", "--idle-exit", "0s"]).ok(), "2");
}

#[test]
fn dead_letters_are_listed_sent_again_and_cleared() {
    let root = Root::new();
    assert_eq!(root.run(["dead", "list", "backend"]).code, Some(2));
    let tickets = ["one", "two", "three"].map(|body| root.post("backend", &[body, "--from", "a\u{1b}[31mb"]));
    root.run(["serve", "backend", "--exec", "exit 65", "--idle-exit", "0s", "--json"]).ok();
    let listed = root.run(["dead", "list", "backend"]).ok();
    assert!(listed.contains(&tickets[0]) && listed.contains("three") && !listed.contains('\u{1b}'), "{listed}");
    let letters = root.run(["dead", "list", "backend", "--json"]).json();
    assert_eq!((letters.len(), &letters[1]["text"], &letters[1]["from"]), (3, &json!("two"), &json!("a\u{1b}[31mb")));
    let replayed = root.run(["dead", "replay", "backend", &tickets[1]]).ok();
    let (old, new) = replayed.trim_end().split_once(' ').expect("two tickets");
    assert_eq!(old, tickets[1]);
    assert_eq!(root.run(["serve", "backend", "--once", "--exec", "cat"]).ok(), "two");
    assert_eq!(root.state("backend", new), "acked");
    let missing = root.run(["dead", "drop", "backend", &tickets[1], &tickets[2]]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains(&tickets[1]) && !missing.stderr.contains(&tickets[2]), "{missing:?}");
    assert_eq!(root.run(["dead", "drop", "backend", "--all", "--json"]).json(), [json!({ "dropped": 1 })]);
    assert_eq!(root.run(["dead", "list", "backend"]).ok(), "");
}

#[test]
fn the_post_is_listed_looked_at_and_cleared() {
    let root = Root::new();
    assert_eq!(root.run(["mail", "ls"]).ok(), "");
    root.post("a", &["x"]);
    root.post("b", &["x"]);
    root.post("b", &["y"]);
    let inbox = Post::open(root.queue("post")).serve("b").expect("served");
    let delivery = inbox.recv().expect("a message");
    let a = json!({ "name": "a", "pending": 1, "taken": 0, "dead": 0, "awake": false });
    let b = json!({ "name": "b", "pending": 1, "taken": 1, "dead": 0, "awake": true });
    assert_eq!(root.run(["mail", "ls", "--json"]).json(), [a, b]);
    delivery.ack();
    assert!(
        root.run(["mail", "ls"]).ok().lines().nth(2).is_some_and(|line| line.starts_with('b') && line.contains("yes"))
    );
    let stat = root.run(["mail", "stat", "b"]).ok();
    assert!(stat.contains("1 pending") && stat.contains("1 processed") && stat.contains("served     yes"), "{stat}");
    root.run(["mail", "rm", "b"]).refused(&["post/b", "serves", "--force"]);
    root.run(["mail", "rm", "b", "a", "--force"]).ok();
    root.run(["mail", "rm", "a"]).refused(&["post/a"]);
    assert_eq!(root.run(["mail", "ls"]).ok(), "");
    assert_eq!(root.run(["ls"]).ok(), "", "the post is no queue");
}

#[test]
fn a_watch_prints_what_comes_and_goes() {
    let root = Root::new();
    root.post("old", &["x"]);
    let mut watch = root.spawn(["mail", "watch", "--json"]);
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next(), json!({ "event": "appeared", "mailbox": "old" }));
    let inbox = Post::open(root.queue("post")).serve("new").expect("served");
    assert_eq!(next(), json!({ "event": "appeared", "mailbox": "new" }));
    assert_eq!(next(), json!({ "event": "awake", "mailbox": "new" }));
    drop(inbox);
    assert_eq!(next(), json!({ "event": "asleep", "mailbox": "new" }));
    root.run(["mail", "rm", "old"]).ok();
    assert_eq!(next(), json!({ "event": "removed", "mailbox": "old" }));
    watch.kill().expect("it runs");
    let _: ExitStatus = watch.wait().expect("it ends");
}

#[test]
fn mailboxes_are_found_where_the_environment_or_a_path_says() {
    let root = Root::new();
    let elsewhere = root.queue("else/where").to_str().expect("text").to_owned();
    let ticket = root.post(&format!("{elsewhere}/backend"), &["x"]);
    let named: Done =
        root.command(["status", "backend", &ticket]).env("LANEWAY_POST", &elsewhere).output().expect("it runs").into();
    assert_eq!(named.ok(), "pending\n");
    root.run(["status", "backend", &ticket]).refused(&["no mailbox", "post/backend"]);
    assert!(!root.queue("post/backend").exists(), "asking makes nothing");
    root.run(["create", "post"]).ok();
    root.run(["post", "backend", "x"]).refused(&["it is a queue", "LANEWAY_POST"]);
}

#[test]
fn what_is_no_name_no_ticket_and_no_limit_is_refused() {
    let root = Root::new();
    root.post("backend", &["x"]);
    for name in ["", ".", "..", ".hidden", "a\nb", "a\u{1b}[31mb", &"x".repeat(201), "a/..", "/"] {
        for command in [
            &["post", name, "x"][..],
            &["status", name, "1-2-3"],
            &["serve", name, "--exec", "cat"],
            &["mail", "rm", name],
        ] {
            let done = root.run(command);
            assert!(!done.stderr.contains('\u{1b}'), "a name is not written to the terminal as it is");
            done.refused(&["cannot"]);
        }
    }
    root.run([OsStr::new("post"), OsStr::from_bytes(b"\xff"), OsStr::new("x")]).refused(&["name", "UTF-8"]);
    for ticket in
        ["", "-", "1", "1-2", "1-2-3-4", "x-2-3", "+1-2-3", "fffffffff-0-0", "0-0-ffffffffffffffff", "\u{1b}[31m"]
    {
        for command in ["status", "wait", "cancel"] {
            let done = root.run([command, "backend", "--", ticket]);
            assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
            done.refused(&["is no ticket", "5f0c2a91-3-1a40"]);
        }
    }
    root.run([OsStr::new("status"), OsStr::new("backend"), OsStr::from_bytes(b"\xff")]).refused(&["no ticket"]);
    root.run(["post", "backend", "x", "--from", &"f".repeat(201)]).refused(&["name", "201", "200"]);
    root.run_with(["post", "backend"], &vec![b'x'; 2 << 20]).refused(&["cannot post 2097152 bytes", "post/backend"]);
    for limit in
        ["--attempts=0", "--backoff=2s..1s", "--backoff=1s", "--max-pending=-1", "--max-age=soon", "--when-full=roll"]
    {
        assert_eq!(root.run(["post", "fresh", "x", limit]).code, Some(2), "{limit}");
    }
    assert_eq!(root.run(["dead", "drop", "backend"]).code, Some(2), "neither tickets nor --all");
    assert!(!root.queue("post/fresh").exists(), "nothing was made");
}
