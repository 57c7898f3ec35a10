//! What is on the screen of a picture of real queues and mailboxes, letter by letter, without a terminal.

use super::entry::{Entry, Mood, Shot};
use super::keys::{self, Action};
use super::state::{Sort, State};
use super::view::{self, Palette};
use super::{json, looker};
use laneway::mailbox::Post;
use laneway::{OnFull, Queue};
use laneway_observe::{Key, Kind, Picture};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Queues and mailboxes that go with their test, and what is seen of them.
struct Scene {
    _dir: TempDir,
    queues: PathBuf,
    post: Post,
    picture: Picture,
    state: State,
}

fn scene() -> Scene {
    let dir = TempDir::new().unwrap();
    let (queues, post) = (dir.path().join("queues"), Post::open(dir.path().join("post")));
    let picture = Picture::new(&queues, post.root());
    Scene { _dir: dir, queues, post, picture, state: State::default() }
}

impl Scene {
    fn queue(&self, name: &str) -> Queue {
        Queue::create(self.queues.join(name)).unwrap()
    }

    fn post(&self, from: &str, to: &str, body: &[u8]) {
        self.post.clone().from(from).mailbox(to).unwrap().send(body).unwrap();
    }

    fn shoot(&mut self) -> Shot {
        self.picture.look();
        let open = self.state.opened().map(|(key, _)| key.clone());
        looker::shoot(&mut self.picture, open.as_ref())
    }

    fn look(&mut self) {
        let shot = self.shoot();
        self.state.see(shot);
    }

    fn buffer(&mut self, width: u16, height: u16, colour: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(frame, &mut self.state, Palette::new(colour))).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The screen as lines.
    fn screen(&mut self, width: u16, height: u16) -> Vec<String> {
        let buffer = self.buffer(width, height, true);
        let mut lines = Vec::new();
        for row in 0..height {
            // The second half of a wide letter is an empty cell, and no column of its own.
            let mut line = String::new();
            let mut column = 0;
            while column < width {
                let symbol = buffer[(column, row)].symbol();
                line += symbol;
                column += crate::plain::width(symbol).max(1) as u16;
            }
            assert!(!line.contains(char::is_control), "{line:?}");
            lines.push(line.trim_end().to_owned());
        }
        lines
    }

    fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                key => KeyCode::Char(key),
            };
            self.key(code);
        }
    }

    fn key(&mut self, code: KeyCode) {
        let action = keys::action(KeyEvent::new(code, KeyModifiers::NONE), &self.state).expect("it means something");
        self.state.handle(action);
    }

    /// The names of the rows that are seen, with a mark at the one that is meant.
    fn rows(&mut self) -> Vec<String> {
        let rows = self.state.rows();
        rows.map(|(entry, meant)| format!("{}{}", entry.key.name, if meant { "*" } else { "" })).collect()
    }
}

fn line_of<'a>(screen: &'a [String], word: &str) -> &'a str {
    screen.iter().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word} in {screen:#?}"))
}

#[test]
fn a_usual_terminal_shows_what_matters_of_each() {
    let mut scene = scene();
    scene.post("planner", "backend", b"run the tests");
    scene.post("planner", "reviewer", b"have a look");
    let _inbox = scene.post.serve("reviewer").unwrap();
    let _sender = scene.queue("steps").sender().unwrap();
    scene.look();
    let screen = scene.screen(80, 24);
    assert_eq!(screen.len(), 24);
    assert!(screen[0].starts_with("laneway   ! 1 behind   2 mailboxes   1 queue   "), "{}", screen[0]);
    let headings: Vec<&str> = screen[1].split_whitespace().collect();
    assert_eq!(headings, ["NAME▾", "STATE", "WAIT", "OLDEST", "IN/s", "OUT/s", "RATE", "P99", "PRESSURE", "SEND"]);
    assert!(screen[2].starts_with("▸ backend      ○ nobody      1 "), "{}", screen[2]);
    assert!(screen[3].starts_with("  reviewer     ● busy        1 "), "{}", screen[3]);
    assert!(screen[4].starts_with("  steps ⇉      ○ nobody      · "), "{}", screen[4]);
    assert!(screen[4].ends_with("░░░░   0%   1/1"), "{}", screen[4]);
    assert!(screen[5..23].iter().all(String::is_empty), "{screen:#?}");
    assert_eq!(screen[23], "1/3  Enter open  / filter  s sort: name  a attention  ? help  q quit");
    // Columns stand under their headings, at the right edge where they are numbers.
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at + word.len()].chars().count());
    assert_eq!(column(&screen[1], "WAIT"), column(&screen[2], "nobody      1"));
}

#[test]
fn a_wide_terminal_shows_everything() {
    let mut scene = scene();
    let _senders = ["planner", "漢字"].map(|from| {
        let mut mailbox = scene.post.clone().from(from).mailbox("backend").unwrap();
        mailbox.send(b"run the tests").unwrap();
        mailbox
    });
    scene.look();
    let screen = scene.screen(200, 50);
    for word in [
        "STATE", "WAIT", "OLDEST", "IN/s", "OUT/s", "RATE", "P50", "P99", "PRESSURE", "SEND", "BACKLOG", "MEMORY",
        "FROM",
    ] {
        assert!(screen[1].contains(word), "{word} is not in {}", screen[1]);
    }
    let row = line_of(&screen, "backend");
    assert!(row.contains("●planner ●漢字") && row.contains(" KiB"), "{row}");
}

#[test]
fn no_terminal_is_too_small() {
    let mut scene = scene();
    scene.post("planner", "backend", b"run the tests");
    scene.look();
    assert_eq!(scene.screen(1, 1), ["l"]);
    let screen = scene.screen(20, 5);
    assert!(
        screen[0].starts_with("laneway") && screen[1].contains("NAME") && screen[2].contains("backend"),
        "{screen:?}"
    );
    for keys in ["", "\n", "?", "\x1b\x1b/漢字"] {
        scene.keys(keys);
        scene.look();
        for width in (0..24).chain([80, 109, 110, 300]) {
            for height in (0..6).chain([24]) {
                scene.screen(width, height);
            }
        }
    }
}

#[test]
fn what_others_wrote_does_not_reach_the_terminal_as_it_is() {
    let mut scene = scene();
    let body = "\x1b]0;gotcha\x07\u{9b}2J\u{202e}漢字\r\n";
    scene.post("ev\x1b[31mil\u{200b}", "backend", body.as_bytes());
    scene.post("ev\x1b[31mil\u{200b}", "backend", &[0xff, 0x1b, 0x5b]);
    let queue = scene.queue("b\u{202e}dled");
    queue.sender().unwrap().send(b"\x1b[2J").unwrap();
    scene.look();
    // `screen` fails when a control character is in a cell.
    let screen = scene.screen(200, 24);
    assert!(line_of(&screen, "backend").contains("ev␛[31mil"), "{screen:#?}");
    assert!(line_of(&screen, "bdled ⇉").contains("nobody"), "{screen:#?}");
    scene.keys("\n");
    scene.look();
    let screen = scene.screen(100, 50);
    assert!(line_of(&screen, "gotcha").ends_with("␛]0;gotcha␇\u{fffd}2J漢字␍↵"), "{screen:#?}");
    line_of(&screen, "ff 1b 5b");
}

#[test]
fn what_cannot_be_looked_at_says_why_in_its_row_and_is_counted() {
    let mut scene = scene();
    for name in ["broken", "other", "sound"] {
        scene.queue(name);
    }
    fs::write(scene.queues.join("broken/queue"), [0xa5; 4096]).unwrap();
    let mut header = fs::read(scene.queues.join("other/queue")).unwrap();
    header[8] = 9;
    fs::write(scene.queues.join("other/queue"), header).unwrap();
    scene.look();
    let screen = scene.screen(200, 24);
    assert!(screen[0].contains("✗ 2 broken"), "{}", screen[0]);
    assert!(line_of(&screen, "broken ⇉").contains("✗ broken  cannot open"), "{screen:#?}");
    assert!(line_of(&screen, "other ⇉").contains("version 9"), "{screen:#?}");
    scene.keys("a");
    assert_eq!(scene.rows().len(), 2);
    // All of it is removed.
    fs::remove_dir_all(&scene.queues).unwrap();
    scene.keys("a");
    scene.look();
    let screen = scene.screen(80, 24);
    assert!(line_of(&screen, "sound ⇉").contains("· gone"), "{screen:#?}");
    assert!(screen[0].starts_with("laneway   0 mailboxes"), "{}", screen[0]);
}

#[test]
fn colours_are_few_and_nothing_depends_on_them() {
    let mut scene = scene();
    scene.post("planner", "backend", b"run the tests");
    scene.queue("idle");
    fs::write(scene.queue("broken").path().join("receiver"), b"").unwrap();
    scene.look();
    let [coloured, plain] = [true, false].map(|colour| scene.buffer(80, 24, colour));
    let symbols = |buffer: &Buffer| buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>();
    assert_eq!(symbols(&coloured), symbols(&plain));
    assert!(plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let red = |row: u16| (0..80).filter(|column| coloured[(*column, row)].fg == Color::Red).count();
    assert!(
        red(3) > 20 && red(2) == 0 && red(4) == 0,
        "only the broken one is red: {:?}",
        (0..24).map(red).collect::<Vec<_>>()
    );
    assert!(coloured[(2, 4)].modifier.contains(Modifier::DIM), "what rests is dim");
    assert!(plain[(2, 2)].modifier.contains(Modifier::REVERSED), "what is meant is seen without colour");
}

#[test]
fn the_row_that_is_meant_stays_with_its_name() {
    let mut scene = scene();
    for name in ["b", "d", "f"] {
        scene.queue(name);
    }
    scene.look();
    scene.screen(80, 24);
    scene.keys("j");
    assert_eq!(scene.rows(), ["b", "d*", "f"]);
    scene.queue("a");
    scene.queue("e");
    scene.look();
    assert_eq!(scene.rows(), ["a", "b", "d*", "e", "f"]);
    // It goes: for a while it is shown as gone, and is still meant.
    Queue::remove(scene.queues.join("d")).unwrap();
    scene.look();
    assert_eq!(scene.rows(), ["a", "b", "d*", "e", "f"]);
    // Then whoever stands in its place is.
    let mut shot = scene.shoot();
    shot.entries.retain(|entry| entry.mood() != Mood::Gone);
    scene.state.see(shot);
    assert_eq!(scene.rows(), ["a", "b", "e*", "f"]);
    scene.keys("G");
    assert_eq!(scene.rows(), ["a", "b", "e", "f*"]);
    scene.keys("gk");
    assert_eq!(scene.rows(), ["a*", "b", "e", "f"]);
}

#[test]
fn only_what_is_visible_is_there_and_the_row_that_is_meant_is_among_it() {
    let mut scene = scene();
    let options = Queue::options().capacity(4096).max_lanes(1);
    (0..100).for_each(|number| drop(options.create(scene.queues.join(format!("q{number:03}"))).unwrap()));
    scene.look();
    // A header, headings and a footer.
    scene.screen(80, 13);
    assert_eq!(scene.rows().len(), 10);
    scene.key(KeyCode::PageDown);
    scene.screen(80, 13);
    assert_eq!(scene.rows()[9], "q010*");
    scene.keys("G");
    scene.screen(80, 13);
    assert_eq!((scene.rows()[0].as_str(), scene.rows()[9].as_str()), ("q090", "q099*"));
    // A larger terminal shows as much as there is; a smaller one keeps what is meant.
    scene.screen(80, 53);
    assert_eq!((scene.rows().len(), scene.rows()[49].as_str()), (50, "q099*"));
    scene.keys("gj");
    scene.screen(80, 5);
    assert_eq!(scene.rows(), ["q001*", "q002"]);
}

#[test]
fn rows_are_sorted_by_what_the_heading_says() {
    let mut scene = scene();
    for (name, messages) in [("few", 1), ("many", 5), ("none", 0)] {
        let mut sender = scene.queue(name).sender().unwrap();
        (0..messages).for_each(|_| _ = sender.send(b"x").unwrap());
    }
    scene.look();
    scene.screen(80, 24);
    assert_eq!(scene.rows(), ["few*", "many", "none"]);
    scene.keys("ss");
    assert_eq!(
        (scene.state.sort(), scene.rows()),
        ((Sort::Waiting, false), vec!["many".into(), "few*".into(), "none".into()])
    );
    assert!(scene.screen(80, 24)[1].contains("WAIT▾"));
    scene.keys("r");
    assert_eq!(scene.rows(), ["none", "few*", "many"]);
    scene.keys("S");
    // By how much somebody should care: those with mail and nobody to take it come first.
    assert_eq!((scene.state.sort().0, scene.rows().last().unwrap().as_str()), (Sort::Attention, "none"));
    scene.keys("S");
    assert_eq!(scene.rows(), ["few*", "many", "none"]);
}

#[test]
fn a_filter_finds_names_and_senders_and_goes_with_escape() {
    let mut scene = scene();
    scene.post("Planner", "backend", b"x");
    scene.post("backend", "reviewer", b"x");
    scene.post("user", "docs", b"x");
    scene.look();
    scene.screen(80, 24);
    scene.keys("j/BACK");
    assert_eq!(scene.rows(), ["backend", "reviewer*"], "by its name, and by its sender's");
    assert_eq!(scene.screen(80, 24)[23], "/BACK▏  Enter keeps it, Esc does not");
    scene.keys("\x1b");
    assert_eq!(scene.rows(), ["backend", "docs*", "reviewer"], "what was meant is meant again");
    scene.keys("/plan\n");
    assert_eq!(scene.rows(), ["backend*"]);
    assert!(scene.screen(80, 24)[23].starts_with("1/1 that match /plan, of 3"));
    scene.keys("/nner\x08x\n");
    assert!(scene.rows().is_empty());
    assert!(
        scene.screen(80, 24)[1].starts_with("None of 3 has \"plannnex\" in its name"),
        "{:?}",
        scene.screen(80, 24)
    );
    scene.keys("jk\n\x1b");
    assert_eq!(scene.rows().len(), 3);
}

#[test]
fn one_that_is_open_shows_its_lanes_messages_and_tickets() {
    let mut scene = scene();
    let mut planner = scene.post.clone().from("planner").mailbox("backend").unwrap();
    let done = planner.send(b"first").unwrap();
    let waits = planner.send(b"second").unwrap();
    scene.post.serve("backend").unwrap().recv().unwrap().ack();
    scene.look();
    scene.keys("\n");
    scene.look();
    let screen = scene.screen(100, 40);
    assert!(screen[1].starts_with("backend  mailbox  ○ nobody"), "{screen:#?}");
    assert!(line_of(&screen, &done.to_string()).contains("acked"), "{screen:#?}");
    assert!(line_of(&screen, &waits.to_string()).ends_with("second"), "{screen:#?}");
    assert!(line_of(&screen, "● attached").contains("planner"), "{screen:#?}");
    line_of(&screen, "1 acked");
    // It goes on below the screen, as far as there is something.
    scene.screen(100, 8);
    scene.key(KeyCode::End);
    let end = scene.screen(100, 8);
    assert!(end[6].contains("● attached"), "{end:#?}");
    // It vanishes while it is open, and comes again.
    scene.post.remove("backend").unwrap();
    scene.look();
    line_of(&scene.screen(100, 24), "It shows when it comes again.");
    scene.post("planner", "backend", b"third");
    scene.look();
    line_of(&scene.screen(100, 40), "third");
    scene.keys("\x1b");
    line_of(&scene.screen(100, 24), "STATE");
}

#[test]
fn high_pressure_is_a_word_and_a_retired_lane_is_not_overlooked() {
    let mut scene = scene();
    let queue = Queue::options().capacity(4096).overflow_limit(0).create(scene.queues.join("full")).unwrap();
    let mut sender = queue.sender_options().on_full(OnFull::Fail).attach().unwrap();
    let _receiver = queue.receiver().unwrap();
    while sender.send(&[7; 64]).is_ok() {}
    scene.look();
    let row = line_of(&scene.screen(80, 24), "full ⇉").to_owned();
    assert!(row.contains("████ high"), "{row}");
    assert_eq!(scene.state.all_rows().map(Entry::mood).collect::<Vec<_>>(), [Mood::Behind]);
}

#[test]
fn an_empty_post_says_where_it_looks() {
    let mut scene = scene();
    scene.screen(80, 24);
    scene.look();
    let screen = scene.screen(200, 24);
    assert_eq!(screen[2], format!("queues in {}", scene.queues.display()));
    for keys in ["\n", "jkgG", "ssr", "p", "?"] {
        scene.keys(keys);
        scene.screen(80, 24);
    }
    assert!(scene.state.is_paused() && scene.state.shows_help());
    line_of(&scene.screen(90, 24), "quit");
    scene.keys("?q");
    assert!(scene.state.is_over());
}

#[test]
fn control_c_ends_it_also_while_a_filter_is_typed() {
    let mut state = State::default();
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(keys::action(control_c, &state), Some(Action::Quit));
    state.handle(Action::Type);
    assert_eq!(keys::action(control_c, &state), Some(Action::Quit));
    assert_eq!(keys::action(KeyEvent::new(KeyCode::F(5), KeyModifiers::NONE), &state), None);
}

#[test]
fn a_row_as_json_has_its_figures_or_what_is_wrong() {
    let mut scene = scene();
    scene.post("planner", "backend", b"x");
    fs::write(scene.queue("broken").path().join("receiver"), b"").unwrap();
    let lines: Vec<_> = scene.shoot().entries.iter().map(json::line).collect();
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["waiting"], &lines[0]["flows"][0]["from"]),
        (&"mailbox".into(), &1.into(), &"planner".into())
    );
    assert!(lines[1]["error"].as_str().unwrap().contains("receiver"), "{}", lines[1]);
    let key = Key { kind: Kind::Queue, name: "broken".to_owned() };
    assert_eq!((lines[1]["name"].as_str(), lines[1]["kind"].as_str()), (Some(&*key.name), Some("queue")));
}
