//! The section `linux` of config.json: config-linux.md.
//!
//! Runs in: parent.

use serde::Deserialize;

use super::lenient::{List, Map};
use super::resources::Resources;
use crate::seccomp::Profile;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Linux {
    pub namespaces: List<Namespace>,
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
    pub time_offsets: Map<TimeOffset>,
    pub devices: List<Device>,
    pub net_devices: Map<NetDevice>,
    pub cgroups_path: Option<String>,
    pub resources: Option<Resources>,
    pub sysctl: Map<String>,
    pub seccomp: Option<Profile>,
    pub rootfs_propagation: Option<String>,
    pub masked_paths: List<String>,
    pub readonly_paths: List<String>,
    pub mount_label: Option<String>,
    pub personality: Option<Personality>,
    pub intel_rdt: Option<IntelRdt>,
    pub memory_policy: Option<MemoryPolicy>,
}

impl Linux {
    pub fn namespace(&self, kind: &str) -> Option<&Namespace> {
        self.namespaces
            .iter()
            .find(|n| n.kind.as_deref() == Some(kind))
    }

    /// Whether the container has a namespace of this kind that is not the caller's.
    pub fn has_namespace(&self, kind: &str) -> bool {
        self.namespace(kind).is_some()
    }

    /// Whether a new namespace of this kind is made.
    pub fn makes_namespace(&self, kind: &str) -> bool {
        self.namespace(kind).is_some_and(Namespace::is_new)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub path: Option<String>,
}

impl Namespace {
    /// SPEC: an empty path is taken for none, as runc and crun do.
    pub fn is_new(&self) -> bool {
        self.path.as_deref().unwrap_or("").is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    pub secs: i64,
    pub nanosecs: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub path: Option<String>,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    pub name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Personality {
    pub domain: Option<String>,
    pub flags: List<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IntelRdt {
    #[serde(rename = "closID")]
    pub clos_id: Option<String>,
    pub schemata: List<String>,
    pub l3_cache_schema: Option<String>,
    pub mem_bw_schema: Option<String>,
    pub enable_monitoring: Option<bool>,
    #[serde(rename = "enableCMT")]
    pub enable_cmt: Option<bool>,
    #[serde(rename = "enableMBM")]
    pub enable_mbm: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    pub mode: Option<String>,
    pub nodes: Option<String>,
    pub flags: List<String>,
}
