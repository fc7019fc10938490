//! One container's directory: its files by name, its lock, its removal.
//!
//! Every name is looked up beneath the directory's descriptor, and only names that `rt`
//! gives are ever removed.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use super::{GATE, NOTIFY};
use crate::error::{Error, Kind, Result};

pub(super) const STATE: &str = "state.json";
pub(super) const CONFIG: &str = "config.json";
/// What replaces a file is first written under this name. There is one writer: the holder
/// of the lock.
const NEW: &str = ".new";
/// `state.json` goes last, so that a removal that is killed half-way can be repeated.
const KNOWN: [&str; 4] = [NEW, GATE, CONFIG, STATE];
/// The socket in [`NOTIFY`].
const NOTIFY_SOCKET: &str = "notify.sock";

/// The longest file that is read.
const LONGEST: u64 = 64 << 20;

/// Shows that this process alone changes the container. Ends on drop.
pub(super) struct Lock(Option<Flock<OwnedFd>>);

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock that is not given up goes with its last descriptor. The one of nix would
        // panic.
        if let Some(Err((lock, _))) = self.0.take().map(Flock::unlock) {
            std::mem::forget(lock);
        }
    }
}

pub(super) struct Directory {
    root: OwnedFd,
    id: String,
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens `root`/`id`. None where it is not there.
    pub fn open(root: BorrowedFd<'_>, root_path: &Path, id: &str) -> Result<Option<Directory>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = root_path.join(id);
        let fd = match nix::fcntl::openat(root, id, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", &path, "", errno)),
        };
        let root = root
            .try_clone_to_owned()
            .map_err(|e| Error::io("dup", root_path, &e))?;
        Ok(Some(Directory {
            root,
            id: id.to_owned(),
            fd,
            path,
        }))
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses the directory of another user, who may have written anything there: what is to be
    /// killed, and which hooks are to be run, with the rights of this process.
    pub fn require_own(&self) -> Result<()> {
        let found = nix::sys::stat::fstat(&self.fd)
            .map_err(|errno| failed("fstat", &self.path, "", errno))?;
        if found.st_uid == nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        Err(Error::new(
            Kind::WrongState,
            format!(
                "container {:?} is another user's, whose uid is {}",
                self.id, found.st_uid
            ),
        )
        .with_hint("run rt as that user, who may have put hooks of their own there"))
    }

    /// Whether this directory is still the one by its name. A removed one is held by its
    /// descriptor, so the number of its inode cannot have come back.
    pub fn is_linked(&self) -> Result<bool> {
        let open = nix::sys::stat::fstat(&self.fd)
            .map_err(|errno| failed("fstat", &self.path, "", errno))?;
        match nix::sys::stat::fstatat(&self.root, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed("fstatat", &self.path, "", errno)),
        }
    }

    /// Waits until no other process has the lock, at most for `wait`. None where it still
    /// has it then.
    ///
    /// flock(2) belongs to the open file, which a cloned process shares, so the lock has a
    /// descriptor of its own and is given up by name.
    pub fn lock(&self, wait: Duration) -> Result<Option<Lock>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut fd = nix::fcntl::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|errno| failed("open", &self.path, ".", errno))?;
        let deadline = Instant::now() + wait;
        let mut pause = Duration::from_millis(1);
        loop {
            match Flock::lock(fd, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(Lock(Some(lock)))),
                Err((unlocked, Errno::EWOULDBLOCK | Errno::EINTR)) => fd = unlocked,
                Err((_, errno)) => return Err(failed("flock", &self.path, "", errno)),
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause.min(deadline - now));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    pub fn contains(&self, name: &str) -> Result<bool> {
        match nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed("fstatat", &self.path, name, errno)),
        }
    }

    /// The bytes of a file. None where it is not there. One of more than 64 MiB is an error: it may
    /// be another user's, and have no end.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        // A pipe by that name has nobody at its other end to wait for.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("openat", &self.path, name, errno)),
        };
        let mut bytes = Vec::with_capacity(4096);
        match File::from(fd).take(LONGEST + 1).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > LONGEST => Err(Error::system(format!(
                "{:?} is longer than {LONGEST} bytes",
                self.path.join(name)
            ))),
            Ok(_) => Ok(Some(bytes)),
            Err(e) => Err(Error::io("read", self.path.join(name), &e)),
        }
    }

    /// Writes a file that is not there yet, and that nobody reads before the record is there.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| failed("openat", &self.path, name, errno))?;
        File::from(fd)
            .write_all(bytes)
            .map_err(|e| Error::io("write", self.path.join(name), &e))
    }

    /// Replaces a file as a whole: a reader sees the old bytes or the new ones. Nothing is
    /// forced to the disk, since no container outlives the machine.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.draft(bytes)?;
        self.publish(name)
    }

    /// Writes what [`publish`](Directory::publish) will put in a file's place. The next draft
    /// replaces it.
    pub fn draft(&self, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::openat(&self.fd, NEW, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| failed("openat", &self.path, NEW, errno))?;
        File::from(fd)
            .write_all(bytes)
            .map_err(|e| Error::io("write", self.path.join(NEW), &e))
    }

    pub fn publish(&self, name: &str) -> Result<()> {
        nix::fcntl::renameat(&self.fd, NEW, &self.fd, name)
            .map_err(|errno| failed("renameat", &self.path, name, errno))
    }

    /// Removes the directory with the files that `rt` makes in it. Another file in it is an
    /// error, and then nothing is removed. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        if let Some(stranger) = self.stranger()? {
            return Err(Error::system(format!(
                "{:?} holds a file that rt did not make: {stranger:?}",
                self.path
            )));
        }
        self.remove_notify()?;
        for name in KNOWN {
            match nix::unistd::unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed("unlinkat", &self.path, name, errno)),
            }
        }
        match nix::unistd::unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("rmdir", &self.path, "", errno)),
        }
    }

    fn remove_notify(&self) -> Result<()> {
        let Some(notify) = self.open_notify()? else {
            return Ok(());
        };
        let gone = |result| match result {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("unlinkat", &self.path, NOTIFY, errno)),
        };
        gone(nix::unistd::unlinkat(
            &notify,
            NOTIFY_SOCKET,
            UnlinkatFlags::NoRemoveDir,
        ))?;
        gone(nix::unistd::unlinkat(
            &self.fd,
            NOTIFY,
            UnlinkatFlags::RemoveDir,
        ))
    }

    /// The directory of the socket for sd_notify(3). None where the container has none.
    pub fn open_notify(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match nix::fcntl::openat(&self.fd, NOTIFY, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("openat", &self.path, NOTIFY, errno)),
        }
    }

    /// Makes that directory, for every user of the container to look into.
    pub fn make_notify(&self) -> Result<()> {
        let umask = nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
        let made = nix::sys::stat::mkdirat(&self.fd, NOTIFY, Mode::from_bits_truncate(0o755));
        nix::sys::stat::umask(umask);
        made.map_err(|errno| failed("mkdirat", &self.path, NOTIFY, errno))
    }

    fn stranger(&self) -> Result<Option<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut entries = Dir::openat(&self.fd, ".", flags, Mode::empty())
            .map_err(|errno| failed("open", &self.path, ".", errno))?;
        for entry in entries.iter() {
            let entry = entry.map_err(|errno| failed("getdents", &self.path, "", errno))?;
            let name = entry.file_name().to_string_lossy();
            let is_known =
                [".", "..", NOTIFY].contains(&name.as_ref()) || KNOWN.contains(&name.as_ref());
            if !is_known {
                return Ok(Some(name.into_owned()));
            }
        }
        Ok(None)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed(call: &str, directory: &Path, name: &str, errno: Errno) -> Error {
    let path = if name.is_empty() {
        directory.to_owned()
    } else {
        directory.join(name)
    };
    Error::syscall(call, format_args!("{path:?}"), errno as i32)
}

pub(super) fn no_such_container(id: &str) -> Error {
    Error::new(
        Kind::NoSuchContainer,
        format!("container {id:?} does not exist"),
    )
}
