//! `laneway record`: what a tail sees, in a file; see docs/recording.md.

use super::args::{Record, Watched};
use super::{Place, Tail, show};
use crate::{output, units};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The version of the file, in its first line.
pub(super) const VERSION: u64 = 1;

/// How long it may take until it is noticed that it should end.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(args: Record, json: bool) -> Result<ExitCode> {
    let Record { watched: Watched { name, since, count, timeout }, file } = args;
    let place = Place::find(&name)?;
    let mut tail = place.tail(since.into())?;
    let is_stdout = file == Path::new("-");
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    ctrlc::set_handler(move || told.store(true, Ordering::Relaxed)).context("cannot watch for Ctrl-C")?;
    let out = if is_stdout { Some(output::stdout()?) } else { open(&file, timeout, &stop)? };
    let (mut ended, mut messages, mut missed) = (Ok(()), 0, 0);
    if let Some(out) = out {
        let mut recording = Recording { out: BufWriter::new(out), file, began: Instant::now(), messages, missed };
        recording.begin(&place)?;
        ended = recording.follow(&mut tail, count, timeout, &stop);
        recording.flush()?;
        (messages, missed) = (recording.messages, recording.missed);
    }
    let summary = if json {
        format!("{}\n", json!({ "messages": messages, "missed": missed }))
    } else {
        format!("{} messages recorded, {} missed\n", units::count(messages), units::count(missed))
    };
    if is_stdout {
        output::warn(summary.trim_end());
    } else {
        output::print(&summary)?;
    }
    ended?;
    Ok(if messages == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file to write to that holds nothing that would be lost. A named pipe as soon as somebody reads it; none when it is to stop before.
fn open(path: &Path, timeout: Option<Duration>, stop: &AtomicBool) -> Result<Option<File>> {
    let failed = || format!("cannot record to {path:?}");
    // Opening a pipe that nobody reads would wait, and hear of nothing.
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(false).custom_flags(OFlag::O_NONBLOCK.bits());
    let is_pipe = || path.metadata().is_ok_and(|known| known.file_type().is_fifo());
    let waits_since = Instant::now();
    let file = loop {
        match how.open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) && is_pipe() => {}
            answer => break answer.with_context(failed)?,
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(waits_since.elapsed()).min(LOOK));
        if left.is_zero() {
            bail!("cannot record to {path:?}: it is a named pipe, and nobody has come to read it");
        }
        std::thread::sleep(left);
    };
    // From now on whoever reads it may take his time.
    let flags = fcntl(&file, FcntlArg::F_GETFL).map(OFlag::from_bits_retain).with_context(failed)?;
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).with_context(failed)?;
    let known = file.metadata().with_context(failed)?;
    if known.is_file() && known.len() > 0 {
        bail!("cannot record to {path:?}: it holds {} bytes already; remove it, or record to another", known.len());
    }
    Ok(Some(file))
}

struct Recording {
    out: BufWriter<File>,
    file: PathBuf,
    began: Instant,
    messages: u64,
    missed: u64,
}

impl Recording {
    fn begin(&mut self, place: &Place) -> Result<()> {
        let of = match place {
            Place::Queue(_) => "queue",
            Place::Mailbox(_) => "mailbox",
        };
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = place.path().to_string_lossy();
        self.write(&json!({
            "laneway_recording": VERSION,
            "of": of,
            "path": path,
            "began_unix_ns": units::nanos(began),
        }))?;
        self.flush()
    }

    fn follow(
        &mut self,
        tail: &mut Tail,
        count: Option<u64>,
        timeout: Option<Duration>,
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut quiet_since = Instant::now();
        while count.is_none_or(|count| self.messages < count) && !stop.load(Ordering::Relaxed) {
            if let Some(shown) = tail.next(Some(Duration::ZERO))? {
                self.take(shown)?;
                quiet_since = Instant::now();
                continue;
            }
            // Whatever becomes of us while nothing comes, what came is in the file.
            self.flush()?;
            let left = timeout.map_or(LOOK, |timeout| timeout.saturating_sub(quiet_since.elapsed()).min(LOOK));
            if left.is_zero() {
                break;
            }
            if let Some(shown) = tail.next(Some(left))? {
                self.take(shown)?;
                quiet_since = Instant::now();
            }
        }
        Ok(())
    }

    fn take(&mut self, shown: show::Shown) -> Result<()> {
        let mut line = shown.json;
        line.insert("at_ns".to_owned(), units::nanos(self.began.elapsed()).into());
        self.write(&Value::Object(line))?;
        self.messages += u64::from(shown.is_message);
        self.missed = self.missed.saturating_add(shown.missed);
        Ok(())
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        let written = self.out.write_all(format!("{line}\n").as_bytes());
        self.checked(written)
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.out.flush();
        self.checked(written)
    }

    fn checked(&self, written: std::io::Result<()>) -> Result<()> {
        // As it is, so that a reader that has seen enough is known for one.
        written.with_context(|| {
            format!("cannot write to {:?}; about {} messages were recorded before", self.file, self.messages)
        })
    }
}
