//! `laneway top` in a terminal, and without one.

use crate::support::{Root, eventually};
use crate::tmux::Terminal;
use laneway::Queue;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// The line that starts the dashboard, so that it says how it ended, which process it is, and what became of the terminal.
fn start(root: &Root) -> String {
    let (binary, at) = (env!("CARGO_BIN_EXE_laneway"), root.path().display());
    format!(
        "clear; ulimit -c 0; stty -g >{at}/before; sh -c 'echo $$ >{at}/pid; exec {binary} top --every 50ms'; echo ended $?; stty -g >{at}/after"
    )
}

fn assert_restored(root: &Root) {
    let settings = |name| fs::read_to_string(root.path().join(name)).expect("the terminal's settings");
    eventually("the shell has asked for the settings", || root.path().join("after").exists());
    eventually("the settings are written", || !settings("after").is_empty());
    assert_eq!(settings("before"), settings("after"));
    fs::remove_file(root.path().join("after")).expect("it is there");
}

#[test]
fn the_story_of_a_mailbox_in_a_terminal() {
    let root = Root::new();
    let Some(terminal) = Terminal::start(&root, 100, 40) else { return };
    terminal.line(&start(&root));
    terminal.shows_line(&["Nothing yet."]);
    // It comes by itself, with mail and nobody to take it.
    let ticket = root.post("backend", &["run the tests", "--from", "planner\u{1b}[2J"]);
    terminal.shows_line(&["▸ backend", "○ nobody", " 1 ", "░"]);
    terminal.shows_line(&["laneway", "! 1 behind"]);
    // An agent comes, takes it and waits for more.
    let serve = ["serve", "backend", "--exec", "cat >/dev/null"];
    let mut agent = root.spawn(serve);
    terminal.shows_line(&["▸ backend", "● ready", " · "]);
    terminal.keys(&["Enter"]);
    terminal.shows_line(&[&ticket, "acked"]);
    let second = root.post("backend", &["look at\u{1b}[31m this", "--delay", "1h", "--from", "planner\u{1b}[2J"]);
    terminal.shows_line(&[&second, "pending", "for later"]);
    terminal.shows_line(&["planner␛[2J", "normal"]);
    terminal.keys(&["Escape"]);
    terminal.shows_line(&["NAME"]);
    // It is killed; then it comes again, in its row.
    agent.kill().expect("it runs");
    agent.wait().expect("it was killed");
    terminal.shows_line(&["▸ backend", "○ nobody"]);
    let mut agent = root.spawn(serve);
    terminal.shows_line(&["▸ backend", "● ready"]);
    // A filter, another sort, and other sizes.
    Queue::create(root.queue("steps")).expect("a queue");
    terminal.shows_line(&["steps ⇉"]);
    terminal.keys(&["/", "s", "t", "e", "Enter"]);
    terminal.shows("the filter", |screen| screen.contains("▸ steps ⇉") && !screen.contains("backend"));
    // A key right behind an Escape is another key.
    terminal.keys(&["Escape"]);
    terminal.shows_line(&["backend"]);
    terminal.keys(&["s", "s"]);
    terminal.shows_line(&["WAIT▾"]);
    terminal.resize(20, 5);
    terminal.shows_line(&["backend"]);
    terminal.resize(1, 1);
    terminal.shows("one letter", |screen| screen.trim_end() == "l");
    terminal.resize(90, 24);
    terminal.shows_line(&["backend", "● ready"]);
    // Everything is removed under its eyes.
    agent.kill().expect("it runs");
    agent.wait().expect("it was killed");
    fs::remove_dir_all(root.path().join("post")).expect("it is there");
    Queue::remove(root.queue("steps")).expect("it is there");
    terminal.shows_line(&["backend", "· gone", "ago"]);
    terminal.shows_line(&["steps ⇉", "· gone"]);
    terminal.keys(&["q"]);
    terminal.is_back("ended 0");
    assert_restored(&root);
}

#[test]
fn whatever_ends_it_gives_the_terminal_back() {
    let root = Root::new();
    let Some(terminal) = Terminal::start(&root, 80, 24) else { return };
    let pid = || fs::read_to_string(root.path().join("pid")).expect("written").trim().parse().map(Pid::from_raw);
    let asked = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].map(|signal| (Some(signal), 0));
    // Those that end it as they end anybody say so, and that comes after the terminal is back.
    let killed = [Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGALRM].map(|signal| (Some(signal), 128 + signal as i32));
    for (end, code) in [(None, 0)].into_iter().chain(asked).chain(killed) {
        terminal.line(&start(&root));
        terminal.shows_line(&["Nothing yet."]);
        match end {
            None => terminal.keys(&["C-c"]),
            Some(signal) => kill(pid().expect("a number"), signal).expect("it runs"),
        }
        terminal.is_back(&format!("ended {code}"));
        assert_restored(&root);
    }
}

#[test]
fn one_mailbox_or_queue_is_open_from_the_beginning() {
    let root = Root::new();
    root.post("backend", &["run the tests"]);
    let Some(terminal) = Terminal::start(&root, 80, 40) else { return };
    terminal.line(&format!("clear; {} top --every 50ms backend; echo ended $?", env!("CARGO_BIN_EXE_laneway")));
    terminal.shows_line(&["backend", "mailbox", "○ nobody"]);
    terminal.shows_line(&["run the tests"]);
    terminal.keys(&["q"]);
    terminal.is_back("ended 0");
}

#[test]
fn without_a_terminal_it_says_so_and_once_prints_a_frame() {
    let root = Root::new();
    root.run(["top"]).refused(&["not a terminal", "--once"]);
    root.run(["top", "--json"]).refused(&["--once"]);
    root.run(["top", "--once", "nobody"]).refused(&["nobody", "no queue", "no mailbox"]);
    root.run(["top", "--once", "../x/.."]).refused(&["does not end in a name"]);
    assert_eq!(root.run(["top", "--every", "1ms"]).code, Some(2));
    let once = |more: &[&str]| root.run(["top", "--once", "--every", "20ms"].iter().chain(more)).ok();
    assert_eq!(once(&[]).lines().next(), Some("laneway   0 mailboxes   0 queues   0 in/s   0 out/s   0 waiting   0 B"));
    root.post("backend", &["run\u{1b}[2J", "--from", "planner"]);
    Queue::create(root.queue("steps")).expect("a queue");
    fs::write(Queue::create(root.queue("broken")).expect("a queue").path().join("bell"), "").expect("written");
    let frame = once(&["--width", "80"]);
    let lines: Vec<&str> = frame.lines().collect();
    assert_eq!(lines.len(), 5, "{frame}");
    assert!(lines[2].starts_with("  backend") && lines[2].contains("○ nobody"), "{frame}");
    assert!(lines[3].contains("✗ broken"), "{frame}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{frame}");
    assert!(once(&["backend"]).contains("run␛[2J"));
    assert!(once(&[&root.queue("steps").to_string_lossy()]).starts_with("steps  queue  ○ nobody\n"));
    let rows = root.run(["top", "--once", "--json", "--every", "20ms"]).json();
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0]["name"].as_str(), rows[0]["waiting"].as_u64()), (Some("backend"), Some(1)));
    assert!(rows[1]["error"].as_str().is_some_and(|why| why.contains("bell")), "{rows:?}");
    assert_eq!(rows[2]["path"].as_str().map(Path::new), Some(&*root.queue("steps")));
}
