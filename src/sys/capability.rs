//! Capabilities: capget, capset and the prctl calls on the bounding and ambient sets.
//!
//! Capabilities are bit masks here, bit N for capability number N. The `caps` crate knows
//! names; its sets end at the last capability that the crate was written with, and a kernel
//! may be newer, so the calls are made by number.
//!
//! Runs in: init and enter, just before the payload; parent reads alone.

use nix::errno::Errno;

use super::check;
use crate::error::Error;

/// _LINUX_CAPABILITY_VERSION_3, Linux 2.6.26: two words of 32 bits per set.
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`, one half of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const _: () = assert!(size_of::<Header>() == 8 && size_of::<Half>() == 12);

/// The three sets of a thread that capset(2) changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// The calling thread's sets, capget(2).
pub fn get() -> Result<Sets, Error> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut halves = [Half::default(); 2];
    // SAFETY: version 3 makes the kernel write exactly two halves; both pointers are to
    // live locals of that layout.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    check(Errno::result(result), "capget", "0")?;
    let [low, high] = halves;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Replaces the calling thread's sets, capset(2). The kernel takes away from the ambient set
/// what is then no longer both permitted and inheritable.
pub fn set(sets: Sets) -> Result<(), Error> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Half {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read exactly two halves; both pointers are to live
    // locals of that layout.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    let arguments = format_args!(
        "effective={:#x}, permitted={:#x}, inheritable={:#x}",
        sets.effective, sets.permitted, sets.inheritable
    );
    check(Errno::result(result), "capset", arguments).map(drop)
}

/// Takes `capability` from the bounding set for ever. `Ok(false)`: the kernel has no
/// capability of this number. EPERM without CAP_SETPCAP.
pub fn drop_from_bounding_set(capability: u32) -> Result<bool, Error> {
    match prctl(libc::PR_CAPBSET_DROP, capability.into(), 0) {
        Ok(_) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        failed => check(
            failed,
            "prctl",
            format_args!("PR_CAPBSET_DROP, {capability}"),
        )
        .map(|_| true),
    }
}

/// Whether the bounding set has `capability`; None if the kernel has none of this number.
pub fn is_in_bounding_set(capability: u32) -> Option<bool> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0)
        .ok()
        .map(|n| n == 1)
}

/// Makes the permitted set outlive the next change from user 0 to another; execve(2) ends it.
pub fn keep_permitted_over_setuid() -> Result<(), Error> {
    check(
        prctl(libc::PR_SET_KEEPCAPS, 1, 0),
        "prctl",
        "PR_SET_KEEPCAPS, 1",
    )
    .map(drop)
}

/// Empties the ambient set. Linux 4.3.
pub fn clear_ambient_set() -> Result<(), Error> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    check(
        prctl(libc::PR_CAP_AMBIENT, clear, 0),
        "prctl",
        "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL",
    )
    .map(drop)
}

/// Adds `capability`, which has to be permitted and inheritable, to the ambient set.
pub fn raise_ambient(capability: u32) -> Result<(), Error> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
    check(
        prctl(libc::PR_CAP_AMBIENT, raise, capability.into()),
        "prctl",
        format_args!("PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {capability}"),
    )
    .map(drop)
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> nix::Result<i32> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options of this file take numbers alone, no pointers.
    let result = unsafe { libc::prctl(option, first, second, zero, zero) };
    Errno::result(result)
}
