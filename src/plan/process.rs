//! The payload's process: what execve(2) gets and what is set before it.

use std::ffi::CString;

use super::namespaces::IdRange;

#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Not empty. The program is `args[0]`, looked for in the container's PATH.
    pub args: Vec<CString>,
    /// `NAME=value`, each name once, the last of config.json wins. HOME is filled in by init
    /// from the container's passwd where `home_missing`.
    pub env: Vec<CString>,
    pub home_missing: bool,
    /// Absolute.
    pub cwd: CString,
    pub uid: u32,
    pub gid: u32,
    /// None: leave the groups alone (setgroups is denied in this user namespace, or
    /// `run.oci.keep_original_groups`).
    pub groups: Option<Vec<u32>>,
    pub umask: u32,
    pub terminal: Option<Terminal>,
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    pub rlimits: Vec<Rlimit>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): class << 13 | priority.
    pub io_priority: Option<u32>,
    /// CPUs that the payload may use, from process.execCPUAffinity.final; exec only.
    pub affinity_initial: Option<Vec<usize>>,
    pub affinity_final: Option<Vec<usize>>,
    pub apparmor_profile: Option<CString>,
    pub selinux_label: Option<CString>,
    /// The session keyring `_ses.ID`; none with `--no-new-keyring`.
    pub keyring: Option<CString>,
    /// set_mempolicy(2): mode with flags, nodes.
    pub memory_policy: Option<MemoryPolicy>,
    /// The maps that ids of this process have to be in, for messages; empty without a new
    /// user namespace.
    pub uid_ranges: Vec<IdRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns and rows, `process.consoleSize`.
    pub size: Option<(u16, u16)>,
}

/// Capability sets as bit masks, bit N for capability number N (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    pub resource: u32,
    pub name: &'static str,
    pub soft: u64,
    pub hard: u64,
}

/// `struct sched_attr` of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime_ns: u64,
    pub deadline_ns: u64,
    pub period_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with its flags.
    pub mode: i32,
    /// Bit N for node N.
    pub nodes: Vec<u64>,
}
