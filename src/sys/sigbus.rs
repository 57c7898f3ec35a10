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
    /// Of all that were registered here.
    hits: AtomicU64,
}

static TABLE: [Range; RANGES] = [const { Range::free() }; RANGES];

/// Where the action that was installed before ours lies, or 0; leaked, because a handler may run at any time.
static BEFORE: AtomicU64 = AtomicU64::new(0);

/// A guarded range; released when dropped, which must be before it is unmapped.
pub(crate) struct Guard {
    range: &'static Range,
    /// Hits of those that were registered here before.
    hits_before: u64,
}

impl Range {
    const fn free() -> Range {
        Range { base: AtomicU64::new(0), len: AtomicU64::new(0), hits: AtomicU64::new(0) }
    }

    /// Takes the first free place of `table`.
    fn register(table: &'static [Range], base: u64, len: u64) -> Option<Guard> {
        let range = table.iter().find(|range| {
            // ORDERING(guard): what became of the last range here, and its hits, before we use the place.
            range.base.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        // ORDERING(guard): relaxed, both; the Release below publishes the one, and the other was acquired.
        range.len.store(len, Ordering::Relaxed);
        let hits_before = range.hits.load(Ordering::Relaxed);
        // ORDERING(guard): the length before the base that makes the handler believe it.
        range.base.store(base, Ordering::Release);
        Some(Guard { range, hits_before })
    }

    /// The range of `table` in which an address lies.
    fn around(table: &'static [Range], address: u64) -> Option<&'static Range> {
        table.iter().find(|range| {
            // ORDERING(guard): the base vouches for the length.
            let base = range.base.load(Ordering::Acquire);
            // ORDERING(guard): as above.
            base > 1 && address.wrapping_sub(base) < range.len.load(Ordering::Relaxed)
        })
    }

    fn count_hit(&self) {
        // ORDERING(guard): relaxed; a count.
        self.hits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Guard {
    /// Guards `len` bytes at `base`; `None` when there is no place left for another range.
    pub(crate) fn new(base: *const u8, len: usize) -> Option<Guard> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        Range::register(&TABLE, base as u64, len as u64)
    }

    /// Whether a page of the range was lost.
    #[inline(always)]
    pub(crate) fn was_hit(&self) -> bool {
        // ORDERING(guard): relaxed; the handler ran on the thread that touched the page, and the others see it in time.
        self.range.hits.load(Ordering::Relaxed) != self.hits_before
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // ORDERING(guard): our hits before the place is free.
        self.range.base.store(0, Ordering::Release);
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
        remember(&BEFORE, before);
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

/// Keeps the action that was there before for [`remembered`].
fn remember(word: &AtomicU64, before: *const libc::sigaction) {
    // ORDERING(guard): the action before the word that leads a handler to it.
    word.store(before.expose_provenance() as u64, Ordering::Release);
}

fn remembered(word: &AtomicU64) -> *const libc::sigaction {
    // ORDERING(guard): pairs with `remember`.
    std::ptr::with_exposed_provenance(word.load(Ordering::Acquire) as usize)
}

extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands us a valid siginfo for SIGBUS.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    // Sent by somebody: there is no address, and nothing will be tried again.
    if code <= 0 {
        return pass_on(signal, info, context, true);
    }
    let replaced = Range::around(&TABLE, address).is_some_and(|range| {
        range.count_hit();
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
        let before = remembered(&BEFORE);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const ROUNDS: u64 = if cfg!(miri) { 10 } else { 100 };

    fn table() -> &'static [Range] {
        Box::leak(Box::new([Range::free()]))
    }

    /// A place that was that of a long range becomes that of a short one.
    #[test]
    fn the_orderings_of_a_range_let_nobody_find_it_with_the_length_of_another() {
        for _ in 0..ROUNDS {
            let table = table();
            drop(Range::register(table, 0x1000, 0x100));
            thread::scope(|scope| {
                let guard = scope.spawn(|| Range::register(table, 0x2000, 0x10));
                while !guard.is_finished() {
                    assert!(Range::around(table, 0x2080).is_none());
                    thread::yield_now();
                }
                assert!(Range::around(table, 0x2080).is_none());
                drop(guard.join().unwrap());
            });
        }
    }

    /// Nothing but the place itself orders the two.
    #[test]
    fn the_orderings_of_a_place_let_nobody_be_hit_by_what_hit_another() {
        for _ in 0..ROUNDS {
            let table = table();
            let first = Range::register(table, 0x1000, 0x100);
            thread::scope(|scope| {
                scope.spawn(move || {
                    Range::around(table, 0x1080).unwrap().count_hit();
                    assert!(first.as_ref().unwrap().was_hit());
                    drop(first);
                });
                let second = loop {
                    match Range::register(table, 0x2000, 0x10) {
                        Some(guard) => break guard,
                        None => thread::yield_now(),
                    }
                };
                // Once it is certain that the hit is seen.
                while second.range.hits.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                assert!(!second.was_hit());
            });
        }
    }

    /// The action itself is no atomic: Miri reports a race if the word does not order it.
    #[test]
    fn the_orderings_of_the_action_that_was_there_before_show_it_whole() {
        // SAFETY: plain data for which zero is valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_flags = libc::SA_SIGINFO;
        let word = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| remember(&word, Box::into_raw(Box::new(action))));
            let before = loop {
                match remembered(&word) {
                    before if before.is_null() => thread::yield_now(),
                    before => break before,
                }
            };
            // SAFETY: it was leaked by the thread above.
            assert_eq!(unsafe { (*before).sa_flags }, libc::SA_SIGINFO);
        });
    }
}
