//! Signals that are to end the dashboard: each gives the terminal back first.

use super::Event;
use crate::output;
use anyhow::{Context, Result};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGSYS, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::sync::mpsc;

/// Asks to stop, in order.
const STOPS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Ends a process that does not know it. Faults are left out: what is left then is no place for handling anything.
const KILLS: [i32; 12] =
    [SIGQUIT, SIGABRT, SIGALRM, SIGIO, SIGPROF, SIGSYS, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ];

/// Ctrl-C is a key while the terminal is ours; these come from elsewhere, and the second one does not wait for a terminal that takes
/// nothing any more.
pub(super) fn hear(tell: mpsc::Sender<Event>) -> Result<()> {
    let mut signals = Signals::new(STOPS.iter().chain(&KILLS)).context("cannot watch for signals")?;
    std::thread::spawn(move || {
        let mut told = false;
        for signal in signals.forever() {
            if told || tell.send(Event::Signal(signal)).is_err() {
                let _ = ratatui::crossterm::terminal::disable_raw_mode();
                end_by(signal);
                std::process::exit(output::ERROR.into());
            }
            told = true;
        }
    });
    Ok(())
}

/// Ends the process as the signal would have, unless it only asks for an end.
pub(super) fn end_by(signal: i32) {
    if !STOPS.contains(&signal) {
        // It returns for signals alone that end nobody.
        let _ = emulate_default_handler(signal);
    }
}
