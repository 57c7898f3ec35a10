//! Memory that two processes share, outside of any queue.
#![expect(unsafe_code, reason = "words in a raw mapping")]

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A mapping whose words are atomics. Cloning it would map it again; processes open the file, threads share a reference.
#[derive(Debug)]
pub struct Shared {
    memory: MmapRaw,
}

impl Shared {
    /// A new file of so many zero bytes, mapped.
    pub fn create(path: &Path, len: u64) -> io::Result<Shared> {
        File::create_new(path)?.set_len(len)?;
        Shared::open(path)
    }

    /// A file that another process created.
    pub fn open(path: &Path) -> io::Result<Shared> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Shared { memory: MmapRaw::map_raw(&file)? })
    }

    /// For the threads of this process, and for children that it forks.
    pub fn anonymous(len: usize) -> io::Result<Shared> {
        Ok(Shared { memory: MmapOptions::new().len(len).map_anon()?.into() })
    }

    /// Its length, bytes.
    #[allow(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Its first byte.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }

    /// The word at a multiple of 8.
    ///
    /// # Panics
    /// When `offset` is not that, or beyond the end.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len(), "no word at {offset}");
        // SAFETY: aligned and inside the mapping; all processes use these bytes as atomics.
        unsafe { &*self.memory.as_mut_ptr().add(offset).cast() }
    }

    /// The half word at a multiple of 4.
    ///
    /// # Panics
    /// When `offset` is not that, or beyond the end.
    #[inline]
    pub fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len(), "no half word at {offset}");
        // SAFETY: as above.
        unsafe { &*self.memory.as_mut_ptr().add(offset).cast() }
    }
}
