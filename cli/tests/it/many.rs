//! Ten thousand queues under one root.

use crate::support::Root;
use laneway::{Error, Queue};

const QUEUES: usize = 10_000;

fn create_all(root: &Root) -> Result<(), Error> {
    let options = Queue::options().capacity(4096).max_lanes(1);
    (0..QUEUES).try_for_each(|number| options.create(root.queue(&format!("q{number:05}"))).map(drop))
}

#[test]
fn ls_goes_through_ten_thousand_queues_and_past_a_broken_one() {
    let root = Root::new();
    create_all(&root).expect("room for ten thousand small queues");
    std::fs::write(root.queue("q00007").join("receiver"), "").expect("written");
    let lines = root.run(["ls", "--json"]).json();
    assert_eq!(lines.len(), QUEUES);
    assert!(lines.iter().enumerate().all(|(number, line)| line["name"] == format!("q{number:05}")));
    let broken: Vec<_> = lines.iter().filter(|line| line.get("error").is_some()).collect();
    assert_eq!(broken.len(), 1);
    assert_eq!(root.run(["ls"]).ok().lines().count(), QUEUES + 1);
    root.run(["rm"].into_iter().map(str::to_owned).chain((0..QUEUES).map(|number| format!("q{number:05}")))).ok();
    assert_eq!(root.run(["ls"]).ok(), "");
}
