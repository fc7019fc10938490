//! The container's root as a directory descriptor: the only place that turns a path of the
//! container into a descriptor.
//!
//! A lookup is one openat2(2) with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`. Where the
//! kernel or an outer seccomp profile lacks it, [`walk`] goes from component to component
//! (docs/design/0005-the-root-by-descriptor.md).
//!
//! Runs in: init before and after pivot.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::journal::Journal;
use super::walk;
use crate::error::{Context as _, Error, Result};
use crate::plan::{ContainerPath, HostPath};
use crate::sys;
use crate::sys::mount::Place;

/// As many symbolic links as the kernel follows in one path, path_resolution(7).
pub(super) const LINKS_MAX: u32 = 40;

/// How often a lookup with `..` is tried again: a busy host renames all the time, an attacker
/// must not be able to do so forever.
const ATTEMPTS_MAX: u32 = 128;

/// The container's root directory.
pub struct Root {
    fd: OwnedFd,
    /// Of a running container alone: what is made beneath it.
    journal: Option<Journal>,
}

/// What a missing mount point is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    Directory,
    File,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Root {
        Root { fd, journal: None }
    }
}

impl Root {
    /// Notes from now on what is made beneath it.
    pub fn with_journal(self) -> Root {
        Root {
            journal: Some(Journal::default()),
            ..self
        }
    }

    /// Undoes what was noted. `own` is an open /proc/self of the host's procfs.
    pub fn undo(&self, own: BorrowedFd<'_>) {
        if let Some(journal) = &self.journal {
            journal.undo(own);
        }
    }

    /// Notes a mount that is about to be attached beneath it.
    pub fn note_mount(&self, mount: BorrowedFd<'_>) -> Result<()> {
        match &self.journal {
            Some(journal) => journal.note_mount(mount),
            None => Ok(()),
        }
    }

    fn note_mount_point(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        itself: BorrowedFd<'_>,
    ) -> Result<()> {
        match &self.journal {
            Some(journal) => journal.note_mount_point(directory, name, itself),
            None => Ok(()),
        }
    }

    /// Binds the directory with all mounts below it on itself, which pivot_root(2) needs, and
    /// takes the new mount as the container's root.
    pub fn attach(path: &HostPath) -> Result<Root> {
        let host = Place::Host(path.as_path());
        match sys::mount::open_tree(host, libc::AT_RECURSIVE) {
            Ok(fd) => {
                sys::mount::move_mount(fd.as_fd(), host)?;
                Ok(Root::from(fd))
            }
            // KERNEL(5.2): without open_tree(2) the root is bound by mount(2) and opened again.
            Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => {
                let directory = sys::file::open_host(path.as_path(), DIRECTORY)?;
                let itself = sys::mount::fd_path(&directory);
                let flags = libc::MS_BIND | libc::MS_REC;
                sys::mount::mount(Some(&itself), &itself, None, flags, None)?;
                Root::open_host(path)
            }
            Err(e) => Err(e),
        }
    }

    /// Takes the directory as it is.
    pub fn open_host(path: &HostPath) -> Result<Root> {
        let fd = sys::file::open_host(path.as_path(), DIRECTORY)?;
        Ok(Root::from(fd))
    }

    /// Opens `path` with `O_PATH`, following symbolic links inside the root.
    pub fn open(&self, path: &ContainerPath) -> Result<OwnedFd> {
        self.resolve(path.beneath_root(), OFlag::O_PATH)
    }

    /// Opens `path` with `flags`, following symbolic links inside the root.
    pub fn open_with(&self, path: &ContainerPath, flags: OFlag) -> Result<OwnedFd> {
        self.resolve(path.beneath_root(), flags)
    }

    /// Opens `path`, made with its parents where missing, for a mount. `kind` is asked only
    /// for a path that is missing.
    ///
    /// CVE-2023-27561: whatever is mounted on /proc and /sys, masked and read-only paths lie below
    /// it. By way of a link the mount could be elsewhere than they are.
    pub fn mount_point(
        &self,
        path: &ContainerPath,
        kind: impl FnOnce() -> Result<NodeKind>,
    ) -> Result<OwnedFd> {
        if matches!(path.as_str(), "/proc" | "/sys") {
            return self.real_directory(path);
        }
        match self.open(path) {
            Ok(fd) => return Ok(fd),
            Err(e) if e.is(Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
        match kind()? {
            NodeKind::Directory => self.make_directory(path.beneath_root(), LINKS_MAX),
            NodeKind::File => self.make_file(path.beneath_root(), LINKS_MAX),
        }
        .context(|| format!("making the mount point {path}"))
    }

    /// Opens the last component of `path` without following it, for a mount on a symbolic
    /// link itself. ENOENT: it is not there.
    pub fn open_nofollow(&self, path: &ContainerPath) -> Result<OwnedFd> {
        self.resolve(path.beneath_root(), OFlag::O_PATH | OFlag::O_NOFOLLOW)
    }

    /// Opens the directory `path`, made where missing; its last component must not be a
    /// symbolic link. ENOTDIR: it is one, or no directory.
    pub fn real_directory(&self, path: &ContainerPath) -> Result<OwnedFd> {
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        match self.resolve(path.beneath_root(), flags) {
            Err(e) if e.is(Errno::ENOENT) => self.make_directory(path.beneath_root(), LINKS_MAX),
            Err(e) if e.is(Errno::ENOTDIR) => {
                Err(e.within(format!("{path} must be a directory, not a symbolic link")))
            }
            result => result,
        }
    }

    /// Opens the directory that holds `path` without following any symbolic link, and the name
    /// therein. ELOOP: there is one on the way.
    pub fn real_parent<'p>(&self, path: &'p ContainerPath) -> Result<(OwnedFd, &'p str)> {
        let (parent, name) = split_last(path.beneath_root());
        if name.is_empty() {
            return Err(Error::invalid("the root directory has no parent"));
        }
        Ok((
            sys::file::open_without_links(self.fd.as_fd(), parent, DIRECTORY)?,
            name,
        ))
    }

    /// What is not there of `path` and the directories on the way to it, the deepest first, and
    /// the nearest that is.
    pub fn missing(&self, path: &ContainerPath) -> Result<(Vec<ContainerPath>, OwnedFd)> {
        let mut missing = Vec::new();
        let mut rest = path.beneath_root();
        loop {
            match self.resolve(rest, OFlag::O_PATH) {
                Err(e) if e.is(Errno::ENOENT) && !rest.is_empty() => {
                    missing.push(ContainerPath::new(rest));
                }
                result => return result.map(|nearest| (missing, nearest)),
            }
            rest = split_last(rest).0;
        }
    }

    /// Opens the directory that holds `path`, made where missing, and the name therein.
    pub fn parent<'p>(&self, path: &'p ContainerPath) -> Result<(OwnedFd, &'p str)> {
        let (parent, name) = split_last(path.beneath_root());
        if name.is_empty() {
            return Err(Error::invalid("the root directory cannot be made"));
        }
        Ok((self.directory(parent)?, name))
    }

    /// Whether there is nothing at `path`.
    pub fn is_missing(&self, path: &str) -> bool {
        let found = self.resolve(path.trim_start_matches('/'), OFlag::O_PATH);
        found.is_err_and(|e| e.is(Errno::ENOENT))
    }

    /// Opens the directory at `path`, as seen from the root, made with its parents where
    /// missing.
    pub fn directory(&self, path: &str) -> Result<OwnedFd> {
        self.make_directories(path.trim_start_matches('/'), LINKS_MAX)
    }

    /// One lookup. `path` is relative to the root and may hold `..`, which stops at it.
    fn resolve(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        let mut attempts_left = ATTEMPTS_MAX;
        loop {
            match sys::file::open_in_root(self.fd.as_fd(), path, flags) {
                // A rename somewhere on the host while `..` was followed.
                Err(e) if e.is(Errno::EAGAIN) && attempts_left > 0 => attempts_left -= 1,
                // KERNEL(5.6): without openat2(2) one component is looked up after the other.
                Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => {
                    return self.resolve_by_walking(path, flags);
                }
                result => return result,
            }
        }
    }

    fn resolve_by_walking(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        let fd = walk::open(self.fd.as_fd(), path, flags)?;
        if flags.contains(OFlag::O_PATH) {
            return Ok(fd);
        }
        let itself = sys::mount::fd_path(&fd);
        let itself = Path::new(OsStr::from_bytes(itself.as_bytes()));
        sys::file::open_host(itself, flags - OFlag::O_NOFOLLOW)
    }

    /// mkdir -p.
    fn make_directories(&self, path: &str, links_left: u32) -> Result<OwnedFd> {
        match self.resolve(path, DIRECTORY) {
            Err(e) if e.is(Errno::ENOENT) && !path.is_empty() => {
                self.make_directory(path, links_left)
            }
            result => result,
        }
    }

    /// Makes a directory that was missing a moment ago, and its parents where missing. A link
    /// to what is not there has its target made, inside the root.
    fn make_directory(&self, path: &str, links_left: u32) -> Result<OwnedFd> {
        let (parent, name) = split_last(path);
        let directory = self.parent_directory(parent, links_left)?;
        let directory = directory.as_ref().map_or(self.fd.as_fd(), OwnedFd::as_fd);
        let c_name = new_name(name, path)?;
        let is_new = match sys::file::mkdirat(directory, &c_name, 0o755) {
            Err(e) if e.is(Errno::EEXIST) => false,
            made => made.map(|()| true)?,
        };
        match sys::file::open_entry(directory, &c_name, DIRECTORY) {
            Ok(made) if is_new => {
                self.note_mount_point(directory, &c_name, made.as_fd())?;
                Ok(made)
            }
            Err(e) if e.is(Errno::ENOTDIR) || e.is(Errno::ELOOP) => {
                let target = link_target(directory, &c_name, parent, e, links_left)?;
                self.make_directories(&target, links_left - 1)
            }
            result => result,
        }
    }

    /// Makes an empty file, which may have appeared meanwhile.
    fn make_file(&self, path: &str, links_left: u32) -> Result<OwnedFd> {
        let (parent, name) = split_last(path);
        let directory = self.parent_directory(parent, links_left)?;
        let directory = directory.as_ref().map_or(self.fd.as_fd(), OwnedFd::as_fd);
        let c_name = new_name(name, path)?;
        match sys::file::mknodat(directory, &c_name, SFlag::S_IFREG, 0o644, 0) {
            Err(e) if e.is(Errno::EEXIST) => {
                match link_target(directory, &c_name, parent, e, links_left) {
                    Ok(target) => return self.make_file(&target, links_left - 1),
                    Err(e) if e.is(Errno::EEXIST) => {}
                    Err(e) => return Err(e),
                }
            }
            made => {
                made?;
                let file = sys::file::open_entry(directory, &c_name, OFlag::O_PATH)?;
                self.note_mount_point(directory, &c_name, file.as_fd())?;
                return Ok(file);
            }
        }
        sys::file::open_entry(directory, &c_name, OFlag::O_PATH)
    }

    /// The directory that something is made in; none for the root itself.
    fn parent_directory(&self, parent: &str, links_left: u32) -> Result<Option<OwnedFd>> {
        if parent.is_empty() {
            return Ok(None);
        }
        self.make_directories(parent, links_left).map(Some)
    }
}

/// Where the symbolic link `parent/name` points, as a path relative to the root. Not
/// normalised: `..` after a link means what the kernel says it means. `not_a_link` is the
/// error for anything else.
fn link_target(
    directory: BorrowedFd<'_>,
    name: &CStr,
    parent: &str,
    not_a_link: Error,
    links_left: u32,
) -> Result<String> {
    let Ok(target) = sys::file::readlinkat(directory, name) else {
        return Err(not_a_link);
    };
    if links_left == 0 {
        let arguments = format_args!("(root), {parent:?}/{name:?}");
        return Err(Error::syscall("openat2", arguments, libc::ELOOP));
    }
    let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
    Ok(match target.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{parent}/{target}"),
    })
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

/// The path without its last component, and that component.
fn split_last(path: &str) -> (&str, &str) {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').map_or(("", path), |(parent, name)| {
        (parent.trim_end_matches('/'), name)
    })
}

/// A name that may be created: `..` below what does not exist has no meaning.
fn new_name(name: &str, path: &str) -> Result<CString> {
    if matches!(name, "" | "." | "..") {
        let arguments = format_args!("(root), {path:?}");
        return Err(Error::syscall("openat2", arguments, libc::ENOENT));
    }
    sys::file::c_name(name)
}
