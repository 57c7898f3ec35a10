//! What a worker has done, and how its parent hears of it.

use super::acts::NAMES;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a point belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One victim.
    Solo,
    /// Two, the steps of one among those of the other.
    Pairs,
    /// A victim that recovers what another left.
    Recovery,
    /// A queue that is made or removed.
    Birth,
}

impl Kind {
    pub(super) const ALL: [(Kind, &'static str); 4] = [
        (Kind::Solo, "one victim"),
        (Kind::Pairs, "pairs"),
        (Kind::Recovery, "during recovery"),
        (Kind::Birth, "create and destroy"),
    ];
}

/// Counts by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(super) fn add(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(sum) => *sum += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(super) fn merge(&mut self, other: &Tally) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let lines: String = self.0.iter().map(|(name, count)| format!("{count} {name}\n")).collect();
        Ok(fs::write(path, lines)?)
    }

    pub(super) fn read(path: &Path) -> Result<Tally> {
        let text = fs::read_to_string(path)?;
        let counts = text.lines().map(|line| {
            let (count, name) = line.split_once(' ').context("a line without a count")?;
            Ok((name.to_owned(), count.parse()?))
        });
        Ok(Tally(counts.collect::<Result<_>>()?))
    }

    /// The steps by act, the most first.
    pub(super) fn acts(&self) -> String {
        let mut acts: Vec<_> = NAMES.iter().map(|name| (self.get(&act(name)), name)).collect();
        acts.sort_unstable_by(|one, other| other.cmp(one));
        acts.iter().map(|(count, name)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// The name under which the steps of an act are counted.
pub(super) fn act(name: &str) -> String {
    format!("steps of {name}")
}

/// Numbers that are counted once, also over several workers.
pub(super) fn write_set(numbers: impl Iterator<Item = u64>, path: &Path) -> Result<()> {
    let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    Ok(fs::write(path, bytes)?)
}

pub(super) fn read_set(path: &Path, into: &mut Vec<u64>) -> Result<()> {
    into.extend(fs::read(path)?.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))));
    Ok(())
}

/// How many different numbers there are.
pub(super) fn distinct(mut numbers: Vec<u64>) -> usize {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}
