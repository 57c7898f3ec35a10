//! A file that is truncated while it is mapped costs its lane, not the process. Cannot see what happens to a process
//! that opted out: that one gets its SIGBUS.

use laneway::{Fault, Queue, RecvError, SendError, Wait};
use std::fs::File;
use std::time::Duration;

#[test]
fn a_truncated_lane_is_reported_once_and_the_others_lose_nothing() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let queue = Queue::create(dir.path().join("a")).unwrap();
    let (mut victim, mut other) = (queue.sender().unwrap(), queue.sender().unwrap());
    let receiver = queue.receiver().unwrap();
    victim.send(b"before").unwrap();
    other.send(b"one").unwrap();
    assert_eq!(receiver.iter().take(2).map(|m| m.to_vec()).filter(|m| m == b"before").count(), 1);

    let lane = dir.path().join("a").join(format!("lane-{:03}", victim.lane()));
    File::options().write(true).open(lane).unwrap().set_len(0).unwrap();
    victim.send(b"into the void").unwrap();
    other.send(b"two").unwrap();

    let (mut damage, mut delivered) = (Vec::new(), Vec::new());
    receiver.set_wait(Wait::Park);
    while delivered.is_empty() || damage.is_empty() {
        match receiver.recv_timeout(Duration::from_secs(10)) {
            Ok(message) => delivered.push(message.to_vec()),
            Err(RecvError::Corrupt(found)) => damage.push(found),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(delivered, [b"two"]);
    assert_eq!((damage[0].lane, damage[0].fault, damage.len()), (victim.lane(), Fault::Truncated, 1));
    assert_eq!(receiver.damage(), damage);

    // The sender finds out when it next asks for room, and another one gets another lane.
    let refused = (0..1_000_000).find_map(|_| victim.send(&[7; 1000]).err()).unwrap();
    assert!(matches!(refused, SendError::Corrupt(found) if found.fault == Fault::Truncated), "{refused}");
    drop(victim);
    let mut next = queue.sender().unwrap();
    assert_ne!(next.lane(), damage[0].lane);
    next.send(b"three").unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"three");
}

#[test]
fn a_truncated_receiver_file_refuses_its_senders_and_stops_nobody() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let queue = Queue::options().capacity(4096).create(dir.path().join("a")).unwrap();
    let mut sender = queue.sender().unwrap();
    let receiver = queue.receiver().unwrap();
    for file in ["receiver", "bell"] {
        File::options().write(true).open(dir.path().join("a").join(file)).unwrap().set_len(0).unwrap();
    }
    let refused = (0..1_000).find_map(|_| sender.send_timeout(&[7; 100], Duration::from_millis(200)).err()).unwrap();
    assert!(matches!(refused, SendError::Corrupt(_)), "{refused}");
    assert_eq!(receiver.recv().unwrap().to_vec(), [7; 100]);
    assert!(Queue::open(dir.path().join("a")).unwrap_err().to_string().contains("size is 0 bytes"));
}
