//! How urgent a sender's mail is: its names, and its word in a lane's header.

use std::fmt;
use std::str::FromStr;

/// How urgent a sender's mail is. Fixed when the sender attaches, because each lane has one priority for good.
///
/// Mail of one sender comes in order; mail that is more urgent overtakes what other senders sent before:
///
/// - **Urgent** mail is delivered by the very next `recv`, whatever else waits. (The receiver looks at up to eight urgent
///   lanes that have long been idle each time, besides all that have not; where there are more, some `recv`s later.)
/// - While **Urgent** and **Normal** never run dry, **Low** gets at least a 16th of what they get, in bytes, one message
///   at a time; so does Normal of what Urgent gets. It counts from the first 16 KiB for which there was something that
///   could have been delivered instead.
/// - What that costs: between two urgent messages there is at most one message of Normal and one of Low, or, where they are
///   smaller than a 16th of the urgent message before them, as many as make up that 16th. An urgent message before which
///   there was not much urgent mail waits for none.
/// - Within a priority lanes take turns of 16 KiB.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let queue = laneway::Queue::create(dir.path().join("agent"))?;
/// use laneway::Priority;
/// queue.sender()?.send(b"read the next file")?;
/// queue.sender_options().priority(Priority::Urgent).attach()?.send(b"stop")?;
/// let mail = queue.receiver()?;
/// assert_eq!(mail.recv()?.to_vec(), b"stop");
/// assert_eq!(mail.recv()?.priority(), Priority::Normal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Overtakes everything else, and finds a lane when ordinary senders hold all of theirs.
    Urgent,
    /// What a sender has that asks for nothing else.
    #[default]
    Normal,
    /// For what can wait.
    Low,
}

/// All, the most urgent first: `ALL[i] as usize == i`.
const ALL: [Priority; 3] = [Priority::Urgent, Priority::Normal, Priority::Low];

impl Priority {
    /// The word that stands for it in a lane's header. Normal is 0, as in lanes from before there were others.
    pub(super) fn word(self) -> u32 {
        match self {
            Priority::Normal => 0,
            Priority::Urgent => 1,
            Priority::Low => 2,
        }
    }

    /// What a header's word stands for.
    pub(super) fn from_word(word: u32) -> Option<Priority> {
        ALL.into_iter().find(|priority| priority.word() == word)
    }

    /// What a word stands for that was found good when the lane was mapped.
    pub(super) fn of(word: u32) -> Priority {
        Self::from_word(word).unwrap_or_default()
    }

    fn name(self) -> &'static str {
        match self {
            Priority::Urgent => "urgent",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a [`Priority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPriority;

impl fmt::Display for NotAPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a priority is one of `urgent`, `normal` and `low`")
    }
}

impl std::error::Error for NotAPriority {}

impl FromStr for Priority {
    type Err = NotAPriority;

    fn from_str(text: &str) -> Result<Priority, NotAPriority> {
        ALL.into_iter().find(|priority| priority.name() == text).ok_or(NotAPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_lead_back_and_urgent_comes_first() {
        for (at, priority) in ALL.into_iter().enumerate() {
            assert_eq!(priority as usize, at);
            assert_eq!(Priority::from_word(priority.word()), Some(priority));
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        assert!(ALL.is_sorted());
        assert_eq!([0, 1, 2].map(Priority::from_word), [1, 0, 2].map(|at| Some(ALL[at])), "as docs/format.md says");
        assert_eq!(Priority::from_word(3), None);
        assert_eq!("Urgent".parse::<Priority>(), Err(NotAPriority));
    }
}
