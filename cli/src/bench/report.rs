//! The report for people.

use super::figure::{Figure, Report, Shown};
use super::job::Unit;
use crate::output::table;
use crate::units::{count, short_time};
use comfy_table::Table;
use laneway_measure::{Percentiles, Summary};

/// The whole of it.
pub(super) fn to_text(report: &Report) -> String {
    let mut times = table(&["", ">P50", ">P90", ">P99", ">P99.9", ">P99.99", ">MAX", ">RATIO P50", ">RATIO P99.9"]);
    let mut rates = table(&["", ">MEDIAN", ">QUARTILES", ">A SECOND", ">GB/S", ">RATIO"]);
    for figure in &report.figures {
        add(figure, &mut times, &mut rates);
    }
    let tables = [times, rates].iter().filter(|table| table.row_count() > 0).map(Table::trim_fmt).collect::<Vec<_>>();
    let mut text = format!("{}; {}\n", report.machine, report.date);
    report.notes.iter().for_each(|note| text += &format!("{note}\n"));
    let thrown: usize = report.figures.iter().map(|figure| figure.thrown).sum();
    let all: usize = report.figures.iter().map(|figure| figure.pieces).sum::<usize>() + thrown;
    text += &format!(
        "{} of {} pieces count; in the middle of the others the machine changed. A ratio is of times, to the limit below; \
         1 is the limit\n\n{}\n",
        count((all - thrown) as u64),
        count(all as u64),
        tables.join("\n\n")
    );
    text
}

fn add(figure: &Figure, times: &mut Table, rates: &mut Table) {
    let ratio = |name: &str| figure.ratios.get(name).map_or_else(String::new, with_quartiles);
    let name = figure.heading.name.as_str();
    let below = figure.limit.as_ref().map(|limit| (format!("  limit: {}", limit.name), &limit.shown));
    match &figure.shown {
        Shown::Percentiles(found) => {
            let cells = percentiles(found).into_iter().chain([ratio("p50"), ratio("p99.9")]);
            times.add_row([name.to_owned()].into_iter().chain(cells));
            if let Some((name, Shown::Percentiles(limit))) = below {
                times.add_row([name].into_iter().chain(percentiles(limit)));
            }
        }
        Shown::Summary(found) => {
            let a_second = figure.per_second.map_or_else(String::new, |messages| count(messages as u64));
            let gigabytes = figure.bytes_per_second.map_or_else(String::new, |bytes| format!("{:.2}", bytes / 1e9));
            let [median, quartiles] = summary(found.as_ref(), figure.heading.unit);
            rates.add_row([name.to_owned(), median, quartiles, a_second, gigabytes, ratio("median")]);
            if let Some((name, Shown::Summary(limit))) = below {
                let [median, quartiles] = summary(limit.as_ref(), figure.heading.unit);
                rates.add_row([name, median, quartiles]);
            }
        }
    }
}

fn percentiles(found: &Percentiles) -> [String; 6] {
    let Percentiles { p50_ns, p90_ns, p99_ns, p999_ns, p9999_ns, max_ns, .. } = *found;
    [p50_ns, p90_ns, p99_ns, p999_ns, p9999_ns, max_ns].map(|ns| short_time(ns as f64))
}

fn summary(found: Option<&Summary>, unit: Unit) -> [String; 2] {
    let shown = |value: f64| match unit {
        Unit::Ns => short_time(value),
        Unit::Percent => format!("{value:.3} %"),
    };
    match found {
        Some(found) if found.pieces == 1 => [shown(found.median), String::new()],
        Some(found) => [shown(found.median), format!("{}-{}", shown(found.low), shown(found.high))],
        None => [String::new(), String::new()],
    }
}

fn with_quartiles(ratio: &Summary) -> String {
    let Summary { median, low, high, .. } = ratio;
    if ratio.pieces == 1 { format!("{median:.2}") } else { format!("{median:.2} ({low:.2}-{high:.2})") }
}
