//! The rules of the house, read off the sources: layers, edge names, invariants, and that ARCHITECTURE.md names what
//! there is. Cannot see whether a comment is true.

#[path = "support/orderings.rs"]
mod orderings;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a directory, with their texts.
fn sources(below: &str) -> Vec<(String, String)> {
    fn walk(at: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(below), &mut found);
    found.sort();
    assert!(!found.is_empty());
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn architecture() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// The words that follow `before` and end at `after`.
fn between<'a>(text: &'a str, before: &str, after: char) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
}

#[test]
fn a_module_uses_only_modules_to_its_left() {
    let layers = [
        "error", "sync", "layout", "sys", "region", "segments", "record", "ring", "bell", "epoch", "growth", "log",
        "lane", "ledger", "wait", "queue", "mailbox", "event", "agent", "dump",
    ];
    let mut uses = 0;
    for (file, text) in sources("src") {
        let module = file.strip_prefix("src/").unwrap().split(['/', '.']).next().unwrap();
        if ["lib", "model"].contains(&module) || file.ends_with("tests.rs") {
            continue;
        }
        let own = layers.iter().position(|layer| *layer == module).unwrap_or_else(|| panic!("{file} is in no layer"));
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for used in between(&code, "crate::", ':').map(|used| used.split([';', ',', ' ', ')']).next().unwrap()) {
            if let Some(theirs) = layers.iter().position(|layer| *layer == used) {
                uses += 1;
                assert!(theirs <= own, "{file} uses {used}, which stands to its right");
            }
        }
    }
    assert!(uses > 30, "found only {uses} uses: this test has gone blind");
}

#[test]
fn only_one_module_names_the_atomics_of_std_and_only_sys_calls_the_kernel() {
    for (file, text) in sources("src") {
        assert!(file == "src/sync.rs" || !text.contains("std::sync::atomic"), "{file} goes past src/sync.rs");
        let kernel = ["libc::syscall", "nix::fcntl", "nix::sys", "libc::mmap"];
        let calls = kernel.iter().any(|call| text.contains(call));
        assert!(file.starts_with("src/sys/") || !calls, "{file} calls the kernel itself");
    }
}

#[test]
fn every_edge_is_in_the_table_and_at_both_of_its_ends() {
    let page = architecture();
    let table: BTreeSet<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| edge |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().trim())
        .collect();
    let mut sites: BTreeMap<String, usize> = BTreeMap::new();
    for (_, text) in sources("src") {
        for edges in between(&text, "ORDERING(", ')') {
            edges.split(", ").for_each(|edge| *sites.entry(edge.to_owned()).or_default() += 1);
        }
    }
    sites.remove("edge");
    assert_eq!(table, sites.keys().map(String::as_str).collect());
    // These have one side: an order within one thread, or one that the kernel gives.
    let one_sided = ["terminator", "kernel", "attach", "rung"];
    for (edge, count) in &sites {
        assert!(*count >= 2 || one_sided.contains(&edge.as_str()), "{edge} is named at {count} place");
    }
}

#[test]
fn every_atomic_operation_has_its_reason() {
    let mut found = 0;
    for (file, text) in sources("src") {
        let operations = orderings::find(&file, &text);
        for operation in &operations {
            let number = operation.line + 1;
            assert!(operation.edge.is_some(), "{file}:{number} has no ORDERING: {}", operation.code.trim());
        }
        found += operations.len();
        // What names an ordering and is none of these would be weakened by nobody.
        let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("use ");
        let named = text.lines().take_while(|line| *line != "mod tests {").filter(is_code);
        let strong = ["Acquire", "Release", "AcqRel", "SeqCst"].map(|name| format!("Ordering::{name}"));
        for line in named.filter(|line| strong.iter().any(|strong| line.contains(strong))) {
            let is_known = operations.iter().any(|operation| line.starts_with(operation.code));
            assert!(is_known || file.contains("model"), "{file}: what is this? {}", line.trim());
        }
    }
    assert!(found > 60, "found only {found} operations: this test has gone blind");
}

#[test]
fn every_invariant_that_is_cited_exists() {
    let page = architecture();
    let stated: BTreeSet<&str> = between(&page, "- **I", '*').collect();
    assert_eq!(stated.len(), 9);
    for (file, text) in sources("src") {
        for cited in between(&text, "SAFETY: I", ':').flat_map(|cited| cited.split(['.', ' ', ';']).next()) {
            assert!(stated.contains(cited), "{file} cites I{cited}");
        }
    }
}

#[test]
fn architecture_names_every_file_and_no_other() {
    let page = architecture();
    for (file, _) in sources("src") {
        let name = file.rsplit('/').next().unwrap();
        let is_tests = name.ends_with("tests.rs");
        assert!(is_tests || name == "lib.rs" || page.contains(name), "ARCHITECTURE.md does not name {file}");
    }
    let inside =
        |prefix: &str| between(&page, prefix, '`').map(move |rest| format!("{prefix}{rest}")).collect::<Vec<_>>();
    let named = ["src/", "tests/", "docs/", "benches/", "cli/", "loom-tests/", "verify/", "examples/", ".ci/"];
    let paths: Vec<String> = named.iter().flat_map(|prefix| inside(&format!("`{prefix}"))).collect();
    assert!(paths.len() > 20);
    for path in paths {
        let path = path.trim_start_matches('`');
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
    assert!(page.lines().count() <= 250);
}

#[test]
fn files_stay_short_and_unsafe_stays_where_it_is_expected() {
    let may = [
        "src/sys/",
        "src/region/",
        "src/queue/message.rs",
        "src/queue/claim.rs",
        "src/queue/fuzzed.rs",
        "src/lane/view.rs",
        "src/lane/tests.rs",
        "src/ring/",
        "src/model.rs",
    ];
    for (file, text) in
        ["src", "cli", "examples", "loom-tests", "tests", "verify"].iter().flat_map(|below| sources(below))
    {
        let lines = text.lines().count();
        assert!(lines <= 600, "{file} has {lines} lines");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let is_unsafe = code.filter(|line| line.contains("unsafe {") || line.contains("unsafe fn")).count();
        let expected = may.iter().any(|place| file.starts_with(place)) || is_unsafe == 0;
        assert!(expected || !file.starts_with("src/"), "{file} is unsafe in {is_unsafe} places");
    }
}
