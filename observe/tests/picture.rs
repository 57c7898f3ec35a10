//! What a picture shows while queues and mailboxes come, work, break and go.

use laneway::Queue;
use laneway::mailbox::{Post, State};
use laneway_observe::{Key, Kind, Picture, Presence, Row};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

struct Scene {
    _dir: tempfile::TempDir,
    queues: PathBuf,
    post: Post,
    picture: Picture,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (queues, post) = (dir.path().join("queues"), Post::open(dir.path().join("post")));
    let picture = Picture::new(&queues, post.root());
    Scene { _dir: dir, queues, post, picture }
}

fn mailbox(name: &str) -> Key {
    Key { kind: Kind::Mailbox, name: name.to_owned() }
}

fn queue(name: &str) -> Key {
    Key { kind: Kind::Queue, name: name.to_owned() }
}

impl Scene {
    fn look(&mut self, key: &Key) -> &Row {
        self.picture.look();
        self.picture.row(key).unwrap_or_else(|| panic!("there is no row of {key:?}"))
    }
}

#[test]
fn rows_come_and_go_and_one_that_is_made_again_goes_on_in_its_row() {
    let mut scene = scene();
    scene.picture.look();
    assert_eq!(scene.picture.rows().count(), 0);
    assert!(scene.picture.problems().is_empty(), "directories that are not there yet are no problem");
    let first = Queue::create(scene.queues.join("steps")).unwrap();
    let mut sender = first.sender().unwrap();
    sender.send(b"one").unwrap();
    let row = scene.look(&queue("steps"));
    let figures = row.figures.clone().unwrap();
    assert_eq!((figures.waiting, figures.sent, figures.received, figures.senders), (1, 1, 0, 1));
    assert!(figures.fill() > 0.0 && figures.fill() < 0.01, "a message of three bytes in {} of ring", first.capacity());
    first.destroy().unwrap();
    assert!(matches!(scene.look(&queue("steps")).presence, Presence::Gone(_)));
    Queue::create(scene.queues.join("steps")).unwrap();
    let row = scene.look(&queue("steps"));
    assert!(row.is_here());
    assert_eq!(row.samples().len(), 2, "it went on in its row");
    assert_eq!(row.figures.as_ref().unwrap().sent, 0, "with the numbers of the new one");
}

#[test]
fn a_queue_that_was_replaced_between_two_looks_is_opened_again() {
    let mut scene = scene();
    let path = scene.queues.join("steps");
    let first = Queue::create(&path).unwrap();
    first.sender().unwrap().send(b"one").unwrap();
    assert_eq!(scene.look(&queue("steps")).figures.as_ref().unwrap().sent, 1);
    first.destroy().unwrap();
    Queue::create(&path).unwrap();
    let row = scene.look(&queue("steps"));
    assert!(row.is_here() && row.figures.as_ref().unwrap().sent == 0, "{row:?}");
}

#[test]
fn a_mailbox_shows_who_sends_who_serves_and_what_became_of_messages() {
    let mut scene = scene();
    let mut planner = scene.post.clone().from("planner").mailbox("backend").unwrap();
    let ticket = planner.send(b"run the tests").unwrap();
    planner.send(b"and the lints").unwrap();
    let figures = scene.look(&mailbox("backend")).figures.clone().unwrap();
    assert_eq!(figures.flows[0].from.as_deref(), Some("planner"));
    assert_eq!((figures.waiting, figures.queue.receiver_alive), (2, false));
    assert!(figures.oldest.is_some());
    let inbox = scene.post.serve("backend").unwrap();
    inbox.recv().unwrap().ack();
    let figures = scene.look(&mailbox("backend")).figures.clone().unwrap();
    assert_eq!((figures.waiting, figures.queue.receiver_alive), (1, true));
    assert!(figures.delivery_p99().is_some());
    let detail = scene.picture.detail(&mailbox("backend"), 5, 5).unwrap().unwrap();
    assert_eq!(detail.messages.len(), 1);
    assert_eq!(
        (detail.messages[0].from.as_deref(), &detail.messages[0].body[..]),
        (Some("planner"), &b"and the lints"[..])
    );
    assert_eq!((detail.outcomes[0].0, detail.outcomes[0].1.state), (ticket, State::Acked));
    // A message that came and went between two looks names its sender too.
    inbox.recv().unwrap().ack();
    scene.picture.look();
    let mut other = scene.post.clone().from("reviewer").mailbox("backend").unwrap();
    scene.picture.look();
    other.send(b"quick").unwrap();
    inbox.recv().unwrap().ack();
    scene.picture.look();
    other.send(b"quicker").unwrap();
    inbox.recv().unwrap().ack();
    let names =
        |row: &Row| row.figures.as_ref().unwrap().flows.iter().filter_map(|flow| flow.from.clone()).collect::<Vec<_>>();
    assert_eq!(names(scene.look(&mailbox("backend"))), ["planner", "reviewer"]);
}

#[test]
fn rates_and_ages_are_those_of_the_time_between_looks() {
    let mut scene = scene();
    let steps = Queue::create(scene.queues.join("steps")).unwrap();
    let mut sender = steps.sender().unwrap();
    let first_look = Instant::now();
    sender.send(b"first").unwrap();
    scene.picture.look();
    for _ in 0..99 {
        sender.send(b"more").unwrap();
    }
    scene.picture.look();
    // How fast is a matter of this machine; the arithmetic is tested beside it.
    let row = scene.picture.row(&queue("steps")).unwrap();
    assert!(row.rates.sent > 0.0 && row.rates.received == 0.0, "{:?}", row.rates);
    let oldest = row.figures.as_ref().unwrap().oldest.unwrap();
    assert!(!oldest.is_zero() && oldest <= first_look.elapsed(), "{oldest:?}");
    let receiver = steps.receiver().unwrap();
    while receiver.try_recv().is_ok() {}
    let row = scene.look(&queue("steps"));
    assert_eq!((row.figures.as_ref().unwrap().oldest, row.figures.as_ref().unwrap().waiting), (None, 0));
}

#[test]
fn what_is_damaged_or_of_another_version_or_no_directory_has_a_row_that_says_so_or_none() {
    let mut scene = scene();
    for name in ["good", "garbage", "version"] {
        Queue::create(scene.queues.join(name)).unwrap();
    }
    scene.post.mailbox("broken").unwrap();
    fs::write(scene.queues.join("garbage/queue"), [0xa5; 4096]).unwrap();
    let mut header = fs::read(scene.queues.join("version/queue")).unwrap();
    header[8] = 9;
    fs::write(scene.queues.join("version/queue"), header).unwrap();
    fs::write(scene.post.root().join("broken/mail/ledger"), b"short").unwrap();
    fs::write(scene.queues.join("a file"), b"no queue").unwrap();
    fs::create_dir(scene.queues.join("empty")).unwrap();
    assert!(scene.look(&queue("good")).is_here());
    for key in [queue("garbage"), queue("version"), mailbox("broken")] {
        let row = scene.picture.row(&key).unwrap();
        let Presence::Unreadable(why) = &row.presence else { panic!("{row:?}") };
        assert!(why.contains(&key.name), "{why}");
        assert!(scene.picture.detail(&key, 1, 1).is_none());
    }
    assert_eq!(scene.picture.rows().count(), 4);
    // All of it vanishes under the eyes of who watches.
    fs::remove_dir_all(&scene.queues).unwrap();
    fs::remove_dir_all(scene.post.root()).unwrap();
    scene.picture.look();
    assert!(scene.picture.rows().all(|row| matches!(row.presence, Presence::Gone(_))));
}

#[test]
fn looking_changes_nothing() {
    let mut scene = scene();
    let mut planner = scene.post.clone().from("planner").mailbox("backend").unwrap();
    planner.send(b"run the tests").unwrap();
    let files = |post: &Post| {
        let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        let mut directories = vec![post.root().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    };
    let before = files(&scene.post);
    for _ in 0..3 {
        scene.picture.look();
        scene.picture.detail(&mailbox("backend"), 10, 10).unwrap().unwrap();
    }
    assert!(files(&scene.post) == before, "a look left a trace");
}
