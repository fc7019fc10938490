//! The flags of one mount: set, cleared, kept where the host has locked them.
//!
//! Runs in: init before and after pivot.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::mount::Attributes;

/// Whether the kernel could do it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// KERNEL(5.12): without mount_setattr(2) the flags follow by a remount, once attached.
    Later,
}

/// Sets and clears flags of a mount that may be attached or not. `flags` is zero or
/// `AT_RECURSIVE`.
///
/// A flag that nobody asked to clear stays. One that is locked and was asked to be cleared
/// is an error that names it: mount_namespaces(7), "Restrictions on mount namespaces".
pub fn change(mount: BorrowedFd<'_>, flags: i32, wanted: Attributes) -> Result<Outcome> {
    let wanted = with_atime_cleared(wanted);
    if wanted == Attributes::default() {
        return Ok(Outcome::Done);
    }
    match sys::mount::mount_setattr(mount, flags, wanted) {
        Ok(()) => Ok(Outcome::Done),
        Err(e) if e.is(Errno::ENOSYS) => Ok(Outcome::Later),
        Err(e) if e.is(Errno::EPERM) => Err(explain_locked(mount, wanted, e)),
        Err(e) => Err(e),
    }
}

/// The same by mount(2), for one attached mount.
pub fn remount(mount: BorrowedFd<'_>, flags: i32, wanted: Attributes) -> Result<()> {
    let wanted = with_atime_cleared(wanted);
    if wanted == Attributes::default() {
        return Ok(());
    }
    if flags & libc::AT_RECURSIVE != 0 {
        return Err(
            Error::syscall("mount_setattr", "…, AT_RECURSIVE", libc::ENOSYS)
                .with_hint("recursive mount options need Linux 5.12"),
        );
    }
    let present = attributes_of(sys::file::file_system_flags(mount)?);
    let result = (present & !wanted.clear) | wanted.set;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | mount_flags(result);
    sys::mount::mount(None, &sys::mount::fd_path(mount), None, flags, None)
}

/// Makes one attached mount read-only.
pub fn make_readonly(mount: BorrowedFd<'_>) -> Result<()> {
    let wanted = Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Attributes::default()
    };
    match change(mount, 0, wanted)? {
        Outcome::Done => Ok(()),
        Outcome::Later => remount(mount, 0, wanted),
    }
}

/// The ways of keeping access times are one field: changing it means clearing it.
fn with_atime_cleared(mut wanted: Attributes) -> Attributes {
    if (wanted.set | wanted.clear) & libc::MOUNT_ATTR__ATIME != 0 {
        wanted.clear |= libc::MOUNT_ATTR__ATIME;
    }
    wanted
}

/// Adds the names of the flags that are there and may not be cleared.
fn explain_locked(mount: BorrowedFd<'_>, wanted: Attributes, error: Error) -> Error {
    let Ok(flags) = sys::file::file_system_flags(mount) else {
        return error;
    };
    name_locked(&locked(flags, wanted), error)
}

/// Adds which options [`locked`] has found.
pub fn name_locked(names: &[&str], error: Error) -> Error {
    if names.is_empty() {
        return error;
    }
    let names = names.join(", ");
    error
        .within(format!("the host has locked {names} of this mount"))
        .with_hint(format!(
            "a user namespace cannot take {names} away from a mount of the host; leave the contrary option out"
        ))
}

/// The options that are in force, by the `ST_*` of fstatvfs(3), and would be taken away. In a
/// user namespace the kernel does not let those of a mount of the host go.
pub fn locked(flags: u64, wanted: Attributes) -> Vec<&'static str> {
    let present = attributes_of(flags);
    let mut names: Vec<&str> = FLAGS
        .iter()
        .filter(|f| f.attribute & present & wanted.clear & !wanted.set != 0)
        .map(|f| f.option)
        .collect();
    let atime = libc::MOUNT_ATTR__ATIME;
    if wanted.clear & atime != 0 && (wanted.set ^ present) & atime != 0 {
        names.push("the way of keeping access times");
    }
    names
}

struct Flag {
    attribute: u64,
    /// `MS_*`.
    mount: u64,
    /// `ST_*` of statvfs(3).
    stat: u64,
    /// The option that sets it.
    option: &'static str,
}

const FLAGS: [Flag; 7] = [
    flag(
        libc::MOUNT_ATTR_RDONLY,
        libc::MS_RDONLY,
        libc::ST_RDONLY,
        "ro",
    ),
    flag(
        libc::MOUNT_ATTR_NOSUID,
        libc::MS_NOSUID,
        libc::ST_NOSUID,
        "nosuid",
    ),
    flag(
        libc::MOUNT_ATTR_NODEV,
        libc::MS_NODEV,
        libc::ST_NODEV,
        "nodev",
    ),
    flag(
        libc::MOUNT_ATTR_NOEXEC,
        libc::MS_NOEXEC,
        libc::ST_NOEXEC,
        "noexec",
    ),
    flag(
        libc::MOUNT_ATTR_NOATIME,
        libc::MS_NOATIME,
        libc::ST_NOATIME,
        "noatime",
    ),
    flag(
        libc::MOUNT_ATTR_NODIRATIME,
        libc::MS_NODIRATIME,
        libc::ST_NODIRATIME,
        "nodiratime",
    ),
    flag(libc::MOUNT_ATTR_NOSYMFOLLOW, 256, 0x2000, "nosymfollow"),
];

const fn flag(attribute: u64, mount: u64, stat: u64, option: &'static str) -> Flag {
    Flag {
        attribute,
        mount,
        stat,
        option,
    }
}

/// Of linux/statfs.h; the crate `libc` lacks it for musl.
const ST_RELATIME: u64 = 0x1000;

/// `MOUNT_ATTR_*` of what fstatfs(2) tells. Strict access times are the absence of both
/// other ways.
fn attributes_of(stat_flags: u64) -> u64 {
    let mut bits = 0;
    for f in &FLAGS {
        if stat_flags & f.stat != 0 {
            bits |= f.attribute;
        }
    }
    if stat_flags & (libc::ST_NOATIME | ST_RELATIME) == 0 {
        bits |= libc::MOUNT_ATTR_STRICTATIME;
    }
    bits
}

/// `MS_*` of `MOUNT_ATTR_*`, for mount(2).
pub fn mount_flags(attributes: u64) -> u64 {
    let mut bits = 0;
    for f in &FLAGS {
        if attributes & f.attribute != 0 {
            bits |= f.mount;
        }
    }
    if attributes & libc::MOUNT_ATTR_STRICTATIME != 0 {
        bits |= libc::MS_STRICTATIME;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_name_in_three_tongues() {
        let all = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NOATIME;
        assert_eq!(
            mount_flags(all),
            libc::MS_RDONLY | libc::MS_NOEXEC | libc::MS_NOATIME
        );
        assert_eq!(
            attributes_of(libc::ST_RDONLY | libc::ST_NOEXEC | libc::ST_NOATIME),
            all
        );
    }

    #[test]
    fn neither_noatime_nor_relatime_is_strict() {
        assert_eq!(attributes_of(0), libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(attributes_of(libc::ST_RELATIME), 0);
    }

    #[test]
    fn a_change_of_access_times_clears_the_whole_field() {
        let wanted = with_atime_cleared(Attributes {
            set: libc::MOUNT_ATTR_NOATIME,
            ..Attributes::default()
        });
        assert_eq!(wanted.clear, libc::MOUNT_ATTR__ATIME);
    }
}
