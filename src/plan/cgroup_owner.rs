//! To whom the container's cgroup is given, so that a systemd inside can make cgroups below it.
//!
//! Runs in: parent.

use super::ContainerPath;
use super::namespaces::{Kind, Namespaces};
use crate::bundle::Config;
use crate::bundle::config::Mount;
use crate::host::{self, Host};

/// The uid that process.user.uid is for the caller. None where the cgroup stays with whoever
/// makes it.
///
/// SPEC: config-linux.md#cgroup-ownership: only with a cgroup namespace of its own and a cgroup
/// file system that can be written to.
pub fn plan(config: &Config, namespaces: &Namespaces, host: &Host) -> Option<u32> {
    if !namespaces.is_new(Kind::Cgroup) || !config.mounts.iter().any(is_writable_cgroup) {
        return None;
    }
    let uid = config.process.as_ref()?.user.uid;
    let owner = match (&namespaces.id_maps, namespaces.is_private(Kind::User)) {
        (Some(maps), _) => host::outside(&maps.uids, uid)?,
        // Joined: its ids are known only inside.
        (None, true) => return None,
        (None, false) => uid,
    };
    (owner != host.euid).then_some(owner)
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let destination = ContainerPath::new(mount.destination.as_deref().unwrap_or_default());
    matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2"))
        && destination.beneath_root() == "sys/fs/cgroup"
        && is_writable(&mount.options)
}

/// The last word counts, as for every mount.
fn is_writable(options: &[String]) -> bool {
    let words = options.iter().rev().map(String::as_str);
    let last = words.into_iter().find(|word| matches!(*word, "ro" | "rw"));
    last != Some("ro")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::CreateOptions;
    use crate::plan::golden;

    fn owner(change: impl FnOnce(&mut Value), host: &Host) -> Option<u32> {
        let mut config: Value = serde_json::from_str(&crate::bundle::example(false)).unwrap();
        config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "cgroup"}]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["process"]["user"]["uid"] = json!(7);
        config["hostname"] = json!("");
        config["mounts"] = json!([{
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]
        }]);
        change(&mut config);
        let plan = golden::plan(config.to_string(), CreateOptions::default(), host);
        plan.cgroup.owner
    }

    fn mapped(config: &mut Value) {
        config["linux"]["namespaces"] =
            json!([{"type": "mount"}, {"type": "user"}, {"type": "cgroup"}]);
        let map = json!([{"containerID": 0, "hostID": 300_000, "size": 1000}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    }

    #[test]
    fn a_container_that_can_write_to_its_cgroups_gets_its_own() {
        let root = golden::root();
        assert_eq!(owner(|_| (), &root), Some(7));
        assert_eq!(owner(mapped, &root), Some(300_007));
    }

    #[test]
    fn others_do_not() {
        let root = golden::root();
        let read_only = |c: &mut Value| c["mounts"][0]["options"] = json!(["rw", "ro"]);
        assert_eq!(owner(read_only, &root), None);
        let shared = |c: &mut Value| c["linux"]["namespaces"] = json!([{"type": "mount"}]);
        assert_eq!(owner(shared, &root), None);
        let no_mount = |c: &mut Value| c["mounts"] = json!([]);
        assert_eq!(owner(no_mount, &root), None);
        let own = |c: &mut Value| c["process"]["user"]["uid"] = json!(0);
        assert_eq!(owner(own, &root), None);
    }
}
