//! One bind mount by descriptor, with the way around for kernels without open_tree(2).
//!
//! Runs in: init before and after pivot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::mount::Place;

/// The copy of a mount, or on old kernels the wish for one.
pub enum Tree {
    /// Attached nowhere yet.
    Detached(OwnedFd),
    /// KERNEL(5.2): without open_tree(2) what is to be bound is remembered, with `MS_BIND`
    /// and perhaps `MS_REC`, and mount(2) binds it where it is attached.
    Wish { source: OwnedFd, flags: u64 },
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Tree::Detached(fd) => fd.as_fd(),
            Tree::Wish { source, .. } => source.as_fd(),
        }
    }
}

impl Tree {
    /// Copies the mount at `source`; `flags` as for open_tree(2).
    pub fn copy(source: Place<'_>, flags: i32) -> Result<Tree> {
        match sys::mount::open_tree(source, flags) {
            Ok(fd) => Ok(Tree::Detached(fd)),
            Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => Tree::wish(source, flags),
            Err(e) => Err(e),
        }
    }

    fn wish(source: Place<'_>, flags: i32) -> Result<Tree> {
        let nofollow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 {
            OFlag::empty()
        } else {
            OFlag::O_NOFOLLOW
        };
        let source = match source {
            Place::Host(path) => sys::file::open_host(path, OFlag::O_PATH | nofollow)?,
            Place::Entry(directory, name) => sys::file::open_entry(directory, name, OFlag::O_PATH)?,
            Place::Fd(fd) => sys::file::duplicate(fd)?,
        };
        let recursive = if flags & libc::AT_RECURSIVE == 0 {
            0
        } else {
            libc::MS_REC
        };
        let flags = libc::MS_BIND | recursive;
        Ok(Tree::Wish { source, flags })
    }

    /// Attaches the copy on `target` and returns the descriptor of the new mount. `reopen`
    /// finds it where the kernel's old calls do not tell.
    pub fn attach(
        self,
        target: Place<'_>,
        reopen: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<OwnedFd> {
        match self {
            Tree::Detached(fd) => {
                sys::mount::move_mount(fd.as_fd(), target)
                    .map_err(|e| explain_kinds(fd.as_fd(), target, e))?;
                Ok(fd)
            }
            Tree::Wish { source, flags } => {
                let source = sys::mount::fd_path(&source);
                let bind = |target: BorrowedFd<'_>| {
                    let target = sys::mount::fd_path(target);
                    sys::mount::mount(Some(&source), &target, None, flags, None)
                };
                match target {
                    Place::Fd(fd) => bind(fd)?,
                    Place::Entry(directory, name) => {
                        bind(sys::file::open_entry(directory, name, OFlag::O_PATH)?.as_fd())?;
                    }
                    Place::Host(path) => {
                        bind(sys::file::open_host(path, OFlag::O_PATH)?.as_fd())?;
                    }
                }
                reopen()
            }
        }
    }
}

/// move_mount(2) says EINVAL where mount(2) says ENOTDIR, whose words engines know.
pub fn explain_kinds(source: BorrowedFd<'_>, target: Place<'_>, error: Error) -> Error {
    let is_directory = |stat: Result<FileStat>| {
        stat.map(|stat| sys::file::kind(&stat) == SFlag::S_IFDIR)
            .ok()
    };
    let target = match target {
        Place::Fd(fd) => is_directory(sys::file::stat(fd)),
        Place::Entry(directory, name) => is_directory(sys::file::stat_entry(directory, name)),
        Place::Host(_) => None,
    };
    match (is_directory(sys::file::stat(source)), target) {
        (Some(true), Some(false)) => {
            error.within("the source is a directory, the destination is not a directory")
        }
        (Some(false), Some(true)) => {
            error.within("the source is not a directory, the destination is a directory")
        }
        _ => error,
    }
}
