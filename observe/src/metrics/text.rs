//! The two forms of text.

use std::fmt::Write;

/// A form in which metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4, that everything reads.
    Prometheus,
    /// OpenMetrics 1.0: with units.
    OpenMetrics,
}

impl Format {
    /// What HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that an `Accept` header of HTTP asks for: OpenMetrics where it is preferred by name, otherwise that of Prometheus,
    /// also for who asks for nothing that we have.
    pub fn accepted(accept: &str) -> Format {
        let mut best = (0.0, Format::Prometheus);
        for range in accept.split(',') {
            let mut parameters = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let format = match parameters.next().as_deref() {
                Some("application/openmetrics-text") => Format::OpenMetrics,
                Some("text/plain" | "text/*" | "*/*") => Format::Prometheus,
                _ => continue,
            };
            let quality = parameters.find_map(|part| part.strip_prefix("q=").map(str::to_owned));
            let quality: f32 = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
            // Of equals the one that was asked for by its own name.
            if quality > best.0 || (quality == best.0 && quality > 0.0 && format == Format::OpenMetrics) {
                best = (quality, format);
            }
        }
        best.1
    }

    /// The text in this form.
    pub(super) fn of_openmetrics(self, text: String) -> String {
        match self {
            Format::OpenMetrics => text,
            Format::Prometheus => classic(&text),
        }
    }
}

/// The older form, which the crate does not write: the samples are the same, line by line. What differs is the lines about them:
/// a counter's carry the name of its samples, and there are no units and no end.
fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            help = about.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|about| about.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(text, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_preferred_is_given() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6";
        for (accept, format) in [
            (prometheus_2, Format::OpenMetrics),
            (prometheus_3, Format::Prometheus),
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
            ("image/png", Format::Prometheus),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            ("application/openmetrics-text;q=nonsense", Format::Prometheus),
            (";;q=,,=;", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn the_older_form_has_the_same_samples_and_names_them_in_full() {
        let openmetrics = "# HELP a_seconds How long.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{x=\"# EOF\"} 1\n\
                           # HELP b What.\n# TYPE b gauge\nb 2\n# HELP c Build.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let prometheus = "# HELP a_seconds_total How long.\n# TYPE a_seconds_total counter\na_seconds_total{x=\"# EOF\"} 1\n\
                          # HELP b What.\n# TYPE b gauge\nb 2\n# HELP c_info Build.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(classic(openmetrics), prometheus);
    }
}
