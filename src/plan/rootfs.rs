//! The container's file system: mounts, devices, links, masks.

use std::ffi::CString;

use serde::Serialize;

use super::create::{CreateOptions, in_user_namespace};
use super::faults::Faults;
use super::namespaces::{IdRange, Kind, Namespaces};
use super::{ContainerPath, HostPath, devices, mount_label, mounts, words};
use crate::bundle::Bundle;
use crate::host::Host;

/// The container's tree: what becomes `/`, and all that is mounted, made and hidden there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rootfs {
    pub root: HostPath,
    pub readonly: bool,
    /// What the mount tree gets before anything is mounted, `MS_*` with `MS_REC`:
    /// `MS_SLAVE | MS_REC` unless linux.rootfsPropagation says otherwise.
    #[serde(serialize_with = "words::mount_flags")]
    pub propagation: u64,
    /// What linux.rootfsPropagation gives `/` at the end, for the mounts below it too only with
    /// `MS_REC`; none if it says nothing.
    #[serde(serialize_with = "words::optional_mount_flags")]
    pub root_propagation: Option<u64>,
    pub pivot: Pivot,
    pub mounts: Vec<Mount>,
    /// The specification's default devices first, then those of config.json.
    pub devices: Vec<Device>,
    /// Symbolic links made if absent: (`/dev/fd`, `/proc/self/fd`) and so on.
    #[serde(serialize_with = "words::links")]
    pub links: Vec<(ContainerPath, CString)>,
    /// Whether a `/dev/console` is bound from the terminal.
    pub console: bool,
    pub masked_paths: Vec<ContainerPath>,
    pub readonly_paths: Vec<ContainerPath>,
    /// `linux.mountLabel`: in the options of the mounts above already, for those of rt's own.
    pub mount_label: Option<MountLabel>,
    /// Where the host has cgroup2 mounted: bound where a mount of one's own is refused. None
    /// where there is none, or no cgroup is wanted.
    pub cgroup_mount: Option<HostPath>,
}

/// A mount option of SELinux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountLabel {
    /// `context`, `fscontext`, `defcontext` or `rootcontext`.
    #[serde(serialize_with = "words::text")]
    pub option: CString,
    #[serde(serialize_with = "words::text")]
    pub value: CString,
}

/// How the container's root becomes `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    clippy::enum_variant_names,
    reason = "pivot_root is the name of the call"
)]
pub enum Pivot {
    /// pivot_root(2).
    PivotRoot,
    /// `--no-pivot`: move the root over `/` and chroot(2), for a root on a ramdisk.
    MoveAndChroot,
    /// No mount namespace of its own: chroot(2) alone.
    Chroot,
}

/// One mount, in the words of the mount API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mount {
    /// The place in config.json; none for a mount of rt's own.
    #[serde(rename = "pointer", serialize_with = "words::mount_pointer")]
    pub index: Option<usize>,
    pub destination: ContainerPath,
    #[serde(flatten)]
    pub source: Source,
    /// `MOUNT_ATTR_*` to set on this mount, mount_setattr(2).
    #[serde(serialize_with = "words::attributes")]
    pub set: u64,
    /// `MOUNT_ATTR_*` that the user asked to be cleared (`rw`, `exec`, `suid`, `dev`).
    #[serde(serialize_with = "words::attributes")]
    pub clear: u64,
    /// The same for the whole tree below (`rro` and family).
    #[serde(serialize_with = "words::attributes")]
    pub recursive_set: u64,
    #[serde(serialize_with = "words::attributes")]
    pub recursive_clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, …, each possibly with `MS_REC`, applied in order.
    #[serde(serialize_with = "words::mount_flag_list")]
    pub propagation: Vec<u64>,
    /// Whether a symbolic link at the destination is itself the mount point
    /// (crun's `dest-nofollow`).
    pub destination_nofollow: bool,
    /// How the owners of its files are translated; such a mount is made by the parent.
    pub id_map: Option<MountIdMap>,
}

/// `MOUNT_ATTR_IDMAP` of mount_setattr(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountIdMap {
    pub ids: MountIds,
    /// Of the mounts below too (`ridmap`).
    pub recursive: bool,
}

/// Where the map of an id-mapped mount comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountIds {
    /// `inside` is the id on disk, `outside` what it becomes on the host.
    Maps {
        uids: Vec<IdRange>,
        gids: Vec<IdRange>,
    },
    /// As the user namespace at this path has it.
    Namespace(HostPath),
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Source {
    /// `bind`, `rbind`.
    Bind {
        #[serde(rename = "source")]
        path: HostPath,
        recursive: bool,
        /// crun's `src-nofollow`: bind a symbolic link itself.
        nofollow: bool,
        /// crun's `copy-symlink`: where the source is a symbolic link, make one like it.
        copy_symlink: bool,
    },
    /// A new instance of a file system.
    New(FileSystem),
    /// tmpfs with `tmpcopyup`: starts with what lies at the destination.
    CopyUp(FileSystem),
    /// The container's cgroup tree: cgroup2 mounted, or bound where that is refused.
    Cgroup(FileSystem),
    /// procfs and sysfs with their own rules: the destination must be a real directory,
    /// and sysfs is bound from the host where the network namespace is not ours.
    Proc(FileSystem),
    Sysfs(FileSystem),
    /// A change of the mount that is there already (option `remount`).
    Remount(FileSystem),
}

/// What fsopen(2) and fsconfig(2), or mount(2), are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    #[serde(rename = "type", serialize_with = "words::text")]
    pub kind: CString,
    #[serde(serialize_with = "words::text")]
    pub source: CString,
    /// Superblock flags as mount(2) names them: `MS_RDONLY`, `MS_SYNCHRONOUS`, …
    #[serde(serialize_with = "words::mount_flags")]
    pub superblock_flags: u64,
    /// What is left of the options: `size=65536k`, `mode=755`, `newinstance`.
    #[serde(serialize_with = "words::options")]
    pub data: Vec<(CString, Option<CString>)>,
}

/// A node to be made, or bound from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The place in config.json; none for a default device.
    #[serde(rename = "pointer", serialize_with = "words::device_pointer")]
    pub index: Option<usize>,
    pub path: ContainerPath,
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits, e.g. 0o666.
    #[serde(serialize_with = "words::octal")]
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Not made by init, to whom mknod(2) is refused in a user namespace: one of config.json is
    /// made by a parent who may, and else the host's node of this path is bound.
    pub bind: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DeviceKind {
    #[serde(rename = "c")]
    Character,
    #[serde(rename = "b")]
    Block,
    #[serde(rename = "p")]
    Fifo,
}

impl Rootfs {
    pub fn plan(
        bundle: &Bundle,
        options: &CreateOptions,
        namespaces: &Namespaces,
        host: &Host,
        terminal: bool,
        faults: &mut Faults,
    ) -> Rootfs {
        let config = &bundle.config;
        let linux = config.linux();
        let mount_label = faults.or_default(mount_label::plan(bundle));
        let root_propagation = propagation(linux.rootfs_propagation.as_deref());
        let own_tree = namespaces.is_private(Kind::Mount);
        let fills_dev = own_tree && devices::fills_dev(config);
        let paths = |list: &[String]| list.iter().map(|path| ContainerPath::new(path)).collect();
        let nodes = match fills_dev {
            true => {
                let bind = in_user_namespace(namespaces, host);
                faults.or_default(devices::nodes(config, bind))
            }
            false => Vec::new(),
        };
        Rootfs {
            root: HostPath::new(&bundle.root),
            readonly: config
                .root
                .as_ref()
                .and_then(|root| root.readonly)
                .unwrap_or(false),
            propagation: root_propagation.unwrap_or(libc::MS_SLAVE) | libc::MS_REC,
            root_propagation,
            pivot: match (own_tree, options.no_pivot) {
                (true, false) => Pivot::PivotRoot,
                (true, true) => Pivot::MoveAndChroot,
                (false, _) => Pivot::Chroot,
            },
            mounts: mounts::plan(bundle, namespaces, host, mount_label.as_ref(), faults),
            devices: nodes,
            links: if fills_dev {
                devices::links(host)
            } else {
                Vec::new()
            },
            console: terminal && own_tree,
            masked_paths: paths(&linux.masked_paths),
            readonly_paths: paths(&linux.readonly_paths),
            mount_label,
            cgroup_mount: host
                .cgroup2
                .as_ref()
                .map(|cgroup2| HostPath::new(&cgroup2.mount)),
        }
    }
}

fn propagation(given: Option<&str>) -> Option<u64> {
    use crate::bundle::mount_options::{Meaning, meaning};
    match given.and_then(meaning) {
        Some(Meaning::Propagation(flags)) => Some(flags),
        _ => None,
    }
}
