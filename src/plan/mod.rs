//! The plan: everything decided, nothing done.
//!
//! Owns the data that the processes carry out. A plan has absolute paths, C strings where
//! the kernel wants them, flags as the kernel's numbers, and no value that means "default".
//! It is made from a [`crate::bundle::Bundle`], the options of the command line and the
//! facts of the host by functions without side effects, so bad input is refused before
//! anything exists, and golden tests cover every decision without root.
//!
//! Runs in: parent, before anything is created. Init only reads it.

pub mod annotations;
pub mod capabilities;
pub mod cgroup;
mod cgroup_owner;
pub mod checkpoint;
mod create;
mod device_rules;
mod devices;
mod exec;
mod faults;
#[cfg(test)]
pub mod golden;
pub mod hooks;
mod id_maps;
pub mod intel_rdt;
mod limits;
mod live_mounts;
mod mount_ids;
pub mod mount_label;
mod mounts;
pub mod namespaces;
pub mod net_devices;
pub mod notify;
pub mod outline;
pub mod path;
mod personality;
pub mod process;
pub mod rootfs;
mod scheduling;
pub mod scope;
mod seccomp;
mod summary;
mod sysctl;
mod words;

use std::collections::BTreeMap;
use std::ffi::CString;

pub use create::{CreateOptions, Rootless, wanted};
pub use exec::{ExecOptions, User, for_exec};
pub use live_mounts::for_mounts;
pub use path::{ContainerPath, HostPath};

use serde::Serialize;

use crate::error::{Error, Result};

/// All that has to be done to make one container.
///
/// Every type in it is `Serialize`, for `rt plan`: a new field is in its output by itself, and
/// [`outline`] says where in the text. Names are those of the fields, or the specification's
/// where a field has its meaning; nothing is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The container's id, already known to be a legal one.
    pub id: String,
    /// The bundle, absolute and without symbolic links.
    pub bundle: HostPath,
    /// Copied into the state, as the specification asks.
    pub annotations: BTreeMap<String, String>,
    /// Who gets a pidfd of init, `run.oci.pidfd_receiver`.
    pub pidfd_receiver: Option<HostPath>,
    pub namespaces: namespaces::Namespaces,
    pub cgroup: cgroup::Cgroup,
    pub rootfs: rootfs::Rootfs,
    pub process: process::Process,
    pub hooks: hooks::Hooks,
    /// Written beneath /proc/sys by init, in this order.
    pub sysctls: Vec<Sysctl>,
    /// sethostname(2) and setdomainname(2) in the container's UTS namespace.
    #[serde(serialize_with = "words::optional_text")]
    pub hostname: Option<CString>,
    #[serde(serialize_with = "words::optional_text")]
    pub domainname: Option<CString>,
    /// Moved into the container's network namespace by the parent.
    pub net_devices: Vec<net_devices::NetDevice>,
    pub intel_rdt: Option<intel_rdt::IntelRdt>,
    pub descriptors: Descriptors,
    /// Whether what the payload says by sd_notify(3) goes on to the caller's service manager.
    pub notify: bool,
    /// Whether the caller lacks rights over the host: then what it may not do (a negative oom
    /// score, a device program) is left out where runc leaves it out.
    pub rootless: bool,
    /// What the specification wants tolerated; said at the level of a warning.
    pub warnings: Vec<String>,
}

/// `net.ipv4.ip_forward=1`: the path below /proc/sys and the bytes to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// As in config.json, for messages.
    pub key: String,
    /// Relative to /proc/sys, with slashes.
    pub path: String,
    pub value: String,
}

/// File descriptors of the caller that the payload keeps, beside its three streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Descriptors {
    /// `LISTEN_FDS` of the environment: that many from 3 on, announced with `LISTEN_PID=1`.
    pub listen: u32,
    /// `--preserve-fds`: that many more after those.
    pub preserve: u32,
}

impl Descriptors {
    /// The lowest descriptor that the payload must not get.
    pub fn first_closed(self) -> u32 {
        3_u32
            .saturating_add(self.listen)
            .saturating_add(self.preserve)
    }
}

/// A string of config.json as the kernel takes it.
fn c_string(text: &str, pointer: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::invalid("holds a NUL byte").with_pointer(pointer))
        .map_err(|e| e.within(crate::bundle::checks::place_in_words(pointer)))
}
