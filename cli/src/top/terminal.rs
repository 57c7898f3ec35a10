//! The terminal: taken over, and given back whatever happens.

use anyhow::{Context, Result, bail};
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
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is ours. Giving it back twice would move the cursor to where it was before, over what was said since.
static TAKEN: AtomicBool = AtomicBool::new(false);

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
        TAKEN.store(true, Ordering::Relaxed);
        enable_raw_mode()?;
        // A frame is written at once.
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout());
        execute!(out, EnterAlternateScreen, Hide)?;
        Ok(Screen(Terminal::new(CrosstermBackend::new(out))?))
    }

    /// Draws a frame; the terminal shows it as a whole, if it knows how to.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        if !TAKEN.load(Ordering::Relaxed) {
            bail!("the terminal was given back because a thread failed");
        }
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
fn restore() {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::tcgetattr;
    use std::fs::File;
    use std::io::Read;
    use std::process::{Command, Stdio};

    /// What the other test runs, in a terminal.
    #[test]
    #[ignore = "it fails: the next one runs it"]
    fn a_dashboard_that_panics() {
        let mut screen = Screen::take().expect("a terminal");
        screen.draw(|frame| frame.render_widget("drawn", frame.area())).expect("it draws");
        panic!("as it should");
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its settings");
        let end = || Stdio::from(pty.slave.try_clone().expect("another handle"));
        let mut test = Command::new(std::env::current_exe().expect("we are running"))
            .args(["--exact", "top::terminal::tests::a_dashboard_that_panics", "--ignored", "--nocapture"])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("it starts");
        // A terminal's buffer is smaller than what is written to it.
        let mut master = File::from(pty.master);
        let reads = std::thread::spawn(move || {
            let (mut output, mut some) = (Vec::new(), [0; 4096]);
            // Nobody holds the other end any more: an error, of a terminal.
            while let Ok(read @ 1..) = master.read(&mut some) {
                output.extend_from_slice(&some[..read]);
            }
            String::from_utf8_lossy(&output).into_owned()
        });
        assert!(!test.wait().expect("it ends").success());
        assert_eq!(tcgetattr(&pty.slave).expect("its settings"), before);
        drop(pty.slave);
        let output = reads.join().expect("it reads");
        let at = |what: &str| output.find(what).unwrap_or_else(|| panic!("no {what:?} in {output:?}"));
        let (taken, drawn, left) = (at("\x1b[?1049h"), at("drawn"), at("\x1b[?1049l"));
        assert!(taken < drawn && drawn < left && left < at("as it should"), "{output:?}");
        assert_eq!(output.matches("\x1b[?1049l").count(), 1, "{output:?}");
        assert!(output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l"), "the cursor is to be seen again: {output:?}");
    }
}
