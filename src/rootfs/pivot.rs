//! The change of root.
//!
//! Runs in: init before pivot; on return it is after pivot.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::beneath::Root;
use super::propagation;
use crate::error::{Error, Result};
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
        Some(sys::file::open_host(std::path::Path::new("/"), flags)?)
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
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(|e| Error::io("open", "/proc/self/mountinfo", &e))?;
    let own = plan.root.as_path();
    for line in mounts.lines() {
        let Some(mount) = HostMount::parse(line) else {
            continue;
        };
        if mount.is_whole_proc_or_sysfs() && !std::path::Path::new(&mount.point).starts_with(own) {
            remove(&mount)?;
        }
    }
    sys::file::change_directory(root.as_fd())?;
    sys::mount::move_mount(root.as_fd(), Place::Host(std::path::Path::new("/"))).or_else(|e| {
        if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) {
            // KERNEL(5.2): without move_mount(2) the root is moved by mount(2).
            sys::mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)
        } else {
            Err(e)
        }
    })?;
    sys::mount::chroot_here()
}

fn remove(mount: &HostMount) -> Result<()> {
    let point = sys::file::c_name(&mount.point)?;
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

/// What a line of /proc/PID/mountinfo tells, proc_pid_mountinfo(5).
struct HostMount {
    /// The directory of its file system that is mounted.
    root: String,
    point: String,
    kind: String,
}

impl HostMount {
    fn parse(line: &str) -> Option<HostMount> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        Some(HostMount {
            root: unescape(fields.next()?),
            point: unescape(fields.next()?),
            kind: file_system.split(' ').next()?.to_owned(),
        })
    }

    fn is_whole_proc_or_sysfs(&self) -> bool {
        self.root == "/" && matches!(self.kind.as_str(), "proc" | "sysfs")
    }
}

/// Turns `\040` into a space, and so on.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (byte, octal) {
            (b'\\', Some(value)) => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - proc proc rw";
        let mount = HostMount::parse(line).unwrap();
        assert_eq!(
            (mount.root.as_str(), mount.point.as_str()),
            ("/mnt1", "/mnt 2")
        );
        assert!(!mount.is_whole_proc_or_sysfs());
    }
}
