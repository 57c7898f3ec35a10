//! The page: a table for each row, and one for the bars.

use crate::bars::Verdict;
use crate::results::{Cell, Row};
use laneway_measure::{Machine, Summary};
use std::fmt::Write;

/// The whole page, in Markdown.
pub(crate) fn page(rows: &[Row], verdicts: &[Verdict], machine: &Machine, command: &str, pieces: usize) -> String {
    let mut page = format!(
        "# laneway and its peers\n\n{machine}. `{command}`: {pieces} pieces of each, in turns. Given are medians of the pieces \
         and in brackets their quartiles. A piece stands between probes of the raw cache-line round trip; it counts when they agree, and when \
         they lie in the regime in which most peers of the row have pieces.\n"
    );
    bars(&mut page, verdicts);
    rows.iter().for_each(|row| table(&mut page, row));
    page
}

/// The bars alone.
pub(crate) fn bars(page: &mut String, verdicts: &[Verdict]) {
    page.push_str("\n## Bars\n\n| what | against | required | measured | |\n|---|---|---|---|---|\n");
    for Verdict { what, against, required, ratio, verdict } in verdicts {
        let ratio = ratio.map_or("–".to_owned(), |(found, low, high)| format!("{found:.2} ({low:.2}–{high:.2})"));
        writeln!(page, "| {what} | {against} | {required} | {ratio} | {verdict} |").expect("a string takes everything");
    }
}

fn table(page: &mut String, row: &Row) {
    let is_whole = row.cells.iter().any(|cell| cell.summary("ns").is_some());
    let figures: &[&str] = if is_whole { &["ns"] } else { &["p50", "p99", "p99.9"] };
    let regime = row.regime.map_or("no piece has probes that agree".to_owned(), |(low, high)| {
        format!("raw round trip {low:.0} to {high:.0} ns")
    });
    let heads = if is_whole { "ns each | million/s".to_owned() } else { figures.join(" | ") };
    let rules = "---|".repeat(if is_whole { 2 } else { figures.len() });
    let head =
        format!("\n## {}\n\n{regime}\n\n| | where | {heads} | pieces | how |\n|---|---|{rules}---|---|\n", row.name);
    page.push_str(&head);
    let key = |cell: &&Cell| cell.summary(figures[0]).map_or(f64::INFINITY, |found| found.median);
    let mut cells: Vec<&Cell> = row.cells.iter().collect();
    cells.sort_by(|one, other| key(one).total_cmp(&key(other)));
    for cell in cells {
        let mut columns: Vec<String> = figures.iter().map(|figure| shown(cell.summary(figure))).collect();
        if is_whole {
            columns.push(cell.summary("ns").map_or(String::new(), |found| format!("{:.2}", 1e3 / found.median)));
        }
        let notes: Vec<&str> =
            [cell.how].into_iter().chain(cell.why.as_deref()).filter(|note| !note.is_empty()).collect();
        let name =
            if cell.kind == crate::peer::Kind::Laneway { format!("**{}**", cell.peer) } else { cell.peer.to_owned() };
        let (columns, notes) = (columns.join(" | "), notes.join("; ").replace('|', "/"));
        let kept = format!("{} of {}", cell.kept.len(), cell.run);
        writeln!(page, "| {name} | {} | {columns} | {kept} | {notes} |", cell.kind.name())
            .expect("a string takes everything");
    }
}

fn shown(found: Option<Summary>) -> String {
    found.map_or("–".to_owned(), |found| {
        format!("{} ({}–{})", nanoseconds(found.median), nanoseconds(found.low), nanoseconds(found.high))
    })
}

/// Three digits, and a unit where it is not nanoseconds.
fn nanoseconds(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 10_000.0 => (ns, ""),
        ns if ns < 10_000_000.0 => (ns / 1e3, " µs"),
        ns => (ns / 1e6, " ms"),
    };
    if value < 10.0 {
        format!("{value:.2}{unit}")
    } else if value < 100.0 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn figures_have_three_digits() {
        let shown = [1.234, 12.34, 123.4, 1234.0, 12_340.0, 12_340_000.0].map(nanoseconds);
        assert_eq!(shown, ["1.23", "12.3", "123", "1234", "12.3 µs", "12.3 ms"]);
    }
}
