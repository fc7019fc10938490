//! Attributes of mounts: flags, propagation, id maps. mount_setattr(2), Linux 5.12.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::mount::{call, fd_argument};
use super::words::{attribute_words, mount_flag_words};
use crate::error::{Error, Result};

/// What mount_setattr(2) changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to be set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to be cleared first. The kernel wants all of `MOUNT_ATTR__ATIME` here
    /// whenever the way of keeping access times changes.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_PRIVATE`, `MS_SLAVE`, `MS_UNBINDABLE`, or zero.
    pub propagation: u64,
}

/// `struct mount_attr`, Linux 5.12.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const _: () = assert!(size_of::<MountAttr>() == libc::MOUNT_ATTR_SIZE_VER0 as usize);

/// Changes the attributes of the mount at `mount`; with `AT_RECURSIVE` in `flags` also those
/// of the mounts below, all or none.
///
/// mount_setattr(2), Linux 5.12. EPERM: a flag to be cleared is locked in this user
/// namespace.
pub fn mount_setattr(mount: BorrowedFd<'_>, flags: i32, attributes: Attributes) -> Result<()> {
    let attr = MountAttr {
        set: attributes.set,
        clear: attributes.clear,
        propagation: attributes.propagation,
        user_namespace: 0,
    };
    set_attributes(mount, flags, &attr, || {
        format!(
            "attr_set={}, attr_clr={}, propagation={}",
            attribute_words(attributes.set),
            attribute_words(attributes.clear),
            mount_flag_words(attributes.propagation),
        )
    })
}

/// Translates the owners of files in the detached mount `mount` by the maps of a user
/// namespace; with `AT_RECURSIVE` in `flags` in the mounts below too.
///
/// mount_setattr(2) with `MOUNT_ATTR_IDMAP`, Linux 5.12. EINVAL: a file system of these has no
/// id-mapped mounts, or the namespace is its own. EPERM: no CAP_SYS_ADMIN in the user
/// namespace of the file system, or the mount is id-mapped already.
pub fn map_ids(mount: BorrowedFd<'_>, flags: i32, namespace: BorrowedFd<'_>) -> Result<()> {
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: 0,
        user_namespace: namespace.as_raw_fd() as u64,
    };
    set_attributes(mount, flags, &attr, || {
        format!(
            "attr_set=MOUNT_ATTR_IDMAP, userns_fd={}",
            namespace.as_raw_fd()
        )
    })
}

/// Whether this kernel can change mounts with all that lies below them, and map their ids at
/// all: mount_setattr(2), without asking for anything.
pub fn has_mount_setattr() -> bool {
    let arguments = [fd_argument(-1), c"".as_ptr() as usize, 0, 0, 0, 0];
    // A structure of no size is refused before anything else is looked at.
    // SAFETY: the path is a static C string, and nothing is read of the structure.
    let result = unsafe { call(libc::SYS_mount_setattr, arguments) };
    result == Err(Errno::EINVAL)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    flags: i32,
    attr: &MountAttr,
    words: impl FnOnce() -> String,
) -> Result<()> {
    let arguments = [
        fd_argument(mount.as_raw_fd()),
        c"".as_ptr() as usize,
        (libc::AT_EMPTY_PATH | flags) as usize,
        std::ptr::from_ref(attr) as usize,
        size_of::<MountAttr>(),
        0,
    ];
    // SAFETY: mount_setattr(2) reads a static C string and one `MountAttr` of the size given,
    // which is borrowed.
    let result = unsafe { call(libc::SYS_mount_setattr, arguments) };
    result.map(drop).map_err(|e| {
        // A seccomp profile that is older than the call says EPERM to whatever is asked.
        let e = match e {
            Errno::EPERM if !has_mount_setattr() => Errno::ENOSYS,
            e => e,
        };
        let recursive = if flags & libc::AT_RECURSIVE != 0 {
            "|AT_RECURSIVE"
        } else {
            ""
        };
        let arguments = format!(
            r#"{}, "", AT_EMPTY_PATH{recursive}, {{{}}}"#,
            mount.as_raw_fd(),
            words(),
        );
        Error::syscall("mount_setattr", arguments, e as i32)
    })
}
