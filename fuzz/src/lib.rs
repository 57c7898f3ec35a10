//! What the fuzz targets share: a queue over plain memory with one lane that lies and one that does not, and the rules
//! that hold whatever the first one says. Every rule is an assertion: what breaks one ends the run, and the input stays.
//!
//! - Nothing panics, nothing is read or written out of bounds (AddressSanitizer, and the checks of debug builds).
//! - `Corrupt` names the lying lane and no other, once for each receiver.
//! - The other lane loses nothing, gets nothing twice, and its order holds.
//! - Every call ends: a loop that does not is ended by the engine's time limit.

pub mod input;
mod stage;

pub use stage::{HONEST, LIAR, Stage};
