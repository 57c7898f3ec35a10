//! Mailboxes for tests: a post office in a directory that goes, and short ways to ask and to take.

use super::LONG;
use laneway::mailbox::{Backoff, Inbox, Mailbox, Post, Settings, State, Ticket};
use std::time::Duration;

/// Messages that fail are tried again at once.
pub(crate) fn post(dir: &tempfile::TempDir) -> Post {
    let backoff = Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(4) };
    Post::open(dir.path().join("post")).settings(Settings { backoff, ..Settings::default() })
}

/// What became of a message.
pub(crate) fn state(mailbox: &mut Mailbox, ticket: &Ticket) -> State {
    mailbox.status(ticket).unwrap().state
}

/// The next message's body, acked.
pub(crate) fn body(inbox: &Inbox) -> Vec<u8> {
    let delivery = inbox.recv_timeout(LONG).unwrap();
    let body = delivery.body();
    delivery.ack();
    body
}
