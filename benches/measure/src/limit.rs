//! What the machine allows, whoever asks: beside these stand the figures of every queue. The third limit, the round trip
//! of two cache lines, is [`Lines`](crate::Lines).
#![expect(unsafe_code, reason = "system calls and copies of the raw kind")]

use crate::{Between, Shared};
use std::sync::atomic::{AtomicU32, Ordering};

/// Waking a process that sleeps in the kernel, by a futex and nothing else.
#[derive(Debug)]
pub struct FutexWake<'a> {
    memory: &'a Shared,
    seen: u32,
}

impl<'a> FutexWake<'a> {
    /// Bytes of [`Shared`] memory, all zero, that both sides need.
    pub const LEN: usize = 4096;
    const SEQ: usize = 0;
    const STAMP: usize = 128;

    /// Either side.
    pub fn new(memory: &'a Shared) -> FutexWake<'a> {
        FutexWake { memory, seen: memory.half(FutexWake::SEQ).load(Ordering::Acquire) }
    }

    /// Sleeps until the other side wakes us, and returns the stamp that it left.
    pub fn sleep(&mut self) -> u64 {
        let seq = self.memory.half(FutexWake::SEQ);
        loop {
            let now = seq.load(Ordering::Acquire);
            if now != self.seen {
                self.seen = now;
                return self.memory.word(FutexWake::STAMP).load(Ordering::Relaxed);
            }
            futex(seq, libc::FUTEX_WAIT, now);
        }
    }

    /// Leaves a stamp and wakes the other side.
    pub fn wake(&self, stamp: u64) {
        let seq = self.memory.half(FutexWake::SEQ);
        self.memory.word(FutexWake::STAMP).store(stamp, Ordering::Relaxed);
        seq.fetch_add(1, Ordering::Release);
        futex(seq, libc::FUTEX_WAKE, i32::MAX as u32);
    }
}

/// Whatever the answer is, the caller looks at the word again.
fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let none = std::ptr::null::<libc::timespec>();
    // SAFETY: the word is live and aligned; there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, none) };
}

/// One processor copies messages into shared slots, another copies them out: streaming with no queue around it.
#[derive(Debug)]
pub struct CopyStream<'a> {
    memory: &'a Shared,
    slots: usize,
    len: usize,
    next: usize,
    between: Between,
}

impl<'a> CopyStream<'a> {
    /// Bytes of [`Shared`] memory, all zero, that both sides need for `slots` messages of `len` bytes.
    pub const fn memory_len(slots: usize, len: usize) -> usize {
        slots * CopyStream::slot_len(len)
    }

    const fn slot_len(len: usize) -> usize {
        // A flag on a line of its own.
        128 + len.next_multiple_of(128)
    }

    /// Either side.
    ///
    /// # Panics
    /// When the memory is shorter than [`memory_len`](Self::memory_len) says.
    pub fn new(memory: &'a Shared, slots: usize, len: usize) -> CopyStream<'a> {
        assert!(memory.len() >= CopyStream::memory_len(slots, len), "the memory is too short");
        CopyStream { memory, slots, len, next: 0, between: Between::default() }
    }

    /// The same, with this between two looks.
    pub fn with(self, between: Between) -> CopyStream<'a> {
        CopyStream { between, ..self }
    }

    /// Copies a message in, as soon as its slot is free.
    pub fn send(&mut self, message: &[u8]) {
        assert_eq!(message.len(), self.len);
        let at = self.turn_is(0);
        // SAFETY: the slot lies in the mapping, is as long as the message, and is ours until the flag says otherwise.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), self.memory.as_mut_ptr().add(at + 128), self.len) };
        self.memory.word(at).store(1, Ordering::Release);
    }

    /// Copies the next message out, as soon as it is there.
    pub fn receive(&mut self, to: &mut [u8]) {
        assert_eq!(to.len(), self.len);
        let at = self.turn_is(1);
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(self.memory.as_mut_ptr().add(at + 128), to.as_mut_ptr(), self.len) };
        self.memory.word(at).store(0, Ordering::Release);
    }

    /// Waits until the next slot's flag says so, and returns where the slot is.
    fn turn_is(&mut self, flag: u64) -> usize {
        let at = self.next * CopyStream::slot_len(self.len);
        self.next = (self.next + 1) % self.slots;
        while self.memory.word(at).load(Ordering::Acquire) != flag {
            self.between.looks();
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_woken_with_the_stamp() {
        let memory = Shared::anonymous(FutexWake::LEN).expect("memory");
        std::thread::scope(|scope| {
            let mut sleeper = FutexWake::new(&memory);
            scope.spawn(|| FutexWake::new(&memory).wake(7));
            assert_eq!(sleeper.sleep(), 7);
        });
    }

    #[test]
    fn what_is_copied_in_is_copied_out_in_order() {
        let memory = Shared::anonymous(CopyStream::memory_len(3, 100)).expect("memory");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = CopyStream::new(&memory, 3, 100);
                (0..1000u32).for_each(|number| stream.send(&[number as u8; 100]));
            });
            let mut stream = CopyStream::new(&memory, 3, 100);
            let mut message = [0; 100];
            for number in 0..1000u32 {
                stream.receive(&mut message);
                assert_eq!(message, [number as u8; 100]);
            }
        });
    }
}
