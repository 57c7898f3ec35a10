//! Waiting for mail beside other things: in an event loop, in a future, for many queues on one thread.
//!
//! Across processes there is only the futex, and a thread that sleeps on one waits for nothing else. So one thread for each
//! process, the **bridge**, sleeps for everybody: on up to 127 queues at a time (further ones get a further thread), and tells
//! each when it is rung for:
//!
//! - [`Events`] makes a descriptor readable, for `epoll`, `poll`, `select` and whatever is built on them; so do [`RoomEvents`] for a sender without
//!   room, and [`OutcomeEvents`] for who wants to know what became of messages;
//! - [`AsyncReceiver`] and [`AsyncSender`], and of mailboxes [`AsyncInbox`], [`AsyncMailbox`], [`AsyncChunks`] and [`AsyncReplyStream`] wake a task, of any runtime;
//! - [`Selector`] wakes a thread that receives from many queues.
//!
//! The sending side knows nothing of it: a receiver on an event loop says asleep, as one in [`recv`](crate::Receiver::recv) does, and
//! senders ring. Nothing is polled: a queue in which nothing happens costs its process nothing, but for the bridge, which looks
//! ten times a second for messages whose sender was killed before it could ring. Who waits for room or for an outcome is told as often, because
//! nobody else can look for that.

mod alarm;
mod bridge;
mod chunks;
mod events;
mod inbox;
mod mailbox;
mod receiver;
mod reply_stream;
mod room;
mod selector;
mod sender;
mod source;

pub use alarm::Rearmed;
pub use bridge::{Mechanism, force, mechanism};
pub use chunks::AsyncChunks;
pub use events::Events;
pub use inbox::AsyncInbox;
pub use mailbox::{AsyncMailbox, OutcomeEvents};
pub use receiver::{AsyncReceiver, Held};
pub use reply_stream::AsyncReplyStream;
pub use room::RoomEvents;
pub use selector::{Key, Selected, Selector};
pub use sender::AsyncSender;
