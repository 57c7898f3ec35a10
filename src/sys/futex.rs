//! Sleeping on a shared word, and waking who sleeps on it. Across processes, so never `FUTEX_PRIVATE_FLAG`.
#![expect(unsafe_code, reason = "system calls without a wrapper")]

use crate::sync::AtomicU32;
use crate::sys::host;
use std::time::Duration;

/// The most words that [`wait_any`] takes (`FUTEX_WAITV_MAX`).
pub(crate) const MOST_WORDS: usize = 128;

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

/// Why [`wait_any`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitAny {
    /// A word was woken or changed, a signal came, or the limit passed: the caller looks again in any case.
    Returned,
    /// This kernel has no such call, or somebody forbids it: it will be so the next time.
    Refused,
    /// One of the words is not there, or the kernel has no memory: the caller looks again a little later.
    Failed,
}

/// What `futex_waitv` takes for each word; the libc crate does not name it.
#[repr(C)]
struct Word {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// A word of 32 bits, and not private to the process: `FUTEX2_SIZE_U32`.
const SIZE_U32: u32 = 2;

/// Sleeps while each word is as expected, for `limit` at most if there is one. At most [`MOST_WORDS`]. Linux 5.16.
pub(crate) fn wait_any<'a>(words: impl Iterator<Item = (&'a AtomicU32, u32)>, limit: Option<Duration>) -> WaitAny {
    let words: Vec<Word> = words
        .map(|(word, expected)| Word {
            value: expected.into(),
            address: word.as_ptr().addr() as u64,
            flags: SIZE_U32,
            reserved: 0,
        })
        .collect();
    let until = limit.map(|limit| {
        let until = host::monotonic_ns().saturating_add(limit.as_nanos().min(u128::from(u64::MAX)) as u64);
        libc::timespec { tv_sec: (until / 1_000_000_000) as libc::time_t, tv_nsec: (until % 1_000_000_000) as _ }
    });
    let until = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all that is pointed to lives until the call returns; the kernel only reads it.
    let answer = unsafe {
        libc::syscall(libc::SYS_futex_waitv, words.as_ptr(), words.len(), 0u32, until, libc::CLOCK_MONOTONIC)
    };
    if answer >= 0 {
        return WaitAny::Returned;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINTR) => WaitAny::Returned,
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => WaitAny::Refused,
        _ => WaitAny::Failed,
    }
}

/// Whether this kernel has [`wait_any`], and lets us use it.
pub(crate) fn can_wait_any() -> bool {
    // None at all is an error of another kind.
    wait_any(std::iter::empty(), Some(Duration::ZERO)) != WaitAny::Refused
}

/// Wakes everybody who sleeps on `word`: waking one could wake the wrong one.
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: `word` is a live, aligned u32; the kernel uses only its address.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX);
    }
}
