//! Session keyrings: keyctl(2).
//!
//! Runs in: init and enter.

use std::ffi::CStr;

use nix::errno::Errno;

use super::check;
use crate::error::Error;

/// The serial number of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(i32);

/// Replaces the session keyring by the one called `name`, which is made if there is none that
/// the caller may search. ENOSYS without CONFIG_KEYS, EDQUOT where the user has too many.
pub fn join_session(name: &CStr) -> Result<Key, Error> {
    // SAFETY: the kernel reads `name`, which is a live C string, and takes no other pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            name.as_ptr(),
        )
    };
    let arguments = format_args!("KEYCTL_JOIN_SESSION_KEYRING, {name:?}");
    let serial = check(Errno::result(result), "keyctl", arguments)?;
    // The kernel answers 0 where the caller has that keyring already.
    Ok(Key(match serial {
        0 => libc::KEY_SPEC_SESSION_KEYRING,
        serial => serial as i32,
    }))
}

/// The description of `key`: `type;uid;gid;permissions;name`, the permissions in hexadecimal.
pub fn describe(key: Key) -> Result<String, Error> {
    // The longest description of a key is a page.
    let mut text = vec![0_u8; 4096];
    // SAFETY: the kernel writes at most `text.len()` bytes to the live buffer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_DESCRIBE,
            key.0,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    let length = check(
        Errno::result(result),
        "keyctl",
        format_args!("KEYCTL_DESCRIBE, {}", key.0),
    )?;
    text.truncate((length as usize).saturating_sub(1));
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sets the permissions of `key` (keyctl_setperm(3): possessor, user, group, other).
pub fn set_permissions(key: Key, permissions: u32) -> Result<(), Error> {
    // SAFETY: this operation takes numbers alone.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key.0, permissions) };
    let arguments = format_args!("KEYCTL_SETPERM, {}, {permissions:#x}", key.0);
    check(Errno::result(result), "keyctl", arguments).map(drop)
}
