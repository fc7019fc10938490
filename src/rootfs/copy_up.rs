//! tmpcopyup: a new tmpfs that starts with what lies at its destination.
//!
//! Runs in: init before pivot.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use crate::error::{Context as _, Error, Result};
use crate::sys;

/// What the top directory of the copy is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// As the mount's options made it.
    AsMounted,
    /// As the directory that is copied.
    Copied,
}

/// Copies the tree below the directory `from` into the directory `to`, with owners, modes,
/// times and extended attributes. Does not follow links, and copies no sockets.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, top: Top) -> Result<()> {
    let source = sys::file::open_entry(from, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let target = sys::file::open_entry(to, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let found = sys::file::stat(source.as_fd())?;
    copy_entries(source.as_fd(), target.as_fd())?;
    match top {
        Top::AsMounted => Ok(()),
        Top::Copied => sys::metadata::copy_metadata(source.as_fd(), target.as_fd(), &found),
    }
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let list = sys::file::duplicate(from)?;
    let mut entries =
        Dir::from_fd(list).map_err(|e| Error::syscall("fdopendir", "directory", e as i32))?;
    for entry in entries.iter() {
        let entry = entry.map_err(|e| Error::syscall("getdents64", "directory", e as i32))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name).context(|| name.to_string_lossy().into_owned())?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let found = sys::file::stat_entry(from, name)?;
    match sys::file::kind(&found) {
        SFlag::S_IFDIR => copy_directory(from, to, name),
        SFlag::S_IFREG => copy_file(from, to, name),
        SFlag::S_IFLNK => {
            let target = sys::file::readlinkat(from, name)?;
            let target = sys::file::c_path(target.as_ref())?;
            sys::file::symlinkat(&target, to, name)?;
            chown(to, name, &found)
        }
        // A socket without its server is nothing.
        SFlag::S_IFSOCK => Ok(()),
        kind => {
            match sys::file::mknodat(to, name, kind, found.st_mode & 0o7777, found.st_rdev) {
                // A user namespace makes no device nodes, and nothing can use a copied one.
                Err(e) if e.is(Errno::EPERM) => Ok(()),
                made => made.and_then(|()| chown(to, name, &found)),
            }
        }
    }
}

/// Gives a copied name its owner, unless the user namespace does not know that one.
fn chown(to: BorrowedFd<'_>, name: &CStr, found: &FileStat) -> Result<()> {
    match sys::file::chown_entry(to, name, found.st_uid, found.st_gid) {
        Err(e) if e.is(Errno::EINVAL) => Ok(()),
        result => result,
    }
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    sys::file::mkdirat(to, name, 0o700)?;
    let source = sys::file::open_entry(from, name, flags)?;
    let target = sys::file::open_entry(to, name, flags)?;
    let found = sys::file::stat(source.as_fd())?;
    copy_entries(source.as_fd(), target.as_fd())?;
    sys::metadata::copy_metadata(source.as_fd(), target.as_fd(), &found)
}

/// A process that has the directory too may swap the name for another meanwhile: what is copied is
/// what was opened, with its own owner and mode, and a device is not read.
fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let source = sys::file::open_entry(from, name, flags)?;
    let found = sys::file::stat(source.as_fd())?;
    if sys::file::kind(&found) != SFlag::S_IFREG {
        return Err(Error::system("it was a file, and is none any more"));
    }
    let target = sys::file::create_entry(to, name, 0o600)?;
    let mut source = File::from(source);
    let mut target = File::from(target);
    std::io::copy(&mut source, &mut target)
        .map_err(|e| Error::io("copy_file_range", name.to_string_lossy().as_ref(), &e))?;
    sys::metadata::copy_metadata(source.as_fd(), target.as_fd(), &found)
}
