//! Terminals: the container's own pseudo-terminal, and the caller's in the foreground.
//!
//! Owns how a pair is opened and how its master leaves the container. The pair comes from the
//! devpts of the container, so that /dev/pts/N inside names what the payload has.
//!
//! CVE-2025-52565: /dev/pts/N is never opened by its path. The folder has to be devpts, the
//! master is an entry of it, and the slave comes from the master by ioctl.
//!
//! Runs in: init before pivot, enter (a new pair); parent ([`send_to_console_socket`],
//! [`Foreground`]); init and enter after pivot ([`adapt_streams`]).

mod foreground;
mod streams;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Result};
use crate::sys::{check, file, socket, terminal};

pub use foreground::Foreground;
pub use streams::adapt_streams;

/// Character device 5:2, /dev/ptmx and devpts' ptmx.
const PTMX: (u64, u64) = (5, 2);
/// UNIX98_PTY_SLAVE_MAJOR of linux/major.h.
const SLAVE_MAJOR: u64 = 136;

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a pair in the devpts at /dev/pts beneath `root`, of `size` (columns, rows) where one
/// is given, the slave owned by `uid`. The group stays as the mount's `gid=` option has it.
pub fn open_pty(root: BorrowedFd, size: Option<(u16, u16)>, uid: u32) -> Result<Pty> {
    let directory = open_devpts(root)?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = file::open_entry(directory.as_fd(), c"ptmx", flags)?;
    require(&master, "ptmx", |device| device == PTMX)?;
    terminal::unlock(master.as_fd())?;
    let number = u64::from(terminal::number(master.as_fd())?);
    let slave = terminal::open_peer(master.as_fd())?;
    require(&slave, "the slave", |device| {
        device == (SLAVE_MAJOR, number)
    })?;
    if let Some(size) = size {
        terminal::set_size(master.as_fd(), size)?;
    }
    streams::give_to(&slave, uid);
    Ok(Pty { master, slave })
}

/// Opens /dev/pts without following a symbolic link, and makes sure that it is devpts.
fn open_devpts(root: BorrowedFd) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let missing = |e: Error| match e.errno().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => e.with_hint(DEVPTS_HINT),
        _ => e,
    };
    let dev = file::open_entry(root, c"dev", flags).map_err(missing)?;
    let directory = file::open_entry(dev.as_fd(), c"pts", flags).map_err(missing)?;
    if is_devpts(&directory)? {
        Ok(directory)
    } else {
        Err(Error::system("/dev/pts of the container is not devpts").with_hint(DEVPTS_HINT))
    }
}

const DEVPTS_HINT: &str =
    "process.terminal takes a mount of type devpts with the destination /dev/pts in config.json";

/// Makes sure that `fd` is a device of devpts with a number that `fits`, whatever has been
/// mounted over its path.
fn require(fd: &OwnedFd, what: &str, fits: impl FnOnce((u64, u64)) -> bool) -> Result<()> {
    let stat = check(fstat(fd), "fstat", what)?;
    let is_character = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == SFlag::S_IFCHR;
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    if is_character && fits(device) && is_devpts(fd)? {
        return Ok(());
    }
    Err(Error::system(format!(
        "{what} in the container's /dev/pts is no device of devpts (it is {}:{})",
        device.0, device.1
    )))
}

fn is_devpts(fd: &OwnedFd) -> Result<bool> {
    let system = check(fstatfs(fd), "fstatfs", "/dev/pts")?;
    Ok(system.filesystem_type() == DEVPTS_SUPER_MAGIC)
}

/// Makes `slave` the controlling terminal of this session leader (setsid(2) comes before) and
/// its three standard streams.
pub fn make_controlling(slave: OwnedFd) -> Result<()> {
    terminal::make_controlling(slave.as_fd())?;
    // Rust's start-up leaves no stream closed, so `slave` itself is none of the three.
    check(dup2_stdin(&slave), "dup2", "slave, 0")?;
    check(dup2_stdout(&slave), "dup2", "slave, 1")?;
    check(dup2_stderr(&slave), "dup2", "slave, 2")
}

/// Hands `master` to whoever listens on the unix stream socket at `path`, in one message with
/// a name as payload, as runc does: conmon and go-runc read exactly one.
pub fn send_to_console_socket(path: &Path, master: BorrowedFd) -> Result<()> {
    let socket = socket::connect_stream(path).map_err(|e| e.within("--console-socket"))?;
    let sent = socket::send(socket.as_fd(), b"/dev/ptmx", Some(master));
    check(
        sent,
        "sendmsg",
        format_args!("{path:?}, \"/dev/ptmx\", SCM_RIGHTS"),
    )
    .map_err(|e| e.within("--console-socket"))
}
