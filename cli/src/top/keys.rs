//! What keys mean.

use super::state::State;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Help,
    Pause,
    /// So many rows down.
    Move(isize),
    /// So many pages down.
    Page(isize),
    Open,
    /// Out of what is in front: the help, the one that is open, the filter.
    Back,
    /// By the next, or the one before.
    Sort(isize),
    Reverse,
    /// Only what needs attention, or everything.
    Concerns,
    /// A filter follows.
    Type,
    Letter(char),
    Erase,
    Keep,
    Discard,
}

/// Farther than any list is long.
const ALL: isize = isize::MAX / 2;

/// What a key means now; nothing, for most.
pub(super) fn action(key: KeyEvent, state: &State) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        return Some(Action::Quit);
    }
    if state.is_typing() {
        return typed(key.code, control);
    }
    Some(match key.code {
        KeyCode::Char('d') if control => Action::Page(1),
        KeyCode::Char('u') if control => Action::Page(-1),
        KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?' | 'h') => Action::Help,
        KeyCode::Char('p' | ' ') => Action::Pause,
        KeyCode::Up | KeyCode::Char('k') => Action::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Action::Move(1),
        KeyCode::PageUp => Action::Page(-1),
        KeyCode::PageDown => Action::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Action::Move(-ALL),
        KeyCode::End | KeyCode::Char('G') => Action::Move(ALL),
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Action::Open,
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => Action::Back,
        KeyCode::Char('s') => Action::Sort(1),
        KeyCode::Char('S') => Action::Sort(-1),
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('a') => Action::Concerns,
        KeyCode::Char('/') => Action::Type,
        _ => return None,
    })
}

fn typed(key: KeyCode, control: bool) -> Option<Action> {
    match key {
        KeyCode::Enter => Some(Action::Keep),
        KeyCode::Esc => Some(Action::Discard),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Up => Some(Action::Move(-1)),
        KeyCode::Down => Some(Action::Move(1)),
        KeyCode::Char(letter) if !control => Some(Action::Letter(letter)),
        _ => None,
    }
}

/// Keys, and what they do, for the help.
pub(super) const HELP: [(&str, &str); 10] = [
    ("↑ ↓ PgUp PgDn Home End", "choose a row, or scroll"),
    ("Enter", "open it: lanes, messages, tickets"),
    ("Esc", "back; at last, show everything again"),
    ("/", "filter by a part of a name, also of a sender's"),
    ("s S", "sort by the next column, or the one before"),
    ("r", "the other way around"),
    ("a", "only what needs attention"),
    ("p", "pause"),
    ("?", "this help"),
    ("q Ctrl-C", "quit"),
];
