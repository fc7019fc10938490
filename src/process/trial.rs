//! trial: a process that is born into the namespaces of a plan and ends at once.
//!
//! What the kernel, a sysctl, a security module or an outer container's seccomp profile has
//! against them is found out by asking, with the call that makes init.
//!
//! Runs in: parent; the child in the new namespaces, for a moment.

use nix::sys::wait::WaitStatus;

use crate::error::{Error, Result};
use crate::plan::namespaces::{Kind, Namespaces};
use crate::sys::process::{self, Cloned};

use super::{bridge, join};

/// Whether the namespaces can be had. Of those to be joined it is known only whether their
/// files can be opened; where there are any, new ones are not tried if they depend on them.
pub fn run(namespaces: &Namespaces) -> Result<()> {
    drop(join::open(namespaces)?);
    if bridge::is_needed(namespaces) {
        return Ok(());
    }
    let new = |kind: &Kind| namespaces.is_new(*kind);
    let flags = Kind::ALL.into_iter().filter(new);
    let flags = flags
        .filter(|kind| *kind != Kind::Time)
        .fold(0, |flags, kind| flags | kind.flag());
    match process::clone(flags, None)? {
        Cloned::Child { .. } => {
            let errno = match process::unshare(wanted_of_init(namespaces)) {
                Ok(()) => 0,
                Err(error) => error.errno().unwrap_or(libc::EIO),
            };
            process::exit_now(u8::try_from(errno).unwrap_or(u8::MAX).into())
        }
        Cloned::Parent(mut child) => match child.wait()? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => {
                let flags = process::clone_flags(wanted_of_init(namespaces));
                Err(Error::syscall("unshare", flags, errno))
            }
            status => Err(Error::system(format!("trial: it ended as {status:?}"))),
        },
    }
}

/// What init has to make itself. In a new user namespace one more, to see that the capabilities
/// there are not taken away again, as AppArmor does on Ubuntu.
fn wanted_of_init(namespaces: &Namespaces) -> u64 {
    let time = match namespaces.is_new(Kind::Time) {
        true => Kind::Time.flag(),
        false => 0,
    };
    let proof = match namespaces.is_new(Kind::User) {
        true => Kind::Uts.flag(),
        false => 0,
    };
    time | proof
}
