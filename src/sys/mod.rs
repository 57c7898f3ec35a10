//! The kernel, behind one-line contracts. No other module makes a system call.
//!
//! Knows nothing of queues: names here are those of the manual pages.

#[cfg(not(laneway_loom))]
pub(crate) mod dir;
#[cfg(not(laneway_loom))]
pub(crate) mod eventfd;
pub(crate) mod fence;
#[cfg(not(laneway_loom))]
pub(crate) mod futex;
#[cfg(not(laneway_loom))]
pub(crate) mod host;
#[cfg(not(laneway_loom))]
pub(crate) mod lock;
#[cfg(not(laneway_loom))]
pub(crate) mod notices;
#[cfg(not(laneway_loom))]
pub(crate) mod sigbus;
#[cfg(not(laneway_loom))]
pub(crate) mod signals;
#[cfg(not(laneway_loom))]
pub(crate) mod space;

#[cfg(laneway_loom)]
mod model;
#[cfg(laneway_loom)]
pub(crate) use model::{futex, host};
