//! The resources.
//!
//! Runs in: parent.

use super::{Check, Report, Run, pointer_part};
use crate::bundle::config::Config;
use crate::bundle::resources::Resources;
use crate::bundle::words;

pub const CHECKS: &[Check] = &[
    Check {
        name: "device-rule-is-legal",
        clause: "config-linux.md#allowed-device-list",
        pointer: "/linux/resources/devices/*",
        run: Run::Config(device_rule_is_legal),
    },
    Check {
        name: "memory-limits-agree",
        clause: "config-linux.md#memory; runc and crun",
        pointer: "/linux/resources/memory",
        run: Run::Config(memory_limits_agree),
    },
    Check {
        name: "cpu-limits-agree",
        clause: "config-linux.md#cpu",
        pointer: "/linux/resources/cpu",
        run: Run::Config(cpu_limits_agree),
    },
    Check {
        name: "cpuset-is-a-list",
        clause: "config-linux.md#cpu, cpuset(7)",
        pointer: "/linux/resources/cpu/cpus",
        run: Run::Config(cpuset_is_a_list),
    },
    Check {
        name: "block-weight-is-legal",
        clause: "config-linux.md#block-io",
        pointer: "/linux/resources/blockIO",
        run: Run::Config(block_weight_is_legal),
    },
    Check {
        name: "hugepage-limit-is-legal",
        clause: "config-linux.md#huge-page-limits",
        pointer: "/linux/resources/hugepageLimits/*",
        run: Run::Config(hugepage_limit_is_legal),
    },
    Check {
        name: "rdma-limit-is-there",
        clause: "config-linux.md#rdma",
        pointer: "/linux/resources/rdma/*",
        run: Run::Config(rdma_limit_is_there),
    },
    Check {
        name: "unified-names-a-file",
        clause: "config-linux.md#unified; runc and crun",
        pointer: "/linux/resources/unified/*",
        run: Run::Config(unified_names_a_file),
    },
];

const PLACE: &str = "/linux/resources";

fn resources(config: &Config) -> Option<&Resources> {
    config.linux().resources.as_ref()
}

fn device_rule_is_legal(config: &Config, report: &mut Report) {
    let rules = resources(config)
        .and_then(|r| r.devices.as_deref())
        .unwrap_or_default();
    for (n, rule) in rules.iter().enumerate() {
        let pointer = format!("{PLACE}/devices/{n}");
        let kind = rule.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "a" | "c" | "b") {
            report.add(
                format!("{pointer}/type"),
                format!("{kind:?} is none of a, c and b"),
            );
        }
        let access = rule.access.as_deref().unwrap_or_default();
        if !access.bytes().all(|letter| b"rwm".contains(&letter)) {
            report.add(
                format!("{pointer}/access"),
                format!("{access:?} has other letters than r, w and m"),
            );
        }
        // -1 is how some engines write "any".
        for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
            if let Some(number) = number
                && !(-1..=i64::from(u32::MAX)).contains(&number)
            {
                report.add(
                    format!("{pointer}/{name}"),
                    format!("{number} is no device number"),
                );
            }
        }
    }
}

fn memory_limits_agree(config: &Config, report: &mut Report) {
    let Some(memory) = resources(config).and_then(|r| r.memory.as_ref()) else {
        return;
    };
    let limits = [
        ("limit", memory.limit),
        ("reservation", memory.reservation),
        ("swap", memory.swap),
        ("kernel", memory.kernel),
        ("kernelTCP", memory.kernel_tcp),
    ];
    for (name, limit) in limits {
        if let Some(limit) = limit
            && limit < -1
        {
            report.add(
                format!("{PLACE}/memory/{name}"),
                format!("{limit} is neither a number of bytes nor -1"),
            );
        }
    }
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit, memory.swap)
        && swap < limit
    {
        report.add(
            format!("{PLACE}/memory/swap"),
            format!("{swap} is memory and swap together, and below the memory limit {limit}"),
        );
    }
}

fn cpu_limits_agree(config: &Config, report: &mut Report) {
    let Some(cpu) = resources(config).and_then(|r| r.cpu.as_ref()) else {
        return;
    };
    if let (Some(burst), Some(quota @ 1..)) = (cpu.burst, cpu.quota)
        && burst > quota.unsigned_abs()
    {
        report.add(
            format!("{PLACE}/cpu/burst"),
            format!("{burst} is above the quota {quota}"),
        );
    }
    if let Some(idle) = cpu.idle
        && !(0..=1).contains(&idle)
    {
        report.add(
            format!("{PLACE}/cpu/idle"),
            format!("{idle} is neither 0 nor 1"),
        );
    }
}

fn cpuset_is_a_list(config: &Config, report: &mut Report) {
    let Some(cpu) = resources(config).and_then(|r| r.cpu.as_ref()) else {
        return;
    };
    for (name, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        let list = list.as_deref().unwrap_or_default();
        if words::number_list(list).is_none() {
            report.add(
                format!("{PLACE}/cpu/{name}"),
                format!("{list:?} is no list such as 0-3,7"),
            );
        }
    }
}

fn block_weight_is_legal(config: &Config, report: &mut Report) {
    let Some(io) = resources(config).and_then(|r| r.block_io.as_ref()) else {
        return;
    };
    let in_range = |weight: Option<u16>| weight.is_none_or(|w| w == 0 || (10..=1000).contains(&w));
    if !in_range(io.weight) {
        report.add(
            format!("{PLACE}/blockIO/weight"),
            "is not between 10 and 1000",
        );
    }
    for (n, device) in io.weight_device.iter().enumerate() {
        let pointer = format!("{PLACE}/blockIO/weightDevice/{n}");
        if device.weight.is_none() && device.leaf_weight.is_none() {
            report.add(&pointer, "has neither weight nor leafWeight");
        }
        if !in_range(device.weight) {
            report.add(format!("{pointer}/weight"), "is not between 10 and 1000");
        }
    }
}

fn hugepage_limit_is_legal(config: &Config, report: &mut Report) {
    let limits = resources(config)
        .into_iter()
        .flat_map(|r| r.hugepage_limits.iter());
    for (n, limit) in limits.enumerate() {
        let pointer = format!("{PLACE}/hugepageLimits/{n}");
        let size = limit.page_size.as_deref().unwrap_or_default();
        let digits = size
            .trim_end_matches("KB")
            .trim_end_matches("MB")
            .trim_end_matches("GB");
        let legal = digits.len() + 2 == size.len()
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit());
        if !legal {
            report.add(
                format!("{pointer}/pageSize"),
                format!("{size:?} is no size such as 64KB, 2MB or 1GB"),
            );
        }
        if limit.limit.is_none() {
            report.add(format!("{pointer}/limit"), "is missing");
        }
    }
}

fn rdma_limit_is_there(config: &Config, report: &mut Report) {
    for (device, limit) in resources(config).into_iter().flat_map(|r| r.rdma.iter()) {
        if limit.hca_handles.is_none() && limit.hca_objects.is_none() {
            report.add(
                format!("{PLACE}/rdma/{}", pointer_part(device)),
                "has neither hcaHandles nor hcaObjects",
            );
        }
    }
}

/// A name with a slash would reach another cgroup.
fn unified_names_a_file(config: &Config, report: &mut Report) {
    for key in resources(config).into_iter().flat_map(|r| r.unified.keys()) {
        let legal = key
            .split_once('.')
            .is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
        if !legal || key.contains('/') {
            report.add(
                format!("{PLACE}/unified/{}", pointer_part(key)),
                "is no file of a cgroup such as memory.high",
            );
        }
    }
}
