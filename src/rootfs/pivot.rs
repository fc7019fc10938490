//! The change of root.
//!
//! Runs in: init before pivot; on return it is after pivot.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::beneath::Root;
use super::propagation;
use crate::error::Result;
use crate::host::mountinfo;
use crate::plan::rootfs::{Pivot, Rootfs};
use crate::sys;
use crate::sys::mount::Place;

/// Makes `root` the root and the working directory, and leaves nothing of the old one.
pub fn enter(root: &Root, plan: &Rootfs) -> Result<()> {
    match plan.pivot {
        Pivot::PivotRoot => pivot(root, plan),
        Pivot::MoveAndChroot => move_and_chroot(root, plan),
        Pivot::Chroot => chroot(root),
    }
}

fn pivot(root: &Root, plan: &Rootfs) -> Result<()> {
    let shared = propagation::leaves_something_shared(plan.propagation);
    let old_root = if shared {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Some(sys::file::open_host(Path::new("/"), flags)?)
    } else {
        None
    };
    sys::file::change_directory(root.as_fd())?;
    sys::mount::pivot_root_here().map_err(|e| {
        if e.is(Errno::EINVAL) {
            e.with_hint("a host whose root is its initial ramdisk needs --no-pivot")
        } else {
            e
        }
    })?;
    if let Some(old_root) = old_root {
        // The unmount below must not reach the host.
        propagation::apply(old_root.as_fd(), &[libc::MS_SLAVE | libc::MS_REC])?;
    }
    // pivot_root(2), NOTES: the old root lies on top of the new one, and `.` finds it.
    sys::mount::umount_detach(c".")
}

fn chroot(root: &Root) -> Result<()> {
    sys::file::change_directory(root.as_fd())?;
    sys::mount::chroot_here()
}

/// Moves the root over `/`. The host's procfs and sysfs stay below, where a process with
/// CAP_SYS_CHROOT could find them, so they go first, or are covered.
fn move_and_chroot(root: &Root, plan: &Rootfs) -> Result<()> {
    let own = plan.root.as_path();
    for mount in mountinfo::read("/proc/self/mountinfo")? {
        let is_whole = mount.root == Path::new("/");
        let shows_the_host = is_whole && matches!(mount.kind.as_str(), "proc" | "sysfs");
        if shows_the_host && !mount.point.starts_with(own) {
            remove(&mount.point)?;
        }
    }
    sys::file::change_directory(root.as_fd())?;
    sys::mount::move_mount(root.as_fd(), Place::Host(Path::new("/"))).or_else(|e| {
        if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) {
            // KERNEL(5.2): without move_mount(2) the root is moved by mount(2).
            sys::mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)
        } else {
            Err(e)
        }
    })?;
    sys::mount::chroot_here()
}

fn remove(point: &Path) -> Result<()> {
    let point = sys::file::c_path(point)?;
    // Not to be unmounted on the host too; a mount that the host locked cannot be changed.
    let private = sys::mount::mount(None, &point, None, libc::MS_PRIVATE, None);
    if let Err(e) = private
        && !e.is(Errno::EINVAL)
        && !e.is(Errno::ENOENT)
    {
        return Err(e);
    }
    match sys::mount::umount_detach(&point) {
        Err(e) if e.is(Errno::EINVAL) || e.is(Errno::EPERM) => {
            sys::mount::mount(Some(c"tmpfs"), &point, Some(c"tmpfs"), 0, None)
        }
        Err(e) if e.is(Errno::ENOENT) => Ok(()),
        result => result,
    }
}
