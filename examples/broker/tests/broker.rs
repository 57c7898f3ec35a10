//! The broker as its clients see it: the real program, real sockets, and a client that has nothing in common with it.

mod support;

use laneway::mailbox::{Post, State, Ticket};
use std::io::{BufRead, BufReader};
use std::time::Duration;
use support::{Broker, LONG_MS};

#[test]
fn a_send_is_answered_before_anybody_is_there_and_its_ticket_tells_what_becomes_of_it() {
    let broker = Broker::start(&[]);
    let sent = broker.post("/agents/backend/send?priority=urgent", b"run the tests");
    assert_eq!(sent.status, 201, "{}", sent.text());
    let ticket = sent.ticket();
    assert_eq!(sent.header("location"), format!("/tickets/{ticket}"));
    let pending = broker.get(&format!("/tickets/{ticket}"));
    assert_eq!((pending.status, pending.json()["state"].as_str()), (200, Some("pending")));
    assert_eq!(broker.get("/agents").json()[0]["status"], "offline");
    assert_eq!(broker.get("/agents/backend/pending").json()["pending"], 1);
    let taken = broker.post("/agents/backend/take", b"");
    assert_eq!((taken.status, taken.text().as_str()), (200, "run the tests"));
    assert_eq!((taken.header("laneway-ticket"), taken.header("laneway-attempt")), (ticket.clone(), "1".to_owned()));
    assert_eq!(broker.get("/agents").json()[0]["status"], "online");
    assert_eq!(broker.state(&ticket), "taken");
    assert_eq!(broker.post(&format!("/tickets/{ticket}/progress"), b"").status, 204);
    assert_eq!(broker.post(&format!("/tickets/{ticket}/ack"), b"").status, 204);
    assert_eq!(broker.state(&ticket), "acked");
    let again = broker.post(&format!("/agents/backend/tickets/{ticket}/ack"), b"");
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(broker.post("/agents/backend/take", b"").status, 204);
    let stats = broker.get("/agents/backend").json();
    assert_eq!((&stats["processed"], &stats["pending"]), (&1.into(), &0.into()));
    assert!(stats["deliveryMicros"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn bodies_come_as_they_were_sent_whatever_is_in_them() {
    let broker = Broker::start(&["--max-body", "100000"]);
    let bytes: Vec<u8> = (0..100_000u32).map(|number| (number * 7 + number / 256) as u8).collect();
    assert_eq!(broker.post("/agents/a/send", &bytes).status, 201);
    assert_eq!(broker.post("/agents/a/send", b"").status, 201);
    let json = broker.send_as("/agents/a/send", "application/json; charset=utf-8", br#"{"payload": "\u0000"}"#);
    assert_eq!(json.status, 201);
    let taken = broker.post("/agents/a/take", b"");
    assert!(taken.body == bytes && taken.header("content-type") == "application/octet-stream");
    assert!(broker.post("/agents/a/take", b"").body.is_empty());
    let taken = broker.post("/agents/a/take", b"");
    assert_eq!(
        (taken.text().as_str(), taken.header("content-type").as_str()),
        (r#"{"payload": "\u0000"}"#, "application/json")
    );
}

#[test]
fn agents_with_the_library_and_agents_without_it_share_their_mailboxes() {
    let broker = Broker::start(&["--idle-ms", "20"]);
    let ticket = broker.post("/agents/backend/send", b"by http").ticket();
    let post = Post::open(broker.root());
    let inbox = post.serve("backend").unwrap();
    let refused = broker.post("/agents/backend/take", b"");
    assert_eq!(refused.status, 409, "{}", refused.text());
    let delivery = inbox.recv_timeout(Duration::from_millis(LONG_MS)).unwrap();
    assert_eq!((delivery.body(), delivery.from()), (b"by http".to_vec(), "http".to_owned()));
    delivery.ack();
    assert_eq!(broker.state(&ticket), "acked");
    drop(inbox);
    let mut mailbox = post.mailbox("backend").unwrap();
    let ticket = mailbox.send(b"by hand").unwrap();
    let taken = broker.post("/agents/backend/take", b"");
    assert_eq!(taken.text(), "by hand");
    // The ticket is one that the broker did not give.
    assert_eq!(broker.post(&format!("/tickets/{ticket}/ack"), b"").status, 204);
    assert_eq!(mailbox.status(&ticket).unwrap().state, State::Acked);
    // When nobody asks any more the mailbox is free for others.
    let inbox = support::until(|| post.serve("backend").ok());
    drop(inbox);
}

#[test]
fn hostile_requests_are_refused_in_sentences_and_leave_nothing_behind() {
    let broker = Broker::start(&["--max-body", "1000"]);
    let long = format!("/agents/{}/send", "x".repeat(201));
    let refused = |answer: support::Answer, status: u16, part: &str| {
        let sentence = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, status, "{sentence}");
        assert!(sentence.contains(part) && sentence.len() < 400, "{sentence:?} does not say {part:?}");
    };
    for path in ["/agents/a%2Fb/send", "/agents/%2Fetc%2Fpasswd/send", "/agents/..%2F..%2Ftmp/send"] {
        let answer = broker.post(path, b"x");
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert!(answer.json()["error"].as_str().unwrap().contains("slash") || path.contains(".."), "{}", answer.text());
    }
    refused(broker.raw("POST /agents/%2e%2e/send"), 400, "dot");
    refused(broker.raw("POST /agents/../send"), 400, "dot");
    refused(broker.raw("POST /agents/a/b/c/send"), 404, "path");
    refused(broker.raw("POST /agents//send"), 400, "");
    refused(broker.post("/agents/%00/send", b"x"), 400, "control");
    refused(broker.post("/agents/%0a/take", b""), 400, "control");
    refused(broker.post("/agents/%ff/send", b"x"), 400, "UTF-8");
    refused(broker.post(&long, b"x"), 400, "200 bytes");
    refused(broker.post("/agents/a/send", &[b'x'; 1001]), 413, "1000 bytes");
    refused(broker.post("/agents/a/send?priority=highest", b"x"), 400, "urgent");
    refused(broker.post("/agents/a/send?ttl_ms=-1", b"x"), 400, "ttl_ms");
    refused(broker.post("/agents/a/send?colour=red", b"x"), 400, "colour");
    refused(broker.post("/agents/a/take?wait_ms=60001", b""), 400, "60001");
    refused(broker.post("/agents/a/take?lease_ms=18446744073709551615", b""), 400, "lease_ms");
    for ticket in ["nonsense", "-", "1-2", "1-2-3-4", "+1-2-3", "fffffffff-0-0", "0-0-ffffffffffffffff", "%00"] {
        refused(broker.get(&format!("/tickets/{ticket}")), 400, "ticket");
        refused(broker.post(&format!("/tickets/{ticket}/ack"), b""), 400, "ticket");
    }
    refused(broker.get("/tickets/00000000-0-0"), 404, "00000000-0-0");
    refused(broker.post("/tickets/00000000-0-0/explode", b""), 404, "explode");
    refused(broker.post("/agents/nobody/tickets/00000000-0-0/ack", b""), 404, "nobody");
    refused(broker.get("/agents/nobody"), 404, "nobody");
    refused(broker.get("/agents/nobody/pending"), 404, "nobody");
    refused(broker.get("/agents/a/send"), 405, "method");
    refused(broker.get("/nothing"), 404, "path");
    refused(broker.with_header("origin", "https://example.com"), 403, "example.com");
    refused(broker.with_header("host", "example.com:5050"), 403, "example.com");
    // Nothing of this was written anywhere, and it still works.
    assert_eq!(broker.get("/agents").json(), serde_json::json!([]));
    let ticket = broker.post("/agents/a/send", b"x").ticket();
    // A ticket of this mailbox that nobody was given.
    let end = ticket.parse::<Ticket>().unwrap().to_string();
    let other = format!("{}-3e7-10", end.split('-').next().unwrap());
    refused(broker.get(&format!("/tickets/{other}")), 404, "knows nothing");
    refused(broker.post(&format!("/tickets/{other}/ack"), b""), 409, "hands");
}

#[test]
fn who_waits_for_a_message_is_woken_by_it_and_holds_up_nobody() {
    let broker = Broker::start(&[]);
    let held = broker.post("/agents/a/send", b"first").ticket();
    assert_eq!(broker.post("/agents/a/take", b"").status, 200);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| broker.post(&format!("/agents/a/take?wait_ms={LONG_MS}"), b""));
        // While one waits, what it has taken can be settled, others are told that there is nothing, and others are served.
        assert_eq!(broker.post(&format!("/tickets/{held}/ack"), b"").status, 204);
        assert_eq!(broker.post("/agents/b/take?wait_ms=1", b"").status, 204);
        assert_eq!(broker.post("/agents/a/send", b"second").status, 201);
        assert_eq!(waiting.join().unwrap().text(), "second");
    });
}

#[test]
fn what_is_lent_for_too_long_is_handed_out_again() {
    let broker = Broker::start(&[]);
    let ticket = broker.post("/agents/a/send", b"work").ticket();
    assert_eq!(broker.post("/agents/a/take?lease_ms=1", b"").header("laneway-attempt"), "1");
    let again = broker.post(&format!("/agents/a/take?wait_ms={LONG_MS}"), b"");
    assert_eq!((again.header("laneway-attempt"), again.header("laneway-ticket")), ("2".to_owned(), ticket.clone()));
    assert_eq!(broker.post(&format!("/tickets/{ticket}/ack"), b"").status, 204);
    assert_eq!(broker.state(&ticket), "acked");
}

#[test]
fn events_tell_what_becomes_of_a_message_until_its_end() {
    let broker = Broker::start(&["--max-streams", "1"]);
    let ticket = broker.post("/agents/a/send", b"work").ticket();
    let mut lines = BufReader::new(broker.open(&format!("/tickets/{ticket}/events"))).lines();
    let mut next = || {
        let mut data = lines.by_ref().filter_map(|line| line.unwrap().strip_prefix("data: ").map(str::to_owned));
        data.next().map(|data| serde_json::from_str::<serde_json::Value>(&data).unwrap()["state"].clone())
    };
    assert_eq!(next().unwrap(), "pending");
    assert_eq!(broker.get(&format!("/tickets/{ticket}/events")).status, 503);
    assert_eq!(broker.post("/agents/a/take", b"").status, 200);
    assert_eq!(next().unwrap(), "taken");
    assert_eq!(broker.post(&format!("/tickets/{ticket}/ack"), b"").status, 204);
    assert_eq!(next().unwrap(), "acked");
    assert_eq!(next(), None);
}

#[test]
fn a_message_is_cancelled_refused_and_sent_again() {
    let broker = Broker::start(&[]);
    let unwanted = broker.post("/agents/a/send", b"unwanted").ticket();
    assert_eq!(broker.delete(&format!("/tickets/{unwanted}")).json()["cancelled"], true);
    let ticket = broker.post("/agents/a/send", b"impossible").ticket();
    assert_eq!(broker.post("/agents/a/take", b"").text(), "impossible");
    assert_eq!(broker.delete(&format!("/tickets/{ticket}")).status, 409);
    assert_eq!(broker.post(&format!("/tickets/{ticket}/reject"), b"").status, 204);
    assert_eq!([broker.state(&unwanted), broker.state(&ticket)], ["cancelled", "failed"]);
    let dead = broker.get("/agents/a/dead").json();
    assert_eq!((&dead[0]["body"], &dead[0]["ticket"]), (&"impossible".into(), &ticket.as_str().into()));
    let replayed = broker.post("/agents/a/dead/replay", b"").json();
    assert_eq!(replayed[0]["was"], ticket.as_str());
    let taken = broker.post("/agents/a/take", b"");
    assert_eq!(replayed[0]["ticket"], taken.header("laneway-ticket"));
    assert_eq!(broker.get("/agents/a/dead").json(), serde_json::json!([]));
}

#[test]
fn a_full_mailbox_and_one_too_many_are_refused() {
    let broker = Broker::start(&["--max-pending", "3", "--max-agents", "2"]);
    let sent = (0..4).map(|_| broker.post("/agents/a/send", b"x")).collect::<Vec<_>>();
    assert_eq!(sent.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 201, 429]);
    assert_eq!(sent[3].header("retry-after"), "1");
    assert_eq!(broker.post("/agents/b/send", b"x").status, 201);
    let third = broker.post("/agents/c/send", b"x");
    assert!([503, 507].contains(&third.status), "{}", third.text());
    assert_eq!(broker.post("/agents/b/send", b"x").status, 201);
}

#[test]
fn a_broker_that_is_killed_loses_nothing_and_the_next_one_knows_its_tickets() {
    let mut broker = Broker::start(&[]);
    let taken = broker.post("/agents/a/send", b"taken").ticket();
    let waiting = broker.post("/agents/a/send", b"waiting").ticket();
    assert_eq!(broker.post("/agents/a/take", b"").text(), "taken");
    broker.kill_and_start_again();
    assert_eq!([broker.state(&taken), broker.state(&waiting)], ["taken", "pending"]);
    let late = broker.post(&format!("/tickets/{taken}/ack"), b"");
    assert_eq!(late.status, 409, "{}", late.text());
    let again = broker.post("/agents/a/take", b"");
    assert_eq!((again.text().as_str(), again.header("laneway-attempt").as_str()), ("taken", "2"));
    assert_eq!(broker.post("/agents/a/take", b"").text(), "waiting");
}

#[test]
fn many_send_at_once_and_everything_arrives_once() {
    let broker = Broker::start(&[]);
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                for number in 0..25 {
                    let sent = broker.post("/agents/a/send", format!("{sender} {number}").as_bytes());
                    assert_eq!(sent.status, 201);
                }
            });
        }
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 100 {
            let mail = broker.post(&format!("/agents/a/take?wait_ms={LONG_MS}"), b"");
            assert_eq!(mail.status, 200);
            assert!(seen.insert(mail.text()), "{:?} came twice", mail.text());
            assert_eq!(broker.post(&format!("/tickets/{}/ack", mail.header("laneway-ticket")), b"").status, 204);
        }
    });
    assert_eq!(broker.get("/agents/a").json()["processed"], 100);
}
