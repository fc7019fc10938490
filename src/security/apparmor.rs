//! AppArmor: the profile that execve(2) changes to.
//!
//! Runs in: init and enter, before the change of user; [`is_enabled`] and [`foresee`] in the
//! parent, since the container's /sys need not be there.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::procfs;

/// The profile that stands for none, as engines name it.
pub const UNCONFINED: &CStr = c"unconfined";

const APPARMORS: &str = "attr/apparmor/exec";
const SHARED: &str = "attr/exec";

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

/// What [`change_on_exec`] will say of a profile that is not loaded. Any user may ask for it, as
/// aa_query_label(2) does; where AppArmor answers nothing, nothing is said.
pub fn foresee(profile: &CStr) -> Option<Error> {
    /// Any class will do: the name is looked up before what it may.
    const AA_CLASS_FILE: u8 = 2;
    let mut access = File::options()
        .read(true)
        .write(true)
        .open("/sys/kernel/security/apparmor/.access")
        .ok()?;
    let query = [b"label\0", profile.to_bytes_with_nul(), &[AA_CLASS_FILE]].concat();
    match access.write(&query) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
            let request = [b"exec ", profile.to_bytes()].concat();
            let failed = procfs::write_failed(APPARMORS, &request, Errno::ENOENT);
            Some(explain(failed, APPARMORS, profile))
        }
        _ => None,
    }
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
    let request = [b"exec ", profile.to_bytes()].concat();
    let (path, result) = match procfs::write(own, APPARMORS, &request) {
        Err(e) if e.is(Errno::ENOENT) && e.call() == Some("openat") => {
            (SHARED, procfs::write(own, SHARED, &request))
        }
        result => (APPARMORS, result),
    };
    if profile == UNCONFINED && matches!(&result, Err(e) if is_off(e)) {
        return Ok(());
    }
    result.map_err(|e| explain(e, path, profile))
}

fn explain(error: Error, path: &str, profile: &CStr) -> Error {
    let error = match error.errno().map(Errno::from_raw) {
        Some(Errno::EINVAL) if path == SHARED => not_supported(),
        Some(Errno::ENOENT) => {
            error.with_hint("the profile is not loaded; see aa-status(8) and apparmor_parser(8)")
        }
        _ => error,
    };
    // podman tells a label from other failures by a path of /proc in backquotes.
    error
        .within(format!("`/proc/self/{path}`"))
        .with_pointer("/process/apparmorProfile")
        .within(format!("process.apparmorProfile ({profile:?})"))
}
