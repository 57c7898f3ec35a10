//! Which signals come to a thread.

use nix::sys::signal::{SigSet, Signal};

/// Leaves all signals to the other threads of the process, but those that say what this thread itself did wrong: a page that is
/// missing shows as one.
pub(crate) fn block() {
    let mut signals = SigSet::all();
    for own in [Signal::SIGBUS, Signal::SIGSEGV, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP] {
        signals.remove(own);
    }
    // Nothing comes of it if it fails: then they come here too, and a wait ends early.
    let _ = signals.thread_block();
}
