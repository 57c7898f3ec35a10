//! Where an ordering stands in the sources, and the same sources with a switch at each.

#[path = "../../../tests/support/orderings.rs"]
mod orderings;

use super::swaps::{SWAPS, Swap};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One ordering or fence.
#[derive(Debug)]
pub(crate) struct Site {
    /// From the root of the workspace.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The name in the comment `ORDERING(name)` above it.
    pub(crate) edge: String,
    /// The line, without what surrounds it.
    pub(crate) code: String,
    /// Its number in the variable that weakens one.
    pub(crate) number: usize,
}

/// Who can see that a site is weakened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    Loom,
    /// What the models do not compile: these unit tests.
    Miri(&'static str),
    /// What only the kernel does.
    Processor,
}

impl Site {
    /// Where it stands, and what.
    pub(crate) fn place(&self) -> String {
        format!("{}:{} {} `{}`", self.file, self.line, self.edge, self.code)
    }

    pub(crate) fn judge(&self) -> Judge {
        if self.code.contains("membarrier(") {
            return Judge::Processor;
        }
        match self.file.as_str() {
            "src/sys/sigbus.rs" => Judge::Miri("sigbus::tests::the_orderings"),
            "src/region/memory.rs" => Judge::Miri("pair::tests::the_orderings"),
            file if file.starts_with("src/queue/") => Judge::Miri("pair::tests::the_orderings"),
            _ => Judge::Loom,
        }
    }
}

/// The variable that says which site is weakened.
pub(crate) const VARIABLE: &str = "LANEWAY_MUTANT";

/// The library's sources with a switch at each ordering, by their paths, and what has one: all of `src/` but tests and
/// models. Built once, they are every mutant.
pub(crate) fn arm(root: &Path) -> Result<(Vec<Site>, BTreeMap<PathBuf, String>)> {
    let mut sites = Vec::new();
    let mut sources = BTreeMap::new();
    let mut directories = vec![root.join("src")];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    for path in files {
        let file = path.strip_prefix(root)?.to_string_lossy().into_owned();
        let source = fs::read_to_string(&path)?;
        let mut armed = arm_file(&file, &source, &mut sites).with_context(|| file.clone())?;
        match file.as_str() {
            "src/sync.rs" => armed += &format!("\nconst MUTANT: &str = {VARIABLE:?};\n{SYNC}"),
            "src/region/mod.rs" => armed += REGION,
            _ => {}
        }
        sources.insert(path, armed);
    }
    Ok((sites, sources))
}

fn arm_file(file: &str, text: &str, sites: &mut Vec<Site>) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut swapped = Vec::new();
    for operation in orderings::find(file, text) {
        let weak = format!("crate::sync::is_weak({})", sites.len());
        let Some(armed) = with_switch(operation.code, &weak) else { continue };
        let code = operation.code.trim().to_owned();
        lines[operation.line] = armed;
        let line = operation.line + 1;
        let edge = operation.edge.with_context(|| format!("line {line} has no ORDERING: {code}"))?.to_owned();
        let is_meant = |swap: &&Swap| swap.file == file && edge.contains(swap.edge) && code.contains(swap.code);
        swapped.extend(SWAPS.iter().filter(is_meant).map(|swap| (swap, weak.clone())));
        sites.push(Site { file: file.to_owned(), line, edge, code, number: sites.len() });
    }
    let mut armed = lines.join("\n") + "\n";
    let expected = SWAPS.iter().filter(|swap| swap.file == file).count();
    ensure!(swapped.len() == expected, "swaps.rs names {expected} sites, and there are {}", swapped.len());
    for (swap, weak) in swapped {
        armed = swap.apply(&armed, &weak)?;
    }
    Ok(armed)
}

/// What `src/sync.rs` has besides in the copy; `MUTANT` is [`VARIABLE`].
const SYNC: &str = r#"
pub(crate) fn is_weak(site: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<u32>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var(MUTANT).ok()?.parse().ok()) == Some(site)
}

pub(crate) fn unless(weak: bool, ordering: Ordering) -> Ordering {
    if weak { Ordering::Relaxed } else { ordering }
}

#[inline(always)]
pub(crate) fn load_acquire_unless(weak: bool, word: &AtomicU64) -> u64 {
    if weak { word.load(Ordering::Relaxed) } else { load_acquire(word) }
}
"#;

/// And `src/region/mod.rs`.
const REGION: &str = "
impl Peer<crate::sync::AtomicU64> {
    pub(crate) fn load_acquire_unless(&self, weak: bool) -> u64 {
        if weak { self.load() } else { self.load_acquire() }
    }
}
";

const FENCE_CALLS: [&str; 3] = [".light()", ".heavy()", ".heavy_fence()"];

/// A line of code that is weaker where `weak` says so, if it orders anything.
fn with_switch(code: &str, weak: &str) -> Option<String> {
    let statement = code.trim();
    let is_fence = statement.contains("fence(Ordering::") || FENCE_CALLS.iter().any(|call| code.contains(call));
    // A fence whose answer is wanted says yes.
    if let Some((before, after)) = code.split_once("membarrier(libc::") {
        return Some(format!("{before}{weak} || membarrier(libc::{after}"));
    }
    if is_fence {
        return Some(match statement.split_once(" = ") {
            Some((variable, fence)) => format!("{variable} = {weak} || {fence}"),
            None if statement.ends_with(';') => format!("if !{weak} {{ {statement} }}"),
            None => format!("{weak} || {statement}"),
        });
    }
    if code.contains(".load_acquire()") {
        return Some(code.replace(".load_acquire()", &format!(".load_acquire_unless({weak})")));
    }
    if code.contains("load_acquire(") {
        return Some(code.replace("load_acquire(", &format!("crate::sync::load_acquire_unless({weak}, ")));
    }
    let strong = ["AcqRel", "Acquire", "Release", "SeqCst"].map(|name| format!("Ordering::{name}"));
    let found = strong.iter().find(|strong| code.contains(*strong))?;
    Some(code.replacen(found, &format!("crate::sync::unless({weak}, {found})"), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_an_ordering_is_found_and_gets_a_switch() {
        let source = "\
use crate::sync::{Ordering, load_acquire};
fn f() {
    // ORDERING(a): above.
    x.store(1, Ordering::Release);
    // ORDERING(b, c): fence(Ordering::SeqCst) in a comment is none.
    fence(Ordering::Acquire);
    compiler_fence(Ordering::SeqCst);
    // ORDERING(d): as above.
    let v = W(load_acquire(window.word(1)));
    let v = p.load_acquire();
    // ORDERING(dekker): one.
    let ordered = self.fences.heavy();
    self.fences.light();
    x || membarrier(libc::Y)
    // ORDERING(e): relaxed.
    x.store(1, Ordering::Relaxed);
}
mod tests {
    // ORDERING(f): not looked at.
    fence(Ordering::Acquire);
}
";
        let mut sites = Vec::new();
        let armed = arm_file("src/x.rs", source, &mut sites).unwrap().replace("crate::sync::", "");
        let found: Vec<(usize, &str)> = sites.iter().map(|site| (site.line, site.edge.as_str())).collect();
        let expected = [
            (4, "a", "x.store(1, unless(is_weak(0), Ordering::Release));"),
            (6, "b, c", "if !is_weak(1) { fence(Ordering::Acquire); }"),
            (7, "b, c", "if !is_weak(2) { compiler_fence(Ordering::SeqCst); }"),
            (9, "d", "let v = W(load_acquire_unless(is_weak(3), window.word(1)));"),
            (10, "d", "let v = p.load_acquire_unless(is_weak(4));"),
            (12, "dekker", "let ordered = is_weak(5) || self.fences.heavy();"),
            (13, "dekker", "if !is_weak(6) { self.fences.light(); }"),
            (14, "dekker", "x || is_weak(7) || membarrier(libc::Y)"),
        ];
        assert_eq!(found, expected.map(|(line, edge, _)| (line, edge)));
        for (line, _, code) in expected {
            assert_eq!(armed.lines().nth(line - 1).unwrap().trim(), code);
        }
        assert!(armed.contains("    x.store(1, Ordering::Relaxed);"));
    }
}
