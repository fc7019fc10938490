//! What is made beneath the root of a running container, to be undone.
//!
//! The container's processes may rename what lies on the way to it meanwhile, or put a link there.
//! So nothing is looked up again: a mount is known by its descriptor, a mount point by that of the
//! directory that holds it, and it goes only if it is still what was made. Who can put another file
//! in its place there could remove that one as well.
//!
//! Runs in: mounter, with all capabilities over the container's mount namespace.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::stat::SFlag;

use crate::error::Result;
use crate::log;
use crate::sys;

/// One thing that was made.
enum Made {
    MountPoint {
        directory: OwnedFd,
        name: CString,
        itself: OwnedFd,
    },
    Mount(OwnedFd),
}

/// All that was made, in its order.
#[derive(Default)]
pub struct Journal(RefCell<Vec<Made>>);

impl Journal {
    /// Notes the entry `name` of `directory`, which was made a moment ago and opened as `itself`.
    pub fn note_mount_point(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        itself: BorrowedFd<'_>,
    ) -> Result<()> {
        self.0.borrow_mut().push(Made::MountPoint {
            directory: sys::file::duplicate(directory)?,
            name: name.to_owned(),
            itself: sys::file::duplicate(itself)?,
        });
        Ok(())
    }

    /// Notes a mount that is about to be attached.
    pub fn note_mount(&self, mount: BorrowedFd<'_>) -> Result<()> {
        let mount = sys::file::duplicate(mount)?;
        self.0.borrow_mut().push(Made::Mount(mount));
        Ok(())
    }

    /// Undoes all, the last first. `own` is an open /proc/self of the host's procfs. What cannot be
    /// undone stays, with a warning.
    pub fn undo(&self, own: BorrowedFd<'_>) {
        for made in self.0.borrow_mut().drain(..).rev() {
            if let Err(e) = made.undo(own) {
                log::warning(|| format!("undoing: {e}"));
            }
        }
    }
}

impl Made {
    fn undo(&self, own: BorrowedFd<'_>) -> Result<()> {
        match self {
            Made::Mount(mount) => sys::procfs::unmount(own, mount.as_fd()),
            Made::MountPoint {
                directory,
                name,
                itself,
            } => remove_mount_point(directory.as_fd(), name, itself.as_fd()),
        }
    }
}

/// Removes an empty directory, or a file without content.
fn remove_mount_point(
    directory: BorrowedFd<'_>,
    name: &CStr,
    itself: BorrowedFd<'_>,
) -> Result<()> {
    let made = sys::file::stat(itself)?;
    let there = sys::file::stat_entry(directory, name)?;
    if (there.st_dev, there.st_ino) != (made.st_dev, made.st_ino) {
        return Ok(());
    }
    match sys::file::kind(&there) {
        SFlag::S_IFDIR => sys::file::rmdirat(directory, name),
        SFlag::S_IFREG if there.st_size == 0 => sys::file::unlinkat(directory, name),
        _ => Ok(()),
    }
}
