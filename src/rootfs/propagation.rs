//! Which mounts and unmounts travel between the container and the host.
//!
//! Runs in: init before pivot, and after it for the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::error::{Context as _, Result};
use crate::plan::HostPath;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::plan::rootfs::Rootfs;
use crate::sys;
use crate::sys::mount::Attributes;

const KINDS: u64 = libc::MS_SHARED | libc::MS_SLAVE | libc::MS_PRIVATE | libc::MS_UNBINDABLE;

/// Cuts the mount namespace off from the host as far as the plan says.
pub fn isolate(plan: &Rootfs, namespaces: &Namespaces) -> Result<()> {
    // mount_namespaces(7): in a mount namespace that a new user namespace owns, every mount is
    // a slave from the start.
    let born_slave = namespaces.is_new(Kind::User) && namespaces.is_new(Kind::Mount);
    if born_slave && plan.propagation == libc::MS_SLAVE | libc::MS_REC {
        return Ok(());
    }
    let propagation = before_pivot(plan.propagation);
    sys::mount::mount(None, c"/", None, propagation, None)
        .at("/linux/rootfsPropagation", || "propagation of /")?;
    if leaves_something_shared(propagation) {
        // pivot_root(2) refuses a root whose parent mount is shared, and what is mounted on a
        // shared one would appear on the host.
        make_parent_private(&plan.root).context(|| format!("making {} private", plan.root))?;
    }
    Ok(())
}

/// What the host's mounts get. What is unbindable could not be bound into the container any
/// more, so that comes with the root alone, at the end.
fn before_pivot(propagation: u64) -> u64 {
    if propagation & libc::MS_UNBINDABLE == 0 {
        propagation
    } else {
        libc::MS_PRIVATE | libc::MS_REC
    }
}

/// Whether mounts of the host may still be shared with it.
pub fn leaves_something_shared(propagation: u64) -> bool {
    let propagation = before_pivot(propagation);
    propagation & libc::MS_REC == 0 || propagation & (libc::MS_SLAVE | libc::MS_PRIVATE) == 0
}

/// Applies a mount's own propagation flags, in their order.
pub fn apply(mount: BorrowedFd<'_>, flags: &[u64]) -> Result<()> {
    flags.iter().try_for_each(|flag| set(mount, *flag))
}

/// Applies linux.rootfsPropagation to the container's root.
pub fn apply_to_root(root: impl AsFd, propagation: u64) -> Result<()> {
    // The root is private already: it is a copy of a private or slave mount.
    if propagation & libc::MS_PRIVATE != 0 {
        return Ok(());
    }
    set(root.as_fd(), propagation)
}

fn set(mount: BorrowedFd<'_>, flag: u64) -> Result<()> {
    let recursive = if flag & libc::MS_REC == 0 {
        0
    } else {
        libc::AT_RECURSIVE
    };
    let wanted = Attributes {
        propagation: flag & KINDS,
        ..Attributes::default()
    };
    match sys::mount::mount_setattr(mount, recursive, wanted) {
        // KERNEL(5.12): without mount_setattr(2) by mount(2).
        Err(e) if e.is(Errno::ENOSYS) => {
            sys::mount::mount(None, &sys::mount::fd_path(mount), None, flag, None)
        }
        result => result,
    }
}

/// Makes the mount that holds `path` private: the nearest directory upwards that is the root
/// of a mount.
fn make_parent_private(path: &HostPath) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let mut directory: OwnedFd = sys::file::open_host(path.as_path(), flags)?;
    let mut levels = path.as_path().components().count();
    loop {
        match set(directory.as_fd(), libc::MS_PRIVATE) {
            // EINVAL: not the root of a mount.
            Err(e) if e.is(Errno::EINVAL) && levels > 0 => levels -= 1,
            result => return result,
        }
        directory = sys::file::open_entry(directory.as_fd(), c"..", flags)?;
    }
}
