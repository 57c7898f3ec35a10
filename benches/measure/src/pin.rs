//! Which processor does the work.

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fmt;

/// Why a thread could not be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinError {
    processor: usize,
    errno: Errno,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot pin a thread to processor {}: {}", self.processor, self.errno.desc())
    }
}

impl std::error::Error for PinError {}

/// The processors that this thread may use, by number.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|processor| allowed.is_set(*processor).unwrap_or(false)).collect()
}

/// Pins this thread to one processor.
pub fn pin(processor: usize) -> Result<(), PinError> {
    let failed = |errno| PinError { processor, errno };
    let mut set = CpuSet::new();
    set.set(processor).map_err(failed)?;
    sched_setaffinity(Pid::from_raw(0), &set).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_processor() {
        std::thread::spawn(|| {
            let last = *processors().last().expect("this thread runs somewhere");
            pin(last).expect("it was allowed");
            assert_eq!(processors(), [last]);
        })
        .join()
        .expect("it ends");
    }

    #[test]
    fn a_processor_that_is_not_there_is_an_error_that_names_it() {
        let message = pin(CpuSet::count() - 1).expect_err("there are not so many").to_string();
        assert!(message.contains(&format!("processor {}", CpuSet::count() - 1)), "{message}");
    }
}
