//! Namespaces: which are new, which are joined, and the id maps of a new user namespace.

use serde::Serialize;

use super::faults::Faults;
use super::{HostPath, id_maps, words};
use crate::bundle::Config;
use crate::error::{Error, Result};
use crate::host::Host;
pub use crate::host::IdRange;

/// A kind of namespace, by the names of namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
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

    /// The kind of that name in config.json.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

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

/// The namespaces that init is born into or joins.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Namespaces {
    /// In the order of config.json, each kind at most once. A kind that is absent is shared
    /// with the caller.
    #[serde(serialize_with = "words::namespaces")]
    pub list: Vec<(Kind, Namespace)>,
    /// For a new user namespace alone.
    pub id_maps: Option<IdMaps>,
    /// For a new time namespace: (`monotonic` | `boottime`, seconds, nanoseconds).
    #[serde(serialize_with = "words::time_offsets")]
    pub time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    /// The namespaces of config.json. A caller without CAP_SYS_ADMIN can make none without a
    /// user namespace, so one is added for it, as crun does.
    pub fn plan(
        config: &Config,
        host: &Host,
        warnings: &mut Vec<String>,
        faults: &mut Faults,
    ) -> Result<Namespaces> {
        let linux = config.linux();
        let mut list = Vec::new();
        for (n, given) in linux.namespaces.iter().enumerate() {
            let kind = given
                .kind
                .as_deref()
                .and_then(Kind::from_name)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "linux.namespaces[{n}].type: is no kind of namespace"
                    ))
                    .with_pointer(format!("/linux/namespaces/{n}/type"))
                })?;
            let namespace = match given.path.as_deref() {
                None | Some("") => Namespace::New,
                Some(path) => Namespace::Join(HostPath::new(path)),
            };
            list.push((kind, namespace));
        }
        let has_user = list.iter().any(|(kind, _)| *kind == Kind::User);
        if !has_user && !host.is_privileged() {
            warnings.push(
                "linux.namespaces: without CAP_SYS_ADMIN a user namespace is needed: added".into(),
            );
            list.insert(0, (Kind::User, Namespace::New));
        }
        if !linux.uid_mappings.is_empty() && !list.iter().any(|(kind, _)| *kind == Kind::User) {
            warnings.push("linux.uidMappings: there is no user namespace to map ids for".into());
        }
        let mut namespaces = Namespaces {
            list,
            ..Namespaces::default()
        };
        if namespaces.is_new(Kind::User) {
            let maps = faults.take(id_maps::plan(linux, host, warnings));
            namespaces.id_maps = maps.or_else(|| id_maps::as_given(linux));
        }
        if namespaces.is_new(Kind::Time) {
            let offsets = linux.time_offsets.iter();
            namespaces.time_offsets = offsets
                .map(|(clock, by)| (clock.clone(), by.secs, by.nanosecs))
                .collect();
        }
        Ok(namespaces)
    }

    /// The maps of uids and gids that the container lives by; none where a user namespace is
    /// joined, whose maps are known only inside.
    pub fn ids_inside<'a>(&'a self, host: &'a Host) -> Option<(&'a [IdRange], &'a [IdRange])> {
        match (&self.id_maps, self.is_private(Kind::User)) {
            (Some(maps), _) => Some((&maps.uids, &maps.gids)),
            (None, true) => None,
            (None, false) => Some((&host.user_namespace.uid_map, &host.user_namespace.gid_map)),
        }
    }

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

    pub fn joins(&self, kind: Kind) -> bool {
        self.joined().any(|(joined, _)| joined == kind)
    }

    pub fn joined(&self) -> impl Iterator<Item = (Kind, &HostPath)> {
        self.list.iter().filter_map(|(kind, n)| match n {
            Namespace::Join(path) => Some((*kind, path)),
            Namespace::New => None,
        })
    }
}

/// Whether `id` has a meaning inside.
pub fn maps_inside(ranges: &[IdRange], id: u32) -> bool {
    ranges.iter().any(|range| range.contains_inside(id))
}

/// How the maps of a new user namespace are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
    pub writer: IdMapWriter,
}

impl IdMaps {
    /// Whether the maps are written by one without rights over the ids of others: then the
    /// kernel and newuidmap(1) ask whom /proc/PID belongs to.
    pub fn by_ordinary_user(&self) -> bool {
        self.writer != IdMapWriter::Parent
    }
}

/// Who writes the maps: that depends on whose rights the kernel asks for, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdMapWriter {
    /// The parent, which has rights over the mapped ids: write(2) to /proc/PID/uid_map and
    /// gid_map.
    Parent,
    /// The new namespace's first process itself, each map one line for its own id; before the
    /// gid_map "deny" goes to /proc/self/setgroups, as the kernel wants it of an ordinary user.
    Itself,
    /// newuidmap(1) and newgidmap(1), which hold the right to the subordinate ids.
    Newidmap,
}
