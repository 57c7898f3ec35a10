//! The shortest story: a queue, a sender, a receiver.

use laneway::{Queue, TryRecvError, pair};

#[test]
fn a_message_waits_for_its_receiver() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let queue = Queue::create(dir.path().join("a")).unwrap();
    queue.sender().unwrap().send(b"hello").unwrap();
    let receiver = queue.receiver().unwrap();
    assert_eq!(receiver.recv().unwrap().to_vec(), b"hello");
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    queue.destroy().unwrap();
}

#[test]
fn a_pair_carries_messages_between_threads_in_order_and_closes() {
    let (mut sender, receiver) = pair(4096).unwrap();
    let reader = std::thread::spawn(move || receiver.iter().map(|m| m.read_pod::<u64>().unwrap()).collect::<Vec<_>>());
    for i in 0..10_000u64 {
        sender.send_pod(&i).unwrap();
    }
    drop(sender);
    assert!(reader.join().unwrap().into_iter().eq(0..10_000));
}
