//! What the doctor finds.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// Worth knowing.
    Notice,
    /// Something waits, or will go wrong.
    Warning,
    /// Something is broken, or was lost.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Ok => "ok",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked for.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// The queue, the mailbox or the directory.
    pub about: PathBuf,
    /// What was found: a sentence, with its numbers.
    pub what: String,
    /// A command that helps, to be typed; empty where none is needed, or none can help.
    pub remedy: String,
    pub(super) fix: Option<Fix>,
}

/// What the doctor can do without asking: nobody holds what it takes away, and nobody misses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// What killed creators and removers of queues left.
    SweepQueues,
    /// The same of mailboxes.
    SweepPost,
    /// Memory of lanes that nobody holds and that is not needed.
    Trim,
    /// A queue of another boot.
    RemoveQueue,
    /// A mailbox of another boot.
    RemoveMailbox,
}

impl Finding {
    pub(super) fn new(check: Check, severity: Severity, about: &Path, what: impl Into<String>) -> Finding {
        Finding { check, severity, about: about.to_owned(), what: what.into(), remedy: String::new(), fix: None }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: remedy.into(), ..self }
    }

    pub(super) fn fix(self, fix: Fix) -> Finding {
        Finding { fix: Some(fix), ..self }
    }

    /// Whether [`Doctor::fix`](super::Doctor::fix) sees to it.
    pub fn is_fixable(&self) -> bool {
        self.fix.is_some()
    }

    /// Whether something is wrong: a warning or an error.
    pub fn is_wrong(&self) -> bool {
        self.severity >= Severity::Warning
    }
}

/// The checks, each with its name, which stays, and why it matters.
macro_rules! checks {
    ($($check:ident, $id:literal, $why:literal;)*) => {
        /// What the doctor looks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $why] $check,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &[Check] = &[$(Check::$check),*];

            /// Its name, for scripts: it never changes.
            pub fn id(self) -> &'static str {
                match self {
                    $(Check::$check => $id,)*
                }
            }

            /// Why it matters.
            pub fn why(self) -> &'static str {
                match self {
                    $(Check::$check => $why,)*
                }
            }
        }
    };
}

checks! {
    NobodyReceives, "nobody-receives", "What waits is kept, but nobody will deal with it until a receiver comes.";
    ReceiverStopped, "receiver-stopped", "It holds the queue, so nobody else can receive, and it does not go on by itself.";
    ReceiverStuck, "receiver-stuck", "A receiver that is there and takes nothing keeps others from taking its place.";
    SenderStopped, "sender-stopped", "Its lane stays held, and what it was about to send does not come.";
    SenderBlocked, "sender-blocked", "The receiver is behind, and the sender's program stands still until there is room.";
    HolderUnseen, "holder-unseen", "Whether who holds a lock runs or is stopped cannot be told for processes of other users or containers.";
    PoisonedLane, "poisoned-lane", "A lane with damage is retired for good: what its sender sent behind the damage is lost.";
    Damaged, "damaged", "Nobody can open it, and messages that are in it cannot be received.";
    OtherVersion, "other-version", "Programs of different versions of laneway do not share queues.";
    OtherBoot, "other-boot", "A queue lives as long as the host's boot; this one only takes space, and its name.";
    Untrusted, "untrusted", "Somebody else could have written what is in it, so nobody opens it.";
    CannotOpen, "cannot-open", "It could not be looked at, so nothing is known of it.";
    MessagesDropped, "messages-dropped", "Senders threw messages away, or were refused, for want of room or because they came too fast.";
    HighPressure, "high-pressure", "The receiver does not keep up with what is sent.";
    DeadLetters, "dead-letters", "Nobody could deal with these messages, and nobody will until somebody looks at them.";
    IdleMemory, "idle-memory", "Lanes without a sender hold memory that they do not need.";
    FenceMode, "fence-mode", "Each message costs a fence more than it need on this host.";
    Leftovers, "leftovers", "What was half made or half removed when its process was killed takes space, and nobody sees it.";
    Sound, "sound", "It can be looked at, and nothing is wrong with it.";
    Unlisted, "unlisted", "What is in a directory that cannot be read is not known.";
    FileSystem, "file-system", "Queues need coherent mappings, the kernel's own locks, and space that can be reserved.";
    ReadOnly, "read-only", "No message can be sent through files that cannot be written.";
    HugePages, "huge-pages", "With huge pages each file of a queue takes 2 MiB at least, and a lane has three.";
    NoSpace, "no-space", "Without space no sender can come, and no lane can grow.";
    Overcommitted, "overcommitted", "Not all senders can fall back on as much memory as they were promised.";
    NoInodes, "no-inodes", "Each sender's lane takes two files.";
    RootMode, "root-mode", "Who can write in the directory can put queues of his own in the place of others.";
    RemoveIpc, "remove-ipc", "systemd clears /dev/shm of a user's files when the last session of that user ends, queues in use too.";
    RuntimeDirectory, "runtime-directory", "systemd removes the directory, queues and all, when the last session of its user ends.";
    Membarrier, "membarrier", "Without it each message costs a fence more.";
    FutexWaitv, "futex-waitv", "Without it each queue in an event loop costs a thread.";
    IoUring, "io-uring", "laneway does without it; other parts of a program may not.";
    Descriptors, "descriptors", "Each handle takes two or three descriptors, and a program that has none left cannot attach.";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

/// A path as a word of the shell.
pub(super) fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    // What a terminal obeys, and what is not UTF-8, as shells read it.
    if path.to_str().is_none() || text.contains(char::is_control) {
        let bytes = path.as_os_str().as_bytes().iter();
        let text: String = bytes.flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
        return format!("$'{text}'");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A number of bytes, for people.
pub(super) fn bytes(number: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| number >= 1 << shift) {
        Some((shift, unit)) => format!("{:.1} {unit}", number as f64 / (1_u64 << shift) as f64),
        None => format!("{number} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_kebab_case_and_each_its_own() {
        let ids: BTreeSet<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(ids.len(), Check::ALL.len());
        assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c == '-')), "{ids:?}");
    }

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        for (path, expected) in
            [("/a/b-c", "/a/b-c"), ("/a b", "'/a b'"), ("/it's", "'/it'\\''s'"), ("", "''"), ("/$x", "'/$x'")]
        {
            assert_eq!(word(Path::new(path)), expected);
        }
        assert_eq!(word(Path::new("/a\x1b[31m\n'")), "$'/a\\x1b[31m\\n\\''");
        assert_eq!(word(Path::new(std::ffi::OsStr::from_bytes(b"/\xff"))), "$'/\\xff'");
    }
}
