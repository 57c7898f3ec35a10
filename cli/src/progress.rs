//! Progress bars, on standard error, for what takes long enough to wonder.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

/// What is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(400);

/// A bar that shows itself only when the work takes long, and only on a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When the bar is to appear; none once it has.
    due: Cell<Option<Instant>>,
}

impl Progress {
    /// For work of a known length.
    pub(crate) fn of(len: u64, what: &'static str) -> Progress {
        Progress::new(Some(len), "{msg} {wide_bar} {human_pos}/{human_len} {eta}", what)
    }

    /// Whose length is in milliseconds of time.
    pub(crate) fn of_time(self) -> Progress {
        self.bar.set_style(style("{msg} {wide_bar} {percent} % {eta}"));
        self
    }

    /// Shows itself at once: the user came to watch.
    pub(crate) fn at_once(self) -> Progress {
        self.due.set(Some(Instant::now()));
        self.at(0);
        self
    }

    /// For work that ends when it ends. Not while payloads go to the terminal: they would tear each other.
    pub(crate) fn endless(what: &'static str) -> Progress {
        let progress = Progress::new(None, "{spinner} {human_pos} {msg} {per_sec}", what);
        if stdout().is_terminal() {
            progress.due.set(None);
        }
        progress
    }

    fn new(len: Option<u64>, template: &str, what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::hidden());
        bar.set_style(style(template));
        bar.set_message(what);
        Progress { bar, due: Cell::new(Some(Instant::now() + PATIENCE)) }
    }

    /// Shows how much is done.
    pub(crate) fn at(&self, done: u64) {
        // The clock is asked often; a bar that nobody can see costs nothing more.
        if self.due.get().is_some_and(|due| Instant::now() >= due) {
            self.due.set(None);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(done);
    }

    /// Says what is being done now.
    pub(crate) fn doing(&self, what: String) {
        self.bar.set_message(what);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
