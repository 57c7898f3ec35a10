//! Reads a function of generated code: which barriers are on the shortest way through it, and which are anywhere.

use anyhow::{Context, Result};
use std::collections::{BTreeSet, HashMap};

/// A processor whose code can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    X86,
    Arm,
}

/// What an instruction does, as far as anybody asks.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Next,
    /// To a label, always.
    Jump(String),
    /// To a label, or on.
    Branch(String),
    Return,
    /// Anything that leaves the function: the short way does not.
    Away,
}

/// A function, instruction by instruction.
pub(crate) struct Function {
    target: Target,
    code: Vec<String>,
    labels: HashMap<String, usize>,
}

impl Function {
    /// Finds the function whose mangled name contains `name`.
    pub(crate) fn find(target: Target, assembly: &str, name: &str) -> Result<Function> {
        let is_start = |line: &&str| line.ends_with(':') && !line.starts_with(['.', ' ', '\t']) && line.contains(name);
        let start = assembly.lines().position(|line| is_start(&line)).with_context(|| format!("no function {name}"))?;
        let mut function = Function { target, code: Vec::new(), labels: HashMap::new() };
        for line in assembly.lines().skip(start + 1) {
            let line = line.trim();
            if line.starts_with(".Lfunc_end") || line.starts_with(".cfi_endproc") {
                break;
            }
            match line.strip_suffix(':') {
                Some(label) => drop(function.labels.insert(label.to_owned(), function.code.len())),
                None if line.is_empty() || line.starts_with(['.', '#', '/']) => {}
                None => function.code.push(line.to_owned()),
            }
        }
        Ok(function)
    }

    pub(crate) fn len(&self) -> usize {
        self.code.len()
    }

    /// How many instructions are such that can be come to without leaving the function: what stands behind the call of another
    /// belongs to the long way.
    pub(crate) fn count_within(&self, is: impl Fn(Target, &str) -> bool) -> usize {
        let mut open = vec![0];
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            let Some(line) = self.code.get(at).filter(|_| seen.insert(at)) else { continue };
            match step(self.target, line) {
                Step::Return | Step::Away => {}
                Step::Jump(label) => open.extend(self.labels.get(&label)),
                Step::Branch(label) => {
                    open.extend(self.labels.get(&label));
                    open.push(at + 1);
                }
                Step::Next => open.push(at + 1),
            }
        }
        seen.iter().filter(|at| is(self.target, &self.code[**at])).count()
    }

    /// Whether there is a way from the entry to a return that leaves the function nowhere, and passes no full barrier, and
    /// passes in this order an instruction of each kind in `past`.
    pub(crate) fn has_short_way(&self, past: &[fn(Target, &str) -> bool]) -> bool {
        let mut open = vec![(0, 0)];
        let mut seen = BTreeSet::new();
        while let Some((at, passed)) = open.pop() {
            let Some(line) = self.code.get(at).filter(|_| seen.insert((at, passed))) else { continue };
            if is_full_barrier(self.target, line) {
                continue;
            }
            let passed = passed + usize::from(past.get(passed).is_some_and(|is| is(self.target, line)));
            let mut go = |label: &String| open.extend(self.labels.get(label).map(|to| (*to, passed)));
            match step(self.target, line) {
                Step::Return if passed == past.len() => return true,
                Step::Return | Step::Away => {}
                Step::Jump(label) => go(&label),
                Step::Branch(label) => {
                    go(&label);
                    open.push((at + 1, passed));
                }
                Step::Next => open.push((at + 1, passed)),
            }
        }
        false
    }
}

fn step(target: Target, line: &str) -> Step {
    let mnemonic = line.split_whitespace().next().unwrap_or_default();
    let last = line.split([' ', '\t', ',']).next_back().unwrap_or_default().to_owned();
    match (target, mnemonic) {
        (_, "ret" | "retq") => Step::Return,
        (Target::X86, "jmp") if last.starts_with(".L") => Step::Jump(last),
        (Target::X86, "jmp" | "call" | "callq" | "ud2" | "int3") => Step::Away,
        (Target::X86, _) if mnemonic.starts_with('j') => Step::Branch(last),
        (Target::Arm, "b") if last.starts_with(".L") => Step::Jump(last),
        (Target::Arm, "b" | "bl" | "br" | "blr" | "brk" | "udf") => Step::Away,
        (Target::Arm, "cbz" | "cbnz" | "tbz" | "tbnz") => Step::Branch(last),
        (Target::Arm, _) if mnemonic.starts_with("b.") => Step::Branch(last),
        _ => Step::Next,
    }
}

/// An instruction that waits for every store before it.
pub(crate) fn is_full_barrier(target: Target, line: &str) -> bool {
    let words: Vec<&str> = line.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
    match target {
        // An exchange with memory is locked without saying so.
        Target::X86 => words[0] == "mfence" || words[0] == "lock" || words[0].starts_with("xchg") && line.contains('('),
        Target::Arm => {
            words[0] == "dmb" && ["ish", "sy", "osh"].contains(words.get(1).unwrap_or(&"sy")) || words[0] == "dsb"
        }
    }
}

/// A store that everything before it precedes.
pub(crate) fn is_release(target: Target, line: &str) -> bool {
    target == Target::Arm && line.starts_with("stlr")
}

/// A load, or a barrier after one, that precedes everything after it.
pub(crate) fn is_acquire(target: Target, line: &str) -> bool {
    target == Target::Arm && (line.starts_with("lda") || line.starts_with("dmb") && line.ends_with("ishld"))
}

/// The prefetch that follows a commit: where it is passed, a record was committed.
pub(crate) fn is_commit(target: Target, line: &str) -> bool {
    line.starts_with(if target == Target::X86 { "prefetchw" } else { "prfm" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: &str = "\
other:
\tmfence
\tretq
.Lfunc_end0:
_ZN5probe4send17hE:
\t.cfi_startproc
\ttestb\t%al, %al
\tje\t.LBB0_2
\tmfence
.LBB0_2:
\tprefetchw\t(%rax)
\tjne\t.LBB0_3
\tretq
.LBB0_3:
\tjmp\t_ZN4slow
.Lfunc_end1:
";

    const ARM: &str = "\
probe_send:
\tcbz\tx0, .LBB0_2
\tstlr\tx1, [x2]
\tprfm\tpstl1keep, [x2]
\ttbnz\tw3, #0, .LBB0_3
.LBB0_1:
\tmov\tw0, #1
\tret
.LBB0_2:
\tbl\tslow
\tb\t.LBB0_1
.LBB0_3:
\tdmb\tish
\tb\t.LBB0_1
.Lfunc_end0:
";

    fn sends(target: Target, text: &str) -> bool {
        let function = Function::find(target, text, "send").unwrap();
        match target {
            Target::X86 => function.has_short_way(&[is_commit]),
            Target::Arm => function.has_short_way(&[is_release, is_commit]),
        }
    }

    #[test]
    fn a_barrier_that_a_branch_avoids_is_allowed_and_one_on_the_way_is_not() {
        assert!(sends(Target::X86, X86));
        assert!(!sends(Target::X86, &X86.replace("\tje\t.LBB0_2\n", "")));
        assert!(!sends(Target::X86, &X86.replace("\tprefetchw", "\tlock\tincq\t(%rcx)\n\tprefetchw")));
        assert!(!sends(Target::X86, &X86.replace("\tprefetchw", "\txchgq\t%rax, (%rcx)\n\tprefetchw")));
        assert!(sends(Target::Arm, ARM));
        assert!(!sends(Target::Arm, &ARM.replace("\tprfm", "\tdmb\tish\n\tprfm")));
        assert!(sends(Target::Arm, &ARM.replace("\tprfm", "\tdmb\tishst\n\tprfm")));
    }

    #[test]
    fn barriers_are_counted_on_the_ways_within_the_function_and_not_behind_a_call() {
        let count = |text: &str| Function::find(Target::Arm, text, "send").unwrap().count_within(is_full_barrier);
        assert_eq!(count(ARM), 1);
        assert_eq!(count(&ARM.replace("\tbl\tslow\n", "\tbl\tslow\n\tdmb\tish\n")), 1);
        assert_eq!(count(&ARM.replace("\tbl\tslow\n", "\tdmb\tish\n\tbl\tslow\n")), 2);
        assert_eq!(count(&ARM.replace("\tmov\tw0", "\tdmb\tish\n\tmov\tw0")), 2);
    }

    #[test]
    fn a_missing_release_is_seen() {
        assert!(!sends(Target::Arm, &ARM.replace("stlr", "str")));
        assert!(!sends(Target::Arm, &ARM.replace("stlr\tx1, [x2]", "nop").replace("mov\tw0", "stlr\tx1, [x2]")));
    }

    #[test]
    fn a_missing_acquire_is_seen() {
        let recv = "recv:\n\tldr\tx1, [x0]\n\tdmb\tishld\n\tret\n.Lfunc_end0:\n";
        let acquires = |text: &str| Function::find(Target::Arm, text, "recv").unwrap().has_short_way(&[is_acquire]);
        assert!(acquires(recv) && acquires(&recv.replace("ldr\tx1, [x0]\n\tdmb\tishld", "ldar\tx1, [x0]")));
        assert!(!acquires(&recv.replace("\tdmb\tishld\n", "")));
    }
}
