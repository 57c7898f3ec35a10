//! Mailboxes for agents: named queues that keep what is sent to them until somebody has dealt with it.
//!
//! A [`Post`] is a directory of mailboxes. Sending to a name needs nobody to be there; it returns a [`Ticket`] at once, by which
//! anyone can ask, at any time and after restarts of both sides, what became of the message. Whoever serves a mailbox takes messages, and says of each that it is done
//! ([`Delivery::ack`]), that it failed this time ([`Delivery::nack`]), or for good ([`Delivery::reject`]). *Taken* never means
//! *done*: what was taken by one who died is handed out again, with the attempt counted beforehand, until it becomes a dead letter.
//!
//! There is no daemon and no scheduler. What is to happen later (another attempt, a message for later, one that expires) happens
//! when somebody next serves the mailbox; until then everything lies in files, each written by one process.
//!
//! # Guarantees
//! - A message whose `send` returned is handed out at least once, unless it expires, is taken back, superseded, or rolled away.
//!   More than once when its receiver dies before it has settled it.
//! - Messages of one sender and one priority are handed out in the order in which they were sent, the first time.
//! - What [`Mailbox::cancel`] said `Yes` to is not handed out.
//! - Chunks of an answer come in order and without gaps, at each attempt; an attempt is never mixed with another, and whoever reads is told where one
//!   begins anew.
//! - Time is that of the host since its boot. Nothing depends on the time of day, nor on who is alive by anybody's word but
//!   the kernel's.

mod chunks;
mod clock;
#[cfg(feature = "serde")]
mod codec;
mod control;
mod dead;
mod delivery;
mod envelope;
mod event;
mod handle;
mod histogram;
mod inbox;
mod judge;
mod kept;
mod look;
mod onlooker;
mod post;
mod reply_stream;
mod request;
mod settings;
mod settle;
mod stats;
mod ticket;
mod watch;

pub use chunks::{Chunk, Chunks, StreamError};
#[cfg(feature = "cbor")]
pub use codec::Cbor;
#[cfg(feature = "json")]
pub use codec::Json;
#[cfg(feature = "msgpack")]
pub use codec::MessagePack;
#[cfg(feature = "serde")]
pub use codec::{Codec, CodecError};
pub use dead::{DeadLetter, ReplayError};
pub use delivery::Delivery;
pub use envelope::Content;
pub use handle::{Cancelled, Draft, Mailbox, SendError};
pub use histogram::Histogram;
pub use inbox::{Inbox, Interrupter, RecvError};
pub use look::{Tail, Waiting};
pub use onlooker::Peeked;
pub use post::Post;
pub(crate) use post::QUEUES;
pub use reply_stream::{ReplyError, ReplyStream};
pub use request::{Answer, RequestError};
pub use settings::{Backoff, Settings, WhenFull};
pub use stats::Stats;
pub use ticket::{NotATicket, Reason, State, Status, Ticket};
pub use watch::{Event, Watch};
