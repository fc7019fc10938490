//! Extended attributes, and all that a copy of a file takes over.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use nix::sys::stat::{FileStat, Mode};

use super::check;
use super::file::c_path;
use crate::error::Result;

/// Gives the open file `to` the owner, mode, times and extended attributes of `from`, whose
/// stat(2) is `found`. An owner that the user namespace does not know and an attribute that
/// the file system of `to` cannot hold are left out.
pub fn copy_metadata(from: BorrowedFd<'_>, to: BorrowedFd<'_>, found: &FileStat) -> Result<()> {
    use nix::sys::time::TimeSpec;
    use nix::unistd::{Gid, Uid};
    let number = to.as_raw_fd();
    let (uid, gid) = (found.st_uid, found.st_gid);
    match nix::unistd::fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) {
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(e) => check(Err(e), "fchown", format_args!("{number}, {uid}, {gid}"))?,
    }
    // After the owner, since a change of owner takes away set-user-ID bits and capabilities.
    let mode = found.st_mode & 0o7777;
    check(
        nix::sys::stat::fchmod(to, Mode::from_bits_truncate(mode)),
        "fchmod",
        format_args!("{number}, 0{mode:o}"),
    )?;
    for name in list_attributes(from) {
        copy_attribute(from, to, &name)?;
    }
    let accessed = TimeSpec::new(found.st_atime, found.st_atime_nsec);
    let modified = TimeSpec::new(found.st_mtime, found.st_mtime_nsec);
    check(
        nix::sys::stat::futimens(to, &accessed, &modified),
        "futimens",
        number,
    )
}

/// The names of the extended attributes of `fd`, none where the file system has none.
fn list_attributes(fd: BorrowedFd<'_>) -> Vec<CString> {
    // The kernel's limit, XATTR_LIST_MAX.
    let mut names = vec![0u8; 65536];
    // SAFETY: the kernel writes at most the given number of bytes into the buffer, which has
    // that many.
    let length =
        unsafe { libc::flistxattr(fd.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(length).unwrap_or(0));
    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .filter_map(|name| CString::new(name).ok())
        .collect()
}

/// Sets an extended attribute of the object of `fd`, which may be `O_PATH`, by its name below
/// /proc/self/fd: the host's /proc has to be there. setxattr(2).
pub fn set_attribute(fd: BorrowedFd<'_>, name: &CStr, value: &CStr) -> Result<()> {
    let path = super::mount::fd_path(fd);
    let bytes = value.to_bytes();
    // SAFETY: path and name are C strings, and the kernel reads as many bytes of the value as
    // it has.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
        )
    };
    check(
        nix::errno::Errno::result(result).map(drop),
        "setxattr",
        format_args!("{path:?}, {name:?}, {value:?}"),
    )
}

/// An extended attribute of at most 64 bytes, getxattr(2). None where there is none, or it
/// cannot be read.
pub fn short_attribute(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = c_path(path).ok()?;
    let mut value = vec![0u8; 64];
    // SAFETY: path and name are C strings, and the kernel writes at most the given number of
    // bytes into the buffer, which has that many.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

fn copy_attribute(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // The kernel's limit, XATTR_SIZE_MAX.
    let mut value = vec![0u8; 65536];
    // SAFETY: `name` is a C string, and the kernel writes at most the given number of bytes
    // into the buffer, which has that many.
    let length = unsafe {
        libc::fgetxattr(
            from.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    let Ok(length) = usize::try_from(length) else {
        return Ok(());
    };
    // SAFETY: the kernel reads `length` bytes, which fgetxattr(2) has just written.
    let result = unsafe {
        libc::fsetxattr(
            to.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            length,
            0,
        )
    };
    match nix::errno::Errno::result(result) {
        Ok(_) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EPERM) => Ok(()),
        Err(e) => check(
            Err(e),
            "fsetxattr",
            format_args!("{}, {name:?}", to.as_raw_fd()),
        ),
    }
}
