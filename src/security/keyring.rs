//! The container's session keyring, so that the payload does not share its caller's.
//!
//! Keyrings have no namespace but the user's: the keyring is found by its name, `_ses.ID`, and
//! `exec` joins the one that init made. Another user may have made one of that name and let
//! everybody find it, so as to read what the payload puts there: it has to be init's own.
//!
//! Runs in: init and enter, with the keys still of the user that becomes the payload's.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::keyring;

/// Who may search the keyring once it is made: the process that `exec` starts has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searcher {
    /// The user that made it.
    User,
    /// Anybody: with a new user namespace, processes of the container differ in their ids.
    Anybody,
}

impl Searcher {
    /// KEY_USR_SEARCH and KEY_OTH_SEARCH of the kernel's linux/key.h. The kernel asks for one of
    /// the two: whoever has the owner's id needs the first, whatever the others have.
    fn permission(self) -> u32 {
        match self {
            Searcher::User => 0x0008_0000,
            Searcher::Anybody => 0x0008_0008,
        }
    }
}

/// Makes the session keyring `name` and lets `searcher` find it. A kernel without keyrings,
/// or a seccomp profile around us that refuses keyctl(2), is no obstacle.
pub fn make_session(name: &CStr, searcher: Searcher) -> Result<()> {
    match join(name)? {
        Some((key, permissions)) => {
            keyring::set_permissions(key, permissions | searcher.permission())
                .context(|| in_keyring(name))
        }
        None => Ok(()),
    }
}

/// The second and the fourth field of `type;uid;gid;permissions;name`, keyctl_describe(3).
fn owner_and_permissions(description: &str) -> Option<(u32, u32)> {
    let mut fields = description.split(';').skip(1);
    let owner = fields.next()?.parse().ok()?;
    let permissions = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    Some((owner, permissions))
}

/// Joins the session keyring `name` of a running container, in `exec`.
pub fn join_session(name: &CStr) -> Result<()> {
    join(name).map(drop)
}

/// The keyring, which is the caller's own, and its permissions.
fn join(name: &CStr) -> Result<Option<(keyring::Key, u32)>> {
    match keyring::join_session(name) {
        Ok(key) => own_permissions(key).map(|permissions| Some((key, permissions))),
        Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => {
            log::debug(|| format!("no session keyring of its own: {e}"));
            Ok(None)
        }
        Err(e) if e.is(Errno::EDQUOT) => Err(e.with_hint(
            "the user has too many keys; raise the sysctl kernel.keys.maxkeys, or use --no-new-keyring",
        )),
        Err(e) => Err(e),
    }
    .context(|| in_keyring(name))
}

fn in_keyring(name: &CStr) -> String {
    format!("session keyring {name:?}")
}

/// Refuses a keyring of another user.
fn own_permissions(key: keyring::Key) -> Result<u32> {
    let description = keyring::describe(key)?;
    let (owner, permissions) = owner_and_permissions(&description).ok_or_else(|| {
        Error::system(format!(
            "keyctl(KEYCTL_DESCRIBE): no owner and permissions in {description:?}"
        ))
    })?;
    if owner != nix::unistd::geteuid().as_raw() {
        return Err(Error::system(format!(
            "user {owner} has made a keyring of that name for everybody to find"
        ))
        .with_hint("give the container another name, or use --no-new-keyring"));
    }
    Ok(permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_and_permissions_are_the_second_and_the_fourth_field() {
        assert_eq!(
            owner_and_permissions("keyring;7;0;3f1b0000;_ses.a;b"),
            Some((7, 0x3f1b_0000))
        );
        assert_eq!(owner_and_permissions("keyring;0;0"), None);
    }
}
