//! A directory with queues in it, watched while a process that uses them is stepped: whether any file has changed, and a copy of
//! all, which is what a SIGKILL at that step would leave. Included by `tests/mailbox_kill.rs` and by `verify`.

use memmap2::Mmap;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Of each file so much is compared: lanes of whoever uses this do not come further.
const COMPARED: usize = 20 << 10;

/// The files below a directory.
pub(crate) struct Tree {
    root: PathBuf,
    mapped: BTreeMap<PathBuf, (Mmap, Vec<u8>)>,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Tree {
        Tree { root: root.to_owned(), mapped: BTreeMap::new() }
    }

    /// Looks which files there are; whether any has come or gone.
    pub(crate) fn list(&mut self) -> bool {
        let now = files(&self.root);
        let before = self.mapped.len();
        self.mapped.retain(|path, _| now.contains(path));
        let mut changed = self.mapped.len() != before;
        for path in now {
            let Ok(file) = File::open(&path) else { continue };
            let is_short = file.metadata().map_or(0, |meta| meta.len()) == 0;
            if is_short || self.mapped.contains_key(&path) {
                continue;
            }
            // SAFETY: the bytes are only read while the process that writes them is stopped, and no file gets shorter.
            let map = unsafe { Mmap::map(&file) }.unwrap();
            self.mapped.insert(path, (map, Vec::new()));
            changed = true;
        }
        changed
    }

    /// Whether any has changed since the last time.
    pub(crate) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (map, last) in self.mapped.values_mut() {
            let now = &map[..map.len().min(COMPARED)];
            if now != &last[..] {
                last.clear();
                last.extend_from_slice(now);
                changed = true;
            }
        }
        changed
    }
}

fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Copies a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
        match path.is_dir() {
            true => copy(&path, &to.join(name)),
            false => assert!(fs::copy(&path, to.join(name)).is_ok(), "{} was not copied", path.display()),
        }
    }
}
