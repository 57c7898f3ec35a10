//! Commands that run for messages: what their ends mean, several at once, and servers that stop or are killed.

use crate::support::{Done, Root, eventually};
use laneway::mailbox::Post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;

fn signal(process: &Child, signal: Signal) {
    kill(Pid::from_raw(process.id().cast_signed()), signal).expect("it runs");
}

fn ended(process: Child) -> Done {
    process.wait_with_output().expect("it ends").into()
}

/// What the next command writes there.
fn heard(pipe: &Path) -> String {
    fs::read_to_string(pipe).expect("a pipe").trim_end().to_owned()
}

#[test]
fn the_exit_status_decides_what_becomes_of_a_message() {
    let root = Root::new();
    let tickets = ["exit 0", "exit 65", "exit 75", "exit 3", "kill -9 $$"]
        .map(|body| root.post("backend", &[body, "--backoff", "1h..2h"]));
    let served = root.run(["serve", "backend", "--exec", "exec sh", "--idle-exit", "0s"]);
    assert_eq!(served.code, Some(0));
    for part in ["exited with 65 in attempt 1 of 5; rejected", "exited with 75", "exited with 3", "signal 9", "nacked"]
    {
        assert!(served.stderr.contains(part), "{part}: {served:?}");
    }
    let states = tickets.map(|ticket| root.state("backend", &ticket));
    assert_eq!(states, ["acked", "failed", "pending", "pending", "pending"]);
    let none = root.run(["serve", "backend", "--exec", "cat", "--idle-exit", "10ms"]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(1), ""), "nothing came");
}

#[test]
fn what_becomes_of_each_message_is_told_as_json() {
    let root = Root::new();
    let ticket = root.post("backend", &["x", "--backoff", "1ms..1ms"]);
    let exec = "echo to standard error; test $LANEWAY_ATTEMPT = 2";
    let served = root.run(["serve", "backend", "--exec", exec, "--idle-exit", "100ms", "--json"]);
    assert_eq!(served.stderr, "to standard error\n".repeat(2));
    let lines: Vec<serde_json::Value> =
        served.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let line = |attempt, outcome, exit| {
        json!({ "ticket": ticket, "attempt": attempt, "outcome": outcome, "exit": exit, "signal": null,
            "timed_out": false, "replied": null })
    };
    assert_eq!(lines, [line(1, "nacked", 1), line(2, "acked", 0)]);
}

#[test]
fn retries_end_with_the_mailbox_or_with_the_server() {
    let root = Root::new();
    let spent = root.post("backend", &["x", "--max-attempts", "2", "--backoff", "1ms..1ms"]);
    let rejected = root.post("backend", &["x"]);
    let served = root.run([
        "serve",
        "backend",
        "--exec",
        "echo $LANEWAY_ATTEMPT/$LANEWAY_MAX_ATTEMPTS; false",
        "--retry",
        "2",
        "--idle-exit",
        "100ms",
    ]);
    let mut attempts: Vec<String> =
        String::from_utf8(served.stdout).expect("text").lines().map(str::to_owned).collect();
    attempts.sort();
    assert_eq!(attempts, ["1/2", "1/5", "2/2", "2/5", "3/5"]);
    assert_eq!([root.state("backend", &spent), root.state("backend", &rejected)], ["dead-lettered", "failed"]);
}

#[test]
fn several_commands_run_at_once_and_are_settled_as_they_end() {
    let root = Root::new();
    let (up, gates) = (root.pipe("up"), ["a", "b", "c"].map(|name| root.pipe(name)));
    let tickets = ["a", "b", "c"].map(|body| root.post("backend", &[body]));
    let exec = format!("cd {:?}; read name <<.\n$(cat)\n.\necho $name > up; read x < $name", root.path());
    let server = root.spawn(["serve", "backend", "--concurrency", "3", "--exec", &exec]);
    // Each writes a line when it runs; none ends by itself.
    let mut names: Vec<String> = Vec::new();
    while names.len() < 3 {
        names.extend(heard(&up).lines().map(str::to_owned));
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    for (at, gate) in gates.iter().enumerate().rev() {
        fs::write(gate, "go\n").expect("written");
        root.run(["wait", "backend", &tickets[at], "--for", "acked", "--timeout", "30s"]).ok();
        assert!(tickets[..at].iter().all(|ticket| root.state("backend", ticket) == "taken"));
    }
    signal(&server, Signal::SIGTERM);
    ended(server).ok();
}

#[test]
fn a_command_that_runs_for_too_long_is_killed_with_what_it_started() {
    let root = Root::new();
    let told = root.pipe("told");
    let ticket = root.post("backend", &["x", "--max-attempts", "1"]);
    let exec = format!("sleep 1000 & echo $! > {told:?}; wait");
    let server = root.spawn(["serve", "backend", "--once", "--timeout", "300ms", "--exec", &exec]);
    let started = Pid::from_raw(heard(&told).parse().expect("a number"));
    let done = ended(server);
    assert!(done.code == Some(0) && done.stderr.contains("ran out of time in attempt 1 of 1"), "{done:?}");
    assert_eq!(root.state("backend", &ticket), "dead-lettered");
    // Whoever takes in orphans may take its time.
    let is_dead = || fs::read_to_string(format!("/proc/{started}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    eventually("what it started is gone", || kill(started, None).is_err() || is_dead());
}

#[test]
fn what_a_killed_server_had_taken_is_handed_out_again() {
    let root = Root::new();
    let (up, gate) = (root.pipe("up"), root.pipe("gate"));
    let ticket = root.post("backend", &["x"]);
    let exec = format!("echo up > {up:?}; read x < {gate:?}");
    let mut server = root.spawn(["serve", "backend", "--exec", &exec]);
    assert_eq!(heard(&up), "up");
    assert_eq!(root.state("backend", &ticket), "taken");
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    assert_eq!(root.run(["serve", "backend", "--once", "--exec", "echo $LANEWAY_ATTEMPT"]).ok(), "2\n");
    assert_eq!(root.state("backend", &ticket), "acked");
    // The first command still runs; let it go.
    fs::write(&gate, "go\n").expect("written");
}

#[test]
fn one_serves_at_a_time_and_of_two_that_race_one_is_refused() {
    let root = Root::new();
    let tickets: Vec<String> = (0..8).map(|number| root.post("backend", &[&number.to_string()])).collect();
    let servers = [0, 1].map(|_| {
        root.spawn(["serve", "backend", "--exec", "body=$(cat); echo $body", "--idle-exit", "1s", "--concurrency", "2"])
    });
    let mut dones = servers.map(ended);
    dones.sort_by_key(|done| done.code);
    let [served, refused] = dones;
    // One may have ended before the other began.
    if refused.code == Some(2) {
        refused.refused(&["cannot serve", "post/backend", "another process serves it already"]);
    }
    let mut bodies: Vec<String> = served.ok().lines().map(str::to_owned).collect();
    bodies.sort();
    assert_eq!(bodies, (0..8).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(tickets.iter().all(|ticket| root.state("backend", ticket) == "acked"));
    let inbox = Post::open(root.queue("post")).serve("backend").expect("served");
    root.run(["serve", "backend", "--exec", "cat"]).refused(&["another process serves it already"]);
    drop(inbox);
}

#[test]
fn a_server_that_is_stopped_waits_for_its_commands_and_the_second_time_kills_them() {
    let root = Root::new();
    let (up, gate) = (root.pipe("up"), root.pipe("gate"));
    let exec = format!("echo up > {up:?}; read x < {gate:?}");
    let serve = || root.spawn(["serve", "backend", "--exec", &exec]);
    let first = root.post("backend", &["x", "--backoff", "1h..1h"]);
    let next = root.post("backend", &["y"]);
    let mut server = serve();
    assert_eq!(heard(&up), "up");
    signal(&server, Signal::SIGINT);
    let mut said = String::new();
    BufReader::new(server.stderr.take().expect("a pipe")).read_line(&mut said).expect("text");
    assert!(said.contains("waiting for 1 command"), "{said}");
    fs::write(&gate, "go\n").expect("written");
    assert_eq!(server.wait().expect("it ends").code(), Some(0));
    assert_eq!([root.state("backend", &first), root.state("backend", &next)], ["acked", "pending"]);
    let mut server = serve();
    assert_eq!(heard(&up), "up");
    let mut stderr = BufReader::new(server.stderr.take().expect("a pipe"));
    signal(&server, Signal::SIGTERM);
    stderr.read_line(&mut said).expect("text");
    signal(&server, Signal::SIGTERM);
    assert_eq!(server.wait().expect("it ends").code(), Some(0));
    let status = root.run(["status", "backend", &next, "--json"]).json();
    assert_eq!((&status[0]["state"], &status[0]["attempts"]), (&json!("pending"), &json!(1)));
    // One that has nothing to do ends at once.
    let server = root.spawn(["serve", "idle", "--exec", "cat"]);
    eventually("it serves", || Post::open(root.queue("post")).is_awake("idle").unwrap_or(false));
    // It watches for signals a moment later; before that, one ends it all the same.
    signal(&server, Signal::SIGTERM);
    ended(server);
}

#[test]
fn a_request_is_answered_by_what_the_command_prints() {
    let root = Root::new();
    let exec = "if [ $LANEWAY_WANTS_REPLY = 1 ]; then sort -r; fi";
    root.post("backend", &["no request"]);
    let server = root.spawn(["serve", "backend", "--exec", exec]);
    assert_eq!(root.run_with(["request", "backend", "--timeout", "30s"], b"a\nb\n").ok(), "b\na\n");
    let answer = root.run(["request", "backend", "c", "--timeout", "30s", "--json"]).json();
    assert_eq!(answer[0]["text"], "c\n");
    signal(&server, Signal::SIGTERM);
    ended(server).ok();
    let late = root.run(["request", "backend", "d", "--timeout", "10ms"]);
    assert_eq!((late.code, late.stdout.len()), (Some(1), 0));
    assert!(late.stderr.contains("no answer came in 10ms") && late.stderr.contains("is pending"), "{late:?}");
}

#[test]
fn a_sender_s_name_that_no_variable_can_hold_harms_nobody() {
    let root = Root::new();
    let mut backend = Post::open(root.queue("post")).from("a\0b=c\n$(exit 3)").mailbox("backend").expect("a mailbox");
    backend.send(b"x").expect("sent");
    let served = root.run(["serve", "backend", "--once", "--exec", "printf '<%s>' \"$LANEWAY_FROM\""]).ok();
    assert_eq!(served, "<a\u{fffd}b=c\n$(exit 3)>");
}

#[test]
fn a_waker_runs_a_command_when_there_is_mail_and_never_two() {
    let root = Root::new();
    let exec = format!("{:?} serve $LANEWAY_MAILBOX --exec cat --idle-exit 10ms", env!("CARGO_BIN_EXE_laneway"));
    let mut waker = root.spawn(["wake", "backend", "--exec", &exec, "--json"]);
    let mut lines = BufReader::new(waker.stdout.take().expect("a pipe")).lines();
    let mut next = |event: &str| {
        let line: serde_json::Value =
            serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
        assert_eq!(line["event"], event, "{line}");
        line["is"].clone()
    };
    for _ in 0..2 {
        let ticket = root.post("backend", &["x"]);
        next("started");
        assert_eq!(next("ended"), json!({ "success": true, "taken": 1 }));
        let status = root.run(["status", "backend", &ticket, "--json"]).json();
        assert_eq!((&status[0]["state"], &status[0]["attempts"]), (&json!("acked"), &json!(1)));
    }
    root.run(["wake", "backend", "--exec", "true"]).refused(&["post/backend", "another `laneway wake`"]);
    signal(&waker, Signal::SIGTERM);
    assert_eq!(waker.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_waker_waits_for_whoever_serves_and_pauses_when_a_command_takes_nothing() {
    let root = Root::new();
    let ticket = root.post("backend", &["x"]);
    let inbox = Post::open(root.queue("post")).serve("backend").expect("served");
    let mut waker = root.spawn(["wake", "backend", "--exec", "exit 3", "--json", "--pause", "10ms..20ms"]);
    let mut lines = BufReader::new(waker.stdout.take().expect("a pipe")).lines();
    let mut next = || {
        let line: serde_json::Value =
            serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
        (line["event"].as_str().expect("text").to_owned(), line["is"].clone())
    };
    // While it is served nothing is run: what happens first, happens after this.
    drop(inbox);
    for pause in [10, 20, 20] {
        assert_eq!(next().0, "started");
        assert_eq!(next(), ("ended".to_owned(), json!({ "success": false, "taken": 0 })));
        assert_eq!(next(), ("pause".to_owned(), json!({ "ms": pause })));
    }
    signal(&waker, Signal::SIGTERM);
    assert_eq!(waker.wait().expect("it ends").code(), Some(0));
    let status = root.run(["status", "backend", &ticket, "--json"]).json();
    assert_eq!((&status[0]["state"], &status[0]["attempts"]), (&json!("pending"), &json!(0)), "no attempt was counted");
}
