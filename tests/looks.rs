//! Looks at what waits, while it comes and goes as fast as it can: each ends, and has seen no more than there is room for. That a
//! look ends in the very place is tested in `src/lane/tests.rs`; here are the threads.

mod support;

use laneway::mailbox::Post;
use laneway::{OnFull, Queue};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;
use support::{LONG, scratch};

const RING: u64 = 1 << 16;
const LOOKS: usize = 3000;

/// Long: whoever keeps copies needs a page for each, and is slower than who sends them, from the same one.
const BODY: &[u8] = &[7; 4000];

/// How many there is room for.
const MOST: usize = RING as usize / BODY.len();

/// The most that one look of many sees while somebody sends and somebody else receives. In the end they stop, so that a look which
/// goes on for as long ends too, and has seen too much.
fn most_seen(
    sends: impl FnOnce(&dyn Fn() -> bool) + Send,
    receives: impl FnOnce(&dyn Fn() -> bool) + Send,
    mut look: impl FnMut() -> usize,
) -> usize {
    let over = AtomicBool::new(false);
    let until = Instant::now() + LONG / 30;
    let goes_on = || !over.load(Ordering::Relaxed) && Instant::now() < until;
    thread::scope(|scope| {
        scope.spawn(|| sends(&goes_on));
        scope.spawn(|| receives(&goes_on));
        let looks = std::iter::from_fn(|| goes_on().then(&mut look)).filter(|seen| *seen > 0);
        let most = looks.take(LOOKS).max();
        over.store(true, Ordering::Relaxed);
        most.expect("something to see")
    })
}

#[test]
fn a_look_at_a_queue_sees_no_more_than_fits_into_it() {
    let dir = scratch();
    let queue = Queue::options().capacity(RING).overflow_limit(0).create(dir.path().join("queue")).unwrap();
    let mut observer = queue.observe().unwrap();
    let sends = |goes_on: &dyn Fn() -> bool| {
        let mut sender = queue.sender_options().on_full(OnFull::Fail).attach().unwrap();
        while goes_on() {
            (0..100).for_each(|_| _ = sender.send(BODY));
        }
    };
    let receives = |goes_on: &dyn Fn() -> bool| {
        let receiver = queue.receiver().unwrap();
        while goes_on() {
            (0..100).for_each(|_| drop(receiver.try_recv()));
        }
    };
    let most = most_seen(sends, receives, || {
        observer.peek(usize::MAX).unwrap().len().max(observer.upcoming(usize::MAX).unwrap().len())
    });
    assert!(most <= MOST, "{most} messages, and room for {MOST}");
}

#[test]
fn a_look_at_a_mailbox_sees_no_more_than_fits_into_it() {
    let dir = scratch();
    let options = Queue::options().capacity(RING).overflow_limit(0);
    let post = Post::open(dir.path().join("post")).queue_options(options);
    let mut seen = post.mailbox("backend").unwrap();
    let sends = |goes_on: &dyn Fn() -> bool| {
        let mut backend = post.mailbox("backend").unwrap();
        while goes_on() {
            (0..100).for_each(|_| drop(backend.send(BODY)));
        }
    };
    let receives = |goes_on: &dyn Fn() -> bool| {
        let inbox = post.serve("backend").unwrap();
        while goes_on() {
            (0..100).filter_map(|_| inbox.try_recv().unwrap()).for_each(|delivery| delivery.ack());
        }
    };
    let most = most_seen(sends, receives, || {
        seen.peek(usize::MAX).unwrap().len().max(seen.waiting(usize::MAX).unwrap().len())
    });
    assert!(most <= MOST, "{most} messages, and room for {MOST}");
}
