//! recv and drain: what is written is released, what is not written stays.

use crate::support::{Done, Root};
use laneway::Queue;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, pipe};
use std::process::Stdio;

#[test]
fn recv_takes_what_is_there_or_as_many_as_asked_for() {
    let root = Root::new();
    root.run(["send", "q", "a", "b", "c", "d"]).ok();
    assert_eq!(root.run(["recv", "q", "-n", "1"]).ok(), "a\n");
    assert_eq!(root.run(["recv", "q", "-n", "2", "--null"]).ok(), "b\0c\0");
    assert_eq!(root.run(["recv", "q"]).ok(), "d\n");
}

#[test]
fn recv_says_by_its_code_whether_anything_came() {
    let root = Root::new();
    root.run(["recv", "q"]).refused(&["/q", "no queue"]);
    root.run(["create", "q"]).ok();
    let nothing = root.run(["recv", "q", "--timeout", "10ms"]);
    assert_eq!((nothing.code, nothing.stdout.len(), nothing.stderr.as_str()), (Some(1), 0, ""));
    root.run(["send", "q", "a"]).ok();
    assert_eq!(root.run(["recv", "q", "-n", "2", "--timeout", "10ms"]).ok(), "a\n", "fewer than asked for is not none");
}

#[test]
fn recv_waits_for_a_message_that_is_sent_later() {
    let root = Root::new();
    root.run(["create", "q"]).ok();
    let receiver = root.spawn(["recv", "q", "--timeout", "30s"]);
    root.run(["send", "q", "late"]).ok();
    assert_eq!(Done::from(receiver.wait_with_output().expect("it ends")).ok(), "late\n");
}

#[test]
fn recv_follows_until_every_sender_has_closed() {
    let root = Root::new();
    let queue = Queue::create(root.queue("q")).expect("a queue");
    let mut sender = queue.sender().expect("attached");
    sender.send(b"one").expect("sent");
    let mut receiver = root.spawn(["recv", "q", "--follow", "--timeout", "30s"]);
    let mut lines = BufReader::new(receiver.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "one");
    sender.send(b"two").expect("sent");
    assert_eq!(lines.next().expect("a line").expect("text"), "two");
    sender.close();
    assert!(lines.next().is_none());
    assert!(receiver.wait().expect("it ends").success());
}

#[test]
fn json_has_text_or_base64() {
    let root = Root::new();
    root.run_with(["send", "q", "--whole"], "tab\t\"quote\" \u{1b}[31m ü".as_bytes()).ok();
    root.run_with(["send", "q", "--whole"], b"\xff\0\xfe").ok();
    let lines = root.run(["recv", "q", "-n", "2", "--json"]).json();
    assert_eq!(
        lines[0],
        json!({ "lane": 0, "position": 0, "priority": "normal", "text": "tab\t\"quote\" \u{1b}[31m ü" })
    );
    assert_eq!((&lines[1]["base64"], &lines[1]["text"]), (&json!("/wD+"), &json!(null)));
}

#[test]
fn payloads_are_written_as_they_are() {
    let root = Root::new();
    let bytes: Vec<u8> = (0..=255).collect();
    root.run_with(["send", "q", "--whole"], &bytes).ok();
    let received = root.run(["recv", "q", "--null"]);
    assert_eq!(received.stdout, [&bytes[..], b"\0"].concat());
}

#[test]
fn drain_is_content_with_nothing() {
    let root = Root::new();
    root.run(["create", "q"]).ok();
    assert_eq!(root.run(["drain", "q"]).ok(), "");
    assert_eq!(root.run(["drain", "q", "--json"]).ok(), "");
}

#[test]
fn drain_takes_from_every_lane() {
    let root = Root::new();
    let queue = Queue::create(root.queue("q")).expect("a queue");
    let mut senders: Vec<_> = (0..5).map(|_| queue.sender().expect("attached")).collect();
    for (number, sender) in senders.iter_mut().enumerate() {
        for count in 0..100 {
            sender.send(format!("{number} {count}").as_bytes()).expect("sent");
        }
    }
    let lines = root.run(["drain", "q", "--json"]).json();
    assert_eq!(lines.len(), 500);
    for lane in 0..5 {
        let texts: Vec<_> = lines.iter().filter(|line| line["lane"] == lane).map(|line| &line["text"]).collect();
        assert!(texts.iter().enumerate().all(|(count, text)| **text == format!("{lane} {count}")), "lane {lane}");
    }
    assert_eq!(root.run(["drain", "q"]).ok(), "");
}

#[test]
fn nobody_reads_so_nothing_is_taken() {
    let root = Root::new();
    root.run(["send", "q", "a", "b"]).ok();
    for (command, code) in [(&["recv", "q"][..], 1), (&["recv", "q", "--json", "--follow"], 1), (&["drain", "q"], 0)] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let done: Done = root.command(command).stdout(writer).output().expect("it runs").into();
        assert_eq!((done.code, done.stderr.as_str()), (Some(code), ""), "{command:?}");
    }
    assert_eq!(root.run(["drain", "q"]).ok(), "a\nb\n");
}

#[test]
fn a_reader_that_goes_away_leaves_the_rest_in_the_queue() {
    let root = Root::new();
    root.run(["send", "q", "one"]).ok();
    let mut receiver = root.spawn(["recv", "q", "--follow", "--timeout", "30s"]);
    let mut stdout = BufReader::new(receiver.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    assert_eq!(line, "one\n");
    // As `head -1` does.
    drop(stdout);
    root.run(["send", "q", "two", "three"]).ok();
    let done: Done = receiver.wait_with_output().expect("it ends").into();
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "it delivered one, and ended quietly");
    assert_eq!(root.run(["drain", "q"]).ok(), "two\nthree\n");
}

#[test]
fn a_message_that_was_written_in_part_is_delivered_again() {
    let root = Root::new();
    // More than a pipe holds, so that the write stops in the middle.
    let long = "0123456789".repeat(20_000);
    root.run_with(["send", "q", "--whole"], long.as_bytes()).ok();
    for command in [&["recv", "q"][..], &["drain", "q"]] {
        let mut receiver = root.spawn(command);
        let mut some = [0; 10];
        receiver.stdout.take().expect("a pipe").read_exact(&mut some).expect("the beginning");
        assert_eq!(&some, b"0123456789");
        let done: Done = receiver.wait_with_output().expect("it ends").into();
        assert_eq!(done.stderr, "");
    }
    assert_eq!(root.run(["drain", "q"]).ok().trim_end(), long);
}

#[test]
fn output_that_cannot_be_written_stays_in_the_queue() {
    let root = Root::new();
    root.run(["send", "q", "a"]).ok();
    for command in [["recv", "q"], ["drain", "q"]] {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
        let done: Done = root.command(command).stdout(Stdio::from(full)).output().expect("it runs").into();
        done.refused(&["standard output", "space"]);
    }
    assert_eq!(root.run(["drain", "q"]).ok(), "a\n");
}

#[test]
fn a_broken_pipe_ends_the_other_commands_quietly() {
    let root = Root::new();
    root.run(["create", "q"]).ok();
    let looks = [&["ls"][..], &["ls", "--json"], &["stat", "q"], &["completions", "bash"]].map(|words| (words, 0));
    // For a send there is more to it: what came after was not sent.
    for (words, code) in looks.into_iter().chain([(&["send", "q", "x", "y", "--json"][..], 2)]) {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let done: Done = root.command(words).stdout(writer).output().expect("it runs").into();
        assert_eq!((done.code, done.stderr.as_str()), (Some(code), ""), "{words:?}");
    }
    assert_eq!(root.run(["drain", "q"]).ok(), "x\n", "what was committed stays committed");
}
