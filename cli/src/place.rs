//! Where a queue or a mailbox is: what the user calls it, as a path.

use anyhow::{Context, Result, bail};
use laneway::Queue;
use laneway::mailbox::Post;
use laneway_observe::{Key, Kind};
use nix::unistd::geteuid;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The path of the queue that the user means: a path if it has a slash, else a name under the root.
pub(crate) fn queue(named: &OsStr) -> Result<PathBuf> {
    if named.as_bytes().contains(&b'/') {
        return Ok(named.into());
    }
    Ok(root()?.join(name(named)?))
}

/// The mailbox that the user means: the directory it is in, and its name there.
pub(crate) fn mailbox(named: &OsStr) -> Result<(Post, String)> {
    if !named.as_bytes().contains(&b'/') {
        return Ok((Post::open(post_root()?), name(named)?.to_owned()));
    }
    let path = Path::new(named);
    let last = path.file_name().with_context(|| format!("cannot use {path:?}: it does not end in a name"))?;
    Ok((Post::open(parent(path)), name(last)?.to_owned()))
}

/// The queue or the mailbox that the user means, which must be there and the only one: the directories of both, and which it is.
pub(crate) fn either(named: &OsStr) -> Result<(PathBuf, Post, Key)> {
    let (post, name) = mailbox(named)?;
    let queue = queue(named)?;
    let kind = match (post.exists(&name), Queue::exists(&queue)) {
        (true, true) => bail!("{name:?} is a queue and a mailbox; say which by its path"),
        (true, false) => Kind::Mailbox,
        (false, true) => Kind::Queue,
        (false, false) => bail!("there is no queue at {queue:?}, and no mailbox at {:?}", post.root().join(&name)),
    };
    Ok((parent(&queue).to_owned(), post, Key { kind, name }))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory in which mailboxes are known by name. It need not exist.
pub(crate) fn post_root() -> Result<PathBuf> {
    if let Some(root) = set("LANEWAY_POST") {
        return Ok(root.into());
    }
    let root = root()?.join("post");
    if Queue::exists(&root) {
        bail!("cannot keep mailboxes in {root:?}: it is a queue; remove it, or set LANEWAY_POST to another directory");
    }
    Ok(root)
}

fn name(named: &OsStr) -> Result<&str> {
    let name = named.to_str().with_context(|| format!("cannot use the name {named:?}: a name is valid UTF-8"))?;
    laneway::check_name(name)?;
    Ok(name)
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The directory in which queues are known by name. It need not exist.
pub(crate) fn root() -> Result<PathBuf> {
    if let Some(root) = set("LANEWAY_DIR") {
        return Ok(root.into());
    }
    if let Some(runtime) = set("XDG_RUNTIME_DIR") {
        return Ok(PathBuf::from(runtime).join("laneway"));
    }
    let root = PathBuf::from("/dev/shm").join(OsString::from(format!("laneway-{}", geteuid())));
    check_shared_root(&root)?;
    Ok(root)
}

/// Anybody can make a directory of this name before we do; theirs is not to be trusted with our messages.
fn check_shared_root(root: &Path) -> Result<()> {
    let found = match root.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| format!("cannot use {root:?}"))?,
    };
    let (me, owner, mode) = (geteuid().as_raw(), found.uid(), found.mode() & 0o7777);
    if !found.is_dir() {
        bail!("cannot use {root:?}: it is not a directory; set LANEWAY_DIR to one");
    } else if owner != me {
        bail!("cannot use {root:?}: it belongs to user {owner}, and this is user {me}; set LANEWAY_DIR to another");
    } else if mode & 0o022 != 0 {
        bail!("cannot use {root:?}: its mode {mode:04o} lets others write in it");
    }
    Ok(())
}
