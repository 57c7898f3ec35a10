//! Those who look on: what they are told is true.
#![cfg(laneway_loom)]

use laneway::model::{Queue, Seen};
use loom::thread;

#[test]
fn an_observer_never_takes_the_bytes_of_a_later_lap_for_a_message() {
    loom::model(|| {
        let queue = Queue::observed(64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        for payload in [1, 2, 3] {
            assert!(sender.try_send_quietly(&[payload]));
            assert_eq!(receiver.try_recv(), Some(vec![payload]));
        }
        // The second of these lies where the first of those lay.
        let sending = thread::spawn(move || [4, 5].map(|payload| assert!(sender.try_send_quietly(&[payload]))));
        let seen = queue.observer(0).look(0);
        assert!(matches!(seen, Seen::Lapped(48)) || seen == Seen::Message(vec![1]), "{seen:?}");
        sending.join().unwrap();
    });
}

#[test]
fn an_observer_may_begin_in_the_middle_of_a_run_where_the_receiver_is() {
    loom::model(|| {
        let queue = Queue::observed(64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let sending = thread::spawn(move || sender.send_run_quietly(&[1, 2]));
        let receiving = thread::spawn(move || receiver.try_recv());
        let observer = queue.observer(0);
        let begin = observer.begin();
        let seen = observer.look(begin);
        let right = match begin {
            0 => seen == Seen::Nothing || seen == Seen::Message(vec![1]),
            _ => begin == 16 && seen == Seen::Message(vec![2]),
        };
        assert!(right, "at {begin}: {seen:?}");
        sending.join().unwrap();
        receiving.join().unwrap();
    });
}

#[test]
fn an_observer_may_begin_in_the_middle_of_a_run_where_the_sender_says() {
    loom::model(|| {
        let queue = Queue::observed(64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        let receiving = thread::spawn(move || receiver.try_recv());
        let sending = thread::spawn(move || {
            sender.send_run_quietly(&[1, 2]);
            // Too long for the room that it knows of, so it asks where the receiver is; and says so, if it has come that far.
            sender.try_send_quietly(&[3, 4, 5]);
        });
        let observer = queue.observer(0);
        if let Seen::Lapped(begin) = observer.look(0) {
            let seen = observer.look(begin);
            assert!(begin == 16 && seen == Seen::Message(vec![2]), "at {begin}: {seen:?}");
        }
        sending.join().unwrap();
        receiving.join().unwrap();
    });
}

#[test]
fn who_learns_that_a_lane_is_retired_learns_where() {
    loom::model(|| {
        let queue = Queue::new(1, 64);
        let (mut sender, receiver) = (queue.sender(0), queue.receiver());
        sender.send(&[7]);
        assert_eq!(receiver.try_recv(), Some(vec![7]));
        let retiring = thread::spawn(move || assert_eq!(receiver.condemn(0), 16));
        assert!(matches!(sender.poisoned(), None | Some((16, 0))));
        retiring.join().unwrap();
        assert_eq!(sender.poisoned(), Some((16, 0)));
    });
}
