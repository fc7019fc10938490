//! Where the resctrl file system is mounted.
//!
//! Runs in: parent.

use std::path::PathBuf;

use nix::sys::statfs::statfs;

use super::cgroup::find_mount;

/// RDTGROUP_SUPER_MAGIC of linux/magic.h.
const RDTGROUP_SUPER_MAGIC: i64 = 0x0765_5821;

/// None where it is not mounted.
pub fn probe() -> Option<PathBuf> {
    let usual = "/sys/fs/resctrl";
    if statfs(usual).is_ok_and(|fs| fs.filesystem_type().0 == RDTGROUP_SUPER_MAGIC) {
        return Some(usual.into());
    }
    find_mount(
        &std::fs::read_to_string("/proc/self/mountinfo").ok()?,
        "resctrl",
    )
}
