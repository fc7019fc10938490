//! The facts of the host that decisions depend on.
//!
//! Owns their probing. Everything here is read before a plan is made, so that the plan is a
//! function of data, and tests make a host by hand.
//!
//! Runs in: parent, with the caller's rights; changes nothing.

mod cgroup;
mod identity;
pub mod mountinfo;
mod resctrl;
mod subordinate;

use std::path::PathBuf;

pub use cgroup::parse_own as parse_own_cgroup;
pub use identity::UserNamespace;
pub use subordinate::Subordinate;

use serde::Serialize;

use crate::error::Result;

/// Capabilities by number, capabilities(7).
pub const CAP_SETGID: u8 = 6;
pub const CAP_SETUID: u8 = 7;
pub const CAP_NET_ADMIN: u8 = 12;
pub const CAP_SYS_ADMIN: u8 = 21;

/// One line of a uid_map or gid_map, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

impl IdRange {
    pub fn contains_inside(self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|n| n < self.count)
    }

    pub fn contains_outside(self, id: u32) -> bool {
        id.checked_sub(self.outside).is_some_and(|n| n < self.count)
    }
}

impl std::fmt::Display for IdRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

/// What `id` is outside. None where no line has it.
pub fn outside(map: &[IdRange], id: u32) -> Option<u32> {
    let range = map.iter().find(|range| range.contains_inside(id))?;
    range.outside.checked_add(id - range.inside)
}

/// What a caller wants to know beside the cheap facts, each of which costs a few files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where cgroup2 is mounted and where in it this process is.
    pub cgroup: bool,
    /// What newuidmap(1) would allow.
    pub subordinate_ids: bool,
    /// The one uid and gid to be mapped, where there are no others: if they are the caller's,
    /// newuidmap(1) is not needed.
    pub only_ids: Option<(u32, u32)>,
    /// Whether this file stands for the caller's own network namespace.
    pub network_namespace: Option<PathBuf>,
    /// Where resctrl is mounted.
    pub resctrl: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub euid: u32,
    pub egid: u32,
    /// The caller's effective capabilities, bit N for number N.
    pub capabilities: u64,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
    /// Whether this kernel shows its memory at /proc/kcore.
    pub has_kcore: bool,
    /// The caller's own.
    pub user_namespace: UserNamespace,
    /// Whether the environment names a session of the caller's, with a systemd of its own.
    pub has_session: bool,
    /// None where no cgroup2 is mounted, or it was not asked for.
    pub cgroup2: Option<Cgroup2>,
    /// None where it was not asked for.
    pub subordinate: Option<Subordinate>,
    /// Whether the network namespace that was asked about is the caller's own.
    pub is_own_network: bool,
    /// None where no resctrl is mounted, or it was not asked for.
    pub resctrl: Option<PathBuf>,
}

/// Where cgroup2 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup2 {
    /// /sys/fs/cgroup, or on a hybrid host wherever it is.
    pub mount: PathBuf,
    /// The caller's own cgroup, relative to the mount, without a leading slash.
    pub own: PathBuf,
}

impl Host {
    /// Reads the facts. Only a missing /proc makes it fail: what else cannot be read is
    /// taken for absent.
    pub fn probe(wanted: Wanted) -> Result<Host> {
        let mut host = identity::probe()?;
        if wanted.cgroup {
            host.cgroup2 = cgroup::probe();
        }
        if wanted.resctrl {
            host.resctrl = resctrl::probe();
        }
        if let Some(path) = &wanted.network_namespace {
            host.is_own_network = identity::is_own_network(path);
        }
        let only_own = wanted.only_ids == Some((host.euid, host.egid));
        if wanted.subordinate_ids && !only_own && !host.may_map_ids() {
            host.subordinate = Some(subordinate::probe(host.euid));
        }
        Ok(host)
    }

    pub fn has_capability(&self, number: u8) -> bool {
        self.capabilities & (1 << number) != 0
    }

    /// Whether the caller's user namespace is the one that the kernel started with.
    pub fn in_initial_user_namespace(&self) -> bool {
        self.user_namespace.is_initial()
    }

    /// Whether the caller may make namespaces and mounts without a new user namespace.
    pub fn is_privileged(&self) -> bool {
        self.has_capability(CAP_SYS_ADMIN)
    }

    /// Whether the kernel lets the caller write any map of ids that are mapped here.
    pub fn may_map_ids(&self) -> bool {
        self.has_capability(CAP_SETUID) && self.has_capability(CAP_SETGID)
    }
}
