//! `laneway top`: a dashboard in the terminal.
//!
//! One thread looks (`looker.rs`), one waits for keys, and this one draws: what is shown is `state.rs`, how it looks is `view/`, and
//! both are plain functions of what was seen. Nothing here writes to what it looks at.

mod entry;
mod json;
mod keys;
mod looker;
mod signals;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use crate::args::Top;
use crate::{open_files, output, place};
use anyhow::{Result, bail};
use laneway_observe::{Key, Picture};
use looker::Looker;
use ratatui::crossterm::event::{self, Event as Input};
use state::State;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc;
use terminal::Screen;
use view::Palette;

/// What the one thread that draws is told.
enum Event {
    /// A key, or another size of the terminal.
    Input(Input),
    /// There was a look.
    Looked,
    /// A signal that is to end it.
    Signal(i32),
    /// It cannot go on.
    Failed(String),
}

pub(crate) fn run(args: Top, json: bool) -> Result<ExitCode> {
    if json && !args.once {
        bail!("--json prints one frame: it needs --once");
    }
    if !args.once && !std::io::stdout().is_terminal() {
        bail!("standard output is not a terminal, and a dashboard needs one; --once prints one frame as text");
    }
    // Each queue that is looked at is a directory held open.
    open_files::raise()?;
    let (picture, open) = picture(args.name.as_deref())?;
    match args.once {
        true => once(picture, open.as_ref(), &args, json)?,
        false => watch(picture, open, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Of everything, or of the one that the user means, which must be there.
fn picture(named: Option<&OsStr>) -> Result<(Picture, Option<Key>)> {
    let Some(named) = named else { return Ok((Picture::new(place::root()?, place::post_root()?), None)) };
    let (queues, post, key) = place::either(named)?;
    Ok((Picture::of_one(queues, post.root(), key.clone()), Some(key)))
}

/// One frame, as text or as JSON. It takes two looks to tell how fast messages come and go.
fn once(mut picture: Picture, open: Option<&Key>, args: &Top, json: bool) -> Result<()> {
    picture.look();
    std::thread::sleep(args.every);
    picture.look();
    let shot = looker::shoot(&mut picture, open);
    shot.problems.iter().for_each(output::warn);
    if json {
        return shot.entries.iter().try_for_each(|entry| output::print_json(&json::line(entry)));
    }
    let width = args.width.unwrap_or_else(width);
    let palette = Palette::new(false);
    let mut text = String::new();
    let mut add = |line: ratatui::text::Line<'_>| {
        text += line.to_string().trim_end();
        text.push('\n');
    };
    if let Some(key) = open {
        let entry = shot.entries.iter().find(|entry| entry.key == *key);
        view::lines(key, entry, &shot, width.into(), palette).into_iter().for_each(add);
    } else {
        let table = view::Table::new(width, shot.entries.iter(), palette);
        add(view::header(Some(&shot), width.into(), palette));
        add(table.headings(state::Sort::Name, false));
        shot.entries.iter().for_each(|entry| add(table.row(entry, false, shot.at)));
    }
    output::print(&text)
}

/// Of the terminal, or what the shell says of it.
fn width() -> u16 {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    let is_terminal = std::io::stdout().is_terminal();
    let of_terminal = is_terminal.then(ratatui::crossterm::terminal::size).and_then(Result::ok);
    of_terminal.map(|(columns, _)| columns).filter(|columns| *columns > 0).or_else(said).unwrap_or(120)
}

fn watch(picture: Picture, open: Option<Key>, args: &Top) -> Result<()> {
    let palette = Palette::new(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
    let (tell, events) = mpsc::channel();
    signals::hear(tell.clone())?;
    let looker = Looker::start(picture, args.every, open.clone(), tell.clone());
    let mut state = State::new(open);
    let mut screen = Screen::take()?;
    hear_keys(tell);
    while !state.is_over() {
        screen.draw(|frame| view::draw(frame, &mut state, palette))?;
        // Everything that has come meanwhile goes into one frame.
        let mut next = events.recv().ok();
        while let Some(event) = next {
            match event {
                Event::Input(Input::Key(key)) => {
                    if let Some(action) = keys::action(key, &state) {
                        state.handle(action);
                        looker.wish(state.opened().map(|(key, _)| key), state.is_paused());
                    }
                }
                // Drawing asks how large the terminal is.
                Event::Input(_) => {}
                Event::Looked => looker.take().into_iter().for_each(|shot| state.see(shot)),
                Event::Signal(signal) => {
                    // First the terminal: nothing of us is left after some.
                    drop(screen);
                    signals::end_by(signal);
                    return Ok(());
                }
                Event::Failed(why) => bail!("{why}"),
            }
            next = events.try_recv().ok();
        }
    }
    Ok(())
}

/// A thread waits for keys; it ends with the process.
fn hear_keys(tell: mpsc::Sender<Event>) {
    std::thread::spawn(move || {
        loop {
            let event = match event::read() {
                Ok(event) => Event::Input(event),
                Err(error) => Event::Failed(format!("cannot read keys from the terminal: {error}")),
            };
            let is_last = matches!(event, Event::Failed(_));
            if tell.send(event).is_err() || is_last {
                return;
            }
        }
    });
}
