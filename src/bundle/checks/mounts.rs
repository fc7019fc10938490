//! The mounts.
//!
//! Runs in: parent.

use super::{Check, Report, Run};
use crate::bundle::config::{Config, Mount};
use crate::bundle::mount_options::{Meaning, meaning};

pub const CHECKS: &[Check] = &[
    Check {
        name: "mount-has-a-destination",
        clause: "config.md#mounts",
        pointer: "/mounts/*/destination",
        run: Run::Config(mount_has_a_destination),
    },
    Check {
        name: "mount-has-a-type",
        clause: "config.md#posix-platform-mounts",
        pointer: "/mounts/*/type",
        run: Run::Config(mount_has_a_type),
    },
    Check {
        name: "bind-mount-has-a-source",
        clause: "config.md#mounts",
        pointer: "/mounts/*/source",
        run: Run::Config(bind_mount_has_a_source),
    },
    Check {
        name: "option-fits-the-mount",
        clause: "runc and crun",
        pointer: "/mounts/*/options/*",
        run: Run::Config(option_fits_the_mount),
    },
    Check {
        name: "nothing-mounted-in-proc",
        clause: "runc; CVE-2019-16884",
        pointer: "/mounts/*/destination",
        run: Run::Config(nothing_mounted_in_proc),
    },
    Check {
        name: "mounts-in-own-namespace",
        clause: "runc",
        pointer: "/mounts",
        run: Run::Config(mounts_in_own_namespace),
    },
];

/// A mount and its number. What its options make of it is found out, and its place written,
/// only where a check comes to that: every start runs all checks.
pub struct Shape<'a> {
    pub mount: &'a Mount,
    n: usize,
}

pub fn shapes(config: &Config) -> impl Iterator<Item = Shape<'_>> {
    let mounts = config.mounts.iter().enumerate();
    mounts.map(|(n, mount)| Shape { mount, n })
}

impl<'a> Shape<'a> {
    pub fn kind(&self) -> &'a str {
        self.mount.kind.as_deref().unwrap_or_default()
    }

    pub fn is_remount(&self) -> bool {
        self.has(|meaning| meaning == Meaning::Remount)
    }

    pub fn is_bind(&self) -> bool {
        (self.kind() == "bind" || self.has(|meaning| matches!(meaning, Meaning::Bind { .. })))
            && !self.is_remount()
    }

    fn has(&self, wanted: fn(Meaning) -> bool) -> bool {
        let meanings = self.mount.options.iter().filter_map(|word| meaning(word));
        meanings.into_iter().any(wanted)
    }

    /// The options with their numbers.
    pub fn options(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let options = self.mount.options.iter().enumerate();
        options.map(|(n, option)| (n, option.as_str()))
    }

    /// The place of a member, `/mounts/3/type`.
    pub fn place(&self, member: &str) -> String {
        format!("/mounts/{}/{member}", self.n)
    }

    pub fn place_of_option(&self, n: usize) -> String {
        format!("/mounts/{}/options/{n}", self.n)
    }
}

/// SPEC: config.md#mounts: a relative one is deprecated, and taken as seen from the root.
fn mount_has_a_destination(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        if shape
            .mount
            .destination
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            report.add(shape.place("destination"), "is missing");
        }
    }
}

fn mount_has_a_type(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        if shape.kind().is_empty() && !shape.is_bind() && !shape.is_remount() {
            report.add(
                shape.place("type"),
                "is missing (a bind mount has the option bind or rbind)",
            );
        }
    }
}

fn bind_mount_has_a_source(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        if shape.mount.source.as_deref().unwrap_or_default().is_empty() && shape.is_bind() {
            report.add(shape.place("source"), "is missing for a bind mount");
        }
    }
}

fn option_fits_the_mount(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        for (n, option) in shape.options() {
            let only_for = match meaning(option) {
                Some(Meaning::CopyUp) if shape.kind() != "tmpfs" => "the type tmpfs",
                Some(Meaning::SourceNofollow | Meaning::CopySymlink) if !shape.is_bind() => {
                    "bind mounts"
                }
                _ => continue,
            };
            report.add(
                shape.place_of_option(n),
                format!("{option} is for {only_for} only"),
            );
        }
    }
}

/// What may lie over a file of procfs: the files that lxcfs serves, and two that engines
/// hand out.
const OVER_PROC: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

fn nothing_mounted_in_proc(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        let path = shape.mount.destination.as_deref().unwrap_or_default();
        let normal = normal_path(path);
        let message = match normal.strip_prefix("proc") {
            Some("") if shape.kind() != "proc" && !shape.is_bind() && !shape.is_remount() => {
                format!(
                    "only procfs may be mounted at /proc, not {:?}",
                    shape.kind()
                )
            }
            Some(below) if below.starts_with('/') && !OVER_PROC.contains(&&below[1..]) => {
                format!("{path:?}: nothing may be mounted there in procfs")
            }
            _ => continue,
        };
        report.add(shape.place("destination"), message);
    }
}

/// Without `.`, `..` and doubled slashes, and without the first slash.
fn normal_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Mounting without one would change the host's own tree.
fn mounts_in_own_namespace(config: &Config, report: &mut Report) {
    if !config.mounts.is_empty() && !config.linux().has_namespace("mount") {
        report.add(
            "/mounts",
            "needs a mount namespace of the container's own (linux.namespaces)",
        );
    }
}
