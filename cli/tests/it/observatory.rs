//! `laneway observatory`, as whoever asks it sees it.

use crate::support::{Root, eventually};
use crate::web::{Server, head, next_event};
use laneway::Queue;
use laneway::mailbox::Post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpListener;

fn row<'a>(scene: &'a Value, name: &str) -> Option<&'a Value> {
    scene["rows"].as_array().expect("rows").iter().find(|row| row["name"] == name)
}

#[test]
fn the_page_is_served_whole_with_a_policy_that_lets_nothing_else_in() {
    let root = Root::new();
    let web = Server::observatory(&root, &[]);
    let page = web.get("/");
    assert_eq!((page.status(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    // Whatever the page names is here, and nothing is named that is elsewhere.
    let mut wanted = vec!["/".to_owned()];
    let mut at = 0;
    while at < wanted.len() {
        let file = web.get(&wanted[at]);
        assert_eq!(file.status(), 200, "{}", wanted[at]);
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains('*'));
        assert_eq!(
            (file.header("cache-control"), file.header("x-content-type-options")),
            (Some("no-store"), Some("nosniff"))
        );
        assert_eq!(file.header("access-control-allow-origin"), None);
        let without_names = file.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_names.contains("http://") && !without_names.contains("https://"), "{}", wanted[at]);
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!file.body.contains(sink), "{} has {sink}", wanted[at]);
        }
        for (before, prefix) in [("href=\"/", "/"), ("src=\"/", "/"), ("from \"./", "/")] {
            let named = file.body.split(before).skip(1).filter_map(|rest| rest.split('"').next());
            wanted.extend(named.map(|name| format!("{prefix}{name}")));
        }
        wanted.dedup();
        at += 1;
        assert!(at < 100, "the page names itself without end");
    }
    assert!(wanted.len() > 8, "{wanted:?}");
    assert_eq!(web.get("/nothing").status(), 404);
    assert_eq!(web.get("/../../etc/passwd").status(), 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(web.request(&format!("{method} /scene"), &[("Content-Length", "0")]).status(), 405);
    }
    assert_eq!(web.request("HEAD /", &[]).body, "");
}

#[test]
fn only_who_calls_it_by_its_own_name_is_answered_and_no_page_of_another_origin() {
    let root = Root::new();
    let web = Server::observatory(&root, &[]);
    let port = web.address.split(':').nth(1).expect("a port");
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "127.0.0.1".to_owned()] {
        assert_eq!(web.request("GET /scene", &[("Host", &host)]).status(), 200, "{host}");
    }
    for host in [&format!("evil.example:{port}"), "10.0.0.1", "", "localhost.evil.example"] {
        for path in ["/", "/scene", "/events", "/detail?kind=queue&name=q", "/nothing"] {
            let answer = web.request(&format!("GET {path}"), &[("Host", host)]);
            assert_eq!(answer.status(), 421, "{host:?} {path}");
            assert!(answer.body.contains("called localhost here"), "{}", answer.body);
        }
    }
    let from = |name: &str, value: &str| web.request("GET /scene", &[(name, value)]).status();
    assert_eq!(from("Origin", "http://evil.example"), 403);
    assert_eq!(from("Origin", "null"), 403);
    assert_eq!(from("Origin", &format!("http://{}", web.address)), 200);
    assert_eq!([from("Sec-Fetch-Site", "cross-site"), from("Sec-Fetch-Site", "same-origin")], [403, 200]);
    // A link to the page may be followed from anywhere.
    assert_eq!(web.request("GET /", &[("Sec-Fetch-Site", "cross-site")]).status(), 200);
}

#[test]
fn a_token_goes_from_the_address_into_a_cookie_and_without_it_nothing_is_shown() {
    let root = Root::new();
    // Any name is as good as another there: who has no token learns nothing by it.
    let web = Server::observatory(&root, &["--listen", "0.0.0.0:0"]);
    let token = web.url.split("token=").nth(1).expect("one was made up").to_owned();
    assert_eq!(token.len(), 43, "256 bits");
    for path in ["/", "/app.js", "/scene", "/events", "/nothing"] {
        let answer = web.get(path);
        assert_eq!((answer.status(), answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(answer.header("content-security-policy").is_some());
    }
    let mut wrong = token.clone();
    wrong.replace_range(42.., if token.ends_with('A') { "B" } else { "A" });
    for wrong in [wrong.as_str(), "", &token[..42], &format!("{token}A")] {
        assert_eq!(web.get(&format!("/?token={wrong}")).status(), 401);
        assert_eq!(web.request("GET /scene", &[("Authorization", &format!("Bearer {wrong}"))]).status(), 401);
    }
    assert_eq!(web.get(&format!("/scene?token={token}")).status(), 401, "only the page takes it from its address");
    let let_in = web.request(&format!("GET /?token={token}"), &[("Host", "agents.example:7777")]);
    assert_eq!((let_in.status(), let_in.header("location")), (303, Some("/")));
    let cookie = let_in.header("set-cookie").expect("a cookie");
    assert!(["HttpOnly", "SameSite=Strict", "Path=/"].iter().all(|word| cookie.contains(word)), "{cookie}");
    let pair = format!("other=x; {}", cookie.split(';').next().expect("a pair"));
    for headers in [[("Cookie", pair.as_str())], [("Authorization", &format!("Bearer {token}"))]] {
        assert_eq!(web.request("GET /scene", &headers).status(), 200);
    }
    let given = Server::observatory(&root, &["--token", "0123456789abcdef"]);
    assert_eq!(given.get("/scene").status(), 401, "also on loopback, where one was given");
    root.run(["observatory", "--token", "short"]).refused_by_usage(&["16 to 256 letters"]);
    root.run(["observatory", "--every", "1ms"]).refused_by_usage(&["between 50ms and 1min"]);
}

#[test]
fn a_port_in_use_is_a_sentence() {
    let root = Root::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    root.run(["observatory", "--listen", &address]).refused(&["cannot listen at", &address, "in use", "--listen"]);
}

#[test]
fn events_tell_first_everything_and_then_what_changes() {
    let root = Root::new();
    root.post("backend", &["run the tests", "--from", "planner"]);
    Queue::create(root.queue("steps")).expect("a queue");
    let web = Server::observatory(&root, &[]);
    let mut stream = web.events();
    assert!(head(&mut stream).contains(&"content-type: text/event-stream".to_owned()));
    let mut next = || next_event(&mut stream).expect("an event");
    let (name, scene) = next();
    assert_eq!((name.as_str(), scene["rows"].as_array().map(Vec::len)), ("scene", Some(2)));
    let backend = row(&scene, "backend").expect("a row");
    assert_eq!(
        [&backend["waiting"], &backend["receiver_alive"], &backend["mail"]["pending"]],
        [&json!(1), &json!(false), &json!(1)]
    );
    assert_eq!(backend["flows"][0]["from"], "planner");
    assert!(backend["samples"].as_array().is_some_and(|samples| !samples.is_empty()));
    // What does not change is not said again.
    let inbox = Post::open(root.queue("post")).serve("backend").expect("served");
    let changed = loop {
        let (name, look) = next();
        assert!(name == "look" && row(&look, "steps").is_none(), "{look}");
        if let Some(row) = row(&look, "backend").filter(|row| row["receiver_alive"] == true) {
            break row.clone();
        }
    };
    assert_eq!((&changed["receiver_attaches"], changed.get("samples")), (&json!(1), None));
    inbox.recv().expect("mail").ack();
    root.run(["rm", "steps"]).ok();
    while row(&next().1, "steps").is_none_or(|row| row["presence"] != "gone") {}
    let detail = web.get("/detail?kind=mailbox&name=backend").json();
    assert_eq!([&detail["messages"], &detail["outcomes"][0]["state"]], [&json!([]), &json!("acked")]);
}

#[test]
fn a_closer_look_shows_messages_that_are_no_text_and_cuts_long_ones() {
    let root = Root::new();
    let mut backend = Post::open(root.queue("post")).from("<img src=x>").mailbox("backend").expect("a mailbox");
    backend.send(b"<script>alert(1)</script>").expect("sent");
    backend.send(b"\xff\x00\xfe").expect("sent");
    backend.send("ü".repeat(1024).as_bytes()).expect("sent");
    backend.send(format!("x{}", "ü".repeat(20_000)).as_bytes()).expect("sent");
    let web = Server::observatory(&root, &[]);
    let answer = web.get("/detail?kind=mailbox&name=backend");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let detail = answer.json();
    assert_eq!(detail["messages"][0]["body"]["text"], "<script>alert(1)</script>");
    assert_eq!(
        (&detail["messages"][0]["from"], &detail["messages"][1]["body"]["base64"]),
        (&json!("<img src=x>"), &json!("/wD+"))
    );
    let text = detail["messages"][3]["body"]["text"].as_str().expect("a text that was cut in the middle of a letter");
    assert_eq!((text.len(), &detail["messages"][3]["bytes"]), (2047, &json!(40_001)));
    for (query, status) in [
        ("kind=mailbox&name=nobody", 404),
        ("kind=queue&name=..%2F..%2Fetc", 404),
        ("kind=queue&name=%00", 404),
        ("kind=mailbox&name=%ff", 404),
        ("kind=ghost&name=backend", 400),
        ("kind=mailbox", 400),
        ("", 400),
    ] {
        assert_eq!(web.get(&format!("/detail?{query}")).status(), status, "{query}");
    }
}

#[test]
fn what_is_damaged_or_vanishes_while_it_is_watched_is_a_row_and_no_end() {
    let root = Root::new();
    Queue::create(root.queue("steps")).expect("a queue");
    Queue::create(root.queue("broken")).expect("a queue");
    std::fs::write(root.queue("broken").join("queue"), [0xa5; 4096]).expect("written");
    root.post("backend", &["x"]);
    let web = Server::observatory(&root, &[]);
    let mut stream = web.events();
    head(&mut stream);
    let (_, scene) = next_event(&mut stream).expect("an event");
    let broken = row(&scene, "broken").expect("a row");
    assert!(broken["presence"] == "unreadable" && broken["problem"].as_str().is_some_and(|why| why.contains("broken")));
    assert_eq!(web.get("/detail?kind=queue&name=broken").status(), 404);
    for entry in root.path().read_dir().expect("the root") {
        std::fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
    let mut gone = 0;
    while gone < 3 {
        let (_, look) = next_event(&mut stream).expect("it goes on");
        gone += look["rows"].as_array().expect("rows").iter().filter(|row| row["presence"] == "gone").count();
    }
    std::fs::remove_dir(root.path()).expect("removed");
    assert_eq!(web.get("/scene").status(), 200);
}

#[test]
fn who_never_reads_keeps_nobody_and_there_are_so_many_streams_and_no_more() {
    let root = Root::new();
    let many = Queue::options().capacity(4096).max_lanes(1);
    for number in 0..300 {
        many.create(root.queue(&format!("q{number:04}"))).expect("a small queue");
    }
    let mut web = Server::observatory(&root, &[]);
    let unread: Vec<_> = (0..64).map(|_| web.events()).collect();
    eventually("all places are taken", || web.get("/events").status() == 503);
    assert_eq!(web.get("/scene").json()["rows"].as_array().map(Vec::len), Some(300));
    assert_eq!(web.get("/").status(), 200);
    drop(unread);
    let mut stream = loop {
        let mut stream = web.events();
        if head(&mut stream)[0].contains("200") {
            break stream;
        }
    };
    assert_eq!(next_event(&mut stream).expect("an event").0, "scene");
    // Ctrl-C ends it in order, whoever watches.
    kill(Pid::from_raw(web.child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    while next_event(&mut stream).is_some() {}
    assert_eq!(web.child.wait().expect("it ends").code(), Some(0));
    let mut said = String::new();
    web.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn nobody_is_looked_at_while_nobody_looks() {
    let root = Root::new();
    root.post("backend", &["x"]);
    let web = Server::observatory(&root, &[]);
    let look = || web.get("/scene").json()["look"].as_u64().expect("a number");
    let mut stream = web.events();
    head(&mut stream);
    for _ in 0..3 {
        next_event(&mut stream).expect("an event");
    }
    drop(stream);
    // The end of a stream is noticed when the next look is sent into it; from then on there is one for each that asks, while another
    // observatory, which is watched, looks as often as this one did.
    let other = Server::observatory(&root, &[]);
    let mut watched = other.events();
    head(&mut watched);
    eventually("it has stopped looking", || {
        let before = look();
        (0..4).for_each(|_| drop(next_event(&mut watched).expect("an event")));
        look() == before + 1
    });
}
