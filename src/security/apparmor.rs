//! AppArmor: the profile that execve(2) changes to.
//!
//! Runs in: init and enter, before the change of user; [`is_enabled`] in the parent, since
//! the container's /sys need not be there.

use std::ffi::CStr;
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

/// What [`change_on_exec`] will say of a profile that is not loaded, as far as the caller may
/// look: the list of profiles is for root alone.
pub fn foresee(profile: &CStr) -> Option<Error> {
    let loaded = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").ok()?;
    is_absent(&profile.to_string_lossy(), &loaded).then(|| {
        let request = [b"exec ", profile.to_bytes()].concat();
        let failed = procfs::write_failed(APPARMORS, &request, Errno::ENOENT);
        explain(failed, APPARMORS, profile)
    })
}

/// Whether a profile is not in the list, which has lines such as `name (enforce)`. Of one in
/// another namespace of AppArmor, or of several at once, nothing is known.
fn is_absent(profile: &str, loaded: &str) -> bool {
    let names = || loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    let is_plain = !profile.starts_with([':', '&']) && !profile.contains("//&");
    is_plain && profile != "unconfined" && !names().any(|(name, _)| name == profile)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_absent_only_where_the_list_would_have_it() {
        let loaded = "/usr/sbin/cups (enforce)\ncrun-default (complain)\na b (kill)\n";
        for there in ["/usr/sbin/cups", "crun-default", "a b", "unconfined"] {
            assert!(!is_absent(there, loaded), "{there}");
        }
        for unknown in [":other:crun", "crun-default//&other", "&other"] {
            assert!(!is_absent(unknown, loaded), "{unknown}");
        }
        assert!(is_absent("crun", loaded));
        assert!(is_absent("crun", ""));
    }
}
