//! sd_notify(3): how the payload reaches the caller's service manager.
//!
//! A socket of rt's own is mounted into the container, in a directory that cannot be written
//! to; what comes out of it is passed on by `process::readiness`. The place is runc's.
//!
//! Runs in: parent; a function of its arguments.

use std::ffi::CString;

use super::rootfs::{Mount, Pivot, Rootfs, Source};
use super::{ContainerPath, HostPath};

pub const DIRECTORY: &str = "/run/notify";
const VARIABLE: &str = "NOTIFY_SOCKET=";
const ENTRY: &std::ffi::CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";

/// Adds the mount and the variable where a service manager called (`directory`). Whether it
/// did: not where the payload sees the host's mounts, and not where config.json has something
/// of its own in that place. podman does, and lets conmon pass on what the payload says.
pub fn plan(
    directory: Option<&HostPath>,
    rootfs: &mut Rootfs,
    env: &mut Vec<CString>,
    warnings: &mut Vec<String>,
) -> bool {
    let Some(directory) = directory else {
        return false;
    };
    let destination = ContainerPath::new(DIRECTORY);
    let is_taken = rootfs.mounts.iter().any(|m| m.destination == destination);
    if is_taken || rootfs.pivot == Pivot::Chroot {
        let why = match is_taken {
            true => "config.json mounts something at /run/notify",
            false => "the container has no mount namespace of its own",
        };
        warnings.push(format!("NOTIFY_SOCKET is not passed on: {why}"));
        return false;
    }
    rootfs.mounts.push(Mount {
        index: None,
        destination,
        source: Source::Bind {
            path: directory.clone(),
            recursive: false,
            nofollow: true,
            copy_symlink: false,
        },
        set: libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC,
        clear: 0,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: Vec::new(),
        destination_nofollow: false,
        id_map: None,
    });
    env.retain(|entry| !entry.as_bytes().starts_with(VARIABLE.as_bytes()));
    env.push(ENTRY.to_owned());
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::bundle::example;
    use crate::plan::{CreateOptions, HostPath, Plan, golden};

    fn plan(change: impl FnOnce(&mut Value)) -> Plan {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        change(&mut config);
        let options = CreateOptions {
            notify_directory: Some(HostPath::new("/run/rt/web/notify")),
            ..CreateOptions::default()
        };
        golden::plan(config.to_string(), options, &golden::root())
    }

    #[test]
    fn the_socket_is_mounted_read_only_and_announced_once() {
        let plan = plan(|config| {
            config["process"]["env"] = json!(["A=1", "NOTIFY_SOCKET=/elsewhere"]);
        });
        assert!(plan.notify);
        let mount = plan.rootfs.mounts.last().unwrap();
        assert_eq!(mount.destination.as_str(), "/run/notify");
        assert_ne!(mount.set & libc::MOUNT_ATTR_RDONLY, 0);
        let entries = plan.process.env.iter().filter(|entry| {
            let entry = entry.to_string_lossy();
            entry.starts_with("NOTIFY_SOCKET=")
        });
        assert_eq!(entries.collect::<Vec<_>>(), [super::ENTRY]);
    }

    #[test]
    fn an_engines_own_socket_is_left_alone() {
        let plan = plan(|config| {
            let mount = json!({
                "destination": "/run/notify", "source": "/engine", "options": ["bind"],
            });
            config["mounts"].as_array_mut().unwrap().push(mount);
        });
        assert!(!plan.notify);
        assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
        let mut env = plan.process.env.iter();
        assert!(!env.any(|entry| entry.as_c_str() == super::ENTRY));
    }
}
