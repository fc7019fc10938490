//! Words of `process` to the numbers of setrlimit(2), sched_setattr(2), ioprio_set(2),
//! sched_setaffinity(2) and set_mempolicy(2).
//!
//! Runs in: parent.

use super::process::{MemoryPolicy, Rlimit, Scheduler};
use crate::bundle::{Config, config};
use crate::error::Result;

/// By the numbers of getrlimit(2), which are the same on every architecture but a few that
/// rt does not know (alpha, mips, sparc).
pub const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

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

pub fn scheduler(_given: &config::Scheduler) -> Scheduler {
    Scheduler::default()
}

pub fn io_priority(_given: &config::IoPriority) -> u32 {
    0
}

pub fn cpu_list(_given: Option<&str>) -> Option<Vec<usize>> {
    None
}

pub fn memory_policy(_config: &Config) -> Result<Option<MemoryPolicy>> {
    Ok(None)
}
