//! tail, peek, record and replay: what is seen, and that nothing is taken.

use crate::support::{Done, Root, eventually};
use laneway::mailbox::Post;
use laneway::{Priority, Queue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

fn wait(child: std::process::Child) -> Done {
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn tail_shows_what_comes_and_takes_nothing() {
    let root = Root::new();
    root.run(["send", "q", "old"]).ok();
    let mut tail = root.spawn(["tail", "q", "--since", "pending", "-n", "3", "--timeout", "30s"]);
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "0:0  normal  old");
    root.run(["send", "q", "--priority", "urgent", "now\u{1b}[2J"]).ok();
    let urgent = next();
    assert!(urgent.ends_with(":0  urgent  now\\u{1b}[2J"), "{urgent}");
    root.run_with(["send", "q", "--whole"], b"\xff\n").ok();
    assert!(next().ends_with("  normal  \\xff\\n"));
    assert!(tail.wait().expect("it ends").success());
    assert_eq!(root.run(["recv", "q", "-n", "3", "--json"]).json().len(), 3, "all are still there");
    let nothing = root.run(["tail", "q", "--timeout", "10ms"]);
    assert_eq!((nothing.code, nothing.stdout.len(), nothing.stderr.as_str()), (Some(1), 0, ""));
}

#[test]
fn tail_says_how_many_messages_it_missed() {
    let root = Root::new();
    let queue = Queue::options().capacity(4096).overflow_limit(0).create(root.queue("q")).expect("a queue");
    let (mut sender, receiver) = (queue.sender().expect("attached"), queue.receiver().expect("attached"));
    // The pipe is full long before all is printed, and so the tail stands still.
    let (reader, writer) = pipe().expect("a pipe");
    let args = ["tail", "q", "--json", "--since", "pending", "--timeout", "1s"];
    let tail = root.command(args).stdout(writer).spawn().expect("it runs");
    let mut lines = BufReader::new(reader).lines().map(|line| {
        let line = line.expect("text");
        serde_json::from_str::<Value>(&line).expect("a line of JSON")
    });
    const ALL: u64 = 20_000;
    sender.send(b"000000").expect("sent");
    let first = lines.next().expect("it looks before there is more");
    for number in 1..ALL {
        sender.send(format!("{number:06}").as_bytes()).expect("sent");
        receiver.recv().expect("received").release();
    }
    let lines: Vec<Value> = std::iter::once(first).chain(lines).collect();
    let missed: u64 = lines.iter().filter_map(|line| line["lapped"]["messages"].as_u64()).sum();
    let seen = lines.iter().filter(|line| line["text"].is_string()).count() as u64;
    assert_eq!(seen + missed, ALL);
    wait(tail);
}

#[test]
fn tail_of_a_queue_that_is_removed_ends_with_a_sentence() {
    let root = Root::new();
    root.run(["send", "q", "one"]).ok();
    let mut tail = root.spawn(["tail", "q", "--since", "pending"]);
    let mut out = BufReader::new(tail.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    root.run(["rm", "q"]).ok();
    wait(tail).refused(&["/q", "removed"]);
}

#[test]
fn tail_and_peek_of_what_is_not_there_or_damaged() {
    let root = Root::new();
    for command in ["tail", "peek"] {
        root.run([command, "nobody"]).refused(&["/nobody", "no queue", "no mailbox"]);
        root.run([command, "../x"]).refused(&["x"]);
    }
    root.run(["create", "q"]).ok();
    let mut header = fs::read(root.queue("q").join("queue")).expect("a file");
    header[8] = 2;
    fs::write(root.queue("q").join("queue"), header).expect("written");
    root.run(["tail", "q"]).refused(&["version 2"]);
    root.run(["peek", "q"]).refused(&["version 2"]);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_tail_in_peace() {
    let root = Root::new();
    root.run_with(["send", "q"], "line\n".repeat(10_000).as_bytes()).ok();
    let mut tail = root.command(["tail", "q", "--since", "oldest"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut out = BufReader::new(tail.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    assert_eq!(wait(tail).ok(), "");
}

#[test]
fn peek_shows_the_order_of_a_receiver() {
    let root = Root::new();
    assert_eq!(root.run(["create", "q"]).ok().lines().count(), 1);
    assert_eq!(root.run(["peek", "q"]).code, Some(1));
    for (text, priority) in [("later", "low"), ("as usual", "normal"), ("at once", "urgent")] {
        root.run(["send", "q", text, "--priority", priority]).ok();
    }
    let texts = |lines: Vec<Value>| lines.iter().map(|line| line["text"].clone()).collect::<Vec<_>>();
    assert_eq!(texts(root.run(["peek", "q", "--json"]).json()), ["at once", "as usual", "later"]);
    assert_eq!(texts(root.run(["peek", "q", "--json", "-n", "1"]).json()), ["at once"]);
    assert_eq!(texts(root.run(["recv", "q", "-n", "3", "--json"]).json()), ["at once", "as usual", "later"]);
}

#[test]
fn of_a_mailbox_one_sees_who_sent_what_and_what_waits() {
    let root = Root::new();
    let first = root.post("box", &["one", "--from", "ann"]);
    let second = root.post("box", &["two", "--priority", "urgent", "--content", "json"]);
    let third = root.post("box", &["three"]);
    let lines = root.run(["tail", "box", "--json", "--since", "pending", "-n", "3"]).json();
    let of = |ticket: &str| lines.iter().find(|line| line["ticket"] == ticket).expect("it was seen");
    assert_eq!((&of(&first)["from"], &of(&first)["text"]), (&json!("ann"), &json!("one")));
    assert_eq!((&of(&second)["content"], &of(&second)["priority"]), (&json!("json"), &json!("urgent")));
    let waiting = |root: &Root| {
        let lines = root.run(["peek", "box", "--json"]).json();
        lines.iter().map(|line| (line["text"].clone(), line["state"].clone())).collect::<Vec<_>>()
    };
    let is = |text: &str, state: &str| (json!(text), json!(state));
    assert_eq!(waiting(&root), [is("two", "pending"), is("one", "pending"), is("three", "pending")]);
    // One is done with, one is kept for later, one is in somebody's hands.
    let inbox = Post::open(root.path().join("post")).serve("box").expect("served");
    inbox.recv().expect("two").ack();
    inbox.recv().expect("one").nack().expect("kept");
    let held = inbox.recv().expect("three");
    let lines = root.run(["peek", "box", "--json"]).json();
    let found: Vec<_> = lines.iter().map(|line| (line["ticket"].clone(), line["state"].clone())).collect();
    assert_eq!(found, [(json!(third), json!("taken")), (json!(first), json!("pending"))]);
    assert!(lines[1]["due_in_ms"].as_u64().expect("it waits") <= 1000 && lines[1]["attempts"] == 1);
    drop(held);
    let text = root.run(["peek", "box"]).ok();
    assert!(text.contains("ann  one"), "{text}");
}

#[test]
fn what_was_recorded_is_replayed() {
    let root = Root::new();
    let file = root.path().join("recording");
    let file = file.to_str().expect("text");
    root.run(["send", "q", "a", "b"]).ok();
    root.run_with(["send", "q", "--whole", "--priority", "urgent"], b"\xff\0").ok();
    let done = root.run(["record", "q", file, "--since", "pending", "--timeout", "50ms"]).ok();
    assert_eq!(done, "3 messages recorded, 0 missed\n");
    let whole = fs::read_to_string(file).expect("text");
    let head: Value = serde_json::from_str(whole.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&head["laneway_recording"], &head["of"]), (&json!(1), &json!("queue")));
    root.run(["record", "q", file]).refused(&["recording", "already"]);
    assert_eq!(root.run(["replay", file, "copy", "--fast"]).ok(), "3 messages sent\n");
    let texts = |name: &str| {
        let lines = root.run(["drain", name, "--json"]).json();
        lines
            .iter()
            .map(|line| (line["priority"].clone(), line["text"].clone(), line["base64"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("copy"), texts("q"), "nothing was taken, and all was sent");
    // What was cut off is said, and what was whole is sent.
    fs::write(file, &whole[..whole.len() - 10]).expect("written");
    let cut = root.run(["replay", file, "half", "--speed", "1000"]);
    assert_eq!((cut.code, &cut.stdout[..]), (Some(2), &b"2 messages sent\n"[..]));
    assert!(cut.stderr.contains("cut off"), "{cut:?}");
    for (wrong, part) in
        [("", "empty"), ("garbage\n", "first line"), ("{\"laneway_recording\":2,\"of\":\"queue\"}\n", "version 2")]
    {
        fs::write(file, wrong).expect("written");
        root.run(["replay", file, "none"]).refused(&[part]);
    }
    // What is no recording is not read into memory, and steers no terminal by way of the sentence about it.
    root.run(["replay", "/dev/zero", "none"]).refused(&["line 1 is longer"]);
    fs::write(file, "{\"laneway_recording\":1,\"of\":\"\\u001b[31m\"}\n").expect("written");
    root.run(["replay", file, "none"]).refused(&["`\\u{1b}[31m`"]);
    assert!(!root.queue("none").exists(), "nothing was made for it");
    let line = whole.lines().next().expect("a line");
    fs::write(file, format!("{line}\nwhat?\n")).expect("written");
    let wrong = root.run(["replay", file, "half"]);
    assert_eq!((wrong.code, &wrong.stdout[..]), (Some(2), &b"0 messages sent\n"[..]));
    assert!(wrong.stderr.contains("line 2"), "{wrong:?}");
    root.run(["replay", "/nowhere/at all", "half"]).refused(&["/nowhere/at all"]);
}

#[test]
fn a_recording_of_a_mailbox_is_posted_anew() {
    let root = Root::new();
    let file = root.path().join("recording");
    let file = file.to_str().expect("text");
    root.post("box", &["one", "--from", "ann"]);
    root.post("box", &["two", "--from", "bob", "--priority", "urgent"]);
    root.run(["record", "box", file, "--since", "oldest", "-n", "2"]).ok();
    root.run(["create", "q"]).ok();
    let queue = root.queue("q");
    let done = root.run(["replay", file, queue.to_str().expect("text"), "--fast"]);
    assert!(done.code == Some(2) && done.stderr.contains("it is a queue"), "{done:?}");
    root.run(["replay", file, "copy", "--fast"]).ok();
    let lines = root.run(["peek", "copy", "--json"]).json();
    let found: Vec<_> = lines.iter().map(|line| (line["from"].clone(), line["text"].clone())).collect();
    assert_eq!(found, [(json!("bob"), json!("two")), (json!("ann"), json!("one"))]);
    fs::write(file, "{\"laneway_recording\":1,\"of\":\"queue\"}\n").expect("written");
    let to = root.path().join("post/box");
    root.run(["replay", file, to.to_str().expect("text")]).refused(&["mailbox"]);
}

#[test]
fn a_full_disk_ends_a_recording_with_a_sentence() {
    let root = Root::new();
    root.run(["send", "q", "a"]).ok();
    root.run(["record", "q", "/dev/full", "--since", "pending"]).refused(&["/dev/full", "No space left"]);
    root.run(["record", "q", "/nowhere/file"]).refused(&["/nowhere/file"]);
}

#[test]
fn a_recording_goes_into_a_named_pipe_when_somebody_reads_it() {
    let root = Root::new();
    root.run(["send", "q", "one", "two"]).ok();
    let pipe = root.pipe("recording");
    let record = ["record", "q", pipe.to_str().expect("text"), "--since", "pending", "-n", "2"];
    let child = root.spawn(record);
    let lines: Vec<_> = BufReader::new(fs::File::open(&pipe).expect("it is opened")).lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(wait(child).ok(), "2 messages recorded, 0 missed\n");
    // Nobody comes: it waits no longer than for messages, and can be ended meanwhile.
    let ended = |mut child: std::process::Child| {
        eventually("it ends", || child.try_wait().expect("asked").is_some());
        wait(child)
    };
    ended(root.spawn(record.iter().chain(&["--timeout", "50ms"]))).refused(&["recording", "named pipe", "nobody"]);
    let child = root.spawn(record);
    let watches_for = |signal: Signal| {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask").trim().to_owned();
        u64::from_str_radix(&caught, 16).expect("a mask") & 1 << (signal as u32 - 1) != 0
    };
    eventually("it watches for the signal", || watches_for(Signal::SIGTERM));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let done = ended(child);
    assert_eq!((done.code, &done.stdout[..]), (Some(1), &b"0 messages recorded, 0 missed\n"[..]), "{done:?}");
}

#[test]
fn a_recording_that_is_interrupted_is_whole() {
    let root = Root::new();
    let queue = Queue::create(root.queue("q")).expect("a queue");
    let file = root.path().join("recording");
    let record = root.spawn(["record", "q", file.to_str().expect("text")]);
    eventually("it has begun", || fs::metadata(&file).is_ok_and(|file| file.len() > 0));
    let mut sender = queue.sender_options().priority(Priority::Low).attach().expect("attached");
    (0..100).for_each(|number: u32| assert!(sender.send(&number.to_le_bytes()).is_ok()));
    eventually("all is written", || {
        fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == 101 && text.ends_with('\n'))
    });
    kill(Pid::from_raw(record.id().cast_signed()), Signal::SIGTERM).expect("told");
    assert_eq!(wait(record).ok(), "100 messages recorded, 0 missed\n");
}

#[test]
fn dump_tells_everything_also_of_what_nobody_can_open() {
    let root = Root::new();
    root.run(["send", "q", "hello", &"\u{fc}".repeat(100)]).ok();
    root.run_with(["send", "q", "--whole"], b"\xff").ok();
    root.run(["recv", "q", "-n", "1"]).ok();
    let dump = |root: &Root, name: &str| root.run(["dump", name, "--json"]).json();
    let records =
        |lines: &[Value]| -> Vec<Value> { lines.iter().filter(|line| line["record"] == "data").cloned().collect() };
    let sound = records(&dump(&root, "q"));
    assert_eq!((&sound[0]["text"], &sound[0]["released"]), (&json!("hello"), &json!(true)));
    assert_eq!((&sound[1]["text"], &sound[1]["len"]), (&json!("\u{fc}".repeat(32)), &json!(200)));
    assert_eq!(sound[2]["base64"], "/w==");
    let whole = records(&root.run(["dump", "q", "--json", "--payloads"]).json());
    assert_eq!(whole[1]["text"], "\u{fc}".repeat(100));
    let text = root.run(["dump", "q"]).ok();
    for part in ["queue, 4096 bytes", "ring_capacity", "write_hint", "receiver.lock", "not held", "hello", "\\xff"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // Of another version: refused by everybody else.
    let header = root.queue("q").join("queue");
    let mut bytes = fs::read(&header).expect("a file");
    bytes[8] = 9;
    fs::write(&header, bytes).expect("written");
    root.run(["stat", "q"]).refused(&["version 9"]);
    let lines = dump(&root, "q");
    assert!(lines.iter().any(|line| line["problem"].as_str().is_some_and(|text| text.contains("version 9"))));
    assert_eq!(records(&lines), sound);
    let alone = root.queue("q").join("lane-000");
    assert_eq!(records(&root.run(["dump".as_ref(), alone.as_os_str(), "--json".as_ref()]).json()).len(), 2 + 1);
    root.run(["dump", "nobody"]).refused(&["/nobody", "No such file"]);
    root.post("box", &["mail"]);
    assert!(root.run(["dump", "box"]).ok().contains("box/mail"));
    fs::write(root.queue("garbage"), "what?").expect("written");
    assert!(root.run(["dump", "garbage"]).ok().contains("no file of a queue"));
}

#[test]
fn looking_changes_no_byte_of_a_queue() {
    let root = Root::new();
    root.run(["send", "q", "one", "two"]).ok();
    root.run(["recv", "q", "-n", "1"]).ok();
    let files = || {
        let mut files: Vec<_> = fs::read_dir(root.queue("q"))
            .expect("a directory")
            .map(|entry| entry.expect("a file").path())
            .map(|path| (path.clone(), fs::read(path).expect("bytes")))
            .collect();
        files.sort();
        files
    };
    let before = files();
    let recording = root.path().join("recording");
    let recording = recording.to_str().expect("text");
    root.run(["tail", "q", "--since", "oldest", "--timeout", "1ms"]).ok();
    root.run(["peek", "q"]).ok();
    root.run(["dump", "q"]).ok();
    root.run(["record", "q", recording, "--since", "oldest", "--timeout", "1ms"]).ok();
    assert!(before == files(), "a file is not what it was");
}

#[test]
fn a_recording_may_say_that_more_was_missed_than_can_be_counted() {
    let root = Root::new();
    let file = root.path().join("recording");
    let gap = format!("{{\"at_ns\":0,\"lapped\":{{\"messages\":{}}}}}\n", u64::MAX);
    fs::write(&file, format!("{{\"laneway_recording\":1,\"of\":\"queue\"}}\n{gap}{gap}")).expect("written");
    let done = root.run(["replay", file.to_str().expect("a path"), "copy", "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    assert_eq!((done.code, said), (Some(0), json!({ "sent": 0, "missing": u64::MAX })));
}

#[test]
fn a_path_steers_no_terminal() {
    let root = Root::new();
    let place = root.path().join("red\x1b[31m\nred");
    fs::create_dir(&place).expect("made");
    let run = |args: &[&str]| Done::from(root.command(args).env("LANEWAY_DIR", &place).output().expect("it runs"));
    run(&["send", "q", "one"]).ok();
    run(&["post", "backend", "two"]).ok();
    for args in [&["dump", "q"][..], &["dump", "backend"], &["doctor"], &["stat", "q"], &["mail", "stat", "backend"]] {
        let done = run(args);
        let text = String::from_utf8(done.stdout).expect("text") + &done.stderr;
        assert!(text.contains("red\\u{1b}[31m\\nred"), "{args:?}: {text:?}");
        assert!(!text.contains('\x1b'), "{args:?}: {text:?}");
    }
}
