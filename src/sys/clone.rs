//! New processes: clone3(2), and clone(2) where that is missing.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::OwnedProcess;
use crate::error::{Error, Result};

/// `struct clone_args` of clone3(2), Linux 5.7 (with `cgroup`).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88);

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The two sides of a clone.
pub enum Cloned {
    /// This is the new process.
    Child { in_cgroup: bool },
    /// This is the old one. `in_cgroup` tells whether the child was born in the cgroup.
    Parent(OwnedProcess),
}

/// Makes a process that shares nothing with this one but what it inherits, as fork(2) does,
/// in the new namespaces that `flags` name (`CLONE_NEW*`, `CLONE_PARENT`), and inside
/// `cgroup` where one is given and the kernel can.
///
/// KERNEL(5.7): without `CLONE_INTO_CGROUP`, or without clone3(2), the child is made outside
/// of the cgroup, and `in_cgroup` is false. It then also lacks the new cgroup namespace that
/// `flags` may ask for, whose root has to be the cgroup: that is left to the child.
pub fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        // With CLONE_PARENT the child takes over the exit signal of its sibling.
        exit_signal: if flags & libc::CLONE_PARENT as u64 == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    let mut in_cgroup = false;
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
        in_cgroup = true;
    }
    let mut result = clone3(&args);
    if cgroup.is_some() && matches!(result, Err(Errno::E2BIG | Errno::EINVAL)) {
        args.flags &= !(CLONE_INTO_CGROUP | libc::CLONE_NEWCGROUP as u64);
        args.cgroup = 0;
        in_cgroup = false;
        result = clone3(&args);
    }
    // EPERM also of a seccomp profile that is older than clone3(2); one of the kernel's comes again.
    if matches!(result, Err(Errno::ENOSYS | Errno::EPERM)) {
        let mut flags = flags;
        if in_cgroup {
            flags &= !(libc::CLONE_NEWCGROUP as u64);
            in_cgroup = false;
        }
        result = legacy_clone(flags, &mut pidfd);
    }
    match result {
        Ok(0) => Ok(Cloned::Child { in_cgroup }),
        Ok(pid) if pidfd < 0 => Err(end_without_pidfd(Pid::from_raw(pid))),
        Ok(pid) => {
            // SAFETY: the kernel has stored a new descriptor in `pidfd`, and nobody else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(OwnedProcess::new(Pid::from_raw(pid), pidfd)))
        }
        Err(errno) => Err(Error::syscall(
            "clone3",
            format_args!("{}", clone_flags(args.flags)),
            errno as i32,
        )),
    }
}

/// What clone(2) gives where CLONE_PIDFD is still a flag that it passes over, before Linux 5.2:
/// a child that cannot be held. It is ended.
fn end_without_pidfd(child: Pid) -> Error {
    let _ = nix::sys::signal::kill(child, Signal::SIGKILL);
    let _ = nix::sys::wait::waitpid(child, None);
    Error::unsupported("clone(CLONE_PIDFD): this kernel is older than Linux 5.2 and has no pidfds")
}

fn clone3(args: &CloneArgs) -> nix::Result<i32> {
    // SAFETY: `args` is a valid clone_args of the size given, whose one pointer is that to the
    // descriptor, a live local of the caller's. Neither CLONE_VM nor a stack is
    // asked for, so the child runs on a copy of this memory; the process has one thread, so
    // no lock is held by a thread that the child does not have.
    let result = unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) };
    Errno::result(result).map(|pid| pid as i32)
}

fn legacy_clone(flags: u64, pidfd: &mut RawFd) -> nix::Result<i32> {
    let mut flags = flags | libc::CLONE_PIDFD as u64;
    if flags & libc::CLONE_PARENT as u64 == 0 {
        flags |= libc::SIGCHLD as u64;
    }
    // SAFETY: as in `clone3`; clone(2) with CLONE_PIDFD stores the pidfd where its third
    // argument points, and a null stack means that of the caller, copied.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            std::ptr::null::<u8>(),
            std::ptr::from_mut(pidfd),
            std::ptr::null::<u8>(),
            0,
        )
    };
    Errno::result(result).map(|pid| pid as i32)
}

/// The `CLONE_*` names in `flags`, as strace prints them.
pub fn clone_flags(flags: u64) -> String {
    const NAMES: [(u64, &str); 11] = [
        (libc::CLONE_NEWUSER as u64, "CLONE_NEWUSER"),
        (libc::CLONE_NEWNS as u64, "CLONE_NEWNS"),
        (libc::CLONE_NEWPID as u64, "CLONE_NEWPID"),
        (libc::CLONE_NEWNET as u64, "CLONE_NEWNET"),
        (libc::CLONE_NEWIPC as u64, "CLONE_NEWIPC"),
        (libc::CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
        (libc::CLONE_NEWCGROUP as u64, "CLONE_NEWCGROUP"),
        (0x80, "CLONE_NEWTIME"),
        (libc::CLONE_PARENT as u64, "CLONE_PARENT"),
        (libc::CLONE_PIDFD as u64, "CLONE_PIDFD"),
        (CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP"),
    ];
    let names: Vec<&str> = NAMES
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        "0".to_owned()
    } else {
        names.join("|")
    }
}
