//! Paths that the payload must not read, and paths that it must not change.
//!
//! Runs in: init after pivot; the sources are opened before it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::attributes::{self, Outcome};
use super::beneath::Root;
use super::bind::Tree;
use super::instance;
use crate::error::{Context as _, Error, Result};
use crate::plan::ContainerPath;
use crate::plan::mount_label;
use crate::plan::rootfs::{FileSystem, MountLabel, Rootfs};
use crate::sys;
use crate::sys::mount::{Attributes, Place};

/// What covers a masked file and a masked directory.
#[derive(Default)]
pub struct Sources {
    /// Of the directory.
    label: Option<MountLabel>,
    /// The host's /dev/null.
    null: Option<Tree>,
    /// One mount of each, once it is attached: the others are its copies, so that all
    /// directories share one superblock.
    attached_null: Option<OwnedFd>,
    attached_directory: Option<OwnedFd>,
}

impl Sources {
    /// Opens what has to come from the host.
    ///
    /// CVE-2025-31133: the container's own /dev/null may be anything.
    pub fn open(plan: &Rootfs) -> Result<Sources> {
        if plan.masked_paths.is_empty() {
            return Ok(Sources::default());
        }
        let tree = Tree::copy(Place::Host(Path::new("/dev/null")), 0)?;
        check_null(tree.as_fd())?;
        Ok(Sources {
            // KERNEL(5.2): without open_tree(2) nothing of the host can be bound after pivot: the
            // container's own /dev/null serves, if it is the null device.
            null: matches!(tree, Tree::Detached(_)).then_some(tree),
            label: plan.mount_label.clone(),
            ..Sources::default()
        })
    }

    fn cover_file(
        &mut self,
        root: &Root,
        path: &ContainerPath,
        target: BorrowedFd<'_>,
    ) -> Result<()> {
        let reopen = || root.open(path);
        if let Some(null) = &self.attached_null {
            let tree = Tree::copy(Place::Fd(null.as_fd()), 0)?;
            return tree.attach(Place::Fd(target), reopen).map(drop);
        }
        let tree = match self.null.take() {
            Some(tree) => tree,
            None => {
                let null = root.open_nofollow(&ContainerPath::new("/dev/null"))?;
                check_null(null.as_fd()).context(|| "/dev/null of the container")?;
                self.attached_null = Some(sys::file::duplicate(null.as_fd())?);
                Tree::copy(Place::Fd(null.as_fd()), 0)?
            }
        };
        let mount = tree.attach(Place::Fd(target), reopen)?;
        self.attached_null.get_or_insert(mount);
        Ok(())
    }

    fn cover_directory(
        &mut self,
        root: &Root,
        path: &ContainerPath,
        target: BorrowedFd<'_>,
    ) -> Result<()> {
        let reopen = || root.open(path);
        match &self.attached_directory {
            None => {
                let mount = cover_directory(target, self.label.as_ref(), reopen)?;
                self.attached_directory = Some(mount);
            }
            Some(directory) => {
                let tree = Tree::copy(Place::Fd(directory.as_fd()), 0)?;
                tree.attach(Place::Fd(target), reopen)?;
            }
        }
        Ok(())
    }
}

/// The device 1:3.
fn check_null(fd: BorrowedFd<'_>) -> Result<()> {
    let found = sys::file::stat(fd)?;
    if sys::file::kind(&found) == SFlag::S_IFCHR && found.st_rdev == libc::makedev(1, 3) {
        Ok(())
    } else {
        Err(Error::system("/dev/null is not the null device"))
    }
}

/// Covers a directory with an empty one that cannot be written to but can be listed: the
/// smallest tmpfs, read-only. `reopen` finds the new mount where the kernel's old calls do not
/// tell.
pub fn cover_directory(
    target: BorrowedFd<'_>,
    label: Option<&MountLabel>,
    reopen: impl FnOnce() -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    let option = |key: &CStr, value: &CStr| (key.to_owned(), Some(value.to_owned()));
    let mut fs = FileSystem {
        kind: c"tmpfs".to_owned(),
        source: c"tmpfs".to_owned(),
        superblock_flags: 0,
        data: vec![
            option(c"nr_blocks", c"1"),
            option(c"nr_inodes", c"1"),
            option(c"mode", c"755"),
        ],
    };
    if let Some(label) = label {
        mount_label::add(label, &mut fs);
    }
    let mount = match instance::detached(&fs, libc::MOUNT_ATTR_RDONLY) {
        // KERNEL(5.2): without fsopen(2) by mount(2).
        Err(e) if e.call() == Some("fsopen") && (e.is(Errno::ENOSYS) || e.is(Errno::EPERM)) => {
            instance::mount(target, &fs, libc::MS_RDONLY)?;
            return reopen();
        }
        made => made?,
    };
    sys::mount::move_mount(mount.as_fd(), Place::Fd(target))?;
    Ok(mount)
}

/// Covers each path that is there: a file with /dev/null, a directory with an empty one.
pub fn mask(root: &Root, paths: &[ContainerPath], sources: &mut Sources) -> Result<()> {
    for (i, path) in paths.iter().enumerate() {
        mask_one(root, path, sources).at(&format!("/linux/maskedPaths/{i}"), || {
            format!("linux.maskedPaths[{i}] ({path})")
        })?;
    }
    Ok(())
}

fn mask_one(root: &Root, path: &ContainerPath, sources: &mut Sources) -> Result<()> {
    let Some(target) = open_if_there(root, path)? else {
        return Ok(());
    };
    let kind = sys::file::kind(&sys::file::stat(target.as_fd())?);
    if kind == SFlag::S_IFDIR {
        sources.cover_directory(root, path, target.as_fd())
    } else {
        sources.cover_file(root, path, target.as_fd())
    }
}

/// Makes each path that is there read-only, with the flags that its mount has already.
pub fn make_readonly(root: &Root, paths: &[ContainerPath]) -> Result<()> {
    for (i, path) in paths.iter().enumerate() {
        make_one_readonly(root, path).at(&format!("/linux/readonlyPaths/{i}"), || {
            format!("linux.readonlyPaths[{i}] ({path})")
        })?;
    }
    Ok(())
}

fn make_one_readonly(root: &Root, path: &ContainerPath) -> Result<()> {
    let Some(target) = open_if_there(root, path)? else {
        return Ok(());
    };
    let wanted = Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Attributes::default()
    };
    let tree = Tree::copy(Place::Fd(target.as_fd()), libc::AT_RECURSIVE)?;
    let outcome = match &tree {
        Tree::Detached(fd) => attributes::change(fd.as_fd(), 0, wanted)?,
        Tree::Wish { .. } => Outcome::Later,
    };
    let mount = tree.attach(Place::Fd(target.as_fd()), || root.open(path))?;
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Later => attributes::remount(mount.as_fd(), 0, wanted),
    }
}

/// The path, or nothing where there is none: neither list asks for what is not there.
fn open_if_there(root: &Root, path: &ContainerPath) -> Result<Option<OwnedFd>> {
    match root.open_with(path, OFlag::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(e),
    }
}
