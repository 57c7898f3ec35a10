//! Metrics as others read them: by a parser of each format, by `promtool` where there is one, and by the dashboard's queries.

use laneway::Queue;
use laneway::mailbox::Post;
use laneway_observe::{Format, Metrics};
use openmetrics_parser::openmetrics::parse_openmetrics;
use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{
    HistogramValue, MetricNumber, MetricsExposition, OpenMetricsType, OpenMetricsValue, PrometheusValue,
};
use promql_parser::label::METRIC_NAME;
use promql_parser::parser::{Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

struct Scene {
    _dir: tempfile::TempDir,
    queues: PathBuf,
    post: Post,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let (queues, post) = (dir.path().join("queues"), Post::open(dir.path().join("post")));
    Scene { _dir: dir, queues, post }
}

/// What every metric has a series of: a queue, a mailbox, mail handed out, and one that cannot be looked at.
fn busy() -> Scene {
    let scene = scene();
    Queue::create(scene.queues.join("steps")).unwrap().sender().unwrap().send(b"one").unwrap();
    let mut backend = scene.post.mailbox("backend").unwrap();
    let inbox = scene.post.serve("backend").unwrap();
    for _ in 0..3 {
        backend.send(b"run the tests").unwrap();
    }
    inbox.recv().unwrap().ack();
    inbox.recv().unwrap().ack();
    Queue::create(scene.queues.join("broken")).unwrap();
    fs::write(scene.queues.join("broken/queue"), [0xa5; 4096]).unwrap();
    scene
}

impl Scene {
    fn metrics(&self) -> Metrics {
        Metrics::new(&self.queues, self.post.root()).lanes(true)
    }
}

/// The newer format, by the parser of somebody else. It holds that histograms have no units, which the specification gives them.
fn openmetrics(text: &str) -> MetricsExposition<OpenMetricsType, OpenMetricsValue> {
    let text = text.replace("# UNIT laneway_mailbox_delivery_seconds seconds\n", "");
    parse_openmetrics(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

type Labels = BTreeMap<String, String>;

/// The samples of the older format, by the parser of somebody else: name, labels, value.
fn samples(text: &str) -> Vec<(String, Labels, f64)> {
    let exposition = parse_prometheus(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut samples = Vec::new();
    for family in exposition.families.values() {
        for sample in family.iter_samples() {
            let labels: Labels =
                sample.get_labelset().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let mut add = |suffix: &str, value: &MetricNumber| {
                samples.push((format!("{}{suffix}", family.family_name), labels.clone(), value.as_f64()));
            };
            match &sample.value {
                PrometheusValue::Gauge(value) | PrometheusValue::Unknown(value) => add("", value),
                PrometheusValue::Counter(counter) => add("", &counter.value),
                PrometheusValue::Histogram(HistogramValue { sum, count, buckets, .. }) => {
                    add("_sum", sum.as_ref().unwrap());
                    add("_count", &MetricNumber::Int(count.unwrap() as i64));
                    buckets.iter().for_each(|bucket| add("_bucket", &bucket.count));
                }
                PrometheusValue::Summary(_) => panic!("there are no summaries"),
            }
        }
    }
    samples
}

fn value(samples: &[(String, Labels, f64)], name: &str, of: &str) -> Option<f64> {
    let is_it = |labels: &Labels| labels.get("name").is_some_and(|name| name == of) && !labels.contains_key("lane");
    samples.iter().find(|(found, labels, _)| found == name && is_it(labels)).map(|(_, _, value)| *value)
}

#[test]
fn both_formats_are_read_by_others_and_say_the_same() {
    let scene = busy();
    let metrics = scene.metrics();
    let text = metrics.text(Format::OpenMetrics);
    assert_eq!(text.matches("# UNIT laneway_mailbox_delivery_seconds seconds\n").count(), 1);
    let openmetrics = openmetrics(&text);
    let samples = samples(&metrics.text(Format::Prometheus));
    for (name, of, expected) in [
        ("laneway_messages_sent_total", "steps", 1.0),
        ("laneway_messages_waiting", "steps", 1.0),
        ("laneway_receiver_attached", "steps", 0.0),
        ("laneway_messages_sent_total", "backend", 3.0),
        ("laneway_receiver_attaches_total", "backend", 1.0),
        ("laneway_mailbox_acked_total", "backend", 2.0),
        ("laneway_mailbox_handed_out_total", "backend", 2.0),
        ("laneway_readable", "steps", 1.0),
        ("laneway_readable", "broken", 0.0),
    ] {
        assert_eq!(value(&samples, name, of), Some(expected), "{name} of {of}");
    }
    assert_eq!(value(&samples, "laneway_messages_sent_total", "broken"), None);
    for family in openmetrics.families.values() {
        assert!(!family.help.is_empty() && family.family_name.starts_with("laneway_"), "{family:?}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| family.family_name.ends_with(&format!("_{unit}")));
        let unit = unit.filter(|_| family.family_type != OpenMetricsType::Histogram);
        assert_eq!(family.unit, unit.unwrap_or_default(), "{}", family.family_name);
        let suffix = if family.family_type == OpenMetricsType::Counter { "_total" } else { "" };
        let classic = format!("{}{suffix}", family.family_name);
        let is_there = samples.iter().any(|(name, ..)| name.starts_with(&classic));
        assert!(is_there, "{classic} is not in the older format");
    }
    assert!(openmetrics.families.len() > 45, "{}", openmetrics.families.len());
}

#[test]
fn what_has_no_receiver_has_no_age_of_what_is_not_there() {
    let scene = scene();
    Queue::create(scene.queues.join("steps")).unwrap();
    let samples = samples(&scene.metrics().text(Format::Prometheus));
    assert_eq!(value(&samples, "laneway_oldest_message_seconds", "steps"), None);
    assert_eq!(value(&samples, "laneway_messages_waiting", "steps"), Some(0.0));
}

#[test]
fn times_to_the_first_handing_out_are_a_histogram_whose_sum_is_exact() {
    let scene = busy();
    let stats = scene.post.mailbox("backend").unwrap().stats().unwrap();
    let exposition = openmetrics(&scene.metrics().text(Format::OpenMetrics));
    let family = &exposition.families["laneway_mailbox_delivery_seconds"];
    let sample = family.iter_samples().next().unwrap();
    let OpenMetricsValue::Histogram(histogram) = &sample.value else { panic!("{sample:?}") };
    assert_eq!(histogram.count, Some(2));
    let sum = histogram.sum.as_ref().unwrap().as_f64();
    assert!((sum - stats.delivery.sum().as_secs_f64()).abs() < 1e-9 && sum > 0.0, "{sum}");
    // Two messages took both of their times together: neither took longer, and one at least half of it.
    let bounds: Vec<f64> = histogram.buckets.iter().map(|bucket| bucket.upper_bound).collect();
    for bucket in &histogram.buckets {
        let (bound, count) = (bucket.upper_bound, bucket.count.as_f64());
        assert!(bound < sum / 2.0 || count >= 1.0, "{bucket:?}");
        assert!(bound <= sum || count == 2.0, "{bucket:?}");
        if bound.is_finite() {
            assert_eq!(count, stats.delivery.below(Duration::from_secs_f64(bound)) as f64, "{bucket:?}");
        }
    }
    assert!(bounds.is_sorted() && bounds.len() == 19 && bounds[18] == f64::INFINITY, "{bounds:?}");
}

#[test]
fn names_come_through_whatever_is_in_them() {
    let scene = scene();
    let names = ["say \"hi\"", "back\\slash\\n", "grün — 邮箱 🐌", "a,b={c}", "# EOF", "'", " spaced "];
    for name in names {
        Queue::create(scene.queues.join(name)).unwrap();
    }
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = scene.metrics().text(format);
        let mut found: BTreeSet<String> = BTreeSet::new();
        match format {
            Format::Prometheus => {
                found.extend(samples(&text).into_iter().filter_map(|(_, mut labels, _)| labels.remove("name")));
            }
            Format::OpenMetrics => {
                let exposition = openmetrics(&text);
                for sample in exposition.families["laneway_readable"].iter_samples() {
                    found.extend(sample.get_labelset().unwrap().get_label_value("name").map(str::to_owned));
                }
            }
        }
        assert_eq!(found, names.map(str::to_owned).into(), "{text}");
    }
}

#[test]
fn promtool_has_nothing_to_complain_about() {
    let scene = busy();
    let check = |text: &str| {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = promtool.spawn().ok()?;
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Some((output.status.success(), said))
    };
    let Some(answer) = check(&scene.metrics().text(Format::Prometheus)) else {
        eprintln!("there is no promtool here (Debian: prometheus); the parsers have read the metrics all the same");
        return;
    };
    assert_eq!(answer, (true, String::new()));
    assert!(!check("laneway_x{ 1\n").unwrap().0, "it would not complain about anything");
}

/// The metrics and labels that an expression asks for.
#[derive(Default)]
struct Asked {
    names: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Asked {
    fn selector(&mut self, selector: &VectorSelector) {
        self.names.extend(selector.name.clone());
        for matcher in &selector.matchers.matchers {
            match matcher.name.as_str() {
                METRIC_NAME => self.names.insert(matcher.value.clone()),
                label => self.labels.insert(label.to_owned()),
            };
        }
    }
}

impl ExprVisitor for Asked {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        let modifier = match expr {
            Expr::VectorSelector(selector) => {
                self.selector(selector);
                None
            }
            // The walk does not go into it.
            Expr::MatrixSelector(matrix) => {
                self.selector(&matrix.vs);
                None
            }
            Expr::Aggregate(aggregate) => aggregate.modifier.as_ref(),
            Expr::Binary(binary) => binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()),
            _ => None,
        };
        self.labels.extend(modifier.into_iter().flat_map(|modifier| modifier.labels().labels.clone()));
        Ok(true)
    }
}

/// Every string below a key of this name.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == key => found.push(text),
            value => texts(value, key, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// What the dashboard does not show: details, and parts of what it does show.
const UNUSED: [&str; 14] = [
    "laneway_build_info",
    "laneway_look_seconds",
    "laneway_receiver_asleep",
    "laneway_mailbox_duplicates_total",
    "laneway_mailbox_malformed_total",
    "laneway_mailbox_rolled_total",
    "laneway_mailbox_messages_waiting_peak",
    // Of lanes there are none unless somebody asks for them.
    "laneway_lane_messages_sent_total",
    "laneway_lane_messages_received_total",
    "laneway_lane_messages_dropped_total",
    "laneway_lane_full_total",
    "laneway_lane_waiting_bytes",
    "laneway_lane_memory_bytes",
    "laneway_lane_sender_attached",
];

#[test]
fn the_dashboard_asks_for_metrics_that_there_are_and_leaves_out_only_what_it_says() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/laneway.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 30, "found only {}: this test has gone blind", expressions.len());
    let mut asked = Asked::default();
    for expression in &expressions {
        // What Grafana puts in before it asks.
        let expression = expression.replace("$__rate_interval", "1m");
        let parsed = promql_parser::parser::parse(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        walk_expr(&mut asked, &parsed).unwrap();
    }
    let mut queries = Vec::new();
    texts(&dashboard, "query", &mut queries);
    for query in queries.iter().filter_map(|query| query.strip_prefix("label_values(")) {
        let (selector, label) = query.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        walk_expr(&mut asked, &promql_parser::parser::parse(selector).unwrap()).unwrap();
        asked.labels.insert(label.to_owned());
    }
    let mut legends = Vec::new();
    texts(&dashboard, "legendFormat", &mut legends);
    for legend in legends {
        let labels = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned());
        asked.labels.extend(labels);
    }

    let text = busy().metrics().text(Format::Prometheus);
    let exposed: BTreeSet<String> = samples(&text).into_iter().map(|(name, ..)| name).collect();
    let labels = BTreeSet::from(["kind", "name", "le"].map(str::to_owned));
    let unknown: Vec<_> = asked.names.difference(&exposed).collect();
    assert!(unknown.is_empty(), "the dashboard asks for {unknown:?}, which there are not");
    let unknown: Vec<_> = asked.labels.difference(&labels).collect();
    assert!(unknown.is_empty(), "the dashboard asks for the labels {unknown:?}, which there are not");
    let left_out: BTreeSet<&str> = exposed.difference(&asked.names).map(String::as_str).collect();
    assert_eq!(left_out, UNUSED.into(), "left out by the dashboard, and said to be");
}
