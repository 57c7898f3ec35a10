//! The table: which columns there is room for, and the cells of a row.

use super::super::entry::{Entry, Mood};
use super::super::state::Sort;
use super::graph::{gauge, percent, sparkline};
use super::palette::Palette;
use crate::plain;
use crate::units::{brief_count, brief_time, bytes};
use laneway::Pressure;
use laneway_observe::{Figures, Kind, Presence, Sample};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::time::{Duration, Instant};

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Waiting,
    Oldest,
    Sent,
    Received,
    Trend,
    P50,
    P99,
    Pressure,
    Senders,
    Backlog,
    Memory,
    From,
}

use Column::*;

/// From left to right.
const ORDER: [Column; 14] =
    [Name, State, Waiting, Oldest, Sent, Received, Trend, P50, P99, Pressure, Senders, Backlog, Memory, From];
/// As room becomes scarce, those at the end go first.
const PRIORITY: [Column; 14] =
    [Name, State, Waiting, Oldest, Sent, Received, Pressure, P99, Senders, Trend, From, Memory, P50, Backlog];
/// What stands before a row: whether it is meant.
const MARGIN: usize = 2;
/// So many messages that wait are as high as the line: a few do not look like many.
pub(super) const BACKLOG: f64 = 8.0;
/// From here on there is room between columns.
const WIDE: u16 = 110;

impl Column {
    /// The least that is of use, and all that there can be a use for.
    fn widths(self, entries: &Widest) -> (usize, usize) {
        match self {
            Name => (10, entries.name.clamp(12, 40)),
            State => (8, 8),
            Waiting | Oldest | P50 | P99 => (6, 6),
            Sent | Received | Senders => (5, 5),
            Pressure => (9, 9),
            Trend => (6, 30),
            Backlog => (8, 20),
            Memory => (10, 10),
            From => (12, entries.from.max(12)),
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Name => "NAME",
            State => "STATE",
            Waiting => "WAIT",
            Oldest => "OLDEST",
            Sent => "IN/s",
            Received => "OUT/s",
            Trend => "RATE",
            P50 => "P50",
            P99 => "P99",
            Pressure => "PRESSURE",
            Senders => "SEND",
            Backlog => "BACKLOG",
            Memory => "MEMORY",
            From => "FROM",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Waiting | Oldest | Sent | Received | P50 | P99 | Senders | Memory)
    }

    fn sort(self) -> Option<Sort> {
        match self {
            Name => Some(Sort::Name),
            State => Some(Sort::Attention),
            Waiting => Some(Sort::Waiting),
            Oldest => Some(Sort::Oldest),
            Sent => Some(Sort::Sent),
            Received => Some(Sort::Received),
            Memory => Some(Sort::Memory),
            _ => None,
        }
    }
}

/// The longest texts of all rows.
#[derive(Debug, Clone, Copy, Default)]
struct Widest {
    name: usize,
    from: usize,
    /// Whether there are mailboxes, of which more is known than of queues.
    has_mail: bool,
}

/// The columns that there is room for, each with its width.
#[derive(Debug)]
pub(in super::super) struct Table {
    columns: Vec<(Column, usize)>,
    gap: usize,
    margin: usize,
    width: usize,
    palette: Palette,
}

impl Table {
    /// As wide as this, for these rows.
    pub(in super::super) fn new<'a>(width: u16, entries: impl Iterator<Item = &'a Entry>, palette: Palette) -> Table {
        let mut widest = Widest::default();
        for entry in entries {
            widest.name = widest.name.max(plain::width(&name(entry)));
            widest.from = widest.from.max(plain::width(&senders(entry)));
            widest.has_mail |= entry.key.kind == Kind::Mailbox;
        }
        let gap = if width >= WIDE { 2 } else { 1 };
        let width = usize::from(width);
        let margin = if width > 12 { MARGIN } else { 0 };
        let mut room = width - margin.min(width);
        let mut columns: Vec<(Column, usize)> = Vec::new();
        let is_empty = |column| match column {
            From => widest.from == 0,
            P50 | P99 => !widest.has_mail,
            _ => false,
        };
        for column in PRIORITY.into_iter().filter(|column| !is_empty(*column)) {
            let (least, _) = column.widths(&widest);
            let needed = least + if columns.is_empty() { 0 } else { gap };
            if columns.is_empty() {
                columns.push((column, least.min(room)));
                room -= least.min(room);
            } else if needed <= room {
                columns.push((column, least));
                room -= needed;
            } else {
                // Those that matter less do not take the place of one that matters more.
                break;
            }
        }
        // What is left goes to those who can use it, the name first.
        for column in [Name, From, Trend, Backlog] {
            if let Some((_, given)) = columns.iter_mut().find(|(known, _)| *known == column) {
                let more = column.widths(&widest).1.saturating_sub(*given).min(room);
                *given += more;
                room -= more;
            }
        }
        columns.sort_by_key(|(column, _)| ORDER.iter().position(|known| known == column));
        Table { columns, gap, margin, width, palette }
    }

    /// The headings; that of the sorted column says which way.
    pub(in super::super) fn headings(&self, sort: Sort, reversed: bool) -> Line<'static> {
        let mut spans = vec![Span::raw(" ".repeat(self.margin))];
        for (at, (column, width)) in self.columns.iter().enumerate() {
            if at > 0 {
                spans.push(Span::raw(" ".repeat(self.gap)));
            }
            let is_sorted = column.sort() == Some(sort);
            let sign = match (is_sorted, reversed) {
                (false, _) => "",
                (true, false) => "▾",
                (true, true) => "▴",
            };
            // The sign takes the place of a letter where there is no other.
            let words = plain::cut(column.heading(), width.saturating_sub(plain::width(sign)));
            let words =
                if words.ends_with('…') { column.heading()[..words.chars().count()].to_owned() } else { words };
            let text = format!("{words}{sign}");
            let text = if column.is_number() { plain::right(&text, *width) } else { plain::left(&text, *width) };
            spans.push(Span::styled(text, if is_sorted { self.palette.bold() } else { self.palette.dim() }));
        }
        Line::from(spans)
    }

    /// A row, in exactly the width of the table.
    pub(in super::super) fn row(&self, entry: &Entry, is_meant: bool, now: Instant) -> Line<'static> {
        let mood = entry.mood();
        let mark = if is_meant { "▸ " } else { "  " };
        let mut spans = vec![Span::styled(plain::left(mark, self.margin), self.palette.bold())];
        let mut used = self.margin;
        for (at, (column, width)) in self.columns.iter().enumerate() {
            if at > 0 {
                spans.push(Span::raw(" ".repeat(self.gap)));
                used += self.gap;
            }
            let is_figure = !matches!(column, Name | State);
            let sentence = match (&entry.presence, entry.trouble()) {
                (_, Some(why)) => Some((plain::text(why), self.palette.alarm())),
                (Presence::Gone(since), _) => {
                    let ago = brief_time(now.saturating_duration_since(*since));
                    Some((format!("{ago} ago"), self.palette.dim()))
                }
                _ => None,
            };
            if is_figure && let Some((sentence, style)) = sentence {
                spans.push(Span::styled(plain::left(&sentence, self.width - used), style));
                return Line::from(spans);
            }
            let (text, style) = self.cell(*column, *width, entry, mood);
            let text = if column.is_number() { plain::right(&text, *width) } else { plain::left(&text, *width) };
            let style = if is_meant && *column == Name { self.palette.meant(style) } else { style };
            spans.push(Span::styled(text, style));
            used += width;
        }
        Line::from(spans)
    }

    fn cell(&self, column: Column, width: usize, entry: &Entry, mood: Mood) -> (String, Style) {
        let palette = self.palette;
        let plain_style = palette.row(mood);
        match column {
            Name => return (name(entry), if mood == Mood::Broken { palette.alarm() } else { plain_style }),
            State => {
                let is_served = entry.current().is_some_and(|figures| figures.queue.receiver_alive);
                return (entry.state().to_owned(), palette.state(mood, is_served));
            }
            _ => {}
        }
        let Some(figures) = entry.current() else { return (String::new(), plain_style) };
        let is_behind = mood == Mood::Behind;
        match column {
            Waiting => count(figures.waiting as f64, if is_behind { palette.caution() } else { plain_style }, palette),
            Oldest => time(figures.oldest, if is_behind { palette.caution() } else { plain_style }, palette),
            Sent => count(entry.rates.sent, plain_style, palette),
            Received => count(entry.rates.received, plain_style, palette),
            Trend => {
                let rates = entry.samples.iter().map(|sample: &Sample| sample.rates.sent);
                (sparkline(rates, 0.0, width), palette.trend())
            }
            Backlog => {
                let depths = entry.samples.iter().map(|sample: &Sample| sample.waiting as f64);
                (sparkline(depths, BACKLOG, width), palette.caution())
            }
            P50 => time(figures.delivery_p50(), plain_style, palette),
            P99 => time(figures.delivery_p99(), plain_style, palette),
            Pressure => pressure(figures.fill(), figures.pressure(), palette),
            Senders => alive(figures, plain_style, palette),
            Memory => (bytes(figures.queue.reserved_bytes), plain_style),
            From => (senders(entry), plain_style),
            Name | State => (String::new(), plain_style),
        }
    }
}

/// What a row is called; a queue beside mailboxes of which it may have the name.
fn name(entry: &Entry) -> String {
    let name = plain::text(&entry.key.name);
    match entry.key.kind {
        Kind::Mailbox => name,
        Kind::Queue => format!("{name} ⇉"),
    }
}

/// The names of those who send, with what the kernel says of them.
pub(super) fn senders(entry: &Entry) -> String {
    let names = entry.names();
    let sign = |alive| if alive { '●' } else { '○' };
    names.into_iter().map(|(name, alive)| format!("{}{}", sign(alive), plain::text(name))).collect::<Vec<_>>().join(" ")
}

/// Nothing stands as a dim point, so that the eye finds what is something.
pub(super) fn count(number: f64, style: Style, palette: Palette) -> (String, Style) {
    if number > 0.0 { (brief_count(number), style) } else { ("·".to_owned(), palette.dim()) }
}

pub(super) fn time(time: Option<Duration>, style: Style, palette: Palette) -> (String, Style) {
    time.map_or(("·".to_owned(), palette.dim()), |time| (brief_time(time), style))
}

pub(super) fn pressure(fill: f64, pressure: Pressure, palette: Palette) -> (String, Style) {
    let number = if pressure == Pressure::High { "high".to_owned() } else { percent(fill) };
    let style = match (pressure, fill > 0.0) {
        (Pressure::High, _) => palette.alarm(),
        (Pressure::Normal, true) => palette.well(),
        (Pressure::Normal, false) => palette.dim(),
    };
    (format!("{} {number}", gauge(fill, 4)), style)
}

/// How many of the lanes have a sender.
fn alive(figures: &Figures, style: Style, palette: Palette) -> (String, Style) {
    match figures.queue.lanes {
        0 => ("·".to_owned(), palette.dim()),
        lanes => (format!("{}/{lanes}", figures.senders), if figures.senders > 0 { style } else { palette.dim() }),
    }
}
