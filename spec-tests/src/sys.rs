//! System calls that neither std nor nix has; the only unsafe code of the suite.
//!
//! Runs in: the suite and the probe.

mod profile;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid};

pub use profile::refuse_calls;

/// Forks; the caller must have one thread only.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: the suite never starts a thread, so the child finds every lock free.
    unsafe { nix::unistd::fork() }
}

/// A descriptor that stands for this process and no later one of the same pid (pidfd_open(2), Linux 5.3).
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to exactly the process behind the descriptor (pidfd_send_signal(2), Linux 5.1).
pub fn pidfd_kill(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed; the descriptor is open for the length of the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether the descriptor became readable (a pidfd: ended) before the deadline.
pub fn readable_before(fd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(nix::Error::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Gives the child `fd` under the number `number`, open across execve.
pub fn give_fd(command: &mut Command, fd: OwnedFd, number: RawFd) {
    let install = move || {
        let done = if fd.as_raw_fd() == number {
            // SAFETY: it takes integers only and is async-signal-safe.
            unsafe { libc::fcntl(number, libc::F_SETFD, 0) }
        } else {
            // SAFETY: as above.
            unsafe { libc::dup2(fd.as_raw_fd(), number) }
        };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure makes one async-signal-safe call and allocates nothing.
    unsafe { command.pre_exec(install) };
}

/// Makes the child a session leader with `terminal` (its descriptor 0) as controlling terminal.
pub fn own_terminal(command: &mut Command) {
    let install = || {
        // SAFETY: setsid takes nothing; it is async-signal-safe.
        if unsafe { libc::setsid() } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: TIOCSCTTY takes an integer argument.
        if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure makes async-signal-safe calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD reads one flag of a number that may be closed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: isatty only looks at the descriptor, which may be closed.
    unsafe { libc::isatty(fd) == 1 }
}

/// Reads once from a descriptor that was inherited.
pub fn read_fd(fd: RawFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0u8; 4096];
    // SAFETY: the kernel writes at most `buffer.len()` bytes into the buffer.
    let got = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(got);
    Ok(buffer)
}

pub fn write_fd(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads `bytes.len()` bytes that live through the call.
    let done = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The size of a terminal (ioctl_tty(2)).
pub fn window_size(fd: BorrowedFd<'_>) -> io::Result<libc::winsize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ fills the one struct that is passed.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(size)
    }
}

pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads the one struct that is passed.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Waits for one signal of the set; ETIMEDOUT when none came.
pub fn next_signal(set: &SigSet, within: Duration) -> io::Result<i32> {
    let timeout = libc::timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(within.subsec_nanos()),
    };
    // SAFETY: the set and the timespec live through the call; a null siginfo is allowed.
    let signal =
        unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const timeout) };
    match signal {
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN) => {
            Err(io::Error::from_raw_os_error(libc::ETIMEDOUT))
        }
        -1 => Err(io::Error::last_os_error()),
        signal => Ok(signal),
    }
}

/// Nanoseconds of a clock (clock_gettime(2)).
pub fn clock_ns(clock: i32) -> io::Result<i64> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel fills the one struct that is passed.
    let done = unsafe { libc::clock_gettime(clock, &raw mut now) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }
}

/// Tries to take the read-only flag off the mount that the descriptor lies on (mount_setattr(2), Linux 5.12).
pub fn clear_read_only(fd: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const _: () = assert!(size_of::<Attributes>() == 32);
    let attributes = Attributes {
        set: 0,
        clear: libc::MOUNT_ATTR_RDONLY,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string and the kernel reads the 32 bytes whose size is passed.
    let done = unsafe {
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            32,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes a stream socket and closes it.
pub fn socket(family: i32) -> io::Result<()> {
    // SAFETY: the call takes integers only.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Maps so many huge pages of 2 MiB, writes to each, and unmaps them.
pub fn map_huge_pages(count: usize) -> io::Result<()> {
    const PAGE: usize = 2 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: without MAP_FIXED the kernel chooses addresses that nothing of ours is at.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), count * PAGE, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for page in 0..count {
        let place = start.cast::<u8>().wrapping_add(page * PAGE);
        // SAFETY: the address is in the mapping, which is ours and writable.
        unsafe { place.write_volatile(1) };
    }
    // SAFETY: the mapping is ours and nothing refers to it any more.
    if unsafe { libc::munmap(start, count * PAGE) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Any system call. No argument may be the address of something.
pub fn call(number: i64, args: [u64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: without addresses the kernel writes to no memory of this process.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}

/// Joins a session keyring of this name, made where there is none, and opens it to everybody; its number.
pub fn public_keyring(name: &str) -> io::Result<i64> {
    const ALL_TO_ALL: u64 = 0x3f3f_3f3f;
    let name = std::ffi::CString::new(name)?;
    let join = i64::from(libc::KEYCTL_JOIN_SESSION_KEYRING) as u64;
    // SAFETY: the name is a C string, which the kernel reads.
    let number = unsafe { libc::syscall(libc::SYS_keyctl, join, name.as_ptr()) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    let permit = i64::from(libc::KEYCTL_SETPERM) as u64;
    call(
        libc::SYS_keyctl,
        [permit, number as u64, ALL_TO_ALL, 0, 0, 0],
    )?;
    Ok(number)
}

/// A call that a seccomp filter has handed to its listener.
pub struct Notice {
    id: u64,
    /// The number of the system call.
    pub call: i32,
    /// Who made it, as the receiver's pid namespace names it.
    pub pid: u32,
}

/// The next call that the filter behind the listener hands over (seccomp_unotify(2), Linux 5.0).
pub fn receive_notice(listener: BorrowedFd<'_>) -> io::Result<Notice> {
    // SAFETY: all zero is a valid value of this plain struct, and the one that the kernel wants.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the one struct that is passed.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV as _,
            &raw mut notice,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(Notice {
            id: notice.id,
            call: notice.data.nr,
            pid: notice.pid,
        })
    }
}

/// Makes the call fail with this errno, or go on where it is 0 (SECCOMP_USER_NOTIF_FLAG_CONTINUE, Linux 5.5).
pub fn answer_notice(listener: BorrowedFd<'_>, notice: &Notice, errno: i32) -> io::Result<()> {
    const CONTINUE: u32 = 1;
    let flags = if errno == 0 { CONTINUE } else { 0 };
    let mut answer = libc::seccomp_notif_resp {
        id: notice.id,
        val: 0,
        error: -errno,
        flags,
    };
    // SAFETY: the kernel reads the one struct that is passed.
    let done = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND as _,
            &raw mut answer,
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

pub fn personality() -> i32 {
    // SAFETY: 0xffffffff asks for the present value and changes nothing.
    unsafe { libc::personality(0xffff_ffff) }
}

/// The process's I/O priority, class << 13 | level (ioprio_get(2)); -1 when the kernel refuses.
pub fn io_priority() -> i32 {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: the call takes two integers.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    i32::try_from(value).unwrap_or(-1)
}

/// Policy and nice value (sched_getattr(2)).
pub fn scheduler() -> (u32, i32) {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        rest: [u32; 7],
    }
    const _: () = assert!(size_of::<Attributes>() == 48);
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes at most the 48 bytes whose size is passed.
    unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, 48, 0) };
    (attributes.policy, attributes.nice)
}

/// IB_USER_VERBS_CMD_GET_CONTEXT (the kernel's include/uapi/rdma/ib_user_verbs.h): the first command to an RDMA device.
pub fn open_verbs_context(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut response = [0u32; 2];
    // Its number, 0, the lengths of itself and of the response in words of four bytes, and where that goes.
    let command: [u64; 2] = [4 << 32 | 2 << 48, (&raw mut response) as u64];
    // SAFETY: the kernel reads 16 bytes, and writes 8 to the response, which lives through the call.
    let written = unsafe { libc::write(device.as_raw_fd(), command.as_ptr().cast(), 16) };
    Ok(nix::errno::Errno::result(written).map(drop)?)
}
