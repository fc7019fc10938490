//! Pseudo-terminals: the ioctls of pty(7) and tty_ioctl(4) that nix lacks.
//!
//! Runs in: init and enter (a new pair); parent (sizes).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::check;
use crate::error::Error;

/// Lets the slave of `master` be opened, `TIOCSPTLCK`.
pub fn unlock(master: BorrowedFd) -> Result<(), Error> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads one int from a live local.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    check(Errno::result(result), "ioctl", "ptmx, TIOCSPTLCK, 0").map(drop)
}

/// N of the /dev/pts/N that belongs to `master`, `TIOCGPTN`.
pub fn number(master: BorrowedFd) -> Result<u32, Error> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes one unsigned int to a live local.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(Errno::result(result), "ioctl", "ptmx, TIOCGPTN").map(|_| number)
}

/// Opens the slave of `master` without its path, `TIOCGPTPEER`, Linux 4.13.
pub fn open_peer(master: BorrowedFd) -> Result<OwnedFd, Error> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is a number, the flags of open(2).
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let arguments = "ptmx, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC";
    let fd = check(Errno::result(result), "ioctl", arguments)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Columns and rows of `terminal`, `TIOCGWINSZ`. ENOTTY: it is none.
pub fn size(terminal: BorrowedFd) -> Result<(u16, u16), Error> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel writes one winsize to a live local.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(Errno::result(result), "ioctl", "TIOCGWINSZ").map(|_| (size.ws_col, size.ws_row))
}

/// Sets columns and rows of `terminal`, `TIOCSWINSZ`; its foreground process group gets
/// SIGWINCH where they change.
pub fn set_size(terminal: BorrowedFd, (columns, rows): (u16, u16)) -> Result<(), Error> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel reads one winsize from a live local.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    let arguments = format_args!("TIOCSWINSZ, {{{rows}, {columns}}}");
    check(Errno::result(result), "ioctl", arguments).map(drop)
}

/// Makes `terminal` the controlling terminal of the calling session leader, `TIOCSCTTY`,
/// unless another session has it (EPERM).
pub fn make_controlling(terminal: BorrowedFd) -> Result<(), Error> {
    // SAFETY: the argument is a number.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(Errno::result(result), "ioctl", "TIOCSCTTY, 0").map(drop)
}
