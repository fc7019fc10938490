//! SELinux: the labels that execve(2) and new keys get.
//!
//! Runs in: init and enter, before the change of user; [`is_enabled`] in the parent.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::file::file_system_magic_at;
use crate::sys::procfs;

/// SELINUX_MAGIC of linux/magic.h.
const SELINUX_MAGIC: i64 = 0xf97c_ff8c;

/// Whether the running kernel has a SELinux policy loaded: its file system is mounted.
pub fn is_enabled() -> bool {
    file_system_magic_at("/sys/fs/selinux") == Some(SELINUX_MAGIC)
}

/// The answer where [`is_enabled`] says no and config.json names a label at `pointer`: a label
/// is never dropped in silence.
pub fn not_supported(pointer: &str) -> Error {
    Error::unsupported("selinux is not supported on this host, or disabled")
        .with_pointer(pointer)
        .within(pointer[1..].replace('/', "."))
        .with_hint("leave process.selinuxLabel and linux.mountLabel out")
}

/// Gives `label` to the program of the next execve(2) of this thread. `own` is an open
/// /proc/self.
pub fn label_on_exec(own: BorrowedFd, label: &CStr) -> Result<()> {
    write(own, "attr/exec", label.to_bytes()).at("/process/selinuxLabel", || {
        format!("process.selinuxLabel ({label:?})")
    })
}

/// Gives `label` to keys that this thread makes: before the session keyring is made.
pub fn label_new_keys(own: BorrowedFd, label: &CStr) -> Result<()> {
    write(own, "attr/keycreate", label.to_bytes()).at("/process/selinuxLabel", || {
        format!("process.selinuxLabel ({label:?})")
    })
}

/// Ends [`label_new_keys`], so that the payload's keys get the label of the payload.
pub fn label_new_keys_as_usual(own: BorrowedFd) -> Result<()> {
    write(own, "attr/keycreate", b"")
}

fn write(own: BorrowedFd, path: &str, label: &[u8]) -> Result<()> {
    // podman tells a label from other failures by a path of /proc in backquotes.
    procfs::write(own, path, label)
        .map_err(|e| match e.is(Errno::EINVAL) {
            true => e.with_hint("SELinux is not enabled here, or its policy has no such label"),
            false => e,
        })
        .context(|| format!("`/proc/self/{path}`"))
}
