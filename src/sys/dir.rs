//! A directory held open, and the files in it by name: no path is walked twice, and no symbolic link is followed.

use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat2};
pub(crate) use nix::sys::stat::FileStat;
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// For files: no link is followed, no terminal acquired, and a FIFO in a file's place cannot make the open wait.
const PLAIN: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NOCTTY).union(OFlag::O_NONBLOCK);

impl Dir {
    /// Opens a directory; links are followed in all components.
    pub(crate) fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir(open(path, DIRECTORY, Mode::empty())?))
    }

    /// Opens a directory inside this one; a symbolic link in its place is refused.
    pub(crate) fn open_dir(&self, name: &str) -> io::Result<Dir> {
        Ok(Dir(openat(&self.0, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?))
    }

    /// Makes a directory inside this one and opens it.
    pub(crate) fn make_dir(&self, name: &str, mode: u32) -> io::Result<Dir> {
        mkdirat(&self.0, name, Mode::from_bits_truncate(mode))?;
        // A strange umask can make a directory that not even its owner may open.
        self.open_dir(name).inspect_err(|_| drop(self.remove_dir(name)))
    }

    /// Opens an existing file.
    pub(crate) fn open_file(&self, name: &str, writable: bool) -> io::Result<File> {
        let access = if writable { OFlag::O_RDWR } else { OFlag::O_RDONLY };
        Ok(openat(&self.0, name, access | PLAIN, Mode::empty())?.into())
    }

    /// Creates a file that must not exist.
    pub(crate) fn create_file(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | PLAIN;
        let mode = Mode::from_bits_truncate(mode);
        let file = openat(&self.0, name, flags, mode)?;
        if mode.intersects(Mode::S_IRWXG) {
            // The umask may have taken from the group what is its.
            nix::sys::stat::fchmod(&file, mode)?;
        }
        Ok(file.into())
    }

    /// Renames within this directory, or into another, never onto something that exists.
    pub(crate) fn rename_new(&self, from: &str, to: &Dir, name: &str) -> io::Result<()> {
        match renameat2(&self.0, from, &to.0, name, RenameFlags::RENAME_NOREPLACE) {
            Err(errno) => Err(errno.into()),
            Ok(()) => Ok(()),
        }
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove_file(&self, name: &str) -> io::Result<()> {
        absent_is_fine(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir))
    }

    /// Removes an empty directory; one that is not there is no error.
    pub(crate) fn remove_dir(&self, name: &str) -> io::Result<()> {
        absent_is_fine(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir))
    }

    /// Whether there is something of this name. Only one answer of the kernel says that there is not.
    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What the kernel says of a file in it.
    pub(crate) fn stat_name(&self, name: &str) -> io::Result<FileStat> {
        Ok(fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Calls `visit` with each name but `.` and `..`. What is not UTF-8 comes with replacement characters.
    pub(crate) fn names(&self, mut visit: impl FnMut(&str)) -> io::Result<()> {
        let mut listing = Listing::openat(&self.0, ".", DIRECTORY, Mode::empty())?;
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                visit(&name);
            }
        }
        Ok(())
    }

    /// Whether there is a directory of this name.
    pub(crate) fn has_dir(&self, name: &str) -> bool {
        fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// Gives the directory to a group.
    pub(crate) fn set_group(&self, gid: u32) -> io::Result<()> {
        Ok(nix::unistd::fchown(&self.0, None, Some(nix::unistd::Gid::from_raw(gid)))?)
    }

    /// Sets the directory's mode, whatever the umask.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(nix::sys::stat::fchmod(&self.0, Mode::from_bits_truncate(mode))?)
    }

    /// The directory's owner and mode.
    pub(crate) fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.0)?)
    }

    /// The file system's magic number.
    pub(crate) fn filesystem(&self) -> io::Result<i64> {
        let magic = fstatfs(self.0.as_fd())?.filesystem_type().0;
        #[allow(clippy::useless_conversion, reason = "its width depends on the target")]
        Ok(i64::from(magic))
    }
}

/// What the kernel says of an open file.
pub(crate) fn stat_file(file: &File) -> io::Result<FileStat> {
    Ok(fstat(file)?)
}

fn absent_is_fine(answer: nix::Result<()>) -> io::Result<()> {
    match answer {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
