//! A file's bytes in memory.

use crate::layout::{HEADER_LEN, Header};
use crate::region::{Peer, Region};
use crate::sync::{AtomicU32, AtomicU64};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Opens a regular file, and says how long it is. Waits for nobody, whatever it is.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let stat = file.metadata()?;
    if !stat.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, stat.len()))
}

/// A copy of a file.
pub(super) struct Image {
    pub(super) region: Arc<Region>,
    /// How many bytes the file had. Those behind them are 0.
    pub(super) bytes: u64,
    /// Why not all of them could be read.
    pub(super) failure: Option<io::Error>,
}

impl Image {
    /// Copies `len` bytes, at least those of a header.
    pub(super) fn of(file: &File, len: u64) -> io::Result<Image> {
        let len = usize::try_from(len.max(HEADER_LEN as u64)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let (region, bytes, failure) = Region::copy_of(file, len)?;
        Ok(Image { region, bytes, failure })
    }

    /// The word at an offset, if the copy is that long.
    pub(super) fn word(&self, offset: u64) -> Option<u64> {
        let offset = self.fits(offset, 8)?;
        let word: Peer<AtomicU64> = self.region.peer(offset);
        Some(word.load())
    }

    /// Half a word.
    pub(super) fn half(&self, offset: u64) -> Option<u64> {
        let offset = self.fits(offset, 4)?;
        let word: Peer<AtomicU32> = self.region.peer(offset);
        Some(word.load().into())
    }

    fn fits(&self, offset: u64, len: u64) -> Option<usize> {
        let inside = offset.is_multiple_of(len) && offset.checked_add(len)? <= self.region.len() as u64;
        if inside { usize::try_from(offset).ok() } else { None }
    }

    /// A value of plain words, if the copy is that long.
    pub(super) fn pod<T: bytemuck::Pod>(&self, offset: u64) -> Option<T> {
        let words = size_of::<T>().div_ceil(8) as u64;
        let bytes: Vec<u8> = (0..words)
            .map(|at| self.word(offset + 8 * at))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        Some(bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()]))
    }

    pub(super) fn header(&self) -> Header {
        self.pod(0).unwrap_or(bytemuck::Zeroable::zeroed())
    }
}
