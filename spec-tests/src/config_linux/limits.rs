//! config-linux.md#cgroups: limits, read back from the files of the cgroup.

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::cgroup::disk_of;
use crate::harness::verdict::{Verdict, fail, holds, skip};
use crate::tests;

tests! {
    "config-linux.md#memory" Must a_memory_limit_is_written;
    "config-linux.md#memory" Must a_memory_reservation_is_written;
    "config-linux.md#memory" Must a_swap_limit_is_that_of_swap_alone;
    "config-linux.md#memory" Must unlimited_memory_is_no_limit;
    "config-linux.md#cpu" Should a_limit_that_is_the_kernels_default_needs_no_controller;
    "config-linux.md#cpu" Must cpu_shares_become_a_weight;
    "config-linux.md#cpu" Must a_cpu_quota_and_period_are_written;
    "config-linux.md#cpu" Must a_cpu_period_alone_is_written;
    "config-linux.md#cpu" Must a_cpu_burst_is_written;
    "config-linux.md#cpu" Must cpu_idle_is_written;
    "config-linux.md#cpu" Must cpus_and_memory_nodes_are_written;
    "config-linux.md#cpu" Must a_period_that_the_kernel_refuses_is_an_error;
    "config-linux.md#cpu" Must a_realtime_limit_is_not_dropped_in_silence;
    "config-linux.md#pids" Must a_pids_limit_is_written;
    "config-linux.md#pids" Must a_negative_pids_limit_is_no_limit;
    "config-linux.md#pids" Must a_pids_limit_of_zero_is_a_limit;
    "config-linux.md#block-io" Must a_block_io_weight_is_written;
    "config-linux.md#block-io" Must block_io_throttles_are_written;
    "config-linux.md#block-io" Must a_throttle_of_an_absent_device_is_an_error;
    "config-linux.md#huge-page-limits" Must a_huge_page_limit_is_written;
    "config-linux.md#huge-page-limits" Must a_page_size_that_is_not_there_is_an_error;
    "config-linux.md#rdma" Must an_rdma_limit_of_an_absent_device_is_an_error;
    "config-linux.md#unified" Must unified_values_of_controllers_are_written;
    "config-linux.md#unified" Must a_unified_value_that_the_kernel_refuses_is_an_error;
    "config-linux.md#network" Must a_network_class_is_not_dropped_in_silence;
    "config-linux.md#memory" Must what_cgroup_v2_cannot_limit_is_not_dropped_in_silence;
}

/// A container made with these resources has these texts in the files of its cgroup.
fn written(case: &Case, controller: &str, resources: &Value, files: &[(&str, &str)]) -> Verdict {
    let place = case.need_controller(controller)?;
    let mut bundle = case.limited(&place, "limits", resources)?;
    let container = case.create(&mut bundle)?;
    container.cgroup()?.holds(files)
}

/// `create` with these resources fails, names one of these, and leaves nothing.
fn refused(case: &Case, controller: &str, resources: &Value, says: &[&str]) -> Verdict {
    let place = case.need_controller(controller)?;
    let bundle = case.limited(&place, "limits", resources)?;
    case.create_refused(&bundle)?.says(says).map(drop)
}

const MIB: u64 = 1 << 20;

fn a_memory_limit_is_written(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 64 * MIB}});
    written(case, "memory", &resources, &[("memory.max", "67108864")])
}

fn a_memory_reservation_is_written(case: &Case) -> Verdict {
    let resources = json!({"memory": {"reservation": 32 * MIB}});
    written(case, "memory", &resources, &[("memory.low", "33554432")])
}

/// The spec's `swap` is of memory and swap together.
fn a_swap_limit_is_that_of_swap_alone(case: &Case) -> Verdict {
    let place = case.need_controller("memory")?;
    let mut plain = case.limited(&place, "plain", &json!({"memory": {"limit": 64 * MIB}}))?;
    let container = case.create_named(&mut plain, &format!("{}-plain", case.id))?;
    container.cgroup()?.need("memory.swap.max")?;
    let resources = json!({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}});
    let files = [("memory.max", "67108864"), ("memory.swap.max", "33554432")];
    written(case, "memory", &resources, &files)
}

fn unlimited_memory_is_no_limit(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": -1}, "pids": {"limit": 50}});
    let place = case.need_controller("memory")?;
    let mut bundle = case.limited(&place, "limits", &resources)?;
    let container = case.create(&mut bundle)?;
    let cgroup = container.cgroup()?;
    // Where no limit is asked for the controller may be off.
    holds(
        !cgroup.has("memory.max") || cgroup.read("memory.max")? == "max",
        "there is a limit",
    )
}

/// Runtimes agree on the ends of the range; between them the formula has changed over time.
fn cpu_shares_become_a_weight(case: &Case) -> Verdict {
    let place = case.need_controller("cpu")?;
    let mut weights = Vec::new();
    for (word, shares) in [("least", 2), ("some", 2048), ("most", 262_144)] {
        let resources = json!({"cpu": {"shares": shares}});
        let mut bundle = case.limited(&place, word, &resources)?;
        let container = case.create_named(&mut bundle, &format!("{}-{word}", case.id))?;
        let text = container.cgroup()?.read("cpu.weight")?;
        weights.push(text.parse::<u32>().unwrap_or_default());
    }
    match weights[..] {
        [1, some, 10_000] if some > 1 && some < 1000 => Ok(()),
        _ => fail(format!("weights of 2, 2048, 262144 shares: {weights:?}")),
    }
}

fn a_cpu_quota_and_period_are_written(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"quota": 30_000, "period": 60_000}});
    written(case, "cpu", &resources, &[("cpu.max", "30000 60000")])
}

fn a_cpu_period_alone_is_written(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"period": 50_000}});
    written(case, "cpu", &resources, &[("cpu.max", "max 50000")])
}

fn a_cpu_burst_is_written(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"quota": 30_000, "period": 60_000, "burst": 10_000}});
    let files = [("cpu.max", "30000 60000"), ("cpu.max.burst", "10000")];
    written(case, "cpu", &resources, &files)
}

fn cpu_idle_is_written(case: &Case) -> Verdict {
    written(
        case,
        "cpu",
        &json!({"cpu": {"idle": 1}}),
        &[("cpu.idle", "1")],
    )
}

fn cpus_and_memory_nodes_are_written(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"cpus": "0", "mems": "0"}});
    let files = [("cpuset.cpus", "0"), ("cpuset.mems", "0")];
    written(case, "cpuset", &resources, &files)
}

fn a_period_that_the_kernel_refuses_is_an_error(case: &Case) -> Verdict {
    // Below a millisecond.
    let resources = json!({"cpu": {"quota": 30_000, "period": 20}});
    refused(case, "cpu", &resources, &["cpu.max", "CPUQuota", "period"])
}

fn a_realtime_limit_is_not_dropped_in_silence(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 10_000}});
    refused(case, "cpu", &resources, &["realtime"])
}

fn a_pids_limit_is_written(case: &Case) -> Verdict {
    let resources = json!({"pids": {"limit": 37}});
    written(case, "pids", &resources, &[("pids.max", "37")])
}

fn a_negative_pids_limit_is_no_limit(case: &Case) -> Verdict {
    let place = case.need_controller("pids")?;
    let mut bundle = case.limited(&place, "limits", &json!({"pids": {"limit": -1}}))?;
    let container = case.create(&mut bundle)?;
    let cgroup = container.cgroup()?;
    holds(
        !cgroup.has("pids.max") || cgroup.read("pids.max")? == "max",
        "there is a limit",
    )
}

/// So since version 1.3; the container's own first process is there in any case.
fn a_pids_limit_of_zero_is_a_limit(case: &Case) -> Verdict {
    let place = case.need_controller("pids")?;
    let mut bundle = case.limited(&place, "limits", &json!({"pids": {"limit": 0}}))?;
    bundle.config["ociVersion"] = json!("1.3.0");
    let container = case.create(&mut bundle)?;
    let limit = container.cgroup()?.read("pids.max")?;
    holds(limit == "0" || limit == "1", format!("pids.max is {limit}"))
}

fn a_block_io_weight_is_written(case: &Case) -> Verdict {
    let place = case.need_controller("io")?;
    let mut bundle = case.limited(&place, "limits", &json!({"blockIO": {"weight": 1000}}))?;
    let plain = json!({"unified": {"io.max": ""}});
    let mut other = case.limited(&place, "plain", &plain)?;
    let there = case.create_named(&mut other, &format!("{}-plain", case.id))?;
    let cgroup = there.cgroup()?;
    if !cgroup.has("io.weight") && !cgroup.has("io.bfq.weight") {
        return skip("this kernel has neither io.weight nor io.bfq.weight");
    }
    let container = case.create(&mut bundle)?;
    let cgroup = container.cgroup()?;
    if cgroup.has("io.bfq.weight") && cgroup.read("io.bfq.weight")?.ends_with("1000") {
        return Ok(());
    }
    cgroup.holds(&[("io.weight", "default 10000")])
}

fn block_io_throttles_are_written(case: &Case) -> Verdict {
    let place = case.need_controller("io")?;
    let disk = disk_of(&case.dir)?;
    let (major, minor) = disk.split_once(':').unwrap_or_default();
    let numbers: [u64; 2] = [major, minor].map(|n| n.parse().unwrap_or_default());
    let rate = |rate: u64| json!([{"major": numbers[0], "minor": numbers[1], "rate": rate}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": rate(2 * MIB), "throttleWriteBpsDevice": rate(MIB),
        "throttleReadIOPSDevice": rate(200), "throttleWriteIOPSDevice": rate(100),
    }});
    let mut bundle = case.limited(&place, "limits", &resources)?;
    let container = case.create(&mut bundle)?;
    let line = format!("{disk} rbps=2097152 wbps=1048576 riops=200 wiops=100");
    container.cgroup()?.holds(&[("io.max", &line)])
}

fn a_throttle_of_an_absent_device_is_an_error(case: &Case) -> Verdict {
    let device = json!([{"major": 511, "minor": 511, "rate": MIB}]);
    let resources = json!({"blockIO": {"throttleReadBpsDevice": device}});
    refused(case, "io", &resources, &["io.max", "511:511"])
}

fn a_huge_page_limit_is_written(case: &Case) -> Verdict {
    let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]});
    let files = [("hugetlb.2MB.max", "4194304")];
    written(case, "hugetlb", &resources, &files)
}

fn a_page_size_that_is_not_there_is_an_error(case: &Case) -> Verdict {
    let resources = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 4 * MIB}]});
    refused(case, "hugetlb", &resources, &["3MB"])
}

fn an_rdma_limit_of_an_absent_device_is_an_error(case: &Case) -> Verdict {
    let resources = json!({"rdma": {"nosuch0": {"hcaHandles": 3, "hcaObjects": 10_000}}});
    refused(case, "rdma", &resources, &["rdma"])
}

fn unified_values_of_controllers_are_written(case: &Case) -> Verdict {
    case.need_controller("pids")?;
    let resources = json!({"unified": {
        "memory.high": "50331648", "pids.max": "41", "cpu.weight": "250", "memory.oom.group": "1",
    }});
    let files = [
        ("memory.high", "50331648"),
        ("pids.max", "41"),
        ("cpu.weight", "250"),
        ("memory.oom.group", "1"),
    ];
    written(case, "memory", &resources, &files)
}

fn a_unified_value_that_the_kernel_refuses_is_an_error(case: &Case) -> Verdict {
    let resources = json!({"unified": {"memory.high": "a lot"}});
    refused(case, "memory", &resources, &["memory.high", "a lot"])
}

fn a_network_class_is_not_dropped_in_silence(case: &Case) -> Verdict {
    let resources = json!({"network": {"classID": 1_048_577}});
    refused(case, "pids", &resources, &["class", "network", "net_cls"])
}

fn what_cgroup_v2_cannot_limit_is_not_dropped_in_silence(case: &Case) -> Verdict {
    let place = case.need_controller("memory")?;
    for (word, memory) in [
        ("tcp", json!({"kernelTCP": MIB})),
        ("swappiness", json!({"swappiness": 10})),
        ("oom", json!({"disableOOMKiller": true})),
    ] {
        let bundle = case.limited(&place, word, &json!({"memory": memory}))?;
        case.create_refused(&bundle)?;
    }
    Ok(())
}

/// containerd asks for 1024 shares of every container, also where there are none to be had.
fn a_limit_that_is_the_kernels_default_needs_no_controller(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({
        "cpu": {"shares": 1024},
        "pids": {"limit": -1},
        "memory": {"limit": -1},
    });
    case.run_process(&mut bundle).map(drop)
}
