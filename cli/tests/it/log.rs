//! `--log`: what the library tells while commands run.

use crate::support::Root;
use laneway::{OnFull, Queue};
use serde_json::Value;

/// The lines of standard error that are events.
fn events(stderr: &str) -> Vec<Value> {
    let lines = stderr.lines();
    lines.filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// What is said of a ticket, in order.
fn of_ticket<'a>(events: &'a [Value], ticket: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["ticket"] == ticket).collect()
}

fn messages(events: &[&Value]) -> Vec<String> {
    events.iter().map(|event| event["message"].as_str().expect("each has a message").to_owned()).collect()
}

#[test]
fn every_step_of_a_message_is_told_with_its_ticket_queue_and_times() {
    let root = Root::new();
    let posted = root.run(["--log", "json", "post", "backend", "one"]);
    let ticket = String::from_utf8_lossy(&posted.stdout).trim_end().to_owned();
    let told = events(&posted.stderr);
    assert_eq!(messages(&of_ticket(&told, &ticket)), ["enqueued"]);
    let expired = root.post("backend", &["late", "--ttl", "0s"]);
    let cancelled = root.post("backend", &["no"]);
    root.run(["cancel", "backend", &cancelled]).ok();
    let refused = root.post("backend", &["fails"]);
    let served =
        root.run(["--log", "json", "serve", "backend", "--retry", "0", "--idle-exit", "0s", "--exec", "grep -q one"]);
    let told = events(&served.stderr);
    let steps = of_ticket(&told, &ticket);
    assert_eq!(messages(&steps), ["taken", "acked"]);
    assert!(
        steps[0]["waited_ms"].as_f64().expect("a time") > 0.0 && steps[1]["took_ms"].as_f64().expect("a time") > 0.0
    );
    assert!(steps.iter().all(|step| step["queue"].as_str().expect("a path").ends_with("backend")));
    assert_eq!(messages(&of_ticket(&told, &expired)), ["expired"]);
    assert_eq!(messages(&of_ticket(&told, &cancelled)), ["cancelled"]);
    let failed = of_ticket(&told, &refused);
    assert_eq!(messages(&failed), ["taken", "failed"]);
    assert_eq!((&failed[1]["level"], &failed[1]["reason"]), (&"WARN".into(), &"whoever took it refused it".into()));
}

#[test]
fn lanes_that_are_full_under_pressure_taken_over_or_damaged_are_told_of() {
    let root = Root::new();
    let path = root.path().join("steps");
    let queue = Queue::options().capacity(4096).overflow_limit(0).create(&path).expect("it is created");
    let mut sender = queue.sender_options().on_full(OnFull::Fail).attach().expect("it attaches");
    while sender.send(&[7; 100]).is_ok() {}
    drop(sender);
    let sent = root.run(["--log", "json", "send", "steps", &"no room ".repeat(13)]);
    assert_eq!(sent.code, Some(2));
    let told = events(&sent.stderr);
    let of = |message: &str| {
        told.iter().find(|event| event["message"] == message).unwrap_or_else(|| panic!("{message}: {told:?}"))
    };
    assert_eq!((&of("adopted")["lane"], &of("adopted")["attaches"]), (&0.into(), &2.into()));
    assert!(of("full")["queue"].as_str().expect("a path").ends_with("steps"));
    assert_eq!(of("pressure")["pressure"], "high");
    // The first record's commit word, in the ring.
    let lane = path.join("lane-000");
    let mut bytes = std::fs::read(&lane).expect("it is there");
    bytes[4096..4104].copy_from_slice(&[0xff; 8]);
    std::fs::write(&lane, bytes).expect("it is written");
    let drained = root.run(["--log", "json", "drain", "steps"]);
    let told = events(&drained.stderr);
    let poisoned: Vec<&Value> = told.iter().filter(|event| event["message"] == "poisoned").collect();
    assert_eq!(
        (poisoned.len(), &poisoned[0]["level"], &poisoned[0]["lane"]),
        (1, &"ERROR".into(), &0.into()),
        "{told:?}"
    );
}

#[test]
fn how_much_is_told_is_for_the_environment_to_say_and_nothing_is_told_unasked() {
    let root = Root::new();
    let quiet = root.run(["post", "backend", "x"]);
    assert_eq!((quiet.code, quiet.stderr.len()), (Some(0), 0));
    let run = |level: &str| root.command(["--log", "text", "post", "backend", "x"]).env("LANEWAY_LOG", level).output();
    let some = run("debug").expect("it runs");
    assert!(String::from_utf8_lossy(&some.stderr).contains("enqueued queue="), "{some:?}");
    assert!(run("warn").expect("it runs").stderr.is_empty());
    let wrong = run("loud").expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("LANEWAY_LOG"), "{wrong:?}");
}
