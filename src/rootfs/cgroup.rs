//! The container's view of its cgroups.
//!
//! Runs in: init before pivot.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::bind::Tree;
use super::mount::Request;
use super::{Context, masks};
use crate::error::Result;
use crate::plan::HostPath;
use crate::plan::namespaces::Kind;
use crate::plan::rootfs::FileSystem;
use crate::sys::mount::Place;

/// Mounts cgroup2, on a hybrid host too.
///
/// Where that is refused (EPERM: no rights over the cgroup namespace; EBUSY: mounted with
/// other options) the host's mount is bound: the container's own cgroup where its cgroup
/// namespace is private, else the whole tree. Where there is none to be bound, a user
/// namespace gets an empty read-only directory, since what lies below may be the host's
/// writable cgroups (CVE-2023-25809).
pub fn mount(request: &Request<'_>, fs: &FileSystem, context: &Context<'_>) -> Result<OwnedFd> {
    let target = request.directory()?;
    let fs = FileSystem {
        kind: c"cgroup2".to_owned(),
        ..fs.clone()
    };
    let refused = match request.new_instance(target.as_fd(), &fs) {
        Err(e) if e.is(Errno::EPERM) || e.is(Errno::EBUSY) => e,
        result => return result,
    };
    let own = context
        .own_cgroup
        .as_deref()
        .filter(|_| context.namespaces.is_private(Kind::Cgroup));
    let bound = match own.or(request.plan.cgroup_mount.as_ref().map(HostPath::as_path)) {
        Some(path) => Tree::copy(Place::Host(path), libc::AT_RECURSIVE)
            .and_then(|tree| request.attach(tree, target.as_fd())),
        None => Err(refused.clone()),
    };
    match bound {
        Err(e) if context.in_user_namespace && (e.is(Errno::ENOENT) || e == refused) => {
            let label = request.plan.mount_label.as_ref();
            masks::cover_directory(target.as_fd(), label, || request.reopen())
        }
        result => result,
    }
}
