//! The container's file system: mounts, devices, links, masks, and the change of root.
//!
//! Owns everything below the container's root. The root is one `O_PATH` descriptor; every
//! path of the container is resolved beneath it by [`beneath`], and every mount is made and
//! changed through its own descriptor, so a symbolic link in an image or a rename during the
//! work leads nowhere else.
//!
//! Runs in: init before pivot ([`prepare`], [`enter`]) and after it ([`finish`]), with
//! `CAP_SYS_ADMIN` over its mount namespace.

mod attributes;
mod beneath;
mod bind;
mod cgroup;
mod copy_up;
mod devices;
mod instance;
mod journal;
mod links;
mod live;
mod masks;
mod mount;
mod nodes;
mod pivot;
mod propagation;
mod pseudo;
mod restore;
#[cfg(test)]
mod tests;
mod walk;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::stat::Mode;

use crate::error::{Context as _, Result};
use crate::plan::ContainerPath;
use crate::plan::namespaces::Namespaces;
use crate::plan::rootfs::{Mount, Pivot, Rootfs};
use crate::trace;

use nodes::Nodes;

pub use attributes::{locked, name_locked};
pub use beneath::Root;
pub use devices::foresee as foresee_devices;
pub use instance::detached;
pub use live::{add, remove};
pub use nodes::{make as make_nodes, wanted as wanted_nodes};
pub use restore::lay_out;

/// What the mounts need to know about the rest of the container.
pub struct Context<'a> {
    pub namespaces: &'a Namespaces,
    /// Whether this process is in a user namespace that is not the host's first.
    pub in_user_namespace: bool,
    /// The directory of the container's own cgroup on the host, for a private cgroup
    /// namespace where a mount of cgroup2 is refused.
    pub own_cgroup: Option<PathBuf>,
    /// Gives `mounts[i]` as a detached mount, made elsewhere.
    pub made_elsewhere: &'a dyn Fn(usize) -> Result<OwnedFd>,
    pub elsewhere: Elsewhere,
    /// Gives the device nodes of [`make_nodes`], where a parent could make some.
    pub nodes_made_elsewhere: Option<&'a dyn Fn() -> Result<Option<OwnedFd>>>,
}

/// Which mounts are made elsewhere than in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Id-mapped ones alone.
    IdMapped,
    /// And sources of bind mounts that this process cannot go to, while its parent can.
    OutOfReach,
    /// And all sources of bind mounts: the host is out of sight. Then no mount is made by
    /// mount(2), which takes a path: /proc is the container's own.
    Sources,
}

/// A file system whose mounts are made.
pub struct Prepared {
    root: Root,
    /// Mounts that become read-only at the end, since something had to be made in them.
    readonly_later: Vec<(ContainerPath, OwnedFd)>,
    masks: masks::Sources,
}

impl Prepared {
    /// The container's root, for lookups beneath it.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

/// Makes the container's root, its mounts, devices and links, in the order of the plan.
///
/// Mount points and nodes are made under umask 0, which is put back. With [`Pivot::Chroot`]
/// nothing is mounted or made, since it would appear on the host.
pub fn prepare(plan: &Rootfs, context: &Context<'_>) -> Result<Prepared> {
    if plan.pivot == Pivot::Chroot {
        return Ok(Prepared {
            root: Root::open_host(&plan.root).at("/root/path", || "root.path")?,
            readonly_later: Vec::new(),
            masks: masks::Sources::default(),
        });
    }
    let umask = nix::sys::stat::umask(Mode::empty());
    let made = make(plan, context);
    nix::sys::stat::umask(umask);
    made
}

fn make(plan: &Rootfs, context: &Context<'_>) -> Result<Prepared> {
    let attaching = trace::step("root");
    propagation::isolate(plan, context.namespaces)?;
    let root = Root::attach(&plan.root).at("/root/path", || "root.path")?;
    drop(attaching);
    let mut readonly_later = Vec::new();
    for entry in &plan.mounts {
        let _step = trace::step_of(|| mount_name(entry));
        let made = mount::apply(&root, entry, plan, context)
            .map_err(|e| e.with_path(entry.destination.as_str()))
            .at(&mount_pointer(entry), || mount_name(entry))?;
        if let Some(fd) = made.readonly_later {
            readonly_later.push((entry.destination.clone(), fd));
        }
    }
    let _step = trace::step("devices, links");
    let made_nodes = context.nodes_made_elsewhere.map_or(Ok(None), |ask| ask())?;
    let nodes = made_nodes.map_or(Ok(Nodes::default()), |made| {
        Nodes::take(&made, &root, plan).at("/linux/devices", || "linux.devices")
    })?;
    let mut directories = devices::Directories::new(&root);
    devices::make(&mut directories, &plan.devices, nodes)?;
    links::make(&mut directories, &plan.links)?;
    drop(directories);
    let masks =
        masks::Sources::open(plan).at("/linux/maskedPaths", || "linux.maskedPaths: /dev/null")?;
    Ok(Prepared {
        root,
        readonly_later,
        masks,
    })
}

/// Binds the terminal `slave` over the container's /dev/console. Before [`finish`].
pub fn bind_console(prepared: &Prepared, slave: BorrowedFd<'_>) -> Result<()> {
    devices::bind_console(&prepared.root, slave).context(|| "/dev/console")
}

/// Makes the prepared root the root and the working directory of this process, and drops the
/// host's file system.
pub fn enter(prepared: &Prepared, plan: &Rootfs) -> Result<()> {
    trace::during("pivot_root", || pivot::enter(&prepared.root, plan))
        .at("/root/path", || "root.path")
}

/// Takes away what the payload must not see or change: read-only and masked paths, mounts
/// and root that are to be read-only. The last step, after [`enter`] and after everything
/// that still creates files.
pub fn finish(mut prepared: Prepared, plan: &Rootfs) -> Result<()> {
    if plan.pivot == Pivot::Chroot {
        return Ok(());
    }
    let _step = trace::step("read-only and masked paths");
    masks::make_readonly(&prepared.root, &plan.readonly_paths)?;
    masks::mask(&prepared.root, &plan.masked_paths, &mut prepared.masks)?;
    for (destination, fd) in &prepared.readonly_later {
        attributes::make_readonly(fd.as_fd())
            .context(|| format!("making {destination} read-only"))?;
    }
    if plan.readonly {
        attributes::make_readonly(prepared.root.as_fd())
            .at("/root/readonly", || "root.readonly")?;
    }
    if let Some(propagation) = plan.root_propagation {
        propagation::apply_to_root(&prepared.root, propagation)
            .at("/linux/rootfsPropagation", || "linux.rootfsPropagation")?;
    }
    Ok(())
}

fn mount_pointer(entry: &Mount) -> String {
    entry
        .index
        .map_or("/mounts".to_owned(), |i| format!("/mounts/{i}"))
}

fn mount_name(entry: &Mount) -> String {
    match entry.index {
        Some(i) => format!("mounts[{i}] ({})", entry.destination),
        None => format!("mount of {}", entry.destination),
    }
}
