//! A directory of the cgroup2 file system, and its files.

use std::ffi::OsStr;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;
use nix::sys::statfs::CGROUP2_SUPER_MAGIC;
use nix::unistd::{Uid, UnlinkatFlags};

use crate::error::{Error, Result};
use crate::sys::file;

pub(super) struct Directory {
    fd: OwnedFd,
    /// From the host's root, for messages.
    path: PathBuf,
}

impl Directory {
    /// Opens the mount point of cgroup2.
    pub fn open_mount(path: &Path) -> Result<Directory> {
        let fd = nix::fcntl::open(path, flags(), Mode::empty())
            .map_err(|errno| failed("open", path, errno))?;
        let kind = nix::sys::statfs::fstatfs(&fd)
            .map_err(|errno| failed("fstatfs", path, errno))?
            .filesystem_type();
        if kind != CGROUP2_SUPER_MAGIC {
            return Err(
                Error::unsupported(format!("{path:?} is not a cgroup2 file system"))
                    .with_hint("mount cgroup2 somewhere, or boot with cgroup version 2"),
            );
        }
        Ok(Directory {
            fd,
            path: path.to_owned(),
        })
    }

    /// Opens a directory below this one. None where it is not there.
    pub fn open(&self, relative: &Path) -> Result<Option<Directory>> {
        check_beneath(relative)?;
        let path = self.path.join(relative);
        match nix::fcntl::openat(&self.fd, relative, flags(), Mode::empty()) {
            Ok(fd) => Ok(Some(Directory { fd, path })),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(failed("open", &path, errno)),
        }
    }

    /// The directory above this one, which is itself below where a walk began; none where that
    /// place, level 1, is reached.
    pub fn above_on_level(&self, level: usize) -> Result<Option<Directory>> {
        if level <= 1 {
            return Ok(None);
        }
        let path = self.path.parent().unwrap_or(&self.path).to_owned();
        match nix::fcntl::openat(&self.fd, "..", flags(), Mode::empty()) {
            Ok(fd) => Ok(Some(Directory { fd, path })),
            Err(errno) => Err(failed("open", &path, errno)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells it from every other, one that had or gets its name among them.
    pub fn inode(&self) -> Result<u64> {
        nix::sys::stat::fstat(&self.fd)
            .map(|status| status.st_ino)
            .map_err(|errno| failed("fstat", &self.path, errno))
    }

    /// Makes a directory below this one. False where it is there already.
    pub fn make(&self, relative: &Path) -> Result<bool> {
        let mode = Mode::from_bits_truncate(0o755);
        match nix::sys::stat::mkdirat(&self.fd, relative, mode) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(failed("mkdir", &self.path.join(relative), errno)),
        }
    }

    /// Whether [`Directory::make`] would be allowed to make what is not there yet, in the same
    /// words.
    pub fn check_mkdir(&self, relative: &Path) -> Result<()> {
        let parent = match relative.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
        file::check_access(self.as_fd(), parent, access)
            .map_err(|errno| failed("mkdir", &self.path.join(relative), errno))
    }

    /// What [`Directory::write`] says when the kernel answers `errno`, to open(2) where it is
    /// a matter of rights.
    pub fn write_failed(&self, file: &str, value: &str, errno: Errno) -> Error {
        let path = self.path.join(file);
        match errno {
            Errno::EACCES | Errno::EPERM | Errno::EROFS => failed("open", &path, errno),
            _ => not_written(&path, value, errno),
        }
    }

    /// Switches controllers on for the cgroups right below this one, all or none.
    pub fn switch_on(&self, controllers: &[&str]) -> Result<()> {
        let words: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        self.write("cgroup.subtree_control", &words.join(" "))
    }

    /// Calls `look` with this mount, and then with each cgroup that is there on the way to `path`,
    /// but for that one, until it breaks.
    pub fn each_above(
        &self,
        path: &Path,
        mut look: impl FnMut(&Directory) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        // The mount itself has none above it.
        let Some(above) = path.parent() else {
            return Ok(());
        };
        let mut flow = look(self)?;
        for level in levels(above) {
            let ControlFlow::Continue(()) = flow else {
                break;
            };
            let Some(directory) = self.open(level)? else {
                break;
            };
            flow = look(&directory)?;
        }
        Ok(())
    }

    /// Whether this process may write to a file below this directory.
    pub fn check_writable(&self, relative: &Path) -> Result<()> {
        check_beneath(relative)?;
        let access = nix::unistd::AccessFlags::W_OK;
        file::check_access(self.as_fd(), relative, access)
            .map_err(|errno| failed("faccessat", &self.path.join(relative), errno))
    }

    /// Gives a file of this directory to `uid`, or the directory itself where there is no name.
    pub fn change_owner(&self, name: &Path, uid: Uid) -> Result<()> {
        let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
        nix::unistd::fchownat(&self.fd, name, Some(uid), None, flags).map_err(|errno| {
            let path = self.path.join(name);
            Error::syscall("fchownat", format_args!("{path:?}, {uid}"), errno as i32)
        })
    }

    /// Removes a directory below this one, if nothing is in it. What is gone already is no
    /// error.
    pub fn remove_empty(&self, relative: &Path) -> Result<()> {
        match nix::unistd::unlinkat(&self.fd, relative, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("rmdir", &self.path.join(relative), errno)),
        }
    }

    /// The names of the cgroups right below this one.
    pub fn children(&self) -> Result<Vec<PathBuf>> {
        self.names(Type::Directory)
    }

    /// The names of its files.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        self.names(Type::File)
    }

    fn names(&self, wanted: Type) -> Result<Vec<PathBuf>> {
        let mut dir = match Dir::openat(&self.fd, ".", flags(), Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
            Err(errno) => return Err(failed("open", &self.path, errno)),
        };
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| failed("getdents", &self.path, errno))?;
            let name = entry.file_name();
            if entry.file_type() == Some(wanted) && name != c"." && name != c".." {
                names.push(PathBuf::from(OsStr::from_bytes(name.to_bytes())));
            }
        }
        Ok(names)
    }

    /// The whole of a file.
    pub fn read(&self, file: &str) -> Result<String> {
        let fd = self.open_file(file, OFlag::O_RDONLY)?;
        let mut text = String::new();
        match std::fs::File::from(fd).read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(e) => Err(Error::io("read", self.path.join(file), &e)),
        }
    }

    /// Writes `value` by one call, since the kernel reads each call as a whole command.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let fd = self.open_file(file, OFlag::O_WRONLY)?;
        match nix::unistd::write(&fd, value.as_bytes()) {
            Ok(_) => Ok(()),
            Err(errno) => Err(not_written(&self.path.join(file), value, errno)),
        }
    }

    fn open_file(&self, file: &str, access: OFlag) -> Result<OwnedFd> {
        if Path::new(file).components().count() != 1 {
            return Err(Error::invalid(format!("{file:?} is no file of a cgroup")));
        }
        check_beneath(Path::new(file))?;
        let flags = access | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&self.fd, file, flags, Mode::empty())
            .map_err(|errno| failed("open", &self.path.join(file), errno))
    }

    /// Waits until a line of cgroup.events reads `line`, at most for `wait`. False where it
    /// never does.
    pub fn wait_for_event(&self, line: &str, wait: Duration) -> Result<bool> {
        let file = "cgroup.events";
        let events = self.open_file(file, OFlag::O_RDONLY)?;
        let deadline = Instant::now() + wait;
        let mut buffer = [0; 256];
        loop {
            // Poll reports what has changed since this descriptor was last read.
            let length = nix::sys::uio::pread(&events, &mut buffer, 0)
                .map_err(|errno| failed("read", &self.path.join(file), errno))?;
            if buffer[..length]
                .split(|b| *b == b'\n')
                .any(|l| l == line.as_bytes())
            {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("poll", &self.path.join(file), errno)),
            }
        }
    }
}

impl Directory {
    /// Opens one of its files for poll(2), which reports its changes as POLLPRI.
    pub fn open_to_watch(&self, file: &str) -> Result<Watch> {
        Ok(Watch {
            fd: self.open_file(file, OFlag::O_RDONLY)?,
            path: self.path.join(file),
        })
    }
}

/// An open file of a cgroup that tells when it has changed since it was last read.
pub struct Watch {
    fd: OwnedFd,
    path: PathBuf,
}

impl Watch {
    /// What is in it now. None where the cgroup is gone.
    pub fn read(&self) -> Result<Option<String>> {
        let mut buffer = [0; 1024];
        match nix::sys::uio::pread(&self.fd, &mut buffer, 0) {
            Ok(length) => Ok(Some(
                String::from_utf8_lossy(&buffer[..length]).into_owned(),
            )),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(failed("read", &self.path, errno)),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Refuses a path that could lead out of the directory that it is looked up in, and the
/// directory itself.
pub(super) fn check_beneath(path: &Path) -> Result<()> {
    let is_beneath = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
        && path.components().next().is_some();
    if is_beneath {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "{path:?} does not name a cgroup below the mount of cgroup2"
        )))
    }
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// The cgroups on the way to `path` beneath a mount, outermost first, and that one.
pub(super) fn levels(path: &Path) -> Vec<&Path> {
    let mut levels: Vec<&Path> = path.ancestors().collect();
    // The last is the empty path, the mount itself.
    levels.pop();
    levels.reverse();
    levels
}

fn not_written(path: &Path, value: &str, errno: Errno) -> Error {
    Error::syscall("write", format_args!("{path:?}, {value:?}"), errno as i32)
}

fn failed(call: &str, path: &Path, errno: Errno) -> Error {
    Error::syscall(call, format_args!("{path:?}"), errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_below_is_looked_up() {
        for path in ["a", "a/b", "a//b/"] {
            assert!(check_beneath(Path::new(path)).is_ok(), "{path}");
        }
        for path in ["", "/", "/a", "..", "a/../b", "."] {
            assert!(check_beneath(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn another_file_system_is_refused() {
        let e = Directory::open_mount(Path::new("/proc"))
            .err()
            .unwrap()
            .to_string();
        assert_eq!(e, r#""/proc" is not a cgroup2 file system"#);
    }
}
