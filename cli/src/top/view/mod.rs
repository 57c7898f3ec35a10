//! From what is shown to letters on a screen. Knows nothing of where they come from, and draws only what there is room for.

mod graph;
mod opened;
mod palette;
mod table;

pub(super) use opened::lines;
pub(super) use palette::Palette;
pub(super) use table::Table;

use super::entry::{Mood, Shot};
use super::keys::HELP;
use super::state::State;
use crate::plain;
use crate::units::{brief_count, bytes, count};
use laneway_observe::Kind;
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

/// A frame.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, palette: Palette) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let line = |at: u16| Rect { y: at, height: 1, ..area };
    frame.render_widget(header(state.shot(), usize::from(area.width), palette), line(0));
    // On few lines rows matter more than what stands around them.
    let footer = u16::from(area.height > 4);
    let body = Rect { y: 1, height: area.height - 1 - footer, ..area };
    if state.opened().is_some() {
        draw_opened(frame, state, body, palette);
    } else {
        draw_table(frame, state, body, palette);
    }
    if footer > 0 {
        frame.render_widget(footer_line(state, palette), line(area.height - 1));
    }
    if state.shows_help() {
        draw_help(frame, area, palette);
    }
}

/// What matters of all rows together; what comes last goes first when there is no room.
pub(super) fn header(shot: Option<&Shot>, width: usize, palette: Palette) -> Line<'static> {
    let mut parts = vec![Span::styled("laneway", palette.bold())];
    let Some(shot) = shot else { return Line::from(parts) };
    let here = || shot.entries.iter().filter(|entry| entry.mood() < Mood::Gone);
    let of_kind = |kind| here().filter(|entry| entry.key.kind == kind).count();
    let sum = |of: fn(&super::entry::Entry) -> f64| here().map(of).sum::<f64>();
    let broken = here().filter(|entry| entry.mood() == Mood::Broken).count();
    let behind = here().filter(|entry| entry.mood() == Mood::Behind).count();
    if broken > 0 {
        parts.push(Span::styled(format!("✗ {} broken", count(broken as u64)), palette.alarm()));
    }
    if behind > 0 {
        parts.push(Span::styled(format!("! {} behind", count(behind as u64)), palette.caution()));
    }
    let (mailboxes, queues) = (of_kind(Kind::Mailbox), of_kind(Kind::Queue));
    parts.extend([
        Span::raw(plural(mailboxes, "mailbox", "mailboxes")),
        Span::raw(plural(queues, "queue", "queues")),
        Span::raw(format!("{} in/s", brief_count(sum(|entry| entry.rates.sent)))),
        Span::raw(format!("{} out/s", brief_count(sum(|entry| entry.rates.received)))),
        Span::raw(format!("{} waiting", brief_count(sum(|entry| entry.waiting() as f64)))),
        Span::raw(bytes(here().filter_map(|entry| entry.current()).map(|figures| figures.queue.reserved_bytes).sum())),
    ]);
    let mut line = Vec::new();
    let mut used = 0;
    for part in parts {
        let gap = if used > 0 { 3 } else { 0 };
        if used + gap + part.width() > width && used > 0 {
            break;
        }
        used += gap + part.width();
        line.push(Span::raw(" ".repeat(gap)));
        line.push(part);
    }
    Line::from(line)
}

fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number as u64), if number == 1 { one } else { many })
}

fn draw_table(frame: &mut Frame<'_>, state: &mut State, area: Rect, palette: Palette) {
    if area.is_empty() {
        return;
    }
    state.fit_rows(usize::from(area.height) - 1);
    let Some(shot) = state.shot() else { return };
    if state.counts().0 == 0 {
        let lines = nothing(state, shot).into_iter().map(|line| Line::styled(line, palette.dim()));
        draw_lines(frame, lines, area);
        return;
    }
    // Of all that is shown: what scrolls into sight does not move the columns.
    let table = Table::new(area.width, state.all_rows(), palette);
    let (sort, reversed) = state.sort();
    frame.render_widget(table.headings(sort, reversed), Rect { height: 1, ..area });
    let rows = state.rows().map(|(entry, is_meant)| table.row(entry, is_meant, shot.at));
    draw_lines(frame, rows, Rect { y: area.y + 1, height: area.height - 1, ..area });
}

/// Why there are no rows.
fn nothing(state: &State, shot: &Shot) -> Vec<String> {
    let [queues, post] = shot.places.each_ref().map(|place| plain::text(&place.to_string_lossy()));
    match (state.counts().1, state.only_concerns(), state.filter()) {
        (0, ..) => vec![
            "Nothing yet. Here show when they come:".into(),
            format!("queues in {queues}"),
            format!("mailboxes in {post}"),
        ],
        (_, true, "") => vec!["Nothing needs attention. a shows everything.".into()],
        (all, _, filter) => {
            vec![format!("None of {all} has {:?} in its name. Esc shows everything.", plain::text(filter))]
        }
    }
}

fn draw_opened(frame: &mut Frame<'_>, state: &mut State, area: Rect, palette: Palette) {
    let (Some((key, entry)), Some(shot)) = (state.opened(), state.shot()) else { return };
    let lines = lines(key, entry, shot, area.width.into(), palette);
    state.fit_lines(area.height.into(), lines.len());
    draw_lines(frame, lines.into_iter().skip(state.scroll()), area);
}

/// As many as there is room for, each cut where the area ends.
fn draw_lines<'a>(frame: &mut Frame<'_>, lines: impl Iterator<Item = Line<'a>>, area: Rect) {
    for (at, line) in lines.take(area.height.into()).enumerate() {
        frame.render_widget(line, Rect { y: area.y + at as u16, height: 1, ..area });
    }
}

/// What is being typed, or what can be done.
fn footer_line(state: &State, palette: Palette) -> Line<'static> {
    let filter = plain::text(state.filter());
    if state.is_typing() {
        let hint = Span::styled("  Enter keeps it, Esc does not", palette.dim());
        return Line::from(vec![Span::raw(format!("/{filter}▏")), hint]);
    }
    let mut spans = Vec::new();
    if state.is_paused() {
        spans.push(Span::styled("PAUSED  ", palette.caution()));
    }
    if let Some(problem) = state.shot().and_then(|shot| shot.problems.first()) {
        spans.push(Span::styled(plain::text(problem), palette.alarm()));
        return Line::from(spans);
    }
    if state.opened().is_some() {
        spans.push(Span::styled("Esc back  ↑↓ scroll  p pause  ? help  q quit", palette.dim()));
        return Line::from(spans);
    }
    let (shown, all) = state.counts();
    spans.push(Span::styled(format!("{}/{shown}", state.place()), palette.dim()));
    if shown < all {
        let why = if state.only_concerns() { "that need attention" } else { "that match" };
        let filter = if filter.is_empty() { filter } else { format!(" /{filter}") };
        spans.push(Span::styled(format!(" {why}{filter}, of {all}"), palette.caution()));
    }
    let (sort, _) = state.sort();
    let hints = format!("  Enter open  / filter  s sort: {}  a attention  ? help  q quit", sort.word());
    spans.push(Span::styled(hints, palette.dim()));
    Line::from(spans)
}

const SIGNS: [&str; 2] =
    [" ● somebody receives   ○ nobody does   ✗ look at it", " ⇉ a queue; the others are mailboxes"];

fn draw_help(frame: &mut Frame<'_>, area: Rect, palette: Palette) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(keys, what)| Line::from(vec![Span::styled(format!(" {keys:<24}"), palette.bold()), Span::raw(*what)]))
        .chain([Line::default()])
        .chain(SIGNS.map(|signs| Line::styled(signs, palette.dim())))
        .collect();
    let (width, height) = (74.min(area.width), (lines.len() as u16 + 2).min(area.height));
    let outside = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let block = Block::bordered().title(" laneway top ").title_alignment(Alignment::Center);
    let inside = block.inner(outside);
    frame.render_widget(Clear, outside);
    frame.render_widget(block, outside);
    draw_lines(frame, lines.into_iter(), inside);
}
