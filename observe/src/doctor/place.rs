//! The directories in which queues and mailboxes lie: the file system, its space, its modes, and what was left there.

use super::finding::{Check, Finding, Fix, Severity, bytes, word};
use super::processes::Holders;
use laneway::{Cause, Host};
use nix::sys::statvfs::{Statvfs, statvfs};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How queues that lie there may still grow.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Growth {
    /// By the lanes that senders hold.
    pub(super) held: u64,
    /// By all lanes that there may be.
    pub(super) possible: u64,
}

/// The directory, or the one above it that there is.
fn existing(directory: &Path) -> PathBuf {
    let ancestors = directory.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
    let found = ancestors.filter_map(|ancestor| fs::canonicalize(ancestor).ok()).next();
    found.unwrap_or_else(|| fs::canonicalize(".").unwrap_or_else(|_| PathBuf::from("/")))
}

/// The file system of a directory, and how much it has left.
pub(super) fn file_system(directory: &Path, growth: Growth, found: &mut Vec<Finding>) {
    let place = existing(directory);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = Mount::of(&mounts, &place);
    let (kind, options) =
        mount.as_ref().map_or(("unknown", String::new()), |mount| (&*mount.kind, mount.options.join(",")));
    let finding = |check, severity, what: String| Finding::new(check, severity, directory, what);
    match Host::file_system(&place) {
        Ok("tmpfs" | "overlay") => {
            found.push(finding(Check::FileSystem, Severity::Ok, format!("it is a {kind}, mounted {options}")));
        }
        Ok(name) => {
            let what = format!("it is {name}, on a disk: what is sent is written there in the background, too");
            found
                .push(finding(Check::FileSystem, Severity::Notice, what).remedy("export LANEWAY_DIR=/dev/shm/laneway"));
        }
        Err(error) => {
            let what = match error.cause() {
                Cause::Filesystem { .. } => format!("it is {kind}, which cannot carry queues: {}", error.cause()),
                cause => cause.to_string(),
            };
            found.push(finding(Check::FileSystem, Severity::Error, what).remedy("export LANEWAY_DIR=/dev/shm/laneway"));
        }
    }
    let Some(mount) = mount else { return };
    let at = word(&mount.point);
    if mount.has("ro") {
        let remedy = format!("mount -o remount,rw {at}");
        found.push(finding(Check::ReadOnly, Severity::Error, "it is mounted read-only".to_owned()).remedy(remedy));
    }
    if let Some(huge) =
        mount.options.iter().find(|option| ["huge=always", "huge=within_size"].contains(&option.as_str()))
    {
        let remedy = format!("mount -o remount,huge=never {at}");
        found.push(finding(Check::HugePages, Severity::Notice, format!("it is mounted with {huge}")).remedy(remedy));
    }
    match statvfs(&place) {
        Ok(space) => left(directory, &space, growth, &at, found),
        Err(error) => found.push(finding(
            Check::FileSystem,
            Severity::Error,
            format!("how much is free cannot be asked: {error}"),
        )),
    }
}

fn left(directory: &Path, space: &Statvfs, growth: Growth, mount: &str, found: &mut Vec<Finding>) {
    let unit = space.fragment_size();
    let (free, size) = (space.blocks_available().saturating_mul(unit), space.blocks().saturating_mul(unit));
    let finding = |check, severity, what: String| Finding::new(check, severity, directory, what);
    // `df` and `mount` name the rest.
    let remedy = format!("df -h {mount}");
    let free_of = format!("{} of {} are free", bytes(free), bytes(size));
    // Of a large disk a twentieth is much.
    let short = (size / 20).min(64 << 20);
    let (check, severity, what) = match free {
        _ if free < (1 << 20) => (Check::NoSpace, Severity::Error, format!("only {free_of}: no sender can come")),
        _ if free < short => (Check::NoSpace, Severity::Warning, format!("only {free_of}")),
        _ if free < growth.held => {
            let growth = bytes(growth.held);
            (
                Check::Overcommitted,
                Severity::Warning,
                format!("{free_of}, and the lanes that senders hold may grow by {growth}"),
            )
        }
        _ if free < growth.possible => {
            let growth = bytes(growth.possible);
            (
                Check::Overcommitted,
                Severity::Notice,
                format!("{free_of}, and the queues may grow by {growth} with all their lanes"),
            )
        }
        _ => (Check::NoSpace, Severity::Ok, free_of),
    };
    let remedy = if severity == Severity::Ok { String::new() } else { remedy };
    found.push(finding(check, severity, what).remedy(remedy));
    // Some file systems have as many as there is room for, and say 0 of 0.
    let (inodes, all) = (space.files_available(), space.files());
    if all > 0 && inodes < 256 {
        let severity = if inodes < 4 { Severity::Error } else { Severity::Warning };
        let what = format!("{inodes} of {all} inodes are free");
        found.push(finding(Check::NoInodes, severity, what).remedy(format!("df -i {mount}")));
    }
}

/// Who may write in it.
pub(super) fn mode(directory: &Path, found: &mut Vec<Finding>) {
    let Ok(stat) = fs::metadata(directory) else { return };
    let (owner, me, mode) = (stat.uid(), geteuid().as_raw(), stat.mode() & 0o7777);
    let finding = |severity, what: String| Finding::new(Check::RootMode, severity, directory, what);
    let remedy = format!("chmod go-w {}", word(directory));
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        found.push(finding(Severity::Error, format!("its mode {mode:04o} lets others write in it")).remedy(remedy));
    } else if mode & 0o022 != 0 {
        let what = format!("its mode {mode:04o} lets others put queues beside yours");
        found.push(finding(Severity::Notice, what));
    } else if owner != me && owner != 0 {
        found.push(finding(Severity::Warning, format!("it belongs to user {owner}, and this is user {me}")));
    }
}

/// What killed processes left in a directory of queues.
pub(super) fn leftover_queues(directory: &Path, holders: &Holders, found: &mut Vec<Finding>) {
    let hidden =
        hidden(directory, |name| name.strip_prefix(".laneway-").is_some_and(|rest| rest.len() == 16 && is_hex(rest)));
    // Who still builds holds a lock in it.
    let left = hidden.iter().filter(|path| !holders.any_in(path)).count();
    leftovers(directory, left, "queues", Fix::SweepQueues, found);
}

/// The same, of mailboxes.
pub(super) fn leftover_mailboxes(post: &Path, found: &mut Vec<Finding>) {
    let left = hidden(post, |name| name.starts_with(".laneway-mail-")).len();
    leftovers(post, left, "mailboxes", Fix::SweepPost, found);
}

fn leftovers(directory: &Path, left: usize, of: &str, fix: Fix, found: &mut Vec<Finding>) {
    if left > 0 {
        let what = format!("{left} hidden directories of {of} that were half made or half removed");
        let finding = Finding::new(Check::Leftovers, Severity::Warning, directory, what);
        found.push(finding.remedy("laneway doctor --fix").fix(fix));
    }
}

fn hidden(directory: &Path, is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    // A link of such a name is nobody's leftover.
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let named = directories.filter(|entry| entry.file_name().to_str().is_some_and(&is_one));
    named.map(|entry| entry.path()).collect()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A line of `mountinfo`.
struct Mount {
    point: PathBuf,
    kind: String,
    options: Vec<String>,
}

impl Mount {
    /// The mount that a directory lies in: of those above it the lowest, and of those at one place the last.
    fn of(mounts: &str, place: &Path) -> Option<Mount> {
        let above = mounts.lines().filter_map(Mount::read).filter(|mount| place.starts_with(&mount.point));
        above.max_by_key(|mount| mount.point.components().count())
    }

    /// `36 35 98:0 /root /point options [tags …] - kind source options`.
    fn read(line: &str) -> Option<Mount> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(4);
        let point = unescaped(mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, _source) = (file_system.next()?.to_owned(), file_system.next()?);
        let options = [mount.next()?, file_system.next().unwrap_or_default()];
        let options = options.iter().flat_map(|options| options.split(',')).map(str::to_owned).collect();
        Some(Mount { point: PathBuf::from(OsString::from_vec(point)), kind, options })
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}

/// The kernel writes a space as `\040`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[3..]).1,
            None => (bytes.push(*first), rest = behind).1,
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_mount_is_the_one_and_of_two_at_one_place_the_last() {
        let mounts = "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
                      2 1 0:24 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw,size=1024k\n\
                      3 1 0:25 / /mnt/with\\040space ro - nfs4 host:/x rw,vers=4\n\
                      4 1 0:26 / /dev/shm rw - tmpfs none rw,huge=always\nnonsense\n";
        let of = |path: &str| Mount::of(mounts, Path::new(path)).unwrap();
        assert_eq!(of("/home").kind, "ext4");
        assert!(of("/dev/shm/laneway-0").has("huge=always"));
        let space = of("/mnt/with space/x");
        assert!(space.kind == "nfs4" && space.has("ro"));
        assert_eq!(of("/dev/shmx").point, Path::new("/"));
    }

    #[test]
    fn how_much_is_left_is_weighed_against_what_may_come() {
        // This file system's own numbers: what is asked for is more, or less.
        let space = statvfs("/").unwrap();
        let free = space.blocks_available() * space.fragment_size();
        let judge = |held, possible| {
            let mut found = Vec::new();
            left(Path::new("/"), &space, Growth { held, possible }, "/", &mut found);
            (found[0].check, found[0].severity)
        };
        if judge(0, 0) != (Check::NoSpace, Severity::Ok) {
            eprintln!("the disk is nearly full");
            return;
        }
        assert_eq!(judge(0, free * 2), (Check::Overcommitted, Severity::Notice));
        assert_eq!(judge(free * 2, free * 2), (Check::Overcommitted, Severity::Warning));
    }
}
