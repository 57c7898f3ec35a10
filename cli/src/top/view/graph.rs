//! Figures as small pictures made of letters.

const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A line of figures over time, the latest at the right end: nothing where nothing was, the full height for the most of it, or for
/// so much if there was less.
pub(super) fn sparkline(values: impl DoubleEndedIterator<Item = f64> + Clone, least: f64, columns: usize) -> String {
    let last: Vec<f64> = values.rev().take(columns).collect();
    let most = last.iter().copied().fold(least, f64::max);
    let letter = |value: f64| match value > 0.0 {
        true => EIGHTHS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
        false => ' ',
    };
    let before = " ".repeat(columns - last.len());
    before + &last.into_iter().rev().map(letter).collect::<String>()
}

const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// How full something is, in so many columns: full and empty differ without colour too.
pub(super) fn gauge(share: f64, columns: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * 8.0 * columns as f64).ceil() as usize;
    let part = PARTS[eighths % 8];
    "█".repeat(eighths / 8) + part + &"░".repeat(columns - eighths.div_ceil(8))
}

/// A share as a number in four columns.
pub(super) fn percent(share: f64) -> String {
    let percent = (share * 100.0).ceil();
    if percent > 999.0 { ">999".to_owned() } else { format!("{percent:>3.0}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_ends_with_the_latest_and_is_as_high_as_its_highest() {
        let of = |values: &[f64], columns| sparkline(values.iter().copied(), 0.0, columns);
        assert_eq!(of(&[0.0, 1.0, 4.0, 8.0], 6), "   ▁▄█");
        assert_eq!(of(&[800.0, 1.0, 2.0], 2), "▄█", "what is not seen any more counts no more");
        assert_eq!((of(&[], 3), of(&[0.0; 9], 3), of(&[1.0], 0)), ("   ".to_owned(), "   ".to_owned(), String::new()));
        assert_eq!(sparkline([1.0, 2.0].into_iter(), 8.0, 2), "▁▂", "little is shown as little");
        assert_eq!(of(&[f64::NAN, f64::INFINITY], 2).chars().count(), 2);
    }

    #[test]
    fn a_gauge_is_empty_only_when_nothing_is_there() {
        assert_eq!((gauge(0.0, 4), gauge(0.001, 4), gauge(0.5, 4)), ("░░░░".into(), "▏░░░".into(), "██░░".into()));
        assert_eq!((gauge(7.0, 4), gauge(f64::NAN, 2)), ("████".into(), "░░".into()));
        assert_eq!(
            (percent(0.0), percent(0.421), percent(2.0), percent(99.0)),
            ("  0%".into(), " 43%".into(), "200%".into(), ">999".into())
        );
    }
}
