//! doctor, with processes that are really stopped, killed and in the way.

use crate::support::{Root, eventually};
use laneway::Queue;
use laneway::layout::{HEADER_LEN, Header, RING};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// What the doctor says of the root and what is in it, and not of the host; and what it mended.
struct Visit {
    code: Option<i32>,
    findings: Vec<Value>,
    mended: Vec<Value>,
}

fn read(output: Output, root: &Path) -> Visit {
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let (mended, findings): (Vec<Value>, Vec<Value>) = lines.into_iter().partition(|line| line.get("mended").is_some());
    let is_wrong = |finding: &Value| ["warning", "error"].iter().any(|severity| finding["severity"] == *severity);
    assert_eq!(output.status.code(), Some(findings.iter().any(is_wrong).into()), "{findings:?}");
    for finding in &findings {
        assert!(
            ["what", "why"].iter().all(|key| finding[key].as_str().is_some_and(|text| !text.is_empty())),
            "{finding}"
        );
    }
    let about_us = |finding: &Value| Path::new(finding["about"].as_str().expect("a path")).starts_with(root);
    Visit { code: output.status.code(), findings: findings.into_iter().filter(about_us).collect(), mended }
}

fn visit(root: &Root, args: &[&str]) -> Visit {
    let output = root.command(["doctor", "--json"].iter().chain(args)).output().expect("the binary runs");
    read(output, root.path())
}

impl Visit {
    /// The one finding of this name about a queue or a mailbox of this name.
    #[track_caller]
    fn one(&self, id: &str, name: &str) -> &Value {
        let is_it = |finding: &&Value| {
            finding["id"] == id
                && finding["about"].as_str().is_some_and(|about| about.split('/').any(|part| part == name))
        };
        let found: Vec<&Value> = self.findings.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{id} of {name} in {:?}", self.findings);
        found[0]
    }

    fn has(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding["id"] == id)
    }
}

#[track_caller]
fn says(finding: &Value, parts: &[&str]) {
    let text = finding.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in {text}"));
}

/// A process that ends with its test.
struct Running(Child);

impl Running {
    fn start(root: &Root, args: &[&str]) -> Running {
        Running(root.command(args).stdin(Stdio::piped()).spawn().expect("the binary runs"))
    }

    fn say(&mut self, text: &str) {
        self.0.stdin.as_mut().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("it is there");
    }

    fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
    }

    fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("it is stopped", || self.state() == 'T');
    }

    fn go_on(&self) {
        self.signal(Signal::SIGCONT);
        eventually("it goes on", || self.state() != 'T');
    }

    fn kill(mut self) {
        self.0.kill().expect("it is there");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sent(root: &Root, name: &str) -> u64 {
    let lanes = Queue::open(root.queue(name)).and_then(|queue| queue.observe()?.lanes());
    lanes.map_or(0, |lanes| lanes.iter().map(|lane| lane.sent).sum())
}

#[test]
fn with_too_few_files_allowed_it_says_how_many_and_how_there_are_more() {
    let root = Root::new();
    (0..30).for_each(|number| drop(Queue::create(root.queue(&format!("q{number:02}"))).expect("a queue")));
    let limited = format!("ulimit -n 24; exec {} doctor --json", env!("CARGO_BIN_EXE_laneway"));
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &limited]).env("LANEWAY_DIR", root.path()).env_remove("LANEWAY_POST").output();
    let visit = read(output.expect("a shell"), root.path());
    let finding = visit.one("cannot-open", "q29");
    says(finding, &["Too many open files", "may open 24 files", "`ulimit -n`"]);
    let remedy = finding["remedy"].as_str().expect("a remedy");
    assert!(["ulimit -n 4096", "sudo prlimit --pid $$ --nofile=4096"].contains(&remedy), "{remedy}");
}

#[test]
fn what_is_healthy_is_said_to_be_and_looking_leaves_no_trace() {
    let root = Root::new();
    let queue = Queue::create(root.queue("steps")).expect("a queue");
    let (_receiver, _sender) = (queue.receiver().expect("attached"), queue.sender().expect("attached"));
    root.post("backend", &["run the tests"]);
    let mut serving = root.command(["serve", "backend", "--exec", "true", "--once"]);
    assert!(serving.status().expect("the binary runs").success());
    let names = |root: &Root| {
        let output = Command::new("find").arg(root.path()).output().expect("find runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let before = names(&root);
    let visit = visit(&root, &["--all"]);
    for name in ["steps", "backend"] {
        visit.one("sound", name);
    }
    let worth = |finding: &&Value| {
        finding["severity"] != "ok" && !["file-system", "overcommitted"].iter().any(|id| finding["id"] == *id)
    };
    assert_eq!(visit.findings.iter().find(worth), None);
    assert_eq!(names(&root), before);
}

#[test]
fn a_sender_that_is_stopped_is_found_with_its_process_until_it_goes_on() {
    let root = Root::new();
    let mut sender = Running::start(&root, &["send", "steps"]);
    sender.say("one\n");
    eventually("it has sent", || sent(&root, "steps") == 1);
    assert!(!visit(&root, &[]).has("sender-stopped"));
    sender.stop();
    let visit_now = visit(&root, &[]);
    let pid = sender.0.id().to_string();
    says(
        visit_now.one("sender-stopped", "steps"),
        &[&pid, "(laneway)", "lane 0", "is stopped", &format!("kill -CONT {pid}")],
    );
    assert_eq!(visit_now.code, Some(1));
    sender.go_on();
    assert!(!visit(&root, &[]).has("sender-stopped"));
}

#[test]
fn a_receiver_that_is_stopped_is_another_matter_than_one_that_was_killed() {
    let root = Root::new();
    root.run(["create", "steps"]).ok();
    let receiver = Running::start(&root, &["recv", "steps", "--follow"]);
    let stat =
        |root: &Root| Queue::open(root.queue("steps")).and_then(|queue| queue.observe()?.stat()).expect("a queue");
    // It has its lock before it counts as one who receives, and both before it sleeps.
    eventually("it waits for messages", || stat(&root).receiver_sleeps);
    receiver.stop();
    root.run(["send", "steps", "one", "two"]).ok();
    let pid = receiver.0.id().to_string();
    let visit_now = visit(&root, &["steps"]);
    says(visit_now.one("receiver-stopped", "steps"), &["error", &pid, "2 messages wait"]);
    assert!(!visit_now.has("nobody-receives"));
    receiver.kill();
    eventually("its lock is free", || !stat(&root).receiver_alive);
    let visit_now = visit(&root, &["steps"]);
    says(visit_now.one("nobody-receives", "steps"), &["warning", "2 messages wait", "any more", "laneway recv"]);
    assert!(!visit_now.has("receiver-stopped"));
    root.run(["drain", "steps"]).ok();
    assert!(!visit(&root, &["steps"]).has("nobody-receives"));
}

#[test]
fn mail_that_nobody_ever_took_and_mail_that_nobody_could_deal_with() {
    let root = Root::new();
    root.post("backend", &["run the tests"]);
    says(visit(&root, &["backend"]).one("nobody-receives", "backend"), &["1 message wait", "ever", "laneway serve"]);
    let mut refusing = root.command(["serve", "backend", "--exec", "exit 65", "--once"]);
    assert!(refusing.status().expect("the binary runs").success());
    let visit_now = visit(&root, &["backend"]);
    assert!(!visit_now.has("nobody-receives"), "{:?}", visit_now.findings);
    says(visit_now.one("dead-letters", "backend"), &["1 message", "laneway dead list"]);
    root.run(["dead", "drop", "backend", "--all"]).ok();
    assert!(!visit(&root, &["backend"]).has("dead-letters"));
}

#[test]
fn a_sender_that_waits_for_room_is_found() {
    let root = Root::new();
    root.run(["create", "small", "--capacity", "4K", "--overflow", "0"]).ok();
    let mut sender = Running::start(&root, &["send", "small", "--on-full", "block", "--wait"]);
    sender.say(&format!("{}\n", "x".repeat(1500)).repeat(4));
    let blocked = |root: &Root| visit(root, &[]).has("sender-blocked");
    eventually("it waits for room", || blocked(&root));
    says(visit(&root, &[]).one("sender-blocked", "small"), &["lane 0", "2 messages"]);
    eventually("it goes on", || {
        root.run(["drain", "small"]).ok();
        !blocked(&root)
    });
}

#[test]
fn lanes_that_are_poisoned_or_unreadable_are_named_with_the_place() {
    let root = Root::new();
    let queue = Queue::create(root.queue("steps")).expect("a queue");
    let mut senders = [queue.sender().expect("attached"), queue.sender().expect("attached")];
    for sender in &mut senders {
        sender.send(b"out of reach").expect("sent");
    }
    assert!(!visit(&root, &[]).has("poisoned-lane"));
    let damage = |lane: &str, at: u64| {
        let file = OpenOptions::new().write(true).open(root.queue("steps").join(lane)).expect("a lane");
        file.write_all_at(&[0xa5; 8], at).expect("written");
    };
    damage("lane-000", RING as u64);
    damage("lane-001", 40);
    drop(senders);
    assert_eq!(root.run(["drain", "steps"]).code, Some(2));
    let visit = visit(&root, &[]);
    let found: Vec<&Value> = visit.findings.iter().filter(|finding| finding["id"] == "poisoned-lane").collect();
    assert_eq!(found.len(), 2, "{found:?}");
    says(found[0], &["error", "lane 0 is damaged at position 0", "0xa5a5a5a5a5a5a5a5", "laneway rm"]);
    says(found[1], &["error", "lane 1", "header"]);
}

/// Makes a queue one of another boot.
fn age(queue: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(queue.join("queue")).expect("a file");
    let mut bytes = [0; HEADER_LEN];
    file.read_exact_at(&mut bytes, 0).expect("a header");
    let mut header: Header = bytemuck::pod_read_unaligned(&bytes);
    header.boot_id[0] ^= 1;
    file.write_all_at(bytemuck::bytes_of(&header.sealed()), 0).expect("written");
}

#[test]
fn fixing_clears_away_what_is_dead_and_leaves_the_rest() {
    let root = Root::new();
    // Of another boot: a queue and a mailbox.
    root.run(["send", "old", "x"]).ok();
    age(&root.queue("old"));
    root.post("veteran", &["x"]);
    age(&root.path().join("post/veteran/mail"));
    // Left by killed processes: of queues, of mailboxes, and of a mailbox's queues.
    root.post("backend", &["run the tests"]);
    let hidden = [".laneway-0123456789abcdef", "post/.laneway-mail-00ff", "post/backend/.laneway-fedcba9876543210"];
    for path in hidden.map(|hidden| root.path().join(hidden)) {
        fs::create_dir(&path).expect("made");
        if !path.ends_with(".laneway-mail-00ff") {
            fs::write(path.join("receiver.lock"), "").expect("made");
        }
    }
    // A lane that grew, and whose sender was killed.
    root.run(["create", "grown", "--capacity", "4K", "--overflow", "1M"]).ok();
    let mut sender = Running::start(&root, &["send", "grown"]);
    sender.say(&format!("{}\n", "x".repeat(1000)).repeat(100));
    eventually("it has sent", || sent(&root, "grown") == 100);
    sender.kill();
    eventually("its lock is free", || {
        Queue::open(root.queue("grown"))
            .and_then(|queue| queue.observe()?.lanes())
            .is_ok_and(|lanes| !lanes[0].sender_alive)
    });
    root.run(["drain", "grown"]).ok();
    // What is none of that: a version that we do not know, and a queue that is in use.
    root.run(["create", "other"]).ok();
    let file = OpenOptions::new().write(true).open(root.queue("other").join("queue")).expect("a file");
    file.write_all_at(&[9], 8).expect("written");
    let held = Queue::create(root.queue("held")).expect("a queue");
    let _sender = held.sender().expect("attached");

    let before = visit(&root, &[]);
    for (id, name, fixable) in [
        ("other-boot", "old", true),
        ("other-boot", "veteran", true),
        ("leftovers", "post", true),
        ("leftovers", "backend", true),
        ("idle-memory", "grown", true),
        ("other-version", "other", false),
    ] {
        let found: Vec<&Value> = before
            .findings
            .iter()
            .filter(|finding| {
                finding["id"] == id && finding["about"].as_str().is_some_and(|about| about.ends_with(name))
            })
            .collect();
        assert_eq!(found.len(), 1, "{id} of {name}: {:?}", before.findings);
        assert_eq!(found[0]["fixable"], fixable, "{id}");
    }
    assert!(before.mended.is_empty() && root.queue("old").exists(), "nobody asked for that");

    let after = visit(&root, &["--fix"]);
    assert_eq!(after.mended.len(), 6, "{:?}", after.mended);
    assert!(after.mended.iter().all(|mended| mended["error"].is_null()), "{:?}", after.mended);
    for id in ["other-boot", "leftovers", "idle-memory"] {
        assert!(!after.has(id), "{id}: {:?}", after.findings);
    }
    after.one("other-version", "other");
    assert!(root.queue("held").exists() && !root.queue("old").exists() && !root.path().join("post/veteran").exists());
    assert!(hidden.iter().all(|hidden| !root.path().join(hidden).exists()));
    let again = visit(&root, &["--fix"]);
    assert!(again.mended.is_empty(), "{:?}", again.mended);
}

#[test]
fn what_somebody_still_builds_is_no_leftover() {
    let root = Root::new();
    // What a creator does first, by the hand of somebody else: flock(1) has other locks.
    let hidden = root.path().join(".laneway-0123456789abcdef");
    let queue = Queue::create(root.queue("steps")).expect("a queue");
    let receiver = queue.receiver().expect("attached");
    fs::rename(root.queue("steps"), &hidden).expect("renamed");
    assert!(!visit(&root, &[]).has("leftovers"));
    drop(receiver);
    visit(&root, &[]).one("leftovers", root.path().file_name().and_then(|name| name.to_str()).expect("text"));
}

#[test]
fn a_name_is_looked_up_and_one_that_is_nowhere_is_an_error() {
    let root = Root::new();
    root.run(["send", "steps", "x"]).ok();
    root.run(["send", "other", "x"]).ok();
    let by_path = root.queue("steps").to_str().expect("text").to_owned();
    for name in ["steps", &by_path] {
        let visit = visit(&root, &[name]);
        visit.one("nobody-receives", "steps");
        assert!(visit.findings.iter().all(|finding| !finding["about"].as_str().expect("text").ends_with("/other")));
    }
    root.run(["doctor", "nothing"]).refused(&["no queue", "no mailbox", "nothing"]);
    root.run(["doctor", "../x/.."]).refused(&["name"]);
    let printed = root.run(["doctor"]);
    assert_eq!(printed.code, Some(1), "{printed:?}");
    let text = String::from_utf8(printed.stdout).expect("text");
    for part in ["warning  nobody-receives  ", "1 message wait", "$ laneway recv ", "2 warnings"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_directory_that_others_can_write_in_or_that_can_carry_no_queue_is_an_error() {
    let root = Root::new();
    Command::new("chmod").arg("0777").arg(root.path()).status().expect("chmod runs");
    let name = root.path().file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    says(visit(&root, &[]).one("root-mode", &name), &["error", "0777", "chmod go-w"]);
    Command::new("chmod").arg("0700").arg(root.path()).status().expect("chmod runs");
    assert!(!visit(&root, &[]).has("root-mode"));
    let output = root.command(["doctor", "--json"]).env("LANEWAY_DIR", "/proc/self").output().expect("the binary runs");
    says(read(output, Path::new("/proc/self")).one("file-system", "self"), &["error", "proc", "LANEWAY_DIR"]);
}

#[test]
fn a_file_system_that_is_nearly_full_or_read_only_is_found() {
    let root = Root::new();
    let binary = env!("CARGO_BIN_EXE_laneway");
    let script = "mount -t tmpfs -o size=8m none \"$2\" && \"$1\" doctor --json > \"$3/empty\"; \
                  head -c 7900000 /dev/zero > \"$2/ballast\" && \"$1\" doctor --json > \"$3/full\"; \
                  mount -o remount,ro \"$2\" && \"$1\" doctor --json > \"$3/read-only\"; exit 0";
    let (small, out) = (root.path().join("small"), root.path().join("out"));
    [&small, &out].into_iter().for_each(|path| fs::create_dir(path).expect("made"));
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "sh", "-c", script, "sh", binary]).args([&small, &out]);
    let done = unshare.env("LANEWAY_DIR", &small).env_remove("LANEWAY_POST").output();
    let Some(full) = fs::read(out.join("full")).ok().filter(|full| !full.is_empty()) else {
        eprintln!("no namespaces of its own here: {done:?}");
        return;
    };
    let ids = |text: &[u8]| -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(text).into_owned();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let word = |value: &Value| value.as_str().expect("text").to_owned();
        lines.map(|line| (word(&line["id"]), word(&line["severity"]))).collect()
    };
    let has = |text: &[u8], id: &str| ids(text).contains(&(id.to_owned(), "error".to_owned()));
    let empty = fs::read(out.join("empty")).expect("it was there before");
    assert!(!has(&empty, "no-space") && !has(&empty, "read-only"), "{:?}", ids(&empty));
    assert!(has(&full, "no-space") && !has(&full, "read-only"), "{:?}", ids(&full));
    assert!(has(&fs::read(out.join("read-only")).expect("written"), "read-only"));
}

#[test]
fn a_link_that_looks_like_a_leftover_leads_nobody_to_a_mailbox_that_is_in_use() {
    let root = Root::new();
    let ticket = root.post("backend", &["run the tests"]);
    std::os::unix::fs::symlink("backend", root.path().join("post/.laneway-mail-00ff")).expect("linked");
    std::os::unix::fs::symlink("nowhere", root.path().join(".laneway-0123456789abcdef")).expect("linked");
    // One that is somebody's keeps no other.
    fs::create_dir(root.path().join("post/.laneway-mail-01ff")).expect("made");
    fs::write(root.path().join("post/.laneway-mail-01ff/mine"), "precious").expect("written");
    fs::create_dir(root.path().join("post/.laneway-mail-02ff")).expect("made");
    let visit = visit(&root, &["--fix"]);
    assert_eq!(visit.mended.len(), 1, "{:?}", visit.mended);
    assert_eq!(root.state("backend", &ticket), "pending");
    assert!(root.path().join("post/.laneway-mail-01ff/mine").exists());
    assert!(!root.path().join("post/.laneway-mail-02ff").exists());
}

#[test]
fn what_is_not_a_mailboxs_keeps_one_of_another_boot_under_its_name() {
    let root = Root::new();
    root.post("veteran", &["x"]);
    let mail = root.path().join("post/veteran/mail");
    age(&mail);
    fs::write(mail.join("mine"), "precious").expect("written");
    let mended = visit(&root, &["--fix"]).mended;
    assert!(mended.len() == 1 && !mended[0]["error"].is_null(), "{mended:?}");
    assert!(mail.join("mine").exists() && mail.join("lane-000").exists());
}
