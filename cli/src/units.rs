//! Numbers with units, read and written.

use std::time::Duration;

/// Reads `4096`, `64K`, `64KiB`, `1M`, `1G`: powers of 1,024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("{unit:?} is not one of the units K, M and G")),
    };
    let number: u64 = number.parse().map_err(|_| "a number of bytes is needed, such as 65536 or 64K".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is more bytes than a machine can address".to_owned())
}

/// A duration in nanoseconds, for programs.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in milliseconds, for programs.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a number of bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1024, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Writes a duration for people.
pub(crate) fn nanoseconds(number: u64) -> String {
    scaled(number, 1000, &["ns", "µs", "ms", "s"])
}

/// Writes a duration for people, with a digit behind the point where it is short.
pub(crate) fn short_time(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1} ns") } else { nanoseconds(ns.round() as u64) }
}

/// Writes a count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Writes a count in five columns at most: `9,999`, `12.3k`, `4.5M`.
pub(crate) fn brief_count(number: f64) -> String {
    match number {
        ..9.95 if number.fract() > 0.0 => format!("{number:.1}"),
        ..9_999.5 => count(number.round() as u64),
        ..99_950.0 => format!("{:.1}k", number / 1e3),
        ..999_500.0 => format!("{:.0}k", number / 1e3),
        ..99_950_000.0 => format!("{:.1}M", number / 1e6),
        ..999_500_000.0 => format!("{:.0}M", number / 1e6),
        ..99_950_000_000.0 => format!("{:.1}G", number / 1e9),
        _ => "much".to_owned(),
    }
}

/// Writes a duration in six columns at most: `1.2 µs`, `850 ms`, `12 min`, `3 d`.
pub(crate) fn brief_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        ..999.5e-9 => (seconds * 1e9, "ns"),
        ..999.5e-6 => (seconds * 1e6, "µs"),
        ..999.5e-3 => (seconds * 1e3, "ms"),
        ..99.5 => (seconds, "s"),
        ..5_970.0 => (seconds / 60.0, "min"),
        ..171_000.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / 86_400.0, "d"),
    };
    match number < 9.95 && seconds < 99.5 && unit != "ns" {
        true => format!("{number:.1} {unit}"),
        false => format!("{number:.0} {unit}"),
    }
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut unit = 0;
    let mut divisor = 1;
    while unit + 1 < units.len() && number / divisor >= step {
        divisor *= step;
        unit += 1;
    }
    if number.is_multiple_of(divisor) {
        format!("{} {}", number / divisor, units[unit])
    } else {
        format!("{:.1} {}", number as f64 / divisor as f64, units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("1m"), Ok(1 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        for wrong in ["", "K", "-1", "1.5M", "12X", "1 K", "99999999999999999999", "18446744073709551615K"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(262_144), "256 KiB");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(nanoseconds(85), "85 ns");
        assert_eq!(nanoseconds(1_250), "1.2 µs");
        assert_eq!(nanoseconds(3_000_000_000), "3 s");
        assert_eq!(nanoseconds(90_000_000_000), "90 s");
        assert_eq!(short_time(12.34), "12.3 ns");
        assert_eq!(short_time(250.4), "250 ns");
        assert_eq!(short_time(1_250.4), "1.2 µs");
        assert_eq!(count(999), "999");
        assert_eq!(count(100_000), "100,000");
    }

    #[test]
    fn brief_numbers_keep_to_their_columns() {
        for (number, brief) in [
            (0.0, "0"),
            (0.3, "0.3"),
            (2.0, "2"),
            (12.4, "12"),
            (9_999.0, "9,999"),
            (12_345.0, "12.3k"),
            (999_600.0, "1.0M"),
            (4.56e10, "45.6G"),
        ] {
            assert_eq!(brief_count(number), brief);
        }
        let of = |seconds: f64| brief_time(Duration::from_secs_f64(seconds));
        assert_eq!([of(85e-9), of(1.25e-6), of(0.85), of(12.3)], ["85 ns", "1.2 µs", "850 ms", "12 s"]);
        assert_eq!([of(99.6), of(720.0), of(7_200.0), of(3e5)], ["2 min", "12 min", "2 h", "3 d"]);
        for power in -90..110 {
            let number = 1.37_f64.powi(power);
            assert!(brief_count(number).len() <= 5, "{}", brief_count(number));
            assert!(number > 8e7 || of(number).chars().count() <= 6, "{}", of(number));
        }
    }
}
