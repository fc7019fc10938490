//! Where CRIU finds what a container's bind mounts are of.
//!
//! It binds them by path, and as root of the container where that has a user namespace: then a
//! folder for root alone, as engines keep volumes in, is closed to it. A bind mount has the id
//! map of what it is of. So those two kinds of sources are laid out in a folder of CRIU's own
//! mount namespace, the second with their ids mapped; the others are where the host has them.
//!
//! Runs in: parent decides, criu lays out before it is CRIU.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use crate::error::Result;
use crate::plan::checkpoint::Bind;
use crate::plan::namespaces::Kind;
use crate::plan::rootfs::{Mount, Source};
use crate::plan::{HostPath, Plan};
use crate::sys::mount::Place;
use crate::sys::{file, mount};

use super::mounts::Mounts;

/// A folder that every host has and all may pass through, hier(7).
const PASSABLE: &str = "/mnt";

const FOLDER: &CStr = c"sources";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Below it each source lies under its mount's place in config.json.
    pub(super) folder: PathBuf,
    /// Whether all sources are laid out, and not only those with an id map.
    pub(super) is_passable: bool,
}

impl Sources {
    /// For a restore of `plan` with the program `criu`, at the place of its
    /// [`Stage`](super::criu::Stage).
    pub fn of(plan: &Plan, criu: &Path, place: &HostPath) -> Sources {
        let is_needed = [criu, place.as_path()]
            .iter()
            .any(|path| path.starts_with(PASSABLE));
        let is_passable = plan.namespaces.is_private(Kind::User)
            && !is_needed
            && std::fs::symlink_metadata(PASSABLE).is_ok_and(|found| found.is_dir());
        Sources {
            folder: match is_passable {
                true => PathBuf::from(PASSABLE),
                false => place.as_path().join("sources"),
            },
            is_passable,
        }
    }

    /// The source of `bind` where it is laid out.
    pub fn of_bind(&self, bind: &Bind) -> Option<PathBuf> {
        let is_laid_out = self.is_passable || bind.is_mapped;
        is_laid_out.then(|| self.folder.join(bind.index.to_string()))
    }

    /// Lays them out. `place` is covered by a tmpfs already.
    pub fn lay_out(&self, plan: &Plan, place: &HostPath) -> Result<()> {
        let folder = self.open(place)?;
        let mut mounts = Mounts::new(&plan.rootfs);
        for (number, entry) in plan.rootfs.mounts.iter().enumerate() {
            let Some(index) = entry.index.filter(|_| self.has(entry)) else {
                continue;
            };
            let made = mounts.make(number)?;
            let name = file::c_name(&index.to_string())?;
            match file::kind(&file::stat(made.as_fd())?) {
                SFlag::S_IFDIR => file::mkdirat(folder.as_fd(), &name, 0o755)?,
                _ => drop(file::create_entry(folder.as_fd(), &name, 0o644)?),
            }
            mount::move_mount(made.as_fd(), Place::Entry(folder.as_fd(), &name))?;
        }
        Ok(())
    }

    fn has(&self, entry: &Mount) -> bool {
        let is_bind = matches!(
            entry.source,
            Source::Bind {
                copy_symlink: false,
                ..
            }
        );
        is_bind && (self.is_passable || entry.id_map.is_some())
    }

    fn open(&self, place: &HostPath) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        if self.is_passable {
            let covered = file::open_host(&self.folder, flags)?;
            let (tmpfs, data) = (Some(c"tmpfs"), Some(c"mode=0755"));
            mount::mount(tmpfs, &mount::fd_path(&covered), tmpfs, 0, data)?;
        } else {
            let top = file::open_host(place.as_path(), flags)?;
            file::mkdirat(top.as_fd(), FOLDER, 0o755)?;
        }
        file::open_host(&self.folder, flags)
    }
}
