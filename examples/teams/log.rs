//! Lines of JSON on standard error.

use serde_json::{Value, json};

/// Says what happened, with the particulars of it.
pub(crate) fn line(level: &str, message: &str, particulars: Value) {
    let mut line = json!({ "level": level, "context": "async-queue", "message": message });
    if let (Value::Object(line), Value::Object(particulars)) = (&mut line, particulars) {
        line.extend(particulars);
    }
    eprintln!("{line}");
}
