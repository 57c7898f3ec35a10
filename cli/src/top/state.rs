//! What is shown of what was seen: which rows, in which order, which of them is meant. Knows nothing of terminals.

use super::entry::{Entry, Mood, Shot};
use super::keys::Action;
use laneway_observe::Key;
use std::cmp::Ordering;

/// By what rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Attention,
    Waiting,
    Oldest,
    Sent,
    Received,
    Memory,
}

const SORTS: [Sort; 7] =
    [Sort::Name, Sort::Attention, Sort::Waiting, Sort::Oldest, Sort::Sent, Sort::Received, Sort::Memory];

impl Sort {
    pub(super) fn word(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Attention => "attention",
            Sort::Waiting => "waiting",
            Sort::Oldest => "oldest",
            Sort::Sent => "in/s",
            Sort::Received => "out/s",
            Sort::Memory => "memory",
        }
    }

    /// Who comes first: of numbers the largest.
    fn compare(self, one: &Entry, other: &Entry) -> Ordering {
        let memory = |entry: &Entry| entry.current().map_or(0, |figures| figures.queue.reserved_bytes);
        match self {
            Sort::Name => one.key.cmp(&other.key),
            Sort::Attention => one.mood().cmp(&other.mood()),
            Sort::Waiting => other.waiting().cmp(&one.waiting()),
            Sort::Oldest => other.oldest().cmp(&one.oldest()),
            Sort::Sent => other.rates.sent.total_cmp(&one.rates.sent),
            Sort::Received => other.rates.received.total_cmp(&one.rates.received),
            Sort::Memory => memory(other).cmp(&memory(one)),
        }
    }
}

/// What the dashboard shows.
#[derive(Debug, Default)]
pub(super) struct State {
    shot: Option<Shot>,
    /// The entries that are shown, in order.
    shown: Vec<usize>,
    sort: usize,
    reversed: bool,
    filter: String,
    /// The filter as it was before it was typed at.
    typing: Option<String>,
    only_concerns: bool,
    /// The row that is meant, and where it was when it was last there.
    selected: Option<Key>,
    at: usize,
    /// The first row that is to be seen, and how many there is room for.
    first: usize,
    page: usize,
    /// The one that is open.
    open: Option<Key>,
    scroll: usize,
    help: bool,
    paused: bool,
    over: bool,
}

impl State {
    /// Of which one is open from the beginning, if one is.
    pub(super) fn new(open: Option<Key>) -> State {
        State { selected: open.clone(), open, ..State::default() }
    }

    /// There was a new look.
    pub(super) fn see(&mut self, shot: Shot) {
        self.shot = Some(shot);
        self.arrange();
    }

    pub(super) fn handle(&mut self, action: Action) {
        match action {
            Action::Quit => self.over = true,
            Action::Help => self.help = !self.help,
            Action::Pause => self.paused = !self.paused,
            Action::Move(steps) => self.travel(steps),
            Action::Page(pages) => self.travel(pages.saturating_mul(self.page.max(1) as isize)),
            Action::Open if self.open.is_none() => {
                self.open.clone_from(&self.selected);
                self.scroll = 0;
            }
            Action::Open => {}
            Action::Back if self.help => self.help = false,
            Action::Back if self.open.is_some() => self.open = None,
            Action::Back => {
                self.filter.clear();
                self.only_concerns = false;
            }
            Action::Sort(steps) => {
                self.sort = (self.sort as isize + steps).rem_euclid(SORTS.len() as isize) as usize;
                self.reversed = false;
            }
            Action::Reverse => self.reversed = !self.reversed,
            Action::Concerns => self.only_concerns = !self.only_concerns,
            Action::Type => self.typing = Some(self.filter.clone()),
            Action::Letter(letter) => self.filter.push(letter),
            Action::Erase => drop(self.filter.pop()),
            Action::Keep => self.typing = None,
            Action::Discard => self.filter = self.typing.take().unwrap_or_default(),
        }
        self.arrange();
    }

    /// Sorts and filters, and finds the row that is meant, or the one that is in its place.
    fn arrange(&mut self) {
        let entries = self.shot.as_ref().map_or(&[][..], |shot| &shot.entries);
        let wanted = self.filter.to_lowercase();
        let has = |name: &str| name.to_lowercase().contains(&wanted);
        let is_shown = |entry: &Entry| {
            (!self.only_concerns || entry.mood() <= Mood::Behind)
                && (wanted.is_empty() || has(&entry.key.name) || entry.names().iter().any(|(name, _)| has(name)))
        };
        self.shown = (0..entries.len()).filter(|index| is_shown(&entries[*index])).collect();
        let (sort, reversed) = (SORTS[self.sort], self.reversed);
        self.shown.sort_by(|one, other| {
            let (one, other) = (&entries[*one], &entries[*other]);
            let order = sort.compare(one, other);
            if reversed { order.reverse() } else { order }.then_with(|| one.key.cmp(&other.key))
        });
        let place = |key: &Key| self.shown.iter().position(|index| entries[*index].key == *key);
        self.at = match self.selected.as_ref().and_then(place) {
            Some(at) => at,
            None => self.at.min(self.shown.len().saturating_sub(1)),
        };
        // What is filtered away is meant again when it comes back, unless somebody has moved meanwhile.
        if self.typing.is_none() || self.selected.is_none() {
            self.selected = self.shown.get(self.at).map(|index| entries[*index].key.clone());
        }
    }

    fn travel(&mut self, steps: isize) {
        if self.open.is_some() {
            self.scroll = self.scroll.saturating_add_signed(steps);
            return;
        }
        self.at = self.at.saturating_add_signed(steps).min(self.shown.len().saturating_sub(1));
        self.selected = self.row(self.at).map(|entry| entry.key.clone());
    }

    /// There is room for so many rows: moves what is to be seen so that the row that is meant is among it.
    pub(super) fn fit_rows(&mut self, room: usize) {
        self.page = room;
        let last_first = self.shown.len().saturating_sub(room);
        let least = (self.at + 1).saturating_sub(room);
        self.first = self.first.clamp(least, self.at.max(least)).min(last_first.max(least));
    }

    /// There is room for so many lines of the one that is open, which has so many.
    pub(super) fn fit_lines(&mut self, room: usize, lines: usize) {
        self.page = room;
        self.scroll = self.scroll.min(lines.saturating_sub(room));
    }

    fn row(&self, at: usize) -> Option<&Entry> {
        self.shot.as_ref()?.entries.get(*self.shown.get(at)?)
    }

    /// The rows that are to be seen, and whether each is the one that is meant.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Entry, bool)> {
        let places = self.first..self.shown.len().min(self.first + self.page);
        places.filter_map(|at| Some((self.row(at)?, at == self.at)))
    }

    /// All rows that are shown, in order, whether there is room for them or not.
    pub(super) fn all_rows(&self) -> impl Iterator<Item = &Entry> {
        (0..self.shown.len()).filter_map(|at| self.row(at))
    }

    /// How many rows are shown, of how many.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.shown.len(), self.shot.as_ref().map_or(0, |shot| shot.entries.len()))
    }

    /// Where the row that is meant stands, from 1.
    pub(super) fn place(&self) -> usize {
        if self.shown.is_empty() { 0 } else { self.at + 1 }
    }

    pub(super) fn shot(&self) -> Option<&Shot> {
        self.shot.as_ref()
    }

    /// The one that is open, and what was seen of it, if it is in the picture.
    pub(super) fn opened(&self) -> Option<(&Key, Option<&Entry>)> {
        let key = self.open.as_ref()?;
        let entries = self.shot.iter().flat_map(|shot| &shot.entries);
        Some((key, entries.into_iter().find(|entry| entry.key == *key)))
    }

    pub(super) fn scroll(&self) -> usize {
        self.scroll
    }

    pub(super) fn sort(&self) -> (Sort, bool) {
        (SORTS[self.sort], self.reversed)
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn is_typing(&self) -> bool {
        self.typing.is_some()
    }

    pub(super) fn only_concerns(&self) -> bool {
        self.only_concerns
    }

    pub(super) fn shows_help(&self) -> bool {
        self.help
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}
