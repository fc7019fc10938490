//! Processes: pidfds, namespaces, prctl(2), execve(2), and signals at their defaults.

use std::ffi::{CStr, CString};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::check;
pub use super::clone::{Cloned, clone, clone_flags};
use crate::error::{Error, Result};

/// A child of this process. Dropped, it is killed and reaped, unless it was released or its
/// end was waited for.
pub struct OwnedProcess {
    pid: Pid,
    pidfd: OwnedFd,
    held: bool,
}

impl OwnedProcess {
    /// Takes over the child `pid`, which nobody has reaped, so that its number is its own.
    pub fn adopt(pid: Pid) -> Result<OwnedProcess> {
        Ok(OwnedProcess::new(pid, pidfd_open(pid)?))
    }

    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> OwnedProcess {
        OwnedProcess {
            pid,
            pidfd,
            held: true,
        }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn kill(&self) {
        // ESRCH is what was wanted.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Waits until it has ended, and reaps it.
    pub fn wait(&mut self) -> Result<WaitStatus> {
        loop {
            let pidfd = self.pidfd.as_fd();
            match nix::sys::wait::waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED) {
                Ok(status) => {
                    self.held = false;
                    return Ok(status);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::syscall("waitid", "P_PIDFD, WEXITED", errno as i32));
                }
            }
        }
    }

    /// Leaves it alone from now on: it goes on, or somebody else has reaped it.
    pub fn release(mut self) {
        self.held = false;
    }
}

impl AsFd for OwnedProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        if self.held {
            self.kill();
            let _ = self.wait();
        }
    }
}

/// A descriptor of the process `pid`, pidfd_open(2), Linux 5.3. ESRCH where it has ended, also
/// where its number is still that of a session or process group: the kernel says EINVAL then.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match Errno::result(result) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
        Err(errno) => Err(Error::syscall(
            "pidfd_open",
            format_args!("{pid}, 0"),
            match errno {
                Errno::EINVAL => libc::ESRCH,
                other => other as i32,
            },
        )),
    }
}

/// Sends signal number `signal` to the process behind `pidfd`; 0 only checks.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed and means that of kill(2).
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// What is said where [`pidfd_send_signal`] to the process `pid` fails.
pub fn not_sent(pid: Pid, signal: i32, errno: Errno) -> Error {
    let arguments = format_args!("{pid}, {}", signal_name(signal));
    Error::syscall("pidfd_send_signal", arguments, errno as i32)
}

/// setns(2): joins the namespace, or with a pidfd (Linux 5.8) all namespaces in `flags`.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> nix::Result<()> {
    // SAFETY: the call takes two integers.
    let result = unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) };
    Errno::result(result).map(drop)
}

/// unshare(2) with `CLONE_NEW*` flags, `CLONE_NEWTIME` among them.
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: the call takes one integer, and none of these flags touches memory.
    let result = unsafe { libc::syscall(libc::SYS_unshare, flags) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| Error::syscall("unshare", clone_flags(flags), errno as i32))
}

/// Makes children that end wait to be reaped. A caller that ignores SIGCHLD hands that down,
/// and the kernel then reaps them itself, with their status (wait(2), NOTES).
pub fn keep_status_of_children() {
    // SAFETY: SIG_DFL installs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Puts all signals at their defaults and unblocks them, so that a program started next
/// behaves as from a login shell. Rust's start-up ignores SIGPIPE, and callers may ignore
/// more; execve(2) would keep that.
pub fn reset_signals() {
    // All zero is SIG_DFL without flags or mask, in the kernel's form of the struct. The C
    // library's call refuses the two signals that it keeps for itself, and its own
    // posix_spawn leaves them ignored in what it starts.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one action from a live local, writes nothing to a null
        // pointer, and the default action runs no code of ours. SIGKILL and SIGSTOP are
        // refused without effect.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Runs `work`, which may use the C library's own ways to start a program, and leaves the signal
/// mask as it was: musl forgets the signals 32 to 34 of a mask that it saves.
pub fn keeping_signal_mask<T>(work: impl FnOnce() -> T) -> T {
    let mask = exchange_signal_mask(None);
    let result = work();
    exchange_signal_mask(Some(mask));
    result
}

/// Sets the signal mask, one bit for each signal, and returns the one before; without one it only
/// returns that. By the kernel's own call, which leaves out none.
pub fn exchange_signal_mask(mask: Option<u64>) -> u64 {
    let new = mask.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut before = 0u64;
    // SAFETY: the kernel reads one mask from a live local or nothing, and writes one to another.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            new,
            &raw mut before,
            size_of::<u64>(),
        )
    };
    before
}

/// Whether processes of the same user may trace this one and look at its files in /proc,
/// `PR_SET_DUMPABLE`. A change of ids, or a program that may not be read, takes that away too.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    let arguments = format_args!("PR_SET_DUMPABLE, {}", i32::from(dumpable));
    check(prctl::set_dumpable(dumpable), "prctl", arguments)
}

/// No later execve(2) of this process or its descendants gives rights, `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privs() -> Result<()> {
    check(prctl::set_no_new_privs(), "prctl", "PR_SET_NO_NEW_PRIVS, 1")
}

/// Makes this process the parent of its descendants' orphans, `PR_SET_CHILD_SUBREAPER`.
pub fn become_subreaper() -> Result<()> {
    check(
        prctl::set_child_subreaper(true),
        "prctl",
        "PR_SET_CHILD_SUBREAPER, 1",
    )
}

/// Has the kernel send SIGKILL when the thread ends that made this process,
/// `PR_SET_PDEATHSIG`. One that has ended before sends none.
pub fn die_with_parent() -> Result<()> {
    check(
        prctl::set_pdeathsig(Signal::SIGKILL),
        "prctl",
        "PR_SET_PDEATHSIG, SIGKILL",
    )
}

/// The name that ps(1) shows, at most 15 bytes, `PR_SET_NAME`.
pub fn set_name(name: &CStr) {
    let _ = prctl::set_name(name);
}

/// Arguments and environment in the form that execve(2) reads.
pub struct Vectors {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Vectors {
    /// The strings have to outlive the vectors, which [`execve`] sees to by its lifetimes.
    fn new(args: &[CString], env: &[CString]) -> Vectors {
        let null = std::iter::once(std::ptr::null());
        Vectors {
            argv: args
                .iter()
                .map(|s| s.as_ptr())
                .chain(null.clone())
                .collect(),
            envp: env.iter().map(|s| s.as_ptr()).chain(null).collect(),
        }
    }
}

/// Replaces the program; returns only what went wrong.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let vectors = Vectors::new(args, env);
    // SAFETY: both vectors end with null and point into `args` and `env`, which are alive.
    unsafe { libc::execve(path.as_ptr(), vectors.argv.as_ptr(), vectors.envp.as_ptr()) };
    Errno::last()
}

/// Replaces the program by the file behind `file`; returns only what went wrong.
pub fn execveat(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Errno {
    let vectors = Vectors::new(args, env);
    // SAFETY: as in `execve`; an empty path with AT_EMPTY_PATH means the descriptor.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            vectors.argv.as_ptr(),
            vectors.envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

/// Ends this process at once: no destructors, no flushing of what the parent holds too.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) does not return and runs nothing.
    unsafe { libc::_exit(status) }
}

/// All signals. Those of C libraries leave out the first realtime ones, musl also number 34,
/// which is SIGRTMIN to most programs.
pub fn every_signal() -> SigSet {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: one set, which is this function's own.
    unsafe { std::ptr::write_bytes(set.as_mut_ptr(), 0xff, 1) };
    // SAFETY: it is plain bits, of which each value is valid and all are written.
    let set = unsafe { set.assume_init() };
    // SAFETY: a set with bits of signals that a C library keeps to itself is one to the kernel.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// The name of a signal, `SIGTERM`, or its number.
pub fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| signal.to_string(), |s| s.as_str().to_owned())
}

/// setdomainname(2): the NIS domain of the present UTS namespace.
pub fn set_domainname(name: &CStr) -> nix::Result<()> {
    // SAFETY: the pointer and the length describe one string.
    let result = unsafe { libc::setdomainname(name.as_ptr(), name.count_bytes()) };
    Errno::result(result).map(drop)
}
