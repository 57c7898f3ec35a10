//! A place under the root that goes with its command, and the root with it if it was not there before.

use crate::place;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A path that nobody else uses. Nothing is made there.
pub(crate) struct Temporary {
    path: PathBuf,
    /// The root, if it was not there before.
    made_root: Option<PathBuf>,
    remove: fn(&Path),
}

impl Temporary {
    /// Named after what is done there; `remove` takes away whatever is there at the end.
    pub(crate) fn new(what: &str, remove: fn(&Path)) -> Result<Temporary> {
        let root = place::root()?;
        let made_root = (!root.exists()).then(|| root.clone());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        let path = root.join(format!("{what}-{}-{now:09}", std::process::id()));
        Ok(Temporary { path, made_root, remove })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure, and what is there is of no use to anybody.
        (self.remove)(&self.path);
        if let Some(root) = &self.made_root {
            // Somebody else may have put a queue in it by now; then it stays.
            let _ = std::fs::remove_dir(root);
        }
    }
}
