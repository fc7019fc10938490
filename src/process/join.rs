//! Joining namespaces by path.
//!
//! A namespace can be joined only with CAP_SYS_ADMIN in the user namespace that owns it.
//! Which that is cannot be read from the path, so each is tried before the container's user
//! namespace is entered, and those that were refused once more after it.
//!
//! Runs in: bridge and init, before anything else.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};
use crate::plan::namespaces::{Kind, Namespaces};
use crate::sys::{check, process};

/// A namespace that is still to be joined.
pub struct Pending {
    kind: Kind,
    place: String,
    pointer: String,
    file: OwnedFd,
    refused: bool,
}

/// Opens the files of all namespaces to be joined, while the caller's rights and mounts are
/// still the host's.
pub fn open(namespaces: &Namespaces) -> Result<Vec<Pending>> {
    let mut pending = Vec::new();
    for (kind, path) in namespaces.joined() {
        let index = namespaces.list.iter().position(|(k, _)| *k == kind);
        let index = index.unwrap_or_default();
        let pointer = format!("/linux/namespaces/{index}/path");
        let place = format!("linux.namespaces[{index}] ({}, {path})", kind.name());
        let file = check(
            nix::fcntl::open(
                path.as_path(),
                OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK,
                Mode::empty(),
            ),
            "open",
            format_args!("{:?}", path.as_path()),
        )
        .at(&pointer, || place.clone())?;
        pending.push(Pending {
            kind,
            place,
            pointer,
            file,
            refused: false,
        });
    }
    // The mount namespace last: whatever else has a path was opened above, and nothing may be
    // looked up by a path of the host after it.
    pending.sort_by_key(|p| p.kind == Kind::Mount);
    Ok(pending)
}

/// Joins the user namespace, if one is to be joined.
pub fn user(pending: &mut Vec<Pending>) -> Result<()> {
    let Some(index) = pending.iter().position(|p| p.kind == Kind::User) else {
        return Ok(());
    };
    pending.remove(index).enter()
}

/// Joins what can be joined with the present rights; what is refused stays pending.
pub fn try_all(pending: Vec<Pending>) -> Result<Vec<Pending>> {
    let mut left = Vec::new();
    for mut namespace in pending {
        if namespace.kind == Kind::User {
            left.push(namespace);
            continue;
        }
        match namespace.enter_once() {
            Err(Errno::EPERM) => {
                namespace.refused = true;
                left.push(namespace);
            }
            Err(errno) => return Err(namespace.failure(errno)),
            Ok(()) => {}
        }
    }
    Ok(left)
}

/// Joins all that is left; a refusal is final.
pub fn rest(pending: Vec<Pending>) -> Result<()> {
    pending.into_iter().try_for_each(Pending::enter)
}

impl Pending {
    pub fn is_user(&self) -> bool {
        self.kind == Kind::User
    }

    fn enter_once(&self) -> nix::Result<()> {
        process::setns(self.file.as_fd(), self.kind.flag())
    }

    fn enter(self) -> Result<()> {
        self.enter_once().map_err(|errno| self.failure(errno))
    }

    fn failure(&self, errno: Errno) -> Error {
        let flags = process::clone_flags(self.kind.flag());
        let error = Error::syscall("setns", format_args!("FD, {flags}"), errno as i32)
            .with_pointer(&*self.pointer)
            .within(&*self.place);
        match errno {
            Errno::EINVAL if self.kind == Kind::User => error.with_hint(
                "the user namespace is the caller's own already, or the path names a namespace of another kind",
            ),
            Errno::EINVAL => error.with_hint(format!(
                "the path has to name a {} namespace, such as /proc/PID/ns/{}",
                self.kind.name(),
                self.kind.proc_name()
            )),
            Errno::EPERM if self.refused => error.with_hint(
                "neither the caller nor the container's user namespace has CAP_SYS_ADMIN over the owner of this namespace",
            ),
            Errno::EPERM => error.with_hint(
                "joining needs CAP_SYS_ADMIN in the user namespace that owns this namespace: join that one too, or make the namespace as the same user",
            ),
            _ => error,
        }
    }
}
