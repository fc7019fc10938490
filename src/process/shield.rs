//! Keeps the host's `rt` out of a container's reach (CVE-2019-5736).
//!
//! A payload that can name this process's /proc/PID/exe can open the file behind it, and
//! write to it once no process runs it any more: the next container then runs what it wrote.
//! So where the caller could write to the binary, and with it perhaps the container's root,
//! `create`, `run`, `exec` and `restore` start themselves again from a copy that nobody can
//! write to: a detached read-only mount of the same file, which costs three system calls, or
//! where that is not allowed a sealed copy in memory.
//!
//! On x86_64 the question is asked, and the first of the two ways gone, before the C library has
//! started, by `sys::early`, which costs half a millisecond less; what is here is for all that it
//! leaves.
//!
//! Runs in: parent, first of all, with one thread and no descriptor but the caller's.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, SealFlag};
use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use crate::error::{Context, Error, Result};
use crate::sys::{check, early, entry, file, memory, mount, process};

const OWN_BINARY: &str = "/proc/self/exe";

/// Starts this program again from an unwritable copy, unless it is one already, or is out of
/// the caller's reach.
pub fn raise() -> Result<()> {
    // A test that calls a verb would start all tests again, from a copy without a path.
    if cfg!(test) || early::is_out_of_reach() || !is_writable()? {
        return Ok(());
    }
    let copy = match read_only_mount() {
        Ok(copy) => copy,
        Err(_) => sealed_copy()?,
    };
    let strings = |all: Vec<std::ffi::OsString>| -> Vec<CString> {
        // What came in through execve(2) holds no NUL.
        all.into_iter()
            .filter_map(|s| CString::new(s.into_vec()).ok())
            .collect()
    };
    let args = strings(entry::arguments());
    let env = strings(
        std::env::vars_os()
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                name
            })
            .collect(),
    );
    let errno = process::execveat(copy.as_fd(), &args, &env);
    Err(Error::syscall(
        "execveat",
        format_args!("copy of {OWN_BINARY}, AT_EMPTY_PATH"),
        errno as i32,
    ))
    .context(|| "a copy of the runtime that the container cannot write to")
}

/// Whether the caller could write to the file that this process runs.
fn is_writable() -> Result<bool> {
    match file::check_access(AT_FDCWD, OWN_BINARY, AccessFlags::W_OK) {
        Err(Errno::EACCES | Errno::EROFS | Errno::EPERM) => return Ok(false),
        Err(Errno::ENOENT) => {
            return Err(Error::system("/proc is not mounted, and rt needs it"));
        }
        _ => {}
    }
    // A copy in memory belongs to the caller, so only its seals tell.
    let file = check(
        nix::fcntl::open(
            OWN_BINARY,
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ),
        "open",
        OWN_BINARY,
    )?;
    let seals = nix::fcntl::fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(seals & SealFlag::F_SEAL_WRITE.bits() == 0)
}

/// A clone of the mount that holds the binary, read-only and attached nowhere.
///
/// KERNEL(5.12): without open_tree(2), mount_setattr(2) or CAP_SYS_ADMIN the binary is run from
/// a sealed copy in memory.
fn read_only_mount() -> Result<OwnedFd> {
    let copy = mount::open_tree(mount::Place::Host(Path::new(OWN_BINARY)), 0)?;
    let read_only = mount::Attributes {
        set: libc::MOUNT_ATTR_RDONLY,
        ..mount::Attributes::default()
    };
    mount::mount_setattr(copy.as_fd(), 0, read_only)?;
    Ok(copy)
}

fn explain_refused_copy(error: Error) -> Error {
    match error.is(Errno::EACCES) {
        true => error.with_hint(
            "the sysctl vm.memfd_noexec=2 forbids programs in memory: give the binary of rt to root, so that the caller cannot write to it and no copy is needed",
        ),
        false => error,
    }
}

fn sealed_copy() -> Result<OwnedFd> {
    let mut from =
        std::fs::File::open(OWN_BINARY).map_err(|e| Error::io("open", OWN_BINARY, &e))?;
    let mut to = memory::executable_file(c"rt").map_err(explain_refused_copy)?;
    std::io::copy(&mut from, &mut to).map_err(|e| Error::io("write", OWN_BINARY, &e))?;
    let copy = OwnedFd::from(to);
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    check(
        nix::fcntl::fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)),
        "fcntl",
        "F_ADD_SEALS",
    )?;
    Ok(copy)
}
