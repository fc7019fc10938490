//! Device nodes: made, or bound from the host where they must not be made.
//!
//! Runs in: init before pivot.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::beneath::Root;
use super::bind::Tree;
use super::nodes::Nodes;
use crate::error::{Context as _, Error, Result};
use crate::plan::ContainerPath;
use crate::plan::rootfs::{Device, DeviceKind};
use crate::sys;
use crate::sys::mount::Place;

/// The directories of nodes and links, each opened once while they follow one another: nearly
/// all lie in /dev.
pub struct Directories<'r> {
    root: &'r Root,
    last: Option<(String, OwnedFd)>,
}

impl<'r> Directories<'r> {
    pub fn new(root: &'r Root) -> Directories<'r> {
        Directories { root, last: None }
    }

    /// The directory that holds `path`, made where missing, and the name therein.
    pub fn parent<'p>(&mut self, path: &'p ContainerPath) -> Result<(BorrowedFd<'_>, &'p str)> {
        let (parent, name) = path
            .beneath_root()
            .rsplit_once('/')
            .unwrap_or(("", path.beneath_root()));
        if name.is_empty() {
            return Err(Error::invalid("the root directory cannot be a node"));
        }
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            self.last = Some((parent.to_owned(), self.root.directory(parent)?));
        }
        match &self.last {
            Some((_, fd)) => Ok((fd.as_fd(), name)),
            None => Err(Error::system("no directory")),
        }
    }
}

/// Makes the plan's devices, or attaches those of `nodes`. The umask has to be zero.
pub fn make(directories: &mut Directories<'_>, devices: &[Device], mut nodes: Nodes) -> Result<()> {
    for device in devices {
        let node = nodes.remove(device.index);
        at_place(device, make_one(directories, device, node))?;
    }
    Ok(())
}

pub fn at_place(device: &Device, made: Result<()>) -> Result<()> {
    match device.index {
        Some(i) => made.at(&format!("/linux/devices/{i}"), || {
            format!("linux.devices[{i}] ({})", device.path)
        }),
        None => made.context(|| format!("device {}", device.path)),
    }
}

fn make_one(directories: &mut Directories<'_>, device: &Device, node: Option<Tree>) -> Result<()> {
    let (directory, name) = directories.parent(&device.path)?;
    let name = sys::file::c_name(name)?;
    if let Some(tree) = node {
        return cover(directory, &name, tree);
    }
    // A user namespace may make a fifo itself.
    if device.bind && device.kind != DeviceKind::Fifo {
        return bind_host_node(directory, &name, device);
    }
    let number = libc::makedev(device.major, device.minor);
    let made = sys::file::mknodat(directory, &name, kind(device), device.mode, number);
    match made {
        Ok(()) if device.uid == 0 && device.gid == 0 => Ok(()),
        Ok(()) => give_away(directory, &name, device),
        Err(e) if e.is(Errno::EEXIST) && is_same(directory, &name, device)? => Ok(()),
        // A plain file of an image in place of the node, or no right to make nodes: the
        // host's node covers it.
        Err(e) if e.is(Errno::EEXIST) || e.is(Errno::EPERM) => {
            if device.kind == DeviceKind::Fifo {
                return Err(e);
            }
            bind_host_node(directory, &name, device)
                .map_err(|bind| bind.within(format!("{e}, and binding the host's node")))
        }
        Err(e) => Err(e),
    }
}

/// Gives a new node to its owner. In a folder that others have, too, its name may be another file's
/// by now.
fn give_away(directory: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<()> {
    let node = sys::file::open_entry(directory, name, OFlag::O_PATH)?;
    if !is_node(&sys::file::stat(node.as_fd())?, device) {
        return Err(Error::system("it was made, and is another file now"));
    }
    sys::file::chown_entry(node.as_fd(), c"", device.uid, device.gid)
}

/// Whether the name is the node that the plan wants.
fn is_same(directory: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<bool> {
    let found = sys::file::stat_entry(directory, name)?;
    Ok(is_node(&found, device))
}

fn is_node(found: &nix::sys::stat::FileStat, device: &Device) -> bool {
    let number = libc::makedev(device.major, device.minor);
    sys::file::kind(found) == kind(device)
        && (device.kind == DeviceKind::Fifo || found.st_rdev == number)
}

fn is_another(device: &Device) -> Error {
    let Device {
        path, major, minor, ..
    } = device;
    Error::system(format!(
        "{path} of the host is not the device {major}:{minor}"
    ))
}

/// What [`make`] will say of the nodes that it has to bind from the host.
///
/// Runs in: parent.
pub fn foresee<'a>(devices: impl Iterator<Item = &'a Device>) -> Vec<Error> {
    let bound = devices.filter(|device| device.bind && device.kind != DeviceKind::Fifo);
    let refused = bound.filter_map(|device| {
        let host = Path::new(device.path.as_str());
        let found = sys::file::open_host(host, OFlag::O_PATH)
            .and_then(|node| sys::file::stat(node.as_fd()));
        let error = match found {
            Ok(found) if is_node(&found, device) => return None,
            Ok(_) => is_another(device),
            Err(e) => {
                let errno = Errno::from_raw(e.errno().unwrap_or(libc::ENOENT));
                sys::mount::open_tree_failed(Place::Host(host), 0, errno)
            }
        };
        Some(at_place(device, Err(error)))
    });
    refused.filter_map(Result::err).collect()
}

/// Binds the host's node of the same path. What lies there on the host has to be that very
/// device: a path alone proves nothing.
fn bind_host_node(directory: BorrowedFd<'_>, name: &CStr, device: &Device) -> Result<()> {
    let host = Path::new(device.path.as_str());
    let tree = Tree::copy(Place::Host(host), 0)?;
    if !is_node(&sys::file::stat(tree.as_fd())?, device) {
        return Err(is_another(device));
    }
    cover(directory, name, tree)
}

/// Attaches a file's mount on one name in a directory, made as an empty file where missing. A
/// symbolic link of that name is covered itself: it is never followed.
fn cover(directory: BorrowedFd<'_>, name: &CStr, tree: Tree) -> Result<()> {
    match sys::file::mknodat(directory, name, SFlag::S_IFREG, 0o644, 0) {
        Err(e) if !e.is(Errno::EEXIST) => return Err(e),
        _ => {}
    }
    let reopen = || sys::file::open_entry(directory, name, OFlag::O_PATH);
    tree.attach(Place::Entry(directory, name), reopen).map(drop)
}

/// Binds a terminal over /dev/console.
///
/// CVE-2025-52565: the terminal comes as a descriptor, is known to be one of devpts, and the
/// name is not followed.
pub fn bind_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let is_terminal = sys::file::file_system_magic(slave)? == DEVPTS_SUPER_MAGIC
        && sys::file::kind(&sys::file::stat(slave)?) == SFlag::S_IFCHR;
    if !is_terminal {
        return Err(Error::system("the console is not a terminal of devpts"));
    }
    let console = ContainerPath::new("/dev/console");
    let (directory, name) = root.parent(&console)?;
    let tree = Tree::copy(Place::Fd(slave), 0)?;
    cover(directory.as_fd(), &sys::file::c_name(name)?, tree)
}

pub fn kind(device: &Device) -> SFlag {
    match device.kind {
        DeviceKind::Character => SFlag::S_IFCHR,
        DeviceKind::Block => SFlag::S_IFBLK,
        DeviceKind::Fifo => SFlag::S_IFIFO,
    }
}
