//! Files by directory descriptor: openat2(2), mkdirat(2), mknodat(2) and their family.
//!
//! Each function is one system call. The descriptors are close-on-exec. None of them follows
//! a symbolic link in the last component unless its doc says so.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::AccessFlags;

use super::words::open_words;
use super::{check, is_missing_call};
use crate::error::Result;

/// Opens `path` as a process would whose root directory is `root`: neither `..` nor a
/// symbolic link leads out, and no link of procfs is followed.
///
/// openat2(2), Linux 5.6. ENOSYS: the kernel is older; EPERM: an outer container's seccomp
/// profile is. EAGAIN: something was renamed meanwhile, and `..` could not be trusted.
pub fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd> {
    let refused = (ResolveFlag::RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS");
    openat2_in_root(root, path, flags, refused)
}

/// Opens `path` beneath `root` if no symbolic link is on the way: openat2(2) with
/// `RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS`, Linux 5.6. ELOOP: there is one.
pub fn open_without_links(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd> {
    let refused = (ResolveFlag::RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS");
    openat2_in_root(root, path, flags, refused)
}

fn openat2_in_root(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlag,
    (refused, word): (ResolveFlag, &str),
) -> Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | refused);
    // An empty path is no path to openat2(2): the root itself is ".".
    let path = if path.is_empty() { "." } else { path };
    check(
        nix::fcntl::openat2(root, path, how),
        "openat2",
        format_args!(
            "{}, {path:?}, {{flags={}, resolve={word}|RESOLVE_IN_ROOT}}",
            root.as_raw_fd(),
            open_words(flags)
        ),
    )
}

/// Opens one name in a directory, openat(2) with `O_NOFOLLOW`.
pub fn open_entry(directory: BorrowedFd<'_>, name: &CStr, flags: OFlag) -> Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    check(
        nix::fcntl::openat(directory, name, flags, Mode::empty()),
        "openat",
        format_args!("{}, {name:?}, {}", directory.as_raw_fd(), open_words(flags)),
    )
}

/// Makes a regular file for the caller alone to write, which must not be there yet:
/// openat(2) with `O_CREAT | O_EXCL`. The umask applies.
pub fn create_entry(directory: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    check(
        nix::fcntl::openat(directory, name, flags, Mode::from_bits_truncate(mode)),
        "openat",
        format_args!(
            "{}, {name:?}, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0{mode:o}",
            directory.as_raw_fd()
        ),
    )
}

/// Opens a path of the host, following links: open(2).
pub fn open_host(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    check(
        nix::fcntl::open(path, flags, Mode::empty()),
        "open",
        format_args!("{path:?}, {}", open_words(flags)),
    )
}

/// mkdirat(2). The umask applies.
pub fn mkdirat(directory: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    check(
        nix::sys::stat::mkdirat(directory, name, Mode::from_bits_truncate(mode)),
        "mkdirat",
        format_args!("{}, {name:?}, 0{mode:o}", directory.as_raw_fd()),
    )
}

/// Makes a node of the kind `S_IFREG`, `S_IFCHR`, `S_IFBLK`, `S_IFIFO` or `S_IFSOCK` with the
/// permission bits `mode`, mknodat(2). The umask applies.
pub fn mknodat(
    directory: BorrowedFd<'_>,
    name: &CStr,
    kind: SFlag,
    mode: u32,
    device: u64,
) -> Result<()> {
    check(
        nix::sys::stat::mknodat(
            directory,
            name,
            kind,
            Mode::from_bits_truncate(mode),
            device,
        ),
        "mknodat",
        format_args!(
            "{}, {name:?}, {}|0{mode:o}, makedev({}, {})",
            directory.as_raw_fd(),
            kind_word(kind),
            libc::major(device),
            libc::minor(device)
        ),
    )
}

/// symlinkat(2).
pub fn symlinkat(target: &CStr, directory: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    check(
        nix::unistd::symlinkat(target, directory, name),
        "symlinkat",
        format_args!("{target:?}, {}, {name:?}", directory.as_raw_fd()),
    )
}

/// readlinkat(2).
pub fn readlinkat(directory: BorrowedFd<'_>, name: &CStr) -> Result<OsString> {
    check(
        nix::fcntl::readlinkat(directory, name),
        "readlinkat",
        format_args!("{}, {name:?}", directory.as_raw_fd()),
    )
}

/// Removes a name that is not a directory, unlinkat(2).
pub fn unlinkat(directory: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    check(
        nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::NoRemoveDir),
        "unlinkat",
        format_args!("{}, {name:?}, 0", directory.as_raw_fd()),
    )
}

/// Removes an empty directory, unlinkat(2) with `AT_REMOVEDIR`.
pub fn rmdirat(directory: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    check(
        nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::RemoveDir),
        "unlinkat",
        format_args!("{}, {name:?}, AT_REMOVEDIR", directory.as_raw_fd()),
    )
}

/// Whether this process may do `how` with what lies at `path`, seen from `directory`, where it
/// follows symbolic links: faccessat2(2) with `AT_EACCESS`, Linux 5.8. EROFS and EPERM of `W_OK`:
/// it is on a read-only mount, or immutable.
///
/// Not eaccess(3), which takes six calls to work out what the kernel can be asked.
///
/// KERNEL(5.8): without faccessat2(2) the real ids are asked about, which are the effective ones
/// in all of rt's processes.
pub fn check_access(
    directory: BorrowedFd<'_>,
    path: &(impl nix::NixPath + ?Sized),
    how: AccessFlags,
) -> nix::Result<()> {
    match nix::unistd::faccessat(directory, path, how, AtFlags::AT_EACCESS) {
        // glibc's faccessat(3) would call it again.
        Err(errno) if is_missing_call(errno) => path.with_nix_path(|path| {
            // SAFETY: the kernel reads one C string, and takes two integers.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_faccessat,
                    directory.as_raw_fd(),
                    path.as_ptr(),
                    how.bits(),
                )
            };
            Errno::result(answer).map(drop)
        })?,
        answer => answer,
    }
}

/// Changes the owner of one name in a directory, or with an empty name of the object of the
/// descriptor, which may be `O_PATH`: fchownat(2).
pub fn chown_entry(directory: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<()> {
    check(
        nix::unistd::fchownat(
            directory,
            name,
            Some(nix::unistd::Uid::from_raw(uid)),
            Some(nix::unistd::Gid::from_raw(gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH,
        ),
        "fchownat",
        format_args!(
            "{}, {name:?}, {uid}, {gid}, AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH",
            directory.as_raw_fd()
        ),
    )
}

/// What a descriptor refers to, fstat(2).
pub fn stat(fd: BorrowedFd<'_>) -> Result<FileStat> {
    check(nix::sys::stat::fstat(fd), "fstat", fd.as_raw_fd())
}

/// What one name in a directory is, fstatat(2).
pub fn stat_entry(directory: BorrowedFd<'_>, name: &CStr) -> Result<FileStat> {
    check(
        nix::sys::stat::fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW),
        "fstatat",
        format_args!("{}, {name:?}, AT_SYMLINK_NOFOLLOW", directory.as_raw_fd()),
    )
}

/// Which kind of node `stat` describes: `S_IFDIR` and so on.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Which kind of file system a descriptor lies on: `PROC_SUPER_MAGIC` and so on, fstatfs(2).
pub fn file_system_magic(fd: BorrowedFd<'_>) -> Result<i64> {
    let facts = nix::sys::statfs::fstatfs(fd);
    check(facts, "fstatfs", fd.as_raw_fd()).map(|facts| magic(&facts))
}

/// The same of what lies at a path of the host; none where that cannot be reached.
pub fn file_system_magic_at(path: &str) -> Option<i64> {
    nix::sys::statfs::statfs(path)
        .ok()
        .map(|facts| magic(&facts))
}

#[allow(clippy::unnecessary_cast, reason = "musl's type is unsigned")]
fn magic(facts: &nix::sys::statfs::Statfs) -> i64 {
    facts.filesystem_type().0 as i64
}

/// The flags of the mount and the superblock below a descriptor, `ST_*` of fstatvfs(3).
pub fn file_system_flags(fd: BorrowedFd<'_>) -> Result<u64> {
    let facts = nix::sys::statvfs::fstatvfs(fd);
    check(facts, "fstatvfs", fd.as_raw_fd()).map(|facts| facts.flags().bits())
}

/// fchdir(2).
pub fn change_directory(fd: BorrowedFd<'_>) -> Result<()> {
    check(nix::unistd::fchdir(fd), "fchdir", fd.as_raw_fd())
}

/// One component of a path as the kernel takes it.
pub fn c_name(name: &str) -> Result<CString> {
    CString::new(name)
        .map_err(|_| crate::error::Error::invalid(format!("{name:?} contains a null byte")))
}

/// A whole path as the kernel takes it.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| crate::error::Error::invalid(format!("{path:?} contains a null byte")))
}

fn kind_word(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFCHR => "S_IFCHR",
        SFlag::S_IFBLK => "S_IFBLK",
        SFlag::S_IFIFO => "S_IFIFO",
        SFlag::S_IFSOCK => "S_IFSOCK",
        _ => "S_IFREG",
    }
}

/// A second descriptor of the same object, `F_DUPFD_CLOEXEC`.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned()
        .map_err(|e| crate::error::Error::io("fcntl", "F_DUPFD_CLOEXEC", &e))
}
