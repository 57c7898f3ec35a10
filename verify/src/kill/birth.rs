//! Queues that are made and removed, step by step. Both is done by system calls alone, so a copy of the whole tree is
//! looked at after each of those.

use super::judge::{self, Known};
use super::payload;

use super::trace::{Stepped, Traced, stop};
use super::worker::{Worker, hash_file};
use anyhow::{Context, Result, ensure};
use laneway::{Cause, Options, Priority, Queue};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The files and directories below a root: the bytes of files, and nothing of directories.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        tree.insert(dir.strip_prefix(root)?.to_owned(), None);
        for entry in fs::read_dir(&dir)? {
            let file = entry?.path();
            tree.insert(file.strip_prefix(root)?.to_owned(), Some(fs::read(&file)?));
        }
    }
    Ok(tree)
}

fn write(tree: &Tree, modes: &BTreeMap<PathBuf, u32>, root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    fs::create_dir(root)?;
    for (path, bytes) in tree {
        match bytes {
            None => fs::DirBuilder::new().mode(modes.get(path).copied().unwrap_or(0o700)).create(root.join(path))?,
            Some(bytes) => fs::write(root.join(path), bytes)?,
        }
    }
    Ok(())
}

/// Without what a name or a header has that is drawn anew each time.
fn hash(tree: &Tree, removes: bool) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&[u8::from(removes)]);
    for (path, bytes) in tree {
        let hidden = path.starts_with("queue");
        hash.update(&[u8::from(hidden)]);
        if let (Some(bytes), Some(name)) = (bytes, path.file_name()) {
            hash_file(&mut hash, name.to_str().unwrap_or_default(), bytes);
        }
    }
    hash.digest128()
}

/// What is left after a kill: a queue or none, and nothing after one sweep. Whether there was a queue.
fn judge(root: &Path, sent: u32) -> Result<bool> {
    let path = root.join("queue");
    let known = Known { priority: Priority::Normal, lane: 0, bystanders: 0 };
    let there = match Queue::open(&path) {
        Ok(queue) => {
            let outcome = judge::recover(&queue, &known, 0)?;
            let all = (sent > 0).then_some((0, sent));
            ensure!(outcome.range == all && outcome.holes.is_empty(), "{outcome:?}, and {sent} were sent");
            true
        }
        Err(error) if matches!(error.cause(), Cause::NotFound) => false,
        Err(error) => return Err(error.into()),
    };
    Queue::sweep(root)?;
    let left: Vec<_> = fs::read_dir(root)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(left.iter().all(|name| name == "queue") && left.len() == usize::from(there), "a sweep leaves {left:?}");
    if !there {
        drop(Queue::create(&path)?.sender()?);
    }
    Ok(there)
}

impl Worker {
    /// Makes or removes a queue, and is killed on the way or at the end.
    pub(super) fn birth(&mut self) -> Result<()> {
        let root = self.watched.with_file_name("births");
        let copy = self.watched.with_file_name("births-copy");
        write(&Tree::new(), &BTreeMap::new(), &root)?;
        let (path, removes) = (root.join("queue"), self.rng.bool());
        let limit = [0, 8192, 32 << 10][self.rng.usize(0..3)];
        let lanes = self.rng.u32(1..9);
        let mut options: Options = Queue::options().capacity(4096).overflow_limit(limit).max_lanes(lanes);
        if self.rng.bool() {
            options = options.water_marks(self.rng.u64(1..1000), self.rng.u64(1000..9000));
        }
        let sent = if removes { self.rng.u32(0..5) } else { 0 };
        if removes {
            let mut sender = options.create(&path)?.sender()?;
            for number in 0..sent {
                let mut bytes = Vec::new();
                payload::write(payload::OLD, number, self.rng.usize(4..300), &mut bytes);
                sender.send(&bytes)?;
            }
        }
        let page = self.page;
        page.clear();
        let victim = Traced::fork(|| {
            let queue = removes.then(|| Queue::open(&path).expect("it was just made"));
            stop();
            match queue {
                Some(queue) => queue.destroy().expect("nobody else is here"),
                None => drop(options.create(&path).expect("nobody else is here")),
            }
            stop();
        })?;
        ensure!(victim.run() == Some(libc::SIGSTOP), "the victim ended early");
        let budget = if self.rng.u32(0..3) == 0 { u64::MAX } else { self.rng.u64(1..12_000) };
        let (mut tree, mut found) = (read(&root)?, removes);
        let mut now = hash(&tree, removes);
        for step in 0..budget {
            let at = victim.at();
            self.count(at, now);
            match victim.step(at)? {
                Stepped::Over => break,
                Stepped::On { call: true } => {
                    let next = read(&root)?;
                    if next != tree {
                        tree = next;
                        now = hash(&tree, removes);
                        if self.is_new(now) {
                            write(&tree, &modes(&root)?, &copy)?;
                            let there = judge(&copy, sent).with_context(|| format!("step {step}, {removes}"))?;
                            ensure!(there == found || there != removes, "a queue came and went, or came back");
                            found = there;
                        }
                    }
                }
                Stepped::On { call: false } | Stepped::Slept => {}
            }
        }
        victim.kill();
        ensure!(read(&root)? == tree, "a real SIGKILL left something else than the image");
        judge(&root, sent).context("after a real SIGKILL")?;
        self.tally.add("real kills", 1);
        Ok(())
    }
}

/// The modes of the directories, which say whether a queue is open to anybody.
fn modes(root: &Path) -> Result<BTreeMap<PathBuf, u32>> {
    let entries = fs::read_dir(root)?;
    entries
        .map(|entry| {
            let path = entry?.path();
            Ok((path.strip_prefix(root)?.to_owned(), fs::metadata(&path)?.mode() & 0o7777))
        })
        .collect()
}
