//! Who the caller is: ids, capabilities, user namespace.
//!
//! Runs in: parent.

use super::{Host, IdRange};
use crate::error::{Error, Result};
use crate::sys::capability;

/// What ids mean in a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNamespace {
    pub uid_map: Vec<IdRange>,
    pub gid_map: Vec<IdRange>,
    /// Whether setgroups(2) is denied.
    pub setgroups_denied: bool,
}

impl UserNamespace {
    /// The caller's own.
    pub fn own() -> Result<UserNamespace> {
        UserNamespace::read("self")
    }

    /// That of the process `pid`. The outer ids are the caller's view of them.
    pub fn of(pid: i32) -> Result<UserNamespace> {
        UserNamespace::read(&pid.to_string())
    }

    fn read(process: &str) -> Result<UserNamespace> {
        let mut namespace = UserNamespace {
            uid_map: id_map(&format!("/proc/{process}/uid_map"))?,
            gid_map: id_map(&format!("/proc/{process}/gid_map"))?,
            setgroups_denied: false,
        };
        // In the first user namespace setgroups is always a matter of CAP_SETGID alone.
        if !namespace.is_initial() {
            let path = format!("/proc/{process}/setgroups");
            let text = std::fs::read_to_string(path);
            namespace.setgroups_denied = text.is_ok_and(|text| text.trim() == "deny");
        }
        Ok(namespace)
    }

    /// Whether it is the one that the kernel started with: it alone maps every id to itself.
    pub fn is_initial(&self) -> bool {
        let all = IdRange {
            inside: 0,
            outside: 0,
            count: u32::MAX,
        };
        self.uid_map == [all]
    }
}

/// Where /dev/core leads.
const KCORE: &str = "/proc/kcore";

/// Who the caller is: ids, capabilities and user namespace. The other facts are left empty.
pub fn probe() -> Result<Host> {
    Ok(Host {
        euid: nix::unistd::geteuid().as_raw(),
        egid: nix::unistd::getegid().as_raw(),
        capabilities: capability::get().map_or(0, |sets| sets.effective),
        last_capability: last_capability(),
        has_kcore: std::path::Path::new(KCORE).exists(),
        user_namespace: UserNamespace::own()?,
        has_session: ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"]
            .into_iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())),
        ..Host::default()
    })
}

fn id_map(path: &str) -> Result<Vec<IdRange>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse_id_map(&text)),
        Err(error) => {
            Err(Error::io("open", path, &error).with_hint("procfs has to be mounted at /proc"))
        }
    }
}

/// Whether `path` leads to the namespace of /proc/self/ns/net; namespaces(7): device and inode
/// tell. A path that leads nowhere does not: joining it will say what is wrong.
pub fn is_own_network(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &std::path::Path| {
        std::fs::metadata(path)
            .ok()
            .map(|file| (file.dev(), file.ino()))
    };
    identity(path).is_some_and(|one| Some(one) == identity("/proc/self/ns/net".as_ref()))
}

fn parse_id_map(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            Some(IdRange {
                inside: numbers.next()?.ok()?,
                outside: numbers.next()?.ok()?,
                count: numbers.next()?.ok()?,
            })
        })
        .collect()
}

/// By asking for the first that is not there, since /proc/sys may be another container's.
fn last_capability() -> u8 {
    // Of every kernel since 5.9, so that the answer takes two calls.
    const CAP_CHECKPOINT_RESTORE: u8 = 40;
    let is_known = |number: &u8| capability::is_in_bounding_set((*number).into()).is_some();
    let last = match is_known(&CAP_CHECKPOINT_RESTORE) {
        true => (CAP_CHECKPOINT_RESTORE..64).take_while(is_known).last(),
        false => (0..CAP_CHECKPOINT_RESTORE).rev().find(is_known),
    };
    last.unwrap_or(CAP_CHECKPOINT_RESTORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_capability_is_the_kernels() {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(Ok(last_capability()), text.trim().parse());
    }

    #[test]
    fn the_first_user_namespace_is_known_by_its_map() {
        let namespace = |uid_map| UserNamespace {
            uid_map: parse_id_map(uid_map),
            ..UserNamespace::default()
        };
        assert!(namespace("         0          0 4294967295\n").is_initial());
        let nested =
            namespace("         0       1000          1\n         1     100000      65536\n");
        assert!(!nested.is_initial());
        assert_eq!(nested.uid_map.len(), 2);
    }
}
