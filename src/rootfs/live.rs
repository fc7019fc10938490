//! Mounts that come into a running container, or leave it.
//!
//! The container's processes are at work meanwhile, on the same paths. To add is safe as at
//! `create`: every lookup ends in a descriptor beneath the root, and what is mounted there was
//! made out of their reach. To remove is to name a mount by its path, so none of it may be a
//! symbolic link: one of the container's making would lead to a mount that protects the host,
//! a mask of /proc say. A name that is a mount point can be neither renamed nor removed.
//!
//! What fails half-way is undone, by what [`super::journal`] has noted of it.
//!
//! Runs in: mounter, with all capabilities over the container's mount namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::beneath::Root;
use super::{Context, attributes, mount, mount_name, mount_pointer};
use crate::error::{Context as _, Error, Result};
use crate::log;
use crate::plan::ContainerPath;
use crate::plan::rootfs::Rootfs;
use crate::sys;
use crate::sys::mount::Place;

/// Makes the mounts of `plan` in their order, all or none. `own` is an open /proc/self of the
/// host's procfs.
pub fn add(root: Root, plan: &Rootfs, context: &Context<'_>, own: BorrowedFd<'_>) -> Result<()> {
    let root = root.with_journal();
    let umask = nix::sys::stat::umask(Mode::empty());
    let added = add_all(&root, plan, context);
    if added.is_err() {
        root.undo(own);
    }
    nix::sys::stat::umask(umask);
    added
}

fn add_all(root: &Root, plan: &Rootfs, context: &Context<'_>) -> Result<()> {
    let mut readonly_later = Vec::new();
    for entry in &plan.mounts {
        let made = mount::apply(root, entry, plan, context)
            .at(&mount_pointer(entry), || mount_name(entry))?;
        readonly_later.extend(made.readonly_later.map(|mount| (entry, mount)));
    }
    for (entry, mount) in readonly_later {
        attributes::make_readonly(mount.as_fd()).at(&mount_pointer(entry), || mount_name(entry))?;
    }
    Ok(())
}

/// Unmounts what lies at these paths, the last first, all or none.
pub fn remove(root: &Root, destinations: &[ContainerPath]) -> Result<()> {
    let mut copies: Vec<(OwnedFd, &ContainerPath)> = Vec::new();
    for (index, path) in destinations.iter().enumerate().rev() {
        let copy_and_unmount = || {
            // What is removed as the last of all never has to come back.
            let copy = match index {
                0 => None,
                _ => Some(copy(root, path)?),
            };
            unmount(root, path).map(|()| copy)
        };
        let removed = copy_and_unmount().at(&format!("/mounts/{index}"), || {
            format!("mounts[{index}] ({path})")
        });
        match removed {
            Ok(copy) => copies.extend(copy.map(|copy| (copy, path))),
            Err(e) => {
                for (copy, path) in copies.iter().rev() {
                    put_back(root, copy, path);
                }
                return Err(e);
            }
        }
    }
    Ok(())
}

/// The mount at `path` with all below it, attached nowhere.
fn copy(root: &Root, path: &ContainerPath) -> Result<OwnedFd> {
    let place = open_real(root, path)?;
    sys::mount::open_tree(Place::Fd(place.as_fd()), libc::AT_RECURSIVE)
}

fn put_back(root: &Root, copy: &OwnedFd, path: &ContainerPath) {
    let attached = open_real(root, path)
        .and_then(|place| sys::mount::move_mount(copy.as_fd(), Place::Fd(place.as_fd())));
    if let Err(e) = attached {
        log::warning(|| format!("{path}: is gone: {e}"));
    }
}

fn open_real(root: &Root, path: &ContainerPath) -> Result<OwnedFd> {
    let (parent, name) = real_parent(root, path)?;
    sys::file::open_entry(parent.as_fd(), &sys::file::c_name(name)?, OFlag::O_PATH)
}

fn unmount(root: &Root, path: &ContainerPath) -> Result<()> {
    let (parent, name) = real_parent(root, path)?;
    sys::file::change_directory(parent.as_fd())?;
    sys::mount::umount_entry(&sys::file::c_name(name)?).map_err(|e| match e.is(Errno::EINVAL) {
        true => e.with_hint(
            "nothing is mounted there, or the kernel keeps the mount in place for the container's user namespace",
        ),
        false => e,
    })
}

fn real_parent<'p>(root: &Root, path: &'p ContainerPath) -> Result<(OwnedFd, &'p str)> {
    if path.is_root() {
        return Err(Error::invalid("the container's root cannot be unmounted"));
    }
    root.real_parent(path)
        .map_err(|e| match e.is(Errno::ELOOP) {
            true => e.with_hint(
                "a symbolic link is on the way, which the container may have put there: give the path where the mount really lies",
            ),
            false => e,
        })
}
