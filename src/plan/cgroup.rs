//! The container's cgroup: where it is, who makes it, what is written into it.

use std::path::PathBuf;

use super::HostPath;

#[derive(Clone, Debug, PartialEq)]
pub struct Cgroup {
    pub placement: Placement,
    /// (file, value) pairs, written in this order after the cgroup is made and before the
    /// payload enters: `("pids.max", "100")`.
    pub settings: Vec<Setting>,
    /// The list of `linux.resources.devices` with rt's own default rules behind it; none
    /// where config.json has no list.
    pub devices: Option<Vec<DeviceRule>>,
    /// Whether config.json asks for something that cannot be had without a cgroup: then its
    /// absence is an error, else `rt` goes on without one.
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// No cgroup of its own: `--cgroup-manager=disabled`, or no right to make one.
    None { reason: String },
    /// A directory below the cgroup2 mount.
    Path {
        /// Where cgroup2 is mounted, e.g. /sys/fs/cgroup.
        mount: HostPath,
        /// Relative to it, without a leading slash.
        path: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// JSON pointer of the value that asks for it.
    pub pointer: String,
    pub file: String,
    pub value: String,
}

/// One entry of the list of device rules; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: RuleKind,
    /// None: any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// `BPF_DEVCG_ACC_*`: mknod 1, read 2, write 4.
    pub access: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    All,
    Character,
    Block,
}
