//! The kernel: every system call that `std` and `nix` lack, and all of the unsafe code.
//!
//! A failed call becomes an [`Error`] that prints the call with its arguments as strace
//! would. Nothing here decides anything.
//!
//! Runs in: every process.

#![allow(unsafe_code, reason = "the one place for it")]

pub mod bpf;
pub mod capability;
mod clone;
pub mod descriptor;
pub mod early;
pub mod entry;
pub mod file;
pub mod keyring;
pub mod limits;
pub mod memory;
pub mod metadata;
pub mod mount;
mod mount_attributes;
pub mod namespace;
pub mod net;
pub mod netlink;
pub mod pattern;
pub mod process;
pub mod procfs;
pub mod program;
pub mod schedule;
pub mod seccomp;
pub mod socket;
pub mod terminal;
pub mod words;

use std::fmt;

use nix::errno::Errno;

use crate::error::Error;

/// Turns the errno of `result` into an error that prints `call(arguments)`.
pub fn check<T>(
    result: nix::Result<T>,
    call: &str,
    arguments: impl fmt::Display,
) -> Result<T, Error> {
    result.map_err(|errno| Error::syscall(call, arguments, errno as i32))
}

/// Whether the kernel, or the seccomp profile of an outer container, does not know a call.
///
/// KERNEL: old profiles answer EPERM to calls that are newer than they are, so for a call
/// with a fallback that EPERM means the same as ENOSYS.
pub fn is_missing_call(errno: Errno) -> bool {
    matches!(errno, Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP)
}
