//! What is bound into the container and its root: whether it is there, and whose it is.
//!
//! Runs in: parent.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use super::Finding;
use super::access::{Identity, Owner, READ, SEARCH, WRITE, closed_folder};
use crate::diagnose::hints::Situation;
use crate::error::Error;
use crate::host::Host;
use crate::plan::namespaces::Kind;
use crate::plan::rootfs::{Mount, Source};
use crate::plan::{HostPath, Plan};
use crate::rootfs::{locked, name_locked};
use crate::sys;
use crate::sys::mount::{Attributes, Place};

pub fn findings(plan: &Plan, host: &Host, situation: &Situation) -> Vec<Finding> {
    let payload = Identity::of_payload(plan, host);
    let of_mounts = plan
        .rootfs
        .mounts
        .iter()
        .flat_map(|mount| of_mount(mount, plan, payload.as_ref(), situation));
    let mut findings: Vec<Finding> = of_mounts.collect();
    let root = plan.rootfs.root.as_path();
    if let (Some(payload), Ok(file)) = (&payload, std::fs::metadata(root)) {
        let wants = Wants {
            place: "root.path".into(),
            pointer: "/root/path".into(),
            write: !plan.rootfs.readonly,
        };
        findings.extend(of_owner(root, Owner::of(&file), payload, &wants));
    }
    findings
}

fn of_mount(
    mount: &Mount,
    plan: &Plan,
    payload: Option<&Identity>,
    situation: &Situation,
) -> Vec<Finding> {
    let (Some(index), Source::Bind { path, nofollow, .. }) = (mount.index, &mount.source) else {
        return Vec::new();
    };
    let wants = Wants {
        place: format!("mounts[{index}] ({})", mount.destination),
        pointer: format!("/mounts/{index}"),
        write: mount.set & libc::MOUNT_ATTR_RDONLY == 0,
    };
    // A link that is copied or bound itself needs nothing behind it.
    let found = match *nofollow || copies_link(&mount.source) {
        true => std::fs::symlink_metadata(path.as_path()),
        false => std::fs::metadata(path.as_path()),
    };
    let file = match found {
        Ok(file) => file,
        Err(error) => return vec![missing(mount, path, &error, &wants, situation)],
    };
    let mut findings = Vec::new();
    if plan.namespaces.is_new(Kind::User)
        && let Ok(fs) = statvfs(path.as_path())
    {
        findings.extend(of_flags(mount, fs.flags().bits(), &wants, situation));
    }
    // The owners that an id-mapped mount shows are others.
    if mount.id_map.is_none()
        && let Some(payload) = payload
    {
        findings.extend(of_owner(path.as_path(), Owner::of(&file), payload, &wants));
    }
    findings
}

fn copies_link(source: &Source) -> bool {
    matches!(source, Source::Bind { path, copy_symlink: true, .. } if path.as_path().is_symlink())
}

/// What is wanted of a file, and who wants it.
struct Wants {
    place: String,
    pointer: String,
    write: bool,
}

/// In the words of `create`, with the folder that is in the way. Hooks run after the mounts are
/// made, so none of them helps.
fn missing(
    mount: &Mount,
    path: &HostPath,
    error: &std::io::Error,
    wants: &Wants,
    situation: &Situation,
) -> Finding {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let flags = match &mount.source {
        Source::Bind {
            recursive: true, ..
        } => libc::AT_RECURSIVE,
        _ => 0,
    };
    let failed = sys::mount::open_tree_failed(Place::Host(path.as_path()), flags, errno);
    let failed = match (errno, closed_folder(path.as_path())) {
        (Errno::EACCES, Some((folder, owner))) => failed.with_hint(format!(
            "{} (uid {}, gid {}, mode {}) does not let the caller through",
            folder.display(),
            owner.uid,
            owner.gid,
            owner.permissions()
        )),
        _ => failed,
    };
    let failed = failed
        .with_pointer(wants.pointer.clone())
        .within(wants.place.clone());
    Finding::error("mount-source", &failed, situation)
}

/// Flags of the source's mount that config.json takes away and a user namespace cannot.
fn of_flags(mount: &Mount, flags: u64, wants: &Wants, situation: &Situation) -> Option<Finding> {
    let wanted = Attributes {
        set: mount.set | mount.recursive_set,
        clear: mount.clear | mount.recursive_clear,
        propagation: 0,
    };
    let names = locked(flags, wanted);
    if names.is_empty() {
        return None;
    }
    let refused = Error::syscall("mount_setattr", &wants.place, libc::EPERM)
        .with_kind(crate::error::Kind::Unsupported);
    let error = name_locked(&names, refused)
        .within(wants.place.clone())
        .with_pointer(wants.pointer.clone());
    Some(
        Finding::error("locked-flags", &error, situation).clause(Some(
            "mount_namespaces(7), Restrictions on mount namespaces",
        )),
    )
}

/// A file whose owner has no id inside, where its mode does not let the payload do what the
/// mount is for.
fn of_owner(path: &Path, owner: Owner, payload: &Identity, wants: &Wants) -> Option<Finding> {
    if payload.knows_owner(owner) {
        return None;
    }
    let search = if owner.is_directory() { SEARCH } else { 0 };
    let cannot = match (
        payload.may(READ | search, owner),
        !wants.write || payload.may(WRITE | search, owner),
    ) {
        (true, true) => return None,
        (true, false) => "cannot write to it",
        (false, true) => "cannot read it",
        (false, false) if wants.write => "can neither read it nor write to it",
        (false, false) => "cannot read it",
    };
    if has_access_list(path) {
        return None;
    }
    let Owner { uid, gid, .. } = owner;
    let text = format!(
        "{}: {} belongs to uid {uid}, gid {gid} (mode {}), and uid {uid} is not in the container's id map: it shows as 65534 (nobody), and the payload, uid {} of the host, {cannot}",
        wants.place,
        path.display(),
        owner.permissions(),
        payload.uid,
    );
    let finding = Finding::warning("source-owner", text)
        .at(wants.pointer.clone())
        .path(path.to_string_lossy())
        .clause(Some("user_namespaces(7)"));
    let me = payload.uid;
    Some(finding.hint(format!(
        "give it to an id of the map (root: chown {me} PATH; podman unshare chown for ids that are mapped already), let uid {me} in (setfacl -m u:{me}:rwX PATH), or mount it read-only if it need only be read"
    )))
}

/// Whether the mode is not the whole truth, acl(5).
fn has_access_list(path: &Path) -> bool {
    sys::metadata::short_attribute(path, c"system.posix_acl_access").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example_for;
    use crate::host::IdRange;
    use crate::plan::{CreateOptions, golden};

    fn ann() -> Identity {
        let map = vec![IdRange {
            inside: 0,
            outside: 1000,
            count: 1,
        }];
        Identity {
            uid: 1000,
            gid: 1000,
            overrides: true,
            uid_map: map.clone(),
            gid_map: map,
            ..Identity::default()
        }
    }

    fn judged(uid: u32, mode: u32, write: bool) -> Option<Finding> {
        let wants = Wants {
            place: "mounts[7] (/data)".into(),
            pointer: "/mounts/7".into(),
            write,
        };
        let owner = Owner {
            uid,
            gid: uid,
            mode,
        };
        of_owner(Path::new("/nowhere/data"), owner, &ann(), &wants)
    }

    const FOLDER: u32 = libc::S_IFDIR;

    #[test]
    fn a_folder_of_somebody_else_is_named_with_owner_and_mode() {
        let found = judged(1001, FOLDER | 0o755, true).unwrap();
        assert_eq!(found.pointer.as_deref(), Some("/mounts/7"));
        for word in [
            "mounts[7] (/data)",
            "/nowhere/data belongs to uid 1001",
            "mode 0755",
            "not in the container's id map",
            "cannot write to it",
        ] {
            assert!(found.message.contains(word), "{word}: {found:?}");
        }
        let found = judged(1001, FOLDER | 0o700, true).unwrap();
        assert!(
            found
                .message
                .ends_with("can neither read it nor write to it")
        );
        let found = judged(1001, FOLDER | 0o744, false).unwrap();
        assert!(found.message.ends_with("cannot read it"), "{found:?}");
    }

    #[test]
    fn what_the_mode_allows_is_no_finding() {
        assert_eq!(judged(1000, FOLDER | 0o700, true), None);
        assert_eq!(judged(0, FOLDER | 0o755, false), None);
        assert_eq!(judged(0, libc::S_IFREG | 0o644, false), None);
        assert_eq!(judged(0, FOLDER | 0o1777, true), None);
        assert_eq!(judged(0, libc::S_IFCHR | 0o666, true), None);
    }

    #[test]
    fn flags_that_the_host_has_locked_are_named() {
        let bind = r#"{"destination": "/data", "type": "bind", "source": "/data",
            "options": ["bind", "exec", "rw"]}"#;
        let config =
            example_for(1000, 1000).replace("\"mounts\": [", &format!("\"mounts\": [{bind},"));
        let plan = golden::plan(config, CreateOptions::default(), &golden::user());
        let wants = Wants {
            place: "mounts[0] (/data)".into(),
            pointer: "/mounts/0".into(),
            write: true,
        };
        let judge = |flags| of_flags(&plan.rootfs.mounts[0], flags, &wants, &Situation::default());
        let found = judge(libc::ST_NOEXEC | libc::ST_NOSUID | libc::ST_RELATIME).unwrap();
        assert!(
            found
                .message
                .starts_with("mounts[0] (/data): the host has locked noexec of this mount"),
            "{found:?}"
        );
        assert_eq!(judge(libc::ST_NOSUID | libc::ST_RELATIME), None);
    }
}
