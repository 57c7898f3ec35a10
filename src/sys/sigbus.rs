//! Surviving a file that is truncated under its mapping.
//!
//! Touching a page that its file no longer has raises SIGBUS, which would let any writer of a file kill its readers. For
//! the ranges that are registered here the handler puts an empty page of our own in the place of the lost one, counts
//! it, and lets the access go on; whoever uses the range asks [`Guard::was_hit`] and reports. Every other SIGBUS goes
//! where it would have gone without us.
#![expect(unsafe_code, reason = "a signal handler")]

use crate::sync::{AtomicU64, Ordering};
use std::sync::Once;

/// How many ranges one process can guard; further ones are mapped without.
const RANGES: usize = 4096;

/// One range, free while `base` is 0. A range is registered before it is used and released after, so the handler finds
/// it whole whenever it can be hit.
struct Range {
    base: AtomicU64,
    len: AtomicU64,
    hits: AtomicU64,
}

static TABLE: [Range; RANGES] =
    [const { Range { base: AtomicU64::new(0), len: AtomicU64::new(0), hits: AtomicU64::new(0) } }; RANGES];

/// Where the action that was installed before ours lies, or 0; leaked, because a handler may run at any time.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// A guarded range; released when dropped, which must be before it is unmapped.
pub(crate) struct Guard(&'static Range);

impl Guard {
    /// Guards `len` bytes at `base`; `None` when there is no place left for another range.
    pub(crate) fn new(base: *const u8, len: usize) -> Option<Guard> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let range = TABLE.iter().find(|range| {
            // ORDERING(guard): the place is ours before anything is written to it.
            range.base.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        // ORDERING(guard): relaxed, both; the Release below publishes them.
        range.len.store(len as u64, Ordering::Relaxed);
        range.hits.store(0, Ordering::Relaxed);
        // ORDERING(guard): the length before the base that makes the handler believe it.
        range.base.store(base as u64, Ordering::Release);
        Some(Guard(range))
    }

    /// Whether a page of the range was lost.
    #[inline(always)]
    pub(crate) fn was_hit(&self) -> bool {
        // ORDERING(guard): relaxed; the handler ran on the thread that touched the page, and the others see it in time.
        self.0.hits.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // ORDERING(guard): our last access before the place is free.
        self.0.base.store(0, Ordering::Release);
    }
}

fn install() {
    // SAFETY: both structures are plain data for which zero is valid; the handler has the signature that SA_SIGINFO
    // asks for and calls nothing but system calls and atomics.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigbus as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let before = Box::into_raw(Box::new(std::mem::zeroed::<libc::sigaction>()));
        libc::sigaction(libc::SIGBUS, std::ptr::null(), before);
        // ORDERING(guard): what was there before, before a handler can look for it.
        BEFORE.store(before as u64, Ordering::Release);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands us a valid siginfo for SIGBUS.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    // Sent by somebody: there is no address, and nothing will be tried again.
    if code <= 0 {
        return pass_on(signal, info, context, true);
    }
    let hit = TABLE.iter().find(|range| {
        // ORDERING(guard): the base vouches for the length.
        let base = range.base.load(Ordering::Acquire);
        // ORDERING(guard): as above.
        base > 1 && address.wrapping_sub(base) < range.len.load(Ordering::Relaxed)
    });
    let replaced = hit.is_some_and(|range| {
        // ORDERING(guard): relaxed; a count.
        range.hits.fetch_add(1, Ordering::Relaxed);
        replace_page(address as usize)
    });
    if !replaced {
        pass_on(signal, info, context, false);
    }
}

/// Puts an empty page where the one at `address` was.
fn replace_page(address: usize) -> bool {
    // SAFETY: the address lies in a mapping that its owner registered with us; replacing a page of it by an anonymous
    // one leaves every access valid. errno belongs to whoever was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let at = (address & !(page - 1)) as *mut libc::c_void;
        let answer = libc::mmap(at, page, access, flags, -1, 0);
        *libc::__errno_location() = errno;
        answer != libc::MAP_FAILED
    }
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, sent: bool) {
    // SAFETY: `BEFORE` is null or points to what `install` leaked; a handler found there is called with what it was
    // installed to be called with.
    unsafe {
        // ORDERING(guard): pairs with `install`.
        let before = BEFORE.load(Ordering::Acquire) as *const libc::sigaction;
        let handler = if before.is_null() { libc::SIG_DFL } else { (*before).sa_sigaction };
        match handler {
            libc::SIG_IGN if sent => {}
            // Back to the default; the access is tried again on return, or the signal raised again, and now it counts.
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
                if sent {
                    libc::raise(signal);
                }
            }
            handler if (*before).sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
