//! What callgrind wrote: the calls of a function and the instructions in it and in what it called, for each part of a run.
//! The format is described in valgrind's manual; here names and positions are not compressed.

use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Of one function in one part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) calls: u64,
    pub(super) instructions: u64,
}

/// For each part, the functions whose names begin with `prefix`, without it.
pub(super) fn parts(text: &str, prefix: &str) -> Result<Vec<BTreeMap<String, Cost>>> {
    let mut parts: Vec<BTreeMap<String, Cost>> = Vec::new();
    let (mut inside, mut called) = (None, None);
    for line in text.lines() {
        if line.starts_with("part: ") {
            parts.push(BTreeMap::new());
            (inside, called) = (None, None);
        }
        let Some(part) = parts.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("fn=") {
            inside = name.strip_prefix(prefix);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name.strip_prefix(prefix);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if let Some(name) = called {
                let calls: u64 = calls.split(' ').next().unwrap_or_default().parse().context(line.to_owned())?;
                part.entry(name.to_owned()).or_default().calls += calls;
            }
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            // A line of the source and what it took: itself, or all calls from it after `calls=`.
            if let Some(name) = inside {
                let (_, cost) = line.split_once(' ').with_context(|| line.to_owned())?;
                let cost: u64 = cost.parse().with_context(|| line.to_owned())?;
                part.entry(name.to_owned()).or_default().instructions += cost;
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_PARTS: &str = "\
version: 1
part: 1
events: Ir
fl=a.rs
fn=program::operation::send
20 30
fi=b.rs
7 12
cfi=c.rs
cfn=library::copy
calls=3 40
8 9

fn=program::main
3 6
cfn=program::operation::send
calls=2 20
4 51
calls=1 20
5 51
part: 2
fn=program::main
3 6
";

    #[test]
    fn a_function_costs_what_it_takes_and_what_it_calls() {
        let parts = parts(TWO_PARTS, "program::operation::").unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0], BTreeMap::from([("send".to_owned(), Cost { calls: 3, instructions: 51 })]));
        assert!(parts[1].is_empty());
    }

    #[test]
    fn a_line_that_is_no_cost_is_an_error() {
        assert!(parts("part: 1\nfn=x\n20\n", "x").is_err());
        assert!(parts("part: 1\nfn=x\n20 many\n", "x").is_err());
    }
}
