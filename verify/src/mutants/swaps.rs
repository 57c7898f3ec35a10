//! What a missing ordering permits and loom does not try.
//!
//! Loom runs each thread in the order of the program, so a load never returns what is stored because of a later store of
//! the same thread (*load buffering*). C11 permits that between relaxed operations on different words, and some processors
//! do it. So here a mutant is the ordering weakened, and the two operations in the order that is permitted then: what loom
//! finds in that program, the weakened one may do.

use anyhow::{Result, ensure};

pub(crate) struct Swap {
    pub(crate) file: &'static str,
    /// The edge it is of.
    pub(crate) edge: &'static str,
    /// The line that is weakened, or so much of it that it is the only one.
    pub(crate) code: &'static str,
    /// What is written instead of what, where `WEAK` says whether the site is weakened; each is there once.
    changes: &'static [(&'static str, &'static str)],
}

pub(crate) const SWAPS: &[Swap] = &[
    // The sleeper's number, loaded after its count was made odd.
    Swap {
        file: "src/bell.rs",
        edge: "sleep",
        code: "self.sleeps.store(count,",
        changes: &[
            ("let seq = self.seq.load();", "let mut seq = self.seq.load();"),
            (
                "self.say_asleep();\n        // ORDERING(dekker): the odd count before the last look.",
                "self.say_asleep(); if WEAK { seq = self.seq.load(); }",
            ),
        ],
    },
    // The number changed before the load that says that somebody sleeps; where it then says that nobody does, the
    // number has changed for nothing, as anybody may change it.
    Swap {
        file: "src/bell.rs",
        edge: "sleep",
        code: "fence(Ordering::Acquire);",
        changes: &[
            (
                "self.rung.set(count);\n        self.change_seq();",
                "self.rung.set(count); if !WEAK { self.change_seq(); }",
            ),
            ("let count = self.sleeps.load();", "if WEAK { self.change_seq(); } let count = self.sleeps.load();"),
        ],
    },
    // The same of those who wait for the ledger: the number loaded after they were counted.
    Swap {
        file: "src/ledger.rs",
        edge: "sleep",
        code: "self.waits.fetch_add(1,",
        changes: &[
            ("let seq = self.bell.load();", "let mut seq = self.bell.load();"),
            (
                "let ordered = self.arm();",
                "let ordered = if WEAK { self.waits.fetch_add(1, Ordering::Relaxed); seq = self.bell.load(); self.fences.heavy() } else { self.arm() };",
            ),
        ],
    },
    // And the number changed before the load that says that somebody waits.
    Swap {
        file: "src/ledger.rs",
        edge: "sleep",
        code: "self.waits.load_acquire()",
        changes: &[
            ("self.bell.fetch_add(1, Ordering::Relaxed);", "if !WEAK { self.bell.fetch_add(1, Ordering::Relaxed); }"),
            ("let counted = ", "if WEAK { self.bell.fetch_add(1, Ordering::Relaxed); } let counted = "),
        ],
    },
];

impl Swap {
    /// The source with both orders in it; `weak` is the expression that chooses.
    pub(crate) fn apply(&self, source: &str, weak: &str) -> Result<String> {
        let mut swapped = source.to_owned();
        for (old, new) in self.changes {
            ensure!(swapped.matches(old).count() == 1, "`{old}` is not in {} once", self.file);
            swapped = swapped.replace(old, &new.replace("WEAK", weak));
        }
        Ok(swapped)
    }
}
