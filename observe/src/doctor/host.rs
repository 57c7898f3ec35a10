//! The host: what the kernel allows, and what systemd may clear away.

use super::finding::{Check, Finding, Severity};
use laneway::Host;
use laneway::layout::FenceMode;
use nix::unistd::{User, geteuid};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the kernel has for queues, and what it allows this user: so many open files, and to raise that to so many.
pub(super) fn kernel(files: Option<(u64, u64)>, found: &mut Vec<Finding>) {
    let host = Host::probe();
    let about = Path::new("/proc/sys/kernel");
    found.push(match host.fence_mode {
        FenceMode::Asymmetric => Finding::new(Check::Membarrier, Severity::Ok, about, "there is membarrier"),
        FenceMode::Symmetric => {
            let what = "there is no membarrier, or it is forbidden here: queues that are created now do without";
            Finding::new(Check::Membarrier, Severity::Notice, about, what)
        }
    });
    found.push(match host.futex_waitv {
        true => Finding::new(Check::FutexWaitv, Severity::Ok, about, "there is futex_waitv"),
        false => {
            let what = "there is no futex_waitv (Linux 5.16), or it is forbidden here";
            Finding::new(Check::FutexWaitv, Severity::Notice, about, what)
        }
    });
    let switch = fs::read_to_string(about.join("io_uring_disabled")).unwrap_or_default();
    let what = match switch.trim() {
        "0" => "io_uring is allowed",
        "1" => "io_uring is allowed to members of a group (io_uring_group)",
        "2" => "io_uring is forbidden",
        _ => "this kernel has no switch for io_uring",
    };
    found.push(Finding::new(Check::IoUring, Severity::Ok, about, what));
    if let Some((soft, hard)) = files {
        let severity = if soft < 1024 { Severity::Notice } else { Severity::Ok };
        let what = format!("programs started from here may open {soft} files, and raise that to {hard}");
        let remedy = if soft < 1024 { more_files(soft, hard) } else { String::new() };
        found.push(Finding::new(Check::Descriptors, severity, Path::new("/proc/self/limits"), what).remedy(remedy));
    }
}

/// The command that lets programs of a shell have more files open: twice as many at least.
pub(super) fn more_files(soft: u64, hard: u64) -> String {
    let enough = soft.saturating_mul(2);
    let wanted = enough.max(4096);
    if hard >= enough {
        return format!("ulimit -n {}", wanted.min(hard));
    }
    // Only root may go beyond, and do it for the shell.
    match geteuid().is_root() {
        true => format!("ulimit -n {wanted}"),
        false => format!("sudo prlimit --pid $$ --nofile={wanted}"),
    }
}

/// Whether systemd will clear away queues in this directory, when its user leaves.
pub(super) fn sessions(directory: &Path, found: &mut Vec<Finding>) {
    let user = geteuid();
    let name = User::from_uid(user).ok().flatten().map(|user| user.name);
    found.extend(vanishing(directory, Path::new("/"), user.as_raw(), &name.unwrap_or_else(|| user.to_string())));
}

/// The first user who is no part of the system, to systemd.
const FIRST_USER: u32 = 1000;

fn vanishing(directory: &Path, root: &Path, user: u32, name: &str) -> Option<Finding> {
    let runs = root.join("run/systemd/system").is_dir();
    let lingers = root.join("var/lib/systemd/linger").join(name).exists();
    if !runs || lingers {
        return None;
    }
    let remedy = format!("loginctl enable-linger {name}");
    if directory.starts_with(format!("/run/user/{user}")) {
        let what = format!("user {name} does not linger: it goes when the last session ends");
        return Some(Finding::new(Check::RuntimeDirectory, Severity::Notice, directory, what).remedy(remedy));
    }
    if directory.starts_with("/dev/shm") && user >= FIRST_USER && removes_ipc(root) {
        let what = format!("RemoveIPC is on in logind.conf, and user {name} does not linger");
        return Some(Finding::new(Check::RemoveIpc, Severity::Warning, directory, what).remedy(remedy));
    }
    None
}

/// What `logind.conf` and the files beside it say, the last word counting. It is on unless somebody said otherwise.
fn removes_ipc(root: &Path) -> bool {
    let places = ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];
    let mains = places.iter().rev().map(|place| root.join(place).join("logind.conf"));
    // The first that there is hides the others; so does a drop-in those of its name.
    let main = mains.into_iter().find(|path| path.exists());
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for place in places {
        let Ok(entries) = fs::read_dir(root.join(place).join("logind.conf.d")) else { continue };
        let files = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "conf"));
        drop_ins.extend(files.map(|entry| (entry.file_name(), entry.path())));
    }
    let mut answer = true;
    for path in main.into_iter().chain(drop_ins.into_values()) {
        let text = fs::read_to_string(path).unwrap_or_default();
        for value in text.lines().filter_map(|line| line.trim().strip_prefix("RemoveIPC")) {
            let Some(value) = value.trim_start().strip_prefix('=') else { continue };
            answer = !["no", "false", "off", "0", "n", "f"].contains(&value.trim().to_ascii_lowercase().as_str());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn more_files_are_more_than_there_are() {
        for (soft, hard, command) in
            [(48, 1 << 20, "ulimit -n 4096"), (48, 1000, "ulimit -n 1000"), (8192, 1 << 20, "ulimit -n 16384")]
        {
            assert_eq!(more_files(soft, hard), command);
        }
        let beyond = more_files(1000, 1000);
        assert!(beyond.ends_with("-n 4096") || beyond.starts_with("sudo ") && beyond.ends_with("=4096"), "{beyond}");
    }

    #[test]
    fn the_last_word_about_ipc_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(removes_ipc(root), "that is what systemd does by itself");
        write(root, "etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\nRemoveIPC=no\n");
        assert!(!removes_ipc(root));
        write(root, "usr/lib/systemd/logind.conf.d/50-vendor.conf", "[Login]\nRemoveIPC = yes\n");
        assert!(removes_ipc(root), "what stands beside the file counts more");
        write(root, "etc/systemd/logind.conf.d/50-vendor.conf", "");
        assert!(!removes_ipc(root), "one of the same name hides it");
        write(root, "etc/systemd/logind.conf.d/60-ours.conf", "[Login]\nRemoveIPC=1\n");
        assert!(removes_ipc(root));
    }

    #[test]
    fn queues_vanish_with_sessions_only_where_systemd_runs_and_the_user_does_not_linger() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let judge = |directory: &str, user| vanishing(Path::new(directory), root, user, "ada").map(|found| found.check);
        assert_eq!(judge("/dev/shm/laneway-1000", 1000), None, "there is no systemd");
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        assert_eq!(judge("/dev/shm/laneway-1000", 1000), Some(Check::RemoveIpc));
        assert_eq!(judge("/dev/shm/laneway-0", 0), None, "users of the system are spared");
        assert_eq!(judge("/run/user/1000/laneway", 1000), Some(Check::RuntimeDirectory));
        assert_eq!(judge("/var/tmp/queues", 1000), None);
        write(root, "var/lib/systemd/linger/ada", "");
        assert_eq!(judge("/dev/shm/laneway-1000", 1000), None);
        assert_eq!(judge("/run/user/1000/laneway", 1000), None);
    }
}
