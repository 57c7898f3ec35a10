//! What a side that looks for something does until it looks again.

use std::hint::spin_loop;

/// Between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Between {
    /// The processor's hint for spinning.
    #[default]
    Pause,
    /// Lets others run: for sides that share a processor, of which one would otherwise look until its time is up.
    Yield,
}

impl Between {
    /// Does it.
    #[inline(always)]
    pub fn looks(self) {
        match self {
            Between::Pause => spin_loop(),
            Between::Yield => std::thread::yield_now(),
        }
    }
}
