//! create, ls, rm, stat, send, completions.

use crate::support::Root;
use laneway::Queue;
use serde_json::json;
use std::io::Write;
use std::process::Stdio;

#[test]
fn create_takes_sizes_with_units_and_says_where_the_queue_is() {
    let root = Root::new();
    let printed = root.run(["create", "plain"]).ok();
    assert_eq!(printed.trim_end(), root.queue("plain").to_str().expect("text"));
    let limits = ["--capacity", "64K", "--max-lanes", "3", "--max-message", "1k"];
    let created = root.run(["create", "small", "--json"].into_iter().chain(limits)).json();
    let path = root.queue("small");
    let limits = json!({
        "path": path, "capacity": 65_536, "overflow_limit": 1 << 20, "max_lanes": 3, "max_message": 1024,
    });
    assert_eq!(created, [limits]);
    assert_eq!(Queue::open(path).expect("a queue").capacity(), 65_536);
    root.run(["create", "small"]).refused(&["small", "already"]);
}

#[test]
fn a_queue_with_a_slash_is_a_path() {
    let root = Root::new();
    let path = root.queue("deep/er").to_str().expect("text").to_owned();
    root.run(["send", &path, "hello"]).ok();
    assert_eq!(root.run(["drain", &path]).ok(), "hello\n");
    assert_eq!(root.run(["ls"]).ok(), "", "it is not directly under the root");
}

#[test]
fn names_are_looked_up_where_the_environment_says() {
    let root = Root::new();
    let run = |set: &[(&str, &str)]| {
        let mut command = root.command(["create", "named"]);
        command.env_remove("LANEWAY_DIR").envs(set.iter().copied());
        String::from_utf8(command.output().expect("the binary runs").stdout).expect("text")
    };
    let runtime = root.queue("run").to_str().expect("text").to_owned();
    let own = root.queue("own").to_str().expect("text").to_owned();
    assert_eq!(run(&[("XDG_RUNTIME_DIR", &runtime)]), format!("{runtime}/laneway/named\n"));
    assert_eq!(run(&[("XDG_RUNTIME_DIR", &runtime), ("LANEWAY_DIR", &own)]), format!("{own}/named\n"));
}

#[test]
fn each_text_is_a_message_and_gets_a_ticket() {
    let root = Root::new();
    assert_eq!(root.run(["send", "q", "one", "", "drei"]).ok(), "");
    let tickets = root.run(["send", "q", "four", "--json"]).json();
    assert_eq!(tickets.len(), 1);
    let received = root.run(["drain", "q", "--json"]).json();
    let texts: Vec<_> = received.iter().map(|line| line["text"].as_str().expect("text")).collect();
    assert_eq!(texts, ["one", "", "drei", "four"]);
    for key in ["lane", "position"] {
        assert_eq!(tickets[0][key], received[3][key], "the ticket names the message");
    }
}

#[test]
fn standard_input_is_split_at_lines_or_at_nul_or_not_at_all() {
    let root = Root::new();
    let drained = |root: &Root| root.run(["drain", "q", "--null"]).ok();
    root.run_with(["send", "q"], b"a\n\nb\r\nlast").ok();
    assert_eq!(drained(&root), "a\0\0b\r\0last\0");
    root.run_with(["send", "q", "--null"], b"two\nlines\0one\0").ok();
    assert_eq!(drained(&root), "two\nlines\0one\0");
    root.run_with(["send", "q", "--whole"], b"all\nof\0it\n").ok();
    assert_eq!(drained(&root), "all\nof\0it\n\0");
    root.run_with(["send", "q"], b"").ok();
    assert_eq!(drained(&root), "", "no input, no message");
    root.run_with(["send", "q", "--whole"], b"").ok();
    assert_eq!(drained(&root), "\0", "an empty message is one");
}

#[test]
fn what_is_too_long_is_refused_however_long_it_is() {
    let root = Root::new();
    root.run(["create", "q", "--max-message", "8"]).ok();
    root.run(["send", "q", "12345678"]).ok();
    root.run(["send", "q", "123456789"]).refused(&["/q", "9 bytes", "8"]);
    root.run_with(["send", "q"], &[&b"12345678\nok\n"[..], &[b'x'; 100_000], b"\nnever\n"].concat()).refused(&[
        "/q",
        "message 3",
        "8",
        "2 sent",
    ]);
    root.run_with(["send", "q", "--whole"], &[b'x'; 100_000]).refused(&["/q", "8"]);
    assert_eq!(root.run(["drain", "q"]).ok(), "12345678\n12345678\nok\n");
}

#[test]
fn a_full_lane_fails_the_send_or_makes_it_wait() {
    let root = Root::new();
    root.run(["create", "q", "--capacity", "4K", "--overflow", "4K"]).ok();
    let input: String = (0..1000).map(|number| format!("message {number}\n")).collect();
    root.run_with(["send", "q"], input.as_bytes()).refused(&["/q", "lane 0", "no room", "4096", "8192", "--wait"]);
    root.run(["send", "q", &"x".repeat(3000), "--timeout", "1ms"]).refused(&["/q", "no room"]);
    let kept = root.run(["drain", "q"]).ok();
    assert!(input.starts_with(&kept) && !kept.is_empty(), "what was sent before is kept, whole and in order");

    let mut waiting = root.command(["send", "q", "--wait"]).stdin(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = waiting.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("a pipe holds that much");
    drop(stdin);
    let received = root.run(["recv", "q", "-n", "1000", "--timeout", "30s"]).ok();
    assert_eq!(received, input);
    assert!(waiting.wait().expect("it ends").success());
}

#[test]
fn ls_shows_what_is_there_also_what_is_broken() {
    let root = Root::new();
    assert_eq!(root.run(["ls"]).ok(), "");
    assert_eq!(root.run(["ls", "--json"]).ok(), "");
    root.run(["send", "busy", "x", "y"]).ok();
    root.run(["create", "broken"]).ok();
    std::fs::write(root.queue("broken").join("queue"), "scribble").expect("written");
    std::fs::create_dir(root.queue("no-queue")).expect("made");
    let _receiver = Queue::open(root.queue("busy")).and_then(|queue| queue.receiver()).expect("attached");

    let lines = root.run(["ls", "--json"]).json();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["name"], "broken");
    assert!(lines[0]["error"].as_str().is_some_and(|error| error.contains("`queue`")), "{lines:?}");
    assert_eq!(lines[1]["name"], "busy");
    assert_eq!((&lines[1]["depth_messages"], &lines[1]["lanes"]), (&json!(2), &json!(1)));
    assert_eq!(lines[1]["receiver_alive"], true);

    let table = root.run(["ls"]).ok();
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("QUEUE") && rows[1].contains("broken: ") && rows[2].ends_with("attached"), "{table}");
}

#[test]
fn stat_shows_limits_lanes_and_who_is_there() {
    let root = Root::new();
    root.run(["create", "q", "--capacity", "8K", "--max-lanes", "2"]).ok();
    let queue = Queue::open(root.queue("q")).expect("a queue");
    let mut sender = queue.sender().expect("attached");
    sender.send(b"12345678").expect("sent");
    let stat = &root.run(["stat", "q", "--json"]).json()[0];
    assert_eq!((&stat["capacity"], &stat["max_lanes"]), (&json!(8192), &json!(2)));
    assert_eq!((&stat["receiver_alive"], &stat["depth_messages"]), (&json!(false), &json!(1)));
    assert_eq!((&stat["lanes"][0]["sender_alive"], &stat["lanes"][0]["sent"]), (&json!(true), &json!(1)));
    let text = root.run(["stat", "q"]).ok();
    assert!(text.contains("2 lanes of 8 KiB") && text.contains("attached"), "{text}");
    sender.close();
    assert!(root.run(["stat", "q"]).ok().contains("closed"));
    assert_eq!(root.run(["drain", "q"]).ok(), "12345678\n", "looking took nothing");
}

#[test]
fn urgent_messages_overtake_and_stat_says_which_lane_is_which() {
    let root = Root::new();
    root.run(["send", "q", "--priority", "low", "later"]).ok();
    root.run(["send", "q", "now"]).ok();
    root.run(["send", "q", "--priority=urgent", "at once"]).ok();
    let text = root.run(["stat", "q"]).ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [&["0", "low"], &["1", "normal"], &["56", "urgent"]] {
        assert!(rows.iter().any(|found| found.starts_with(row)), "{row:?} is not in {text}");
    }
    let stat = &root.run(["stat", "q", "--json"]).json()[0];
    let lanes: Vec<_> = stat["lanes"].as_array().expect("lanes").iter().map(|lane| &lane["priority"]).collect();
    assert_eq!(lanes, ["low", "normal", "urgent"]);
    let first = root.run(["recv", "q", "-n", "1", "--json"]).json();
    assert_eq!((&first[0]["text"], &first[0]["priority"]), (&json!("at once"), &json!("urgent")));
    assert_eq!(root.run(["drain", "q"]).ok(), "now\nlater\n");
    assert_eq!(root.run(["send", "q", "--priority", "high", "x"]).code, Some(2));
}

#[test]
fn rm_spares_what_is_in_use() {
    let root = Root::new();
    for name in ["received", "sent", "idle"] {
        root.run(["create", name]).ok();
    }
    let receiver = Queue::open(root.queue("received")).and_then(|queue| queue.receiver()).expect("attached");
    let sender = Queue::open(root.queue("sent")).and_then(|queue| queue.sender()).expect("attached");
    root.run(["rm", "received"]).refused(&["/received", "a receiver is attached", "--force"]);
    root.run(["rm", "sent"]).refused(&["/sent", "lane 0", "--force"]);
    // Also when the queue cannot be opened any more to be asked.
    std::fs::write(root.queue("received").join("bell"), "scribble").expect("written");
    root.run(["rm", "received"]).refused(&["/received", "receiver.lock", "--force"]);
    let several = root.run(["rm", "sent", "missing", "idle"]);
    assert_eq!(several.code, Some(2));
    assert_eq!(several.stderr.lines().count(), 2, "{several:?}");
    assert!(!root.queue("idle").exists(), "the others were removed all the same");
    let removed = root.run(["rm", "--force", "--json", "sent"]).json();
    assert_eq!(removed, [json!({ "removed": root.queue("sent") })]);
    drop((receiver, sender));
    root.run(["rm", "received"]).ok();
    assert_eq!(root.path().read_dir().expect("the root").count(), 0);
}

#[test]
fn rm_removes_what_is_damaged_and_nothing_else() {
    let root = Root::new();
    root.run(["send", "damaged", "x"]).ok();
    std::fs::write(root.queue("damaged").join("queue"), "").expect("written");
    root.run(["rm", "damaged"]).ok();
    assert!(!root.queue("damaged").exists());

    root.run(["create", "shared"]).ok();
    let precious = root.queue("shared").join("letters.txt");
    std::fs::write(&precious, "dear").expect("written");
    root.run(["rm", "--force", "shared"]).refused(&["/shared", "letters.txt"]);
    assert_eq!(std::fs::read_to_string(precious).expect("still there"), "dear");
    assert!(root.queue("shared").join("queue").exists(), "a refused removal removes nothing");
    root.run(["rm", "missing"]).refused(&["/missing", "no queue"]);
}

#[test]
fn completions_know_every_command() {
    let root = Root::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = root.run(["completions", shell]).ok();
        for command in ["create", "ls", "rm", "stat", "send", "recv", "drain", "demo", "completions"] {
            assert!(script.contains(command), "{command} is not in the script for {shell}");
        }
    }
}

#[test]
fn wrong_words_end_with_2() {
    let root = Root::new();
    for words in [&["nonsense"][..], &[], &["recv", "q", "-n", "0"], &["recv", "q", "--timeout", "soon"], &["send"]] {
        assert_eq!(root.run(words).code, Some(2), "{words:?}");
    }
    assert_eq!(root.run(["--help"]).code, Some(0));
    assert_eq!(root.run(["--version"]).ok(), format!("laneway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_queue_s_limits_hold_for_what_is_sent_and_are_seen_in_stat() {
    let root = Root::new();
    root.run(["create", "q", "--messages-per-second", "3", "--capacity", "4K", "--overflow", "16K"]).ok();
    root.run(["create", "bad", "--bytes-per-second", "0"]).refused(&["bad", "bytes per second"]);
    let refused = root.run_with(["send", "q"], &b"x\n".repeat(10));
    refused.refused(&["message 4", "rate limit", "3 sent"]);
    assert_eq!(root.run(["drain", "q"]).ok(), "x\n".repeat(3));

    root.run(["create", "free", "--capacity", "4K", "--overflow", "16K", "--low-water", "1K", "--high-water", "2K"])
        .ok();
    let text = "y".repeat(5000);
    root.run(["send", "free", &text, &text]).ok();
    let stat = &root.run(["stat", "free", "--json"]).json()[0];
    assert_eq!((&stat["pressure"], &stat["dropped"]), (&json!("high"), &json!(0)));
    let number = |key: &str| stat[key].as_u64().expect("a number");
    assert!(number("segment_bytes") >= 10_000 && number("depth_bytes") >= number("segment_bytes"));
    assert!(number("reserved_bytes") > 20_000 && number("limit_bytes") >= number("reserved_bytes"));
    assert!(root.run(["stat", "free"]).ok().contains("pressure  high"));
    let dropped = root.run(["send", "free", &text, &text, "--on-full", "grow-then-drop"]);
    assert_eq!((dropped.code, dropped.stderr.contains("2 of 2 messages were dropped")), (Some(0), true), "{dropped:?}");
    assert!(root.run(["stat", "free", "--json"]).json()[0]["dropped"].as_u64() >= Some(1));
    root.run(["drain", "free"]).ok();
    assert_eq!(root.run(["stat", "free", "--json"]).json()[0]["pressure"], "normal");
    root.run(["drain", "free"]).ok();
    assert!(root.run(["trim", "free", "--json"]).json()[0]["freed_bytes"].as_u64().expect("a number") > 0);
    assert_eq!(root.run(["trim", "free"]).ok(), "0 B given back\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let root = Root::new();
    let page = root.run(["man"]).ok();
    assert!(page.contains(".TH laneway 1") && page.contains("Queues between the processes of one host"), "{page}");
    let directory = root.path().join("pages/man1");
    root.run(["man", "--into", directory.to_str().expect("text")]).ok();
    let pages: Vec<String> = std::fs::read_dir(&directory)
        .expect("it was made")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    for page in ["laneway.1", "laneway-send.1", "laneway-serve.1", "laneway-dead-replay.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} is not among {pages:?}");
    }
    assert!(pages.iter().all(|name| !name.contains("process")), "a hidden command has a page: {pages:?}");
    let mut groff = std::process::Command::new("groff");
    groff.args(["-man", "-ww", "-z"]).args(pages.iter().map(|page| directory.join(page)));
    match groff.output() {
        Ok(read) => assert!(read.status.success() && read.stderr.is_empty(), "{read:?}"),
        Err(error) => println!("the pages were not read by groff, which is not here: {error}"),
    }
    root.run(["man", "--into", "/proc/no"]).refused(&["cannot write manual pages", "/proc/no"]);
}
