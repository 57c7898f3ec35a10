//! One queue or mailbox, closely: its figures, its lanes, its messages, and what became of those that are done with.

use super::super::entry::{Entry, Shot};
use super::graph::sparkline;
use super::palette::Palette;
use super::table::{BACKLOG, count, pressure, time};
use crate::plain;
use crate::units::{self, brief_count, brief_time};
use laneway::LaneStat;
use laneway::mailbox::{State, Stats, Status};
use laneway_observe::{Detail, Figures, Key, Message, Presence, Sample};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::time::Instant;

/// All that is to be said of it: more lines than a screen has, perhaps.
pub(in super::super) fn lines(
    key: &Key,
    entry: Option<&Entry>,
    shot: &Shot,
    width: usize,
    palette: Palette,
) -> Vec<Line<'static>> {
    let page = Page { width, palette, entry };
    let mut lines = vec![page.title(key)];
    let Some(entry) = entry else {
        lines.push(Line::styled(
            "It is not there, and was not for a while. It shows when it comes again.",
            palette.dim(),
        ));
        return lines;
    };
    lines.push(Line::styled(plain::text(&entry.path.to_string_lossy()), palette.dim()));
    match &entry.presence {
        Presence::Here => {}
        Presence::Gone(since) => lines.push(page.gone(*since, shot.at)),
        Presence::Unreadable(why) => lines.push(Line::styled(plain::text(why), palette.alarm())),
    }
    let Some(figures) = entry.current() else { return lines };
    lines.extend(page.trends(entry));
    lines.extend(page.figures(figures));
    match shot.detail.as_ref().filter(|(of, _)| of == key) {
        Some((_, Ok(detail))) => {
            lines.extend(page.messages(detail));
            lines.extend(page.tickets(detail));
            lines.extend(page.lanes(detail, figures));
        }
        Some((_, Err(why))) => lines.push(Line::styled(plain::text(why), palette.alarm())),
        None => {}
    }
    lines
}

struct Page<'a> {
    width: usize,
    palette: Palette,
    entry: Option<&'a Entry>,
}

type Cell = (String, Style);

impl Page<'_> {
    fn title(&self, key: &Key) -> Line<'static> {
        let kind = key.kind.word();
        let mut spans = vec![
            Span::styled(plain::text(&key.name), self.palette.bold()),
            Span::styled(format!("  {kind}  "), self.palette.dim()),
        ];
        if let Some(entry) = self.entry {
            let is_served = entry.current().is_some_and(|figures| figures.queue.receiver_alive);
            spans.push(Span::styled(entry.state(), self.palette.state(entry.mood(), is_served)));
        }
        Line::from(spans)
    }

    fn gone(&self, since: Instant, now: Instant) -> Line<'static> {
        let ago = brief_time(now.saturating_duration_since(since));
        Line::styled(format!("It went {ago} ago. It shows when it comes again."), self.palette.caution())
    }

    /// What came, what went, what waited.
    fn trends(&self, entry: &Entry) -> Vec<Line<'static>> {
        let columns = self.width.saturating_sub(24).min(super::super::entry::SAMPLES);
        let trend = |word: &str, of: fn(&Sample) -> f64, least: f64, now: String, style: Style| {
            let line = sparkline(entry.samples.iter().map(of), least, columns);
            Line::from(vec![
                Span::styled(format!("{word:<8}"), self.palette.dim()),
                Span::styled(line, style),
                Span::raw(format!(" {now}")),
            ])
        };
        let (sent, received) = (brief_count(entry.rates.sent), brief_count(entry.rates.received));
        vec![
            Line::default(),
            trend("in", |sample| sample.rates.sent, 0.0, format!("{sent}/s"), self.palette.trend()),
            trend("out", |sample| sample.rates.received, 0.0, format!("{received}/s"), self.palette.trend()),
            trend(
                "waiting",
                |sample| sample.waiting as f64,
                BACKLOG,
                units::count(entry.waiting()),
                self.palette.caution(),
            ),
        ]
    }

    fn figures(&self, figures: &Figures) -> Vec<Line<'static>> {
        let queue = &figures.queue;
        let receiver = match (queue.receiver_alive, queue.receiver_sleeps) {
            (true, true) => "attached, asleep until something comes",
            (true, false) => "attached, awake",
            (false, _) => "nobody",
        };
        let mut lines = vec![
            Line::default(),
            self.fact(
                "receiver",
                format!("{receiver}; attached {} times so far", units::count(queue.receiver_attaches)),
            ),
            self.fact(
                "messages",
                format!("{} sent, {} received", units::count(figures.sent), units::count(figures.received)),
            ),
        ];
        if let Some(oldest) = figures.oldest {
            lines.push(self.fact("oldest", format!("{} ago", brief_time(oldest))));
        }
        if let Some(mail) = &figures.mail {
            lines.extend(self.mail(mail));
        }
        let mut pressure = format!("{}; the fullest lane {:.0}%", figures.pressure(), (figures.fill() * 100.0).ceil());
        if figures.full_events + queue.dropped > 0 {
            let (full, dropped) = (units::count(figures.full_events), units::count(queue.dropped));
            pressure += &format!("; no room {full} times, {dropped} dropped");
        }
        lines.push(self.fact("pressure", pressure));
        let (memory, limit) = (units::bytes(queue.reserved_bytes), units::bytes(queue.limit_bytes));
        lines.push(self.fact("memory", format!("{memory} of at most {limit}")));
        lines
    }

    fn mail(&self, mail: &Stats) -> Vec<Line<'static>> {
        let n = units::count;
        let mut lines = vec![self.fact(
            "now",
            format!("{} wait, of these {} for later; {} taken", n(mail.pending), n(mail.kept), n(mail.taken)),
        )];
        if let (Some(p50), Some(p95), Some(p99)) = (mail.delivery_p50, mail.delivery_p95, mail.delivery_p99) {
            let [p50, p95, p99] = [p50, p95, p99].map(brief_time);
            lines.push(self.fact("delivery", format!("p50 {p50}, p95 {p95}, p99 {p99}")));
        }
        let outcomes = [
            (mail.processed, "acked"),
            (mail.failed, "failed"),
            (mail.expired, "expired"),
            (mail.cancelled, "cancelled"),
            (mail.superseded, "superseded"),
            (mail.dead_lettered, "dead-lettered"),
            (mail.retried, "given back"),
            (mail.redelivered, "handed out again after a death"),
        ];
        let some: Vec<String> = outcomes
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{} {word}", n(*count)))
            .collect();
        if !some.is_empty() {
            lines.push(self.fact("outcomes", some.join(", ")));
        }
        lines
    }

    fn fact(&self, word: &str, text: String) -> Line<'static> {
        Line::from(vec![Span::styled(format!("{word:<10}"), self.palette.dim()), Span::raw(text)])
    }

    /// A section's title and its rows; the last column takes the rest of the line. A heading that starts with `>` is of numbers.
    fn section(&self, title: &str, headings: &[&str], rows: Vec<Vec<Cell>>) -> Vec<Line<'static>> {
        let mut lines = vec![Line::default(), Line::styled(title.to_owned(), self.palette.bold())];
        if rows.is_empty() {
            return Vec::new();
        }
        let heading: Vec<Cell> =
            headings.iter().map(|heading| (heading.trim_start_matches('>').to_owned(), self.palette.dim())).collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                let cells = rows.iter().chain([&heading]).filter_map(|row| row.get(column));
                cells.map(|(text, _)| plain::width(text)).max().unwrap_or(0).min(MOST)
            })
            .collect();
        for row in [heading].into_iter().chain(rows) {
            let last = row.len() - 1;
            let mut spans = Vec::new();
            for (column, (text, style)) in row.into_iter().enumerate() {
                let text = match headings[column].starts_with('>') {
                    true => plain::right(&text, widths[column]),
                    false if column == last => text,
                    false => plain::left(&text, widths[column]),
                };
                spans.push(Span::styled(text, style));
                spans.push(Span::raw("  "));
            }
            spans.pop();
            lines.push(Line::from(spans));
        }
        lines
    }

    fn messages(&self, detail: &Detail) -> Vec<Line<'static>> {
        let plain_style = Style::new();
        let row = |message: &Message| {
            let from = message.from.as_deref().map_or("·".to_owned(), plain::text);
            let age = time(message.age, plain_style, self.palette);
            vec![
                (message.ticket.clone(), self.palette.dim()),
                (from, plain_style),
                age,
                (plain::body(&message.body), plain_style),
            ]
        };
        let rows = detail.messages.iter().map(row).collect();
        self.section("Messages that wait or are taken", &["TICKET", "FROM", ">AGE", "BODY"], rows)
    }

    fn tickets(&self, detail: &Detail) -> Vec<Line<'static>> {
        let row = |(ticket, status): &(laneway::mailbox::Ticket, Status)| {
            let style = match status.state {
                State::Failed | State::DeadLettered => self.palette.alarm(),
                State::Expired => self.palette.caution(),
                State::Taken | State::Pending => Style::new(),
                _ => self.palette.dim(),
            };
            vec![
                (ticket.to_string(), self.palette.dim()),
                (status.state.to_string(), style),
                count(status.attempts.into(), Style::new(), self.palette),
                time(status.since, Style::new(), self.palette),
                (status.reason.sentence().to_owned(), self.palette.dim()),
            ]
        };
        let rows = detail.outcomes.iter().map(row).collect();
        self.section("Tickets, the last change first", &["TICKET", "STATE", ">TAKEN", ">AGO", "WHY"], rows)
    }

    fn lanes(&self, detail: &Detail, figures: &Figures) -> Vec<Line<'static>> {
        let plain_style = Style::new();
        let number = |number: u64| count(number as f64, plain_style, self.palette);
        let row = |lane: &LaneStat| {
            let flow = figures.flows.iter().find(|flow| flow.lane == lane.lane);
            let from = flow.and_then(|flow| flow.from.as_deref()).map_or("·".to_owned(), plain::text);
            let (state, style) = match (lane.damage, lane.sender_alive, lane.closed) {
                (Some(damage), ..) => (format!("✗ retired: {damage}"), self.palette.alarm()),
                (_, true, _) => ("● attached".to_owned(), self.palette.well()),
                (_, _, true) => ("○ closed".to_owned(), self.palette.dim()),
                _ => ("○ gone".to_owned(), self.palette.dim()),
            };
            let fill = lane.depth_bytes as f64 / figures.capacity as f64;
            vec![
                (lane.lane.to_string(), self.palette.dim()),
                (from, plain_style),
                (lane.priority.to_string(), self.palette.dim()),
                number(lane.sent),
                count(flow.map_or(0.0, |flow| flow.rate), plain_style, self.palette),
                number(lane.depth_messages),
                pressure(fill, lane.pressure, self.palette),
                (units::bytes(lane.reserved_bytes), plain_style),
                (state, style),
            ]
        };
        let mut rows: Vec<Vec<Cell>> = detail.lanes.iter().map(row).collect();
        rows.extend(detail.unreadable.iter().map(|(lane, why)| {
            let mut row = vec![("·".to_owned(), self.palette.dim()); 9];
            row[0].0 = lane.to_string();
            row[8] = (format!("✗ {}", plain::text(why)), self.palette.alarm());
            row
        }));
        let headings = [">LANE", "FROM", "PRIORITY", ">SENT", ">IN/s", ">WAIT", "PRESSURE", ">MEMORY", "SENDER"];
        self.section("Lanes", &headings, rows)
    }
}

/// A name that is longer does not push aside what stands behind it.
const MOST: usize = 24;
