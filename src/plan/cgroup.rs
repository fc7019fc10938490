//! The container's cgroup: where it is, who makes it, what is written into it.

use std::path::PathBuf;

use serde::Serialize;

use super::cgroup_owner;
use super::create::{CreateOptions, is_rootless};
use super::namespaces::Namespaces;
use super::scope::{self, Bus, Property, Scope};
use super::{ContainerPath, HostPath, device_rules, limits, words};
use crate::bundle::{Bundle, Resources};
use crate::error::{Error, Result};
use crate::host::{Cgroup2, Host};

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// rt itself, by mkdir(2).
    #[default]
    Cgroupfs,
    /// systemd, as a scope.
    Systemd,
    /// Nobody: the container stays in the caller's.
    Disabled,
}

/// The cgroup of a container, what is written there, and which devices it lets through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cgroup {
    pub placement: Placement,
    /// (file, value) pairs, written in this order after the cgroup is made and before the
    /// payload enters: `("pids.max", "100")`.
    pub settings: Vec<Setting>,
    /// The list of `linux.resources.devices` with rt's own default rules behind it; none
    /// where config.json has no list.
    pub devices: Option<Vec<DeviceRule>>,
    /// The uid that gets the cgroup, where that is not whoever makes it.
    pub owner: Option<u32>,
    /// Whether config.json asks for something that cannot be had without a cgroup: then its
    /// absence is an error, else `rt` goes on without one.
    pub required: bool,
}

/// Where the container's cgroup is, and who makes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "lowercase")]
pub enum Placement {
    /// The caller wants the container in its own cgroup, `--cgroup-manager=disabled`.
    #[default]
    Disabled,
    /// There is no place for one.
    None { reason: String },
    /// A directory below the cgroup2 mount.
    #[serde(rename = "cgroupfs")]
    Path {
        /// Where cgroup2 is mounted, e.g. /sys/fs/cgroup.
        mount: HostPath,
        /// Relative to it, without a leading slash.
        #[serde(serialize_with = "words::path")]
        path: PathBuf,
    },
    /// A unit of systemd, whose cgroup is below the mount.
    #[serde(rename = "systemd")]
    Unit {
        mount: HostPath,
        #[serde(flatten)]
        scope: Scope,
    },
}

impl Placement {
    /// Whether the container gets one more cgroup, below the one with its limits.
    pub fn is_delegated(&self) -> bool {
        matches!(self, Placement::Unit { scope, .. } if scope.delegated.is_some())
    }
}

/// One number for one file of the cgroup, cgroups(7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// JSON pointer of the value that asks for it.
    pub pointer: String,
    pub file: String,
    pub value: String,
    #[serde(rename = "if_absent")]
    pub absent: Absent,
    /// A file whose number must not be above `value`, or nothing is written: what is in use.
    pub in_use: Option<&'static str>,
}

impl Setting {
    /// One whose file has to be there.
    pub fn new(
        pointer: impl Into<String>,
        file: impl Into<String>,
        value: impl ToString,
    ) -> Setting {
        Setting {
            pointer: pointer.into(),
            file: file.into(),
            value: value.to_string(),
            absent: Absent::Fail,
            in_use: None,
        }
    }
}

/// What follows where a cgroup has no such file although its controller is switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    Fail,
    Skip,
    /// Another one has the same effect.
    Write {
        file: String,
        value: String,
    },
}

/// One entry of the list of device rules; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    pub allow: bool,
    #[serde(rename = "type")]
    pub kind: RuleKind,
    /// None: any.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// `BPF_DEVCG_ACC_*`: mknod 1, read 2, write 4.
    #[serde(serialize_with = "words::device_access")]
    pub access: u32,
}

/// Which nodes a rule is about; numbers of a block device and a character device have nothing in
/// common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RuleKind {
    #[serde(rename = "a")]
    All,
    #[serde(rename = "c")]
    Character,
    #[serde(rename = "b")]
    Block,
}

impl Placement {
    /// Why there is no cgroup. None where there is one.
    pub fn why_none(&self) -> Option<&str> {
        match self {
            Placement::Disabled => Some("--cgroup-manager=disabled"),
            Placement::None { reason } => Some(reason),
            Placement::Path { .. } | Placement::Unit { .. } => None,
        }
    }
}

impl Cgroup {
    pub fn plan(
        bundle: &Bundle,
        options: &CreateOptions,
        namespaces: &Namespaces,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Cgroup> {
        let resources = bundle.config.linux().resources.as_ref();
        let version = bundle.config.oci_version.as_deref().unwrap_or_default();
        let settings = match resources {
            Some(resources) => limits::settings(resources, version, limits::Target::New, warnings)?,
            None => Vec::new(),
        };
        let devices = resources
            .and_then(|resources| resources.devices.as_deref())
            .map(device_rules::plan);
        let placement = match options.cgroup_manager {
            CgroupManager::Systemd => plan_unit(bundle, options, host, devices.as_deref())?,
            _ => place(bundle, options, host)?,
        };
        if let (Some(reason), Some(first)) = (placement.why_none(), settings.first()) {
            return Err(Error::unsupported(format!(
                "{}: a limit needs a cgroup, and there is none: {reason}",
                crate::bundle::checks::place_in_words(&first.pointer)
            ))
            .with_pointer(first.pointer.clone()));
        }
        Ok(Cgroup {
            placement,
            required: !settings.is_empty(),
            settings,
            devices,
            owner: cgroup_owner::plan(&bundle.config, namespaces, host),
        })
    }
}

fn place(bundle: &Bundle, options: &CreateOptions, host: &Host) -> Result<Placement> {
    if options.cgroup_manager == CgroupManager::Disabled {
        return Ok(Placement::Disabled);
    }
    let Some(cgroup2) = &host.cgroup2 else {
        return Ok(Placement::None {
            reason: "no cgroup2 is mounted".into(),
        });
    };
    let given = cgroups_path(bundle);
    let path = cgroup_path(given, &options.id, cgroup2);
    if path.as_os_str().is_empty() {
        return Err(Error::invalid(format!(
            "linux.cgroupsPath: {given:?} is the root of the hierarchy, which is no container's"
        ))
        .with_pointer("/linux/cgroupsPath"));
    }
    Ok(Placement::Path {
        mount: HostPath::new(&cgroup2.mount),
        path,
    })
}

fn plan_unit(
    bundle: &Bundle,
    options: &CreateOptions,
    host: &Host,
    devices: Option<&[DeviceRule]>,
) -> Result<Placement> {
    let cgroup2 = host.cgroup2.as_ref().ok_or_else(|| {
        Error::unsupported("the systemd driver needs cgroup2, which is not mounted")
            .with_hint("boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2")
    })?;
    let version = bundle.config.oci_version.as_deref().unwrap_or_default();
    let settings = match &bundle.config.linux().resources {
        Some(given) => limits::settings(given, version, limits::Target::InUse, &mut Vec::new())?,
        None => Vec::new(),
    };
    let wishes = scope::Wishes {
        id: &options.id,
        cgroups_path: cgroups_path(bundle),
        annotations: &bundle.config.annotations,
        settings: &settings,
        devices,
    };
    Ok(Placement::Unit {
        mount: HostPath::new(&cgroup2.mount),
        scope: Scope::plan(&wishes, whose_systemd(options, host))?,
    })
}

/// An ordinary user asks their own systemd, and so does podman, which calls as root of a user
/// namespace that it made for them. Root of a container that has a systemd of its own has no
/// session there, and asks that one.
fn whose_systemd(options: &CreateOptions, host: &Host) -> Bus {
    match is_rootless(options, host) && (host.euid != 0 || host.has_session) {
        true => Bus::User,
        false => Bus::System,
    }
}

fn cgroups_path(bundle: &Bundle) -> &str {
    let given = &bundle.config.linux().cgroups_path;
    given.as_deref().unwrap_or_default()
}

/// What `rt update` changes, all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub settings: Vec<Setting>,
    pub devices: Option<Vec<DeviceRule>>,
}

impl Change {
    /// The same in systemd's words.
    pub fn properties(&self, bus: Bus) -> Vec<Property> {
        scope::update(&self.settings, self.devices.as_deref(), bus)
    }
}

/// What `rt update` writes into the cgroup of a container that is there. `version` is its
/// ociVersion.
pub fn for_update(given: &Resources, version: &str, warnings: &mut Vec<String>) -> Result<Change> {
    let settings = limits::settings(given, version, limits::Target::InUse, warnings)?;
    // Engines that know of no device send an empty list.
    let devices = given.devices.as_deref().filter(|rules| !rules.is_empty());
    Ok(Change {
        settings,
        devices: devices.map(device_rules::plan),
    })
}

/// An absolute path counts from the mount; a relative one from the parent of the caller's
/// own cgroup, which most likely holds processes and so cannot give controllers to children
/// (cgroups(7), "no internal processes").
fn cgroup_path(given: &str, id: &str, cgroup2: &Cgroup2) -> PathBuf {
    let clean = |path: &str| ContainerPath::new(path).beneath_root().to_owned();
    if given.starts_with('/') {
        return clean(given).into();
    }
    let name = if given.is_empty() { id } else { given };
    let parent = cgroup2.own.parent().unwrap_or(std::path::Path::new(""));
    parent.join(clean(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::golden;

    #[test]
    fn a_relative_cgroup_lies_beside_the_callers_own() {
        let cgroup2 = Cgroup2 {
            mount: "/sys/fs/cgroup".into(),
            own: "user.slice/session-1.scope".into(),
        };
        let path = |given| cgroup_path(given, "web", &cgroup2);
        assert_eq!(path("/a/../b"), PathBuf::from("b"));
        assert_eq!(path("a/b"), PathBuf::from("user.slice/a/b"));
        assert_eq!(path(""), PathBuf::from("user.slice/web"));
        let root = Cgroup2 {
            own: PathBuf::new(),
            ..cgroup2.clone()
        };
        assert_eq!(cgroup_path("", "web", &root), PathBuf::from("web"));
    }

    #[test]
    fn the_root_of_the_hierarchy_is_no_containers() {
        let planned = |path: &str| {
            let mut config: serde_json::Value =
                serde_json::from_str(&crate::bundle::example(false)).unwrap();
            config["linux"]["cgroupsPath"] = path.into();
            golden::try_plan(
                config.to_string(),
                CreateOptions::default(),
                &golden::root(),
            )
        };
        for root in ["/", "/..", "/a/.."] {
            let e = planned(root).unwrap_err();
            assert_eq!(e.pointer(), Some("/linux/cgroupsPath"), "{root}: {e}");
        }
        assert!(planned("/a").is_ok());
    }
}
