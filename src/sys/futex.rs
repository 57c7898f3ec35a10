//! Sleeping on a shared word, and waking who sleeps on it. Across processes, so never `FUTEX_PRIVATE_FLAG`.
#![expect(unsafe_code, reason = "system calls without a wrapper")]

use crate::sync::AtomicU32;
use std::time::Duration;

/// Why [`wait`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Somebody woke us, or a signal did, or nobody: the caller looks again in any case.
    Woken,
    /// The word was not the expected one; we did not sleep.
    Changed,
    /// The limit passed.
    Expired,
}

/// Sleeps while `*word == expected`, at most for `limit`. The word may lie on a read-only page.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) -> Wait {
    let limit_without_futex = limit.min(Duration::from_millis(1));
    let limit = libc::timespec {
        tv_sec: limit.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: limit.subsec_nanos() as _,
    };
    let no_word = std::ptr::null::<u32>();
    // SAFETY: `word` is a live, aligned u32 and `limit` a live timespec; the kernel only reads them.
    let answer = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const limit, no_word, 0u32)
    };
    if answer == 0 {
        return Wait::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Wait::Changed,
        Some(libc::ETIMEDOUT) => Wait::Expired,
        Some(libc::EINTR) => Wait::Woken,
        // A kernel that refuses: look again now and then instead of all the time.
        _ => {
            std::thread::sleep(limit_without_futex);
            Wait::Woken
        }
    }
}

/// Wakes everybody who sleeps on `word`: waking one could wake the wrong one.
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: `word` is a live, aligned u32; the kernel uses only its address.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}
