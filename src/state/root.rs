//! The directory of all containers, `--root`.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use super::directory::{self, Directory, Lock};
use super::{Container, Record, validate_id};
use crate::error::{Error, Kind, Result};
use crate::host::UserNamespace;
use crate::log;

/// How often `reserve` starts again because a `delete` took away what it had just made.
const ATTEMPTS: u32 = 64;

/// Where containers are kept when `--root` does not say: `$XDG_RUNTIME_DIR/rt` for an
/// ordinary user and in a user namespace, `/run/rt` else.
///
/// runc looks at `$USER` too, to tell a user's own namespace from a machine's root. podman
/// sets it for `create` and not for `start`, so it cannot decide here.
pub fn default_root() -> PathBuf {
    let system = PathBuf::from("/run/rt");
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match of_user {
        Some(dir) if !nix::unistd::geteuid().is_root() || in_user_namespace() => {
            PathBuf::from(dir).join("rt")
        }
        _ => system,
    }
}

fn in_user_namespace() -> bool {
    UserNamespace::own().is_ok_and(|own| !own.is_initial())
}

/// The directory that holds a directory for each container, `--root`.
pub struct Root {
    path: PathBuf,
    /// `$XDG_RUNTIME_DIR`.
    pub(super) runtime_dir: Option<OsString>,
}

impl Root {
    /// Names the directory; nothing is made before a container is.
    pub fn new(path: &Path) -> Result<Root> {
        let path = std::path::absolute(path).map_err(|e| Error::io("getcwd", path, &e))?;
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        Ok(Root { path, runtime_dir })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the id for a new container. The lock of its directory is held until the slot
    /// goes, and the directory goes with it unless it is kept.
    pub fn reserve(&self, id: &str) -> Result<Slot> {
        validate_id(id)?;
        let root = self.make()?;
        for _ in 0..ATTEMPTS {
            match nix::sys::stat::mkdirat(&root, id, Mode::from_bits_truncate(0o700)) {
                Ok(()) => match self.take(root.as_fd(), id) {
                    Ok(Some(slot)) => return Ok(slot),
                    Ok(None) => {}
                    Err(e) => {
                        let _ = nix::unistd::unlinkat(&root, id, UnlinkatFlags::RemoveDir);
                        return Err(e);
                    }
                },
                Err(Errno::EEXIST) => {
                    if !self.clear(root.as_fd(), id, Duration::ZERO)? {
                        break;
                    }
                }
                Err(errno) => return Err(self.failed("mkdir", id, errno)),
            }
        }
        Err(Error::new(
            Kind::ContainerExists,
            format!("container with given ID already exists: {id:?}"),
        ))
    }

    /// Locks the directory that was made a moment ago. None where another process, which saw
    /// it empty and unlocked, took it for remains and removed it; the one by that name may
    /// then be a third one's, with a record in it.
    fn take(&self, root: BorrowedFd<'_>, id: &str) -> Result<Option<Slot>> {
        let Some(directory) = Directory::open(root, &self.path, id)? else {
            return Ok(None);
        };
        let Some(lock) = directory.lock(Duration::from_secs(1))? else {
            return Ok(None);
        };
        if !directory.is_linked()? || directory.contains(directory::STATE)? {
            return Ok(None);
        }
        // Who may write to the directory above may have put one of their own there meanwhile.
        directory.require_own()?;
        Ok(Some(Slot {
            directory,
            lock: Some(lock),
            kept: false,
        }))
    }

    /// Opens an existing container of this user, to act on it. `container "x" does not exist`
    /// where there is none.
    pub fn open(&self, id: &str) -> Result<Container> {
        let container = self.look_at(id)?;
        container.require_own()?;
        Ok(container)
    }

    /// Opens an existing container of anybody, to be read.
    pub fn look_at(&self, id: &str) -> Result<Container> {
        validate_id(id)?;
        let no_such = || directory::no_such_container(id);
        let root = self.open_root()?.ok_or_else(no_such)?;
        let directory = Directory::open(root.as_fd(), &self.path, id)?.ok_or_else(no_such)?;
        Container::read(directory)?.ok_or_else(no_such)
    }

    /// All containers by id. One whose record cannot be read is left out with a warning.
    pub fn list(&self) -> Result<Vec<Container>> {
        let Some(root) = self.open_root()? else {
            return Ok(Vec::new());
        };
        let mut containers = Vec::new();
        for id in self.ids(root.as_fd())? {
            match Directory::open(root.as_fd(), &self.path, &id)
                .and_then(|directory| directory.map_or(Ok(None), Container::read))
            {
                Ok(Some(container)) => containers.push(container),
                Ok(None) => {}
                Err(e) => log::warning(|| e.to_string()),
            }
        }
        Ok(containers)
    }

    fn ids(&self, root: BorrowedFd<'_>) -> Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(root, ".", flags, Mode::empty())
            .map_err(|errno| self.failed("open", "", errno))?;
        let mut ids = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| self.failed("getdents", "", errno))?;
            let is_file =
                matches!(entry.file_type(), Some(kind) if kind != nix::dir::Type::Directory);
            match entry.file_name().to_str() {
                Ok(name) if !is_file && validate_id(name).is_ok() => ids.push(name.to_owned()),
                _ => {}
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes a directory without a record: what a killed `create` left. False where there
    /// is no such thing, or another process is still at work on it after `wait`.
    pub fn remove_remains(&self, id: &str, wait: Duration) -> Result<bool> {
        validate_id(id)?;
        match self.open_root()? {
            Some(root) => self.clear(root.as_fd(), id, wait),
            None => Ok(false),
        }
    }

    fn clear(&self, root: BorrowedFd<'_>, id: &str, wait: Duration) -> Result<bool> {
        let Some(directory) = Directory::open(root, &self.path, id)? else {
            return Ok(true);
        };
        let Some(_lock) = directory.lock(wait)? else {
            return Ok(false);
        };
        if !directory.is_linked()? {
            return Ok(true);
        }
        if directory.contains(directory::STATE)? {
            return Ok(false);
        }
        directory.remove().map(|()| true)
    }

    /// None where it is not there yet.
    fn open_root(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match nix::fcntl::open(&self.path, flags, Mode::empty()) {
            Ok(fd) => {
                self.refuse_slash(fd.as_fd())?;
                Ok(Some(fd))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.failed("open", "", errno)),
        }
    }

    /// Whatever the path looks like: the root directory is no place to make and remove
    /// directories by ids.
    fn refuse_slash(&self, fd: BorrowedFd<'_>) -> Result<()> {
        let root = nix::sys::stat::fstat(fd).map_err(|errno| self.failed("fstat", "", errno))?;
        match nix::sys::stat::stat("/") {
            Ok(slash) if (slash.st_dev, slash.st_ino) == (root.st_dev, root.st_ino) => {
                Err(Error::new(
                    Kind::Usage,
                    format!("--root {:?} is the root directory", self.path),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory where it is missing, for its owner alone. Beneath
    /// `$XDG_RUNTIME_DIR` it gets the sticky bit, which keeps tools that tidy up old files
    /// away (XDG Base Directory Specification).
    fn make(&self) -> Result<OwnedFd> {
        if let Some(fd) = self.open_root()? {
            return Ok(fd);
        }
        if let Some(parent) = self.path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder
                .recursive(true)
                .create(parent)
                .map_err(|e| Error::io("mkdir", parent, &e))?;
        }
        let is_users = self
            .runtime_dir
            .as_ref()
            .is_some_and(|dir| self.path.starts_with(dir));
        let mode = Mode::from_bits_truncate(if is_users { 0o1700 } else { 0o700 });
        match nix::unistd::mkdir(&self.path, mode) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.failed("mkdir", "", errno)),
        }
        self.open_root()?
            .ok_or_else(|| self.failed("open", "", Errno::ENOENT))
    }

    fn failed(&self, call: &str, name: &str, errno: Errno) -> Error {
        let path = if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        Error::syscall(call, format_args!("{path:?}"), errno as i32)
    }
}

/// A place for a container in the making. Its directory is removed on drop unless kept.
pub struct Slot {
    directory: Directory,
    lock: Option<Lock>,
    kept: bool,
}

impl Slot {
    /// Replaces the record on disk.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.directory.write(directory::STATE, &record.to_json()?)
    }

    /// Writes a record that is not true yet beside the one on disk. [`Slot::publish`] makes it
    /// that one by a single call; a `save` before that is in its place.
    pub fn draft(&self, record: &Record) -> Result<()> {
        self.directory.draft(&record.to_json()?)
    }

    /// The last draft becomes the record on disk.
    pub fn publish(&self) -> Result<()> {
        self.directory.publish(directory::STATE)
    }

    /// Keeps config.json as it is now, for `exec` and `delete`.
    pub fn save_config(&self, bytes: &[u8]) -> Result<()> {
        self.directory.create(directory::CONFIG, bytes)
    }

    /// Makes the directory of the socket for sd_notify(3), which is mounted into the container.
    pub fn make_notify_directory(&self) -> Result<()> {
        self.directory.make_notify()
    }

    /// The same, to be listened in. None where it was not made.
    pub fn notify_directory(&self) -> Result<Option<OwnedFd>> {
        self.directory.open_notify()
    }

    /// The container's directory, for the gate's address.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where that is on the host.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The container stays when the slot goes.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.kept
            && let Err(e) = self.directory.remove()
        {
            log::warning(|| format!("undoing: {e}"));
        }
        self.lock.take();
    }
}
