//! What is remembered of a container between two calls of `rt`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Identity;
use crate::error::{Error, Result};
use crate::plan::scope::Bus;

/// The version of the file's form. It grows when an older `rt` would misread a newer file;
/// a field that an older one may leave out of sight does not count.
const FORMAT: u32 = 1;

/// `state.json`. Saved three times: before the clone (with the cgroup's path, without a
/// process), when the process is known (before any hook runs), and when init is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    pub id: String,
    pub phase: Phase,
    /// The container's init, in the numbers of the pid namespace that `rt` runs in.
    pub init: Option<Identity>,
    /// When the container was made, RFC 3339 in UTC with nanoseconds.
    pub created: String,
    pub bundle: PathBuf,
    /// The root file system on the host.
    pub rootfs: PathBuf,
    /// The user that made the container.
    pub owner: u32,
    pub annotations: BTreeMap<String, String>,
    /// None where the container has no cgroup of its own.
    pub cgroup: Option<CgroupRecord>,
    /// Whether the end of init is the end of every process of the container.
    pub private_pid_namespace: bool,
    /// Whether the container was made without privileges in the host's user namespace.
    pub rootless: bool,
    /// Whether init made the session keyring `_ses.ID`, which `exec` then joins.
    #[serde(default)]
    pub session_keyring: bool,
    /// Where the agent for seccomp's listeners was at `create`.
    #[serde(default)]
    pub seccomp_receiver: Option<String>,
    /// What the payload's three streams were at the start, `pipe:[123]`: CRIU finds a pipe by
    /// it in the images. Empty with a terminal.
    #[serde(default)]
    pub streams: Vec<String>,
    /// None without linux.intelRdt.
    #[serde(default)]
    pub resctrl: Option<ResctrlRecord>,
}

/// How far `create` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// While no process is recorded there is none that outlives the parent, and the cgroup
    /// may be one that this container did not get: it may be removed if it is empty, but
    /// nothing in it may be killed.
    Creating,
    Created,
}

/// Where the cgroup is, and who was asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// The cgroup2 mount.
    pub mount: PathBuf,
    /// Beneath it, without a leading slash.
    pub path: PathBuf,
    /// The inode of its directory, which the kernel gives to no other cgroup until its next
    /// start (kernfs on 64 bits, Linux 5.5). None before the cgroup is there.
    #[serde(default)]
    pub inode: Option<u64>,
    pub manager: Manager,
}

/// Who has made the cgroup, and so has to remove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    Cgroupfs,
    Systemd { unit: String, bus: Bus },
}

/// Groups of the resctrl file system, by their folders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResctrlRecord {
    /// Those that every process of the container is in.
    pub enter: Vec<PathBuf>,
    /// Those that were made for the container, innermost first.
    pub remove: Vec<PathBuf>,
}

impl Record {
    /// A record of a container that is about to be made now.
    pub fn new(id: &str, bundle: PathBuf, rootfs: PathBuf) -> Record {
        Record {
            format: FORMAT,
            id: id.to_owned(),
            phase: Phase::Creating,
            init: None,
            created: format!("{:.9}", jiff::Timestamp::now()),
            bundle,
            rootfs,
            owner: nix::unistd::geteuid().as_raw(),
            annotations: BTreeMap::new(),
            cgroup: None,
            private_pid_namespace: false,
            rootless: false,
            session_keyring: false,
            seccomp_receiver: None,
            streams: Vec::new(),
            resctrl: None,
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        // A path that is not UTF-8 has no form in JSON.
        serde_json::to_vec(self).map_err(|e| Error::invalid(format!("state.json: {e}")))
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Record> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let fault = |e: serde_json::Error| Error::system(format!("state.json: {e}"));
        match serde_json::from_slice::<Record>(bytes) {
            Ok(record) if record.format <= FORMAT => Ok(record),
            parsed => match serde_json::from_slice::<Format>(bytes) {
                Ok(Format { format }) if format > FORMAT => Err(Error::unsupported(format!(
                    "state.json: format {format} is newer than {FORMAT}, which this version of rt reads"
                ))),
                _ => parsed.map_err(fault),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new("web", "/b".into(), "/b/rootfs".into());
        record.init = Some(Identity {
            pid: 7,
            start_time: 8,
        });
        record.cgroup = Some(CgroupRecord {
            mount: "/sys/fs/cgroup".into(),
            path: "a/web".into(),
            inode: Some(1 << 40),
            manager: Manager::Systemd {
                unit: "rt-web.scope".into(),
                bus: Bus::User,
            },
        });
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = record();
        assert_eq!(
            Record::from_json(&record.to_json().unwrap()).unwrap(),
            record
        );
    }

    #[test]
    fn the_time_of_creation_has_nanoseconds() {
        let created = record().created;
        let time: jiff::Timestamp = created.parse().unwrap();
        assert!(time <= jiff::Timestamp::now());
        assert_eq!(
            created.len(),
            "2026-11-22T05:00:00.123456789Z".len(),
            "{created}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let e = Record::from_json(br#"{"format":99,"other":1}"#)
            .unwrap_err()
            .to_string();
        assert!(e.contains("format 99 is newer"), "{e}");
        let e = Record::from_json(b"{").unwrap_err().to_string();
        assert!(e.starts_with("state.json: EOF"), "{e}");
    }
}
