//! What a process of the container may do with a file of the host, by owner and mode.
//!
//! Access control lists and security modules are left out: the kernel may be stricter or, by
//! a list, more generous.
//!
//! Runs in: parent.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::unistd::AccessFlags;

use crate::host::{Host, IdRange, outside};
use crate::plan::Plan;
use crate::sys::file;

/// The bits of one class of a mode.
pub const READ: u32 = 4;
pub const WRITE: u32 = 2;
pub const SEARCH: u32 = 1;

const CAP_DAC_OVERRIDE: u8 = 1;

/// Owner and mode of a file, by the host's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Owner {
    pub fn of(file: &std::fs::Metadata) -> Owner {
        Owner {
            uid: file.uid(),
            gid: file.gid(),
            mode: file.mode(),
        }
    }

    pub fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Its mode as chmod(1) takes it: `0750`.
    pub fn permissions(&self) -> String {
        format!("{:04o}", self.mode & 0o7777)
    }
}

/// A process as the host sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// CAP_DAC_OVERRIDE, which counts for files whose owner and group are both mapped.
    pub overrides: bool,
    pub uid_map: Vec<IdRange>,
    pub gid_map: Vec<IdRange>,
}

impl Identity {
    /// The payload. None where its ids are not known before a user namespace is joined, or
    /// mean nothing in it.
    pub fn of_payload(plan: &Plan, host: &Host) -> Option<Identity> {
        let (uid_map, gid_map) = maps_as_seen(plan, host)?;
        let process = &plan.process;
        let groups = match &process.groups {
            Some(groups) => groups
                .iter()
                .filter_map(|gid| outside(&gid_map, *gid))
                .collect(),
            // The caller's are kept.
            None => groups_of_caller(),
        };
        Some(Identity {
            uid: outside(&uid_map, process.uid)?,
            gid: outside(&gid_map, process.gid)?,
            groups,
            overrides: process.capabilities.effective & (1 << CAP_DAC_OVERRIDE) != 0,
            uid_map,
            gid_map,
        })
    }

    /// init before it becomes the payload: root inside, with every capability there. None where
    /// that is not known, or no id is root.
    pub fn of_init(plan: &Plan, host: &Host) -> Option<Identity> {
        let (uid_map, gid_map) = maps_as_seen(plan, host)?;
        Some(Identity {
            uid: outside(&uid_map, 0)?,
            gid: outside(&gid_map, 0)?,
            groups: groups_of_caller(),
            overrides: true,
            uid_map,
            gid_map,
        })
    }

    pub fn knows_owner(&self, owner: Owner) -> bool {
        maps(&self.uid_map, owner.uid)
    }

    /// Whether it has all of `wanted`: `READ`, `WRITE`, `SEARCH`. path_resolution(7).
    pub fn may(&self, wanted: u32, owner: Owner) -> bool {
        let is_mapped = maps(&self.uid_map, owner.uid) && maps(&self.gid_map, owner.gid);
        if self.overrides && is_mapped {
            return true;
        }
        let class = if self.uid == owner.uid {
            owner.mode >> 6
        } else if self.gid == owner.gid || self.groups.contains(&owner.gid) {
            owner.mode >> 3
        } else {
            owner.mode
        };
        class & wanted == wanted
    }
}

/// The container's maps, with outside the ids that the caller sees in stat(2). Where it stays in
/// the caller's user namespace, these are the ones inside.
fn maps_as_seen(plan: &Plan, host: &Host) -> Option<(Vec<IdRange>, Vec<IdRange>)> {
    let (uids, gids) = plan.namespaces.ids_inside(host)?;
    let seen = |map: &[IdRange]| match plan.namespaces.id_maps {
        Some(_) => map.to_vec(),
        None => map
            .iter()
            .map(|line| IdRange {
                outside: line.inside,
                ..*line
            })
            .collect(),
    };
    Some((seen(uids), seen(gids)))
}

/// The last number is no id, and the map of the first user namespace ends before it.
fn maps(map: &[IdRange], host_id: u32) -> bool {
    map.iter().any(|line| line.contains_outside(host_id))
}

fn groups_of_caller() -> Vec<u32> {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    groups.into_iter().map(nix::unistd::Gid::as_raw).collect()
}

/// The outermost folder on the way to `path` that the caller cannot look into.
pub fn closed_folder(path: &Path) -> Option<(PathBuf, Owner)> {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    let closed = folders.into_iter().find(|folder| {
        file::check_access(AT_FDCWD, *folder, AccessFlags::X_OK) == Err(nix::errno::Errno::EACCES)
    })?;
    let file = std::fs::metadata(closed).ok()?;
    Some((closed.to_owned(), Owner::of(&file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::golden::range;

    fn owner(uid: u32, gid: u32, mode: u32) -> Owner {
        Owner { uid, gid, mode }
    }

    fn ann() -> Identity {
        let map = vec![range(0, 1000, 1), range(1, 100_000, 10)];
        Identity {
            uid: 1000,
            gid: 1000,
            groups: vec![50],
            overrides: true,
            uid_map: map.clone(),
            gid_map: map,
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let ann = ann();
        assert!(ann.may(READ | WRITE, owner(1000, 0, 0o600)));
        assert!(!ann.may(READ, owner(1000, 0, 0o077)));
        assert!(ann.may(READ, owner(0, 50, 0o640)));
        assert!(!ann.may(WRITE, owner(0, 50, 0o642)));
        assert!(ann.may(READ | SEARCH, owner(0, 0, 0o755)));
        assert!(!ann.may(READ, owner(0, 0, 0o750)));
    }

    #[test]
    fn a_capability_counts_only_for_mapped_owner_and_group() {
        assert!(ann().may(WRITE, owner(100_003, 100_003, 0)));
        assert!(!ann().may(WRITE, owner(100_003, 0, 0)));
        assert!(!ann().may(WRITE, owner(100_010, 100_003, 0)));
        let without = Identity {
            overrides: false,
            ..ann()
        };
        assert!(!without.may(WRITE, owner(100_003, 100_003, 0)));
    }

    #[test]
    fn in_the_callers_own_user_namespace_ids_are_as_the_caller_sees_them() {
        use crate::plan::{CreateOptions, golden};
        let host = golden::podman();
        let plan = golden::plan(
            crate::bundle::example(false),
            CreateOptions::default(),
            &host,
        );
        let init = Identity::of_init(&plan, &host).unwrap();
        assert_eq!(init.uid, 0);
        assert!(init.may(WRITE | SEARCH, owner(0, 0, 0o40_555)));
        assert!(init.knows_owner(owner(0, 0, 0)) && !init.knows_owner(owner(65_537, 0, 0)));
    }

    #[test]
    fn an_owner_outside_of_the_map_is_not_known() {
        assert!(ann().knows_owner(owner(100_009, 0, 0)));
        assert!(!ann().knows_owner(owner(100_010, 0, 0)));
        assert!(!ann().knows_owner(owner(0, 0, 0)));
    }
}
