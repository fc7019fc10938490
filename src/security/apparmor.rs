//! AppArmor: the profile that execve(2) changes to.
//!
//! Runs in: init and enter, before the change of user; [`is_enabled`] in the parent, since
//! the container's /sys need not be there.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::procfs;

/// The profile that stands for none, as engines name it.
pub const UNCONFINED: &CStr = c"unconfined";

/// Whether the running kernel enforces AppArmor profiles.
pub fn is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// The answer where [`is_enabled`] says no and config.json names a profile: a profile is
/// never dropped in silence.
pub fn not_supported() -> Error {
    Error::unsupported("apparmor is not supported on this host, or not enabled")
        .with_pointer("/process/apparmorProfile")
        .within("process.apparmorProfile")
        .with_hint("leave process.apparmorProfile out, or boot with apparmor=1 security=apparmor")
}

/// What a kernel without AppArmor says to a write: no such file, or attr/exec that nobody or
/// another module owns.
fn is_off(error: &Error) -> bool {
    error.is(Errno::EINVAL) || (error.call() == Some("openat") && error.is(Errno::ENOENT))
}

/// Makes the next execve(2) change to `profile`, which has to be loaded.
/// `own` is an open /proc/self. With no_new_privs the kernel accepts only a profile
/// that is no wider than the present one.
pub fn change_on_exec(own: BorrowedFd, profile: &CStr) -> Result<()> {
    // KERNEL(5.1): without attr/apparmor, a profile is written to attr/exec, which AppArmor owns
    // where no other security module does.
    const PATHS: [&str; 2] = ["attr/apparmor/exec", "attr/exec"];
    let request = [b"exec ", profile.to_bytes()].concat();
    let [apparmors, shared] = PATHS;
    let (path, result) = match procfs::write(own, apparmors, &request) {
        Err(e) if e.is(Errno::ENOENT) && e.call() == Some("openat") => {
            (shared, procfs::write(own, shared, &request))
        }
        result => (apparmors, result),
    };
    if profile == UNCONFINED && matches!(&result, Err(e) if is_off(e)) {
        return Ok(());
    }
    result
        .map_err(|e| match e.errno().map(Errno::from_raw) {
            Some(Errno::EINVAL) if path == shared => not_supported(),
            Some(Errno::ENOENT) => {
                e.with_hint("the profile is not loaded; see aa-status(8) and apparmor_parser(8)")
            }
            _ => e,
        })
        // podman tells a label from other failures by a path of /proc in backquotes.
        .context(|| format!("`/proc/self/{path}`"))
        .at("/process/apparmorProfile", || {
            format!("process.apparmorProfile ({profile:?})")
        })
}
