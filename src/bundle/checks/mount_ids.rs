//! The id maps of mounts: `uidMappings`, `gidMappings`, and the options `idmap` and `ridmap`.
//!
//! Runs in: parent.

use super::mounts::{Shape, shapes};
use super::namespaces::{fault, overlapped};
use super::{Check, Report, Run};
use crate::bundle::config::Config;
use crate::bundle::id_map;
use crate::bundle::mount_options::id_map_word;

pub const CHECKS: &[Check] = &[
    Check {
        name: "mount-maps-uids-and-gids",
        clause: "config.md#posix-platform-mounts",
        pointer: "/mounts/*/uidMappings",
        run: Run::Config(mount_maps_uids_and_gids),
    },
    Check {
        name: "idmap-reads-as-a-map",
        clause: "crun(1)",
        pointer: "/mounts/*/options/*",
        run: Run::Config(idmap_reads_as_a_map),
    },
    Check {
        name: "idmap-has-a-map",
        clause: "config.md#linux-mount-options",
        pointer: "/mounts/*/options/*",
        run: Run::Config(idmap_has_a_map),
    },
    Check {
        name: "mount-can-be-id-mapped",
        clause: "mount_setattr(2)",
        pointer: "/mounts/*",
        run: Run::Config(mount_can_be_id_mapped),
    },
];

fn mount_maps_uids_and_gids(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        let (uids, gids) = (&shape.mount.uid_mappings, &shape.mount.gid_mappings);
        if uids.is_empty() != gids.is_empty() {
            let missing = if uids.is_empty() {
                "uidMappings"
            } else {
                "gidMappings"
            };
            report.add(shape.place(missing), "is missing: one comes with the other");
        }
    }
}

/// The options of a mount that are about its ids, with their places.
fn words<'a>(shape: &'a Shape<'_>) -> impl Iterator<Item = (String, &'a str)> {
    let words = shape.options();
    words
        .filter(|(_, option)| id_map_word(option).is_some())
        .map(|(n, option)| (shape.place_of_option(n), option))
}

fn idmap_reads_as_a_map(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        for (pointer, option) in words(&shape) {
            let maps = match id_map::read(option, config.linux()) {
                Ok(None) => continue,
                Ok(Some(maps)) => maps,
                Err(message) => {
                    report.add(pointer, message);
                    continue;
                }
            };
            if !shape.mount.uid_mappings.is_empty() {
                report.add(
                    &pointer,
                    "is a second map: the mount has uidMappings already",
                );
            }
            for (kind, map) in [("uids", &maps.uids), ("gids", &maps.gids)] {
                for (n, line) in map.iter().enumerate() {
                    if let Some((_, message)) = fault(line) {
                        report.add(&pointer, format!("{kind}: line {n}: {message}"));
                    } else if let Some(other) = overlapped(map, n) {
                        report.add(
                            &pointer,
                            format!("{kind}: line {n} overlaps with line {other}"),
                        );
                    }
                }
            }
        }
    }
}

fn idmap_has_a_map(config: &Config, report: &mut Report) {
    if config.linux().has_namespace("user") {
        return;
    }
    for shape in shapes(config).filter(|shape| shape.mount.uid_mappings.is_empty()) {
        for (pointer, option) in words(&shape).filter(|(_, option)| !option.contains('=')) {
            report.add(
                pointer,
                format!("{option} needs uidMappings and gidMappings of the mount, or a user namespace of the container"),
            );
        }
    }
}

/// File systems that the kernel makes up, whose files have no owner on a disk.
const WITHOUT_ID_MAPS: [&str; 6] = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"];

fn mount_can_be_id_mapped(config: &Config, report: &mut Report) {
    for shape in shapes(config) {
        let first_word = words(&shape).next();
        let pointer = match (first_word, shape.mount.uid_mappings.is_empty()) {
            (Some((pointer, _)), _) => pointer,
            (None, false) => shape.place("uidMappings"),
            (None, true) => continue,
        };
        if shape.is_remount() {
            report.add(pointer, "the ids of a mount that is there cannot be mapped");
        } else if !shape.is_bind() && WITHOUT_ID_MAPS.contains(&shape.kind()) {
            report.add(
                pointer,
                format!("the kernel maps no ids of a {}", shape.kind()),
            );
        }
    }
}
