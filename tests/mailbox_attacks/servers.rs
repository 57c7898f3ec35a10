//! Processes that want to serve the same mailbox, and are killed while they do.

use super::support::mailboxes::{body, post};
use super::support::{Part, Peer, Role, scratch};
use laneway::Cause;
use laneway::mailbox::{Inbox, Post};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;

/// Serves, says so, and holds a lock that nobody else may want to have then; again and again.
pub(super) fn serve_and_leave(part: &Part) {
    // Opened first: when a process is killed its files are closed in this order.
    let mut alone = File::options().write(true).open(part.queue.with_extension("alone")).unwrap();
    let post = Post::open(&part.queue);
    let mut refused = 0;
    part.say("ready");
    loop {
        let inbox: Inbox = match post.serve("backend") {
            Ok(inbox) => inbox,
            Err(error) if matches!(error.cause(), Cause::AlreadyReceiving) => {
                refused += 1;
                continue;
            }
            Err(error) => return part.say(&format!("an error: {error}")),
        };
        let Ok(locked) = Flock::lock(alone, FlockArg::LockExclusiveNonblock) else {
            return part.say("an error: two serve at a time");
        };
        // The one message comes to each, and is left for the next.
        let taken = inbox.try_recv().unwrap().map(std::mem::forget);
        part.say(&format!("serves, after {} refusals, {}", refused.min(1), taken.is_some()));
        part.pause();
        drop(inbox.try_recv());
        alone = locked.unlock().unwrap();
    }
}

#[test]
fn of_those_who_want_to_serve_one_does_and_the_next_when_it_is_killed_or_leaves() {
    let dir = scratch();
    let post = post(&dir).settings(laneway::mailbox::Settings { max_attempts: u16::MAX, ..Default::default() });
    let mut backend = post.mailbox("backend").unwrap();
    backend.send(b"for whoever serves").unwrap();
    File::create(post.root().with_extension("alone")).unwrap();
    let start = || {
        let mut peer = Role::new("server", post.root()).start();
        peer.expect("ready");
        peer
    };
    let mut racing: Vec<Peer> = (0..3).map(|_| start()).collect();
    for turn in 0..150 {
        // Whoever says something serves.
        let (at, said) = hear_one(&mut racing);
        assert!(said.starts_with("serves") && said.ends_with("true"), "in turn {turn}: {said}");
        if turn % 5 == 0 {
            racing[at].go();
        } else {
            racing[at].signal(libc::SIGKILL);
            // Not waited for before the others have had their chance.
            let mut killed = std::mem::replace(&mut racing[at], start());
            killed.wait();
        }
    }
    drop(racing);
    assert_eq!(body(&post.serve("backend").unwrap()), b"for whoever serves");
}

/// The next line of any of them.
fn hear_one(peers: &mut [Peer]) -> (usize, String) {
    let mut polled: Vec<PollFd<'_>> =
        peers.iter().map(|peer| PollFd::new(peer.descriptor(), PollFlags::POLLIN)).collect();
    poll(&mut polled, PollTimeout::from(60_000u16)).unwrap();
    let at = polled.iter().position(|polled| polled.any().unwrap()).expect("nobody serves");
    (at, peers[at].hear().expect("it has ended"))
}
