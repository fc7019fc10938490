//! `linux.netDevices`.
//!
//! Runs in: parent.

use std::collections::BTreeMap;

use super::{Check, Report, Run, pointer_part};
use crate::bundle::config::Config;

pub const CHECKS: &[Check] = &[
    Check {
        name: "network-device-has-a-name",
        clause: "config-linux.md#network-devices",
        pointer: "/linux/netDevices/*",
        run: Run::Config(network_device_has_a_name),
    },
    Check {
        name: "network-device-names-differ",
        clause: "config-linux.md#network-devices",
        pointer: "/linux/netDevices/*/name",
        run: Run::Config(network_device_names_differ),
    },
];

fn network_device_has_a_name(config: &Config, report: &mut Report) {
    let linux = config.linux();
    if !linux.net_devices.is_empty() && !linux.has_namespace("network") {
        report.add(
            "/linux/netDevices",
            "needs a network namespace of the container's own (linux.namespaces)",
        );
    }
    for (key, device) in linux.net_devices.iter() {
        let pointer = format!("/linux/netDevices/{}", pointer_part(key));
        if !is_interface_name(key) {
            report.add(&pointer, "is no name of a network interface");
        }
        let inside = device.name.as_deref().unwrap_or_default();
        // The kernel takes one number for one %d.
        let template = inside.replacen("%d", "0", 1);
        if !inside.is_empty() && (!is_interface_name(&template) || template.contains('%')) {
            report.add(
                format!("{pointer}/name"),
                format!("{inside:?} is no name of a network interface"),
            );
        }
    }
}

/// As the kernel's dev_valid_name() has it; IFNAMSIZ is 16 with its NUL byte.
fn is_interface_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() < 16
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace())
}

/// A name with `%d` is another one for each device.
fn network_device_names_differ(config: &Config, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (key, device) in config.linux().net_devices.iter() {
        let given = device.name.as_deref().filter(|name| !name.is_empty());
        let inside = given.unwrap_or(key);
        if inside.contains("%d") {
            continue;
        }
        if let Some(other) = seen.insert(inside, key) {
            report.add(
                format!("/linux/netDevices/{}", pointer_part(key)),
                format!("is called {inside} inside, as {other} is"),
            );
        }
    }
}
