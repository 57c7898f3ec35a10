//! The one list of what in the sources is an operation on shared words, and what its comment says of it: `tests/tidy.rs`
//! asks that each has a reason, and `verify mutants` weakens each.

/// How far above an operation its reason may stand, lines.
const NEAR: usize = 5;

/// What a line has that orders something, or could.
const OPERATIONS: [&str; 10] = [
    ".load(Ordering",
    ".store(",
    "fetch_add(",
    "compare_exchange(",
    "fence(Ordering",
    "load_acquire(",
    ".light()",
    ".heavy()",
    ".heavy_fence()",
    "membarrier(libc::",
];

/// An operation.
pub(crate) struct Operation<'a> {
    /// Counted from 0.
    pub(crate) line: usize,
    pub(crate) code: &'a str,
    /// What stands in the `ORDERING(...)` above it.
    pub(crate) edge: Option<&'a str>,
}

/// The operations of a file, but for those of its tests and of the models.
pub(crate) fn find<'a>(file: &str, text: &'a str) -> Vec<Operation<'a>> {
    if file.contains("model") || file.ends_with("tests.rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().take_while(|line| *line != "mod tests {").collect();
    let codes = lines.iter().map(|line| line.split("//").next().unwrap_or_default()).enumerate();
    let operations = codes.filter(|(_, code)| is_operation(code)).map(|(line, code)| {
        let near = lines[line.saturating_sub(NEAR)..line].iter().rev();
        let edge = near.filter_map(|line| line.split("ORDERING(").nth(1)?.split(')').next()).next();
        Operation { line, code, edge }
    });
    operations.collect()
}

fn is_operation(code: &str) -> bool {
    let is_other = code.contains("fn ") || code.trim_start().starts_with("use ");
    let is_atomic = |operation: &str| !matches!(operation, ".store(" | "fetch_add(") || code.contains("Ordering::");
    !is_other && OPERATIONS.iter().any(|operation| code.contains(operation) && is_atomic(operation))
}
