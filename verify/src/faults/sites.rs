//! Which calls there are to fail, and how.

use super::life::MARK;
use std::collections::BTreeMap;

/// One call: of its name the `index`th since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) index: usize,
    arguments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Error(&'static str),
    Kill,
}

/// Which calls of that name fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Once,
    FromThereOn,
}

const ERRORS: [&str; 8] = ["EINTR", "EAGAIN", "ENOMEM", "ENOSPC", "EMFILE", "EPERM", "ENOSYS", "EACCES"];

/// What a trace holds, from the mark on.
pub(crate) fn parse(trace: &str) -> Vec<Site> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut sites, mut marked) = (Vec::new(), false);
    for line in trace.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let index = counts.entry(name).or_default();
        *index += 1;
        if marked {
            sites.push(Site { name: name.to_owned(), index: *index, arguments: arguments.to_owned() });
        }
        marked |= arguments.contains(MARK);
    }
    sites
}

impl Site {
    /// Whether the call is the library's, and not the allocator's or the end of the process.
    fn is_ours(&self) -> bool {
        !(matches!(self.name.as_str(), "brk" | "mremap" | "exit_group")
            || self.name == "mmap" && self.arguments.contains("MAP_ANONYMOUS"))
    }

    /// Whether it can fail. The kernel closes a descriptor whatever it answers, which an injected error would not do.
    fn can_fail(&self) -> bool {
        self.name != "close"
    }
}

/// Every site with every fault, once; and every name failing from its first site on.
pub(crate) fn cases(sites: &[Site]) -> Vec<(Site, Fault, When)> {
    let ours: Vec<&Site> = sites.iter().filter(|site| site.is_ours()).collect();
    let mut cases = Vec::new();
    let mut seen = BTreeMap::new();
    for site in &ours {
        let first = seen.insert(site.name.as_str(), ()).is_none();
        for error in ERRORS.into_iter().filter(|_| site.can_fail()) {
            cases.push(((*site).clone(), Fault::Error(error), When::Once));
            // The allocator's mappings would fail with it; and what is interrupted for ever is tried for ever.
            let for_ever = error == "EINTR" && site.name != "fallocate";
            if first && site.name != "mmap" && !for_ever {
                cases.push(((*site).clone(), Fault::Error(error), When::FromThereOn));
            }
        }
        cases.push(((*site).clone(), Fault::Kill, When::Once));
    }
    cases
}

/// The argument of strace.
pub(crate) fn inject(site: &Site, fault: Fault, when: When) -> String {
    let Site { name, index, .. } = site;
    let more = if when == When::FromThereOn { "+" } else { "" };
    match fault {
        Fault::Error(error) => format!("inject={name}:error={error}:when={index}{more}"),
        Fault::Kill => format!("inject={name}:signal=SIGKILL:when={index}"),
    }
}

/// Whether the fault came up, by the trace of that call's name. A kill leaves no mark there: it came up if its call did.
pub(crate) fn happened(trace: &str, site: &Site, fault: Fault) -> bool {
    match fault {
        Fault::Error(_) => trace.contains("(INJECTED)"),
        Fault::Kill => trace.matches(&format!("{}(", site.name)).count() >= site.index,
    }
}

pub(crate) fn describe(site: &Site, fault: Fault, when: When) -> String {
    let arguments: String = site.arguments.chars().take(90).collect();
    format!("{} [{}({arguments}]", inject(site, fault, when), site.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_counted_from_the_beginning_and_taken_from_the_mark_on() {
        let trace = format!(
            "12 openat(AT_FDCWD, \"/lib\") = 3\n12 statx(AT_FDCWD, \"{MARK}\") = -1\n12 openat(3, \"queue\") = 4\n\
             12 +++ exited with 0 +++\n12 close(4) = 0\n"
        );
        let sites = parse(&trace);
        let seen: Vec<_> = sites.iter().map(|site| (site.name.as_str(), site.index)).collect();
        assert_eq!(seen, [("openat", 2), ("close", 1)]);
        // Eight errors once and seven from there on, and a kill; and a kill of the close.
        assert_eq!(cases(&sites).len(), 17);
    }

    #[test]
    fn a_fault_happened_when_its_call_came() {
        let site = Site { name: "futex".to_owned(), index: 2, arguments: String::new() };
        let (one, two) = ("7 futex(0x1) = 0\n", "7 futex(0x1) = 0\n7 futex(0x1 <unfinished ...>) = ?\n");
        assert!(!happened(one, &site, Fault::Kill) && happened(two, &site, Fault::Kill));
        let refused = "7 futex(0x1) = -1 ENOSYS (Function not implemented) (INJECTED)\n";
        assert!(!happened(two, &site, Fault::Error("ENOSYS")) && happened(refused, &site, Fault::Error("ENOSYS")));
    }
}
