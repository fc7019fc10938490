//! Mounts by file descriptor: fsopen(2), fsconfig(2), fsmount(2), open_tree(2),
//! mount_setattr(2), move_mount(2), and the older mount(2), umount2(2), pivot_root(2).
//!
//! Each function is one system call. The descriptors are close-on-exec.

use std::ffi::{CStr, CString, c_uint};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::file;
pub use super::mount_attributes::{Attributes, has_mount_setattr, map_ids, mount_setattr};
use super::words::{attribute_words, mount_flag_words};
use crate::error::{Error, Result};

/// Where a call finds its object.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// What the descriptor itself refers to.
    Fd(BorrowedFd<'a>),
    /// One name in a directory. A symbolic link of that name is itself the object.
    Entry(BorrowedFd<'a>, &'a CStr),
    /// A path of the host.
    Host(&'a Path),
}

impl Place<'_> {
    fn directory(&self) -> i32 {
        match self {
            Place::Fd(fd) | Place::Entry(fd, _) => fd.as_raw_fd(),
            Place::Host(_) => libc::AT_FDCWD,
        }
    }

    fn name(&self) -> Result<CString> {
        match self {
            Place::Fd(_) => Ok(CString::default()),
            Place::Entry(_, name) => Ok((*name).to_owned()),
            Place::Host(path) => file::c_path(path),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Fd(fd) => write!(f, r#"{}, """#, fd.as_raw_fd()),
            Place::Entry(fd, name) => write!(f, "{}, {name:?}", fd.as_raw_fd()),
            Place::Host(path) => write!(f, "AT_FDCWD, {path:?}"),
        }
    }
}

/// Calls the kernel by number: what a call returns is a descriptor, a count or zero.
///
/// # Safety
///
/// Each argument that the call takes for a pointer is null or points to what the call reads
/// there, alive until it returns; it writes to none.
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> nix::Result<i32> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller vouches for the pointers, and a number is one whatever its value.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(result).map(|n| n as i32)
}

pub(super) fn fd_argument(fd: i32) -> usize {
    fd as isize as usize
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the calling function, and nothing
    // else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A configuration context for a new instance of the file system `kind`.
///
/// fsopen(2), Linux 5.2. ENODEV: the kernel does not know this file system.
pub fn fsopen(kind: &CStr) -> Result<OwnedFd> {
    let arguments = [
        kind.as_ptr() as usize,
        libc::FSOPEN_CLOEXEC as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: fsopen(2) reads the C string `kind`, which is borrowed.
    let result = unsafe { call(libc::SYS_fsopen, arguments) };
    result
        .map(owned)
        .map_err(|e| Error::syscall("fsopen", format_args!("{kind:?}, FSOPEN_CLOEXEC"), e as i32))
}

/// A context that reconfigures the superblock of the mount at `fd`.
///
/// fspick(2), Linux 5.2.
pub fn fspick(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const FSPICK_CLOEXEC: usize = 1;
    const FSPICK_EMPTY_PATH: usize = 8;
    let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
    let path = c"".as_ptr() as usize;
    let arguments = [fd_argument(fd.as_raw_fd()), path, flags, 0, 0, 0];
    // SAFETY: fspick(2) reads the path, a static C string.
    let result = unsafe { call(libc::SYS_fspick, arguments) };
    result.map(owned).map_err(|e| {
        let arguments = format!(
            r#"{}, "", FSPICK_CLOEXEC|FSPICK_EMPTY_PATH"#,
            fd.as_raw_fd()
        );
        Error::syscall("fspick", arguments, e as i32)
    })
}

/// The longest value that fsconfig(2) takes, without the final null byte.
pub const FSCONFIG_VALUE_MAX: usize = 255;

/// Sets one option: `key=value`, or the flag `key`.
///
/// fsconfig(2), Linux 5.2. EINVAL: the file system refuses it; the error then carries what
/// the kernel wrote into the context's log.
pub fn fsconfig_set(context: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let (command, word) = match value {
        Some(_) => (libc::FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"),
        None => (libc::FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"),
    };
    let pointer = value.map_or(0, |v| v.as_ptr() as usize);
    let fd = fd_argument(context.as_raw_fd());
    let arguments = [fd, command as usize, key.as_ptr() as usize, pointer, 0, 0];
    // SAFETY: these commands read the C strings `key` and `value`, which are borrowed, or a
    // null pointer where there is no value.
    let result = unsafe { call(libc::SYS_fsconfig, arguments) };
    result.map(drop).map_err(|e| {
        let shown = value.map_or("NULL".to_owned(), |v| format!("{v:?}"));
        let arguments = format!("{}, {word}, {key:?}, {shown}, 0", context.as_raw_fd());
        with_kernel_log(context, Error::syscall("fsconfig", arguments, e as i32))
    })
}

/// Makes the superblock that the options describe.
///
/// fsconfig(2), `FSCONFIG_CMD_CREATE`, Linux 5.2.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> Result<()> {
    fsconfig_command(context, libc::FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE")
}

/// Applies the options to the superblock that the context was picked from.
///
/// fsconfig(2), `FSCONFIG_CMD_RECONFIGURE`, Linux 5.2.
pub fn fsconfig_reconfigure(context: BorrowedFd<'_>) -> Result<()> {
    fsconfig_command(
        context,
        libc::FSCONFIG_CMD_RECONFIGURE,
        "FSCONFIG_CMD_RECONFIGURE",
    )
}

fn fsconfig_command(context: BorrowedFd<'_>, command: c_uint, word: &str) -> Result<()> {
    let fd = fd_argument(context.as_raw_fd());
    // SAFETY: the commands of the two callers take null pointers.
    let result = unsafe { call(libc::SYS_fsconfig, [fd, command as usize, 0, 0, 0, 0]) };
    result.map(drop).map_err(|e| {
        let arguments = format!("{}, {word}, NULL, NULL, 0", context.as_raw_fd());
        with_kernel_log(context, Error::syscall("fsconfig", arguments, e as i32))
    })
}

/// Puts the first message of the context's log in front of the error: it names the option
/// that the kernel did not like.
fn with_kernel_log(context: BorrowedFd<'_>, error: Error) -> Error {
    let mut buffer = [0u8; 256];
    match nix::unistd::read(context, &mut buffer) {
        // Each message starts with its class: "e tmpfs: Bad value for 'size'".
        Ok(length) if length > 2 => {
            let message = String::from_utf8_lossy(&buffer[2..length]);
            error.within(message.trim().to_owned())
        }
        _ => error,
    }
}

/// A mount of the context's superblock that is attached nowhere, with the attributes `set`
/// (`MOUNT_ATTR_*`).
///
/// fsmount(2), Linux 5.2.
pub fn fsmount(context: BorrowedFd<'_>, set: u64) -> Result<OwnedFd> {
    let fd = fd_argument(context.as_raw_fd());
    let flags = libc::FSMOUNT_CLOEXEC as usize;
    // SAFETY: fsmount(2) takes numbers alone.
    let result = unsafe { call(libc::SYS_fsmount, [fd, flags, set as usize, 0, 0, 0]) };
    result.map(owned).map_err(|e| {
        let arguments = format!(
            "{}, FSMOUNT_CLOEXEC, {}",
            context.as_raw_fd(),
            attribute_words(set)
        );
        Error::syscall("fsmount", arguments, e as i32)
    })
}

/// A copy of the mount at `source` that is attached nowhere: a bind mount to be.
///
/// `flags` may hold `AT_RECURSIVE` (the mounts below too) and `AT_SYMLINK_NOFOLLOW`.
/// open_tree(2) with `OPEN_TREE_CLONE`, Linux 5.2.
pub fn open_tree(source: Place<'_>, flags: i32) -> Result<OwnedFd> {
    let mut all = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags as u32;
    if let Place::Fd(_) = source {
        all |= libc::AT_EMPTY_PATH as u32;
    }
    let name = source.name()?;
    let directory = fd_argument(source.directory());
    let arguments = [directory, name.as_ptr() as usize, all as usize, 0, 0, 0];
    // SAFETY: open_tree(2) reads `name`, a C string that lives as long as this function.
    let result = unsafe { call(libc::SYS_open_tree, arguments) };
    result
        .map(owned)
        .map_err(|errno| open_tree_failed(source, flags, errno))
}

/// What [`open_tree`] says when the kernel answers `errno`.
pub fn open_tree_failed(source: Place<'_>, flags: i32, errno: Errno) -> Error {
    let mut words = String::from("OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC");
    if let Place::Fd(_) = source {
        words.push_str("|AT_EMPTY_PATH");
    }
    if flags & libc::AT_RECURSIVE != 0 {
        words.push_str("|AT_RECURSIVE");
    }
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        words.push_str("|AT_SYMLINK_NOFOLLOW");
    }
    Error::syscall("open_tree", format_args!("{source}, {words}"), errno as i32)
}

/// Attaches the mount `mount` on top of `target`, or moves it there.
///
/// move_mount(2), Linux 5.2. ENOTDIR: one of them is a directory and the other is not.
pub fn move_mount(mount: BorrowedFd<'_>, target: Place<'_>) -> Result<()> {
    let mut flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    let mut words = String::from("MOVE_MOUNT_F_EMPTY_PATH");
    if let Place::Fd(_) = target {
        flags |= libc::MOVE_MOUNT_T_EMPTY_PATH;
        words.push_str("|MOVE_MOUNT_T_EMPTY_PATH");
    }
    let name = target.name()?;
    let arguments = [
        fd_argument(mount.as_raw_fd()),
        c"".as_ptr() as usize,
        fd_argument(target.directory()),
        name.as_ptr() as usize,
        flags as usize,
        0,
    ];
    // SAFETY: move_mount(2) reads a static C string and `name`, which lives as long as this
    // function.
    let result = unsafe { call(libc::SYS_move_mount, arguments) };
    result.map(drop).map_err(|e| {
        let arguments = format!(r#"{}, "", {target}, {words}"#, mount.as_raw_fd());
        Error::syscall("move_mount", arguments, e as i32)
    })
}

/// mount(2), for what the calls above cannot do and for kernels that lack them. `target` is
/// a descriptor's path below /proc/self/fd, or a path of the host.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<()> {
    let pointer = |s: Option<&CStr>| s.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null or a C string that outlives the call; the kernel copies
    // them and keeps none.
    let result = unsafe {
        libc::mount(
            pointer(source),
            target.as_ptr(),
            pointer(kind),
            flags,
            pointer(data).cast(),
        )
    };
    Errno::result(result).map(drop).map_err(|e| {
        let show = |s: Option<&CStr>| s.map_or("NULL".to_owned(), |s| format!("{s:?}"));
        let arguments = format!(
            "{}, {target:?}, {}, {}, {}",
            show(source),
            show(kind),
            mount_flag_words(flags),
            show(data)
        );
        Error::syscall("mount", arguments, e as i32)
    })
}

/// The name by which mount(2) reaches the object of a descriptor. Needs the host's /proc.
pub fn fd_path(fd: impl AsFd) -> CString {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    CString::new(path).unwrap_or_default()
}

/// Unmounts what lies at `target` as soon as nobody uses it.
///
/// umount2(2) with `MNT_DETACH`.
pub fn umount_detach(target: &CStr) -> Result<()> {
    nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH)
        .map_err(|e| Error::syscall("umount2", format_args!("{target:?}, MNT_DETACH"), e as i32))
}

/// Unmounts what lies at one name in the working directory, which must not be a symbolic link,
/// as soon as nobody uses it.
///
/// umount2(2) with `MNT_DETACH | UMOUNT_NOFOLLOW`. EINVAL: nothing is mounted there, or the mount
/// is locked in this user namespace.
pub fn umount_entry(name: &CStr) -> Result<()> {
    use nix::mount::MntFlags;
    let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
    nix::mount::umount2(name, flags).map_err(|e| {
        let arguments = format_args!("{name:?}, MNT_DETACH|UMOUNT_NOFOLLOW");
        Error::syscall("umount2", arguments, e as i32)
    })
}

/// Makes the working directory the root and stacks the old root on top of it, where
/// `umount_detach(".")` finds it.
///
/// pivot_root(2). EINVAL: the root is the initramfs, or a mount involved is shared.
pub fn pivot_root_here() -> Result<()> {
    nix::unistd::pivot_root(".", ".")
        .map_err(|e| Error::syscall("pivot_root", r#"".", ".""#, e as i32))
}

/// Makes the working directory the root, chroot(2).
pub fn chroot_here() -> Result<()> {
    nix::unistd::chroot(".").map_err(|e| Error::syscall("chroot", r#"".""#, e as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_names_its_arguments() {
        let error = fsopen(c"nosuchfs").unwrap_err();
        assert_eq!(error.call(), Some("fsopen"));
        let missing = Path::new("/nonexistent");
        let error = open_tree(Place::Host(missing), libc::AT_RECURSIVE).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("open_tree(AT_FDCWD, \"/nonexistent\", OPEN_TREE_CLONE"));
    }
}
