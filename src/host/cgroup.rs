//! Where cgroup2 is mounted, and where in it the caller is.
//!
//! Runs in: parent.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::{Cgroup2, mountinfo};

/// None where no cgroup2 is mounted.
pub fn probe() -> Option<Cgroup2> {
    // The two usual places are asked first: one call each, where mountinfo is a long file.
    let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let mount = match usual.into_iter().find(|path| is_cgroup2(path)) {
        Some(path) => PathBuf::from(path),
        None => mountinfo::point_of("cgroup2")?,
    };
    let own = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| parse_own(&text));
    Some(Cgroup2 {
        mount,
        own: own.unwrap_or_default(),
    })
}

fn is_cgroup2(path: &str) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The path of the line `0::PATH` of /proc/self/cgroup, cgroups(7), without its first slash.
/// A path that leads out of the caller's cgroup namespace names nothing here: taken for the
/// root.
pub fn parse_own(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A cgroup that was removed meanwhile is marked so.
    let path = Path::new(path.strip_suffix(" (deleted)").unwrap_or(path));
    let own = path.strip_prefix("/").unwrap_or(path);
    let outside = own
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir));
    Some(if outside {
        PathBuf::new()
    } else {
        own.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_the_line_without_a_controller() {
        let text = "12:pids:/x\n0::/user.slice/a.scope\n";
        assert_eq!(parse_own(text), Some(PathBuf::from("user.slice/a.scope")));
        assert_eq!(parse_own("0::/../../b\n"), Some(PathBuf::new()));
        assert_eq!(parse_own("0::/\n"), Some(PathBuf::new()));
    }
}
