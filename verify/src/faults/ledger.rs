//! A page in a file that says, without a system call, how far a life has come and what it was told.
#![expect(unsafe_code, reason = "a shared mapping of a file of our own")]

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

pub(crate) const LANES: usize = 4;

/// All zero at first.
#[repr(C)]
pub(crate) struct Ledger {
    pub(crate) lanes: [Lane; LANES],
    /// Steps that were begun, and that were done.
    pub(crate) begun: AtomicU32,
    pub(crate) done: AtomicU32,
    told: AtomicU32,
    text: [AtomicU8; 4096],
}

/// The books of a lane; numbers start at 1.
#[repr(C)]
pub(crate) struct Lane {
    /// The last message that may have been committed.
    pub(crate) begun: AtomicU64,
    /// The last one that was.
    pub(crate) promised: AtomicU64,
    /// The last one that was received.
    pub(crate) handled: AtomicU64,
}

impl Ledger {
    /// Maps the ledger at `path`, which is made if it is not there. It stays mapped.
    pub(crate) fn open(path: &Path) -> Result<&'static Ledger> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        file.set_len(size_of::<Ledger>() as u64)?;
        let len = NonZeroUsize::new(size_of::<Ledger>()).context("it has fields")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of a file that long; any bytes are a `Ledger`, all of whose fields are atomics.
        unsafe { Ok(&*mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0)?.as_ptr().cast::<Ledger>()) }
    }

    /// Gives the mapping back.
    pub(crate) fn close(&'static self) {
        // SAFETY: mapped by `open`; the caller has no other use for it.
        let _ = unsafe { munmap(NonNull::from(self).cast(), size_of::<Ledger>()) };
    }

    /// Writes a line down.
    pub(crate) fn tell(&self, line: &str) {
        let text = format!("{line}\n");
        let at = self.told.fetch_add(text.len() as u32, SeqCst) as usize;
        for (byte, cell) in text.bytes().zip(self.text.get(at..).into_iter().flatten()) {
            cell.store(byte, SeqCst);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let len = (self.told.load(SeqCst) as usize).min(self.text.len());
        let bytes: Vec<u8> = self.text[..len].iter().map(|cell| cell.load(SeqCst)).collect();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}
