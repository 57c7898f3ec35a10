//! metrics.

use crate::support::{Root, eventually};
use crate::web::Server;
use laneway::Queue;
use laneway::mailbox::Post;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn more_queues_than_files_may_be_open_are_all_looked_at() {
    let root = Root::new();
    (0..60).for_each(|number| drop(Queue::create(root.queue(&format!("q{number}"))).expect("a queue")));
    let run = |command: &str| {
        let limited = format!("ulimit -S -n 48; exec {} {command}", env!("CARGO_BIN_EXE_laneway"));
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &limited]).env("LANEWAY_DIR", root.path()).env_remove("LANEWAY_POST").output();
        String::from_utf8(output.expect("a shell").stdout).expect("text")
    };
    let readable =
        run("metrics").lines().filter(|line| line.starts_with("laneway_readable{") && line.ends_with(" 1")).count();
    assert_eq!(readable, 60);
    let findings = run("doctor --all --json");
    assert_eq!(findings.lines().filter(|line| line.contains(r#""id":"sound""#)).count(), 60, "{findings}");
    assert!(findings.contains("may open 48 files"), "what is started from here has as few as before: {findings}");
}

#[test]
fn printed_once_they_are_what_a_collector_of_files_reads() {
    let root = Root::new();
    root.run(["send", "steps", "one", "two"]).ok();
    root.post("backend", &["run the tests"]);
    let text = root.run(["metrics"]).ok();
    for line in [
        "# TYPE laneway_messages_sent_total counter",
        "laneway_messages_sent_total{kind=\"queue\",name=\"steps\"} 2",
        "laneway_messages_waiting{kind=\"mailbox\",name=\"backend\"} 1",
        "laneway_mailbox_delivery_seconds_bucket{le=\"+Inf\",kind=\"mailbox\",name=\"backend\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(!text.contains("lane="), "nobody asked for lanes");
    let text = root.run(["metrics", "--openmetrics", "--lanes"]).ok();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("laneway_lane_messages_sent_total{kind=\"queue\",name=\"steps\",lane=\"0\"} 2\n"), "{text}");
    let line = root.run(["metrics", "--json"]).json().remove(0);
    assert!(line["text"].as_str().expect("text").starts_with("# HELP laneway_"), "{line}");
    assert_eq!(line["content_type"], "text/plain; version=0.0.4; charset=utf-8");
}

#[test]
fn a_client_gets_the_format_that_it_asks_for() {
    let root = Root::new();
    Queue::create(root.queue("steps")).expect("a queue");
    let server = Server::metrics(&root, &[]);
    let kind = "content-type";
    let answer = server.get("/metrics");
    assert_eq!((answer.status(), answer.header(kind)), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    let body = answer.body;
    assert!(body.contains("laneway_lanes{kind=\"queue\",name=\"steps\"} 0\n") && !body.contains("# EOF"), "{body}");
    let accept = ("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let answer = server.request("GET /metrics", &[accept]);
    let is_openmetrics = |kind: &str| kind.starts_with("application/openmetrics-text; version=1.0.0");
    assert!(answer.header(kind).is_some_and(is_openmetrics) && answer.header("vary") == Some("accept"));
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let answer = server.request("HEAD /metrics", &[]);
    assert_eq!((answer.status(), &*answer.body), (200, ""));
    let answer = server.request("POST /metrics", &[("Content-Length", "0")]);
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(server.get("/").status(), 404);
}

#[test]
fn only_who_asks_for_it_by_a_name_of_its_own_is_answered() {
    let root = Root::new();
    let status = |server: &Server, host: &str| server.request("GET /metrics", &[("Host", host)]).status();
    let server = Server::metrics(&root, &[]);
    for host in ["localhost", "127.0.0.1:9464", "[::1]"] {
        assert_eq!(status(&server, host), 200, "{host}");
    }
    for host in ["evil.example:9464", "build-7", "10.0.0.1", ""] {
        assert_eq!(status(&server, host), 421, "{host}");
    }
    let refused = server.request("GET /metrics", &[("Host", "build-7")]);
    assert_eq!(refused.body, "this is called localhost here, not \"build-7\"; --host gives it another name\n");
    let server = Server::metrics(&root, &["--listen", "0.0.0.0:0", "--host", "build-7"]);
    for (host, answer) in [("build-7:9464", 200), ("10.0.0.1:9464", 200), ("localhost", 200), ("evil.example", 421)] {
        assert_eq!(status(&server, host), answer, "{host}");
    }
    root.run(["metrics", "--listen", "0", "--host", "build-7:9464"]).refused_by_usage(&["without a port"]);
    root.run(["metrics", "--host", "build-7"]).refused_by_usage(&["--listen"]);
}

#[test]
fn what_comes_while_it_serves_is_in_the_next_answer() {
    let root = Root::new();
    let server = Server::metrics(&root, &[]);
    assert!(!server.get("/metrics").body.contains("kind="));
    let mut backend = Post::open(root.path().join("post")).mailbox("backend").expect("a mailbox");
    backend.send(b"run the tests").expect("room");
    let sent = "laneway_messages_sent_total{kind=\"mailbox\",name=\"backend\"} 1\n";
    assert!(server.get("/metrics").body.contains(sent));
}

#[test]
fn clients_that_say_nothing_or_nonsense_or_do_not_read_keep_nobody() {
    let root = Root::new();
    Queue::create(root.queue("steps")).expect("a queue");
    let server = Server::metrics(&root, &[]);
    let mut slow = Vec::new();
    for client in 0..60 {
        let mut stream = server.connect();
        let request = ["", "GET /met", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"][client % 3];
        stream.write_all(request.as_bytes()).expect("it reads");
        slow.push(stream);
    }
    let mut nonsense = server.connect();
    nonsense.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    nonsense.read_to_end(&mut answer).expect("it answers");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(&answer));
    assert!(server.get("/metrics").body.contains("name=\"steps\""));
    drop(slow);
}

#[test]
fn an_address_that_cannot_be_had_is_a_sentence() {
    let root = Root::new();
    let server = Server::metrics(&root, &[]);
    root.run(["metrics", "--listen", &server.address]).refused(&["cannot listen at", &server.address, "in use"]);
    let port = server.address.rsplit(':').next().expect("a port");
    root.run(["metrics", "--listen", port]).refused(&["cannot listen at 127.0.0.1:", port]);
    let done = root.run(["metrics", "--listen", "nowhere"]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("9464"), "{done:?}");
}

#[test]
fn more_clients_than_files_may_be_open_end_nothing() {
    let root = Root::new();
    let mut server = Server::metrics(&root, &[]);
    let pid = server.child.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=64:64"]).status().expect("prlimit");
    assert!(limited.success(), "{limited}");
    let crowd: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    eventually("no more files may be open", || open() >= 64 || server.child.try_wait().expect("asked").is_some());
    drop(crowd);
    assert_eq!(server.get("/metrics").status(), 200);
}
