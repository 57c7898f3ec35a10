//! Who holds which lock, and how that process is doing. The kernel does not say it of a lock on an open file description; but it says of
//! each descriptor of a process which locks it has.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) command: String,
    pub(super) state: State,
}

/// How a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It runs, or could.
    Well,
    /// By a signal, or by a debugger.
    Stopped,
    /// With its control group.
    Frozen,
    /// It waits in the kernel, for something that nothing interrupts.
    Uninterruptible,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// Who holds the locks of queues, on this host, as far as it can be seen.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_file: BTreeMap<(u64, u64), Vec<Process>>,
    /// Processes that we may not look into.
    pub(super) unseen: usize,
}

impl Holders {
    /// Looks into all processes.
    pub(super) fn scan() -> Holders {
        let mut holders = Holders::default();
        let Ok(processes) = fs::read_dir("/proc") else { return holders };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(descriptors) => {
                    for descriptor in descriptors.flatten() {
                        holders.look(pid, &descriptor.path());
                    }
                }
                // One that has ended meanwhile holds nothing.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => holders.unseen += 1,
                Err(_) => {}
            }
        }
        holders
    }

    fn look(&mut self, pid: u32, descriptor: &Path) {
        let Some(number) = descriptor.file_name().and_then(|name| name.to_str()) else { return };
        // Most descriptors are something else: one system call tells.
        let Ok(target) = fs::read_link(descriptor) else { return };
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(".lock") {
            return;
        }
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        if !info.lines().any(is_held) {
            return;
        }
        let Ok(file) = fs::metadata(descriptor) else { return };
        let holders = self.by_file.entry((file.dev(), file.ino())).or_default();
        if holders.iter().all(|process| process.pid != pid) {
            holders.extend(process(pid));
        }
    }

    /// Who holds the lock in this file. None when nobody does, or nobody who can be seen.
    pub(super) fn of(&self, file: &Path) -> &[Process] {
        let file = fs::metadata(file).ok();
        let found = file.and_then(|file| self.by_file.get(&(file.dev(), file.ino())));
        found.map_or(&[], Vec::as_slice)
    }

    /// Whether a lock is held in any file of a directory.
    pub(super) fn any_in(&self, directory: &Path) -> bool {
        let Ok(entries) = fs::read_dir(directory) else { return false };
        entries.flatten().any(|entry| !self.of(&entry.path()).is_empty())
    }
}

/// `lock:  1: OFDLCK ADVISORY  WRITE -1 00:1b:4711 0 EOF`.
fn is_held(line: &str) -> bool {
    line.starts_with("lock:") && line.contains(" OFDLCK ") && line.contains(" WRITE ") && !line.contains("->")
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (command, letter) = command_and_state(&stat)?;
    let state = match letter {
        'T' | 't' => State::Stopped,
        _ if is_frozen(pid) => State::Frozen,
        'D' => State::Uninterruptible,
        _ => State::Well,
    };
    Some(Process { pid, command, state })
}

/// `4711 (any (name)) S …`: the name may contain what stands around it.
fn command_and_state(stat: &str) -> Option<(String, char)> {
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let command: String = stat.get(begin + 1..end)?.chars().filter(|c| !c.is_control()).collect();
    Some((command, stat.get(end + 1..)?.trim_start().chars().next()?))
}

/// Whether its control group is frozen, as a container that is paused.
fn is_frozen(pid: u32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().any(|line| {
        let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
            return false;
        };
        match controllers {
            "" => fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.events"))
                .is_ok_and(|events| events.lines().any(|line| line == "frozen 1")),
            "freezer" => fs::read_to_string(format!("/sys/fs/cgroup/freezer{path}/freezer.state"))
                .is_ok_and(|state| state.trim() == "FROZEN"),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_what_stands_around_it() {
        assert_eq!(command_and_state("12 (a) S (b) T 1 2"), Some(("a) S (b".to_owned(), 'T')));
        assert_eq!(command_and_state("12 (cat) S 1"), Some(("cat".to_owned(), 'S')));
        assert_eq!(command_and_state("12 )("), None);
        assert_eq!(command_and_state(""), None);
    }

    #[test]
    fn only_a_lock_that_is_held_counts() {
        assert!(is_held("lock:\t1: OFDLCK ADVISORY  WRITE -1 00:1b:4711 0 EOF"));
        assert!(!is_held("lock:\t1: -> OFDLCK ADVISORY  WRITE -1 00:1b:4711 0 EOF"));
        assert!(!is_held("lock:\t1: POSIX  ADVISORY  WRITE 12 00:1b:4711 0 EOF"));
        assert!(!is_held("flags:\t0100002"));
    }
}
