//! Who the caller is: ids, capabilities, user namespace.
//!
//! Runs in: parent.

use super::{Host, IdRange};
use crate::error::{Error, Result};

pub fn probe() -> Result<Host> {
    let uid_map = id_map("/proc/self/uid_map")?;
    let gid_map = id_map("/proc/self/gid_map")?;
    let mut host = Host {
        euid: nix::unistd::geteuid().as_raw(),
        egid: nix::unistd::getegid().as_raw(),
        capabilities: effective_capabilities(),
        last_capability: last_capability(),
        uid_map,
        gid_map,
        ..Host::default()
    };
    // In the first user namespace setgroups is always a matter of CAP_SETGID alone.
    host.setgroups_denied = !host.in_initial_user_namespace() && setgroups_denied();
    Ok(host)
}

fn id_map(path: &str) -> Result<Vec<IdRange>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse_id_map(&text)),
        Err(error) => {
            Err(Error::io("open", path, &error).with_hint("procfs has to be mounted at /proc"))
        }
    }
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

fn effective_capabilities() -> u64 {
    caps::read(None, caps::CapSet::Effective)
        .unwrap_or_default()
        .into_iter()
        .fold(0, |mask, capability| mask | capability.bitmask())
}

/// By the name of the kernel's own file; capabilities(7), Linux 3.2.
fn last_capability() -> u8 {
    const CAP_CHECKPOINT_RESTORE: u8 = 40;
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|last| *last < 64)
        .unwrap_or(CAP_CHECKPOINT_RESTORE)
}

fn setgroups_denied() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_namespace_is_known_by_its_map() {
        let mut host = Host {
            uid_map: parse_id_map("         0          0 4294967295\n"),
            ..Host::default()
        };
        assert!(host.in_initial_user_namespace());
        host.uid_map =
            parse_id_map("         0       1000          1\n         1     100000      65536\n");
        assert!(!host.in_initial_user_namespace());
        assert_eq!(host.uid_map.len(), 2);
    }
}
