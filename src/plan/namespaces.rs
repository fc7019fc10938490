//! Namespaces: which are new, which are joined, and the id maps of a new user namespace.

use super::HostPath;

/// A kind of namespace, by the names of namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    User,
    Pid,
    Network,
    Ipc,
    Uts,
    Mount,
    Cgroup,
    Time,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::User,
        Kind::Pid,
        Kind::Network,
        Kind::Ipc,
        Kind::Uts,
        Kind::Mount,
        Kind::Cgroup,
        Kind::Time,
    ];

    /// The word of config.json: `linux.namespaces[].type`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Pid => "pid",
            Kind::Network => "network",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Mount => "mount",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }

    /// The file below /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        match self {
            Kind::Network => "net",
            Kind::Mount => "mnt",
            other => other.name(),
        }
    }

    /// The flag of clone3(2), unshare(2) and setns(2).
    pub fn flag(self) -> u64 {
        let flag = match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Network => libc::CLONE_NEWNET,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Mount => libc::CLONE_NEWNS,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Time => 0x80, // CLONE_NEWTIME, Linux 5.6
        };
        flag as u64
    }
}

/// One namespace of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    New,
    /// setns(2) to the file at this path.
    Join(HostPath),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespaces {
    /// In the order of config.json, each kind at most once. A kind that is absent is shared
    /// with the caller.
    pub list: Vec<(Kind, Namespace)>,
    /// For a new user namespace alone.
    pub id_maps: Option<IdMaps>,
    /// For a new time namespace: (`monotonic` | `boottime`, seconds, nanoseconds).
    pub time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    pub fn get(&self, kind: Kind) -> Option<&Namespace> {
        self.list.iter().find(|(k, _)| *k == kind).map(|(_, n)| n)
    }

    pub fn is_new(&self, kind: Kind) -> bool {
        matches!(self.get(kind), Some(Namespace::New))
    }

    /// New or joined: not the caller's.
    pub fn is_private(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    pub fn joined(&self) -> impl Iterator<Item = (Kind, &HostPath)> {
        self.list.iter().filter_map(|(kind, n)| match n {
            Namespace::Join(path) => Some((*kind, path)),
            Namespace::New => None,
        })
    }
}

/// One line of a uid_map or gid_map, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

impl IdRange {
    pub fn contains_inside(self, id: u32) -> bool {
        id.checked_sub(self.inside).is_some_and(|n| n < self.count)
    }
}

/// Whether `id` has a meaning inside.
pub fn maps_inside(ranges: &[IdRange], id: u32) -> bool {
    ranges.iter().any(|range| range.contains_inside(id))
}

/// How the maps of a new user namespace are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
    pub writer: IdMapWriter,
    /// Whether "deny" has to be written to /proc/PID/setgroups first (an ordinary user who
    /// writes the gid_map without newgidmap).
    pub deny_setgroups: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdMapWriter {
    /// write(2) to /proc/PID/uid_map and gid_map.
    Direct,
    /// newuidmap(1) and newgidmap(1), which hold the right to the subordinate ids.
    Newidmap,
}
