//! The section `linux`: devices, paths, sysctls and the rest of it.
//!
//! Runs in: parent.

use super::{Check, Report, Run, pointer_part};
use crate::bundle::config::Config;
use crate::bundle::linux::Device;
use crate::bundle::{sysctl_path, words};

pub const CHECKS: &[Check] = &[
    Check {
        name: "device-is-legal",
        clause: "config-linux.md#devices",
        pointer: "/linux/devices/*",
        run: Run::Config(device_is_legal),
    },
    Check {
        name: "device-has-numbers",
        clause: "config-linux.md#devices, mknod(2)",
        pointer: "/linux/devices/*/major",
        run: Run::Config(device_has_numbers),
    },
    Check {
        name: "paths-are-absolute",
        clause: "config-linux.md#masked-paths, config-linux.md#readonly-paths",
        pointer: "/linux/maskedPaths/*",
        run: Run::Config(paths_are_absolute),
    },
    Check {
        name: "propagation-is-known",
        clause: "config-linux.md#rootfs-mount-propagation",
        pointer: "/linux/rootfsPropagation",
        run: Run::Config(propagation_is_known),
    },
    Check {
        name: "personality-is-known",
        clause: "config-linux.md#personality",
        pointer: "/linux/personality/domain",
        run: Run::Config(personality_is_known),
    },
    Check {
        name: "sysctl-stays-below-proc-sys",
        clause: "sysctl(8)",
        pointer: "/linux/sysctl/*",
        run: Run::Config(sysctl_stays_below_proc_sys),
    },
    Check {
        name: "sysctl-in-own-namespace",
        clause: "config-linux.md#sysctl; runc and crun",
        pointer: "/linux/sysctl/*",
        run: Run::Config(sysctl_in_own_namespace),
    },
    Check {
        name: "memory-policy-is-known",
        clause: "config-linux.md#memory-policy, set_mempolicy(2)",
        pointer: "/linux/memoryPolicy",
        run: Run::Config(memory_policy_is_known),
    },
    Check {
        name: "memory-policy-fields-agree",
        clause: "set_mempolicy(2)",
        pointer: "/linux/memoryPolicy",
        run: Run::Config(memory_policy_fields_agree),
    },
    Check {
        name: "intel-rdt-is-legal",
        clause: "config-linux.md#intelrdt",
        pointer: "/linux/intelRdt",
        run: Run::Config(intel_rdt_is_legal),
    },
];

fn devices(config: &Config) -> impl Iterator<Item = (String, &Device)> {
    let devices = config.linux().devices.iter().enumerate();
    devices.map(|(n, device)| (format!("/linux/devices/{n}"), device))
}

fn device_is_legal(config: &Config, report: &mut Report) {
    for (pointer, device) in devices(config) {
        match device.kind.as_deref() {
            None | Some("") => report.add(format!("{pointer}/type"), "is missing"),
            Some("c" | "b" | "u" | "p") => {}
            Some(kind) => report.add(
                format!("{pointer}/type"),
                format!("{kind:?} is none of c, b, u and p"),
            ),
        }
        match device.path.as_deref() {
            None | Some("") => report.add(format!("{pointer}/path"), "is missing"),
            Some(path) if !path.starts_with('/') => report.add(
                format!("{pointer}/path"),
                format!("{path:?} must be an absolute path"),
            ),
            Some(_) => {}
        }
        // Engines copy st_mode whole, with the bits of the file's type.
        if let Some(mode) = device.file_mode
            && mode > 0o177_777
        {
            report.add(
                format!("{pointer}/fileMode"),
                format!("{mode} (octal {mode:o}) is no file mode"),
            );
        }
    }
}

/// Numbers that do not fit are cut off by mknod(2), and name another device.
fn device_has_numbers(config: &Config, report: &mut Report) {
    const MAX_MAJOR: i64 = (1 << 12) - 1;
    const MAX_MINOR: i64 = (1 << 20) - 1;
    for (pointer, device) in devices(config) {
        if device.kind.as_deref() == Some("p") {
            continue;
        }
        let numbers = [
            ("major", device.major, MAX_MAJOR),
            ("minor", device.minor, MAX_MINOR),
        ];
        for (name, number, max) in numbers {
            match number {
                None => report.add(format!("{pointer}/{name}"), "is missing"),
                Some(number) if !(0..=max).contains(&number) => report.add(
                    format!("{pointer}/{name}"),
                    format!("{number} is not between 0 and {max}"),
                ),
                Some(_) => {}
            }
        }
    }
}

fn paths_are_absolute(config: &Config, report: &mut Report) {
    let linux = config.linux();
    let lists = [
        ("maskedPaths", &linux.masked_paths),
        ("readonlyPaths", &linux.readonly_paths),
    ];
    for (name, paths) in lists {
        for (n, path) in paths.iter().enumerate() {
            if !path.starts_with('/') {
                report.add(
                    format!("/linux/{name}/{n}"),
                    format!("{path:?} must be an absolute path"),
                );
            }
        }
    }
}

fn propagation_is_known(config: &Config, report: &mut Report) {
    let given = config
        .linux()
        .rootfs_propagation
        .as_deref()
        .unwrap_or_default();
    let word = given.strip_prefix('r').unwrap_or(given);
    if !matches!(word, "" | "shared" | "slave" | "private" | "unbindable") {
        report.add(
            "/linux/rootfsPropagation",
            format!("{given:?} is none of shared, slave, private and unbindable"),
        );
    }
}

fn personality_is_known(config: &Config, report: &mut Report) {
    let Some(personality) = &config.linux().personality else {
        return;
    };
    match personality.domain.as_deref() {
        None | Some("") => report.add("/linux/personality/domain", "is missing"),
        Some("LINUX" | "LINUX32") => {}
        Some(domain) => report.add(
            "/linux/personality/domain",
            format!("{domain:?} is neither LINUX nor LINUX32"),
        ),
    }
}

/// `net.//.kernel.core_pattern` would be a file outside net, and so outside of every
/// namespace of the container.
fn sysctl_stays_below_proc_sys(config: &Config, report: &mut Report) {
    for key in config.linux().sysctl.keys() {
        let path = sysctl_path(key);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            report.add(
                format!("/linux/sysctl/{}", pointer_part(key)),
                "is no name of a kernel parameter",
            );
        }
    }
}

/// The parameters of System V IPC, which an ipc namespace has of its own; ipc_namespaces(7).
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

fn sysctl_in_own_namespace(config: &Config, report: &mut Report) {
    let linux = config.linux();
    for key in linux.sysctl.keys() {
        let path = sysctl_path(key);
        let pointer = format!("/linux/sysctl/{}", pointer_part(key));
        let needed = match path.as_str() {
            path if IPC.contains(&path) || path.starts_with("fs/mqueue/") => "ipc",
            path if path.starts_with("net/") => "network",
            path if path.starts_with("user/") => "user",
            "kernel/domainname" => "uts",
            "kernel/hostname" => {
                report.add(pointer, "conflicts with the field hostname, which sets it");
                continue;
            }
            _ => {
                report.add(pointer, "belongs to no namespace: it would change the host");
                continue;
            }
        };
        if !linux.has_namespace(needed) {
            report.add(
                pointer,
                format!("needs a {needed} namespace of the container's own (linux.namespaces)"),
            );
        }
    }
}

fn memory_policy_is_known(config: &Config, report: &mut Report) {
    let Some(policy) = &config.linux().memory_policy else {
        return;
    };
    match policy.mode.as_deref() {
        None | Some("") => report.add("/linux/memoryPolicy/mode", "is missing"),
        Some(mode) if words::memory_mode(mode).is_none() => report.add(
            "/linux/memoryPolicy/mode",
            format!("{mode:?} is no mode of set_mempolicy"),
        ),
        Some(_) => {}
    }
    for (n, flag) in policy.flags.iter().enumerate() {
        if words::memory_flag(flag).is_none() {
            report.add(
                format!("/linux/memoryPolicy/flags/{n}"),
                format!("{flag:?} is no flag of set_mempolicy"),
            );
        }
    }
    let nodes = policy.nodes.as_deref().unwrap_or_default();
    if words::number_list(nodes).is_none() {
        report.add(
            "/linux/memoryPolicy/nodes",
            format!("{nodes:?} is no list of nodes such as 0-3,7"),
        );
    }
}

fn memory_policy_fields_agree(config: &Config, report: &mut Report) {
    let Some(policy) = &config.linux().memory_policy else {
        return;
    };
    let mode = policy.mode.as_deref().unwrap_or_default();
    let nodes = policy.nodes.as_deref().unwrap_or_default();
    let has_flag = |name| policy.flags.iter().any(|flag| flag == name);
    let takes_none = matches!(mode, "MPOL_DEFAULT" | "MPOL_LOCAL");
    if takes_none && !nodes.is_empty() {
        report.add(
            "/linux/memoryPolicy/nodes",
            format!("{mode} takes no nodes"),
        );
    }
    if !takes_none && mode != "MPOL_PREFERRED" && nodes.is_empty() {
        report.add("/linux/memoryPolicy/nodes", format!("{mode:?} needs nodes"));
    }
    if has_flag("MPOL_F_STATIC_NODES") && has_flag("MPOL_F_RELATIVE_NODES") {
        report.add(
            "/linux/memoryPolicy/flags",
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        );
    }
}

fn intel_rdt_is_legal(config: &Config, report: &mut Report) {
    let Some(rdt) = &config.linux().intel_rdt else {
        return;
    };
    if let Some(id) = rdt.clos_id.as_deref()
        && (matches!(id, "." | "..") || (id.contains('/') && id != "/"))
    {
        report.add(
            "/linux/intelRdt/closID",
            format!("{id:?} is no name of a folder"),
        );
    }
    for (n, line) in rdt.schemata.iter().enumerate() {
        if line.contains('\n') || !line.contains(':') {
            report.add(
                format!("/linux/intelRdt/schemata/{n}"),
                "must be one line such as L3:0=7f0;1=1f",
            );
        }
    }
    let schema = rdt.mem_bw_schema.as_deref().unwrap_or("MB:");
    if !schema.starts_with("MB:") || schema.contains('\n') {
        report.add(
            "/linux/intelRdt/memBwSchema",
            "must be one line that starts with MB:",
        );
    }
}
