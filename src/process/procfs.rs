//! The host's /proc as a directory descriptor, for every write to it.
//!
//! What lies at /proc inside a container is the container's to replace (CVE-2019-16884,
//! CVE-2025-52881), so a file of /proc is never opened by a path there. The host's own procfs
//! is opened once before any namespace is entered. Its `self` and `sys` mean the process that
//! asks and the namespaces of that process, so it serves inside as well. Beneath it no mount
//! is crossed ([`crate::sys::procfs`]).
//!
//! Runs in: init, enter.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::sys::{check, procfs};

pub struct Procfs {
    root: OwnedFd,
    /// `/proc/PID` of this process, as the host counts.
    own: OwnedFd,
}

impl Procfs {
    /// Opens the host's /proc and refuses anything else that lies there.
    pub fn open() -> Result<Procfs> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = check(
            nix::fcntl::open("/proc", flags, Mode::empty()),
            "open",
            "\"/proc\", O_PATH",
        )?;
        let kind = check(nix::sys::statfs::fstatfs(&root), "fstatfs", "\"/proc\"")?;
        if kind.filesystem_type() != nix::sys::statfs::PROC_SUPER_MAGIC {
            return Err(Error::system("/proc of the host is no procfs"));
        }
        let own = open_own(&root)?;
        Ok(Procfs { root, own })
    }

    /// `/proc/self`.
    pub fn own(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    /// The whole of /proc/self/`path`.
    pub fn read_own(&self, path: &str) -> Result<String> {
        let file = procfs::open(self.own.as_fd(), path, OFlag::O_RDONLY)?;
        std::io::read_to_string(std::fs::File::from(file))
            .map_err(|e| Error::io("read", format!("/proc/self/{path}"), &e))
    }

    /// A namespace of this process, /proc/self/ns/`name`.
    pub fn own_namespace(&self, name: &str) -> Result<OwnedFd> {
        let path = format!("ns/{name}");
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        check(
            nix::fcntl::openat(&self.own, path.as_str(), flags, Mode::empty()),
            "openat",
            format_args!("\"/proc/self/{path}\""),
        )
    }

    /// Writes `value` to /proc/`path` in one call.
    pub fn write(&self, path: &str, value: &str) -> Result<()> {
        procfs::write(self.root.as_fd(), path, value.as_bytes())
    }

    /// Writes `value` to /proc/self/`path` in one call.
    pub fn write_own(&self, path: &str, value: &str) -> Result<()> {
        procfs::write(self.own.as_fd(), path, value.as_bytes())
    }
}

/// `self` is a symbolic link that procfs itself makes; it is followed here alone.
fn open_own(root: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    check(
        nix::fcntl::openat(root, "self", flags, Mode::empty()),
        "openat",
        "/proc, \"self\"",
    )
}
