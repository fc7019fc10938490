//! config.json as the specification lays it out: config.md.
//!
//! Owns the names and the types of its fields, and nothing of their meaning. Every field may
//! be absent here: what must be there is said by [`super::checks`], so that all that is
//! missing is reported in one go.
//!
//! Runs in: parent.

use serde::{Deserialize, Serialize};

use super::lenient::{List, Map, null_is_default};
use super::linux::{IdMapping, Linux};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Config {
    pub oci_version: Option<String>,
    pub process: Option<Process>,
    pub root: Option<Root>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub mounts: List<Mount>,
    pub hooks: Option<Hooks>,
    pub annotations: Map<String>,
    pub linux: Option<Linux>,
    /// Sections of other platforms are legal in a file that serves several.
    pub solaris: serde::de::IgnoredAny,
    pub windows: serde::de::IgnoredAny,
    pub vm: serde::de::IgnoredAny,
    pub zos: serde::de::IgnoredAny,
    pub freebsd: serde::de::IgnoredAny,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Root {
    pub path: Option<String>,
    pub readonly: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mount {
    pub destination: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub source: Option<String>,
    pub options: List<String>,
    pub uid_mappings: List<IdMapping>,
    pub gid_mappings: List<IdMapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    pub terminal: Option<bool>,
    pub console_size: Option<ConsoleSize>,
    #[serde(deserialize_with = "null_is_default")]
    pub user: User,
    pub args: List<String>,
    pub command_line: serde::de::IgnoredAny,
    pub env: List<String>,
    pub cwd: Option<String>,
    pub capabilities: Option<Capabilities>,
    pub rlimits: List<Rlimit>,
    pub no_new_privileges: Option<bool>,
    pub apparmor_profile: Option<String>,
    pub oom_score_adj: Option<i64>,
    pub selinux_label: Option<String>,
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<CpuAffinity>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ConsoleSize {
    pub height: u64,
    pub width: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub umask: Option<u32>,
    pub additional_gids: List<u32>,
    /// Windows'.
    pub username: Option<String>,
}

/// Names as given: an unknown one is a warning, no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    pub bounding: List<String>,
    pub effective: List<String>,
    pub inheritable: List<String>,
    pub permitted: List<String>,
    pub ambient: List<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    pub policy: Option<String>,
    pub nice: i32,
    pub priority: i32,
    pub flags: List<String>,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IoPriority {
    pub class: Option<String>,
    pub priority: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CpuAffinity {
    pub initial: Option<String>,
    #[serde(rename = "final")]
    pub last: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hooks {
    pub prestart: List<Hook>,
    pub create_runtime: List<Hook>,
    pub create_container: List<Hook>,
    pub start_container: List<Hook>,
    pub poststart: List<Hook>,
    pub poststop: List<Hook>,
}

impl Hooks {
    /// Every list with the name it has in config.json, in the order of a container's life.
    pub fn lists(&self) -> [(&'static str, &List<Hook>); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Hook {
    pub path: Option<String>,
    pub args: List<String>,
    /// None is another thing than an empty list.
    pub env: Option<List<String>>,
    pub timeout: Option<i64>,
}

impl Config {
    /// `linux`, or an empty one where config.json has none.
    pub fn linux(&self) -> &Linux {
        static NONE: std::sync::LazyLock<Linux> = std::sync::LazyLock::new(Linux::default);
        self.linux.as_ref().unwrap_or(&NONE)
    }
}
