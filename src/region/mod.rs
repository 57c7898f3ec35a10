//! Shared memory, and the only pointer arithmetic of this crate.
//!
//! A [`Region`] is the memory of one file. It hands out three kinds of access, each checked once when it is made:
//! [`Own`], a word that this process may write; [`Peer`], a word of somebody else, which can only be loaded; and
//! [`Window`], a place addressed by position. There are no references to the bytes: they are copied.
//!
//! The memory is a mapping, a plain allocation (for snapshots and for Miri), or loom's model of one. Knows nothing of
//! records, positions or processes.

#[cfg(not(laneway_loom))]
mod copy;
#[cfg(not(laneway_loom))]
mod memory;
#[cfg(not(laneway_loom))]
pub(crate) use memory::{Access, Own, Payload, Peer, Region, Window};

#[cfg(laneway_loom)]
mod model;
#[cfg(laneway_loom)]
pub(crate) use model::{Own, Payload, Peer, Region, Window};
