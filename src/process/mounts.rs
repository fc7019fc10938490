//! Mounts that the parent makes for init: sources that init cannot reach, and id-mapped ones.
//!
//! Owns the user namespaces that id maps need. The kernel reads a map from a user namespace,
//! and such a namespace lives by a process: a short-lived child that does nothing, and is gone
//! before init asks for the next mount.
//!
//! Runs in: parent, with CAP_SYS_ADMIN in the user namespace of the file systems.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::plan::namespaces::IdMaps;
use crate::plan::rootfs::{Mount, MountIdMap, MountIds, Rootfs, Source};
use crate::rootfs;
use crate::sys::process::{self, Cloned};
use crate::sys::{check, mount};

use super::idmap;

/// The parent's side of `MountFd` and `Nodes`.
pub struct Mounts<'a> {
    plan: &'a Rootfs,
    /// Mounts mostly have the same map: one namespace serves for all of them.
    namespaces: Vec<(&'a MountIds, OwnedFd)>,
}

impl<'a> Mounts<'a> {
    pub fn new(plan: &'a Rootfs) -> Mounts<'a> {
        Mounts {
            plan,
            namespaces: Vec::new(),
        }
    }

    /// `mounts[index]` as a detached mount.
    pub fn make(&mut self, index: usize) -> Result<OwnedFd> {
        let Some(entry) = self.plan.mounts.get(index) else {
            return Err(Error::system(format!("init asks for mount {index}")));
        };
        self.make_entry(entry).at(&format!("/mounts/{index}"), || {
            format!("mounts[{index}] ({})", entry.destination)
        })
    }

    /// The device nodes of a user namespace with these maps, if this process may make any.
    pub fn nodes(&self, maps: Option<&IdMaps>) -> Result<Option<OwnedFd>> {
        maps.map_or(Ok(None), |maps| rootfs::make_nodes(self.plan, maps))
    }

    fn make_entry(&mut self, entry: &'a Mount) -> Result<OwnedFd> {
        let made = match (&entry.source, &entry.id_map) {
            (
                Source::Bind {
                    path,
                    recursive,
                    nofollow,
                    ..
                },
                _,
            ) => {
                let depth = if *recursive { libc::AT_RECURSIVE } else { 0 };
                let link = if *nofollow {
                    libc::AT_SYMLINK_NOFOLLOW
                } else {
                    0
                };
                mount::open_tree(mount::Place::Host(path.as_path()), depth | link)?
            }
            (Source::New(fs) | Source::CopyUp(fs), Some(_)) => rootfs::detached(fs, 0)?,
            _ => return Err(Error::system("init asks for a mount that it makes itself")),
        };
        if let Some(map) = &entry.id_map {
            self.map_ids(&made, map)?;
        }
        Ok(made)
    }

    fn map_ids(&mut self, made: &OwnedFd, map: &'a MountIdMap) -> Result<()> {
        let known = self.namespaces.iter().position(|(ids, _)| **ids == map.ids);
        let at = match known {
            Some(at) => at,
            None => {
                let namespace = open_namespace(&map.ids).context(|| "idmap")?;
                self.namespaces.push((&map.ids, namespace));
                self.namespaces.len() - 1
            }
        };
        let flags = if map.recursive { libc::AT_RECURSIVE } else { 0 };
        let namespace = &self.namespaces[at].1;
        mount::map_ids(made.as_fd(), flags, namespace.as_fd())
            .map_err(|e| explain(e, map))
            .context(|| if map.recursive { "ridmap" } else { "idmap" })
    }
}

/// A user namespace with these maps. It stays as long as the descriptor.
fn open_namespace(ids: &MountIds) -> Result<OwnedFd> {
    match ids {
        MountIds::Namespace(path) => open(&path.as_path().to_string_lossy()),
        MountIds::Maps { uids, gids } => {
            let parent = nix::unistd::getpid();
            let child = match process::clone(libc::CLONE_NEWUSER as u64, None)? {
                Cloned::Child { .. } => idle(parent),
                Cloned::Parent(child) => child,
            };
            let pid = child.pid();
            idmap::write_map(pid, "uid_map", uids)?;
            idmap::write_map(pid, "gid_map", gids)?;
            open(&format!("/proc/{pid}/ns/user"))
        }
    }
}

fn open(path: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    check(
        nix::fcntl::open(path, flags, Mode::empty()),
        "open",
        format_args!("{path:?}"),
    )
}

/// Waits to be killed, which the end of `parent` does too.
fn idle(parent: Pid) -> ! {
    process::set_name(c"rt:idmap");
    if process::die_with_parent().is_err() || nix::unistd::getppid() != parent {
        process::exit_now(1);
    }
    loop {
        nix::unistd::pause();
    }
}

fn explain(error: Error, map: &MountIdMap) -> Error {
    let source = if map.recursive {
        "the source, or of a mount below it,"
    } else {
        "the source"
    };
    match error.errno().map(Errno::from_raw) {
        // KERNEL(5.12): without mount_setattr(2) no ids can be mapped.
        Some(Errno::ENOSYS) => error.with_hint("id-mapped mounts need Linux 5.12"),
        Some(Errno::EINVAL) => error.with_hint(format!(
            "the file system of {source} has no id-mapped mounts on this kernel: ext4, xfs and vfat have them since Linux 5.12, btrfs and ntfs3 5.15, f2fs 5.18, erofs 5.19, squashfs 6.2, tmpfs 6.3, ceph 6.7, fuse 6.12 where the server wants it; overlay only by id-mapped layers"
        )),
        Some(Errno::EPERM) => error.with_hint(format!(
            "ids can be mapped by whoever has CAP_SYS_ADMIN in the user namespace that mounted the file system of {source} and only where they are not mapped already: run rt as root of the host"
        )),
        _ => error,
    }
}
