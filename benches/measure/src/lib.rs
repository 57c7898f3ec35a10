//! How laneway is measured, wherever it is: by `laneway bench`, against its peers, and in the benches of the library.
//!
//! Every figure stands beside a limit of the machine that was measured next to it ([`limit`]). A virtual machine's host
//! moves its processors about, and what a cache line costs then jumps by a factor of ten within seconds; so every timed
//! piece stands between two short probes of the raw cache-line round trip ([`Lines`]), pieces whose probes disagree are
//! thrown away ([`same_regime`]), and what is left is compared with what was measured beside it.

mod between;
mod clock;
mod distribution;
pub mod limit;
mod lines;
mod machine;
mod pace;
mod pin;
mod shared;
mod summary;

pub use between::Between;
pub use clock::Clock;
pub use distribution::{Distribution, Percentiles};
pub use lines::{Lines, PROBE_TRIPS};
pub use machine::Machine;
pub use pace::{Pace, Rest, no_slack};
pub use pin::{PinError, pin, processors};
pub use shared::Shared;
pub use summary::{Summary, same_regime};
