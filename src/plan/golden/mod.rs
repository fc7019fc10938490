//! Golden tests: config.json to the plan it becomes, as text.
//!
//! `NAME.json` is the input, `NAME.plan` what is expected, `NAME.outline` the same for people. `UPDATE_GOLDEN=1 cargo test golden`
//! writes the latter anew: read the difference before it is committed.

mod mutations;

use std::path::{Path, PathBuf};

use super::cgroup::CgroupManager;
use super::{CreateOptions, Plan};
use crate::bundle::{Bundle, example, example_for};
use crate::error::Result;
use crate::host::{Cgroup2, Host, IdRange, Subordinate, UserNamespace};

const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// A line of an id map, user_namespaces(7).
pub fn range(inside: u32, outside: u32, count: u32) -> IdRange {
    IdRange {
        inside,
        outside,
        count,
    }
}

fn user_namespace(lines: &[(u32, u32, u32)]) -> UserNamespace {
    let ranges = lines.iter().map(|line| range(line.0, line.1, line.2));
    let map: Vec<IdRange> = ranges.collect();
    UserNamespace {
        uid_map: map.clone(),
        gid_map: map,
        setgroups_denied: false,
    }
}

/// Root in the first user namespace.
pub fn root() -> Host {
    Host {
        euid: 0,
        egid: 0,
        capabilities: ALL_CAPABILITIES,
        last_capability: 40,
        has_kcore: true,
        user_namespace: user_namespace(&[(0, 0, u32::MAX)]),
        cgroup2: Some(Cgroup2 {
            mount: "/sys/fs/cgroup".into(),
            own: "user.slice/shell.scope".into(),
        }),
        resctrl: Some("/sys/fs/resctrl".into()),
        ..Host::default()
    }
}

/// An ordinary user with subordinate ids.
pub fn user() -> Host {
    Host {
        euid: 1000,
        egid: 1000,
        capabilities: 0,
        subordinate: Some(Subordinate {
            user: "ann".into(),
            uids: vec![(100_000, 65_536)],
            gids: vec![(100_000, 65_536)],
            tools: true,
        }),
        ..root()
    }
}

/// Root of a user namespace that rootless podman made.
pub fn podman() -> Host {
    Host {
        user_namespace: user_namespace(&[(0, 1000, 1), (1, 100_000, 65_536)]),
        ..root()
    }
}

/// The plan of a container by the name of `web`.
pub fn plan(config: String, options: CreateOptions, host: &Host) -> Plan {
    try_plan(config, options, host).unwrap()
}

pub fn try_plan(config: String, options: CreateOptions, host: &Host) -> Result<Plan> {
    let mut bundle = Bundle::from_config(config.into_bytes(), PathBuf::from("/bundle")).unwrap();
    bundle.root = bundle.dir.join("rootfs");
    let options = CreateOptions {
        id: "web".into(),
        ..options
    };
    Plan::for_create(&bundle, &options, host)
}

fn plan_text(config: String, host: &Host) -> String {
    let plan = plan(config, CreateOptions::default(), host);
    compact(&format!("{plan:#?}"))
}

/// The pretty form with every group on one line that fits there, so that a difference is
/// one that can be read.
fn compact(pretty: &str) -> String {
    const WIDTH: usize = 100;
    let indent_of = |line: &str| line.len() - line.trim_start().len();
    let mut lines: Vec<String> = Vec::new();
    for line in pretty.lines() {
        lines.push(line.to_owned());
        let indent = indent_of(line);
        if !line.trim_start().starts_with(['}', ']', ')']) {
            continue;
        }
        // The line that opens the group is the last one before this of the same indent.
        let before = &lines[..lines.len() - 1];
        let Some(start) = before.iter().rposition(|l| indent_of(l) == indent) else {
            continue;
        };
        let parts: Vec<&str> = lines[start..].iter().map(|l| l.trim()).collect();
        let inner = parts[1..parts.len() - 1].join(" ");
        let inner = inner.strip_suffix(',').unwrap_or(&inner);
        let pad = if parts[0].ends_with('{') { " " } else { "" };
        let one = format!("{}{pad}{inner}{pad}{}", parts[0], parts[parts.len() - 1]);
        if indent + one.len() <= WIDTH {
            lines.truncate(start);
            lines.push(format!("{}{one}", " ".repeat(indent)));
        }
    }
    lines.join("\n") + "\n"
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden")
}

fn compare(name: &str, config: String, host: &Host) {
    compare_text(&format!("{name}.plan"), &plan_text(config, host));
}

pub fn compare_text(name: &str, plan: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, plan).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if plan != expected {
        let differing = plan.lines().zip(expected.lines()).position(|(a, b)| a != b);
        panic!(
            "{name}: differs from line {:?} on:\n{plan}",
            differing.map(|n| n + 1)
        );
    }
}

pub fn config(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap()
}

#[test]
fn spec() {
    compare("spec", example(false), &root());
}

#[test]
fn spec_rootless() {
    compare("spec-rootless", example_for(1000, 1000), &user());
}

/// podman calls as root of the user namespace that it made.
#[test]
fn podman_rootless() {
    compare("podman-rootless", config("podman-rootless"), &podman());
}

/// Some namespaces are the pod's, some new; the user namespace is joined.
#[test]
fn pod_member() {
    compare("pod-member", config("pod-member"), &podman());
}

/// containerd as root, with limits, devices, a time namespace and a bind mount.
#[test]
fn containerd() {
    compare("containerd", config("containerd"), &root());
}

/// The same, where systemd makes the cgroup, with words for it in annotations.
pub fn unit() -> Plan {
    let mut config: serde_json::Value = serde_json::from_str(&config("containerd")).unwrap();
    config["linux"]["cgroupsPath"] = "machine-pod.slice:cri:web".into();
    config["annotations"]["org.systemd.property.TimeoutStopSec"] = "7".into();
    config["annotations"]["run.oci.systemd.subgroup"] = "container".into();
    let options = CreateOptions {
        cgroup_manager: CgroupManager::Systemd,
        ..CreateOptions::default()
    };
    plan(config.to_string(), options, &root())
}

#[test]
fn a_unit_of_systemd() {
    let plan = unit();
    compare_text(
        "unit.plan",
        &compact(&format!("{:#?}", plan.cgroup.placement)),
    );
}

/// No maps given: the user's own id and the subordinate ones.
#[test]
fn default_maps_of_a_user() {
    let mut config: serde_json::Value = serde_json::from_str(&example(false)).unwrap();
    config["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}, {"type": "uts"}]);
    config["mounts"] = serde_json::json!([]);
    compare("default-maps", config.to_string(), &user());
}
