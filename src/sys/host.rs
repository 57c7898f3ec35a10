//! Facts about this host and this process.
#![expect(unsafe_code, reason = "getrandom has no wrapper")]

use std::io;

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
