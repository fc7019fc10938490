//! The namespaces, and what needs one.
//!
//! Runs in: parent.

use std::collections::BTreeSet;

use super::{Check, Report, Run};
use crate::bundle::config::Config;
use crate::bundle::linux::IdMapping;

pub const CHECKS: &[Check] = &[
    Check {
        name: "namespace-is-known",
        clause: "config-linux.md#namespaces",
        pointer: "/linux/namespaces/*/type",
        run: Run::Config(namespace_is_known),
    },
    Check {
        name: "namespace-once",
        clause: "config-linux.md#namespaces",
        pointer: "/linux/namespaces/*/type",
        run: Run::Config(namespace_once),
    },
    Check {
        name: "namespace-path-is-absolute",
        clause: "config-linux.md#namespaces",
        pointer: "/linux/namespaces/*/path",
        run: Run::Config(namespace_path_is_absolute),
    },
    Check {
        name: "masks-in-own-mount-namespace",
        clause: "runc",
        pointer: "/linux/maskedPaths",
        run: Run::Config(masks_in_own_mount_namespace),
    },
    Check {
        name: "time-offsets-in-new-namespace",
        clause: "config-linux.md#offset-for-time-namespace; runc",
        pointer: "/linux/timeOffsets",
        run: Run::Config(time_offsets_in_new_namespace),
    },
    Check {
        name: "time-offset-is-legal",
        clause: "time_namespaces(7)",
        pointer: "/linux/timeOffsets/*",
        run: Run::Config(time_offset_is_legal),
    },
    Check {
        name: "uids-and-gids-are-mapped",
        clause: "config-linux.md#user-namespace-mappings",
        pointer: "/linux/uidMappings",
        run: Run::Config(uids_and_gids_are_mapped),
    },
    Check {
        name: "id-mapping-is-legal",
        clause: "user_namespaces(7)",
        pointer: "/linux/uidMappings/*",
        run: Run::Config(id_mapping_is_legal),
    },
    Check {
        name: "id-mappings-do-not-overlap",
        clause: "user_namespaces(7)",
        pointer: "/linux/uidMappings/*",
        run: Run::Config(id_mappings_do_not_overlap),
    },
];

const KINDS: [&str; 8] = [
    "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time",
];

/// SPEC: config-linux.md#namespaces leaves other kinds to the runtime; there are none.
fn namespace_is_known(config: &Config, report: &mut Report) {
    for (n, namespace) in config.linux().namespaces.iter().enumerate() {
        let message = match namespace.kind.as_deref() {
            None | Some("") => "is missing".to_owned(),
            Some(kind) if !KINDS.contains(&kind) => format!("{kind:?} is no kind of namespace"),
            Some(_) => continue,
        };
        report.add(format!("/linux/namespaces/{n}/type"), message);
    }
}

fn namespace_once(config: &Config, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (n, namespace) in config.linux().namespaces.iter().enumerate() {
        if let Some(kind) = namespace.kind.as_deref()
            && !seen.insert(kind)
        {
            report.add(
                format!("/linux/namespaces/{n}/type"),
                format!("{kind:?} is there twice"),
            );
        }
    }
}

fn namespace_path_is_absolute(config: &Config, report: &mut Report) {
    for (n, namespace) in config.linux().namespaces.iter().enumerate() {
        let path = namespace.path.as_deref().unwrap_or_default();
        if !path.is_empty() && !path.starts_with('/') {
            report.add(
                format!("/linux/namespaces/{n}/path"),
                format!("{path:?} must be an absolute path"),
            );
        }
    }
}

fn masks_in_own_mount_namespace(config: &Config, report: &mut Report) {
    let linux = config.linux();
    if linux.has_namespace("mount") {
        return;
    }
    let lists = [
        ("/linux/maskedPaths", &linux.masked_paths),
        ("/linux/readonlyPaths", &linux.readonly_paths),
    ];
    for (pointer, paths) in lists {
        if !paths.is_empty() {
            report.add(
                pointer,
                "needs a mount namespace of the container's own (linux.namespaces)",
            );
        }
    }
}

fn time_offsets_in_new_namespace(config: &Config, report: &mut Report) {
    let linux = config.linux();
    if linux.time_offsets.is_empty() || linux.makes_namespace("time") {
        return;
    }
    let message = match linux.has_namespace("time") {
        true => "cannot be set in a time namespace that is joined by path",
        false => "needs a time namespace of the container's own (linux.namespaces)",
    };
    report.add("/linux/timeOffsets", message);
}

fn time_offset_is_legal(config: &Config, report: &mut Report) {
    for (clock, offset) in config.linux().time_offsets.iter() {
        let pointer = format!("/linux/timeOffsets/{}", super::pointer_part(clock));
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            report.add(
                &pointer,
                "only the clocks monotonic and boottime have an offset",
            );
        }
        if offset.nanosecs >= 1_000_000_000 {
            report.add(
                format!("{pointer}/nanosecs"),
                format!("{} is a second or more", offset.nanosecs),
            );
        }
    }
}

/// None of both is left to the plan: then an ordinary user's own ranges are taken.
fn uids_and_gids_are_mapped(config: &Config, report: &mut Report) {
    let linux = config.linux();
    if linux.uid_mappings.is_empty() == linux.gid_mappings.is_empty() {
        return;
    }
    let missing = match linux.uid_mappings.is_empty() {
        true => "/linux/uidMappings",
        false => "/linux/gidMappings",
    };
    report.add(missing, "is missing: one comes with the other");
}

/// The maps that config.json has, each with its place.
fn maps(config: &Config) -> Vec<(String, &[IdMapping])> {
    let linux = config.linux();
    let mut maps: Vec<(String, &[IdMapping])> = vec![
        ("/linux/uidMappings".into(), &linux.uid_mappings),
        ("/linux/gidMappings".into(), &linux.gid_mappings),
    ];
    for (n, mount) in config.mounts.iter().enumerate() {
        let both = [
            ("uidMappings", &mount.uid_mappings),
            ("gidMappings", &mount.gid_mappings),
        ];
        for (member, map) in both.into_iter().filter(|(_, map)| !map.is_empty()) {
            maps.push((format!("/mounts/{n}/{member}"), map));
        }
    }
    maps
}

/// KERNEL(4.15): an id map has up to 340 lines, and 5 before; user_namespaces(7).
const MAX_LINES: usize = 340;

fn id_mapping_is_legal(config: &Config, report: &mut Report) {
    for (pointer, map) in maps(config) {
        if map.len() > MAX_LINES {
            report.add(&pointer, format!("has more than {MAX_LINES} lines"));
        }
        for (n, line) in map.iter().enumerate() {
            if let Some((field, message)) = fault(line) {
                report.add(format!("{pointer}/{n}{field}"), message);
            }
        }
    }
}

/// What is wrong with one line, and with which field of it.
pub fn fault(line: &IdMapping) -> Option<(&'static str, &'static str)> {
    if line.size == 0 {
        Some(("/size", "must be greater than zero"))
    } else if end(line.container_id, line.size).is_none() {
        Some(("", "goes beyond the highest id of the container"))
    } else if end(line.host_id, line.size).is_none() {
        Some(("", "goes beyond the highest id of the host"))
    } else {
        None
    }
}

/// The id after the last one of a range; 2^32 - 1 is no id.
fn end(first: u32, size: u32) -> Option<u32> {
    first.checked_add(size)
}

fn id_mappings_do_not_overlap(config: &Config, report: &mut Report) {
    for (pointer, map) in maps(config) {
        for n in 0..map.len().min(MAX_LINES) {
            if let Some(other) = overlapped(map, n) {
                report.add(
                    format!("{pointer}/{n}"),
                    format!("overlaps with line {other}"),
                );
            }
        }
    }
}

/// The first line before line `n` that shares an id with it, on either side.
pub fn overlapped(map: &[IdMapping], n: usize) -> Option<usize> {
    let line = map.get(n)?;
    let overlap = |first: fn(&IdMapping) -> u32| {
        let meets = |other: &IdMapping| {
            let (a, b) = (u64::from(first(line)), u64::from(first(other)));
            a < b + u64::from(other.size) && b < a + u64::from(line.size)
        };
        map[..n].iter().position(meets)
    };
    overlap(|m| m.container_id).or(overlap(|m| m.host_id))
}
