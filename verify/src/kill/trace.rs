//! Victims that are forked: the same program at the same addresses, so that the tracer reads the next instruction in its
//! own memory. What a victim would wait for is not waited for: its sleep has ended by its bound.
#![expect(unsafe_code, reason = "ptrace, fork and signals")]

use super::step::Victim;
use anyhow::{Result, bail, ensure};
use libc::user_regs_struct as Registers;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// One instruction further; whether it was a system call.
    On { call: bool },
    /// As if it had slept: nobody woke it.
    Slept,
    /// The victim has stopped itself: it has come to the end of its part.
    Over,
}

/// A victim; killed when it is dropped.
pub(super) struct Traced {
    pub(super) victim: Victim,
    gone: Cell<bool>,
}

/// What `syscall` is.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

impl Traced {
    /// Forks a victim that stops itself at once.
    pub(super) fn fork(body: impl FnOnce()) -> Result<Traced> {
        // SAFETY: this process has one thread, so the child may do whatever it could have done.
        match unsafe { libc::fork() } {
            -1 => bail!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                // SAFETY: plain numbers; `_exit` leaves everything of the parent's alone.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                    stop();
                    let ended = std::panic::catch_unwind(AssertUnwindSafe(body));
                    libc::_exit(if ended.is_ok() { 0 } else { 101 });
                }
            }
            child => {
                let traced = Traced { victim: Victim(child), gone: Cell::new(false) };
                ensure!(
                    traced.victim.stopped_by() == Some(libc::SIGSTOP),
                    "this host does not let a parent trace its child"
                );
                Ok(traced)
            }
        }
    }

    fn registers(&self) -> Registers {
        // SAFETY: plain numbers, for which zero is valid; the victim is our traced child, and it is stopped.
        unsafe {
            let mut registers: Registers = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETREGS, self.victim.0, 0, &raw mut registers);
            registers
        }
    }

    /// The address of its next instruction.
    pub(super) fn at(&self) -> u64 {
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.victim.0, std::mem::offset_of!(Registers, rip), 0) as u64 }
    }

    /// One instruction. `at` is where it stands.
    pub(super) fn step(&self, at: u64) -> Result<Stepped> {
        // SAFETY: the victim was forked from us and neither of us has mapped code since: where it runs, we may read.
        let call = unsafe { std::ptr::read(at as *const [u8; 2]) } == SYSCALL;
        if call && self.skip_sleep() {
            return Ok(Stepped::Slept);
        }
        match self.victim.go_on(libc::PTRACE_SINGLESTEP) {
            Some(libc::SIGTRAP) => Ok(Stepped::On { call }),
            Some(libc::SIGSTOP) => Ok(Stepped::Over),
            other => {
                self.gone.set(other.is_none());
                bail!("the victim ended early: {other:?}")
            }
        }
    }

    /// If it is about to sleep: as if it had slept, up to its bound.
    fn skip_sleep(&self) -> bool {
        let mut registers = self.registers();
        let answer = match registers.rax as i64 {
            libc::SYS_futex if registers.rsi == libc::FUTEX_WAIT as u64 => {
                // SAFETY: as in `registers`; the address is one that the victim itself is about to give the kernel.
                let word = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, self.victim.0, registers.rdi & !7, 0) } as u64;
                let word = (word >> (registers.rdi % 8 * 8)) as u32;
                if word != registers.rdx as u32 {
                    return false;
                }
                -i64::from(libc::ETIMEDOUT)
            }
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => 0,
            _ => return false,
        };
        registers.rax = answer as u64;
        registers.rip += SYSCALL.len() as u64;
        // SAFETY: as in `registers`.
        unsafe { libc::ptrace(libc::PTRACE_SETREGS, self.victim.0, 0, &raw const registers) };
        true
    }

    /// Runs on at full speed, to where it stops itself or ends.
    pub(super) fn run(&self) -> Option<i32> {
        let signal = self.victim.go_on(libc::PTRACE_CONT);
        self.gone.set(signal.is_none());
        signal
    }

    /// Lets it run on at full speed, and does not wait for it.
    pub(super) fn let_go(&self) {
        // SAFETY: as in `registers`.
        unsafe { libc::ptrace(libc::PTRACE_CONT, self.victim.0, 0, 0) };
    }

    /// Waits for the end of one that was let go.
    pub(super) fn wait(&self) {
        while self.victim.stopped_by().is_some() {
            self.let_go();
        }
        self.gone.set(true);
    }

    /// SIGKILL, and waits until the kernel has cleared it away.
    pub(super) fn kill(&self) {
        if !self.gone.replace(true) {
            // SAFETY: plain numbers; the process was not waited for to its end, so the number is still its own.
            unsafe { libc::kill(self.victim.0, libc::SIGKILL) };
            while self.victim.stopped_by().is_some() {}
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops the process that calls it, for its tracer.
pub(super) fn stop() {
    // SAFETY: raise sends a signal to this thread, which its tracer sees first.
    unsafe { libc::raise(libc::SIGSTOP) };
}
