//! How the payload is scheduled: policy, I/O priority, CPUs, NUMA nodes, personality.
//!
//! Runs in: init and enter, before the change of user (CAP_SYS_NICE); the CPUs after the
//! cgroup is entered, since a cpuset resets them.

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::process::{MemoryPolicy, Process, Scheduler};
use crate::sys::schedule::{self, SCHED_ATTR_SIZE, SchedAttr};

/// Applies what `process` asks for, in one go: I/O priority, NUMA nodes, policy,
/// personality.
pub fn apply(process: &Process) -> Result<()> {
    if let Some(priority) = process.io_priority {
        set_io_priority(priority)?;
    }
    if let Some(policy) = &process.memory_policy {
        set_memory_policy(policy)?;
    }
    if let Some(scheduler) = &process.scheduler {
        set_scheduler(scheduler)?;
    }
    if let Some(persona) = process.personality {
        set_personality(persona)?;
    }
    Ok(())
}

/// sched_setattr(2). The errors of SCHED_DEADLINE are explained, since EPERM and EBUSY have
/// causes there that have nothing to do with rights.
pub fn set_scheduler(scheduler: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: SCHED_ATTR_SIZE,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime_ns: scheduler.runtime_ns,
        deadline_ns: scheduler.deadline_ns,
        period_ns: scheduler.period_ns,
    };
    schedule::set_scheduler(&attr)
        .map_err(|e| explain_scheduler(e, scheduler.policy))
        .at("/process/scheduler", || "process.scheduler")
}

fn explain_scheduler(error: Error, policy: u32) -> Error {
    let is_deadline = policy == libc::SCHED_DEADLINE as u32;
    let hint = match error.errno().map(Errno::from_raw) {
        Some(Errno::EPERM) if is_deadline => {
            "SCHED_DEADLINE takes CAP_SYS_NICE on the host and a process that may use all CPUs of its root domain: no cpuset, no affinity"
        }
        Some(Errno::EPERM) => {
            "this policy or nice value takes CAP_SYS_NICE on the host, or a higher RLIMIT_RTPRIO or RLIMIT_NICE"
        }
        Some(Errno::EBUSY) if is_deadline => {
            "the CPUs have no such bandwidth left: lower runtime, or see the sysctl kernel.sched_rt_runtime_us"
        }
        Some(Errno::EINVAL) if is_deadline => {
            "SCHED_DEADLINE wants 1024 ns <= runtime <= deadline <= period"
        }
        _ => return error,
    };
    error.with_hint(hint)
}

/// ioprio_set(2).
pub fn set_io_priority(priority: u32) -> Result<()> {
    schedule::set_io_priority(priority)
        .map_err(|e| match e.is(Errno::EPERM) {
            true => e.with_hint("IOPRIO_CLASS_RT takes CAP_SYS_NICE or CAP_SYS_ADMIN on the host"),
            false => e,
        })
        .at("/process/ioPriority", || "process.ioPriority")
}

/// Restricts the process to `cpus`, as far as its cpuset has them. `moment` is the field of
/// process.execCPUAffinity: initial or final.
pub fn set_affinity(cpus: &[usize], moment: &str) -> Result<()> {
    schedule::set_affinity(cpus)
        .map_err(|e| match e.is(Errno::EINVAL) {
            true => e.with_hint("none of these CPUs is online and in the container's cpuset"),
            false => e,
        })
        .at(&format!("/process/execCPUAffinity/{moment}"), || {
            format!("process.execCPUAffinity.{moment}")
        })
}

/// Lets the process run on all CPUs of its cgroup, as runc and crun do: a restriction of the caller's
/// (systemd's CPUAffinity=, taskset) stays with a process that is moved to another cpuset, and would
/// leave it the CPUs that the two have in common. What refuses the call, an outer seccomp profile,
/// leaves things as they were.
pub fn reset_affinity() {
    if let Err(e) = schedule::reset_affinity() {
        log::debug(|| format!("the caller's CPU affinity stays: {e}"));
    }
}

/// set_mempolicy(2).
pub fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    schedule::set_memory_policy(policy.mode, &policy.nodes)
        .map_err(|e| match e.is(Errno::EINVAL) {
            true => e.with_hint("the mode, its flags or the nodes do not fit this machine; see /sys/devices/system/node/online"),
            false => e,
        })
        .at("/linux/memoryPolicy", || "linux.memoryPolicy")
}

/// personality(2).
pub fn set_personality(persona: u64) -> Result<()> {
    schedule::set_personality(persona).at("/linux/personality", || "linux.personality")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpus_of_this_machine_can_be_asked_for() {
        // Each test has its own thread, and affinity belongs to a thread.
        let all: Vec<usize> = (0..2048).collect();
        set_affinity(&all, "initial").unwrap();
        let e = set_affinity(&[2047], "final").unwrap_err();
        assert_eq!(e.pointer(), Some("/process/execCPUAffinity/final"));
        assert!(e.hint().is_some());
    }

    #[test]
    fn a_refused_deadline_says_what_it_wants() {
        let scheduler = Scheduler {
            policy: libc::SCHED_DEADLINE as u32,
            runtime_ns: 1,
            ..Scheduler::default()
        };
        let e = set_scheduler(&scheduler).unwrap_err();
        assert!(e.hint().unwrap().contains("SCHED_DEADLINE"), "{e}");
    }

    #[test]
    fn an_io_priority_is_taken() {
        const BEST_EFFORT: u32 = 2 << 13;
        set_io_priority(BEST_EFFORT | 7).unwrap();
    }

    #[test]
    fn the_default_memory_policy_is_taken() {
        set_memory_policy(&MemoryPolicy {
            mode: libc::MPOL_DEFAULT,
            nodes: Vec::new(),
        })
        .unwrap();
    }
}
