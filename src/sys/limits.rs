//! Resource limits: prlimit(2).
//!
//! Runs in: init and enter; parent.

use nix::errno::Errno;

use super::check;
use crate::error::Error;

/// The number of the limit of descriptors; the C libraries differ in its type.
#[allow(clippy::unnecessary_cast, reason = "musl's type is signed")]
pub const NOFILE: u32 = libc::RLIMIT_NOFILE as u32;

/// Soft and hard value of one limit; `u64::MAX` is RLIM_INFINITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// The calling process's limit for `resource`, a number of `RLIMIT_*`.
pub fn get(resource: u32, name: &str) -> Result<Limit, Error> {
    let mut now = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: pid 0 is the caller; the kernel reads nothing from a null pointer and writes
    // one rlimit64 to a live local.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut now) };
    check(Errno::result(result), "prlimit", name)?;
    Ok(Limit {
        soft: now.rlim_cur,
        hard: now.rlim_max,
    })
}

/// Sets the calling process's limit. EPERM to raise the hard one without CAP_SYS_RESOURCE in
/// the first user namespace; EINVAL where soft is above hard.
pub fn set(resource: u32, name: &str, limit: Limit) -> Result<(), Error> {
    let wanted = libc::rlimit64 {
        rlim_cur: limit.soft,
        rlim_max: limit.hard,
    };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: pid 0 is the caller; the kernel reads one rlimit64 from a live local and writes
    // nothing to a null pointer.
    let result =
        unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const wanted, none) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| set_failed(name, limit, errno))
}

/// What [`set`] says when the kernel answers `errno`.
pub fn set_failed(name: &str, limit: Limit, errno: Errno) -> Error {
    let arguments = format_args!("{name}, soft={}, hard={}", limit.soft, limit.hard);
    Error::syscall("prlimit", arguments, errno as i32)
}
