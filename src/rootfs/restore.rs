//! The container's root as CRIU wants to find it: a mount of its own, with all mount points.
//!
//! CRIU makes the mounts itself, by paths below the root. What it needs there is made here,
//! beneath the root's descriptor, so that a link in the image leads to nothing on the host.
//!
//! Runs in: criu, before it is CRIU, in a mount namespace of its own.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag};

use super::beneath::{NodeKind, Root};
use super::bind::Tree;
use super::{mount_name, mount_pointer};
use crate::error::{Context as _, Result};
use crate::plan::rootfs::{Mount, Rootfs, Source};
use crate::plan::{ContainerPath, HostPath};
use crate::sys;
use crate::sys::mount::Place;

/// Binds the container's root to a directory in a tmpfs over `place`, and returns its path:
/// CRIU wants a root that is a mount whose parent is not covered.
///
/// A folder `kept` in `place`, a source of mounts, stays in sight. Missing mount points are made in the root's file system, as at a container's first start.
pub fn lay_out(plan: &Rootfs, place: &HostPath, kept: &CStr) -> Result<PathBuf> {
    let slave = libc::MS_SLAVE | libc::MS_REC;
    sys::mount::mount(None, c"/", None, slave, None).context(|| "propagation of /")?;
    let open = || sys::file::open_host(place.as_path(), OFlag::O_PATH | OFlag::O_DIRECTORY);
    let tmpfs = Some(c"tmpfs");
    let data = Some(c"mode=0700");
    let covered = open()?;
    let kept_tree = Tree::copy(Place::Entry(covered.as_fd(), kept), 0)?;
    sys::mount::mount(tmpfs, &sys::mount::fd_path(&covered), tmpfs, 0, data)?;
    let top = open()?;
    sys::file::mkdirat(top.as_fd(), c"root", 0o755)?;
    sys::file::mkdirat(top.as_fd(), kept, 0o755)?;
    kept_tree.attach(Place::Entry(top.as_fd(), kept), || {
        sys::file::open_entry(top.as_fd(), kept, OFlag::O_PATH)
    })?;
    let path = place.as_path().join("root");
    let root = bind_root(plan, &path)?;
    let umask = nix::sys::stat::umask(Mode::empty());
    let made = make_mount_points(&root, plan);
    nix::sys::stat::umask(umask);
    made?;
    // With the bind mounts that mount points were made in; CRIU makes them again.
    sys::mount::umount_detach(&sys::mount::fd_path(root.as_fd()))?;
    bind_root(plan, &path)?;
    Ok(path)
}

fn bind_root(plan: &Rootfs, path: &std::path::Path) -> Result<Root> {
    let there = HostPath::new(path);
    Tree::copy(Place::Host(plan.root.as_path()), libc::AT_RECURSIVE)
        .and_then(|tree| {
            tree.attach(Place::Host(path), || {
                sys::file::open_host(path, OFlag::O_PATH)
            })
        })
        .at("/root/path", || "root.path")?;
    Root::open_host(&there)
}

fn make_mount_points(root: &Root, plan: &Rootfs) -> Result<()> {
    // What lies in a file system of its own comes with it, out of the images.
    let mut restored: Vec<&ContainerPath> = Vec::new();
    for entry in &plan.mounts {
        let below = restored.iter().any(|top| is_below(&entry.destination, top));
        if !below {
            make_mount_point(root, entry).at(&mount_pointer(entry), || mount_name(entry))?;
        }
        if !matches!(entry.source, Source::Bind { .. } | Source::Remount(_)) {
            restored.push(&entry.destination);
        }
    }
    Ok(())
}

fn make_mount_point(root: &Root, entry: &Mount) -> Result<()> {
    let destination = &entry.destination;
    match &entry.source {
        Source::Remount(_) => Ok(()),
        Source::Bind {
            path, recursive, ..
        } => {
            let depth = if *recursive { libc::AT_RECURSIVE } else { 0 };
            let tree = Tree::copy(Place::Host(path.as_path()), depth)?;
            let kind = sys::file::kind(&sys::file::stat(tree.as_fd())?);
            let target = root.mount_point(destination, || {
                Ok(match kind {
                    SFlag::S_IFDIR => NodeKind::Directory,
                    _ => NodeKind::File,
                })
            })?;
            // Other mount points may have to be made in it.
            tree.attach(Place::Fd(target.as_fd()), || root.open(destination))
                .map(drop)
        }
        // CVE-2019-19921: CRIU mounts these where their names lead.
        Source::Proc(_) | Source::Sysfs(_) => root.real_directory(destination).map(drop),
        Source::New(_) | Source::CopyUp(_) | Source::Cgroup(_) => root
            .mount_point(destination, || Ok(NodeKind::Directory))
            .map(drop),
    }
}

fn is_below(path: &ContainerPath, top: &ContainerPath) -> bool {
    let rest = path.as_str().strip_prefix(top.as_str());
    rest.is_some_and(|rest| top.is_root() || rest.starts_with('/'))
}
