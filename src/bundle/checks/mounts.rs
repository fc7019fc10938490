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
        name: "bind-mount-without-data",
        clause: "runc",
        pointer: "/mounts/*/options/*",
        run: Run::Config(bind_mount_without_data),
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

/// What the options make of a mount.
pub struct Shape<'a> {
    pub mount: &'a Mount,
    /// The place, `/mounts/3`.
    pub pointer: String,
    pub bind: bool,
    pub remount: bool,
}

pub fn shapes(config: &Config) -> impl Iterator<Item = Shape<'_>> {
    config.mounts.iter().enumerate().map(|(n, mount)| {
        let has = |wanted: fn(Meaning) -> bool| {
            let meanings = mount.options.iter().filter_map(|option| meaning(option));
            meanings.into_iter().any(wanted)
        };
        let remount = has(|m| m == Meaning::Remount);
        Shape {
            mount,
            pointer: format!("/mounts/{n}"),
            bind: !remount
                && (mount.kind.as_deref() == Some("bind")
                    || has(|m| matches!(m, Meaning::Bind { .. }))),
            remount,
        }
    })
}

impl Shape<'_> {
    pub fn kind(&self) -> &str {
        self.mount.kind.as_deref().unwrap_or_default()
    }

    /// The options with their places.
    pub fn options(&self) -> impl Iterator<Item = (String, &str, Option<Meaning>)> {
        let options = self.mount.options.iter().enumerate();
        options.map(|(n, option)| {
            let pointer = format!("{}/options/{n}", self.pointer);
            (pointer, option.as_str(), meaning(option))
        })
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
            report.add(format!("{}/destination", shape.pointer), "is missing");
        }
    }
}

fn mount_has_a_type(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        if !shape.bind && !shape.remount && shape.kind().is_empty() {
            report.add(
                format!("{}/type", shape.pointer),
                "is missing (a bind mount has the option bind or rbind)",
            );
        }
    }
}

fn bind_mount_has_a_source(config: &Config, report: &mut Report) {
    for shape in shapes(config).filter(|shape| shape.bind) {
        if shape.mount.source.as_deref().unwrap_or_default().is_empty() {
            report.add(
                format!("{}/source", shape.pointer),
                "is missing for a bind mount",
            );
        }
    }
}

/// The kernel would drop it without a word.
fn bind_mount_without_data(config: &Config, report: &mut Report) {
    for shape in shapes(config).filter(|shape| shape.bind) {
        for (pointer, option, meaning) in shape.options() {
            if meaning.is_none() && !option.is_empty() {
                report.add(
                    pointer,
                    format!("{option:?} is for a file system, and a bind mount makes none"),
                );
            }
        }
    }
}

fn option_fits_the_mount(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        for (pointer, option, meaning) in shape.options() {
            match meaning {
                Some(Meaning::CopyUp) if shape.kind() != "tmpfs" => {
                    report.add(pointer, format!("{option} is for the type tmpfs only"));
                }
                Some(Meaning::SourceNofollow | Meaning::CopySymlink) if !shape.bind => {
                    report.add(pointer, format!("{option} is for bind mounts only"));
                }
                _ => {}
            }
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
        let pointer = format!("{}/destination", shape.pointer);
        match normal.strip_prefix("proc") {
            Some("") if !shape.bind && !shape.remount && shape.kind() != "proc" => report.add(
                pointer,
                format!(
                    "only procfs may be mounted at /proc, not {:?}",
                    shape.kind()
                ),
            ),
            Some(below) if below.starts_with('/') && !OVER_PROC.contains(&&below[1..]) => {
                report.add(
                    pointer,
                    format!("{path:?}: nothing may be mounted there in procfs"),
                );
            }
            _ => {}
        }
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
