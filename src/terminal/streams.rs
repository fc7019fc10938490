//! The three standard streams of a payload without a terminal of its own.
//!
//! Runs in: init after pivot, and enter; before the change of user.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, lstat, major, minor};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::error::Result;
use crate::log;
use crate::sys::check;

/// Lets `uid` open its streams again (/dev/stdout), and swaps those that are the host's
/// /dev/null for the container's: through /proc/self/fd a payload sees the mount behind one.
///
/// A stream that cannot be given away is left as it is: it may belong to somebody else, and
/// whoever reads and writes it by its descriptor needs no right. So is a device of the host other
/// than a terminal, which its owner could close to all others.
pub fn adapt_streams(uid: u32) -> Result<()> {
    let mut null = None;
    for number in 0..3 {
        let Some(stat) = stat_of(number) else {
            continue;
        };
        if is_null(&stat) {
            if null.is_none() {
                null = open_container_null();
            }
            if let Some(null) = &null {
                replace(number, null)?;
            }
        } else if stat.st_uid != uid && !is_shared_device(number, &stat) {
            match number {
                0 => give_to(stdin(), uid),
                1 => give_to(stdout(), uid),
                _ => give_to(stderr(), uid),
            }
        }
    }
    Ok(())
}

/// Changes the owner and leaves the group, which a mount option may have chosen.
///
/// EPERM and EINVAL: the owner or `uid` is outside of the container's id map. EROFS: a file
/// system that is read-only. The payload may never mind, so none of them ends a start.
pub fn give_to(stream: impl AsFd, uid: u32) {
    if let Err(errno) = fchown(stream, Some(Uid::from_raw(uid)), None) {
        log::debug(|| {
            format!(
                "a standard stream keeps its owner: fchown: {}",
                errno.desc()
            )
        });
    }
}

fn is_shared_device(number: u32, stat: &FileStat) -> bool {
    let kind = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT);
    let is_terminal = || match number {
        0 => stdin().is_terminal(),
        1 => stdout().is_terminal(),
        _ => stderr().is_terminal(),
    };
    kind == SFlag::S_IFBLK || (kind == SFlag::S_IFCHR && !is_terminal())
}

/// None where the stream is not open.
fn stat_of(number: u32) -> Option<FileStat> {
    match number {
        0 => fstat(stdin()),
        1 => fstat(stdout()),
        _ => fstat(stderr()),
    }
    .ok()
}

fn replace(number: u32, by: &OwnedFd) -> Result<()> {
    let result = match number {
        0 => dup2_stdin(by),
        1 => dup2_stdout(by),
        _ => dup2_stderr(by),
    };
    check(result, "dup2", format_args!("\"/dev/null\", {number}"))
}

/// The container's /dev/null, or None where there is none.
///
/// CVE-2025-31133: an image may have put something else there, which is not opened.
fn open_container_null() -> Option<OwnedFd> {
    let found = lstat("/dev/null").and_then(|stat| match is_null(&stat) {
        true => {
            let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
            open("/dev/null", flags, Mode::empty())
        }
        false => Err(Errno::ENODEV),
    });
    let opened = found.and_then(|fd| match fstat(&fd) {
        Ok(stat) if is_null(&stat) => Ok(fd),
        _ => Err(Errno::ENODEV),
    });
    opened
        .inspect_err(|errno| {
            log::debug(|| format!("streams keep the host's /dev/null: {}", errno.desc()));
        })
        .ok()
}

fn is_null(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == SFlag::S_IFCHR.bits()
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}
