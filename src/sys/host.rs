//! Facts about this host and this process.
#![expect(unsafe_code, reason = "getrandom has no wrapper, nor has the processor's counter")]

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

/// `CLOCK_MONOTONIC`, nanoseconds. No system call where the kernel offers a vDSO.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970, UTC.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_REALTIME)
}

fn clock_ns(clock: nix::time::ClockId) -> u64 {
    nix::time::clock_gettime(clock).map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

/// The identity of the host's current boot.
pub(crate) fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&hex, 16)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("the boot id reads {text:?}")))?;
    Ok(number.to_be_bytes())
}

/// Sixteen random bytes.
pub(crate) fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0u8; 16];
    // SAFETY: the kernel writes at most `id.len()` bytes to `id`; up to 256 bytes come whole or not at all.
    let got = unsafe { libc::getrandom(id.as_mut_ptr().cast(), id.len(), 0) };
    if got == id.len() as isize { Ok(id) } else { Err(io::Error::last_os_error()) }
}

/// The effective user id of this thread.
pub(crate) fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// `CLOCK_BOOTTIME`, for one thread that asks for it often.
///
/// Where the kernel itself keeps time by the processor's counter, this reads the counter and counts on from the kernel's
/// time, which it asks for again after a millisecond. (The kernel's own way takes more than twice as long.)
#[derive(Debug)]
pub(crate) struct BootClock {
    /// What the counter and the kernel said when they were last asked.
    asked: Cell<(u64, u64)>,
    /// What they said when the rate began to be learned.
    base: Cell<(u64, u64)>,
    /// Nanoseconds to 2^32 counts; 0 while it is not known, or there is no counter.
    rate: Cell<u64>,
}

/// For how many nanoseconds the counter is believed.
const BELIEVED: u64 = 1_000_000;

/// The most counts between two looks at the counter of which the kernel's answer lies in the middle: about a microsecond.
const CLOSE: u64 = 4000;

impl BootClock {
    pub(crate) fn new() -> BootClock {
        BootClock { asked: Cell::new((0, 0)), base: Cell::new((0, 0)), rate: Cell::new(0) }
    }

    /// Nanoseconds since the boot, as this process's time namespace has it.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        let Some(counter) = counter() else { return boottime_ns() };
        let ((count, then), rate) = (self.asked.get(), self.rate.get());
        let passed = (u128::from(counter.wrapping_sub(count)) * u128::from(rate)) >> 32;
        if rate != 0 && passed < u128::from(BELIEVED) { then + passed as u64 } else { self.ask() }
    }

    /// Asks the kernel, and learns the counter's rate from how far both have come.
    #[cold]
    fn ask(&self) -> u64 {
        let before = counter().unwrap_or(0);
        let now = boottime_ns();
        let counts = counter().unwrap_or(0).wrapping_sub(before);
        if counts > CLOSE {
            // We were held up in between.
            return now;
        }
        let count = before + counts / 2;
        let (base, since) = self.base.get();
        let rate = ((u128::from(now.saturating_sub(since)) << 32) / u128::from(count.wrapping_sub(base).max(1))) as u64;
        let known = self.rate.get();
        // A counter that stops while the host sleeps, or a host that was moved: what was learned is worth nothing.
        let changed = known != 0 && rate.abs_diff(known) > known / 256;
        if base == 0 || changed {
            self.base.set((count, now));
            self.rate.set(0);
        } else if now - since > BELIEVED {
            self.rate.set(rate);
        }
        self.asked.set((count, now));
        now
    }
}

/// The processor's counter, where the kernel keeps time by it: it runs at one rate then, and the same on all processors.
#[inline]
fn counter() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        static KEEPS_TIME: OnceLock<bool> = OnceLock::new();
        let keeps_time = || {
            let source = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
            source.is_ok_and(|source| source.trim() == "tsc")
        };
        // SAFETY: every x86_64 has the instruction. Where it is forbidden (PR_SET_TSC) the kernel's own clock is too.
        (*KEEPS_TIME.get_or_init(keeps_time)).then(|| unsafe { std::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    None
}

/// `CLOCK_BOOTTIME`, nanoseconds, as this process's time namespace has it. No system call where the kernel offers a vDSO.
#[inline]
pub(crate) fn boottime_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_BOOTTIME)
}

/// What this process's time namespace adds to the host's `CLOCK_BOOTTIME`, nanoseconds; 0 where the kernel does not say.
pub(crate) fn boottime_offset_ns() -> i64 {
    let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or_default().split_whitespace().map_while(|word| word.parse::<i64>().ok());
    let (seconds, rest) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such clock, and no counter")]
    fn a_clock_that_counts_on_agrees_with_the_kernel() {
        let clock = BootClock::new();
        let (mut last, started) = (0, boottime_ns());
        while boottime_ns() - started < 50 * BELIEVED {
            let (before, now, after) = (boottime_ns(), clock.now(), boottime_ns());
            // What an error of the rate and the time between the looks at the counter can make.
            let slack = 10_000;
            assert!(now + slack >= before && now <= after + slack, "{before} {now} {after}");
            assert!(now + 5000 >= last, "{last} {now}");
            last = now;
        }
    }
}
