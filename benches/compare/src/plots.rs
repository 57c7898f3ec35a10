//! The pictures, each as SVG and as PNG.

use crate::results::{Cell, Row};
use crate::rows::{self, fan_in, round_trip, stream};
use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

/// A line with a name.
struct Series {
    name: &'static str,
    is_ours: bool,
    points: Vec<(f64, f64)>,
}

/// What stands around the lines. Both axes are logarithmic.
struct Frame<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// The labels of the x axis, where they are not its numbers.
    label: fn(f64) -> String,
}

const SIZE: (u32, u32) = (1100, 700);

/// Draws what the rows give.
pub(crate) fn draw(rows: &[Row], out: &Path) -> Result<()> {
    let font = epaint_default_fonts::UBUNTU_LIGHT;
    let registered = plotters::style::register_font("sans-serif", FontStyle::Normal, font);
    registered.map_err(|_| anyhow!("the font that came with this program is no font"))?;
    for name in [round_trip::row::<1>(), round_trip::row::<6>(), rows::wake::ROW.to_owned(), fan_in::PACED.to_owned()] {
        let Some(row) = rows.iter().find(|row| row.name == name) else { continue };
        let file = name.replace([' ', '/', ','], "-");
        let frame = Frame { title: &name, x: "of all", y: "ns", label: percent };
        both(out, &file, &frame, &series(row, |cell| percentiles(&cell.buckets())))?;
    }
    let sizes = [1usize, 8, 64, 512, 2048, 8192];
    let names = [
        stream::row::<1>(),
        stream::row::<8>(),
        stream::row::<64>(),
        stream::row::<512>(),
        stream::row::<2048>(),
        stream::row::<8192>(),
    ];
    let bytes = sizes.map(|words| words as f64 * 8.0);
    let frame = Frame {
        title: "stream, copied in and out",
        x: "bytes in a message",
        y: "GB/s",
        label: |bytes| format!("{bytes}"),
    };
    both(out, "stream", &frame, &across(rows, &names, &bytes, |at, ns| bytes[at] / ns))?;
    let senders = fan_in::SENDERS.map(|senders| senders as f64);
    let names = fan_in::SENDERS.map(fan_in::row);
    let frame =
        Frame { title: "fan-in, 56 B", x: "senders", y: "million messages/s", label: |senders| format!("{senders}") };
    both(out, "fan-in", &frame, &across(rows, &names, &senders, |_, ns| 1e3 / ns))
}

/// A line for each peer of a row.
fn series(row: &Row, points: impl Fn(&Cell) -> Vec<(f64, f64)>) -> Vec<Series> {
    let line = |cell: &Cell| Series { name: cell.peer, is_ours: is_ours(cell), points: points(cell) };
    row.cells.iter().map(line).filter(|series| !series.points.is_empty()).collect()
}

/// A line for each peer through several rows: `y` of the row's number and its median.
fn across(rows: &[Row], names: &[String], xs: &[f64], y: impl Fn(usize, f64) -> f64) -> Vec<Series> {
    let mut found: Vec<Series> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        for cell in rows.iter().filter(|row| row.name == *name).flat_map(|row| &row.cells) {
            let Some(median) = cell.summary("ns").map(|found| found.median) else { continue };
            let point = (xs[at], y(at, median));
            match found.iter_mut().find(|series| series.name == cell.peer) {
                Some(series) => series.points.push(point),
                None => found.push(Series { name: cell.peer, is_ours: is_ours(cell), points: vec![point] }),
            }
        }
    }
    found
}

fn is_ours(cell: &Cell) -> bool {
    cell.kind == crate::peer::Kind::Laneway
}

/// Where a distribution stands, over one in how many takes longer: 2 is the median, 1,000 the 99.9th of a hundred.
fn percentiles(buckets: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let all: u64 = buckets.iter().map(|(_, count)| count).sum();
    let mut below = 0;
    let point = |(upper, count): &(u64, u64)| {
        let at = all as f64 / (all - below) as f64;
        below += count;
        (at, *upper as f64)
    };
    // Beyond that too few were counted to say anything.
    buckets
        .iter()
        .map(point)
        .filter(|(one_in, _)| (1.0..=10_000.0).contains(one_in) && all as f64 / one_in >= 10.0)
        .collect()
}

fn percent(one_in: f64) -> String {
    let percent = 100.0 - 100.0 / one_in;
    if percent == 0.0 { "fastest".to_owned() } else { format!("{} %", (percent * 1000.0).round() / 1000.0) }
}

fn both(out: &Path, name: &str, frame: &Frame<'_>, series: &[Series]) -> Result<()> {
    if series.is_empty() {
        return Ok(());
    }
    let (svg, png) = (out.join(format!("{name}.svg")), out.join(format!("{name}.png")));
    let drawn = chart(&SVGBackend::new(&svg, SIZE).into_drawing_area(), frame, series);
    drawn.with_context(|| format!("cannot draw {}", svg.display()))?;
    let drawn = chart(&BitMapBackend::new(&png, SIZE).into_drawing_area(), frame, series);
    drawn.with_context(|| format!("cannot draw {}", png.display()))
}

fn chart<D: DrawingBackend>(area: &DrawingArea<D, Shift>, frame: &Frame<'_>, series: &[Series]) -> Result<()>
where
    D::ErrorType: 'static,
{
    let points = || series.iter().flat_map(|series| &series.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = points().map(of).fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        (low, high.max(low * 1.1))
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    // The names get the right quarter to themselves.
    let right = right * (right / left).powf(0.3);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(frame.title, ("sans-serif", 28))
        .margin(15)
        .x_label_area_size(50)
        .y_label_area_size(90)
        .build_cartesian_2d((left..right).log_scale(), (low..high * 1.02).log_scale())?;
    let label = frame.label;
    chart
        .configure_mesh()
        .x_desc(frame.x)
        .y_desc(frame.y)
        .x_label_formatter(&|x| label(*x))
        .label_style(("sans-serif", 16))
        .draw()?;
    for (at, line) in series.iter().enumerate() {
        // As many colours as there are peers, round the wheel; ours is black and thick.
        let hue = at as f64 / series.len() as f64;
        let style = if line.is_ours { BLACK.stroke_width(3) } else { HSLColor(hue, 0.8, 0.45).stroke_width(2) };
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{percent, percentiles};

    #[test]
    fn a_distribution_starts_with_the_fastest() {
        let found = percentiles(&[(100, 50), (200, 40), (300, 10)]);
        assert_eq!(found, [(1.0, 100.0), (2.0, 200.0), (10.0, 300.0)]);
        assert_eq!([1.0, 2.0, 1000.0].map(percent), ["fastest", "50 %", "99.9 %"]);
    }
}
