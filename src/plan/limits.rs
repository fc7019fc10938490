//! `linux.resources` to files of cgroup v2 and what is written into them.
//!
//! A value that a new cgroup has anyhow makes no setting, and so needs no controller:
//! engines send such values with every container.
//!
//! Runs in: parent.

mod io;

use super::cgroup::{Absent, Setting};
use crate::bundle::checks::{place_in_words, pointer_part};
use crate::bundle::resources::{Cpu, Memory, Network, Resources};
use crate::error::{Error, Result};

const PLACE: &str = "/linux/resources";

/// The period of cpu.max in a new cgroup, in microseconds.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// What the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A cgroup that has the kernel's defaults.
    New,
    /// One that may have other values: a default is a value to be written too.
    InUse,
}

/// What is collected on the way through `linux.resources`.
struct Collected {
    target: Target,
    settings: Vec<Setting>,
    /// What cgroup v2 cannot do, with its place.
    impossible: Vec<(String, &'static str)>,
}

impl Collected {
    fn new(target: Target) -> Collected {
        Collected {
            target,
            settings: Vec::new(),
            impossible: Vec::new(),
        }
    }

    /// As [`Collected::set`], unless it is what a new cgroup has anyhow.
    fn set_default(&mut self, place: &str, file: &str, value: impl ToString) {
        if self.target == Target::InUse {
            self.set(place, file, value);
        }
    }

    fn last(&mut self) -> Option<&mut Setting> {
        self.settings.last_mut()
    }

    fn set(&mut self, place: impl AsRef<str>, file: impl Into<String>, value: impl ToString) {
        let pointer = format!("{PLACE}/{}", place.as_ref());
        self.settings.push(Setting::new(pointer, file, value));
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
    target: Target,
    warnings: &mut Vec<String>,
) -> Result<Vec<Setting>> {
    let mut collected = Collected::new(target);
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
    plan_hugepages(given, &mut collected);
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

fn plan_hugepages(given: &Resources, collected: &mut Collected) {
    for (n, limit) in given.hugepage_limits.iter().enumerate() {
        let size = limit.page_size.as_deref().unwrap_or_default();
        let bytes = limit.limit.unwrap_or(u64::MAX);
        let place = format!("hugepageLimits/{n}");
        collected.set(&place, format!("hugetlb.{size}.max"), bytes);
        // Pages that are reserved and not yet touched count here alone, and the program that
        // touches them above the other limit gets SIGBUS.
        // KERNEL(5.7): without this file only the other limit is there.
        collected.set(&place, format!("hugetlb.{size}.rsvd.max"), bytes);
        if let Some(setting) = collected.last() {
            setting.absent = Absent::Skip;
        }
    }
}

/// 0 is "not set" in all of these, as runc and crun take it, and -1 "no limit".
fn plan_memory(memory: &Memory, collected: &mut Collected, warnings: &mut Vec<String>) {
    const V1: &str = "cgroup v2 has no such limit";
    let check = memory.check_before_update == Some(true);
    // memory.swap.max is of swap alone, where config.json has the sum.
    match (memory.swap, memory.limit) {
        (Some(swap @ 1..), Some(limit @ 1..)) => {
            collected.set("memory/swap", "memory.swap.max", swap.saturating_sub(limit));
            note_use(collected, check, "memory.swap.current");
        }
        (Some(1..), _) => {
            collected.refuse("memory/swap", "a limit of swap needs a limit of memory");
        }
        (Some(-1), _) | (None | Some(0), Some(-1)) => {
            collected.set_default("memory/swap", "memory.swap.max", "max");
            // A kernel without swap has no limit of it either.
            if let Some(setting) = collected.last().filter(|s| s.file == "memory.swap.max") {
                setting.absent = Absent::Skip;
            }
        }
        _ => {}
    }
    match memory.limit {
        Some(limit @ 1..) => {
            collected.set("memory/limit", "memory.max", limit);
            note_use(collected, check, "memory.current");
        }
        Some(-1) => collected.set_default("memory/limit", "memory.max", "max"),
        _ => {}
    }
    match memory.reservation {
        Some(reservation @ 1..) => collected.set("memory/reservation", "memory.low", reservation),
        Some(-1) => collected.set_default("memory/reservation", "memory.low", 0),
        _ => {}
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

fn note_use(collected: &mut Collected, check: bool, file: &'static str) {
    if let Some(setting) = collected.last().filter(|_| check) {
        setting.in_use = Some(file);
    }
}

fn plan_cpu(cpu: &Cpu, collected: &mut Collected) {
    // A cgroup that is idle takes no weight.
    if cpu.idle == Some(0) {
        collected.set_default("cpu/idle", "cpu.idle", 0);
    }
    match cpu.shares.map(weight_of_shares) {
        Some(_) if cpu.shares == Some(0) => {}
        Some(DEFAULT_WEIGHT) => collected.set_default("cpu/shares", "cpu.weight", DEFAULT_WEIGHT),
        Some(weight) => collected.set("cpu/shares", "cpu.weight", weight),
        None => {}
    }
    plan_bandwidth(cpu, collected);
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
    for (place, is_set) in [
        (
            "cpu/realtimeRuntime",
            cpu.realtime_runtime.is_some_and(|us| us != 0),
        ),
        (
            "cpu/realtimePeriod",
            cpu.realtime_period.is_some_and(|us| us != 0),
        ),
    ] {
        if is_set {
            collected.refuse(place, "cgroup v2 has no such limit");
        }
    }
}

fn plan_bandwidth(cpu: &Cpu, collected: &mut Collected) {
    let given = cpu.period.filter(|period| *period > 0);
    let period = given.unwrap_or(DEFAULT_PERIOD_US);
    // The kernel refuses a quota below the burst that is there.
    if cpu.burst.is_some() && cpu.quota.is_some() {
        collected.set_default("cpu/burst", "cpu.max.burst", 0);
    }
    match cpu.quota {
        Some(quota @ 1..) => collected.set("cpu/quota", "cpu.max", format!("{quota} {period}")),
        Some(-1) if period == DEFAULT_PERIOD_US => {
            collected.set_default("cpu/quota", "cpu.max", format!("max {period}"));
        }
        _ if period != DEFAULT_PERIOD_US => {
            collected.set("cpu/period", "cpu.max", format!("max {period}"));
        }
        _ if given.is_some() => {
            collected.set_default("cpu/period", "cpu.max", format!("max {period}"));
        }
        _ => {}
    }
    match cpu.burst {
        Some(burst @ 1..) => collected.set("cpu/burst", "cpu.max.burst", burst),
        Some(0) if cpu.quota.is_none() => collected.set_default("cpu/burst", "cpu.max.burst", 0),
        _ => {}
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
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
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
        0 => {}
        _ => collected.set_default("pids/limit", "pids.max", "max"),
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
mod tests;
