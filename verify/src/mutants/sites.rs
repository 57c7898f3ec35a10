//! Where an ordering stands in the sources, and the same source without it.

use anyhow::Result;
use std::fs;
use std::path::Path;

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
    /// The whole file with this one weakened.
    pub(crate) mutant: String,
}

impl Site {
    /// Whether the models do not compile it.
    pub(crate) fn is_beyond_loom(&self) -> bool {
        self.file.starts_with("src/queue/") || self.file.starts_with("src/sys/")
    }
}

/// How far above an operation its reason may stand, lines; as `tests/tidy.rs` has it.
const NEAR: usize = 5;

/// All of `src/` but tests, models, and the handler of a signal.
pub(crate) fn find(root: &Path) -> Result<Vec<Site>> {
    let mut sites = Vec::new();
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
        let is_aside = file.contains("model") || file.ends_with("tests.rs") || file == "src/sys/sigbus.rs";
        if !is_aside {
            sites.extend(find_in(&file, &fs::read_to_string(&path)?));
        }
    }
    Ok(sites)
}

fn find_in(file: &str, text: &str) -> Vec<Site> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.starts_with("mod tests {")).unwrap_or(lines.len());
    let mut sites = Vec::new();
    for (number, line) in lines[..end].iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let Some(weak) = weaken(code) else { continue };
        let near = lines[number.saturating_sub(NEAR)..number].iter().rev();
        let named = near.filter_map(|line| line.split("ORDERING(").nth(1)?.split(')').next()).next();
        // The fences of a bell are an edge of their own, whose reasons stand where they are made.
        let edge = if is_call_of_fence(code) { Some("dekker") } else { named };
        let Some(edge) = edge else { continue };
        let mut mutant = lines.clone();
        mutant[number] = &weak;
        let mut mutant = mutant.join("\n") + "\n";
        if weak.contains("load_relaxed") {
            mutant += LOAD_RELAXED;
        }
        sites.push(Site {
            file: file.to_owned(),
            line: number + 1,
            edge: edge.to_owned(),
            code: code.trim().to_owned(),
            mutant,
        });
    }
    sites
}

/// What takes the place of `load_acquire` in a mutant.
const LOAD_RELAXED: &str = "
#[inline(always)]
fn load_relaxed(word: &crate::sync::AtomicU64) -> u64 {
    word.load(crate::sync::Ordering::Relaxed)
}
";

const FENCE_CALLS: [&str; 3] = [".light()", ".heavy()", ".heavy_fence()"];

fn is_call_of_fence(code: &str) -> bool {
    FENCE_CALLS.iter().any(|call| code.contains(call))
}

/// A line of code without its ordering, if it has one.
fn weaken(code: &str) -> Option<String> {
    let (statement, is_statement) = (code.trim(), code.trim_end().ends_with(';'));
    if statement.starts_with("use ") || statement.contains("fn ") {
        return None;
    }
    if is_call_of_fence(code) {
        // A fence whose answer is wanted says yes.
        return Some(match statement.split_once(" = ") {
            Some((variable, _)) => format!("{variable} = true;"),
            None if is_statement => "();".to_owned(),
            None => "true".to_owned(),
        });
    }
    if statement.contains("fence(Ordering::") && is_statement {
        return Some("();".to_owned());
    }
    if code.contains(".load_acquire()") {
        return Some(code.replace(".load_acquire()", ".load()"));
    }
    if code.contains("load_acquire(") {
        return Some(code.replace("load_acquire(", "load_relaxed("));
    }
    let strong = ["Acquire", "Release", "AcqRel", "SeqCst"].map(|name| format!("Ordering::{name}"));
    let found = strong.iter().find(|strong| code.contains(*strong))?;
    Some(code.replacen(found, "Ordering::Relaxed", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_an_ordering_is_found_and_goes() {
        let source = "\
use crate::sync::{Ordering, load_acquire};
fn f() {
    // ORDERING(a): above.
    x.store(1, Ordering::Release);
    // ORDERING(b, c): fence(Ordering::SeqCst) in a comment is none.
    fence(Ordering::Acquire);
    // ORDERING(d): as above.
    let v = W(load_acquire(window.word(1)));
    let v = p.load_acquire();
    let ordered = self.fences.heavy();
    self.fences.light();
    // ORDERING(e): relaxed.
    x.store(1, Ordering::Relaxed);
}
mod tests {
    // ORDERING(f): not looked at.
    fence(Ordering::Acquire);
}
";
        let sites = find_in("src/x.rs", source);
        let found: Vec<(usize, &str)> = sites.iter().map(|site| (site.line, site.edge.as_str())).collect();
        assert_eq!(found, [(4, "a"), (6, "b, c"), (8, "d"), (9, "d"), (10, "dekker"), (11, "dekker")]);
        let weak: Vec<&str> = sites.iter().map(|site| site.mutant.lines().nth(site.line - 1).unwrap().trim()).collect();
        let expected = [
            "x.store(1, Ordering::Relaxed);",
            "();",
            "let v = W(load_relaxed(window.word(1)));",
            "let v = p.load();",
            "let ordered = true;",
            "();",
        ];
        assert_eq!(weak, expected);
        assert!(sites[2].mutant.contains("fn load_relaxed"));
    }

    #[test]
    fn no_ordering_of_the_library_is_overlooked() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sites = find(root).unwrap();
        assert!(sites.len() >= 30, "{}", sites.len());
        for edge in ["publish", "reclaim", "lapped", "dekker", "sleep", "rung", "close", "attach", "segment", "poison"]
        {
            assert!(sites.iter().any(|site| site.edge.contains(edge)), "{edge}");
        }
    }
}
