//! procfs and sysfs: their own rules about where they go, and what to do where a user
//! namespace may not mount them.
//!
//! Runs in: init before pivot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Context;
use super::bind::Tree;
use super::mount::Request;
use crate::error::{Error, Result};
use crate::plan::namespaces::Kind;
use crate::plan::rootfs::FileSystem;
use crate::sys::mount::{Attributes, Place};

/// Mounts procfs on a directory that is no symbolic link (CVE-2019-19921, CVE-2023-27561).
///
/// The kernel refuses it (EPERM) to a user namespace that sees only a procfs with parts
/// covered. Where the pid namespace is the caller's, the caller's own /proc serves.
pub fn proc(request: &Request<'_>, fs: &FileSystem, context: &Context<'_>) -> Result<OwnedFd> {
    let target = request.root.real_directory(&request.entry.destination)?;
    match request.new_instance(target.as_fd(), fs) {
        Err(e) if e.is(Errno::EPERM) && !context.namespaces.is_private(Kind::Pid) => {
            bind_instead(request, target.as_fd(), "/proc", e)
        }
        Err(e)
            if e.is(Errno::EPERM)
                && context.namespaces.joins(Kind::Pid)
                && context.namespaces.is_new(Kind::User) =>
        {
            Err(e.with_hint("a procfs belongs to the owner of its pid namespace, which is another user namespace than the container's: join that one too, or bind /proc"))
        }
        Err(e) if e.is(Errno::EPERM) => Err(e.with_hint(
            "the procfs of this host has parts covered, as inside another container: give that one an unmasked /proc, or share its pid namespace",
        )),
        result => result,
    }
}

/// Mounts sysfs on a directory that is no symbolic link.
///
/// The kernel refuses it (EPERM) to whoever has no rights over the network namespace. Where
/// that is the caller's, the caller's own /sys serves.
pub fn sysfs(request: &Request<'_>, fs: &FileSystem, context: &Context<'_>) -> Result<OwnedFd> {
    let target = request.root.real_directory(&request.entry.destination)?;
    match request.new_instance(target.as_fd(), fs) {
        Err(e)
            if (e.is(Errno::EPERM) || e.is(Errno::EBUSY))
                && !context.namespaces.is_private(Kind::Network) =>
        {
            bind_instead(request, target.as_fd(), "/sys", e)
        }
        Err(e) if e.is(Errno::EPERM) => {
            Err(e.with_hint("sysfs belongs to the network namespace: use a new one, or bind /sys"))
        }
        result => result,
    }
}

/// What config.json forbids in the one file system that it asks for.
const RESTRICTIONS: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;

/// Binds the host's tree in place of what could not be mounted, for the reason `refused`.
///
/// CVE-2023-25809: the host has others mounted in it, its cgroups in /sys, and a read-only /sys
/// is to be so throughout.
fn bind_instead(
    request: &Request<'_>,
    target: BorrowedFd<'_>,
    host: &str,
    refused: Error,
) -> Result<OwnedFd> {
    let recursive = Attributes {
        set: request.recursive.set | request.attributes.set & RESTRICTIONS,
        ..request.recursive
    };
    let request = Request {
        recursive,
        ..*request
    };
    Tree::copy(Place::Host(Path::new(host)), libc::AT_RECURSIVE)
        .and_then(|tree| request.attach(tree, target))
        .map_err(|e| e.within(format!("{refused}, and binding {host}")))
}
