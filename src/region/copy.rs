//! Copying between private memory and shared bytes that somebody else may be changing.
//!
//! The compiler must neither assume that the shared bytes hold still nor read them twice. Short runs are copied as
//! relaxed atomic words, which say just that. Long runs are copied by an instruction that the compiler cannot look
//! into. The shared side is always aligned to 8 and may be touched up to the next multiple of 8. Miri and fuzzing, whose
//! sanitizer cannot look into it either, get words only.
//!
//! Messages come out in pieces of 16 bytes, again by an opaque instruction: the compiler moves what was just copied in
//! pieces of 16, and a load cannot be served from two smaller stores that are still on their way (10 ns a message).
#![expect(unsafe_code, reason = "this is the copy")]

use crate::sync::{AtomicU64, Ordering};

/// From here on, bytes, one `rep movsb` beats a loop of words (measured on the machine of docs/performance.md).
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
const LONG: usize = 512;

/// Copies `len` private bytes at `from` to shared memory at `to`.
///
/// # Safety
/// `from` is valid for reading `len` bytes; `to` is aligned to 8, valid for reading and writing `len` rounded up to 8
/// bytes as atomics, and no reference to those bytes exists.
#[inline(always)]
pub(crate) unsafe fn copy_in(to: *mut u8, from: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    if len >= LONG {
        // SAFETY: the caller's contract.
        unsafe { move_bytes(to, from, len) };
        return;
    }
    let words = to.cast::<AtomicU64>();
    // SAFETY: the caller's contract; word `i` lies within `len` rounded up.
    unsafe {
        let pairs = if PAIRS { len / 16 } else { 0 };
        for i in 0..pairs {
            store_16(to.add(16 * i), from.add(16 * i));
        }
        for i in 2 * pairs..len / 8 {
            let word = from.add(8 * i).cast::<u64>().read_unaligned();
            // ORDERING(publish): relaxed, because the commit word's Release publishes the payload.
            (*words.add(i)).store(word, Ordering::Relaxed);
        }
        if !len.is_multiple_of(8) {
            let whole = len & !7;
            let mut last = [0u8; 8];
            std::ptr::copy_nonoverlapping(from.add(whole), last.as_mut_ptr(), len - whole);
            // ORDERING(publish): as above.
            (*words.add(len / 8)).store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }
}

/// Clears the [`LINE`](crate::layout::LINE) shared bytes at `at`.
///
/// # Safety
/// `at` is aligned to 8, valid for writing so many bytes as atomics, and no reference to those bytes exists.
#[inline(always)]
pub(crate) unsafe fn clear_line(at: *mut u8) {
    // SAFETY: the caller's contract; these stores are the line.
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    unsafe {
        std::arch::asm!(
            "xorps {zero}, {zero}",
            "movups [{at}], {zero}", "movups [{at} + 16], {zero}", "movups [{at} + 32], {zero}", "movups [{at} + 48], {zero}",
            at = in(reg) at, zero = out(xmm_reg) _, options(nostack, preserves_flags)
        );
    }
    // SAFETY: as above.
    #[cfg(all(target_arch = "aarch64", not(any(miri, fuzzing))))]
    unsafe {
        std::arch::asm!(
            "stp xzr, xzr, [{at}]", "stp xzr, xzr, [{at}, 16]", "stp xzr, xzr, [{at}, 32]", "stp xzr, xzr, [{at}, 48]",
            at = in(reg) at, options(nostack, preserves_flags)
        );
    }
    #[cfg(any(miri, fuzzing, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    for word in 0..crate::layout::LINE as usize / 8 {
        // SAFETY: as above.
        // ORDERING(terminator): relaxed; the next commit word's Release comes after it.
        unsafe { (*at.cast::<AtomicU64>().add(word)).store(0, Ordering::Relaxed) };
    }
}

/// Copies `len` shared bytes at `from` to private memory at `to`.
///
/// # Safety
/// `to` is valid for writing `len` bytes; `from` is aligned to 8, valid for reading `len` rounded up to 8 bytes as
/// atomics, and no reference to those bytes exists.
#[inline(always)]
pub(crate) unsafe fn copy_out(to: *mut u8, from: *const u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
    if len >= LONG {
        // SAFETY: the caller's contract.
        unsafe { move_bytes(to, from, len) };
        return;
    }
    let words = from.cast::<AtomicU64>();
    // SAFETY: the caller's contract; word `i` lies within `len` rounded up.
    unsafe {
        let pairs = if PAIRS { len / 16 } else { 0 };
        for i in 0..pairs {
            move_16(to.add(16 * i), from.add(16 * i));
        }
        for i in 2 * pairs..len / 8 {
            // ORDERING(publish): relaxed, because the commit word was acquired before.
            let word = (*words.add(i)).load(Ordering::Relaxed);
            to.add(8 * i).cast::<u64>().write_unaligned(word);
        }
        if !len.is_multiple_of(8) {
            let whole = len & !7;
            // ORDERING(publish): as above.
            let last = (*words.add(len / 8)).load(Ordering::Relaxed).to_ne_bytes();
            std::ptr::copy_nonoverlapping(last.as_ptr(), to.add(whole), len - whole);
        }
    }
}

/// Whether there is an instruction that moves 16 bytes at a time behind the compiler's back.
const PAIRS: bool = cfg!(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(any(miri, fuzzing))));

/// # Safety
/// `from` is valid for reading and `to` for writing 16 bytes.
#[inline(always)]
unsafe fn move_16(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's contract.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "movups {both}, [{from}]", "movups [{to}], {both}",
            from = in(reg) from, to = in(reg) to, both = out(xmm_reg) _,
            options(nostack, preserves_flags)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "ldr {both:q}, [{from}]", "str {both:q}, [{to}]",
            from = in(reg) from, to = in(reg) to, both = out(vreg) _,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    unreachable!("PAIRS is false");
}

/// Two loads and one store: what the caller has just written in words could not be served to one load of both, and half as
/// many stores wait for their cache line.
///
/// # Safety
/// `from` is valid for reading and `to` for writing 16 bytes.
#[inline(always)]
unsafe fn store_16(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's contract.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "movq {both}, [{from}]", "movhps {both}, [{from} + 8]", "movups [{to}], {both}",
            from = in(reg) from, to = in(reg) to, both = out(xmm_reg) _,
            options(nostack, preserves_flags)
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "ldp {low}, {high}, [{from}]", "stp {low}, {high}, [{to}]",
            from = in(reg) from, to = in(reg) to, low = out(reg) _, high = out(reg) _,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    unreachable!("PAIRS is false");
}

/// # Safety
/// `from` is valid for reading and `to` for writing `len` bytes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(any(miri, fuzzing))))]
#[inline(always)]
unsafe fn move_bytes(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract; the direction flag is clear on entry to any asm block.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_nothing_else_is_touched() {
        let lens: &[usize] =
            if cfg!(miri) { &[0, 1, 7, 8, 9, 64] } else { &[0, 1, 7, 8, 9, 63, 64, 511, 512, 513, 4000] };
        for &len in lens {
            let private: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
            let shared: Vec<AtomicU64> = (0..len / 8 + 2).map(|_| AtomicU64::new(u64::MAX)).collect();
            let mut out = vec![0xee; len + 1];
            // SAFETY: `shared` has `len` bytes rounded up and a word more; `out` a byte more.
            unsafe {
                copy_in(shared.as_ptr().cast_mut().cast(), private.as_ptr(), len);
                copy_out(out.as_mut_ptr(), shared.as_ptr().cast(), len);
            }
            assert_eq!(out[..len], private);
            assert_eq!(out[len], 0xee);
            assert_eq!(shared[len.div_ceil(8)].load(Ordering::Relaxed), u64::MAX);
        }
    }
}
