//! Mount points that are not in the root file system and cannot be made there.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Finding;
use super::access::{Identity, Owner, SEARCH, WRITE};
use crate::diagnose::hints::Situation;
use crate::error::{Context, Error};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::rootfs::{Mount, Pivot, Source};
use crate::rootfs::Root;
use crate::sys;

pub fn findings(plan: &Plan, host: &Host, situation: &Situation) -> Vec<Finding> {
    let rootfs = &plan.rootfs;
    let (Ok(root), Some(init)) = (Root::open_host(&rootfs.root), Identity::of_init(plan, host))
    else {
        return Vec::new();
    };
    if rootfs.pivot == Pivot::Chroot {
        return Vec::new();
    }
    let errors = rootfs.mounts.iter().enumerate().filter_map(|(n, mount)| {
        // What lies on another mount is made in that one.
        let is_below = rootfs.mounts[..n].iter().any(|other| {
            Path::new(mount.destination.as_str()).starts_with(other.destination.as_str())
        });
        match is_below || matches!(mount.source, Source::Remount(_)) {
            true => None,
            false => of_mount(mount, &root, &init, plan),
        }
    });
    errors
        .map(|error| Finding::error("mount-point", &error, situation))
        .collect()
}

fn of_mount(mount: &Mount, root: &Root, init: &Identity, plan: &Plan) -> Option<Error> {
    let index = mount.index?;
    let (missing, nearest) = root.missing(&mount.destination).ok()?;
    let first = missing.last()?;
    let (owner, errno) = why_not(&nearest, init)?;
    let folder = plan.rootfs.root.as_path();
    let parent = Path::new(first.beneath_root()).parent();
    let folder = folder.join(parent.unwrap_or(Path::new("")));
    let failed = Error::syscall("mkdirat", format_args!("{folder:?}, {first}"), errno as i32)
        .with_hint(format!(
            "make {} in the root file system beforehand, or let uid {} of the host, which is root inside, write to {} (uid {}, mode {})",
            mount.destination,
            init.uid,
            folder.display(),
            owner.uid,
            owner.permissions(),
        ));
    let failed: Result<(), Error> = Err(failed);
    failed
        .context(|| format!("making the mount point {}", mount.destination))
        .at(&format!("/mounts/{index}"), || {
            format!("mounts[{index}] ({})", mount.destination)
        })
        .err()
}

/// Why init cannot make a name in the directory.
fn why_not(directory: &OwnedFd, init: &Identity) -> Option<(Owner, Errno)> {
    let stat = sys::file::stat(directory.as_fd()).ok()?;
    let owner = Owner {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode,
    };
    let flags = sys::file::file_system_flags(directory.as_fd()).ok()?;
    if flags & libc::ST_RDONLY != 0 {
        return Some((owner, Errno::EROFS));
    }
    (!init.may(WRITE | SEARCH, owner)).then_some((owner, Errno::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{example, example_for};
    use crate::plan::{CreateOptions, HostPath, golden};

    #[test]
    fn a_mount_point_that_root_inside_cannot_make_is_named() {
        // It belongs to whoever runs the tests, and never to the user of `golden`.
        let folder = std::env::temp_dir().join(format!("rt-points-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("dev")).unwrap();
        let owner = Owner::of(&std::fs::metadata(&folder).unwrap()).uid;
        let found = |config: String, host: &Host| {
            let mut plan = golden::plan(config, CreateOptions::default(), host);
            plan.rootfs.root = HostPath::new(&folder);
            findings(&plan, host, &Situation::default())
        };
        let of_user = found(
            example_for(owner + 7, owner + 7),
            &Host {
                euid: owner + 7,
                egid: owner + 7,
                ..golden::user()
            },
        );
        let of_root = found(example(false), &golden::root());
        let _ = std::fs::remove_dir_all(&folder);
        let places: Vec<&str> = of_user
            .iter()
            .filter_map(|f| f.pointer.as_deref())
            .collect();
        // /dev is there, and what is in it lies on a mount.
        assert_eq!(places, ["/mounts/0", "/mounts/5"], "{of_user:?}");
        assert!(of_user[0].message.contains("making the mount point /proc"));
        assert_eq!(of_root, []);
    }
}
