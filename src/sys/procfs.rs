//! Small files below an open directory of procfs.
//!
//! CVE-2025-52881: a file of this name elsewhere must not take the write, so nothing is
//! looked up from the root of a file system that a container shapes, and no mount on top of
//! a file of procfs is crossed.
//!
//! Runs in: init, enter, mounter.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::{check, is_missing_call};
use crate::error::{Error, Result};

/// Writes `content` to `path` below `directory` in one write(2), as files of procfs want it.
pub fn write(directory: BorrowedFd, path: &str, content: &[u8]) -> Result<()> {
    let file = open(directory, path, OFlag::O_WRONLY)?;
    nix::unistd::write(&file, content)
        .map(drop)
        .map_err(|errno| write_failed(path, content, errno))
}

/// What [`write()`] says where the kernel answers so.
pub fn write_failed(path: &str, content: &[u8], errno: Errno) -> Error {
    let shown = String::from_utf8_lossy(content);
    Error::syscall("write", format_args!("{path:?}, {shown:?}"), errno as i32)
}

/// What [`open`] says where the kernel answers so.
pub fn open_failed(path: &str, errno: Errno) -> Error {
    Error::syscall("openat", format_args!("procfs, {path:?}"), errno as i32)
}

/// Opens `path` below `directory`, which has to be procfs; no mount is crossed on the way.
pub fn open(directory: BorrowedFd, path: &str, flags: OFlag) -> Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let how = OpenHow::new().flags(flags).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let opened = match openat2(directory, path, how) {
        // KERNEL(5.6): without openat2(2) only the type of the file system is checked, and
        // that the last component is no link.
        Err(errno) if is_missing_call(errno) => {
            openat(directory, path, flags | OFlag::O_NOFOLLOW, Mode::empty())
        }
        opened => opened,
    };
    let file = opened.map_err(|errno| open_failed(path, errno))?;
    let system = check(fstatfs(&file), "fstatfs", format_args!("{path:?}"))?;
    if system.filesystem_type() == PROC_SUPER_MAGIC {
        Ok(file)
    } else {
        Err(Error::system(format!("{path:?} does not lie on procfs")))
    }
}

/// Unmounts what the descriptor of a mount refers to, wherever it is attached by now, as soon as
/// nobody uses it. `own` is an open /proc/self, which becomes the working directory. Of a mount that
/// is attached nowhere nothing is done.
pub fn unmount(own: BorrowedFd<'_>, mount: BorrowedFd<'_>) -> Result<()> {
    super::file::change_directory(own)?;
    // A link of procfs leads to the very mount, whatever has been mounted on top of it.
    let name = super::file::c_name(&format!("fd/{}", mount.as_raw_fd()))?;
    match super::mount::umount_detach(&name) {
        Err(e) if e.is(Errno::EINVAL) => Ok(()),
        result => result,
    }
}
