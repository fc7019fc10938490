//! How the kernel runs a process: sched_setattr, sched_setaffinity, ioprio_set, set_mempolicy,
//! personality.
//!
//! Runs in: init and enter; all of it survives execve(2).

use nix::errno::Errno;

use super::check;
use crate::error::Error;

/// `struct sched_attr` as of Linux 3.14 (SCHED_ATTR_SIZE_VER0).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime_ns: u64,
    pub deadline_ns: u64,
    pub period_ns: u64,
}

pub const SCHED_ATTR_SIZE: u32 = 48;
const _: () = assert!(size_of::<SchedAttr>() == SCHED_ATTR_SIZE as usize);

/// Sets policy and priority of the calling thread, sched_setattr(2).
pub fn set_scheduler(attr: &SchedAttr) -> Result<(), Error> {
    let attr_pointer: *const SchedAttr = attr;
    // SAFETY: pid 0 is the caller; the kernel reads `attr.size` bytes, which is the size of
    // the struct (asserted above), from a live reference.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, attr_pointer, 0) };
    check(
        Errno::result(result),
        "sched_setattr",
        format_args!(
            "policy={}, flags={:#x}, nice={}, priority={}, runtime={}, deadline={}, period={}",
            attr.policy,
            attr.flags,
            attr.nice,
            attr.priority,
            attr.runtime_ns,
            attr.deadline_ns,
            attr.period_ns
        ),
    )
    .map(drop)
}

/// Restricts the calling thread to `cpus`, however many the machine has.
pub fn set_affinity(cpus: &[usize]) -> Result<(), Error> {
    let bits = u64::BITS as usize;
    let words = cpus.iter().max().map_or(1, |last| last / bits + 1);
    let mut mask = vec![0_u64; words];
    for cpu in cpus {
        mask[cpu / bits] |= 1 << (cpu % bits);
    }
    let arguments = format_args!("0, {cpus:?}");
    check(set_affinity_mask(&mask), "sched_setaffinity", arguments).map(drop)
}

/// Lets the calling thread run on all CPUs of its cpuset.
pub fn reset_affinity() -> Result<(), Error> {
    /// As many as the kernel can be built for; it takes the first ones of a longer mask.
    const MOST_CPUS: usize = 8192;
    let mask = [u64::MAX; MOST_CPUS / u64::BITS as usize];
    check(set_affinity_mask(&mask), "sched_setaffinity", "0, all").map(drop)
}

fn set_affinity_mask(mask: &[u64]) -> nix::Result<libc::c_long> {
    // SAFETY: pid 0 is the caller; the kernel reads the mask's bytes from a live buffer.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(mask),
            mask.as_ptr(),
        )
    })
}

/// Sets class and priority (class << 13 | priority) of the calling thread's I/O.
pub fn set_io_priority(priority: u32) -> Result<(), Error> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: the call takes numbers alone; id 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    let arguments = format_args!("IOPRIO_WHO_PROCESS, 0, {priority:#x}");
    check(Errno::result(result), "ioprio_set", arguments).map(drop)
}

/// Sets the calling thread's NUMA policy: `MPOL_*` with flags, bit N of `nodes` for node N.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> Result<(), Error> {
    // The kernel takes one bit less than it is told, set_mempolicy(2), BUGS of old.
    let (pointer, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), size_of_val(nodes) * 8 + 1),
    };
    // SAFETY: the kernel reads `bits - 1` bits of the live slice, or nothing for a null
    // pointer and no bits.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    let arguments = format_args!("{mode:#x}, {nodes:x?}");
    check(Errno::result(result), "set_mempolicy", arguments).map(drop)
}

/// Sets the execution domain of the calling process, personality(2).
pub fn set_personality(persona: u64) -> Result<(), Error> {
    // SAFETY: the call takes a number alone.
    let result = unsafe { libc::personality(persona as libc::c_ulong) };
    check(
        Errno::result(result),
        "personality",
        format_args!("{persona:#x}"),
    )
    .map(drop)
}

/// Whether the running kernel has memory policies (CONFIG_NUMA): get_mempolicy(2) of this
/// process, of which nothing is wanted.
pub fn has_memory_policies() -> bool {
    // SAFETY: with null pointers and no flags the kernel writes nothing.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            std::ptr::null_mut::<i32>(),
            std::ptr::null_mut::<u64>(),
            0_u64,
            std::ptr::null_mut::<u8>(),
            0_u64,
        )
    };
    answer == 0
}
