//! A lock-free shared-memory queue between the processes of one Linux host.
//!
#![cfg_attr(not(laneway_loom), doc = include_str!("../README.md"))]
#![cfg_attr(laneway_loom, allow(dead_code, unused_imports, reason = "the models take only what they are about"))]

#[cfg(not(all(target_os = "linux", target_endian = "little", target_has_atomic = "64")))]
compile_error!("laneway runs on little-endian Linux with 64-bit atomics");

#[cfg(not(laneway_loom))]
pub mod agent;
mod bell;
#[cfg(not(laneway_loom))]
pub mod dump;
mod epoch;
mod error;
#[cfg(not(laneway_loom))]
pub mod event;
mod growth;
mod lane;
pub mod layout;
mod ledger;
#[cfg(feature = "tracing")]
mod log;
#[cfg(not(laneway_loom))]
pub mod mailbox;
#[cfg(not(laneway_loom))]
mod queue;
mod record;
mod region;
mod ring;
mod segments;
mod sync;
mod sys;
#[cfg(not(laneway_loom))]
mod wait;

pub use error::*;
pub use lane::Pressure;
#[cfg(not(laneway_loom))]
pub use queue::*;
#[cfg(not(laneway_loom))]
pub use wait::{Wait, WaitStats};

#[cfg(laneway_loom)]
#[doc(hidden)]
pub mod model;
