//! A directory that is made into one image after the other: its files stay open and mapped, so that an image costs the
//! bytes that are written and, when the file's shape differs, two system calls.
#![expect(unsafe_code, reason = "copying images into mapped files")]

use super::step::{Copied, Snapshot};
use anyhow::{Context, Result};
use laneway::{Queue, layout};
use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FallocateFlags, fallocate};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// More than any file of these queues is long.
const MAPPED: usize = 1 << 20;

pub(super) struct Scratch {
    path: PathBuf,
    files: BTreeMap<String, Open>,
    /// Of the directory as it is, for as long as its header is this.
    queue: Option<(Vec<u8>, Queue)>,
}

struct Open {
    file: File,
    map: MmapRaw,
}

impl Scratch {
    pub(super) fn new(path: PathBuf) -> Result<Scratch> {
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch { path, files: BTreeMap::new(), queue: None })
    }

    /// Makes the directory an image, and opens it.
    pub(super) fn become_image(&mut self, snapshot: &Snapshot) -> Result<Queue> {
        let gone: Vec<String> = self.names()?.into_iter().filter(|name| !snapshot.contains_key(name)).collect();
        for name in gone {
            self.files.remove(&name);
            std::fs::remove_file(self.path.join(&name))?;
        }
        for (name, copied) in snapshot {
            if !self.files.contains_key(name) {
                self.files.insert(name.clone(), Open::new(&self.path.join(name))?);
            }
            self.files[name].take(copied).with_context(|| name.clone())?;
        }
        let header = snapshot.get("queue").context("an image without a queue")?.runs()[0].1.clone();
        match &self.queue {
            Some((known, queue)) if *known == header => Ok(queue.clone()),
            _ => {
                let queue = Queue::open(&self.path)?;
                self.queue = Some((header, queue.clone()));
                Ok(queue)
            }
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().into_string().expect("names are ASCII"))).collect()
    }
}

impl Open {
    fn new(path: &Path) -> Result<Open> {
        // What recovery itself added may be there.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let map = MmapOptions::new().len(MAPPED).map_raw(&file)?;
        Ok(Open { file, map })
    }

    fn take(&self, copied: &Copied) -> Result<()> {
        let bytes: u64 = copied.runs().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if bytes < layout::RING as u64 {
            // A lock, or a file that is just being made.
            self.file.set_len(copied.len())?;
            for (at, bytes) in copied.runs() {
                self.file.write_all_at(bytes, *at)?;
            }
            return Ok(());
        }
        let meta = self.file.metadata()?;
        if meta.len() != copied.len() || meta.blocks() * 512 != bytes.next_multiple_of(4096) || copied.runs().len() > 1
        {
            let first = copied.runs()[0].1.len() as u64;
            self.file.set_len(first)?;
            for (at, bytes) in copied.runs() {
                fallocate(&self.file, FallocateFlags::empty(), *at as i64, bytes.len() as i64)?;
            }
            self.file.set_len(copied.len())?;
        }
        for (at, bytes) in copied.runs() {
            assert!(*at as usize + bytes.len() <= MAPPED);
            // SAFETY: just checked to lie inside the mapping, and the file has these bytes; only handles of queues look at
            // them, through atomics, and none is alive now.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(*at as usize), bytes.len())
            };
        }
        Ok(())
    }
}

/// What a lane's file takes and what it says of that; never more than it says.
pub(super) fn held(queue: &Queue, lane: u32) -> Result<u64> {
    let file = File::open(queue.path().join(format!("lane-{lane:03}")))?;
    let held = file.metadata()?.blocks() * 512;
    let mut word = [0; 8];
    file.read_exact_at(&mut word, layout::lane::RESERVED as u64)?;
    let (said, base) = (u64::from_le_bytes(word), layout::RING as u64 + queue.capacity());
    anyhow::ensure!(held <= base + said, "{held} bytes are reserved, and {said} of them are known of");
    anyhow::ensure!(said <= queue.overflow_limit(), "{said} bytes are said to be reserved");
    Ok(held)
}
