//! Giving the container's cgroup to the user that its first process is.
//!
//! Runs in: parent.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Uid;

use super::{Handle, Privilege};
use crate::error::{Error, Result};
use crate::log;

/// The files that whoever has a cgroup may write to, one in a line (cgroups(7), "Cgroups v2
/// delegation").
const DELEGATED: &str = "/sys/kernel/cgroup/delegate";

/// SPEC: config-linux.md#cgroup-ownership: those where the kernel has no such list.
const FALLBACK: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Gives `uid` the directory and the files in it that are safe to give: not the limits, which
/// are the outer world's to set.
///
/// A user's rt may not give anything to another uid, and needs not: it is no error there.
pub(super) fn give(handle: &Handle, uid: u32, privilege: Privilege) -> Result<()> {
    match give_each(handle, Uid::from_raw(uid)) {
        Err(e) if privilege == Privilege::Rootless && e.is(Errno::EPERM) => {
            log::debug(|| format!("the cgroup keeps its owner: {e}"));
            Ok(())
        }
        result => result.map_err(|e| e.within("the cgroup's owner")),
    }
}

fn give_each(handle: &Handle, uid: Uid) -> Result<()> {
    let directory = handle.directory();
    directory.change_owner(Path::new(""), uid)?;
    for file in files()?.lines() {
        match directory.change_owner(Path::new(file), uid) {
            // Not every cgroup has each of them.
            Err(e) if e.is(Errno::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

fn files() -> Result<String> {
    match std::fs::read_to_string(DELEGATED) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(FALLBACK.to_owned()),
        Err(e) => Err(Error::io("open", DELEGATED, &e)),
    }
}
