//! Device nodes for a container with a user namespace, where mknod(2) is refused to init: made
//! by a parent who may do that on the host, and taken by init out of a file system of their own.
//!
//! Only so they have the number, mode and owner that config.json gives them, whatever lies at
//! that path of the host.
//!
//! Runs in: parent with CAP_MKNOD ([`make`]), init before pivot ([`Nodes`]).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::Mode;

use super::beneath::Root;
use super::bind::Tree;
use super::devices::{self, kind};
use super::instance;
use crate::error::Result;
use crate::host;
use crate::plan::mount_label;
use crate::plan::namespaces::IdMaps;
use crate::plan::rootfs::{Device, FileSystem, Rootfs};
use crate::sys;
use crate::sys::mount::Place;

/// The devices that a parent is to make: of config.json, for a user namespace. The default ones
/// every host has, as the specification wants them.
pub fn wanted(plan: &Rootfs) -> impl Iterator<Item = (usize, &Device)> {
    let devices = plan.devices.iter().filter(|device| device.bind);
    devices.filter_map(|device| Some((device.index?, device)))
}

/// A detached tmpfs that holds the wanted nodes, each under its place in config.json.
///
/// None without mknod(2) or mount by descriptors, and no node whose owner is not mapped: then
/// the host's own is bound. The label of the container's files is on them, too.
pub fn make(plan: &Rootfs, maps: &IdMaps) -> Result<Option<OwnedFd>> {
    let mut fs = FileSystem {
        kind: c"tmpfs".to_owned(),
        source: c"rt-devices".to_owned(),
        superblock_flags: 0,
        data: vec![(c"mode".to_owned(), Some(c"0755".to_owned()))],
    };
    if let Some(label) = &plan.mount_label {
        mount_label::add(label, &mut fs);
    }
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    let directory = match instance::detached(&fs, attributes) {
        Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => return Ok(None),
        made => made?,
    };
    let umask = nix::sys::stat::umask(Mode::empty());
    let made = wanted(plan).try_for_each(|(index, device)| {
        devices::at_place(device, make_one(&directory, index, device, maps))
    });
    nix::sys::stat::umask(umask);
    match made {
        Err(e) if e.is(Errno::EPERM) => Ok(None),
        made => made.map(|()| Some(directory)),
    }
}

fn make_one(directory: &OwnedFd, index: usize, device: &Device, maps: &IdMaps) -> Result<()> {
    let owner = host::outside(&maps.uids, device.uid).zip(host::outside(&maps.gids, device.gid));
    let Some((uid, gid)) = owner else {
        return Ok(());
    };
    let name = name(index)?;
    let number = libc::makedev(device.major, device.minor);
    sys::file::mknodat(directory.as_fd(), &name, kind(device), device.mode, number)?;
    sys::file::chown_entry(directory.as_fd(), &name, uid, gid)
}

fn name(index: usize) -> Result<CString> {
    sys::file::c_name(&index.to_string())
}

/// What a parent has made, ready to be attached.
#[derive(Default)]
pub struct Nodes(BTreeMap<usize, Tree>);

impl Nodes {
    /// Takes the nodes out of the file system `made`.
    ///
    /// open_tree(2) copies only what is mounted in the caller's own mount namespace, so it lies
    /// on the container's root meanwhile: a lookup beneath its descriptor does not see it.
    pub fn take(made: &OwnedFd, root: &Root, plan: &Rootfs) -> Result<Nodes> {
        sys::mount::move_mount(made.as_fd(), Place::Fd(root.as_fd()))?;
        let mut nodes = BTreeMap::new();
        for (index, _) in wanted(plan) {
            match sys::mount::open_tree(Place::Entry(made.as_fd(), &name(index)?), 0) {
                Err(e) if e.is(Errno::ENOENT) => {}
                tree => drop(nodes.insert(index, Tree::Detached(tree?))),
            }
        }
        sys::mount::umount_detach(&sys::mount::fd_path(made))?;
        Ok(Nodes(nodes))
    }

    /// The node of `linux.devices[index]`.
    pub fn remove(&mut self, index: Option<usize>) -> Option<Tree> {
        self.0.remove(&index?)
    }
}
