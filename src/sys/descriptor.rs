//! Descriptors by number: those of the caller, and ranges, close_range(2).

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};

/// Closes every descriptor from `first` on when the next program starts, or now.
///
/// KERNEL(5.11): without close_range(2), or its flag, descriptors are closed by a walk over
/// /proc/self/fd.
pub fn close_from(first: u32, when: Close) -> Result<()> {
    close_between(first, u32::MAX, when)
}

/// Closes every descriptor from `first` on now, but those in `keep`.
///
/// For a cloned process that ends by execve or [`exit_now`](super::process::exit_now): nothing that owns one of the
/// others may be used or dropped any more.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut next = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if fd > next {
            close_between(next, fd - 1, Close::Now)?;
        }
        next = fd + 1;
    }
    close_between(next, u32::MAX, Close::Now)
}

/// Whether descriptor number `fd` is one that the caller left open: those that this process
/// opens are close-on-exec, which none of the caller's can be.
pub fn was_passed(fd: RawFd) -> bool {
    // SAFETY: reading flags touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Opens /dev/null as descriptor number `fd`, close-on-exec, unless that is open. All below it
/// have to be.
pub fn hold_place(fd: RawFd) -> Result<()> {
    // SAFETY: reading flags touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
        return Ok(());
    }
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let null = nix::fcntl::open("/dev/null", flags, Mode::empty())
        .map_err(|errno| Error::syscall("open", "\"/dev/null\"", errno as i32))?;
    // A number alone from now on.
    match null.into_raw_fd() {
        got if got == fd => Ok(()),
        lower => Err(Error::system(format!("descriptor {lower} is not open"))),
    }
}

/// How many descriptors this process may have open, `RLIMIT_NOFILE`.
pub fn limit() -> u32 {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.map_or(u32::MAX, |(soft, _)| {
        u32::try_from(soft).unwrap_or(u32::MAX)
    })
}

/// The number by which another process finds `fd` below /proc/PID/fd.
pub fn number(fd: BorrowedFd<'_>) -> RawFd {
    fd.as_raw_fd()
}

/// Whether descriptor number `fd` can be written to; EBADF: it is not open.
pub fn is_writable(fd: RawFd) -> nix::Result<bool> {
    // SAFETY: reading flags touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    Errno::result(flags).map(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// Writes one zero byte to descriptor number `fd` of the caller's and closes it, as programs
/// say that they are ready.
pub fn announce(fd: RawFd) -> nix::Result<()> {
    // SAFETY: one byte of a live local.
    let written = unsafe { libc::write(fd, [0u8].as_ptr().cast(), 1) };
    let written = Errno::result(written).map(drop);
    // SAFETY: the caller of `rt` gave this descriptor to be used up, and nothing here owns it.
    unsafe { libc::close(fd) };
    written
}

/// When [`close_from`] takes effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Close {
    Now,
    OnExec,
}

/// Both ends are included.
fn close_between(first: u32, last: u32, when: Close) -> Result<()> {
    let flags = match when {
        Close::Now => 0,
        Close::OnExec => libc::CLOSE_RANGE_CLOEXEC,
    };
    // SAFETY: closing descriptors touches no memory. A caller of `Close::Now` uses none of
    // those that it owns in this range any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(_) => close_each_between(first, last, when),
    }
}

fn close_each_between(first: u32, last: u32, when: Close) -> Result<()> {
    let path = "/proc/self/fd";
    let entries = std::fs::read_dir(path).map_err(|e| Error::io("open", path, &e))?;
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd: &RawFd| (first..=last).contains(&(*fd as u32)))
        .collect();
    for fd in open {
        // A failure here is EBADF: the descriptor of the walk itself, closed by now.
        match when {
            // SAFETY: closing touches no memory; see `close_between`.
            Close::Now => drop(unsafe { libc::close(fd) }),
            // SAFETY: setting a flag touches no memory.
            Close::OnExec => drop(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::wait::WaitStatus;

    use super::*;
    use crate::sys::process::{Cloned, clone, exit_now};

    #[test]
    fn a_child_keeps_the_descriptors_that_it_names_and_no_others() {
        let files: Vec<File> = (0..5).map(|_| File::open("/dev/null").unwrap()).collect();
        let keep = [files[3].as_fd(), files[1].as_fd()];
        match clone(0, None).unwrap() {
            Cloned::Child { .. } => {
                let is_closed = close_all_but(3, &keep).is_ok();
                let open = |n: usize| fcntl(files[n].as_fd(), FcntlArg::F_GETFD).is_ok();
                let right = [0, 1, 2, 3, 4].map(open) == [false, true, false, true, false];
                exit_now(i32::from(!(is_closed && right)));
            }
            Cloned::Parent(mut child) => {
                let status = child.wait().unwrap();
                assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
            }
        }
    }
}
