//! The terminal: taken over, and given back whatever happens.

use anyhow::{Context, Result};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::{Frame, Terminal};
use std::io::{self, BufWriter, Stdout, Write};
use std::sync::Once;

/// The whole screen, until it is dropped.
pub(super) struct Screen(Terminal<CrosstermBackend<BufWriter<Stdout>>>);

impl Screen {
    pub(super) fn take() -> Result<Screen> {
        // Before anything is changed, so that there is no moment at which a panic leaves it changed.
        restore_on_panic();
        let taken = Screen::take_over();
        if taken.is_err() {
            restore();
        }
        taken.context("cannot use the terminal")
    }

    fn take_over() -> io::Result<Screen> {
        enable_raw_mode()?;
        // A frame is written at once.
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
        execute!(out, EnterAlternateScreen, Hide)?;
        Ok(Screen(Terminal::new(CrosstermBackend::new(out))?))
    }

    /// Draws a frame; the terminal shows it as a whole, if it knows how to.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        let drawn = || {
            queue!(self.0.backend_mut(), BeginSynchronizedUpdate)?;
            self.0.draw(draw)?;
            execute!(self.0.backend_mut(), EndSynchronizedUpdate)
        };
        drawn().context("cannot write to the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was. When it is gone, nobody needs it.
pub(super) fn restore() {
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            usual(panic);
        }));
    });
}
