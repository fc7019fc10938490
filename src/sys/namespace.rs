//! What the kernel tells of a namespace, ioctl_ns(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// The user namespace that owns the one whose file is open at `namespace`: `NS_GET_USERNS`,
/// Linux 4.9. EPERM: it lies outside of what the caller can see.
pub fn owner(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    ask(namespace, NS_GET_USERNS)
}

/// The user namespace in which the one that is open at `namespace` was made: `NS_GET_PARENT`,
/// Linux 4.9. EPERM: as above.
pub fn parent(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    ask(namespace, NS_GET_PARENT)
}

fn ask(namespace: BorrowedFd<'_>, request: libc::Ioctl) -> nix::Result<OwnedFd> {
    // SAFETY: neither request takes an argument.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), request) };
    let fd: RawFd = Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
