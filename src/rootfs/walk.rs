//! A lookup beneath the container's root without openat2(2): one component after the other.
//!
//! Each is opened below the one before and never followed: of a symbolic link the text is read, and
//! walked in its turn, from the root where it is absolute. `..` goes back to the descriptor that the
//! walk came by, wherever that directory lies by now, so no rename leads out. A link of procfs is
//! text as any other, and leads to a path of the container.
//!
//! Runs in: init before and after pivot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::beneath::LINKS_MAX;
use crate::error::{Error, Result};
use crate::sys::file;

/// Opens what lies at `path` with `O_PATH`. Of `flags`, `O_NOFOLLOW` and `O_DIRECTORY` count. The
/// errors are those of openat2(2) with `RESOLVE_IN_ROOT`.
pub fn open(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> Result<OwnedFd> {
    walk(root, path, flags)
        .map_err(|errno| Error::syscall("openat", format_args!("(root), {path:?}"), errno as i32))
}

fn walk(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let errno = |e: Error| Errno::from_raw(e.errno().unwrap_or(libc::EINVAL));
    let mut links_left = LINKS_MAX;
    // The last is the next.
    let mut rest: Vec<String> = components(path);
    let mut trail: Vec<OwnedFd> = Vec::new();
    let mut kind = SFlag::S_IFDIR;
    while let Some(name) = rest.pop() {
        if name == ".." {
            trail.pop();
            continue;
        }
        let here = trail.last().map_or(root, OwnedFd::as_fd);
        let c_name = file::c_name(&name).map_err(errno)?;
        let found = file::open_entry(here, &c_name, OFlag::O_PATH).map_err(errno)?;
        kind = file::kind(&file::stat(found.as_fd()).map_err(errno)?);
        let is_last = rest.is_empty();
        match kind {
            SFlag::S_IFLNK if !is_last || !flags.contains(OFlag::O_NOFOLLOW) => {
                links_left = links_left.checked_sub(1).ok_or(Errno::ELOOP)?;
                let target = file::readlinkat(found.as_fd(), c"").map_err(errno)?;
                // A name that is no text is nowhere in config.json, and in no image.
                let target = target.into_string().map_err(|_| Errno::ENOENT)?;
                if target.starts_with('/') {
                    trail.clear();
                }
                rest.extend(components(&target));
                kind = SFlag::S_IFDIR;
            }
            SFlag::S_IFDIR => trail.push(found),
            _ if is_last => trail.push(found),
            _ => return Err(Errno::ENOTDIR),
        }
    }
    if flags.contains(OFlag::O_DIRECTORY) && kind != SFlag::S_IFDIR {
        return Err(Errno::ENOTDIR);
    }
    match trail.pop() {
        Some(fd) => Ok(fd),
        None => file::duplicate(root).map_err(errno),
    }
}

/// The names in `path`, the last first.
fn components(path: &str) -> Vec<String> {
    let names = path.rsplit('/').filter(|name| !matches!(*name, "" | "."));
    names.map(str::to_owned).collect()
}
