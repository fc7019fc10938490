//! Where the resctrl file system is mounted.
//!
//! Runs in: parent.

use std::path::PathBuf;

use super::mountinfo;
use crate::sys::file::file_system_magic_at;

/// RDTGROUP_SUPER_MAGIC of linux/magic.h.
const RDTGROUP_SUPER_MAGIC: i64 = 0x0765_5821;

/// None where it is not mounted.
pub fn probe() -> Option<PathBuf> {
    let usual = "/sys/fs/resctrl";
    if file_system_magic_at(usual) == Some(RDTGROUP_SUPER_MAGIC) {
        return Some(usual.into());
    }
    mountinfo::point_of("resctrl")
}
