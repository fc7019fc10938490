//! Words of `process` to the numbers of setrlimit(2), sched_setattr(2), ioprio_set(2),
//! sched_setaffinity(2) and set_mempolicy(2).
//!
//! Runs in: parent.

use super::process::{MemoryPolicy, Rlimit, Scheduler};
use crate::bundle::words::{self, RLIMITS};
use crate::bundle::{Config, config};

/// The checks let only known names through.
pub fn rlimit(given: &config::Rlimit) -> Option<Rlimit> {
    let kind = given.kind.as_deref()?;
    let resource = RLIMITS.iter().position(|name| *name == kind)?;
    Some(Rlimit {
        resource: u32::try_from(resource).ok()?,
        name: RLIMITS[resource],
        soft: given.soft?,
        hard: given.hard?,
    })
}

pub fn scheduler(given: &config::Scheduler) -> Option<Scheduler> {
    let flags = given.flags.iter();
    Some(Scheduler {
        policy: words::scheduling_policy(given.policy.as_deref()?)?,
        flags: flags
            .filter_map(|flag| words::scheduling_flag(flag))
            .fold(0, |all, one| all | one),
        nice: given.nice,
        priority: u32::try_from(given.priority).ok()?,
        runtime_ns: given.runtime,
        deadline_ns: given.deadline,
        period_ns: given.period,
    })
}

/// ioprio_set(2): the class in the upper bits.
pub fn io_priority(given: &config::IoPriority) -> Option<u32> {
    const CLASS_SHIFT: u32 = 13;
    let class = words::io_class(given.class.as_deref()?)?;
    Some(class << CLASS_SHIFT | u32::try_from(given.priority).ok()?)
}

pub fn cpu_list(given: Option<&str>) -> Option<Vec<usize>> {
    words::number_list(given?).filter(|cpus| !cpus.is_empty())
}

pub fn memory_policy(config: &Config) -> Option<MemoryPolicy> {
    let given = config.linux().memory_policy.as_ref()?;
    let flags = given
        .flags
        .iter()
        .filter_map(|flag| words::memory_flag(flag));
    let mode = words::memory_mode(given.mode.as_deref()?)? | flags.fold(0, |all, one| all | one);
    let mut nodes = Vec::new();
    for node in words::number_list(given.nodes.as_deref().unwrap_or_default())? {
        let word = node / 64;
        if nodes.len() <= word {
            nodes.resize(word + 1, 0);
        }
        nodes[word] |= 1_u64 << (node % 64);
    }
    Some(MemoryPolicy { mode, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_kernels_numbers() {
        let scheduler = scheduler(&config::Scheduler {
            policy: Some("SCHED_DEADLINE".into()),
            flags: vec!["SCHED_FLAG_RESET_ON_FORK".to_owned()].into(),
            runtime: 5,
            ..Default::default()
        });
        assert_eq!(
            scheduler.map(|s| (s.policy, s.flags, s.runtime_ns)),
            Some((6, 1, 5))
        );
        let best_effort = config::IoPriority {
            class: Some("IOPRIO_CLASS_BE".into()),
            priority: 7,
        };
        assert_eq!(io_priority(&best_effort), Some(2 << 13 | 7));
        assert_eq!(cpu_list(Some("1,3-4")), Some(vec![1, 3, 4]));
    }

    #[test]
    fn nodes_of_a_memory_policy_are_bits() {
        let config: Config = serde_json::from_value(serde_json::json!({"linux": {"memoryPolicy":
            {"mode": "MPOL_BIND", "nodes": "0,65", "flags": ["MPOL_F_STATIC_NODES"]}}}))
        .unwrap();
        let policy = memory_policy(&config).unwrap();
        assert_eq!((policy.mode, policy.nodes), (2 | 1 << 15, vec![1, 2]));
    }
}
