//! The pictures of `docs/tour/`, of a team at work. `cargo test -p laneway-cli --test it -- --ignored tour` makes them anew.

use crate::ansi;
use crate::browser::{Browser, find};
use crate::support::Root;
use crate::tmux::Terminal;
use crate::web::Server;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use laneway::Queue;
use laneway::mailbox::Post;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, scope, sleep};
use std::time::{Duration, Instant};

/// Who sends to whom, how often in ten seconds, and what.
const MAIL: [(&str, &str, u32, &[&str]); 15] = [
    ("human", "planner", 8, &["Ship the importer this week.", "How far are we?", "Prefer the streaming parser."]),
    ("planner", "backend", 60, &["Implement POST /imports", "Split the parser out of main", "Reply with a plan first"]),
    ("planner", "frontend", 40, &["Add a progress bar to the upload", "Use the new endpoint"]),
    ("planner", "docs", 12, &["Describe the import format", "Add the example of the issue"]),
    ("backend", "tests", 250, &["cargo test --workspace", "cargo test -p importer", "cargo clippy -- -D warnings"]),
    ("frontend", "tests", 120, &["npm test", "npm run lint"]),
    (
        "tests",
        "backend",
        90,
        &["{\"suite\":\"importer\",\"passed\":212,\"failed\":0}", "{\"suite\":\"api\",\"passed\":87,\"failed\":1}"],
    ),
    ("tests", "frontend", 60, &["{\"suite\":\"upload\",\"passed\":41,\"failed\":0}"]),
    ("backend", "reviewer", 30, &["Please review: streaming parser", "Please review: backpressure on /imports"]),
    ("frontend", "reviewer", 20, &["Please review: progress bar"]),
    ("reviewer", "backend", 24, &["The error path leaks a handle, see parser.rs:118", "Looks good"]),
    ("reviewer", "planner", 10, &["Two of three are through"]),
    ("backend", "planner", 14, &["Plan: 1. tokenizer 2. rows 3. errors"]),
    ("reviewer", "deploy", 9, &["importer 1.4.0 is ready for staging", "importer 1.4.1 is ready for staging"]),
    ("ci", "deploy", 6, &["Build 2,318 of main is green", "Build 2,319 of main is green"]),
];

/// Small, where there is a program that makes it so.
fn save(page: &mut Browser, path: &Path) {
    std::fs::write(path, page.picture()).expect("written");
    let _ =
        Command::new("pngquant").args(["--force", "--strip", "--skip-if-larger", "--ext", ".png"]).arg(path).status();
    let len = path.metadata().expect("a file").len();
    assert!(len < 200_000, "{path:?} has {len} bytes: is there no pngquant?");
}

/// The dashboard, in a terminal of its own.
fn dashboard(root: &Root, rows: u32, of: &str) -> Terminal {
    let terminal = Terminal::start(root, 120, rows).expect("tmux");
    terminal.line(&format!("clear; {} top --every 250ms {of}", env!("CARGO_BIN_EXE_laneway")));
    terminal
}

/// What a terminal shows, letter by letter.
fn photograph(page: &mut Browser, terminal: &Terminal, path: &Path) {
    let html = BASE64_STANDARD.encode(ansi::page(&terminal.coloured_screen()));
    page.open(&format!("data:text/html;base64,{html}"));
    page.until("document.querySelector('pre') && document.readyState === 'complete'");
    let [width, height] = ["Width", "Height"].map(|side| {
        let pixels = page.eval(&format!("Math.ceil(document.body.offset{side})"));
        pixels.as_u64().expect("a number") as u32
    });
    page.size(width, height, false);
    save(page, path);
}

/// Ends everybody's work, however the test ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn pace(done: &AtomicBool, every: Duration, mut work: impl FnMut(usize)) {
    for step in 0.. {
        if done.load(Ordering::Relaxed) {
            return;
        }
        work(step);
        sleep(every);
    }
}

fn team<'scope>(scope: &'scope Scope<'scope, '_>, done: &'scope AtomicBool, post: &Post, queues: &Path) {
    for name in ["backend", "docs", "frontend", "planner", "reviewer", "tests"] {
        let inbox = post.serve(name).expect("served");
        let slow = name == "backend";
        scope.spawn(move || {
            let mut held = Vec::new();
            while !done.load(Ordering::Relaxed) {
                if let Ok(delivery) = inbox.recv_timeout(Duration::from_millis(50)) {
                    match delivery.sequence() % 41 {
                        7 => delivery.reject().expect("rejected"),
                        // Some work takes longer.
                        _ if slow => held.push(delivery),
                        _ => delivery.ack(),
                    }
                    if held.len() > 6 {
                        held.remove(0).ack();
                    }
                }
            }
        });
    }
    post.mailbox("deploy").expect("a mailbox");
    for (from, to, often, bodies) in MAIL {
        let mut mailbox = post.clone().from(from).mailbox(to).expect("a mailbox");
        let every = Duration::from_secs(10) / often;
        scope.spawn(move || {
            pace(done, every, |step| {
                mailbox.send(bodies[step % bodies.len()].as_bytes()).expect("sent");
            })
        });
    }
    let telemetry = Queue::create(queues.join("telemetry")).expect("a queue");
    for _ in 0..3 {
        let mut sender = telemetry.sender().expect("attached");
        scope.spawn(move || {
            pace(done, Duration::from_millis(7), |_| {
                sender.send(b"cpu 42 %").expect("sent");
            })
        });
    }
    let receiver = telemetry.receiver().expect("attached");
    scope.spawn(move || {
        while !done.load(Ordering::Relaxed) {
            drop(receiver.recv_timeout(Duration::from_millis(50)))
        }
    });
    let mut log = Queue::create(queues.join("build-log")).expect("a queue").sender().expect("attached");
    scope.spawn(move || {
        pace(done, Duration::from_millis(300), |step| {
            log.send(format!("line {step}").as_bytes()).expect("sent");
        })
    });
    Queue::create(queues.join("steering")).expect("a queue");
}

#[test]
#[ignore = "writes docs/tour, for people to look at"]
fn tour() {
    let chromium = find().expect("chromium");
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tour");
    std::fs::create_dir_all(&to).expect("made");
    let (root, done) = (Root::new(), AtomicBool::new(false));
    let post = Post::open(root.queue("post"));
    scope(|scope| {
        let _ends = Ends(&done);
        team(scope, &done, &post, root.path());
        let terminals = [("top.png", dashboard(&root, 16, "")), ("top-mailbox.png", dashboard(&root, 48, "backend"))];
        let web = Server::observatory(&root, &["--every", "250ms"]);
        let mut page = Browser::start(&chromium);
        let shoot = |page: &mut Browser, name: &str| {
            save(page, &to.join(name));
        };
        page.size(1440, 900, false);
        page.prefer("light");
        page.open(&web.url);
        let began = Instant::now();
        // A minute's worth of curves, in a quarter of the time.
        page.until("document.querySelectorAll('.node').length === 9");
        sleep(Duration::from_secs(17).saturating_sub(began.elapsed()));
        shoot(&mut page, "observatory-light.png");
        page.prefer("dark");
        page.eval("[...document.querySelectorAll('#rows .open')].find((open) => open.innerText === 'backend').click()");
        page.until("document.querySelectorAll('#drawer .messages li').length > 1");
        page.eval("document.activeElement.blur()");
        sleep(Duration::from_secs(2));
        shoot(&mut page, "observatory-dark.png");
        page.size(390, 844, true);
        page.eval("document.querySelector('#drawer .close').click()");
        sleep(Duration::from_secs(2));
        shoot(&mut page, "observatory-phone.png");
        for (name, terminal) in &terminals {
            terminal.shows_line(&["? help  q quit"]);
            photograph(&mut page, terminal, &to.join(name));
        }
        assert_eq!(page.complaints, [""; 0]);
    });
}

#[test]
#[ignore = "writes docs/tour, for people to look at"]
fn tour_of_sixty() {
    let chromium = find().expect("chromium");
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tour");
    let (root, done) = (Root::new(), AtomicBool::new(false));
    let post = Post::open(root.queue("post")).queue_options(Queue::options().capacity(16 << 10).max_lanes(8));
    scope(|scope| {
        let _ends = Ends(&done);
        let inboxes: Vec<_> =
            (0..60).map(|n| (n % 7 != 3).then(|| post.serve(&format!("worker-{n:02}")).expect("served"))).collect();
        let mut senders: Vec<_> = (0..60)
            .flat_map(|n| [n + 1, n * n + 5, 3 * n + 11].map(|to| (n, to % 60)))
            .map(|(from, to)| {
                post.clone().from(format!("worker-{from:02}")).mailbox(&format!("worker-{to:02}")).expect("a mailbox")
            })
            .collect();
        let done = &done;
        scope.spawn(move || {
            pace(done, Duration::from_millis(4), |step| {
                let at = (step * step + step / 7) % senders.len();
                drop(senders[if step % 3 == 0 { at } else { at % 40 }].send(b"next"));
                if let Some(inbox) = &inboxes[step % 60] {
                    while let Ok(Some(delivery)) = inbox.try_recv() {
                        delivery.ack();
                    }
                }
            });
        });
        let web = Server::observatory(&root, &["--every", "250ms"]);
        let mut page = Browser::start(&chromium);
        page.size(1440, 900, false);
        page.prefer("dark");
        page.open(&web.url);
        page.until("document.querySelectorAll('.node').length === 60");
        sleep(Duration::from_secs(8));
        save(&mut page, &to.join("observatory-sixty.png"));
    });
}
