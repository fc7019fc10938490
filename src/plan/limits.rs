//! `linux.resources` to files of cgroup v2 and what is written into them.
//!
//! A value that a new cgroup has anyhow makes no setting, and so needs no controller:
//! engines send such values with every container.
//!
//! Runs in: parent.

mod io;

use super::cgroup::Setting;
use crate::bundle::checks::{place_in_words, pointer_part};
use crate::bundle::resources::{Cpu, Memory, Network, Resources};
use crate::error::{Error, Result};

const PLACE: &str = "/linux/resources";

/// The period of cpu.max in a new cgroup, in microseconds.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// What is collected on the way through `linux.resources`.
#[derive(Default)]
struct Collected {
    settings: Vec<Setting>,
    /// What cgroup v2 cannot do, with its place.
    impossible: Vec<(String, &'static str)>,
}

impl Collected {
    fn set(&mut self, place: impl AsRef<str>, file: impl Into<String>, value: impl ToString) {
        self.settings.push(Setting {
            pointer: format!("{PLACE}/{}", place.as_ref()),
            file: file.into(),
            value: value.to_string(),
        });
    }

    fn refuse(&mut self, place: impl AsRef<str>, why: &'static str) {
        self.impossible
            .push((format!("{PLACE}/{}", place.as_ref()), why));
    }
}

/// The settings in the order in which they have to be written. `version` is ociVersion.
pub fn settings(
    given: &Resources,
    version: &str,
    warnings: &mut Vec<String>,
) -> Result<Vec<Setting>> {
    let mut collected = Collected::default();
    if let Some(memory) = &given.memory {
        plan_memory(memory, &mut collected, warnings);
    }
    if let Some(cpu) = &given.cpu {
        plan_cpu(cpu, &mut collected);
    }
    if let Some(limit) = given.pids.as_ref().and_then(|pids| pids.limit) {
        plan_pids(limit, version, &mut collected);
    }
    if let Some(block_io) = &given.block_io {
        io::plan(block_io, &mut collected);
    }
    for (n, limit) in given.hugepage_limits.iter().enumerate() {
        let size = limit.page_size.as_deref().unwrap_or_default();
        let bytes = limit.limit.unwrap_or(u64::MAX);
        collected.set(
            format!("hugepageLimits/{n}"),
            format!("hugetlb.{size}.max"),
            bytes,
        );
    }
    if let Some(network) = &given.network {
        refuse_network(network, &mut collected);
    }
    for (device, limit) in given.rdma.iter() {
        let handles = limit.hca_handles.map(|n| format!(" hca_handle={n}"));
        let objects = limit.hca_objects.map(|n| format!(" hca_object={n}"));
        let value = [Some(device.clone()), handles, objects];
        let value: String = value.into_iter().flatten().collect();
        collected.set(format!("rdma/{}", pointer_part(device)), "rdma.max", value);
    }
    for (file, value) in given.unified.iter() {
        // A file with a line per device takes one line at a time.
        for line in value.lines() {
            collected.set(format!("unified/{}", pointer_part(file)), file, line);
        }
    }
    match collected.impossible.first() {
        None => Ok(collected.settings),
        Some((first, _)) => {
            let all = collected.impossible.iter();
            let text: Vec<String> = all
                .map(|(place, why)| format!("{}: {why}", place_in_words(place)))
                .collect();
            Err(Error::unsupported(text.join("; ")).with_pointer(first.clone()))
        }
    }
}

/// 0 is "not set" in all of these, as runc and crun take it, and -1 "no limit".
fn plan_memory(memory: &Memory, collected: &mut Collected, warnings: &mut Vec<String>) {
    const V1: &str = "cgroup v2 has no such limit";
    // memory.swap.max is of swap alone, where config.json has the sum.
    if let Some(swap @ 1..) = memory.swap {
        match memory.limit {
            Some(limit @ 1..) => {
                collected.set("memory/swap", "memory.swap.max", swap.saturating_sub(limit));
            }
            _ => collected.refuse("memory/swap", "a limit of swap needs a limit of memory"),
        }
    }
    if let Some(limit @ 1..) = memory.limit {
        collected.set("memory/limit", "memory.max", limit);
    }
    if let Some(reservation @ 1..) = memory.reservation {
        collected.set("memory/reservation", "memory.low", reservation);
    }
    if memory.kernel.is_some_and(|limit| limit > 0) {
        warnings.push("linux.resources.memory.kernel: left alone, as runc does: the kernel has no such limit any more".into());
    }
    if memory.kernel_tcp.is_some_and(|limit| limit > 0) {
        collected.refuse("memory/kernelTCP", V1);
    }
    // The kernel's default; vm.swappiness is the machine's on cgroup v2.
    if memory.swappiness.is_some_and(|percent| percent != 60) {
        collected.refuse("memory/swappiness", V1);
    }
    if memory.disable_oom_killer == Some(true) {
        collected.refuse("memory/disableOOMKiller", "cgroup v2 cannot do that");
    }
}

fn plan_cpu(cpu: &Cpu, collected: &mut Collected) {
    if let Some(shares) = cpu.shares {
        let weight = weight_of_shares(shares);
        if weight != DEFAULT_WEIGHT {
            collected.set("cpu/shares", "cpu.weight", weight);
        }
    }
    let quota = cpu.quota.filter(|quota| *quota > 0);
    let period = cpu
        .period
        .filter(|period| *period > 0)
        .unwrap_or(DEFAULT_PERIOD_US);
    match quota {
        Some(quota) => collected.set("cpu/quota", "cpu.max", format!("{quota} {period}")),
        None if period != DEFAULT_PERIOD_US => {
            collected.set("cpu/period", "cpu.max", format!("max {period}"));
        }
        None => {}
    }
    if let Some(burst @ 1..) = cpu.burst {
        collected.set("cpu/burst", "cpu.max.burst", burst);
    }
    if cpu.idle == Some(1) {
        collected.set("cpu/idle", "cpu.idle", 1);
    }
    for (place, file, list) in [
        ("cpu/cpus", "cpuset.cpus", &cpu.cpus),
        ("cpu/mems", "cpuset.mems", &cpu.mems),
    ] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            collected.set(place, file, list);
        }
    }
    if cpu.realtime_runtime.is_some_and(|us| us != 0)
        || cpu.realtime_period.is_some_and(|us| us != 0)
    {
        collected.refuse("cpu/realtimeRuntime", "cgroup v2 has no such limit");
    }
}

const DEFAULT_WEIGHT: u64 = 100;

/// cgroup v1's shares (2 to 262144, usually 1024) as cgroup v2's weight (1 to 10000, usually
/// 100): the curve through the three pairs that runc, crun and systemd agreed on; 0 is
/// "not set".
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0 | 1024 => DEFAULT_WEIGHT,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 10000"
            )]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

/// SPEC: config-linux.md#pids: 0 was "no limit" to engines before 1.3, and is a limit since.
/// The init that is there already counts: 1 says the same, and lets it be cloned into the
/// cgroup.
fn plan_pids(limit: i64, version: &str, collected: &mut Collected) {
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok());
    match limit {
        0 if minor.is_some_and(|minor: u32| minor >= 3) => {
            collected.set("pids/limit", "pids.max", 1);
        }
        1.. => collected.set("pids/limit", "pids.max", limit),
        _ => {}
    }
}

fn refuse_network(network: &Network, collected: &mut Collected) {
    const WHY: &str = "cgroup v2 has neither net_cls nor net_prio";
    if network.class_id.is_some_and(|id| id != 0) {
        collected.refuse("network/classID", WHY);
    }
    if !network.priorities.is_empty() {
        collected.refuse("network/priorities", WHY);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(resources: Value) -> Result<Vec<(String, String)>> {
        let given = serde_json::from_value(resources).unwrap();
        let settings = settings(&given, "1.2.0", &mut Vec::new())?;
        Ok(settings.into_iter().map(|s| (s.file, s.value)).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(file, value)| ((*file).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn what_a_new_cgroup_has_anyhow_makes_no_setting() {
        for resources in [
            json!({}),
            json!({"cpu": {"shares": 1024}}),
            json!({"cpu": {"shares": 0, "quota": -1, "period": 100_000, "idle": 0, "cpus": ""}}),
            json!({"memory": {"limit": -1, "swap": -1, "swappiness": 60, "disableOOMKiller": false}}),
            json!({"memory": {"limit": 0, "swap": 0, "reservation": 0, "useHierarchy": true}}),
            json!({"pids": {"limit": -1}, "network": {}, "blockIO": {"weight": 0}}),
            json!({"pids": {"limit": 0}}),
        ] {
            assert_eq!(plan(resources.clone()).unwrap(), [], "{resources}");
        }
    }

    #[test]
    fn limits_become_files() {
        let limits = json!({
            "memory": {"limit": 1000, "swap": 1500, "reservation": 500},
            "cpu": {"shares": 512, "quota": 50_000, "burst": 10, "cpus": "0-1"},
            "pids": {"limit": 20},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
            "unified": {"io.max": "8:0 rbps=1\n8:16 wbps=2", "memory.high": "900"},
        });
        assert_eq!(
            plan(limits).unwrap(),
            pairs(&[
                ("memory.swap.max", "500"),
                ("memory.max", "1000"),
                ("memory.low", "500"),
                ("cpu.weight", "59"),
                ("cpu.max", "50000 100000"),
                ("cpu.max.burst", "10"),
                ("cpuset.cpus", "0-1"),
                ("pids.max", "20"),
                ("hugetlb.2MB.max", "4"),
                ("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
                ("io.max", "8:0 rbps=1"),
                ("io.max", "8:16 wbps=2"),
                ("memory.high", "900"),
            ])
        );
    }

    #[test]
    fn shares_become_weights_along_the_agreed_curve() {
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight);
        }
    }

    #[test]
    fn what_cgroup_v2_cannot_do_is_refused_by_name() {
        let error = plan(json!({"memory": {"swappiness": 10}, "cpu": {"realtimeRuntime": 5}}));
        assert_eq!(
            error.unwrap_err().to_string(),
            "linux.resources.memory.swappiness: cgroup v2 has no such limit; \
             linux.resources.cpu.realtimeRuntime: cgroup v2 has no such limit"
        );
        assert!(plan(json!({"network": {"classID": 1}})).is_err());
        assert!(plan(json!({"memory": {"swap": 5}})).is_err());
    }

    #[test]
    fn no_process_at_all_is_a_limit_since_version_1_3() {
        let given: Resources = serde_json::from_value(json!({"pids": {"limit": 0}})).unwrap();
        let settings = settings(&given, "1.3.0", &mut Vec::new()).unwrap();
        assert_eq!(settings[0].value, "1");
    }
}
